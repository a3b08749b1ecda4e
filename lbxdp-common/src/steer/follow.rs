//! A packet and its connection: the path of known connections.

use super::arrival::{Arrival, Desk, Task};
use super::kind::{Kind, clients_view};
use super::parse::Packet;
use super::{Ways, World};
use crate::address::Address;
use crate::cells::Cells;
use crate::connection::{Course, Word};
use crate::counters::ServerCounters;
use crate::overload::LoadRow;
use crate::server::{Hop, Method, Server, ServerFlags};
use crate::settings::SettingsView;
use crate::state::View;
use crate::table::{self, Hash, Shape, Slot};
use crate::time::Ticks;
use crate::verdict::Reason;

/// How often a change of state is tried again after another CPU changed the same connection.
const MAX_ATTEMPTS: u32 = 4;

/// Where a packet goes.
pub(super) struct Way {
    pub(super) hop: Hop,
    /// Index of the interface it leaves by.
    pub(super) ifindex: u32,
    /// The longest packet that fits, in bytes from the IP header on.
    pub(super) mtu: u32,
    /// The packet's length, likewise.
    pub(super) ip_bytes: u32,
    pub(super) course: Course,
    /// Of the connection's key.
    pub(super) hash: Hash,
}

/// A first look into the table.
pub(super) struct Look<C, A> {
    hash: Hash,
    now: Ticks,
    shape: Shape,
    known: Option<(Slot<C, A>, Word)>,
}

impl<A: Address, C: Cells> Look<C, A> {
    /// Looks for a packet's connection where it nearly always is.
    #[inline(always)]
    pub(super) fn at<W: Ways<A, Bucket = C>>(
        world: &W,
        settings: SettingsView<W::Row>,
        packet: &Packet<A>,
    ) -> Self {
        let now = world.now();
        let hash = Hash::of_cells::<A>(packet.key, settings.seed());
        // Read once: what is not found by one shape must be looked for by the same one.
        let shape = settings.shape_of::<A>();
        let known = table::find_at_home(world, shape, hash, packet.key);
        Self { hash, now, shape, known }
    }

    /// The way of a packet that is simply the next one of its connection, which moves on.
    #[inline(always)]
    pub(super) fn go_on<W: Ways<A, Bucket = C>>(
        &self,
        world: &W,
        settings: SettingsView<W::Row>,
        packet: &Packet<A>,
    ) -> Option<Way> {
        if let Some((slot, word)) = self.known
            && !packet.kind.begins()
            && !table::is_overdue(word, self.now)
            && let Ok(way) = way_to(world, word.course(), packet.ip_bytes, self.hash)
        {
            let known = Known { key: packet.key, slot, word };
            let advanced = advance(world, settings, packet.kind, Sender::Client, known, self.now);
            world.count(word.server(), counted(packet.ip_bytes, 0));
            if way.course.method() == Method::MASQUERADE {
                let desk = world.desk().map(Desk)?;
                desk.put_connection::<A>(packet.key, self.hash, self.now);
                desk.set_word(slot.word());
                desk.set_task(advanced.task());
            }
            return Some(way);
        }
        None
    }

    /// Lays any other packet down, for the stage that comes next.
    #[inline(always)]
    pub(super) fn lay_down<W: Ways<A, Bucket = C>>(
        &self,
        world: &W,
        packet: &Packet<A>,
    ) -> Result<(), Reason> {
        let desk = world.desk().map(Desk).ok_or(Reason::NotReady)?;
        desk.put::<A>(Arrival {
            cells: packet.key,
            event: packet.kind.event,
            hash: self.hash,
            now: self.now,
            ip_bytes: packet.ip_bytes,
            may_be_known: self.known.is_some() || !self.shape.is_steady(),
        });
        Ok(())
    }
}

/// What is counted for a packet of so many bytes.
#[inline(always)]
pub(super) const fn counted(ip_bytes: u32, connections: u64) -> ServerCounters {
    ServerCounters { packets: 1, bytes: ip_bytes as u64, connections, reply_packets: 0, reply_bytes: 0 }
}

/// Whose packet it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    /// Seen with VS/NAT alone.
    Server,
}

/// A connection as it was found.
pub(super) struct Known<C, A: Address> {
    /// The cells of its key.
    pub(super) key: A::Cells,
    pub(super) slot: Slot<C, A>,
    pub(super) word: Word,
}

/// What became of a connection that a packet belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Advanced {
    /// It is not there any more to be moved on.
    Gone,
    /// Nothing has changed that would have to be written.
    Stayed,
    /// Its word is another one now.
    Moved,
}

impl Advanced {
    /// What is to be done about its reply entry.
    #[inline(always)]
    pub(super) fn task(self) -> Task {
        if self == Self::Moved { Task::Renew } else { Task::Nothing }
    }
}

/// The way to a course's server, if its row is still that server's and the server has not been deleted.
#[inline(always)]
pub(super) fn way_to<W: World>(world: &W, course: Course, ip_bytes: u32, hash: Hash) -> Result<Way, Reason> {
    way_by(Server(world.server_row(course.server()).ok_or(Reason::ServerGone)?), course, ip_bytes, hash)
}

/// The same, where the row of the course's server is at hand.
#[inline(always)]
pub(super) fn way_by<C: Cells>(
    server: Server<C>,
    course: Course,
    ip_bytes: u32,
    hash: Hash,
) -> Result<Way, Reason> {
    let (row_id, ifindex) = server.identity();
    let hop = server.hop();
    if row_id != course.server() || !hop.flags.has(ServerFlags::AVAILABLE) {
        return Err(Reason::ServerGone);
    }
    Ok(Way { hop, ifindex, mtu: server.change().mtu.into(), ip_bytes, course, hash })
}

/// Moves a connection on by one packet. Only the CPU whose exchange succeeds moves the server's counts.
#[inline(always)]
#[expect(clippy::needless_pass_by_value, reason = "it is inlined: its parts are what is passed")]
pub(super) fn advance<A: Address, W: Ways<A>>(
    world: &W,
    settings: SettingsView<W::Row>,
    kind: Kind,
    sender: Sender,
    known: Known<W::Bucket, A>,
    now: Ticks,
) -> Advanced {
    let Known { key, slot, mut word } = known;
    for _ in 0..MAX_ATTEMPTS {
        let view = match sender {
            Sender::Client => clients_view(word.method()),
            Sender::Server => View::Server,
        };
        let state = kind.state_after(word.state(), view, settings.rules());
        let due = now + settings.timeout(state.timer(kind.protocol));
        let mut next = word.after(state, due);
        // A server answers whoever asks: that shows nothing of the client.
        if sender == Sender::Server || !kind.confirms() {
            next = next.half_open_as(word);
        }
        if next.is_like(word) && due.since(word.due()).unsigned_abs() < settings.refresh() {
            return Advanced::Stayed;
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
            return Advanced::Moved;
        }
        // Another CPU was faster, or the sweep was.
        match slot.word_of_cells(key) {
            Some(newer) if !newer.is_moving() => word = newer,
            _ => return Advanced::Gone,
        }
    }
    Advanced::Gone
}

/// Tells a connection's template, if it has one, what its first packets after the opening one show.
#[inline(always)]
fn confirm_template<A: Address, W: Ways<A>>(
    world: &W,
    kind: Kind,
    slot: Slot<W::Bucket, A>,
    word: Word,
    next: Word,
) {
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
