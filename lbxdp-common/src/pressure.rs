//! When a packet last went by hash because a table had no room for its connection. Each family's table has cells of its own.
//!
//! A connection without an entry looks like none at all. So for as long as one may live after the last of them was seen,
//! packets that belong to no connection follow the hash too, instead of going to the stack, which would reset them; and new
//! ones do for a while, for they may be one that is opened again.
//!
//! That is asked of each [sector](sector_of) of the hashes by itself: in a large table now and then one connection finds both of
//! its buckets full, and all others are none of its concern.

use core::marker::PhantomData;

use crate::address::{Address, V4};
use crate::cells::Cells;
use crate::steer::World;
use crate::table::Hash;
use crate::time::Ticks;

/// Cells of a row: one for each family.
pub const PRESSURE_CELLS: usize = 2;
/// The first row is about all of a table, each other one about a sector.
pub const PRESSURE_ROWS: u32 = 1 + SECTORS;
/// The row about all of a table.
pub const WHOLE: u32 = 0;

/// How many sectors there are; a power of two.
const SECTORS: u32 = 1 << 12;

/// The row of a hash's sector.
#[inline(always)]
pub const fn sector_of(hash: Hash) -> u32 {
    // Bits that hardly a bucket goes by: who shares a full bucket need not share the sector.
    1 + (hash.0 as u32 & (SECTORS - 1))
}

/// A packet of the connection (or of the template) with this hash goes by hash now.
#[inline(always)]
pub fn feel<A: Address, W: World>(world: &W, hash: Hash, now: Ticks) -> Option<()> {
    Pressure::<_, A>::new(world.pressure(WHOLE)?).is_felt(now);
    Pressure::<_, A>::new(world.pressure(sector_of(hash))?).is_felt(now);
    Some(())
}

/// Whether a packet of the connection (or of the template) with this hash may have gone by hash less than `ticks` ago.
#[inline(always)]
pub fn may_have_been_felt<A: Address, W: World>(
    world: &W,
    hash: Hash,
    now: Ticks,
    ticks: u32,
) -> Option<bool> {
    // Nearly always the first row says no, and no sector is looked at.
    if !Pressure::<_, A>::new(world.pressure(WHOLE)?).is_recent(now, ticks) {
        return Some(false);
    }
    Some(Pressure::<_, A>::new(world.pressure(sector_of(hash))?).is_recent(now, ticks))
}

/// Set in the cell once there is a moment in it.
const KNOWN: u64 = 1 << 32;
/// The moment is written at most so often (in ticks), for all CPUs write it.
const STEP: i32 = 16;

/// What a row says of the table of a width of addresses.
#[derive(Clone, Copy)]
pub struct Pressure<C, A = V4> {
    row: C,
    width: PhantomData<A>,
}

impl<C: Cells, A: Address> Pressure<C, A> {
    const CELL: usize = A::IS_V6 as usize;

    /// The row.
    #[inline(always)]
    pub const fn new(row: C) -> Self {
        Self { row, width: PhantomData }
    }

    /// When it was last felt; `None`: never.
    #[inline(always)]
    pub fn last(self) -> Option<Ticks> {
        let cell = self.row.load(Self::CELL);
        (cell & KNOWN != 0).then_some(Ticks(cell as u32))
    }

    /// A packet goes by hash now.
    #[inline(always)]
    pub fn is_felt(self, now: Ticks) {
        if self.last().is_none_or(|last| now.since(last) > STEP || now.since(last) < 0) {
            self.row.store(Self::CELL, KNOWN | u64::from(now.0));
        }
    }

    /// It was felt less than `ticks` ago.
    #[inline(always)]
    pub fn is_recent(self, now: Ticks, ticks: u32) -> bool {
        self.last().is_some_and(|last| now.since(last).unsigned_abs() < ticks)
    }

    /// Forgets a moment that is `ticks` ago or more: before long the clock would take it for a coming one.
    pub fn forget_after(self, now: Ticks, ticks: u32) {
        let cell = self.row.load(Self::CELL);
        if cell & KNOWN != 0 && !self.is_recent(now, ticks) {
            self.row.replace(Self::CELL, cell, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::V6;
    use core::sync::atomic::AtomicU64;

    #[test]
    fn pressure_is_recent_for_the_time_asked_after_it_was_felt() {
        let cells = [const { AtomicU64::new(0) }; PRESSURE_CELLS];
        let pressure = Pressure::<_, V4>::new(&cells[..]);
        assert!(!pressure.is_recent(Ticks(5), 1000));
        pressure.is_felt(Ticks(u32::MAX));
        assert!(pressure.is_recent(Ticks(u32::MAX), 10) && pressure.is_recent(Ticks(8), 10));
        assert!(!pressure.is_recent(Ticks(9), 10));
        // A step later it is written anew, not before.
        pressure.is_felt(Ticks(10));
        assert_eq!(pressure.last(), Some(Ticks(u32::MAX)));
        pressure.is_felt(Ticks(16));
        assert_eq!(pressure.last(), Some(Ticks(16)));
        assert_eq!(Pressure::<_, V6>::new(&cells[..]).last(), None);
        pressure.forget_after(Ticks(100), 85);
        assert_eq!(pressure.last(), Some(Ticks(16)));
        pressure.forget_after(Ticks(100), 84);
        assert_eq!(pressure.last(), None);
    }
}
