use core::sync::atomic::AtomicU64;
use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::bucket::{Phases, Ways, Words};
use super::{Pair as BucketPair, *};
use crate::connection::Phase;
use crate::server::ServerId;
use crate::state::{State, TcpState};

/// A table in ordinary memory.
struct Table(Vec<[AtomicU64; BUCKET_CELLS]>);

impl Table {
    fn new(buckets: usize) -> Self {
        Self((0..buckets).map(|_| [const { AtomicU64::new(0) }; BUCKET_CELLS]).collect())
    }

    fn shape(&self) -> Shape {
        Shape::steady(self.0.len() as u32)
    }

    fn find(&self, hash: Hash, key: Key) -> Option<(Slot<&[AtomicU64]>, Word)> {
        let found = find(&self, self.shape(), hash, key).and_then(Found::here);
        let at_home = find_at_home(&self, self.shape(), hash, key.cells());
        assert_eq!(found.map(|(_, word)| word), at_home.map(|(_, word)| word));
        found
    }

    fn insert(&self, hash: Hash, key: Key, word: Word, now: Ticks) -> Inserted {
        insert(&self, self.shape(), hash, Entry::new(key, word), now)
    }

    fn live(&self) -> usize {
        let slots =
            self.0.iter().flat_map(|bucket| (0..WAYS).map(move |way| Slot::<_, V4>::new(&bucket[..], way)));
        slots.filter(|slot| slot.word().is_live()).count()
    }
}

impl Walker for &Table {}

impl<'a> Buckets for &'a Table {
    type Bucket = &'a [AtomicU64];

    fn bucket(&self, index: u32) -> Option<Self::Bucket> {
        self.0.get(index as usize).map(|bucket| &bucket[..])
    }
}

const SEEDS: [Seed; 4] = [
    Seed { offset: 0, multiplier: 1 },
    Seed { offset: 0x0123_4567_89ab_cdef, multiplier: 0x9e37_79b9_7f4a_7c15 },
    Seed { offset: u64::MAX, multiplier: 0xda94_2042_e4dd_58b5 },
    Seed { offset: 0x55aa_55aa_1234_0000, multiplier: 0xffff_ffff_0000_0001 },
];

/// The keys a test of a load generator makes: addresses in a row, each with ports in a row.
fn key(number: u32) -> Key {
    Key {
        client: (0x0a00_0000 + number / 64).to_be_bytes(),
        vip: [10, 0, 0, 100],
        client_port: (1024 + (number % 64) as u16).to_be_bytes(),
        vip_port: [0, 80],
        protocol: 6,
        kind: Key::CONNECTION,
        pad: [0; 2],
    }
}

fn word(server: u32, due: u32) -> Word {
    Word::live(ServerId(server), State::tcp(TcpState::Established), Ticks(due))
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    /// A packet of a connection: it is refreshed, or made.
    Packet {
        key: u32,
        lives: u32,
    },
    Retire(u32),
    Wait(u32),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        6 => (0..60u32, 1..400u32).prop_map(|(key, lives)| Operation::Packet { key, lives }),
        1 => (0..60u32).prop_map(Operation::Retire),
        2 => (0..100u32).prop_map(Operation::Wait),
    ];
    proptest::collection::vec(operation, 1..300)
}

/// The table beside a plain map of what should be in it.
struct Pair<'a> {
    table: &'a Table,
    seed: Seed,
    now: Ticks,
    expected: BTreeMap<u32, Word>,
}

impl Pair<'_> {
    fn hash(&self, number: u32) -> Hash {
        Hash::of(key(number), self.seed)
    }

    fn has_room(&self, number: u32) -> bool {
        let hash = self.hash(number);
        let pair = self.table.shape().home_of(hash);
        [pair.first, pair.second].into_iter().any(|index| {
            let bucket = self.table.bucket(index).expect("a bucket");
            let free = |word: Word| !word.is_live() || is_overdue(word, self.now);
            (0..WAYS).any(|way| free(Slot::<_, V4>::new(bucket, way).word()))
        })
    }

    fn packet(&mut self, number: u32, lives: u32) {
        let word = word(number, self.now.0.wrapping_add(lives));
        if let Some((slot, seen)) = self.table.find(self.hash(number), key(number)) {
            assert!(slot.change(seen, word));
            assert!(seen == word || !slot.change(seen, seen), "an old word was exchanged");
            self.expected.insert(number, word);
            return;
        }
        let has_room = self.has_room(number);
        match self.table.insert(self.hash(number), key(number), word, self.now) {
            Inserted::New(replaced) => {
                if let Some(Replaced { key: old, word }) = replaced {
                    assert!(is_overdue(word, self.now), "a connection that still lives was replaced");
                    let was = self.expected.remove(&word.server().0);
                    assert_eq!((was, old), (Some(word), key(word.server().0).cells()));
                }
                self.expected.insert(number, word);
            }
            Inserted::Full(_) => assert!(!has_room, "there was room"),
            Inserted::Existing(..) => panic!("there is no rival"),
        }
    }

    fn carry_out(&mut self, operation: Operation) {
        match operation {
            Operation::Packet { key, lives } => self.packet(key, lives),
            Operation::Retire(number) => {
                let found = self.table.find(self.hash(number), key(number));
                let retired = found.is_some_and(|(slot, seen)| slot.retire(seen) && !slot.retire(seen));
                assert_eq!(retired, self.expected.remove(&number).is_some());
            }
            Operation::Wait(ticks) => self.now = self.now + ticks,
        }
    }

    fn assert_equal(&self) {
        for number in 0..60 {
            let found = self.table.find(self.hash(number), key(number)).map(|(_, word)| word);
            assert_eq!(found, self.expected.get(&number).copied(), "key {number}");
        }
        assert_eq!(self.table.live(), self.expected.len());
    }
}

proptest! {
    #[test]
    fn the_table_holds_what_a_map_would(
        operations in operations(),
        buckets in prop_oneof![Just(1usize), Just(2), Just(4), Just(8)],
        seed in 0..SEEDS.len(),
        start: u32,
    ) {
        let table = Table::new(buckets);
        let mut pair =
            Pair { table: &table, seed: SEEDS[seed], now: Ticks(start), expected: BTreeMap::new() };
        for operation in operations {
            pair.carry_out(operation);
            pair.assert_equal();
        }
    }

    #[test]
    fn a_way_is_overdue_when_its_word_is_live_and_due(words: [u64; WAYS], now: u32, near in -2i32..3) {
        let mut words = words.map(Word);
        // One of them around the very moment.
        words[0] = word(1, now.wrapping_add_signed(near));
        let bucket = bucket_of(words);
        let is_over = |word: &Word| has_expired(*word, Ticks(now));
        let expected = |word: &Word| word.is_live() && !word.is_moving() && is_over(word);
        let half_open = |word: &Word| word.is_live() && word.is_half_open() && !word.is_moving();
        prop_assert_eq!(Phases::of(Words::of::<V4, _>(&bucket[..])).half_open().0, set_of(words, half_open));
        prop_assert_eq!(Words::of::<V4, _>(&bucket[..]).overdue(Ticks(now)).0, set_of(words, expected));
        prop_assert_eq!(Phases::of(Words::of::<V4, _>(&bucket[..])).empty().0, set_of(words, |word| word.phase() == Phase::Empty));
    }
}

#[test]
fn half_open_connections_get_half_of_a_bucket_and_others_the_rest() {
    let table = Table::new(1);
    let hash = Hash(0);
    let insert = |number: u32, word: Word| table.insert(hash, key(number), word, Ticks(0));
    assert_eq!(insert(0, word(0, 100).half_open()), Inserted::New(None));
    assert_eq!(insert(1, word(1, 200).half_open()), Inserted::New(None));
    assert_eq!(insert(2, word(2, 100).half_open()), Inserted::Full(NoRoom::HalfOpen));
    assert_eq!(insert(3, word(3, 100)), Inserted::New(None));
    assert_eq!(insert(4, word(4, 100)), Inserted::New(None));
    assert_eq!(insert(5, word(5, 100)), Inserted::Full(NoRoom::Full));
    // One that is overdue does not count, and may be replaced.
    let replaced = Some(Replaced { key: key(0).cells(), word: word(0, 100).half_open() });
    assert_eq!(table.insert(hash, key(6), word(6, 300).half_open(), Ticks(100)), Inserted::New(replaced));
    // An established connection that must be carried here takes the place of a half-open one.
    let claim = claim(&&table, Shape::steady(1).home_of(hash), Wish::PlaceOfHalfOpen, Ticks(50));
    let Ok(claim) = claim else { panic!("no place") };
    assert_eq!(claim.replaced, Some(Replaced { key: key(6).cells(), word: word(6, 300).half_open() }));
    claim.give_back();
}

#[test]
fn a_template_makes_room_for_nobody() {
    let table = Table::new(1);
    let template = |number: u32| Word::live(ServerId(number), State::TEMPLATE, Ticks(100));
    for number in 0..4 {
        let word = if number < 2 { template(number).half_open() } else { template(number) };
        assert_eq!(table.insert(Hash(0), key(number), word, Ticks(0)), Inserted::New(None));
    }
    for wish in [Wish::Share, Wish::Free, Wish::PlaceOfHalfOpen] {
        let claim = claim(&&table, Shape::steady(1).home_of(Hash(0)), wish, Ticks(500));
        assert!(claim.is_err(), "{wish:?}");
    }
    assert_eq!(table.live(), 4);
}

proptest! {
    #[test]
    fn a_table_that_grows_loses_nothing_and_finds_everything_at_every_step(
        keys in 1..200u32,
        old in 20..50u32,
        more in 1..60u32,
        seed in 1..SEEDS.len(),
        half_open in proptest::collection::vec(any::<bool>(), 200),
    ) {
        let (new, seed) = (old + more, SEEDS[seed]);
        let table = Table::new(new as usize);
        let word = |number: u32| {
            let word = word(number + 1, 1000);
            if half_open[number as usize] { word.half_open() } else { word }
        };
        let put = |shape: Shape, numbers: core::ops::Range<u32>| -> Vec<u32> {
            numbers.filter(|&n| {
                let inserted = insert(&&table, shape, Hash::of(key(n), seed), Entry::new(key(n), word(n)), Ticks(0));
                assert!(matches!(inserted, Inserted::New(None) | Inserted::Full(_)));
                inserted == Inserted::New(None)
            }).collect()
        };
        let assert_found = |shape: Shape, numbers: &[u32]| {
            for &n in numbers {
                let found = find(&&table, shape, Hash::of(key(n), seed), key(n)).and_then(Found::here);
                assert_eq!(found.map(|(_, word)| word), Some(word(n)));
            }
            assert_eq!(table.live(), numbers.len());
        };
        let number_key = key;
        let mut there = put(Shape::steady(old), 0..keys / 2);
        assert_found(Shape::new(old, new), &there);
        there.extend(put(Shape::new(old, new), keys / 2..keys * 2 / 3));
        let moving = Shape::new(new, old);
        assert_found(moving, &there);
        there.extend(put(moving, keys * 2 / 3..keys));
        for index in 0..old {
            for way in 0..WAYS {
                let slot = Slot::new(&table.0[index as usize][..], way);
                let Some((key, word)) = slot.read() else { continue };
                let hash = Hash::of(key, seed);
                if !moving.home_of(hash).has(index) {
                    let carried = carry(&&table, moving, Stray { key, hash, slot, word }, Ticks(0), |replaced| {
                        assert!(replaced.word.is_half_open() && !word.is_half_open());
                        there.retain(|n| number_key(*n).cells() != replaced.key);
                    });
                    prop_assert_eq!(carried == Carried::Home, slot.word() == Word(0), "{:?}", carried);
                }
            }
            assert_found(moving, &there);
        }
    }
}

fn bucket_of(words: [Word; WAYS]) -> [AtomicU64; BUCKET_CELLS] {
    core::array::from_fn(|cell| {
        AtomicU64::new(if cell % ENTRY_CELLS == V4::KEY_CELLS {
            words[cell / ENTRY_CELLS].0
        } else {
            u64::MAX
        })
    })
}

fn set_of(words: [Word; WAYS], is_in: impl Fn(&Word) -> bool) -> u32 {
    words.iter().enumerate().map(|(way, word)| u32::from(is_in(word)) << way).sum()
}

#[test]
fn all_phases_in_all_ways_are_told_apart() {
    const PHASES: [Phase; 4] = [Phase::Empty, Phase::Claimed, Phase::Announced, Phase::Live];
    for number in 0..256 {
        let words = core::array::from_fn(|way| word(7, 99).in_phase(PHASES[number >> (way * 2) & 3]));
        let bucket = bucket_of(words);
        assert_eq!(
            Phases::of(Words::of::<V4, _>(&bucket[..])).empty().0,
            set_of(words, |word| word.phase() == Phase::Empty)
        );
        assert_eq!(Words::of::<V4, _>(&bucket[..]).overdue(Ticks(98)).0, 0);
        assert_eq!(
            Words::of::<V4, _>(&bucket[..]).overdue(Ticks(99)).0,
            set_of(words, |word| word.is_live())
        );
    }
}

#[test]
fn a_set_of_ways_is_counted_and_its_lowest_found() {
    for set in 0..16u32 {
        let ways = Ways(set);
        assert_eq!(ways.is_none(), set == 0);
        assert_eq!(ways.count(), set.count_ones());
        assert_eq!(ways.lowest() as u32, if set == 0 { 0 } else { set.trailing_zeros() });
        let lowest = if set == 0 { 0 } else { 1 << set.trailing_zeros() };
        assert_eq!(ways.without_lowest().0, set - lowest);
    }
}

#[test]
fn a_key_whose_hashes_choose_one_bucket_has_four_places_there() {
    let table = Table::new(1);
    for number in 0..4 {
        let hash = Hash::of(key(number), SEEDS[1]);
        let inserted = table.insert(hash, key(number), word(number, 100), Ticks(0));
        assert_eq!(inserted, Inserted::New(None));
        let again = table.insert(hash, key(number), word(9, 100), Ticks(0));
        if number < 3 {
            assert_eq!(again, Inserted::Existing(word(number, 100), None), "the same key again");
        }
    }
    assert_eq!(table.insert(Hash(5), key(5), word(5, 100), Ticks(0)), Inserted::Full(NoRoom::Full));
    let replaced = Some(Replaced { key: key(0).cells(), word: word(0, 100) });
    assert_eq!(table.insert(Hash(5), key(5), word(5, 200), Ticks(100)), Inserted::New(replaced));
}

#[test]
fn in_a_table_as_full_as_it_should_be_hardly_a_new_key_finds_both_buckets_full() {
    const KEYS: u32 = 1 << 17;
    for seed in &SEEDS[1..] {
        let table = Table::new(1 << 14);
        let places = (table.0.len() * WAYS) as u64;
        let insert = |number| {
            let hash = Hash::of(key(number), *seed);
            table.insert(hash, key(number), word(1, 9), Ticks(0)) != Inserted::Full(NoRoom::Full)
        };
        let (mut taken, mut next) = (0, KEYS..);
        let mut refused_when_taken = |entries: u64| {
            while taken < entries {
                taken += next.next().map_or(0, |number| u64::from(insert(number)));
            }
            // One at a time: the table stays as full as it is.
            let is_refused = |number: &u32| {
                let is_in = insert(*number);
                let found = table.find(Hash::of(key(*number), *seed), key(*number));
                found.inspect(|(slot, word)| assert!(slot.retire(*word)));
                !is_in
            };
            (0..KEYS).filter(is_refused).count()
        };
        // One of 67,000 is two of them; at three fifths it would be one of 130.
        let refused = refused_when_taken(entries_in(places));
        assert!(refused < 12, "{refused} of {KEYS} with {seed:?}");
        let refused = refused_when_taken(places * 3 / 5);
        assert!(refused > 500, "{refused} of {KEYS} with {seed:?}");
    }
}

#[test]
fn keys_in_a_row_spread_as_if_thrown_at_random() {
    const BUCKETS: u32 = 1 << 10;
    const KEYS: u32 = 1 << 16;
    for seed in &SEEDS[1..] {
        let shape = Shape::steady(BUCKETS);
        for half in [|pair: BucketPair| pair.first, |pair: BucketPair| pair.second] {
            let mut counts = std::vec![0u32; BUCKETS as usize];
            for number in 0..KEYS {
                counts[half(shape.home_of(Hash::of(key(number), *seed))) as usize] += 1;
            }
            let mean = f64::from(KEYS) / f64::from(BUCKETS);
            let chi_square: f64 = counts.iter().map(|&n| (f64::from(n) - mean).powi(2) / mean).sum();
            // 1023 degrees of freedom: mean 1023, deviation 45; seven of them either way.
            assert!((700.0..1350.0).contains(&chi_square), "{chi_square} with {seed:?}");
        }
    }
}

#[test]
fn each_bit_of_a_key_turns_about_half_of_the_bits_of_its_hash() {
    const KEYS: u32 = 2000;
    for seed in &SEEDS[1..] {
        // The bits that can differ: all but the padding.
        for bit in 0..104 {
            let mut turned = 0;
            for number in 0..KEYS {
                let mut cells = key(number).cells();
                cells[bit / 64] ^= 1 << (bit % 64);
                let hashes = [key(number), Key::from_cells(cells)].map(|key| Hash::of(key, *seed).0);
                turned += (hashes[0] ^ hashes[1]).count_ones();
            }
            let mean = f64::from(turned) / f64::from(KEYS);
            assert!((28.0..36.0).contains(&mean), "bit {bit} turns {mean} of 64 with {seed:?}");
        }
    }
}
