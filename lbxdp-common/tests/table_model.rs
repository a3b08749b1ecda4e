//! The invariants of the connection table, checked over every order in which a few parties can meet in a bucket.
//!
//! A model is small: most places of a bucket hold connections that nobody touches, which costs no steps.
#![cfg_attr(test, allow(clippy::panic, clippy::unwrap_used, reason = "tests may fail"))]

use std::collections::BTreeMap;

use lbxdp_common::connection::{Key, Word};
use lbxdp_common::server::ServerId;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::table::{
    BUCKET_CELLS, Buckets, ENTRY_CELLS, Found, Hash, Inserted, Replaced, Shape, Slot, WAYS, find, insert,
    is_overdue,
};
use lbxdp_common::walk::Walker;
use lbxdp_common::{Cells, Ticks};
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use loom::thread::{self, JoinHandle};

/// A cell of the model: one that parties share, or one that never changes.
enum Cell {
    Shared(AtomicU64),
    Fixed(u64),
}

/// A row with the orders that [`Cells`] promises, and no stronger ones.
#[derive(Clone, Copy)]
struct Row(&'static [Cell]);

impl Cells for Row {
    fn load(self, cell: usize) -> u64 {
        match &self.0[cell] {
            Cell::Shared(atomic) => atomic.load(Ordering::Acquire),
            Cell::Fixed(value) => *value,
        }
    }

    fn store(self, cell: usize, value: u64) {
        match &self.0[cell] {
            Cell::Shared(atomic) => atomic.store(value, Ordering::Release),
            Cell::Fixed(fixed) => assert_eq!(*fixed, value, "a cell that never changes was written to"),
        }
    }

    fn replace(self, cell: usize, old: u64, new: u64) -> bool {
        match &self.0[cell] {
            Cell::Shared(atomic) => {
                atomic.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            }
            Cell::Fixed(value) => {
                assert_ne!(*value, old, "a connection that nobody touches was exchanged");
                false
            }
        }
    }

    fn swap(self, cell: usize, value: u64) -> u64 {
        // The full barrier: loom takes an exchange for less than that.
        fence(Ordering::SeqCst);
        let was = self.shared(cell).swap(value, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        was
    }

    fn add(self, cell: usize, value: u64) {
        self.shared(cell).fetch_add(value, Ordering::SeqCst);
    }
}

impl Row {
    fn shared(self, cell: usize) -> &'static AtomicU64 {
        match &self.0[cell] {
            Cell::Shared(atomic) => atomic,
            Cell::Fixed(_) => panic!("a connection that nobody touches was written to"),
        }
    }
}

/// A table of one or two buckets. Loom's cells live as long as one run of the model, so a run leaks its own.
#[derive(Clone, Copy)]
struct Table(&'static [Row]);

impl Walker for Table {}

impl Buckets for Table {
    type Bucket = Row;

    fn bucket(&self, index: u32) -> Option<Row> {
        self.0.get(index as usize).copied()
    }
}

/// A place of a bucket when the model begins.
#[derive(Clone, Copy)]
enum Place {
    Free,
    Taken(Key, Word),
    /// A connection that nobody touches.
    Other,
}
use Place::{Free, Other, Taken};

impl Table {
    fn of(buckets: &[[Place; WAYS]]) -> Self {
        let rows = buckets.iter().map(|places| Row(Vec::leak(places.iter().flat_map(entry).collect())));
        Self(Vec::leak(rows.collect()))
    }

    fn shape(self) -> Shape {
        Shape::steady(self.0.len() as u32)
    }

    fn find(self, hash: Hash, key: Key) -> Option<(Slot<Row>, Word)> {
        find(&self, self.shape(), hash, key).and_then(Found::here)
    }

    fn insert(self, hash: Hash, key: Key, word: Word) -> Inserted {
        insert(&self, self.shape(), hash, key, word, NOW)
    }

    fn slots(self) -> impl Iterator<Item = Slot<Row>> {
        self.0.iter().flat_map(|bucket| (0..WAYS).map(|way| Slot::new(*bucket, way)))
    }

    /// The connections in the table, but those that nobody touches.
    fn live(self) -> Vec<(Key, Word)> {
        self.slots().filter_map(Slot::read).filter(|(key, _)| *key != key_of(OTHER)).collect()
    }

    /// One pass of the sweep over the entries that can be overdue; which connections it took out.
    fn sweep(self, now: Ticks) -> Vec<(Key, Word)> {
        let overdue = |(_, entry): &(Slot<Row>, (Key, Word))| is_overdue(entry.1, now);
        self.slots()
            .filter_map(|slot| Some((slot, slot.read()?)))
            .filter(overdue)
            .filter(|(slot, (_, word))| slot.retire(*word))
            .map(|(_, entry)| entry)
            .collect()
    }
}

fn entry(place: &Place) -> [Cell; ENTRY_CELLS] {
    const { assert!(WAYS * ENTRY_CELLS == BUCKET_CELLS) };
    let shared = |key: [u64; 2], word: u64| {
        let [first, second] = key.map(|cell| Cell::Shared(AtomicU64::new(cell)));
        [first, second, Cell::Shared(AtomicU64::new(word)), Cell::Fixed(0)]
    };
    match place {
        // All keys have the second cell in common: one cell less in which orders can differ.
        Free => {
            let [_, second] = key_of(OTHER).cells();
            [
                Cell::Shared(AtomicU64::new(0)),
                Cell::Fixed(second),
                Cell::Shared(AtomicU64::new(0)),
                Cell::Fixed(0),
            ]
        }
        Taken(key, word) => shared(key.cells(), word.0),
        Other => {
            let [first, second] = key_of(OTHER).cells();
            [first, second, word_of(OTHER, LATER).0, 0].map(Cell::Fixed)
        }
    }
}

/// One bucket for both hashes.
const SAME: Hash = Hash(0);
/// The first bucket, and the second.
const BOTH: Hash = Hash(1 << 63);
const NOW: Ticks = Ticks(1000);
const LATER: Ticks = Ticks(5000);
const OTHER: u8 = 9;

fn key_of(number: u8) -> Key {
    Key {
        client: [10, 0, 0, number],
        vip: [10, 0, 0, 100],
        client_port: [1, 1],
        vip_port: [0, 80],
        protocol: 6,
        pad: [0; 3],
    }
}

fn word_of(server: u8, due: Ticks) -> Word {
    Word::live(ServerId(server.into()), State::tcp(TcpState::SynReceived), due)
}

/// Runs a model over every order of steps with at most so many preemptions.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// A CPU that gives `key` to `server`.
fn inserter(table: Table, hash: Hash, key: Key, server: u8) -> JoinHandle<(u8, Inserted)> {
    thread::spawn(move || (server, table.insert(hash, key, word_of(server, LATER))))
}

/// Whether an inserter may go without a place: it tries two, and overdue ones only once, so rivals may take all it tries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    ForAll,
    Contested,
}

/// What the inserters of one key must agree on: one of them put its server into the table, and the others use it.
fn assert_one_wins(table: Table, key: Key, room: Room, results: &[(u8, Inserted)]) {
    let entries: Vec<Word> =
        table.live().into_iter().filter(|(k, _)| *k == key).map(|(_, word)| word).collect();
    let [entry] = entries[..] else { panic!("{} entries of the key: {results:?}", entries.len()) };
    let mut winners = 0;
    for (server, result) in results {
        match result {
            Inserted::New(_) => {
                winners += 1;
                assert_eq!(entry, word_of(*server, LATER), "{results:?}");
            }
            Inserted::Existing(theirs, _) => assert_eq!(theirs.server(), entry.server(), "{results:?}"),
            Inserted::Full(_) => assert!(room == Room::Contested, "there was room: {results:?}"),
        }
    }
    assert_eq!(winners, 1, "{results:?}");
    let unfinished = table.slots().filter(|slot| slot.word().0 != 0 && !slot.word().is_live()).count();
    assert_eq!(unfinished, 0, "a place was not given back");
}

fn model_of_rivals(
    preemptions: usize,
    buckets: &'static [[Place; WAYS]],
    hash: Hash,
    rivals: u8,
    room: Room,
) {
    check(preemptions, move || {
        let table = Table::of(buckets);
        let others: Vec<_> = (2..=rivals).map(|server| inserter(table, hash, key_of(1), server)).collect();
        let mut results = vec![(1, table.insert(hash, key_of(1), word_of(1, LATER)))];
        results.extend(others.into_iter().map(|other| other.join().unwrap()));
        assert_one_wins(table, key_of(1), room, &results);
    });
}

#[test]
fn of_two_inserters_in_one_bucket_one_wins_and_the_other_uses_its_server() {
    model_of_rivals(4, &[[Other, Free, Free, Other]], SAME, 2, Room::ForAll);
}

#[test]
fn of_two_inserters_in_two_buckets_one_wins() {
    model_of_rivals(4, &[[Other, Other, Free, Other], [Free, Other, Other, Other]], BOTH, 2, Room::ForAll);
}

#[test]
fn of_two_inserters_one_wins_even_if_the_later_one_stands_before_the_earlier_one() {
    model_of_rivals(4, &[[Other, Other, Free, Other], [Free, Free, Other, Other]], BOTH, 2, Room::ForAll);
}

#[test]
fn of_two_inserters_that_must_replace_overdue_connections_one_wins() {
    let overdue = |number| Taken(key_of(number), word_of(number, NOW));
    let buckets = Vec::leak(vec![[overdue(2), Other, overdue(3), Other]]);
    model_of_rivals(2, buckets, SAME, 2, Room::Contested);
}

#[test]
fn of_three_inserters_one_wins() {
    model_of_rivals(1, &[[Free, Free, Free, Other]], SAME, 3, Room::Contested);
}

#[test]
fn a_reader_sees_whole_connections_while_their_places_change_hands() {
    check(2, || {
        let (old, new) = ((key_of(1), word_of(1, NOW)), (key_of(2), word_of(2, LATER)));
        let table = Table::of(&[[Other, Taken(old.0, old.1), Other, Other]]);
        let inserter = inserter(table, SAME, new.0, 2);
        let reader = thread::spawn(move || {
            for (key, word) in table.live() {
                assert!((key, word) == old || (key, word) == new, "torn: {key:?} {word:?}");
            }
            for (key, word) in [old, new] {
                if let Some((_, found)) = table.find(SAME, key) {
                    assert_eq!(found, word, "torn");
                }
            }
        });
        reader.join().unwrap();
        assert!(
            matches!(inserter.join().unwrap().1, Inserted::New(Some(Replaced { key, .. })) if key == old.0)
        );
        assert_eq!(table.live(), [new]);
    });
}

#[test]
fn a_connection_is_taken_off_once_by_the_sweep_or_by_who_takes_its_place() {
    check(3, || {
        let (old, new) = ((key_of(1), word_of(1, NOW)), (key_of(2), word_of(2, LATER)));
        let table = Table::of(&[[Other, Taken(old.0, old.1), Other, Other]]);
        let inserter = inserter(table, SAME, new.0, 2);
        let swept = table.sweep(NOW);
        let inserted = inserter.join().unwrap().1;
        let replaced = match inserted {
            Inserted::New(replaced) | Inserted::Existing(_, replaced) => replaced,
            Inserted::Full(_) => None,
        };
        let replaced = replaced.map(|replaced| (replaced.key, replaced.word));
        let taken_off: Vec<_> = swept.into_iter().chain(replaced).collect();
        assert_eq!(taken_off, [old]);
        // If the sweep was faster by a hair, the place may have looked neither free nor overdue: no harm.
        let live = if matches!(inserted, Inserted::Full(_)) { vec![] } else { vec![new] };
        assert_eq!(table.live(), live);
    });
}

#[test]
fn two_inserters_of_different_keys_never_take_off_one_connection_twice() {
    check(2, || {
        let old = (key_of(1), word_of(1, NOW));
        let table = Table::of(&[[Other, Taken(old.0, old.1), Other, Other]]);
        let other = inserter(table, SAME, key_of(2), 2);
        let mine = table.insert(SAME, key_of(3), word_of(3, LATER));
        let results = BTreeMap::from([(2, other.join().unwrap().1), (3, mine)]);
        let replacing = Inserted::New(Some(Replaced { key: old.0, word: old.1 }));
        let winners: Vec<u8> =
            results.iter().filter(|(_, result)| **result == replacing).map(|(server, _)| *server).collect();
        let [winner] = winners[..] else { panic!("{results:?}") };
        assert!(results.values().any(|result| matches!(result, Inserted::Full(_))), "{results:?}");
        assert_eq!(table.live(), [(key_of(winner), word_of(winner, LATER))]);
    });
}

#[test]
fn a_connection_that_gets_a_packet_survives_the_sweep_or_was_taken_off_before() {
    check(4, || {
        let (key, word, refreshed) = (key_of(1), word_of(1, NOW), word_of(1, LATER));
        let table = Table::of(&[[Other, Taken(key, word), Other, Other]]);
        let packet = thread::spawn(move || {
            table.find(SAME, key).is_some_and(|(slot, seen)| slot.change(seen, refreshed))
        });
        let swept = table.sweep(NOW);
        if packet.join().unwrap() {
            assert_eq!((swept, table.live()), (vec![], vec![(key, refreshed)]));
        } else {
            assert_eq!((swept, table.live()), (vec![(key, word)], vec![]));
        }
    });
}
