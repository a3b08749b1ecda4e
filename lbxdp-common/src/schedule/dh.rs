//! dh: the address that is wanted tells the server. If that one cannot be used, none is picked.
//!
//! The table has the servers one after the other, whatever their weights. Source: Linux `ip_vs_dh.c`.

use super::Pool;
use super::hashed::{Request, hash_32, server_in};
use crate::server::ServerId;
use crate::service::{List, ServiceFlags};

/// Slots of the table.
pub const SLOTS: u32 = 256;

/// The slot of an address, as a number.
#[inline(always)]
pub const fn slot(vip: u32) -> u32 {
    hash_32(vip)
}

#[inline(always)]
pub(super) fn pick<P: Pool>(pool: &P, list: List, flags: ServiceFlags, request: Request) -> Option<ServerId> {
    server_in(pool, list, flags, slot(request.vip))
}
