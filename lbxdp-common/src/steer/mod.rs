//! The way of a packet: parse → classify → follow → forward.
//!
//! Each step says `Result<_, Reason>`, and `?` joins them. What happens to a packet is decided here and only here, in
//! the kernel, in tests and in the daemon alike.

mod answer;
mod classify;
mod follow;
mod forward;
mod kind;
mod meet;
mod open;
mod parse;
mod refuse;
mod service;

/// The rarer parts of the way, as [`World`] offers them.
pub mod parts {
    pub use super::meet::meet;
    pub use super::open::{by_hash, by_scheduler, claim, consult, finish, plan, remember, template};
    pub use crate::template::confirm;
}

use crate::cells::Cells;
#[cfg(doc)]
use crate::connection::Key;
use crate::counters::ServerCounters;
use crate::mark::MarkRun;
use crate::notice::Notice;
use crate::overflow::Overflow;
use crate::schedule::Pool;
use crate::server::ServerId;
use crate::service::ServiceKey;
use crate::settings::SettingsView;
use crate::state::Event;
use crate::table::{Buckets, Hash};
use crate::tend::Errand;
use crate::time::Ticks;
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;

/// All that `steer` may ask beside the packet.
pub trait World: Buckets + Pool {
    /// A row of a table.
    type Row: Cells;

    /// The settings' row.
    fn settings(&self) -> Option<Self::Row>;
    /// A bucket of the VIP table.
    fn vip_bucket(&self, index: u32) -> Option<Self::Row>;
    /// The index of a service.
    fn service(&self, key: ServiceKey) -> Option<u32>;
    /// The row of a server.
    fn server_row(&self, server: ServerId) -> Option<Self::Row>;
    /// The row that holds a server's load.
    fn load_row(&self, server: ServerId) -> Option<Self::Row>;
    /// MAC address of the interface the packet came in by, as a number ([`wire::ethernet::number`](crate::wire::ethernet::number)).
    fn ingress_mac(&self) -> u64;
    /// Index of that interface.
    fn ingress_ifindex(&self) -> u32;
    /// The row that tells of pressure.
    fn pressure(&self) -> Option<Self::Row>;
    /// A row of limits ([`limit`](crate::limit)).
    fn limit(&self, index: u32) -> Option<Self::Row>;
    /// What the daemon has listed to be done.
    fn errand(&self, index: u32) -> Option<Errand>;
    /// The rules for the marks of packets to a destination (as in a packet).
    fn mark_run(&self, destination: [u8; 4]) -> Option<MarkRun>;
    /// A row of the table of those rules.
    fn mark_row(&self, index: u32) -> Option<Self::Row>;
    /// Counts what is done for want of room.
    fn note(&self, overflow: Overflow);
    /// Counts what a packet's sender was told, or why it was not.
    fn count_notice(&self, notice: Notice);
    /// Adds to a server's counters.
    fn count(&self, server: ServerId, more: ServerCounters);

    // What follows are the rarer parts of the way. They speak in numbers, so that in the kernel each can be a function of
    // its own: with its own stack, and verified once for all that can come in.

    /// The answer for a packet of a connection that is not simply going on.
    fn meet(&self, first: u64, second: u64, event: Event, hash: Hash, now: Ticks) -> u64 {
        parts::meet(self, first, second, event, hash, now)
    }
    /// Tells a template, by a connection's bond, that the connection has gone on; not 0: is established.
    fn confirm(&self, bond: u64, is_established: u32) -> u64 {
        parts::confirm(self, bond, is_established)
    }
    /// What is to be done for a packet that belongs to no connection.
    fn plan(&self, first: u64, second: u64, event: Event, now: Ticks) -> u64 {
        parts::plan(self, first, second, event, now)
    }
    /// Claims a place of the table, and takes the connection that had to make room off its server's counts.
    fn claim(&self, hash: Hash, now: Ticks) -> u64 {
        parts::claim(self, hash, now)
    }
    /// The hash of the key of a client's template ([`Key::client_number`]), of the service at `index`.
    fn template(&self, index: u32, client: u32) -> u64 {
        parts::template(self, index, client)
    }
    /// The server by the client's template, whose time begins anew; 0: none.
    fn consult(&self, index: u32, client: u32, is_datagram: u32, now: Ticks) -> u64 {
        parts::consult(self, index, client, is_datagram, now)
    }
    /// The server by hash; 0: none.
    fn by_hash(&self, index: u32, hash: Hash) -> u64 {
        parts::by_hash(self, index, hash)
    }
    /// The server by the service's scheduler; 0: none.
    fn by_scheduler(&self, index: u32, first: u64, second: u64) -> u64 {
        parts::by_scheduler(self, index, first, second)
    }
    /// Has the client's template lead to the chosen server, a new one in `place`; the choice that follows: where there is
    /// neither a template nor a place for one, it is made by hash.
    fn remember(&self, place: u64, index: u32, client: u32, is_datagram: u32, choice_and_now: u64) -> u64 {
        parts::remember(self, place, index, client, is_datagram, choice_and_now)
    }
    /// Makes the connection's entry, if there is a place for it; the answer.
    fn finish(&self, place: u64, first: u64, second: u64, plan: u64, choice_and_now: u64) -> u64 {
        parts::finish(self, place, first, second, plan, choice_and_now)
    }
}

/// Decides about a packet, and rewrites it if it is forwarded or answered.
#[inline(always)]
pub fn steer<F: Frame, W: World>(mut frame: F, world: &W) -> Result<Verdict, Reason> {
    let headers = parse::headers(&frame)?;
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    classify::is_for_a_vip(world, settings, &headers)?;
    let packet = parse::packet(&frame, &headers)?;
    match follow::follow(world, settings, &packet) {
        Ok(way) => forward::forward(&mut frame, world, &way),
        Err(reason) => refuse::refuse(frame, world, reason),
    }
}
