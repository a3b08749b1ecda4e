//! Which buckets a key may be in.

use crate::address::Address;
use crate::connection::Key;

/// The secret of a table: without it nobody can make keys that meet in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Added to the key.
    pub offset: u64,
    /// Multiplies the key; must be odd, else the hash has no spread.
    pub multiplier: u64,
}

/// The 64-bit hash of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(pub u64);

impl Hash {
    /// Multiplications by odd numbers and shifts are one to one, so distinct keys differ until the last cut; the first
    /// multiplier is secret. The constants are those of `MurmurHash3`'s finalizer.
    #[inline(always)]
    pub fn of<A: Address>(key: Key<A>, seed: Seed) -> Self {
        Self::of_cells::<A>(key.cells(), seed)
    }

    /// Of a key's cells.
    #[inline(always)]
    pub fn of_cells<A: Address>(cells: A::Cells, seed: Seed) -> Self {
        let mut hash = seed.offset;
        let mut cells = cells.as_ref().iter();
        let last = cells.next_back().copied().unwrap_or_default();
        for cell in cells {
            hash = (cell ^ hash).wrapping_mul(seed.multiplier);
            hash ^= hash >> 32;
        }
        hash = (hash ^ last).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^= hash >> 29;
        Self(hash)
    }

    /// Chooses the first candidate bucket.
    #[inline(always)]
    pub const fn first(self) -> u32 {
        self.0 as u32
    }

    /// Chooses the second candidate bucket.
    #[inline(always)]
    pub const fn second(self) -> u32 {
        (self.0 >> 32) as u32
    }
}
