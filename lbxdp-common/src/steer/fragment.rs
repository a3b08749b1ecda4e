//! Fragments: the first one of a datagram is handled as any packet, and where it goes is remembered; all others go there too.
//! None is put together with others here. What IPVS leaves to `ip_defrag` is kept: overlaps and tiny first fragments go
//! nowhere.

use super::follow::{Look, counted, way_to};
use super::forward::{forward, goes_whole, masquerade};
use super::parse::{Packet, Piece, Transport, v4_piece, v6_piece};
use super::{Desk, Stage, Stages, Ways, World, back, parse};
use crate::address::{Address, V4, V6};
use crate::cells::Cells;
use crate::connection::{Course, Key};
use crate::counters::ServerCounters;
use crate::fragment::{Fit, Fortune, FragmentKey, FragmentRow, LIFETIME_S, UNIT_BYTES, Units};
use crate::server::{Method, Server};
use crate::settings::SettingsView;
use crate::table::Hash;
use crate::verdict::{Fate, Reason, Verdict};
use crate::walk::Walker;
use crate::wire::Frame;

/// The stage for IPv4.
#[inline(always)]
pub(super) fn arrive_v4<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    let piece = v4_piece(frame)?;
    arrive(world, frame, &piece, Stage::RareV4)
}

/// The stage for IPv6.
#[inline(always)]
pub(super) fn arrive_v6<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    let piece = v6_piece(frame, world)?;
    arrive(world, frame, &piece, Stage::RareV6)
}

#[inline(always)]
fn arrive<A: Address, F: Frame, W: Stages<F> + Ways<A>>(
    world: &W,
    frame: &mut F,
    piece: &Piece<A>,
    rare: Stage,
) -> Result<Verdict, Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    if piece.units.first == 0 {
        first(world, frame, settings, piece, rare)
    } else {
        later(world, frame, piece)
    }
}

#[inline(always)]
fn first<A: Address, F: Frame, W: Stages<F> + Ways<A>>(
    world: &W,
    frame: &mut F,
    settings: SettingsView<W::Row>,
    piece: &Piece<A>,
    rare: Stage,
) -> Result<Verdict, Reason> {
    let least = parse::least_bytes(piece.protocol).ok_or(Reason::Fragment)?;
    if piece.ip_bytes < piece.transport + least {
        return Err(Reason::TinyFragment);
    }
    // An atomic fragment (RFC 6946) is a whole packet, whatever else has its number.
    if piece.has_more {
        check_for_first(world, settings, piece)?;
    }
    let packet = packet_of(frame, piece)?;
    let look = Look::<_, A>::at(world, settings, &packet);
    look.lay_down(world, &packet)?;
    if piece.has_more {
        Desk(world.desk().ok_or(Reason::NotReady)?).set_piece(piece.identification, piece.units.end);
    }
    if let Some(way) = look.go_on(world, settings, &packet) {
        if piece.has_more && goes_whole(world, way.course, way.ip_bytes) {
            Ways::<A>::remember_fragment(world, Fortune::goes(way.course).0);
        }
        return forward::<A, _, _>(frame, world, &way);
    }
    world.enter(rare, frame)
}

/// The packet whose first fragment this is.
#[inline(always)]
fn packet_of<A: Address, F: Frame>(frame: &F, piece: &Piece<A>) -> Result<Packet<A>, Reason> {
    let Transport { ports: [client_port, vip_port], kind } =
        parse::transport(frame, piece.protocol, piece.transport, piece.ip_bytes)?;
    let [client, vip] = piece.addresses.map(|words| A::of_wide(zerocopy::transmute!(words)));
    let key = Key {
        client,
        vip,
        client_port: client_port.to_ne_bytes(),
        vip_port: vip_port.to_ne_bytes(),
        protocol: piece.protocol,
        kind: Key::CONNECTION,
        pad: [0; 2],
    };
    Ok(Packet { key: key.cells(), kind, ip_bytes: piece.ip_bytes })
}

/// The stage for fragments of IPv4 from a server.
#[inline(always)]
pub(super) fn back_v4<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    match v4_piece(frame) {
        Ok(piece) => back(world, frame, &piece, Stage::ReplyV4),
        Err(_) => Err(Reason::NotOurs),
    }
}

/// The stage for fragments of IPv6 from a server.
#[inline(always)]
pub(super) fn back_v6<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    match v6_piece(frame, world) {
        Ok(piece) => back(world, frame, &piece, Stage::ReplyV6),
        Err(_) => Err(Reason::NotOurs),
    }
}

#[inline(always)]
fn back<A: Address, F: Frame, W: Stages<F> + Ways<A>>(
    world: &W,
    frame: &mut F,
    piece: &Piece<A>,
    reply: Stage,
) -> Result<Verdict, Reason> {
    if piece.units.first != 0 {
        return back_later(world, frame, piece);
    }
    let least = parse::least_bytes(piece.protocol).ok_or(Reason::NotOurs)?;
    if piece.ip_bytes < piece.transport + least {
        return Err(Reason::NotOurs);
    }
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    if piece.has_more {
        check_for_first(world, settings, piece)?;
    }
    let packet = packet_of(frame, piece)?;
    let found = back::found(world, &packet);
    if piece.has_more {
        let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
        if found.is_err() {
            desk.put_connection::<A>(packet.key, Hash(0), world.now());
        }
        // One that is sent back is remembered as that is done.
        desk.set_piece(piece.identification, piece.units.end);
        if found.is_err() {
            Ways::<A>::remember_fragment(world, Fortune::PASSES.0);
        }
    }
    found?;
    world.enter(reply, frame)
}

#[inline(always)]
fn back_later<A: Address, F: Frame, W: Stages<F> + Ways<A>>(
    world: &W,
    frame: &mut F,
    piece: &Piece<A>,
) -> Result<Verdict, Reason> {
    if !piece.may_be_ours() {
        return Err(Reason::NotOurs);
    }
    let now = world.now();
    let row = world.fragment(piece.key()).map(FragmentRow).ok_or(Reason::EarlyFragment)?;
    let fortune = row.fortune(now).ok_or(Reason::EarlyFragment)?;
    if fortune.is_poisoned() {
        return Err(Reason::OverlappingFragment);
    }
    let [_, client] = piece.addresses.map(|words| A::of_wide(zerocopy::transmute!(words)));
    let key = Key {
        client,
        vip: A::of_wide(zerocopy::transmute!(row.vip())),
        client_port: [0; 2],
        vip_port: [0; 2],
        protocol: piece.protocol,
        kind: Key::CONNECTION,
        pad: [0; 2],
    };
    if fortune.passes() || piece.ip_bytes <= masquerade::reply_mtu(world, frame, key, now)? {
        fit(world, row, piece)?;
    }
    if fortune.passes() {
        return Err(Reason::NotOurs);
    }
    let server = fortune.course().server();
    let reply_bytes = piece.ip_bytes.into();
    world.count(server, ServerCounters { reply_packets: 1, reply_bytes, ..ServerCounters::default() });
    masquerade::later_reply(world, frame, key, now)
}

/// Notes a later fragment. A datagram with an overlap is poisoned.
#[inline(always)]
fn fit<A: Address, C: Cells, W: World>(
    world: &W,
    row: FragmentRow<C>,
    piece: &Piece<A>,
) -> Result<(), Reason> {
    match row.take(world, piece.units, piece.has_more) {
        Fit::New => Ok(()),
        Fit::Again => Err(Reason::OverlappingFragment),
        Fit::Overlap => {
            row.poison();
            Err(Reason::OverlappingFragment)
        }
    }
}

/// Whether a first fragment is the first one of its datagram.
#[inline(always)]
fn check_for_first<A: Address, W: World>(
    world: &W,
    settings: SettingsView<W::Row>,
    piece: &Piece<A>,
) -> Result<(), Reason> {
    let now = world.now();
    let Some(row) = world.fragment(piece.key()).map(FragmentRow) else {
        return Ok(());
    };
    match row.fortune(now) {
        Some(_) if row.is_young(now, settings.hertz()) => {
            if row.first_end() != piece.units.end {
                row.poison();
            }
            Err(Reason::OverlappingFragment)
        }
        _ => Ok(()),
    }
}

#[inline(always)]
fn later<A: Address, F: Frame, W: Stages<F>>(
    world: &W,
    frame: &mut F,
    piece: &Piece<A>,
) -> Result<Verdict, Reason> {
    if !piece.may_be_ours() {
        return Err(Reason::Fragment);
    }
    let now = world.now();
    let Some(row) = world.fragment(piece.key()).map(FragmentRow) else {
        return Err(Reason::EarlyFragment);
    };
    let fortune = row.fortune(now).ok_or(Reason::EarlyFragment)?;
    if fortune.is_poisoned() {
        return Err(Reason::OverlappingFragment);
    }
    let course = fortune.course();
    // One that is cut once more comes again, in pieces, which are noted then.
    if fortune.passes() || goes_whole(world, course, piece.ip_bytes) {
        fit(world, row, piece)?;
    }
    if fortune.passes() {
        return Err(Reason::Fragment);
    }
    let way = way_to(world, course, piece.ip_bytes, row.hash())?;
    world.count(course.server(), counted(way.ip_bytes, 0));
    if course.method() == Method::MASQUERADE {
        Desk(world.desk().ok_or(Reason::NotReady)?).set_course(course, row.hash());
        return world.enter(Stage::Carry, frame);
    }
    forward::<A, _, _>(frame, world, &way)
}

/// Remembers where the packet on the desk goes, if it is the first one of a fragmented datagram. One that does not fit its
/// way is remembered when it comes again, cut.
#[inline(always)]
pub(super) fn remember_course<A: Address, W: Ways<A>>(world: &W, course: Course, ip_bytes: u32) {
    if is_fragment(world) && goes_whole(world, course, ip_bytes) {
        world.remember_fragment(Fortune::goes(course).0);
    }
}

/// The same of a reply of the connection on the desk, which fits its way.
#[inline(always)]
pub(super) fn remember_reply<A: Address, W: Ways<A>>(world: &W, course: Course) {
    if is_fragment(world) {
        world.remember_fragment(Fortune::comes_back(course).0);
    }
}

/// The same of one that goes nowhere.
#[inline(always)]
pub(super) fn remember_refusal<A: Address, W: Ways<A>>(world: &W, reason: Reason) {
    if is_fragment(world) {
        let fortune = match reason.fate() {
            Fate::Pass => Fortune::PASSES,
            Fate::Drop | Fate::Hold => Fortune::POISONED,
        };
        world.remember_fragment(fortune.0);
    }
}

#[inline(always)]
fn is_fragment<W: World>(world: &W) -> bool {
    world.desk().is_some_and(|desk| Desk(desk).is_fragment())
}

/// See [`Ways::remember_fragment`].
#[inline(always)]
pub fn remember_fragment<A: Address, W: Ways<A>>(world: &W, fortune: u64) -> u64 {
    let (Some(desk), Some(settings)) = (world.desk().map(Desk), world.settings().map(SettingsView)) else {
        return 0;
    };
    let (identification, end) = desk.piece();
    let Key { client, vip, protocol, .. } = desk.key::<A>();
    let fortune = Fortune(fortune);
    let [client, vip]: [[u64; 2]; 2] = [client, vip].map(|address| zerocopy::transmute!(address.wide()));
    let addresses = if fortune.is_reply() {
        let Some(server) = world.server_row(fortune.course().server()).map(Server) else {
            return 0;
        };
        [zerocopy::transmute!(server.address()), client]
    } else {
        [client, vip]
    };
    let key = FragmentKey::new::<A>(addresses, identification, protocol);
    let due = desk.now() + settings.ticks_of(LIFETIME_S);
    if let Some(row) = world.new_fragment(key).map(FragmentRow) {
        row.set_vip(vip);
        row.begin(world, fortune, desk.hash(), due, end);
    }
    0
}

/// The key of the datagram of an untagged frame, if it is a fragment and not the first one.
pub fn key_of_later<F: Frame, W: Walker>(frame: &F, walker: &W) -> Option<FragmentKey> {
    let (key, units) = if super::forward::is_v6(frame)? {
        let piece: Piece<V6> = v6_piece(frame, walker).ok()?;
        (piece.key(), piece.units)
    } else {
        let piece: Piece<V4> = v4_piece(frame).ok()?;
        (piece.key(), piece.units)
    };
    (units.first != 0).then_some(key)
}

impl<A: Address> Piece<A> {
    /// What its datagram is remembered by.
    #[inline(always)]
    pub(super) fn key(&self) -> FragmentKey {
        FragmentKey::new::<A>(self.addresses, self.identification, self.protocol)
    }

    /// The part of the datagram between two bytes of it, if there is such a part.
    #[inline(always)]
    pub(super) fn units(first: u32, bytes: u32, has_more: bool) -> Result<Units, Reason> {
        // What is more than whole units, but at the end, is not counted (`ip_frag_queue`).
        let length = if has_more { bytes / UNIT_BYTES } else { bytes.div_ceil(UNIT_BYTES) };
        let end = first + length;
        if length == 0 {
            return Err(Reason::TinyFragment);
        }
        if end > 8192 {
            return Err(Reason::Malformed);
        }
        Ok(Units { first, end })
    }
}
