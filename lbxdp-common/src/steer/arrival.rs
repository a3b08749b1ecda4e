//! What the rarer parts of the way are told of a packet. They are functions of their own in the kernel, which take few
//! numbers; a key does not fit. So it lies in a row that only this CPU uses, and only while it handles this packet.

use super::error::Tunnelled;
use crate::address::Address;
use crate::cells::Cells;
use crate::connection::{Course, Key, Word};
use crate::protocol::Protocol;
use crate::state::Event;
use crate::table::Hash;
use crate::time::Ticks;
use crate::verdict::Reason;
use crate::watch::{Mark, Outcome};
use crate::wire::ethernet::Tag;

/// Cells of the row: what is written below, and what the stages of a packet's way note for each other.
pub const ARRIVAL_CELLS: usize = 20;

/// Three cells for who must have an address in memory.
pub const PREFIX_CELL: usize = 12;

/// The key takes up to five cells, from the first on.
const KEY: usize = 0;
const HASH: usize = 5;
/// The time, and above it the event and whether the connection may be known.
const NOW_AND_EVENT: usize = 6;
const MAY_BE_KNOWN: u64 = 1 << 40;
const IS_FRAGMENT: u64 = 1 << 41;
/// The packet's length.
const BYTES: usize = 7;
/// The course, and above it the task.
const COURSE: usize = 8;
/// Why the packet is dropped, and above it the MTU that it did not fit.
const REASON_AND_MTU: usize = 9;
/// The interface the packet came in by.
const IFINDEX: usize = 10;
/// Of a first fragment: its identification, and above it where it ends, in units of eight bytes.
const PIECE: usize = 16;
/// The VLAN tags that were taken off the frame; 0 whenever there is none such.
const TAGS: usize = 17;

/// Which watchers want the packet ([`crate::watch`]); 0 but while such a packet is under way.
const MARK: usize = 18;
/// How it ended, for them.
const OUTCOME: usize = 19;

/// The word of the connection, by VS/NAT alone.
const WORD: usize = 11;
/// The hash of its reply entry's key.
const REPLY_HASH: usize = 15;

/// What is to be done about the reply entry of a connection by VS/NAT ([`crate::reply`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Nothing: the connection has not changed.
    Nothing,
    /// It lives as long as the connection, which has changed.
    Renew,
    /// Without one the packet must not go on.
    Require,
    /// The same, and the connection is new: another one that has it gives way.
    Begin,
}

/// A packet that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival<A: Address = crate::V4> {
    /// Of its connection's key.
    pub cells: A::Cells,
    /// What it means.
    pub event: Event,
    /// The key's hash.
    pub hash: Hash,
    /// When it came.
    pub now: Ticks,
    /// Bytes from the IP header on.
    pub ip_bytes: u32,
    /// Whether there may be a connection.
    pub may_be_known: bool,
}

/// The row of this CPU.
#[derive(Clone, Copy)]
pub struct Desk<C>(pub C);

impl<C: Cells> Desk<C> {
    /// Lays a packet down.
    #[inline(always)]
    pub fn put<A: Address>(self, arrival: Arrival<A>) {
        let Arrival { cells, event, hash, now, ip_bytes, may_be_known } = arrival;
        A::store(self.0, KEY, cells);
        self.0.store(HASH, hash.0);
        let known = if may_be_known { MAY_BE_KNOWN } else { 0 };
        self.0.store(NOW_AND_EVENT, known | u64::from(event.raw()) << 32 | u64::from(now.0));
        self.0.store(BYTES, ip_bytes.into());
    }

    /// The packet that was laid down, of the same width.
    #[inline(always)]
    pub fn arrival<A: Address>(self) -> Arrival<A> {
        Arrival {
            cells: A::load(self.0, KEY),
            event: self.event(),
            hash: self.hash(),
            now: self.now(),
            ip_bytes: self.ip_bytes(),
            may_be_known: self.may_be_known(),
        }
    }

    /// Its key.
    #[inline(always)]
    pub fn key<A: Address>(self) -> Key<A> {
        Key::from_cells(A::load(self.0, KEY))
    }

    /// Its protocol.
    #[inline(always)]
    pub fn protocol<A: Address>(self) -> Option<Protocol> {
        // The key's last cell has the same shape for both widths.
        Key::<crate::V4>::from_cells([0, self.0.load(KEY + A::KEY_CELLS - 1)]).protocol()
    }

    /// What it means.
    #[inline(always)]
    pub fn event(self) -> Event {
        Event::from_raw((self.0.load(NOW_AND_EVENT) >> 32) as u8)
    }

    /// The key's hash.
    #[inline(always)]
    pub fn hash(self) -> Hash {
        Hash(self.0.load(HASH))
    }

    /// When it came.
    #[inline(always)]
    pub fn now(self) -> Ticks {
        Ticks(self.0.load(NOW_AND_EVENT) as u32)
    }

    /// Bytes from the IP header on.
    #[inline(always)]
    pub fn ip_bytes(self) -> u32 {
        self.0.load(BYTES) as u32
    }

    /// Whether there may be a connection.
    #[inline(always)]
    pub fn may_be_known(self) -> bool {
        self.0.load(NOW_AND_EVENT) & MAY_BE_KNOWN != 0
    }

    /// Notes, after [`Desk::put`], that the packet is the first fragment of a datagram.
    #[inline(always)]
    pub fn set_piece(self, identification: u32, end: u32) {
        self.0.store(NOW_AND_EVENT, self.0.load(NOW_AND_EVENT) | IS_FRAGMENT);
        self.0.store(PIECE, u64::from(end) << 32 | u64::from(identification));
    }

    /// Whether the packet is such a one.
    #[inline(always)]
    pub fn is_fragment(self) -> bool {
        self.0.load(NOW_AND_EVENT) & IS_FRAGMENT != 0
    }

    /// Its identification, and where it ends.
    #[inline(always)]
    pub fn piece(self) -> (u32, u32) {
        let piece = self.0.load(PIECE);
        (piece as u32, (piece >> 32) as u32)
    }

    /// Lays down an inner packet in an error's quote. It takes the key's place.
    #[inline(always)]
    pub(super) fn put_tunnelled(self, tunnelled: Tunnelled) {
        let [first, second]: [u64; 2] = zerocopy::transmute!(tunnelled);
        self.0.store(KEY, first);
        self.0.store(KEY + 1, second);
    }

    /// See [`Desk::put_tunnelled`].
    #[inline(always)]
    pub(super) fn tunnelled(self) -> Tunnelled {
        zerocopy::transmute!([self.0.load(KEY), self.0.load(KEY + 1)])
    }

    /// Notes which tags were taken off the frame: the second one is zero if there was one only.
    #[inline(always)]
    pub fn set_tags(self, tags: [Tag; 2]) {
        self.0.store(TAGS, zerocopy::transmute!(tags));
    }

    /// The tags that are off the frame, and forgets them: whoever asks is the last one who handles the packet.
    #[inline(always)]
    pub fn take_tags(self) -> Option<[Tag; 2]> {
        let tags = self.0.load(TAGS);
        if tags == 0 {
            return None;
        }
        self.0.store(TAGS, 0);
        Some(zerocopy::transmute!(tags))
    }

    /// Index of the interface the packet came in by, in a stage.
    #[inline(always)]
    pub fn ifindex(self) -> u32 {
        self.0.load(IFINDEX) as u32
    }

    /// Notes it, as a stage begins.
    #[inline(always)]
    pub fn set_ifindex(self, ifindex: u32) {
        self.0.store(IFINDEX, ifindex.into());
    }

    /// Which watchers want the packet.
    #[inline(always)]
    pub fn mark(self) -> Mark {
        Mark(self.0.load(MARK))
    }

    /// Notes it, as the packet begins its way.
    #[inline(always)]
    pub fn set_mark(self, mark: Mark) {
        self.0.store(MARK, mark.0);
    }

    /// Notes how a packet ended that is watched. It is on its way no longer.
    #[inline(always)]
    pub fn set_outcome(self, outcome: Outcome) {
        self.0.store(OUTCOME, outcome.0);
        self.0.store(MARK, 0);
    }

    /// How the packet ended.
    #[inline(always)]
    pub fn outcome(self) -> Outcome {
        Outcome(self.0.load(OUTCOME))
    }

    /// Where the packet goes, for [`Stage::Carry`](super::Stage::Carry), and the hash of its key.
    #[inline(always)]
    pub fn set_course(self, course: Course, hash: Hash) {
        self.0.store(COURSE, self.0.load(COURSE) & !0xffff_ffff | u64::from(course.0));
        self.0.store(HASH, hash.0);
    }

    /// A connection by VS/NAT that a packet belongs to, for the stages that translate.
    #[inline(always)]
    pub fn put_connection<A: Address>(self, key: A::Cells, hash: Hash, now: Ticks) {
        A::store(self.0, KEY, key);
        self.0.store(HASH, hash.0);
        self.0.store(NOW_AND_EVENT, now.0.into());
    }

    /// What is to be done about the reply entry of the connection, before the packet is translated.
    #[inline(always)]
    pub fn set_task(self, task: Task) {
        self.0.store(COURSE, self.0.load(COURSE) & 0xffff_ffff | (task as u64) << 32);
    }

    /// The connection's word, for who makes its reply entry; 0: it has no entry of its own either.
    #[inline(always)]
    pub fn set_word(self, word: Word) {
        self.0.store(WORD, word.0);
    }

    /// See [`Desk::set_word`].
    #[inline(always)]
    pub fn word(self) -> Word {
        Word(self.0.load(WORD))
    }

    /// The hash of the reply entry's key.
    #[inline(always)]
    pub fn set_reply_hash(self, hash: Hash) {
        self.0.store(REPLY_HASH, hash.0);
    }

    /// See [`Desk::set_reply_hash`].
    #[inline(always)]
    pub fn reply_hash(self) -> Hash {
        Hash(self.0.load(REPLY_HASH))
    }

    /// See [`Desk::set_task`].
    #[inline(always)]
    pub fn task(self) -> Task {
        match self.0.load(COURSE) >> 32 {
            0 => Task::Nothing,
            1 => Task::Renew,
            2 => Task::Require,
            _ => Task::Begin,
        }
    }

    /// See [`Desk::set_course`].
    #[inline(always)]
    pub fn course(self) -> Course {
        Course(self.0.load(COURSE) as u32)
    }

    /// Why the packet is dropped, for [`Stage::Answer`](super::Stage::Answer).
    #[inline(always)]
    pub fn set_reason(self, reason: Reason) {
        self.0.store(REASON_AND_MTU, self.0.load(REASON_AND_MTU) & !0xffff_ffff | u64::from(reason.raw()));
    }

    /// See [`Desk::set_reason`].
    #[inline(always)]
    pub fn reason(self) -> Option<Reason> {
        Reason::from_raw(self.0.load(REASON_AND_MTU) as u32)
    }

    /// The MTU that the packet did not fit.
    #[inline(always)]
    pub fn mtu(self) -> u32 {
        (self.0.load(REASON_AND_MTU) >> 32) as u32
    }

    /// Notes it.
    #[inline(always)]
    pub fn set_mtu(self, mtu: u32) {
        self.0.store(REASON_AND_MTU, u64::from(mtu) << 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{V4, V6};
    use crate::server::{Method, ServerId};
    use core::sync::atomic::AtomicU64;

    #[test]
    fn what_is_laid_down_is_found() {
        let cells = [const { AtomicU64::new(0) }; ARRIVAL_CELLS];
        let desk = Desk(&cells[..]);
        let key = Key::<V6> {
            client: [1; 16],
            vip: [2; 16],
            client_port: [3; 2],
            vip_port: [4; 2],
            protocol: 17,
            kind: 0,
            pad: [0; 2],
        };
        let arrival = Arrival::<V6> {
            cells: key.cells(),
            event: Event::from_raw(9),
            hash: Hash(u64::MAX),
            now: Ticks(u32::MAX),
            ip_bytes: 65_535,
            may_be_known: true,
        };
        desk.put(arrival);
        desk.set_mtu(1400);
        desk.set_reason(Reason::TooBig);
        assert_eq!(desk.arrival::<V6>(), arrival);
        assert_eq!((desk.mtu(), desk.reason()), (1400, Some(Reason::TooBig)));
        let arrival = Arrival::<V4> {
            cells: [5, 6],
            event: Event::UDP,
            hash: Hash(7),
            now: Ticks(8),
            ip_bytes: 9,
            may_be_known: false,
        };
        desk.put(arrival);
        assert_eq!(desk.arrival::<V4>(), arrival);
        let course = Course::new(ServerId::new(3, 4), Method::TUNNEL);
        desk.set_course(course, Hash(10));
        desk.set_ifindex(11);
        assert_eq!((desk.course(), desk.hash(), desk.ifindex()), (course, Hash(10), 11));
        desk.set_mark(Mark(5));
        assert_eq!(desk.mark(), Mark(5));
        let outcome = Outcome::new(Err(Reason::NoServer), 1, desk.mark());
        desk.set_outcome(outcome);
        assert_eq!((desk.outcome(), desk.mark()), (outcome, Mark::default()));
    }
}
