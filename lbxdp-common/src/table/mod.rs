//! The connection table: flat buckets in shared memory, exact keys, no locks.
//!
//! A key has two candidate buckets of four entries. An entry is four cells:
//!
//! ```text
//!  cell 0, 1   the key
//!  cell 2      the word: phase, state, server, due time
//!  cell 3      the bond: of a connection the hash of its template's key, 0 if it has none;
//!              of a template how long it lasts after its last new connection, in ticks
//! ```
//!
//! Who inserts goes through the phases of the word, each step one exchange:
//!
//! ```text
//!            claim                 write key, announce               no rival
//!   EMPTY ──────────► CLAIMED ─────────────────────────► ANNOUNCED ───────────► LIVE
//!     ▲                  ▲  │                              │                      │
//!     │                  │  └── given back ──► EMPTY       │ beaten by a rival    │ retired (overdue)
//!     │                  └─────────────────────────────────┘                      │
//!     └───────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! How many buckets are in use is the table's [`Shape`]; while it grows, connections are carried to where they belong
//! by the new size ([`carry()`]).
//!
//! Invariants, model-checked in `tests/models/`:
//! - a reader sees an entry whole or not at all;
//! - of several CPUs that insert the same key exactly one ends with a live entry, and the others use it;
//! - an entry is retired only in the very state in which it was judged overdue, and by one party only;
//! - a connection that is carried over is found at every moment, and no change to it is lost.
//!
//! Source of the idea of two choices: Azar, Broder, Karlin, Upfal, "Balanced Allocations" (1994).

mod carry;
mod find;
mod hash;
mod insert;
mod shape;
#[cfg(test)]
mod tests;

pub use carry::{Carried, Stray, carry};
pub use find::{Found, find};
pub use hash::{Hash, Seed};
pub use insert::{Claim, Entry, HALF_OPEN_WAYS, Inserted, NoRoom, Published, Replaced, Wish, claim, insert};
pub use shape::{Pair, Shape};

use crate::cells::Cells;
use crate::connection::{Key, Word};
use crate::time::Ticks;
use crate::walk::Walker;

/// Entries of a bucket.
pub const WAYS: usize = 4;
/// Cells of an entry.
pub const ENTRY_CELLS: usize = 4;
/// Cells of a bucket.
pub const BUCKET_CELLS: usize = WAYS * ENTRY_CELLS;
/// Bytes of a bucket.
pub const BUCKET_BYTES: usize = BUCKET_CELLS * 8;

/// Where in an entry the word stands.
const WORD: usize = 2;
/// Where in an entry the bond stands.
const BOND: usize = 3;

/// The memory of a table.
pub trait Buckets: Walker {
    /// A bucket: a row of [`BUCKET_CELLS`].
    type Bucket: Cells;

    /// How many steps (looks at an entry) a packet waits for a connection that is being carried: some microseconds,
    /// which is far more than carrying takes unless who carries was interrupted.
    const PATIENCE: u32 = 1024;

    /// The bucket of an index.
    fn bucket(&self, index: u32) -> Option<Self::Bucket>;
}

/// One entry of a bucket.
#[derive(Clone, Copy)]
pub struct Slot<C> {
    bucket: C,
    way: usize,
}

impl<C: Cells> Slot<C> {
    /// The entry `way` of a bucket.
    #[inline(always)]
    pub const fn new(bucket: C, way: usize) -> Self {
        Self { bucket, way }
    }

    #[inline(always)]
    fn cell(self, cell: usize) -> usize {
        // The mask tells the kernel's verifier what the type can't.
        (self.way * ENTRY_CELLS + cell) & (BUCKET_CELLS - 1)
    }

    /// The word as it is now.
    #[inline(always)]
    pub fn word(self) -> Word {
        Word(self.bucket.load(self.cell(WORD)))
    }

    /// The bond as it is now.
    #[inline(always)]
    pub fn bond(self) -> u64 {
        self.bucket.load(self.cell(BOND))
    }

    /// Changes the bond.
    #[inline(always)]
    pub fn set_bond(self, bond: u64) {
        self.bucket.store(self.cell(BOND), bond);
    }

    /// The key cells as they are now.
    #[inline(always)]
    fn key_cells(self) -> [u64; 2] {
        [self.bucket.load(self.cell(0)), self.bucket.load(self.cell(1))]
    }

    /// The entry's key and word if it is live, both of the same connection.
    #[inline(always)]
    pub fn read(self) -> Option<(Key, Word)> {
        let key = self.key_cells();
        let word = self.word();
        // The key is read again: the entry may have been given to another connection in between.
        (word.is_live() && self.key_cells() == key).then(|| (Key::from_cells(key), word))
    }

    /// The word, if this is a live entry of the key.
    #[inline(always)]
    fn holds(self, key: [u64; 2]) -> Option<Word> {
        if self.key_cells() != key {
            return None;
        }
        let word = self.word();
        (word.is_live() && self.key_cells() == key).then_some(word)
    }

    /// The word, if this is (still) a live entry of the key.
    #[inline(always)]
    pub fn word_of(self, key: Key) -> Option<Word> {
        self.holds(key.cells())
    }

    /// Changes the word from what it was seen as; false if somebody else changed it first.
    #[inline(always)]
    pub fn change(self, seen: Word, to: Word) -> bool {
        self.bucket.replace(self.cell(WORD), seen.0, to.0)
    }

    /// Takes the entry out of the table if its word is still what it was seen as. Only who gets `true` may take the
    /// connection off its server's counts.
    #[inline(always)]
    pub fn retire(self, seen: Word) -> bool {
        self.bucket.replace(self.cell(WORD), seen.0, 0)
    }
}

/// The live entry of a key, where it belongs: the one look that nearly every packet needs.
#[inline(always)]
pub fn find_at_home<B: Buckets>(
    table: &B,
    shape: Shape,
    hash: Hash,
    key: Key,
) -> Option<(Slot<B::Bucket>, Word)> {
    let (pair, key) = (shape.home_of(hash), key.cells());
    if let Some(found) = find_in(table.bucket(pair.first)?, key) {
        return Some(found);
    }
    find_in(table.bucket(pair.second)?, key)
}

#[inline(always)]
fn find_in<C: Cells>(bucket: C, key: [u64; 2]) -> Option<(Slot<C>, Word)> {
    // Written out: a loop would make the entry's place a variable for the verifier to follow.
    if let Some(word) = Slot::new(bucket, 0).holds(key) {
        return Some((Slot::new(bucket, 0), word));
    }
    if let Some(word) = Slot::new(bucket, 1).holds(key) {
        return Some((Slot::new(bucket, 1), word));
    }
    if let Some(word) = Slot::new(bucket, 2).holds(key) {
        return Some((Slot::new(bucket, 2), word));
    }
    if let Some(word) = Slot::new(bucket, 3).holds(key) {
        return Some((Slot::new(bucket, 3), word));
    }
    None
}

/// Whether a live entry's time is over.
#[inline(always)]
pub fn is_overdue(word: Word, now: Ticks) -> bool {
    word.due().is_due(now)
}

/// Whether a live entry is overdue and may go for that. A template may not: connections of it may live.
#[inline(always)]
pub fn has_expired(word: Word, now: Ticks) -> bool {
    !word.is_template() && is_overdue(word, now)
}
