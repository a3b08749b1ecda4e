//! The tables of dh, sh and mh: which server has which slot, by its index in the list. They follow from addresses and
//! configured weights alone; whether a server can be used is asked when a connection comes.

mod dh;
mod mh;
mod sh;

use lbxdp_common::Scheduler;
use lbxdp_common::server::ServerRow;
use lbxdp_common::service::Member;

/// The table of a scheduler for a list of servers, all its slots; empty if it has none, or there is no server.
pub(super) fn table(scheduler: Scheduler, rows: &[ServerRow], members: &[Member]) -> Vec<u16> {
    if members.is_empty() {
        return Vec::new();
    }
    match scheduler {
        Scheduler::DestinationHashing => dh::table(members.len()),
        Scheduler::SourceHashing => sh::table(members),
        Scheduler::MaglevHashing => mh::table(rows),
        _ => Vec::new(),
    }
}

/// Indices of a list of so many servers. They fit: no list is longer.
fn indices(servers: usize) -> impl Iterator<Item = u16> + Clone {
    (0..u16::MAX).take(servers)
}
