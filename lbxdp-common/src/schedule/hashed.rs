//! What dh, sh and mh share: a table of slots, laid out by the daemon, that a hash leads into.

use super::{Pool, member_at, weight_of};
use crate::server::ServerId;
use crate::service::{List, ServiceFlags};

/// What a packet tells schedulers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The client's address as a number: 192.0.2.1 is 0xc0000201.
    pub client: u32,
    /// The address it wants, as a number.
    pub vip: u32,
    /// The client's port.
    pub client_port: u16,
}

impl Request {
    /// The client, with its port if the flags say so: what sh and mh hash.
    #[inline(always)]
    pub(super) fn source(self, flags: ServiceFlags) -> u32 {
        let port = if flags.has(ServiceFlags::PORT) { self.client_port } else { 0 };
        self.client.wrapping_add(port.into())
    }
}

/// The upper eight bits of a multiplicative hash (Linux `hash_32(value, 8)`, by the golden ratio).
#[inline(always)]
pub(super) const fn hash_32(value: u32) -> u32 {
    value.wrapping_mul(0x61c8_8647) >> 24
}

/// The server of a slot; `None` if it has none, or one that cannot be used.
#[inline(always)]
pub(super) fn server_in<P: Pool>(pool: &P, list: List, flags: ServiceFlags, slot: u32) -> Option<ServerId> {
    let index = List::index_in(slot, pool.member_cell(list.table_row(slot))?);
    if index >= list.length {
        return None;
    }
    let member = member_at(pool, list, index.into())?;
    (weight_of(pool, member, flags) > 0).then_some(member.server())
}
