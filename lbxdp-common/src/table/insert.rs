//! Putting a connection into the table, against rivals: first a place is claimed, then the entry is published.

use core::ops::ControlFlow;

use super::bucket::{Phases, Ways, Words};
use super::{Buckets, Hash, Home, Pair, Shape, Slot, WAYS, has_expired};
use crate::address::{Address, V4};
use crate::cells::Cells;
use crate::connection::{Key, Phase, Word};
use crate::time::Ticks;
use crate::walk::Step;

/// How many ways of a bucket half-open connections may use: a flood of forged clients leaves the others to real ones.
///
/// A bound for each bucket bounds the share of the table without a counter that all CPUs would write to.
pub const HALF_OPEN_WAYS: u32 = 2;

/// What became of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted<A: Address = V4> {
    /// The entry is in the table. A connection had to make room, if one is named: it comes off the counts of its server.
    New(Option<Replaced<A>>),
    /// Another CPU has inserted the same key; this is its word. A replaced connection is to be counted all the same.
    Existing(Word, Option<Replaced<A>>),
    /// Not inserted.
    Full(NoRoom),
}

/// What goes into the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<A = V4> {
    /// Its key.
    pub key: Key<A>,
    /// See there.
    pub word: Word,
    /// See the [table](super).
    pub bond: u64,
}

impl<A> Entry<A> {
    /// A connection without a template.
    #[inline(always)]
    pub const fn new(key: Key<A>, word: Word) -> Self {
        Self { key, word, bond: 0 }
    }
}

/// Why there is no place for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// Half-open connections have used up their share of both buckets.
    HalfOpen,
    /// Both buckets are full of connections that are not overdue.
    Full,
}

/// A connection whose place was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced<A: Address = V4> {
    /// The cells of its key.
    pub key: A::Cells,
    /// Its last word.
    pub word: Word,
}

/// Inserts `entry`, whose word is live. The caller has looked for the key and not found it.
#[inline(always)]
pub fn insert<A: Address, B: Buckets<A>>(
    table: &B,
    shape: Shape,
    hash: Hash,
    entry: Entry<A>,
    now: Ticks,
) -> Inserted<A> {
    let word = entry.word;
    let wish = if word.is_half_open() { Wish::Share } else { Wish::Free };
    let claim = match claim(table, shape.home_of(hash), wish, now) {
        Ok(claim) => claim,
        Err(no_room) => return Inserted::Full(no_room),
    };
    let replaced = claim.replaced;
    match claim.publish(table, shape, hash, entry) {
        Published::New => Inserted::New(replaced),
        Published::Existing(theirs) => Inserted::Existing(theirs, replaced),
    }
}

/// A place that is this CPU's own now, and nobody's connection yet. It must be published or given back.
#[must_use]
pub struct Claim<C, A: Address = V4> {
    slot: Slot<C, A>,
    /// Index of its bucket.
    index: u32,
    /// The connection that had to make room: it comes off the counts of its server, whatever becomes of the claim.
    pub replaced: Option<Replaced<A>>,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The entry is in the table.
    New,
    /// Another CPU has inserted the same key; this is its word.
    Existing(Word),
}

/// Which places a connection may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Those of a half-open one: none in a bucket where such connections have used up their share.
    Share,
    /// Any that is free or overdue.
    Free,
    /// Any that is free or overdue, else that of a half-open connection.
    PlaceOfHalfOpen,
}

/// A bucket a key may stand in, and which of its places it may have.
struct Room<C> {
    bucket: C,
    index: u32,
    /// Empty places that it may have.
    empty: Ways,
    half_open: Ways,
    /// Whether half-open connections have not used up their share, if that matters.
    is_open: bool,
}

impl<C: Cells> Room<C> {
    #[inline(always)]
    fn of<A: Address>(bucket: C, index: u32, wish: Wish) -> Self {
        let phases = Phases::of(Words::of::<A, _>(bucket));
        let (empty, half_open) = (phases.empty(), phases.half_open());
        let is_open = wish != Wish::Share || half_open.count() < HALF_OPEN_WAYS;
        Self { bucket, index, empty: empty.if_(is_open), half_open, is_open }
    }

    /// Whether an empty place is to be taken here whatever the other bucket is like. The emptier one of two would keep both from
    /// filling up best; but who looks for the connection looks into the first one first. Half full, such a table has 19 % of
    /// its connections in their second buckets instead of 28 %. How many keys find both full: [`entries_in`](super::entries_in).
    #[inline(always)]
    const fn is_roomy(&self) -> bool {
        self.empty.count() >= WAYS as u32 - 1
    }

    /// Claims the first empty place.
    #[inline(always)]
    fn claim<A: Address>(&self, empty: Ways) -> Option<Claim<C, A>> {
        let slot = Slot::new(self.bucket, empty.lowest());
        if empty.is_none() || !slot.change(Word(0), CLAIMED) {
            return None;
        }
        Some(Claim { slot, index: self.index, replaced: None })
    }
}

impl<C: Cells> Home<C> {
    /// Claims an empty place, as [`claim`] does. `None`: nothing has happened; [`claim`] tries more.
    #[inline(always)]
    pub fn claim_empty<A: Address>(&self, wish: Wish) -> Option<Claim<C, A>> {
        let first = Room::of::<A>(self.first, self.pair.first, wish);
        if first.is_roomy() {
            return first.claim(first.empty);
        }
        let second = Room::of::<A>(self.second, self.pair.second, wish);
        if first.empty.count() >= second.empty.count() {
            first.claim(first.empty)
        } else {
            second.claim(second.empty)
        }
    }

    /// Whether the entry at `mine` may become live as far as rivals go.
    #[inline(always)]
    fn is_won<A: Address>(&self, mine: Rank, key: A::Cells) -> bool {
        beats_bucket::<A, _>(self.first, self.pair.first, mine, key)
            && (self.pair.first == self.pair.second
                || beats_bucket::<A, _>(self.second, self.pair.second, mine, key))
    }

    /// The word of the key's entry that is live or about to be. One look at each word: an entry that is first only announced
    /// and then live must not be missed in between.
    #[inline(always)]
    fn decided<A: Address>(&self, key: A::Cells) -> Option<Word> {
        let mut found = None;
        for bucket in [self.first, self.second] {
            for way in 0..WAYS {
                let slot = Slot::<_, A>::new(bucket, way);
                let word = slot.word();
                let is_decided = matches!(word.phase(), Phase::Announced | Phase::Live);
                if found.is_none() && is_decided && slot.has(key) {
                    found = Some(word.in_phase(Phase::Live));
                }
            }
        }
        found
    }
}

/// Claims a place in one of two buckets: an empty one in the better bucket, else an empty one in the other, else an overdue
/// one, else what else it may have.
#[inline(always)]
pub fn claim<A: Address, B: Buckets<A>>(
    table: &B,
    pair: Pair,
    wish: Wish,
    now: Ticks,
) -> Result<Claim<B::Bucket, A>, NoRoom> {
    let home = Home::of(table, pair).ok_or(NoRoom::Full)?;
    let first = Room::of::<A>(home.first, pair.first, wish);
    let second = Room::of::<A>(home.second, pair.second, wish);
    let is_first = first.is_roomy() || first.empty.count() >= second.empty.count();
    let (better, other) = if is_first { (&first, &second) } else { (&second, &first) };
    if let Some(claim) = better.claim(better.empty) {
        return Ok(claim);
    }
    // Another CPU took it. It would be odd if it took the next one too, but what is odd happens.
    let rest = better.empty.without_lowest();
    if let Some(claim) = better.claim(rest) {
        return Ok(claim);
    }
    if let Some(claim) = other.claim(other.empty) {
        return Ok(claim);
    }
    let may_go = |bucket, half_open: Ways, is_open: bool| {
        let words = Words::of::<A, _>(bucket);
        let overdue = words.overdue(now);
        match wish {
            // Where the share is used up, one of those who use it must go.
            Wish::Share if !is_open => overdue.and(half_open),
            Wish::PlaceOfHalfOpen if overdue.is_none() => half_open.and(words.connections()),
            _ => overdue,
        }
    };
    let in_first = may_go(first.bucket, first.half_open, first.is_open);
    let is_first = !in_first.is_none();
    let ways = if is_first { in_first } else { may_go(second.bucket, second.half_open, second.is_open) };
    let (bucket, index) = if is_first { (first.bucket, first.index) } else { (second.bucket, second.index) };
    let slot = Slot::new(bucket, ways.lowest());
    if !ways.is_none()
        && let Some((key, word)) = slot.read_cells()
        && !word.is_moving()
        && (has_expired(word, now)
            || wish == Wish::PlaceOfHalfOpen && word.is_half_open() && !word.is_template())
        && slot.change(word, CLAIMED)
    {
        return Ok(Claim { slot, index, replaced: Some(Replaced { key, word }) });
    }
    Err(if first.is_open && second.is_open { NoRoom::Full } else { NoRoom::HalfOpen })
}

impl<A: Address, C: Cells> Claim<C, A> {
    /// Makes the place hold `entry`, whose word is live, if no rival has been faster.
    #[inline(always)]
    pub fn publish<B: Buckets<A, Bucket = C>>(
        self,
        table: &B,
        shape: Shape,
        hash: Hash,
        entry: Entry<A>,
    ) -> Published {
        if let Some(home) = Home::of(table, shape.home_of(hash)) {
            return self.publish_at(table, &home, shape, hash, entry);
        }
        self.give_back();
        Published::Existing(entry.word)
    }

    /// The same, where the buckets of the key are at hand.
    #[inline(always)]
    pub fn publish_at<B: Buckets<A, Bucket = C>>(
        self,
        table: &B,
        home: &Home<C>,
        shape: Shape,
        hash: Hash,
        entry: Entry<A>,
    ) -> Published {
        let Entry { key, word, bond } = entry;
        let slot = self.slot;
        let mine = Rank::of(self.index, slot.way);
        let cells = key.cells();
        A::store(slot.bucket, slot.cell(0), cells);
        slot.set_bond(bond);
        let announced = word.in_phase(Phase::Announced);
        // A full barrier: rivals see this entry before it is known here that there are none.
        slot.bucket.swap(slot.cell(Slot::<C, A>::WORD), announced.0);

        let elsewhere = shape.elsewhere_of(hash);
        let won = home.is_won::<A>(mine, cells)
            && (shape.is_steady() || Elsewhere::<A>::meet(table, elsewhere, mine, cells).is_beaten)
            && slot.change(announced, word);
        if won {
            return Published::New;
        }
        slot.bucket.swap(slot.cell(Slot::<C, A>::WORD), 0);
        // The winner is live, or about to be: its decision stands already.
        let mut decision = home.decided::<A>(cells);
        if decision.is_none() && !shape.is_steady() {
            let winner = Elsewhere::<A>::meet(table, elsewhere, mine, cells).winner;
            decision = (winner != 0).then_some(Word(winner));
        }
        Published::Existing(decision.unwrap_or(word))
    }

    /// The place as a number, for [`Claim::of_place`].
    #[inline(always)]
    pub fn place(&self) -> u64 {
        Rank::of(self.index, self.slot.way).0
    }

    /// The claim of a place that this CPU has claimed.
    #[inline(always)]
    pub fn of_place<B: Buckets<A, Bucket = C>>(table: &B, place: u64) -> Option<Self> {
        let (index, way) = ((place / WAYS as u64) as u32, place as usize % WAYS);
        Some(Self { slot: Slot::new(table.bucket(index)?, way), index, replaced: None })
    }

    /// Whether it is in one of two buckets.
    #[inline(always)]
    pub fn is_in(&self, pair: Pair) -> bool {
        pair.has(self.index)
    }

    /// Leaves the place empty.
    #[inline(always)]
    pub fn give_back(self) {
        self.slot.bucket.swap(self.slot.cell(Slot::<C, A>::WORD), 0);
    }
}

const CLAIMED: Word = Word(Phase::Claimed as u64);

/// Where an entry stands among its rivals: who comes first wins. One number, by bucket and in a bucket by way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u64);

impl Rank {
    #[inline(always)]
    fn of(bucket: u32, way: usize) -> Self {
        Self(u64::from(bucket) * WAYS as u64 + way as u64)
    }
}

/// Whether the entry at `mine` may become live as far as the rivals in a bucket go.
#[inline(always)]
fn beats_bucket<A: Address, C: Cells>(bucket: C, index: u32, mine: Rank, key: A::Cells) -> bool {
    for way in 0..WAYS {
        let rank = Rank::of(index, way);
        if rank != mine && !beats(Slot::<_, A>::new(bucket, way), rank, mine, key) {
            return false;
        }
    }
    true
}

/// The rivals in the buckets of the other size, while there is one. A walk, for it is rarely gone.
struct Elsewhere<A: Address> {
    pair: Pair,
    mine: Rank,
    key: A::Cells,
    /// The word of one that is live or about to be; 0 if there is none.
    winner: u64,
    /// 1 if one of them wins.
    is_lost: u32,
}

/// What became of it.
struct Meeting {
    is_beaten: bool,
    winner: u64,
}

impl<A: Address> Elsewhere<A> {
    #[inline(always)]
    fn meet<B: Buckets<A>>(table: &B, pair: Pair, mine: Rank, key: A::Cells) -> Meeting {
        let zero = table.zero();
        let mut elsewhere = Self { pair, mine, key, winner: zero.into(), is_lost: zero };
        table.repeat(2 * WAYS as u32, &mut elsewhere);
        Meeting { is_beaten: elsewhere.is_lost == 0, winner: elsewhere.winner }
    }
}

impl<A: Address, B: Buckets<A>> Step<B> for Elsewhere<A> {
    #[inline(always)]
    fn step(&mut self, table: &B, step: u32) -> ControlFlow<()> {
        let index = if step < WAYS as u32 { self.pair.first } else { self.pair.second };
        let way = step as usize % WAYS;
        let Some(bucket) = table.bucket(index) else {
            return ControlFlow::Break(());
        };
        let (slot, rank) = (Slot::<_, A>::new(bucket, way), Rank::of(index, way));
        let word = slot.word();
        if matches!(word.phase(), Phase::Announced | Phase::Live) && rank != self.mine && slot.has(self.key) {
            self.winner = word.in_phase(Phase::Live).arrived().0;
        }
        if rank != self.mine && !beats(slot, rank, self.mine, self.key) {
            self.is_lost = 1;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// A live entry of the same key always wins. Of two announced ones the one that comes first wins: it turns the other
/// back to claimed, whose owner then finds that it has lost. One that is being carried is no rival of its own copy.
#[inline(always)]
fn beats<A: Address, C: Cells>(rival: Slot<C, A>, rank: Rank, mine: Rank, key: A::Cells) -> bool {
    if !rival.has(key) {
        return true;
    }
    let word = rival.word();
    // Read again: the entry may have been given to another key in between.
    if !rival.has(key) {
        return true;
    }
    match word.phase() {
        Phase::Empty | Phase::Claimed => true,
        Phase::Live => word.is_moving(),
        // If the exchange fails, the rival has become live, or has given way. Whoever stands there next has announced
        // itself later than this entry, and gives way when it sees it.
        Phase::Announced => mine < rank && (rival.change(word, CLAIMED) || rival.holds(key).is_none()),
    }
}
