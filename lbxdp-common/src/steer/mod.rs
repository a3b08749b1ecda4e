//! The way of a packet: parse → classify → follow → forward.
//!
//! Each step says `Result<_, Reason>`, and `?` joins them. What happens to a packet is decided here and only here, in
//! the kernel, in tests and in the daemon alike.
//!
//! The next packet of a settled connection is sent at once, whatever its method and family. Whatever else there is enters a
//! [stage](Stage), that takes over the frame, or asks a [part](Ways), that answers a question about the connection.

mod answer;
mod arrival;
mod back;
mod classify;
mod error;
mod follow;
mod forward;
mod fragment;
mod fresh;
mod hold;
mod kind;
mod meet;
mod open;
mod parse;
mod rare;
mod refuse;
mod service;
mod settled;
mod tagged;
mod v6;

/// The rarer parts of the way, as [`Ways`] offers them.
pub mod parts {
    pub use super::answer::{expect_reply, publish_reply};
    pub use super::fragment::remember_fragment;
    pub use super::meet::meet;
    pub use super::open::{by_hash, by_scheduler, claim, consult, finish, plan, remember, template};
    pub use crate::template::confirm;
}

mod stage;

pub use arrival::{ARRIVAL_CELLS, Arrival, Desk, PREFIX_CELL, Task};
pub use fragment::key_of_later;
pub use stage::{REPORT_SLOT, Route, STAGE_SLOTS, Stage, Stages};
pub use tagged::retagged;

use follow::Look;
use parse::Head;
use settled::Plain;

use crate::address::{Address, V4};
use crate::cells::Cells;
#[cfg(doc)]
use crate::connection::Key;
use crate::counters::ServerCounters;
use crate::fragment::FragmentKey;
use crate::mark::MarkRun;
use crate::notice::Notice;
use crate::overflow::Overflow;
use crate::schedule::Pool;
use crate::server::ServerId;
use crate::service::ServiceKey;
use crate::settings::SettingsView;
use crate::table::{Buckets, Hash};
use crate::tend::Errand;
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;

/// All that `steer` may ask beside the packet, whatever the width of its addresses.
pub trait World: Pool {
    /// A row of a table.
    type Row: Cells;
    /// What the entry ends with when a packet leaves.
    type Sent;

    /// Has the packet leave, at once: the entry passes on only what comes of it.
    fn sent(&self, verdict: Verdict) -> Self::Sent;
    /// The settings' row.
    fn settings(&self) -> Option<Self::Row>;
    /// A bucket of the VIP table.
    fn vip_bucket(&self, index: u32) -> Option<Self::Row>;
    /// A bucket of the table of IPv6 VIPs.
    fn vip_v6_bucket(&self, index: u32) -> Option<Self::Row>;
    /// A bucket of the table of servers that are reached by VS/NAT.
    fn source_bucket(&self, index: u32) -> Option<Self::Row>;
    /// A bucket of the table of such servers of IPv6.
    fn source_v6_bucket(&self, index: u32) -> Option<Self::Row>;
    /// The index of a service.
    fn service(&self, key: ServiceKey) -> Option<u32>;
    /// A row of [hints](crate::hint).
    fn service_hint(&self, place: u32) -> Option<Self::Row>;
    /// Is told of a service that was found by its hint: [`World::service`] was not asked.
    #[inline(always)]
    fn followed_hint(&self, _key: ServiceKey, _index: u32) {}
    /// The row of a server.
    fn server_row(&self, server: ServerId) -> Option<Self::Row>;
    /// The row that holds a server's load.
    fn load_row(&self, server: ServerId) -> Option<Self::Row>;
    /// MAC address of the interface the packet came in by, as a number ([`wire::ethernet::number`](crate::wire::ethernet::number)).
    /// No stage knows it: what enters one is for this machine.
    fn ingress_mac(&self) -> u64;
    /// Index of that interface.
    fn ingress_ifindex(&self) -> u32;
    /// A row that tells of [pressure](crate::pressure).
    fn pressure(&self, row: u32) -> Option<Self::Row>;
    /// A row of limits ([`limit`](crate::limit)).
    fn limit(&self, index: u32) -> Option<Self::Row>;
    /// What is remembered of a datagram that comes in fragments.
    fn fragment(&self, key: FragmentKey) -> Option<Self::Row>;
    /// A new row of zeros for such a datagram, in the place of the one there may be.
    fn new_fragment(&self, key: FragmentKey) -> Option<Self::Row>;
    /// What the daemon has listed to be done.
    fn errand(&self, index: u32) -> Option<Errand>;
    /// A row of the table of those rules.
    fn mark_row(&self, index: u32) -> Option<Self::Row>;
    /// Where this CPU lays down the packet that it handles.
    fn desk(&self) -> Option<Self::Row>;
    /// A row of what this CPU remembers of the ways to clients ([`client_hop`](crate::client_hop)).
    fn client_hop(&self, index: u32) -> Option<Self::Row>;
    /// Of an interface that is a VLAN the one below it (0: none) and its tags.
    fn vlan(&self, ifindex: u32) -> Option<[u64; 2]>;
    /// A place for a client that the daemon is to look for.
    fn wanted(&self, index: u32) -> Option<Self::Row>;
    /// Counts what is done for want of room.
    fn note(&self, overflow: Overflow);
    /// Counts what a packet's sender was told, or why it was not.
    fn count_notice(&self, notice: Notice);
    /// Adds to a server's counters; how many packets this CPU has counted for it now.
    fn count(&self, server: ServerId, more: ServerCounters) -> u64;
    /// The server by the scheduler of a service, for a client and its port at a VIP (addresses as numbers, see
    /// [`schedule::Request`](crate::schedule::Request)); 0: none.
    fn by_scheduler(&self, index: u32, client: u32, vip: u32, client_port: u16) -> u64 {
        parts::by_scheduler(self, index, client, vip, client_port)
    }
    /// The server by hash; 0: none.
    fn by_hash(&self, index: u32, hash: Hash) -> u64 {
        parts::by_hash(self, index, hash)
    }
}

/// The tables of one width of addresses, and the rarer parts of the way. They ask about the packet that lies on the
/// [desk](World::desk), and speak in numbers, so that in the kernel each can be a function of its own: with its own stack,
/// and verified once for all that can come in.
pub trait Ways<A: Address>: World + Buckets<A> {
    /// The rules for the marks of packets to a destination.
    fn mark_run(&self, destination: A) -> Option<MarkRun>;

    /// The answer for a packet of a connection that is not simply going on.
    fn meet(&self) -> u64 {
        parts::meet::<A, _>(self)
    }
    /// Tells a template, by a connection's bond, that the connection has gone on; not 0: is established.
    fn confirm(&self, bond: u64, is_established: u32) -> u64 {
        parts::confirm::<A, _>(self, bond, is_established)
    }
    /// Makes the reply entry ([`reply`](crate::reply)) of the connection by VS/NAT that lies on the desk live as long as it.
    /// 1: it does; 0: there is none, and the hash of its key is on the desk; else why there can be none. `begins`, if not 0:
    /// the connection is new, and whoever else has the entry gives way.
    fn expect_reply(&self, begins: u32) -> u64 {
        parts::expect_reply::<A, _>(self, begins)
    }
    /// Makes one in a place that was claimed by that hash; 1, or why not.
    fn publish_reply(&self, place: u64) -> u64 {
        parts::publish_reply::<A, _>(self, place)
    }
    /// What is to be done for a packet that belongs to no connection.
    fn plan(&self) -> u64 {
        parts::plan::<A, _>(self)
    }
    /// Claims a place of the table for a key, and takes the connection that had to make room off its server's counts.
    fn claim(&self, hash: Hash) -> u64 {
        parts::claim::<A, _>(self, hash)
    }
    /// The hash of the key of the client's template, of the service at `index`.
    fn template(&self, index: u32) -> u64 {
        parts::template::<A, _>(self, index)
    }
    /// The server by the client's template, whose time begins anew; 0: none.
    fn consult(&self, index: u32, is_datagram: u32) -> u64 {
        parts::consult::<A, _>(self, index, is_datagram)
    }
    /// Has the client's template lead to the chosen server, a new one in `place`; the choice that follows: where there is
    /// neither a template nor a place for one, it is made by hash.
    fn remember(&self, place: u64, index: u32, is_datagram: u32, choice: u64) -> u64 {
        parts::remember::<A, _>(self, place, index, is_datagram, choice)
    }
    /// Remembers what becomes of the datagram whose first fragment lies on the desk ([`Fortune`](crate::fragment::Fortune)).
    fn remember_fragment(&self, fortune: u64) -> u64 {
        parts::remember_fragment::<A, _>(self, fortune)
    }
    /// Makes the connection's entry, if there is a place for it; the answer.
    fn finish(&self, place: u64, plan: u64, choice: u64) -> u64 {
        parts::finish::<A, _>(self, place, plan, choice)
    }
}

/// Decides about a packet, and rewrites it if it is forwarded or answered. Here none is refused that would be answered: that
/// is for the stages.
#[inline(always)]
pub fn steer<F: Frame, W: Stages<F>>(frame: &mut F, world: &W) -> Result<W::Sent, Reason> {
    let headers = match parse::headers(frame) {
        Ok(headers) => headers,
        Err(ethertype) => return v6::enter(frame, world, ethertype),
    };
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    if let Err(reason) = classify::is_for_a_vip(world, settings, &headers) {
        return elsewhere(frame, world, settings, reason);
    }
    // All of it is read again, here and below: that costs less than to keep it while the VIP is looked up.
    let decided = match frame.window::<{ size_of::<Head>() }>() {
        Some(mut frame) => match Plain::<V4>::of(&frame) {
            Some(plain) => settled::go_on(&mut frame, world, settings, plain, Stage::FreshV4, Stage::V4),
            None => Err(Stage::V4),
        },
        None => Err(Stage::V4),
    };
    decided.or_else(|stage| entered(frame, world, stage))
}

/// Gives a frame over to a stage: what the entry ends with.
#[inline(always)]
fn entered<F: Frame, W: Stages<F>>(frame: &mut F, world: &W, stage: Stage) -> Result<W::Sent, Reason> {
    world.enter(stage, frame).map(|verdict| world.sent(verdict))
}

/// The stage: the way of an IPv4 packet for a VIP that is not simply the next one of its connection.
#[inline(always)]
fn arrive_v4<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let headers = parse::headers(frame).map_err(|_| Reason::NotOurs)?;
    continued(frame, world, settings, &headers)
}

/// The way of an IPv4 packet that is not for a VIP.
#[inline(always)]
fn elsewhere<F: Frame, W: Stages<F>>(
    frame: &mut F,
    world: &W,
    settings: SettingsView<W::Row>,
    reason: Reason,
) -> Result<W::Sent, Reason> {
    let headers = &parse::headers(frame).map_err(|_| reason)?;
    if classify::may_be_stray_error(world, settings, headers) {
        return entered(frame, world, Stage::ErrorBackV4);
    }
    if classify::is_from_a_server(world, settings, headers) {
        if let Some(mut frame) = frame.window::<{ size_of::<Head>() }>()
            && let Some(plain) = Plain::<V4>::of(&frame)
            && let Some(sent) = settled::send_back(&mut frame, world, settings, plain)
        {
            return Ok(sent);
        }
        return entered(frame, world, Stage::BackV4);
    }
    Err(reason)
}

/// The way of an IPv4 packet for a VIP.
#[inline(always)]
fn continued<F: Frame, W: Stages<F>>(
    frame: &mut F,
    world: &W,
    settings: SettingsView<W::Row>,
    headers: &parse::Headers,
) -> Result<Verdict, Reason> {
    let packet = match parse::packet(frame, headers) {
        Err(Reason::Fragment) => return world.enter(Stage::FragmentV4, frame),
        Err(Reason::OtherProtocol) if headers.is_icmp() => return world.enter(Stage::ErrorV4, frame),
        packet => packet?,
    };
    let look = Look::<_, V4>::at(world, settings, &packet);
    if let Some(way) = look.go_on(world, settings, &packet) {
        return forward::forward::<V4, _, _>(frame, world, &way);
    }
    look.lay_down(world, &packet)?;
    world.enter(Stage::RareV4, frame)
}
