//! mh: Maglev hashing. The client's address (and port, if the flags say so) tells the server, by a table in which a server
//! that comes or goes moves few slots of others. If the server cannot be used, none is picked, or with the flag for it
//! other slots are tried.
//!
//! The table has each server as often as its last weight above 0 says, so one that is set to weight 0 moves nobody.
//! Source: Linux `ip_vs_mh.c`; Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load Balancer" (2016).

use core::ops::ControlFlow;

use super::Pool;
use super::hashed::{Request, server_in};
use super::siphash::siphash;
use crate::server::ServerId;
use crate::service::{List, ServiceFlags};
use crate::walk::Step;

/// Slots of the table: IPVS's default, a prime, so that every step reaches all of them.
pub const SLOTS: u32 = 4093;

const FIRST_KEY: u64 = 2_654_435_761;
const SECOND_KEY: u64 = 2_654_446_892;

/// The slot of a client's address, as a number, plus its port if that counts.
#[inline(always)]
pub const fn slot(source: u32) -> u32 {
    siphash(source, FIRST_KEY) % SLOTS
}

/// The slot that a server would like first, and how far apart those are that it would like next; by its address, as a
/// number, and its port.
pub const fn preference(address: u32, port: u16) -> (u32, u32) {
    let name = address.wrapping_add(port as u32);
    (siphash(name, FIRST_KEY) % SLOTS, siphash(name, SECOND_KEY) % (SLOTS - 1) + 1)
}

/// Tries other slots until a server can be used.
struct Fallback {
    list: List,
    flags: ServiceFlags,
    first: u32,
    source: u32,
    found: u32,
}

impl<P: Pool> Step<P> for Fallback {
    #[inline(always)]
    fn step(&mut self, pool: &P, index: u32) -> ControlFlow<()> {
        let offset = self.first.wrapping_add(index) % SLOTS;
        match server_in(pool, self.list, self.flags, slot(self.source.wrapping_add(offset))) {
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
    let source = request.source(flags);
    let first = slot(source);
    let server = server_in(pool, list, flags, first);
    if server.is_some() || !flags.has(ServiceFlags::FALLBACK) {
        return server;
    }
    let mut walk = Fallback { list, flags, first, source, found: pool.zero() };
    pool.repeat(SLOTS, &mut walk);
    (walk.found != 0).then_some(ServerId(walk.found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slots_of_clients_and_the_preferences_of_servers() {
        for (source, hash, of_slot) in [
            (0xc000_0201, 0x9288_9c88, 2891),
            (0xc000_0201 + 40000, 0xcb24_5051, 3651),
            (0xc000_0202, 0xf919_356d, 746),
            (0xc633_6407, 0xadb9_8ab6, 924),
            (0xcb00_714d + 40000, 0x3bfb_a5e0, 1834),
            // 2001:db8::1, folded.
            (0x2001_0db8 ^ 1, 0xcdc3_f189, 3457),
        ] {
            assert_eq!((siphash(source, FIRST_KEY), slot(source)), (hash, of_slot), "{source:#x}");
        }
        let servers = [0x0a00_0003, 0x0a00_0002, 0x0a00_0001].map(|address| preference(address, 80));
        assert_eq!(servers, [(1631, 3453), (1231, 3544), (3167, 700)]);
    }
}
