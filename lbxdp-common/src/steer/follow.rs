//! A packet and its connection: state, timer, counts; and the server that a new one gets.

use super::World;
use super::parse::Packet;
use crate::cells::Cells;
use crate::connection::{Key, Word};
use crate::counters::ServerCounters;
use crate::protocol::Protocol;
use crate::schedule;
use crate::server::{Hop, Load, Server, ServerFlags, ServerId};
use crate::service::{Service, ServiceKey};
use crate::settings::SettingsView;
use crate::state::{self, Event, State, View};
use crate::table::{self, Hash, Inserted, Slot};
use crate::time::Ticks;
use crate::verdict::Reason;

/// How often a change of state is tried again after another CPU changed the same connection.
const MAX_ATTEMPTS: u32 = 4;
/// IPVS's default.
const CONN_REUSE_MODE: u32 = 1;
/// Active FTP's data connections come from here (RFC 959, 3.2).
const FTP_DATA_PORT: [u8; 2] = 20u16.to_be_bytes();

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
    let known = table::find(world, hash, packet.key).and_then(|(slot, word)| {
        if !table::is_overdue(word, now) && !packet.starts_again(word.state()) {
            return Some((slot, word));
        }
        // To traffic such a connection is gone, whether it has been swept away or not. If it makes room for the next one
        // here, it must come off its server's counts here.
        if packet.opens() && slot.retire(word) {
            uncount(world, packet.protocol, word);
        }
        None
    });
    let Some((slot, word)) = known else {
        let [first, second] = packet.key.cells();
        let opened = open(world, first, second, packet.event, hash, now);
        let (server, connections) = Opened::unpacked(opened)?;
        let way = way_to(world, server)?;
        world.count(server, packet.counted(connections));
        return Ok(way);
    };
    let way = way_to(world, word.server())?;
    advance(world, packet, settings, slot, word, now);
    world.count(word.server(), packet.counted(0));
    Ok(way)
}

impl Packet {
    #[inline(always)]
    fn opens(&self) -> bool {
        state::opens(self.protocol, self.event, false)
    }

    /// Whether it opens a new connection in place of a finished one with the same ports (IPVS: `conn_reuse_mode` 1).
    #[inline(always)]
    fn starts_again(&self, state: State) -> bool {
        self.opens()
            && state::begins(self.protocol, self.event)
            && state.is_in(state::reusable_states(self.protocol, CONN_REUSE_MODE))
    }

    #[inline(always)]
    fn state_after(&self, state: State) -> State {
        state::after(self.protocol, View::ClientOnly, false, state, self.event)
    }

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

/// Moves a connection on by one packet. Only the CPU whose exchange succeeds moves the server's counts.
#[inline(always)]
fn advance<W: World>(
    world: &W,
    packet: &Packet,
    settings: SettingsView<W::Row>,
    slot: Slot<W::Bucket>,
    mut word: Word,
    now: Ticks,
) {
    for _ in 0..MAX_ATTEMPTS {
        let state = packet.state_after(word.state());
        let due = now + settings.timeout(state.timer(packet.protocol));
        if state == word.state() && due.since(word.due()).unsigned_abs() < settings.refresh() {
            return;
        }
        if slot.change(word, word.after(state, due)) {
            let (was, is) = (word.state().is_active(packet.protocol), state.is_active(packet.protocol));
            if was != is
                && let Some(load) = world.load_row(word.server())
            {
                load.add(0, Load::moved(is));
            }
            return;
        }
        // Another CPU was faster, or the sweep was: the packet's way is settled all the same.
        match slot.word_of(packet.key) {
            Some(newer) => word = newer,
            None => return,
        }
    }
}

/// What became of opening, in one number: functions that are not inlined can return no more.
struct Opened;

impl Opened {
    const REFUSED: u64 = 1 << 63;
    const NEW: u64 = 1 << 32;

    #[inline(always)]
    fn packed(opened: Result<(ServerId, bool), Reason>) -> u64 {
        match opened {
            Ok((server, is_new)) => u64::from(server.0) | if is_new { Self::NEW } else { 0 },
            Err(reason) => Self::REFUSED | u64::from(reason.raw()),
        }
    }

    /// The server, and how many connections are to be counted for it.
    #[inline(always)]
    fn unpacked(packed: u64) -> Result<(ServerId, u64), Reason> {
        if packed & Self::REFUSED != 0 {
            return Err(Reason::from_raw(packed as u32).unwrap_or(Reason::NotReady));
        }
        Ok((ServerId(packed as u32), packed >> 32))
    }
}

/// Opens a new connection. A function of its own in the kernel, so that the path of known connections has the registers.
#[inline(never)]
fn open<W: World>(world: &W, first: u64, second: u64, event: Event, hash: Hash, now: Ticks) -> u64 {
    Opened::packed(schedule_new(world, Key::from_cells([first, second]), event, hash, now))
}

#[inline(always)]
fn schedule_new<W: World>(
    world: &W,
    key: Key,
    event: Event,
    hash: Hash,
    now: Ticks,
) -> Result<(ServerId, bool), Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let protocol = key.protocol().ok_or(Reason::OtherProtocol)?;
    let service_key = ServiceKey { vip: key.vip, port: key.vip_port, protocol: key.protocol, pad: 0 };
    let index = world.service(service_key).ok_or(Reason::NoService)?;
    if !state::opens(protocol, event, false) {
        return Err(Reason::NoConnection);
    }
    if key.client_port == FTP_DATA_PORT {
        return Err(Reason::FtpData);
    }
    let service = Service(world.service_row(index).ok_or(Reason::NotReady)?);
    let server = schedule::pick(world, index, service).ok_or(Reason::NoServer)?;
    let state = state::after(protocol, View::ClientOnly, false, State::NONE, event);
    let due = now + settings.timeout(state.timer(protocol));
    let (server, is_new, replaced) =
        match table::insert(world, hash, key, Word::live(server, state, due), now) {
            Inserted::New(replaced) => (server, true, replaced),
            Inserted::Existing(theirs, replaced) => (theirs.server(), false, replaced),
            Inserted::Full => return Err(Reason::TableFull),
        };
    if let Some(replaced) = replaced
        && let Some(protocol) = replaced.key.protocol()
    {
        uncount(world, protocol, replaced.word);
    }
    if is_new && let Some(load) = world.load_row(server) {
        load.add(0, Load::gained(state.is_active(protocol)));
    }
    Ok((server, is_new))
}

/// Takes a connection that has left the table off its server's counts.
#[inline(always)]
fn uncount<W: World>(world: &W, protocol: Protocol, word: Word) {
    if let Some(load) = world.load_row(word.server()) {
        load.add(0, Load::lost(word.state().is_active(protocol)));
    }
}
