//! What the packet path must know beside services and servers: one row, written by the daemon.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cells::Cells;
use crate::state::Timer;
use crate::table::Seed;

/// The row. Its first 64 bytes are all that an established TCP connection needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Settings {
    /// [`Seed::offset`] of all tables.
    pub seed_offset: u64,
    /// [`Seed::multiplier`].
    pub seed_multiplier: u64,
    /// A connection's due time is written anew only if it moves by at least so many ticks.
    pub refresh: u32,
    /// Always zero.
    pub pad: u32,
    /// How long a connection lives without a packet, in ticks, by [`Timer`].
    pub timeouts: [u32; Timer::COUNT],
    /// Always zero; see [`Pool::zero`](crate::schedule::Pool::zero).
    pub zero: u64,
}

/// Cells of the row.
pub const SETTINGS_CELLS: usize = size_of::<Settings>() / 8;
/// The cell that is always zero.
pub const ZERO_CELL: usize = SETTINGS_CELLS - 1;
const REFRESH_CELL: usize = 2;
const TIMEOUTS_CELL: usize = 3;

impl Settings {
    /// The row as cells.
    pub fn cells(self) -> [u64; SETTINGS_CELLS] {
        zerocopy::transmute!(self)
    }

    /// The row of cells.
    pub fn from_cells(cells: [u64; SETTINGS_CELLS]) -> Self {
        zerocopy::transmute!(cells)
    }
}

/// How the row is read in the packet path.
#[derive(Clone, Copy)]
pub struct SettingsView<C>(pub C);

impl<C: Cells> SettingsView<C> {
    /// The tables' secret.
    #[inline(always)]
    pub fn seed(self) -> Seed {
        Seed { offset: self.0.load(0), multiplier: self.0.load(1) }
    }

    /// Ticks of a timer.
    #[inline(always)]
    pub fn timeout(self, timer: Timer) -> u32 {
        let pair: [u32; 2] = zerocopy::transmute!(self.0.load(TIMEOUTS_CELL + usize::from(timer.0 >> 1 & 7)));
        if timer.0 & 1 == 0 { pair[0] } else { pair[1] }
    }

    /// The least step of a due time, in ticks.
    #[inline(always)]
    pub fn refresh(self) -> u32 {
        self.0.load(REFRESH_CELL) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;

    #[test]
    fn the_packet_path_reads_what_was_written() {
        let settings = Settings {
            seed_offset: 1,
            seed_multiplier: 3,
            timeouts: core::array::from_fn(|timer| 1000 + timer as u32),
            refresh: 31,
            pad: 0,
            zero: 0,
        };
        let cells = settings.cells().map(AtomicU64::new);
        let view = SettingsView(&cells[..]);
        assert_eq!(view.seed(), Seed { offset: 1, multiplier: 3 });
        assert_eq!(view.refresh(), 31);
        for timer in 0..Timer::COUNT as u8 {
            assert_eq!(view.timeout(Timer(timer)), 1000 + u32::from(timer));
        }
        assert_eq!(Settings::from_cells(settings.cells()), settings);
    }
}
