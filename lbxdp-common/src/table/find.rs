//! Finding a key's entry wherever it is, also while the table has two sizes.

use core::ops::ControlFlow;

use super::{Buckets, Hash, Pair, Shape, Slot, WAYS};
use crate::address::{Address, V4};
use crate::connection::{Key, Word};
use crate::walk::Step;

/// Steps through a pair of buckets.
const STEPS: u32 = 2 * WAYS as u32;
/// Home, elsewhere, and home again: it may have been carried there between the two looks. It is carried only once.
const ROUND: u32 = 3 * STEPS;
/// Where a key's connection is.
pub enum Found<C, A = V4> {
    /// Here.
    Here(Slot<C, A>, Word),
    /// Nowhere at this moment: it has been on its way home for all the time that was to spare. This is what it was.
    OnItsWay(Word),
}

impl<C, A> Found<C, A> {
    /// What it is.
    #[inline(always)]
    pub fn word(&self) -> Word {
        match self {
            Self::Here(_, word) | Self::OnItsWay(word) => *word,
        }
    }

    /// The entry, unless it is on its way.
    pub fn here(self) -> Option<(Slot<C, A>, Word)> {
        match self {
            Self::Here(slot, word) => Some((slot, word)),
            Self::OnItsWay(_) => None,
        }
    }
}

struct Search<A: Address> {
    key: A::Cells,
    home: Pair,
    elsewhere: Pair,
    /// The step at which it was found.
    step: u32,
    /// Its word then; 0: not found. It is not read again: it may be carried away at any moment.
    found: u64,
    /// The word of the key's entry if it was seen moving; else 0.
    moving: u64,
}

impl<A: Address> Search<A> {
    /// Bucket and way of a step.
    #[inline(always)]
    fn place(&self, step: u32) -> (u32, usize) {
        let pair = if step / STEPS % 2 == 1 { self.elsewhere } else { self.home };
        let bucket = if (step / WAYS as u32).is_multiple_of(2) { pair.first } else { pair.second };
        (bucket, step as usize % WAYS)
    }
}

impl<A: Address, B: Buckets<A>> Step<B> for Search<A> {
    #[inline(always)]
    fn step(&mut self, table: &B, step: u32) -> ControlFlow<()> {
        if step >= ROUND && self.moving == 0 {
            return ControlFlow::Break(());
        }
        let (bucket, way) = self.place(step);
        let Some(bucket) = table.bucket(bucket) else {
            return ControlFlow::Break(());
        };
        match Slot::<_, A>::new(bucket, way).holds(self.key) {
            None => ControlFlow::Continue(()),
            Some(word) if word.is_moving() => {
                self.moving = word.0;
                ControlFlow::Continue(())
            }
            Some(word) => {
                (self.step, self.found) = (step, word.0);
                ControlFlow::Break(())
            }
        }
    }
}

/// The live entry of a key, wherever it is.
#[inline(always)]
pub fn find<A: Address, B: Buckets<A>>(
    table: &B,
    shape: Shape,
    hash: Hash,
    key: Key<A>,
) -> Option<Found<B::Bucket, A>> {
    find_cells::<A, B>(table, shape, hash, key.cells())
}

/// The same, by the key's cells.
#[inline(always)]
pub fn find_cells<A: Address, B: Buckets<A>>(
    table: &B,
    shape: Shape,
    hash: Hash,
    key: A::Cells,
) -> Option<Found<B::Bucket, A>> {
    let mut search = Search::<A> {
        key,
        home: shape.home_of(hash),
        elsewhere: shape.elsewhere_of(hash),
        step: table.zero(),
        found: table.zero().into(),
        moving: table.zero().into(),
    };
    table.repeat(if shape.is_steady() { STEPS } else { B::PATIENCE.max(ROUND) }, &mut search);
    if search.found != 0 {
        let (bucket, way) = search.place(search.step);
        let slot = Slot::new(table.bucket(bucket)?, way);
        return Some(Found::Here(slot, Word(search.found)));
    }
    (search.moving != 0).then_some(Found::OnItsWay(Word(search.moving).arrived()))
}
