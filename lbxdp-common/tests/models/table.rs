//! The invariants of the connection table, checked over every order in which a few parties can meet in a bucket.
//!
//! A model is small: most places of a bucket hold connections that nobody touches, which costs no steps.

use std::collections::BTreeMap;

use lbxdp_common::connection::{Key, Word};
use lbxdp_common::table::{Hash, Inserted, Replaced, WAYS};
use loom::thread::{self, JoinHandle};

use crate::memory::{BOTH, Free, LATER, NOW, Other, Place, SAME, Table, Taken, check, key_of, word_of};

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
            matches!(inserter.join().unwrap().1, Inserted::New(Some(Replaced { key, .. })) if key == old.0.cells())
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
        let replaced = replaced.map(|replaced| (Key::from_cells(replaced.key), replaced.word));
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
        let replacing = Inserted::New(Some(Replaced { key: old.0.cells(), word: old.1 }));
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
