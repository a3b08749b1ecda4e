//! What is remembered of a datagram that comes in fragments: where its first fragment went, and which of its bytes have
//! come. Only the first fragment tells its connection; all others follow it.
//!
//! ```text
//!  cell 0      what becomes of it: poisoned (bit 63), the stack's (62), known (61), a reply (60); the course
//!  cell 1      the hash of the connection's key
//!  cell 2      when it is forgotten (ticks), and above it how many units the first fragment has
//!  cell 3      units that have come, and above them how many there are in all; 0: that is not known yet
//!  cells 4, 5  of a reply of VS/NAT: the VIP it is to come from
//!  cell 6 …    a bit for each unit of eight bytes that has come
//! ```

use core::ops::ControlFlow;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::Address;
use crate::cells::Cells;
use crate::connection::Course;
use crate::table::Hash;
use crate::time::Ticks;
use crate::walk::{Step, Walker};

/// The most datagrams that are remembered; the one that was longest not asked for makes room.
pub const MAX_FRAGMENTED: u32 = 8192;
/// How long a datagram's fragments are waited for, in seconds (Linux's `ipfrag_time`).
pub const LIFETIME_S: u32 = 30;
/// How long, in seconds, a second first fragment is one of the same datagram; later its number is used again.
const SAME_S: u32 = 1;
/// Bytes of a unit, in which offsets of fragments count.
pub const UNIT_BYTES: u32 = 8;
/// Cells of a row.
pub const FRAGMENT_CELLS: usize = BITS + BIT_CELLS;

const COURSE: usize = 0;
const HASH: usize = 1;
const DUE: usize = 2;
const EXTENT: usize = 3;
const VIP: usize = 4;
const BITS: usize = 6;
/// Offsets have 13 bits.
const BIT_CELLS: usize = 8192 / 64;
/// Of cells of bits, for the verifier must see that there are no more.
const CELL_MASK: u32 = BIT_CELLS as u32 - 1;

const POISONED: u64 = 1 << 63;
const PASSES: u64 = 1 << 62;
const KNOWN: u64 = 1 << 61;
const REPLY: u64 = 1 << 60;

/// Whether a row tells what becomes of a datagram.
pub fn is_known(cells: &[u64; FRAGMENT_CELLS]) -> bool {
    cells.first().is_some_and(|fortune| fortune & KNOWN != 0)
}

/// What all fragments of a datagram have in common (RFC 791, RFC 8200 4.5).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct FragmentKey {
    /// Source and destination, as [`Address::wide`] has them.
    addresses: [[u64; 2]; 2],
    /// The identification (32 bits), the protocol of IPv4 (IPv6's fragments have it in the first one only; 8 bits), and
    /// whether it is IPv6 (1 bit).
    rest: u64,
}

impl FragmentKey {
    /// The key of the fragments of a packet from the first of two addresses to the second one.
    #[inline(always)]
    pub fn new<A: Address>(addresses: [[u64; 2]; 2], identification: u32, protocol: u8) -> Self {
        let rest = if A::IS_V6 { 1 << 40 } else { u64::from(protocol) << 32 };
        Self { addresses, rest: rest | u64::from(identification) }
    }
}

/// A part of a datagram: from unit `first` to before unit `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// Of eight bytes.
    pub first: u32,
    /// At most 8,192.
    pub end: u32,
}

/// What becomes of all fragments of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fortune(pub u64);

impl Fortune {
    /// Up to the stack, as the first one.
    pub const PASSES: Self = Self(KNOWN | PASSES);
    /// They are dropped.
    pub const POISONED: Self = Self(KNOWN | POISONED);

    /// They go where the first one went.
    #[inline(always)]
    pub const fn goes(course: Course) -> Self {
        Self(KNOWN | course.0 as u64)
    }

    /// They are a reply of VS/NAT, from the server to which the course leads.
    #[inline(always)]
    pub const fn comes_back(course: Course) -> Self {
        Self(KNOWN | REPLY | course.0 as u64)
    }

    /// Whether they are such a reply.
    #[inline(always)]
    pub const fn is_reply(self) -> bool {
        self.0 & REPLY != 0
    }

    /// Whether they are dropped.
    #[inline(always)]
    pub const fn is_poisoned(self) -> bool {
        self.0 & POISONED != 0
    }

    /// Whether they are the stack's.
    #[inline(always)]
    pub const fn passes(self) -> bool {
        self.0 & PASSES != 0
    }

    /// Where they go, if neither.
    #[inline(always)]
    pub const fn course(self) -> Course {
        Course(self.0 as u32 & Course::MASK)
    }
}

/// How a fragment fits to those that have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// None of it has come.
    New,
    /// All of it has.
    Again,
    /// Some of it has, or it reaches beyond the end.
    Overlap,
}

/// A row in memory.
#[derive(Clone, Copy)]
pub struct FragmentRow<C>(pub C);

impl<C: Cells> FragmentRow<C> {
    /// Remembers what becomes of a new datagram, whose first fragment has so many units; its bits are zero.
    #[inline(always)]
    pub fn begin<W: Walker>(self, walker: &W, fortune: Fortune, hash: Hash, due: Ticks, end: u32) {
        self.0.store(HASH, hash.0);
        self.0.store(DUE, u64::from(end) << 32 | u64::from(due.0));
        self.take(walker, Units { first: 0, end }, true);
        // Last: with this others find it.
        self.0.store(COURSE, fortune.0);
    }

    /// Notes the VIP that a reply is to come from, as [`Address::wide`] has it; before [`FragmentRow::begin`].
    #[inline(always)]
    pub fn set_vip(self, [first, second]: [u64; 2]) {
        self.0.store(VIP, first);
        self.0.store(VIP + 1, second);
    }

    /// See [`FragmentRow::set_vip`].
    #[inline(always)]
    pub fn vip(self) -> [u64; 2] {
        [self.0.load(VIP), self.0.load(VIP + 1)]
    }

    /// What becomes of the datagram, if it is known at this time.
    #[inline(always)]
    pub fn fortune(self, now: Ticks) -> Option<Fortune> {
        let fortune = self.0.load(COURSE);
        (fortune & KNOWN != 0 && !self.due().is_due(now)).then_some(Fortune(fortune))
    }

    /// The hash of the connection's key.
    #[inline(always)]
    pub fn hash(self) -> Hash {
        Hash(self.0.load(HASH))
    }

    #[inline(always)]
    fn due(self) -> Ticks {
        Ticks(self.0.load(DUE) as u32)
    }

    /// How many units the first fragment has.
    #[inline(always)]
    pub fn first_end(self) -> u32 {
        (self.0.load(DUE) >> 32) as u32
    }

    /// Whether a first fragment that comes now can be one of this datagram. `hertz`: ticks in a second.
    #[inline(always)]
    pub fn is_young(self, now: Ticks, hertz: u32) -> bool {
        self.due().since(now) > (LIFETIME_S - SAME_S).wrapping_mul(hertz).cast_signed()
    }

    /// Drops all fragments that are still to come.
    #[inline(always)]
    pub fn poison(self) {
        self.0.store(COURSE, Fortune::POISONED.0);
    }

    /// Notes what has come. A datagram of which all has come is forgotten: its number is free again.
    #[inline(always)]
    pub fn take<W: Walker>(self, walker: &W, units: Units, has_more: bool) -> Fit {
        let Units { first, end } = units;
        let extent = self.0.load(EXTENT);
        let total = (extent >> 32) as u32;
        if total != 0 && (end > total || !has_more && end != total) {
            return Fit::Overlap;
        }
        let zero = walker.zero();
        let mut marks = Marks { row: self.0, first, last: end.wrapping_sub(1), fresh: zero, again: zero };
        walker.repeat((marks.last / 64).wrapping_sub(first / 64).wrapping_add(1) & 0xff, &mut marks);
        let Marks { fresh, again, .. } = marks;
        if again != 0 {
            return if fresh == 0 { Fit::Again } else { Fit::Overlap };
        }
        let total = if has_more { 0 } else { u64::from(end) << 32 };
        self.0.add(EXTENT, total | u64::from(end.wrapping_sub(first)));
        let extent = self.0.load(EXTENT);
        if extent >> 32 == extent & 0xffff_ffff {
            self.0.store(COURSE, 0);
        }
        Fit::New
    }
}

/// How often a bit is tried to be set while other CPUs set bits beside it.
const MAX_ATTEMPTS: u32 = 4;

/// The walk over the cells of bits from unit `first` to unit `last`.
struct Marks<C> {
    row: C,
    first: u32,
    last: u32,
    /// 1 if there was a unit that had not come.
    fresh: u32,
    /// 1 if there was one that had.
    again: u32,
}

impl<C: Cells, W> Step<W> for Marks<C> {
    #[inline(always)]
    fn step(&mut self, _: &W, index: u32) -> ControlFlow<()> {
        let (first_cell, last_cell) = (self.first / 64, self.last / 64);
        let cell = first_cell.wrapping_add(index) & CELL_MASK;
        let low = if cell == first_cell { self.first % 64 } else { 0 };
        let high = if cell == last_cell { self.last % 64 } else { 63 };
        let mask = u64::MAX << low & u64::MAX >> (63 - high);
        let at = BITS + cell as usize;
        for _ in 0..MAX_ATTEMPTS {
            let bits = self.row.load(at);
            if bits & mask != 0 {
                self.again = 1;
                if bits & mask != mask {
                    self.fresh = 1;
                }
                return ControlFlow::Continue(());
            }
            if self.row.replace(at, bits, bits | mask) {
                self.fresh = 1;
                return ControlFlow::Continue(());
            }
        }
        // As if it had come: it is dropped, which fragments may be.
        self.again = 1;
        self.fresh = 1;
        ControlFlow::Break(())
    }
}

#[cfg(test)]
mod tests;
