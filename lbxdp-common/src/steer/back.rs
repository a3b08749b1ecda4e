//! Replies: what the servers that are reached by VS/NAT send back to their clients through the director.

use super::arrival::Desk;
use super::follow::{Advanced, Known, Sender, advance};
use super::parse::{Packet, headers, packet, v6_packet};
use super::{Stage, Stages, Ways};
use crate::address::{Address, V4, V6};
use crate::connection::Course;
use crate::counters::ServerCounters;
use crate::protocol::Protocol;
use crate::reply::{self, Owner, told};
use crate::settings::SettingsView;
use crate::table::{self, Hash};
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;

/// An IPv4 packet from such a server.
#[inline(always)]
pub(super) fn arrive_v4<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    // Whatever is no packet of a connection is the stack's, as it would be from any other host.
    let Ok(headers) = headers(frame) else {
        return Err(Reason::NotOurs);
    };
    match packet(frame, &headers) {
        Ok(packet) => arrive::<V4, _, _>(world, frame, &packet, Stage::ReplyV4),
        Err(Reason::Fragment) => world.enter(Stage::BackPieceV4, frame),
        Err(_) => Err(Reason::NotOurs),
    }
}

/// An IPv6 packet from such a server.
#[inline(always)]
pub(super) fn arrive_v6<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    match v6_packet(frame, world) {
        Ok(packet) => arrive::<V6, _, _>(world, frame, &packet, Stage::ReplyV6),
        Err(Reason::Fragment) => world.enter(Stage::BackPieceV6, frame),
        Err(_) => Err(Reason::NotOurs),
    }
}

/// Moves the packet's connection on, and has it translated. A packet of no connection is the stack's, untouched.
#[inline(always)]
fn arrive<A: Address, F: Frame, W: Stages<F> + Ways<A>>(
    world: &W,
    frame: &mut F,
    packet: &Packet<A>,
    next: Stage,
) -> Result<Verdict, Reason> {
    found(world, packet)?;
    world.enter(next, frame)
}

/// Moves the packet's connection on, which lies on the desk then; gives its key and course.
#[inline(always)]
pub(super) fn found<A: Address, W: Ways<A>>(
    world: &W,
    packet: &Packet<A>,
) -> Result<(A::Cells, Course), Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    let now = world.now();
    let reply = reply::cells_from::<A>(packet.key);
    let (bond, server) = reply::find::<A, _>(world, settings, reply);
    if bond == 0 {
        return Err(Reason::NotOurs);
    }
    let Some(Owner { slot, key, word }) =
        reply::owner::<A, _>(world, settings.shape_of::<A>(), told::<A>(reply), bond, server)
    else {
        return Err(Reason::NotOurs);
    };
    if table::is_overdue(word, now) {
        return Err(Reason::NotOurs);
    }
    let mut advanced = Advanced::Stayed;
    if !word.is_moving() {
        // That a server has answered is what assures a template of UDP (`udp_state_transition`).
        let template = slot.bond();
        if matches!(packet.kind.protocol, Protocol::Udp) && template != 0 && word.is_half_open() {
            Ways::<A>::confirm(world, template, 1);
        }
        advanced = advance(world, settings, packet.kind, Sender::Server, Known { key, slot, word }, now);
    }
    let reply_bytes = packet.ip_bytes.into();
    world.count(server, ServerCounters { reply_packets: 1, reply_bytes, ..ServerCounters::default() });
    desk.put_connection::<A>(key, Hash(bond), now);
    desk.set_word(slot.word());
    desk.set_course(word.course(), Hash(bond));
    desk.set_task(advanced.task());
    Ok((key, word.course()))
}
