//! The two buckets in which a key's entry may stand, looked up once: for who asks them several times.

use super::{Buckets, Pair, Slot, find_in};
use crate::address::Address;
use crate::cells::Cells;
use crate::connection::Word;

/// A key's two buckets; they may be one.
#[derive(Clone, Copy)]
pub struct Home<C> {
    /// Their indices.
    pub(super) pair: Pair,
    pub(super) first: C,
    pub(super) second: C,
}

impl<C: Cells> Home<C> {
    /// The buckets of a pair.
    #[inline(always)]
    pub fn of<A: Address, B: Buckets<A, Bucket = C>>(table: &B, pair: Pair) -> Option<Self> {
        Some(Self { pair, first: table.bucket(pair.first)?, second: table.bucket(pair.second)? })
    }

    /// The live entry of a key.
    #[inline(always)]
    pub fn find<A: Address>(&self, key: A::Cells) -> Option<(Slot<C, A>, Word)> {
        find_in::<A, _>(self.first, key).or_else(|| find_in::<A, _>(self.second, key))
    }
}
