//! Which buckets of the table are in use, and what a key's are.
//!
//! The memory is there for the limit, but few buckets are used at first: a small table stays in the CPU's cache. It grows
//! in place, while packets flow, in four shapes. Between two of them the daemon waits until no packet is handled by the
//! earlier one:
//!
//! ```text
//!              home   elsewhere
//!   steady     old    old         one pair of buckets a key
//!   opening    old    new         looks into both, inserts by the old size
//!   moving     new    old         looks into both, inserts by the new size; connections are carried over
//!   steady     new    new
//! ```
//!
//! Whoever inserts while there are two sizes meets rivals in the buckets of both, so one key never gets two entries.

use super::Hash;

/// How many buckets are in use, now and before or after a growth. One cell, so it is seen whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(pub u64);

/// The two candidate buckets of a key; they may be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The index of the one.
    pub first: u32,
    /// The index of the other.
    pub second: u32,
}

impl Shape {
    /// New connections go into the first `home` buckets; there may be some by the size `elsewhere` too.
    #[inline(always)]
    pub const fn new(home: u32, elsewhere: u32) -> Self {
        Self((elsewhere as u64) << 32 | home as u64)
    }

    /// A table that does not grow now.
    #[inline(always)]
    pub const fn steady(buckets: u32) -> Self {
        Self::new(buckets, buckets)
    }

    /// How many buckets new connections go into.
    #[inline(always)]
    pub const fn home(self) -> u32 {
        self.0 as u32
    }

    /// The other size by which there may be connections.
    #[inline(always)]
    pub const fn elsewhere(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether there is only one size.
    #[inline(always)]
    pub const fn is_steady(self) -> bool {
        self.home() == self.elsewhere()
    }

    /// How many buckets may hold connections.
    pub const fn buckets(self) -> u32 {
        if self.home() > self.elsewhere() { self.home() } else { self.elsewhere() }
    }

    /// Where a key belongs.
    #[inline(always)]
    pub const fn home_of(self, hash: Hash) -> Pair {
        Pair::among(hash, self.home())
    }

    /// Where a key may be besides.
    #[inline(always)]
    pub const fn elsewhere_of(self, hash: Hash) -> Pair {
        Pair::among(hash, self.elsewhere())
    }
}

impl Pair {
    /// Each half of the hash, as a fraction of its range, of the number of buckets: any number will do, and no division.
    #[inline(always)]
    const fn among(hash: Hash, buckets: u32) -> Self {
        Self {
            first: ((hash.first() as u64 * buckets as u64) >> 32) as u32,
            second: ((hash.second() as u64 * buckets as u64) >> 32) as u32,
        }
    }

    /// Whether a bucket is one of the two.
    #[inline(always)]
    pub const fn has(self, index: u32) -> bool {
        self.first == index || self.second == index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_hash_has_its_buckets_among_those_in_use(hash: u64, home in 1u32.., elsewhere in 1u32..) {
            let shape = Shape::new(home, elsewhere);
            prop_assert_eq!((shape.home(), shape.elsewhere()), (home, elsewhere));
            prop_assert_eq!(shape.buckets(), home.max(elsewhere));
            let (here, there) = (shape.home_of(Hash(hash)), shape.elsewhere_of(Hash(hash)));
            prop_assert!(here.first < home && here.second < home);
            prop_assert!(there.first < elsewhere && there.second < elsewhere);
            prop_assert_eq!(shape.is_steady(), home == elsewhere);
            prop_assert!(here.has(here.first) && here.has(here.second));
        }
    }
}
