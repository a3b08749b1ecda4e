//! sh: the client's address (and port, if the flags say so) tells the server. If that one cannot be used, none is
//! picked, or with the flag for it the next one in the table from another slot on.
//!
//! The table has the servers one after the other, each as often as its weight says. Source: Linux `ip_vs_sh.c`.

use core::ops::ControlFlow;

use super::Pool;
use super::hashed::{Request, hash_32, server_in};
use crate::server::ServerId;
use crate::service::{List, ServiceFlags};
use crate::walk::Step;

/// Slots of the table.
pub const SLOTS: u32 = 256;

/// The slot of a client's address, as a number, plus its port if that counts.
#[inline(always)]
pub const fn slot(source: u32) -> u32 {
    hash_32(source)
}

/// Goes through the table until a server can be used.
struct Fallback {
    list: List,
    flags: ServiceFlags,
    first: u32,
    found: u32,
}

impl<P: Pool> Step<P> for Fallback {
    #[inline(always)]
    fn step(&mut self, pool: &P, index: u32) -> ControlFlow<()> {
        // IPVS adds the first slot to the offset, and the offset to the first slot.
        let slot = self.first.wrapping_mul(2).wrapping_add(index) % SLOTS;
        match server_in(pool, self.list, self.flags, slot) {
            Some(server) => {
                self.found = server.0;
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        }
    }
}

#[inline(always)]
pub(super) fn pick<P: Pool>(pool: &P, list: List, flags: ServiceFlags, request: Request) -> Option<ServerId> {
    let first = slot(request.source(flags));
    let server = server_in(pool, list, flags, first);
    if server.is_some() || !flags.has(ServiceFlags::FALLBACK) {
        return server;
    }
    let mut walk = Fallback { list, flags, first, found: pool.zero() };
    pool.repeat(SLOTS, &mut walk);
    (walk.found != 0).then_some(ServerId(walk.found))
}
