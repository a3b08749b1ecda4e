//! A packet and its connection: the path of known connections. Whatever is not simply the next packet of one goes to
//! [`meet`](super::meet) and [`open`].

use super::World;
use super::answer::Answer;
use super::kind::Kind;
use super::open::open;
use super::parse::Packet;
use crate::connection::{Key, Word};
use crate::counters::ServerCounters;
use crate::overload::LoadRow;
use crate::server::{Hop, Server, ServerFlags, ServerId};
use crate::settings::SettingsView;
use crate::table::{self, Hash, Slot};
use crate::time::Ticks;
use crate::verdict::Reason;

/// How often a change of state is tried again after another CPU changed the same connection.
const MAX_ATTEMPTS: u32 = 4;

/// Where a packet goes.
pub(super) struct Way {
    pub(super) hop: Hop,
    /// Index of the interface it leaves by.
    pub(super) ifindex: u32,
}

/// Finds the packet's connection, or makes one, and tells where the packet goes.
#[inline(always)]
pub(super) fn follow<W: World>(
    world: &W,
    settings: SettingsView<W::Row>,
    packet: &Packet,
) -> Result<Way, Reason> {
    let now = world.now();
    let hash = Hash::of(packet.key, settings.seed());
    // Read once: what is not found by one shape must be looked for by the same one.
    let shape = settings.shape();
    let known = table::find_at_home(world, shape, hash, packet.key);
    if let Some((slot, word)) = known
        && !packet.kind.begins()
        && !table::is_overdue(word, now)
        && let Ok(way) = way_to(world, word.server())
    {
        advance(world, settings, packet.kind, packet.key, slot, word, now);
        world.count(word.server(), packet.counted(0));
        return Ok(way);
    }
    let [first, second] = packet.key.cells();
    let mut answer = Answer::STRANGER;
    if known.is_some() || !shape.is_steady() {
        answer = world.meet(first, second, packet.kind.event, hash, now);
    }
    if answer == Answer::STRANGER {
        answer = open(world, first, second, packet.kind.event, hash, now);
    }
    let (server, connections) = Answer::unpacked(answer)?;
    let way = way_to(world, server)?;
    world.count(server, packet.counted(connections));
    Ok(way)
}

impl Packet {
    #[inline(always)]
    fn counted(&self, connections: u64) -> ServerCounters {
        ServerCounters { packets: 1, bytes: u64::from(self.ip_bytes), connections }
    }
}

/// The server's row, if it is still that server's and the server has not been deleted.
#[inline(always)]
fn way_to<W: World>(world: &W, id: ServerId) -> Result<Way, Reason> {
    let server = Server(world.server_row(id).ok_or(Reason::ServerGone)?);
    let (row_id, ifindex) = server.identity();
    let hop = server.hop();
    if row_id != id || !hop.flags.has(ServerFlags::AVAILABLE) {
        return Err(Reason::ServerGone);
    }
    Ok(Way { hop, ifindex })
}

/// Moves a connection on by one packet; false if it is not there any more to be moved. Only the CPU whose exchange
/// succeeds moves the server's counts.
#[inline(always)]
pub(super) fn advance<W: World>(
    world: &W,
    settings: SettingsView<W::Row>,
    kind: Kind,
    key: Key,
    slot: Slot<W::Bucket>,
    mut word: Word,
    now: Ticks,
) -> bool {
    for _ in 0..MAX_ATTEMPTS {
        let state = kind.state_after(word.state(), settings.rules());
        let due = now + settings.timeout(state.timer(kind.protocol));
        let mut next = word.after(state, due);
        if !kind.confirms() {
            next = next.half_open_as(word);
        }
        if next.is_like(word) && due.since(word.due()).unsigned_abs() < settings.refresh() {
            return true;
        }
        if slot.change(word, next) {
            let (was, is) = (word.state().is_active(kind.protocol), state.is_active(kind.protocol));
            if was != is
                && let Some(row) = world.load_row(word.server())
            {
                LoadRow(row).change(is);
            }
            if !next.is_like(word) {
                confirm_template(world, kind, slot, word, next);
            }
            return true;
        }
        // Another CPU was faster, or the sweep was.
        match slot.word_of(key) {
            Some(newer) if !newer.is_moving() => word = newer,
            _ => return false,
        }
    }
    false
}

/// Tells a connection's template, if it has one, what its first packets after the opening one show.
#[inline(always)]
fn confirm_template<W: World>(world: &W, kind: Kind, slot: Slot<W::Bucket>, word: Word, next: Word) {
    let is_confirmed = word.is_half_open() && !next.is_half_open();
    // One that began in its midst is established already.
    let is_established =
        next.state().assures(kind.protocol) && (is_confirmed || !word.state().assures(kind.protocol));
    if is_confirmed || is_established {
        let bond = slot.bond();
        if bond != 0 {
            world.confirm(bond, is_established.into());
        }
    }
}
