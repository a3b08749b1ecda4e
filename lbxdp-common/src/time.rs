//! The clock of the packet path.

use core::ops::Add;

/// A moment in the kernel's timer ticks (`jiffies`), the lower 32 bits.
///
/// Reading `jiffies` costs nothing in a BPF program, a nanosecond clock 30 ns. The daemon finds out how long a tick is.
/// Ticks wrap around (after 49 days at 1000 Hz), so two moments compare only while they are less than half of that apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ticks(pub u32);

impl Ticks {
    /// Ticks from `earlier` to this moment; negative if this moment is the earlier one.
    #[inline(always)]
    pub const fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }

    /// Whether this moment has come.
    #[inline(always)]
    pub const fn is_due(self, now: Self) -> bool {
        now.since(self) >= 0
    }
}

impl Add<u32> for Ticks {
    type Output = Self;

    #[inline(always)]
    fn add(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_due_from_itself_on_across_the_wrap() {
        let due = Ticks(u32::MAX) + 3;
        assert_eq!(due, Ticks(2));
        assert!(!due.is_due(Ticks(u32::MAX)));
        assert!(!due.is_due(Ticks(1)));
        assert!(due.is_due(Ticks(2)));
        assert!(due.is_due(Ticks(1000)));
        assert_eq!(Ticks(1).since(Ticks(u32::MAX)), 2);
    }
}
