//! Putting a connection into the table, against rivals.

use super::{Buckets, Hash, Slot, WAYS, WORD, is_overdue};
use crate::cells::Cells;
use crate::connection::{Key, Phase, Word};
use crate::time::Ticks;

/// What became of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The entry is in the table. An overdue connection had to make room, if one is named: it comes off the counts of
    /// its server.
    New(Option<Replaced>),
    /// Another CPU has inserted the same key; this is its word. A replaced connection is to be counted all the same.
    Existing(Word, Option<Replaced>),
    /// Both buckets are full of connections that are not overdue.
    Full,
}

/// A connection whose place was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Its key.
    pub key: Key,
    /// Its last word.
    pub word: Word,
}

/// Inserts `key` with `word`, which is live. The caller has looked for the key and not found it.
#[inline(always)]
pub fn insert<B: Buckets>(table: &B, hash: Hash, key: Key, word: Word, now: Ticks) -> Inserted {
    let (first_index, second_index) = (table.index(hash.first()), table.index(hash.second()));
    let (Some(first), Some(second)) = (table.bucket(first_index), table.bucket(second_index)) else {
        return Inserted::Full;
    };
    let Some(claim) = claim(first, second, now) else {
        return Inserted::Full;
    };
    // Where both hashes choose one bucket, the entry stands in "the first".
    let mine = Rank { in_first: claim.in_first || first_index == second_index, way: claim.slot.way };
    let cells = key.cells();
    let slot = claim.slot;
    slot.bucket.store(slot.cell(0), cells[0]);
    slot.bucket.store(slot.cell(1), cells[1]);
    let announced = word.in_phase(Phase::Announced);
    // A full barrier: rivals see this entry before it is known here that there are none.
    slot.bucket.swap(slot.cell(WORD), announced.0);

    let won = beats_all(first, true, mine, cells)
        && (first_index == second_index || beats_all(second, false, mine, cells))
        && slot.change(announced, word);
    if won {
        return Inserted::New(claim.replaced);
    }
    slot.bucket.swap(slot.cell(WORD), 0);
    // The winner is live, or about to be: its decision stands already.
    let decision = decided_in(first, cells).or_else(|| decided_in(second, cells));
    Inserted::Existing(decision.unwrap_or(word), claim.replaced)
}

/// An entry that is this CPU's own now.
struct Claim<C> {
    slot: Slot<C>,
    in_first: bool,
    replaced: Option<Replaced>,
}

/// Makes an entry this CPU's own: an empty one in the emptier bucket (that is what keeps both from filling up), else an
/// empty one in the other, else an overdue one.
#[inline(always)]
fn claim<C: Cells>(first: C, second: C, now: Ticks) -> Option<Claim<C>> {
    let (empty_in_first, empty_in_second) = (Ways::empty(first), Ways::empty(second));
    if !(empty_in_first.is_none() && empty_in_second.is_none()) {
        let in_first = empty_in_first.count() >= empty_in_second.count();
        let (bucket, empty) = if in_first { (first, empty_in_first) } else { (second, empty_in_second) };
        let slot = Slot::new(bucket, empty.lowest());
        if slot.change(Word(0), CLAIMED) {
            return Some(Claim { slot, in_first, replaced: None });
        }
        // Another CPU took it. It would be odd if it took the next one too, but what is odd happens.
        let rest = empty.without_lowest();
        let other = if in_first { (second, false, empty_in_second) } else { (first, true, empty_in_first) };
        let (bucket, in_first, rest) = if rest.is_none() { other } else { (bucket, in_first, rest) };
        let slot = Slot::new(bucket, rest.lowest());
        if slot.change(Word(0), CLAIMED) {
            return Some(Claim { slot, in_first, replaced: None });
        }
    }
    let overdue_in_first = Ways::overdue(first, now);
    let in_first = !overdue_in_first.is_none();
    let (bucket, overdue) =
        if in_first { (first, overdue_in_first) } else { (second, Ways::overdue(second, now)) };
    if overdue.is_none() {
        return None;
    }
    let slot = Slot::new(bucket, overdue.lowest());
    let (key, word) = slot.read()?;
    let is_ours = is_overdue(word, now) && slot.change(word, CLAIMED);
    is_ours.then_some(Claim { slot, in_first, replaced: Some(Replaced { key, word }) })
}

const CLAIMED: Word = Word(Phase::Claimed as u64);

/// Some of the ways of a bucket, a bit each.
///
/// Made by shifts alone: where each way were a branch, the kernel's verifier would go through every combination.
#[derive(Clone, Copy)]
pub(super) struct Ways(pub(super) u32);

impl Ways {
    /// Those whose place is free. A phase of 0 means free.
    #[inline(always)]
    pub(super) fn empty<C: Cells>(bucket: C) -> Self {
        Self::where_(bucket, |word| !(word | word >> 1))
    }

    /// Those that are live (a phase of 3) and whose due time is not ahead.
    #[inline(always)]
    pub(super) fn overdue<C: Cells>(bucket: C, now: Ticks) -> Self {
        Self::where_(bucket, |word| {
            let ahead = Word(word).due().since(now).wrapping_sub(1).cast_unsigned() >> 31;
            word & word >> 1 & u64::from(ahead)
        })
    }

    /// Those for whose word the lowest bit of `test` is 1.
    #[inline(always)]
    fn where_<C: Cells>(bucket: C, test: impl Fn(u64) -> u64) -> Self {
        let bit = |way: usize| (test(Slot::new(bucket, way).word().0) as u32 & 1) << way;
        Self(bit(0) | bit(1) | bit(2) | bit(3))
    }

    #[inline(always)]
    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// How many: a number of four bits for each of the sixteen sets.
    #[inline(always)]
    pub(super) fn count(self) -> u32 {
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

/// Where an entry stands among its rivals: those of the first bucket come first, and in a bucket the order of places.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Rank {
    in_first: bool,
    way: usize,
}

impl Rank {
    #[inline(always)]
    fn comes_before(self, other: Self) -> bool {
        if self.in_first == other.in_first { self.way < other.way } else { self.in_first }
    }
}

/// Whether the entry at `mine` may become live as far as the rivals in one bucket go.
#[inline(always)]
fn beats_all<C: Cells>(bucket: C, is_first: bool, mine: Rank, key: [u64; 2]) -> bool {
    for way in 0..WAYS {
        let rank = Rank { in_first: is_first, way };
        if rank != mine && !beats(Slot::new(bucket, way), rank, mine, key) {
            return false;
        }
    }
    true
}

/// A live entry of the same key always wins. Of two announced ones the one that comes first wins: it turns the other
/// back to claimed, whose owner then finds that it has lost.
#[inline(always)]
fn beats<C: Cells>(rival: Slot<C>, rank: Rank, mine: Rank, key: [u64; 2]) -> bool {
    if rival.key_cells() != key {
        return true;
    }
    let word = rival.word();
    // Read again: the entry may have been given to another key in between.
    if rival.key_cells() != key {
        return true;
    }
    match word.phase() {
        Phase::Empty | Phase::Claimed => true,
        Phase::Live => false,
        // If the exchange fails, the rival has become live, or has given way. Whoever stands there next has announced
        // itself later than this entry, and gives way when it sees it.
        Phase::Announced => {
            mine.comes_before(rank) && (rival.change(word, CLAIMED) || rival.holds(key).is_none())
        }
    }
}

/// The word of the key's entry that is live or about to be. One look at each word: an entry that is first only announced
/// and then live must not be missed in between.
#[inline(always)]
fn decided_in<C: Cells>(bucket: C, key: [u64; 2]) -> Option<Word> {
    let mut found = None;
    for way in 0..WAYS {
        let slot = Slot::new(bucket, way);
        let word = slot.word();
        let is_decided = matches!(word.phase(), Phase::Announced | Phase::Live);
        if found.is_none() && is_decided && slot.key_cells() == key {
            found = Some(word.in_phase(Phase::Live));
        }
    }
    found
}
