//! The schedulers: which server gets a new connection. One file each.
//!
//! A list has the newest server first, as in IPVS, so every tie goes to the server that was added last. A server is
//! usable if its weight is above 0 and it is not to be avoided.

use crate::cells::Cells;
use crate::named_enum;
use crate::server::{Load, ServerId};
use crate::service::{List, Member, Service};
use crate::walk::Walker;

pub mod rr;
#[cfg(test)]
mod tests;
mod wlc;
pub mod wrr;

named_enum! {
    /// A scheduler, by the name IPVS gives it.
    pub enum Scheduler: u8 {
        /// Round robin.
        RoundRobin = 1 => "rr",
        /// Weighted round robin.
        WeightedRoundRobin = 2 => "wrr",
        /// Weighted least connection; ipvsadm's default.
        WeightedLeastConnection = 3 => "wlc",
    }
}

/// What schedulers may ask.
pub trait Pool: Walker {
    /// The cell in which a service's scheduler keeps its turn.
    type Turn: Cells;

    /// A row of the member table.
    fn member_cell(&self, index: u32) -> Option<u64>;
    /// How many connections a server has.
    fn load(&self, server: ServerId) -> Load;
    /// The turn of a service.
    fn turn(&self, service: u32) -> Option<Self::Turn>;
}

/// How often a scheduler tries to take its turn against other CPUs before it goes without.
///
/// Each failure means that another CPU's turn succeeded, so this is reached only if as many CPUs are at it at once.
const MAX_ATTEMPTS: u32 = 16;

/// The server for a new connection of a service, by its index and row; `None` if none is usable.
#[inline(always)]
pub fn pick<P: Pool, C: Cells>(pool: &P, index: u32, service: Service<C>) -> Option<ServerId> {
    let list = service.list();
    match service.scheduler()? {
        Scheduler::RoundRobin => rr::pick(pool, index, list),
        Scheduler::WeightedRoundRobin => wrr::pick(pool, index, list, service.shares()),
        Scheduler::WeightedLeastConnection => wlc::pick(pool, list),
    }
}

/// The server that a hash of a connection's key leads to, whatever the scheduler; `None` if none is usable.
#[inline(always)]
pub fn by_hash<P: Pool>(pool: &P, list: List, hash: u32) -> Option<ServerId> {
    if list.length == 0 {
        return None;
    }
    let slot = hash & (list.slots() - 1);
    let server = List::server_in(slot, pool.member_cell(list.slot_row(slot))?);
    (server != ServerId::NONE).then_some(server)
}

#[inline(always)]
fn member_at<P: Pool>(pool: &P, list: List, index: u32) -> Option<Member> {
    pool.member_cell(list.start.wrapping_add(index)).map(Member::from_cell)
}
