//! The connection table: flat buckets in shared memory, exact keys, no locks.
//!
//! There is a table for each width of addresses. A key has two candidate buckets of four entries. An entry is four cells,
//! of IPv6 eight:
//!
//! ```text
//!  IPv4  IPv6
//!  0, 1  0 - 4   the key
//!  2     5       the word: phase, state, method, server, due time
//!  3     6       the bond: of a connection the hash of its template's key, 0 if it has none;
//!                of a template how long it lasts after its last new connection, in ticks;
//!                of a reply the hash of its connection's key
//!        7       always zero
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

mod bucket;
mod carry;
mod find;
mod hash;
mod home;
mod insert;
mod room;
mod shape;
#[cfg(test)]
mod tests;

pub use carry::{Carried, Stray, carry};
pub use find::{Found, find, find_cells};
pub use hash::{Hash, Seed};
pub use home::Home;
pub use insert::{Claim, Entry, HALF_OPEN_WAYS, Inserted, NoRoom, Published, Replaced, Wish, claim, insert};
pub use room::{entries_in, is_nearly_full, places_for};
pub use shape::{Pair, Shape};

use core::marker::PhantomData;

use crate::address::{Address, V4, V6};
use crate::cells::Cells;
use crate::connection::{Key, Word};
use crate::time::Ticks;
use crate::walk::Walker;

/// Entries of a bucket.
pub const WAYS: usize = 4;
/// Cells of an entry of IPv4.
pub const ENTRY_CELLS: usize = V4::ENTRY_CELLS;
/// Cells of a bucket of IPv4.
pub const BUCKET_CELLS: usize = WAYS * ENTRY_CELLS;
/// Bytes of a bucket of IPv4.
pub const BUCKET_BYTES: usize = BUCKET_CELLS * 8;
/// Cells of a bucket of IPv6.
pub const BUCKET_V6_CELLS: usize = WAYS * V6::ENTRY_CELLS;
/// Bytes of a bucket of IPv6.
pub const BUCKET_V6_BYTES: usize = BUCKET_V6_CELLS * 8;

/// The memory of the table of a width of addresses.
pub trait Buckets<A: Address = V4>: Walker {
    /// A bucket: a row of [`WAYS`] entries.
    type Bucket: Cells;

    /// How many steps (looks at an entry) a packet waits for a connection that is being carried: some microseconds,
    /// which is far more than carrying takes unless who carries was interrupted.
    const PATIENCE: u32 = 1024;

    /// The bucket of an index.
    fn bucket(&self, index: u32) -> Option<Self::Bucket>;
}

/// One entry of a bucket.
pub struct Slot<C, A = V4> {
    bucket: C,
    way: usize,
    width: PhantomData<A>,
}

impl<C: Copy, A> Copy for Slot<C, A> {}

impl<C: Copy, A> Clone for Slot<C, A> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: Cells, A: Address> Slot<C, A> {
    /// The cells of a bucket.
    const BUCKET_CELLS: usize = WAYS * A::ENTRY_CELLS;
    /// Where in an entry the word stands.
    const WORD: usize = A::KEY_CELLS;
    /// Where in an entry the bond stands.
    const BOND: usize = A::KEY_CELLS + 1;

    /// The entry `way` of a bucket.
    #[inline(always)]
    pub const fn new(bucket: C, way: usize) -> Self {
        Self { bucket, way, width: PhantomData }
    }

    #[inline(always)]
    fn cell(self, cell: usize) -> usize {
        // The mask tells the kernel's verifier what the type can't.
        (self.way * A::ENTRY_CELLS + cell) & (Self::BUCKET_CELLS - 1)
    }

    /// The word as it is now.
    #[inline(always)]
    pub fn word(self) -> Word {
        Word(self.bucket.load(self.cell(Self::WORD)))
    }

    /// The bond as it is now.
    #[inline(always)]
    pub fn bond(self) -> u64 {
        self.bucket.load(self.cell(Self::BOND))
    }

    /// Changes the bond.
    #[inline(always)]
    pub fn set_bond(self, bond: u64) {
        self.bucket.store(self.cell(Self::BOND), bond);
    }

    /// The key cells as they are now.
    #[inline(always)]
    pub(crate) fn key_cells(self) -> A::Cells {
        A::load(self.bucket, self.cell(0))
    }

    /// The entry's key and word if it is live, both of the same connection.
    #[inline(always)]
    pub fn read(self) -> Option<(Key<A>, Word)> {
        self.read_cells().map(|(key, word)| (Key::from_cells(key), word))
    }

    /// The same, the key as cells.
    #[inline(always)]
    pub fn read_cells(self) -> Option<(A::Cells, Word)> {
        let key = self.key_cells();
        let word = self.word();
        // The key is read again: the entry may have been given to another connection in between.
        (word.is_live() && self.has(key)).then_some((key, word))
    }

    /// The word, if this is a live entry of the key.
    #[inline(always)]
    fn holds(self, key: A::Cells) -> Option<Word> {
        if !self.has(key) {
            return None;
        }
        let word = self.word();
        (word.is_live() && self.has(key)).then_some(word)
    }

    #[inline(always)]
    fn has(self, key: A::Cells) -> bool {
        A::stand(self.bucket, self.cell(0), key)
    }

    /// The word, if this is (still) a live entry of the key of these cells.
    #[inline(always)]
    pub fn word_of_cells(self, key: A::Cells) -> Option<Word> {
        self.holds(key)
    }

    /// The word, if this is a live entry of a key with this hash. The key is not kept: it may be longer than there is room
    /// for.
    #[inline(always)]
    pub fn word_of_hash(self, hash: Hash, seed: Seed) -> Option<Word> {
        if Hash::of_cells::<A>(self.key_cells(), seed) != hash {
            return None;
        }
        let word = self.word();
        (word.is_live() && Hash::of_cells::<A>(self.key_cells(), seed) == hash).then_some(word)
    }

    /// The word, if this is (still) a live entry of the key.
    #[inline(always)]
    pub fn word_of(self, key: Key<A>) -> Option<Word> {
        self.holds(key.cells())
    }

    /// Changes the word from what it was seen as; false if somebody else changed it first.
    #[inline(always)]
    pub fn change(self, seen: Word, to: Word) -> bool {
        self.bucket.replace(self.cell(Self::WORD), seen.0, to.0)
    }

    /// Takes the entry out of the table if its word is still what it was seen as. Only who gets `true` may take the
    /// connection off its server's counts.
    #[inline(always)]
    pub fn retire(self, seen: Word) -> bool {
        self.bucket.replace(self.cell(Self::WORD), seen.0, 0)
    }
}

/// The live entry of a key, where it belongs: the one look that nearly every packet needs.
#[inline(always)]
pub fn find_at_home<A: Address, B: Buckets<A>>(
    table: &B,
    shape: Shape,
    hash: Hash,
    key: A::Cells,
) -> Option<(Slot<B::Bucket, A>, Word)> {
    let pair = shape.home_of(hash);
    if let Some(found) = find_in::<A, _>(table.bucket(pair.first)?, key) {
        return Some(found);
    }
    find_in::<A, _>(table.bucket(pair.second)?, key)
}

#[inline(always)]
fn find_in<A: Address, C: Cells>(bucket: C, key: A::Cells) -> Option<(Slot<C, A>, Word)> {
    // Written out: a loop would make the entry's place a variable for the verifier to follow.
    if let Some(word) = Slot::<C, A>::new(bucket, 0).holds(key) {
        return Some((Slot::<C, A>::new(bucket, 0), word));
    }
    if let Some(word) = Slot::<C, A>::new(bucket, 1).holds(key) {
        return Some((Slot::<C, A>::new(bucket, 1), word));
    }
    if let Some(word) = Slot::<C, A>::new(bucket, 2).holds(key) {
        return Some((Slot::<C, A>::new(bucket, 2), word));
    }
    if let Some(word) = Slot::<C, A>::new(bucket, 3).holds(key) {
        return Some((Slot::<C, A>::new(bucket, 3), word));
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
