//! Watching: what a watcher wants to see of the packets, how one that is chosen is marked on its way, and the record that is
//! made of it in the end.
//!
//! ```text
//!   lbxdp_watched ── choose ──► mark on the desk ── steer, stages ──► outcome on the desk ──► report ──► ring
//!     (in the place of lbxdp       (which watchers)                    (who ends the packet)
//!      while somebody watches)
//! ```
//!
//! The program `lbxdp` knows nothing of all this. A stage looks at the mark when it is done; it is 0 but while a chosen packet is
//! under way, for whoever ends such a packet takes it away.

mod outcome;
mod seen;
mod wish;

pub use outcome::{Ending, Outcome, Outcomes};
pub use seen::{Seen, What};
pub use wish::{Budget, WISH_CELLS, Wish, WishRow};

use core::ops::ControlFlow;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cells::Cells;
use crate::named_enum;
use crate::time::Ticks;
use crate::walk::{Step, Walker};

/// How many watchers there can be at once. Each has a slot: a row of wishes, and a bit in masks.
pub const WATCHERS: u32 = 8;
/// So many bytes of a frame are shown, from its first on: a power of two.
pub const HEAD_BYTES: usize = 256;
/// Bytes of the ring of records: a power of two.
pub const WATCHED_RING_BYTES: u32 = 1 << 20;

named_enum! {
    /// What became of the packets that a watcher's filter fits. Each is counted once, under one of these.
    pub enum Tally: u32 {
        /// Shown.
        Shown = 0 => "shown",
        /// Left out by chance, as the watcher wanted one of so many.
        SampledOut = 1 => "sampled_out",
        /// Left out, as there had been as many as the watcher wanted in a second.
        Limited = 2 => "limited",
        /// It came to another end than the watcher wanted to see.
        OtherOutcome = 3 => "other_outcome",
        /// The ring was full, or the watcher too slow.
        Lost = 4 => "lost",
    }
}

/// Places for [`Tally`] in a row of counts: a power of two.
pub const TALLIES: usize = 8;

const _: () = assert!(Tally::COUNT <= TALLIES, "a place for each");

/// What [`choose`] and [`report`] may ask.
pub trait Watches: Walker {
    /// A row of wishes.
    type Row: Cells;
    /// The wish in a watcher's slot.
    fn wish(&self, slot: u32) -> Option<Self::Row>;
    /// Counts a packet for a watcher.
    fn tally(&self, slot: u32, tally: Tally);
    /// The time.
    fn now(&self) -> Ticks;
    /// Any number.
    fn random(&self) -> u32;
}

/// Which watchers want a packet, and whether they must see it as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mark(pub u64);

impl Mark {
    /// Of all watchers.
    const SLOTS: u64 = (1 << WATCHERS) - 1;
    /// Its head is to be copied at once: it may be sent by the entry, which changes it.
    const AT_ONCE: u64 = 1 << 8;
    /// Its head has been copied.
    const COPIED: u64 = 1 << 9;
    /// All bits there are.
    pub(crate) const BITS: u32 = 10;

    /// Whether anybody wants it.
    #[inline(always)]
    pub const fn is_any(self) -> bool {
        self.0 != 0
    }

    /// Which watchers want it, a bit each.
    #[inline(always)]
    pub const fn slots(self) -> u32 {
        (self.0 & Self::SLOTS) as u32
    }

    /// Whether its head is to be copied at once.
    #[inline(always)]
    pub const fn is_at_once(self) -> bool {
        self.0 & Self::AT_ONCE != 0
    }

    /// Whether its head has been copied.
    #[inline(always)]
    pub const fn is_copied(self) -> bool {
        self.0 & Self::COPIED != 0
    }

    /// After its head has been copied.
    #[inline(always)]
    #[must_use]
    pub const fn copied(self) -> Self {
        Self(self.0 | Self::COPIED)
    }
}

/// Which watchers want a packet that came in by an interface. Whoever wants to see what is forwarded pays for it here: nearly all
/// packets are, and are not to cost more than a look. Others pay when the packet turns out to be one that they want.
#[inline(always)]
pub fn choose<W: Watches>(world: &W, seen: Seen, ifindex: u32) -> Mark {
    let mut choice = Choice { seen, ifindex, random: world.random(), mark: world.zero().into() };
    world.repeat(WATCHERS, &mut choice);
    Mark(choice.mark)
}

struct Choice {
    seen: Seen,
    ifindex: u32,
    random: u32,
    mark: u64,
}

impl<W: Watches> Step<W> for Choice {
    #[inline(always)]
    fn step(&mut self, world: &W, slot: u32) -> ControlFlow<()> {
        let Some(row) = world.wish(slot).map(WishRow) else {
            return ControlFlow::Break(());
        };
        if !row.fits(&self.seen, self.ifindex) {
            return ControlFlow::Continue(());
        }
        if self.random > row.threshold() {
            world.tally(slot, Tally::SampledOut);
        } else if !row.outcomes().has(Outcomes::FORWARDED) {
            self.mark |= 1 << slot;
        } else if row.admits(world.now()) {
            self.mark |= Mark::AT_ONCE | 1 << slot;
        } else {
            world.tally(slot, Tally::Limited);
        }
        ControlFlow::Continue(())
    }
}

/// Which of the watchers that wanted a packet want it now that its end is known.
#[inline(always)]
pub fn admit<W: Watches>(world: &W, slots: u32, outcome: Outcome) -> u32 {
    let mut admission = Admission { slots, outcome, left: world.zero() };
    world.repeat(WATCHERS, &mut admission);
    admission.left
}

struct Admission {
    slots: u32,
    outcome: Outcome,
    left: u32,
}

impl<W: Watches> Step<W> for Admission {
    #[inline(always)]
    fn step(&mut self, world: &W, slot: u32) -> ControlFlow<()> {
        if self.slots & 1 << slot == 0 {
            return ControlFlow::Continue(());
        }
        let Some(row) = world.wish(slot).map(WishRow) else {
            return ControlFlow::Break(());
        };
        let wanted = row.outcomes();
        if !wanted.has(self.outcome.among_outcomes()) {
            world.tally(slot, Tally::OtherOutcome);
        } else if wanted.has(Outcomes::FORWARDED) || row.admits(world.now()) {
            self.left |= 1 << slot;
        } else {
            world.tally(slot, Tally::Limited);
        }
        ControlFlow::Continue(())
    }
}

/// Counts a packet for some watchers.
#[inline(always)]
pub fn tally_all<W: Watches>(world: &W, slots: u32, tally: Tally) {
    world.repeat(WATCHERS, &mut Count { slots, tally });
}

struct Count {
    slots: u32,
    tally: Tally,
}

impl<W: Watches> Step<W> for Count {
    #[inline(always)]
    fn step(&mut self, world: &W, slot: u32) -> ControlFlow<()> {
        if self.slots & 1 << slot != 0 {
            world.tally(slot, self.tally);
        }
        ControlFlow::Continue(())
    }
}

/// A packet that was watched, as it lies in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Watched {
    /// When, in nanoseconds of the kernel's monotonic clock.
    pub nanos: u64,
    /// [`Outcome`].
    pub outcome: u64,
    /// Which watchers get it, a bit each.
    pub slots: u32,
    /// Index of the interface it came in by.
    pub ifindex: u32,
    /// Bytes of the frame as it came.
    pub bytes: u32,
    /// Bytes of the frame as it leaves; 0 if it does not, or leaves as it came.
    pub bytes_after: u32,
    /// The frame as it came: its first bytes, and behind them whatever was there.
    pub head: [u8; HEAD_BYTES],
    /// The same of the frame as it leaves.
    pub head_after: [u8; HEAD_BYTES],
}

impl Watched {
    /// The first bytes of the frame as it came.
    pub fn head(&self) -> &[u8] {
        self.head.get(..self.bytes as usize).unwrap_or(&self.head)
    }

    /// The first bytes of the frame as it leaves; none if it does not, or leaves as it came.
    pub fn head_after(&self) -> &[u8] {
        self.head_after.get(..self.bytes_after as usize).unwrap_or(&self.head_after)
    }
}

#[cfg(test)]
mod tests;
