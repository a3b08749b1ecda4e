//! What the four ways of a bucket are like, looked at together.

use super::{Slot, WAYS};
use crate::address::Address;
use crate::cells::Cells;
use crate::connection::{HALF_OPEN_SHIFT, MOVING_SHIFT, STATE_SHIFT, Word};
use crate::time::Ticks;

/// The words of a bucket as they were at one look: each is read once.
#[derive(Clone, Copy)]
pub(super) struct Words(pub(super) [u64; WAYS]);

impl Words {
    #[inline(always)]
    pub(super) fn of<A: Address, C: Cells>(bucket: C) -> Self {
        let word = |way| Slot::<C, A>::new(bucket, way).word().0;
        Self([word(0), word(1), word(2), word(3)])
    }

    /// Those that are live (a phase of 3), whose due time is not ahead, that are not being carried elsewhere, and that
    /// may go for it: templates may not.
    #[inline(always)]
    pub(super) fn overdue(self, now: Ticks) -> Ways {
        self.where_(|word| {
            word & word >> 1 & !(word >> MOVING_SHIFT) & is_over(word, now) & !is_template(word)
        })
    }

    /// Those that are no templates.
    #[inline(always)]
    pub(super) fn connections(self) -> Ways {
        self.where_(|word| !is_template(word))
    }

    /// Those for whose word the lowest bit of `test` is 1.
    ///
    /// Made by shifts alone: where each way were a branch, the kernel's verifier would go through every combination.
    #[inline(always)]
    fn where_(self, test: impl Fn(u64) -> u64) -> Ways {
        let [first, second, third, fourth] = self.0;
        let bit = |word, way: u32| (test(word) as u32 & 1) << way;
        Ways(bit(first, 0) | bit(second, 1) | bit(third, 2) | bit(fourth, 3))
    }
}

/// The lowest bytes of a bucket's words, a byte each way: phases, and whether they are half open or moving. All ways are looked at
/// at once.
#[derive(Clone, Copy)]
pub(super) struct Phases(u32);

impl Phases {
    /// The lowest bit of each way.
    const LOWEST: u32 = 0x0101_0101;
    /// Times this, the lowest bits of four bytes stand side by side from bit 24 on, and no two of the products' bits meet.
    const SIDE_BY_SIDE: u32 = 1 << 24 | 1 << 17 | 1 << 10 | 1 << 3;

    #[inline(always)]
    pub(super) fn of(Words([first, second, third, fourth]): Words) -> Self {
        let byte = |word: u64| (word as u32) & 0xff;
        Self(byte(first) | byte(second) << 8 | byte(third) << 16 | byte(fourth) << 24)
    }

    /// The ways whose place is free: a phase of 0.
    #[inline(always)]
    pub(super) fn empty(self) -> Ways {
        Self::ways(!(self.0 | self.0 >> 1))
    }

    /// Those that are live (a phase of 3) and half open, overdue or not, and not being carried elsewhere.
    #[inline(always)]
    pub(super) fn half_open(self) -> Ways {
        Self::ways(self.0 & self.0 >> 1 & self.0 >> HALF_OPEN_SHIFT & !(self.0 >> MOVING_SHIFT))
    }

    /// The ways whose lowest bit is 1.
    #[inline(always)]
    fn ways(bits: u32) -> Ways {
        Ways((bits & Self::LOWEST).wrapping_mul(Self::SIDE_BY_SIDE) >> 24 & 0xf)
    }
}

/// Some of the ways of a bucket, a bit each.
#[derive(Clone, Copy)]
pub(super) struct Ways(pub(super) u32);

impl Ways {
    /// Those that are in both sets.
    #[inline(always)]
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// These if `condition` holds, else none.
    #[inline(always)]
    pub(super) fn if_(self, condition: bool) -> Self {
        if condition { self } else { Self(0) }
    }

    #[inline(always)]
    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// How many: a number of four bits for each of the sixteen sets.
    #[inline(always)]
    pub(super) const fn count(self) -> u32 {
        (0x4332_3221_3221_2110_u64 >> (self.0 * 4)) as u32 & 7
    }

    /// The lowest one (0 of none): two bits for each of the sixteen sets.
    #[inline(always)]
    pub(super) fn lowest(self) -> usize {
        (0x1213_1210_u32 >> (self.0 * 2)) as usize & 3
    }

    #[inline(always)]
    pub(super) fn without_lowest(self) -> Self {
        Self(self.0 & self.0.wrapping_sub(1))
    }
}

/// 1 if a word is a template's, else 0: the upper three bits of its state.
#[inline(always)]
fn is_template(word: u64) -> u64 {
    word >> (STATE_SHIFT + 1) & word >> (STATE_SHIFT + 2) & word >> (STATE_SHIFT + 3) & 1
}

/// 1 if the due time of a word is not ahead, else 0.
#[inline(always)]
fn is_over(word: u64, now: Ticks) -> u64 {
    u64::from(Word(word).due().since(now).wrapping_sub(1).cast_unsigned() >> 31)
}
