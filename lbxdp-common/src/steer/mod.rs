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

use crate::cells::Cells;
use crate::counters::ServerCounters;
use crate::overflow::Overflow;
use crate::schedule::Pool;
use crate::server::ServerId;
use crate::service::ServiceKey;
use crate::settings::SettingsView;
use crate::table::Buckets;
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
    /// The bucket that is next to be tended, of those the daemon has listed.
    fn errand(&self, index: u32) -> Option<u32>;
    /// Counts what is done for want of room.
    fn note(&self, overflow: Overflow);
    /// Adds to a server's counters.
    fn count(&self, server: ServerId, more: ServerCounters);
}

/// Decides about a packet, and rewrites it if it is forwarded.
#[inline(always)]
pub fn steer<F: Frame, W: World>(frame: &mut F, world: &W) -> Result<Verdict, Reason> {
    let headers = parse::headers(frame)?;
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    classify::is_for_a_vip(world, settings, &headers)?;
    let packet = parse::packet(frame, &headers)?;
    let way = follow::follow(world, settings, &packet)?;
    forward::forward(frame, world, &way)
}
