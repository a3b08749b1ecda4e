//! The table while it grows: from one bucket to two. Parties that still know it by the earlier shape meet those that know
//! it by the later one, as they do while the daemon waits between two shapes.

use lbxdp_common::connection::{Key, Word};
use lbxdp_common::table::{
    Carried, Entry, Found, Hash, Inserted, Replaced, Shape, Slot, Stray, WAYS, carry, find, insert,
};
use loom::thread;

use crate::memory::{Free, LATER, NOW, Other, Place, Table, Taken, check, key_of, word_of};

/// Both halves choose the upper half of the buckets: by the new size the key belongs into the second bucket.
const MOVES: Hash = Hash(1 << 63 | 1 << 31);
const OLD: Shape = Shape::steady(1);
const OPENING: Shape = Shape::new(1, 2);
const MOVING: Shape = Shape::new(2, 1);

/// The old bucket, and the new one.
fn table(places: &[[Place; WAYS]; 2]) -> Table {
    Table::of(places)
}

fn entries(table: Table, key: Key) -> Vec<Word> {
    table.live().into_iter().filter(|(k, _)| *k == key).map(|(_, word)| word).collect()
}

/// Carries what stands in the first bucket, as the daemon's errand does; which connections had to make room.
fn carry_all(table: Table) -> Vec<Replaced> {
    let mut dispossessed = Vec::new();
    for slot in table.slots().take(WAYS) {
        if let Some((key, word)) = slot.read()
            && key == key_of(1)
        {
            let carried = carry(&table, MOVING, Stray { key, hash: MOVES, slot, word }, NOW, |gone| {
                dispossessed.push(gone);
            });
            assert_ne!(carried, Carried::Full);
        }
    }
    dispossessed
}

/// Two CPUs insert one key, each by its shape: one entry remains, and both use its server.
fn inserters_meet(one: Shape, other: Shape) {
    check(3, move || {
        let table = table(&[[Other, Free, Free, Other], [Other, Other, Free, Free]]);
        let put = move |shape: Shape, server: u8| {
            (server, insert(&table, shape, MOVES, Entry::new(key_of(1), word_of(server, LATER)), NOW))
        };
        let rival = thread::spawn(move || put(one, 1));
        let results = [put(other, 2), rival.join().unwrap()];
        let entries = entries(table, key_of(1));
        let [entry] = entries[..] else { panic!("{} entries: {results:?}", entries.len()) };
        for (server, inserted) in results {
            match inserted {
                Inserted::New(_) => assert_eq!(entry, word_of(server, LATER)),
                Inserted::Existing(theirs, _) => assert_eq!(theirs.server(), entry.server()),
                Inserted::Full(_) => panic!("there was room: {results:?}"),
            }
        }
        let unfinished = table.slots().filter(|slot| slot.word().0 != 0 && !slot.word().is_live()).count();
        assert_eq!(unfinished, 0, "a place was not given back");
    });
}

#[test]
fn inserters_by_the_old_shape_and_the_opening_one_meet() {
    inserters_meet(OLD, OPENING);
}

#[test]
fn inserters_by_the_opening_shape_and_the_moving_one_meet() {
    inserters_meet(OPENING, MOVING);
}

#[test]
fn inserters_by_the_moving_shape_and_the_new_one_meet() {
    inserters_meet(MOVING, Shape::steady(2));
}

#[test]
fn a_connection_that_is_carried_is_found_at_every_moment() {
    check(3, || {
        let word = word_of(1, LATER);
        let table = table(&[[Other, Taken(key_of(1), word), Other, Other], [Free, Other, Other, Other]]);
        let packet = thread::spawn(move || match find(&table, MOVING, MOVES, key_of(1)) {
            Some(Found::Here(_, found) | Found::OnItsWay(found)) => assert_eq!(found.arrived(), word),
            None => panic!("a connection was missed"),
        });
        carry_all(table);
        packet.join().unwrap();
        assert_eq!(entries(table, key_of(1)), [word]);
    });
}

#[test]
fn no_change_to_a_connection_is_lost_while_it_is_carried() {
    check(3, || {
        let (word, changed) = (word_of(1, NOW + 1), word_of(1, LATER));
        let table = table(&[[Other, Taken(key_of(1), word), Other, Other], [Free, Other, Other, Other]]);
        let packet = thread::spawn(move || {
            let found = find(&table, MOVING, MOVES, key_of(1)).and_then(Found::here);
            found.is_some_and(|(slot, seen): (Slot<_>, Word)| slot.change(seen, changed))
        });
        carry_all(table);
        let was_changed = packet.join().unwrap();
        // Wherever it stands now: if it could not be carried because it was changed, the next errand does it.
        assert_eq!(entries(table, key_of(1)), [if was_changed { changed } else { word }]);
    });
}

#[test]
fn a_connection_that_ends_while_it_is_carried_does_not_come_back() {
    check(3, || {
        let word = word_of(1, LATER);
        let table = table(&[[Other, Taken(key_of(1), word), Other, Other], [Free, Other, Other, Other]]);
        let end = thread::spawn(move || {
            let found = find(&table, MOVING, MOVES, key_of(1)).and_then(Found::here);
            found.is_some_and(|(slot, seen)| slot.retire(seen))
        });
        carry_all(table);
        let has_ended = end.join().unwrap();
        assert_eq!(entries(table, key_of(1)).len(), usize::from(!has_ended));
    });
}

#[test]
fn who_must_make_room_for_a_carried_connection_is_taken_off_once() {
    check(2, || {
        let word = word_of(1, LATER);
        let half_open = (key_of(2), word_of(2, LATER).half_open());
        let table = table(&[
            [Other, Taken(key_of(1), word), Other, Other],
            [Taken(half_open.0, half_open.1), Other, Other, Other],
        ]);
        let end = thread::spawn(move || table.slots().nth(WAYS).is_some_and(|slot| slot.retire(half_open.1)));
        let dispossessed = carry_all_if_there_is_room(table);
        let has_ended = end.join().unwrap();
        assert_eq!(dispossessed.len() + usize::from(has_ended), 1, "{dispossessed:?}");
        assert_eq!(entries(table, key_of(1)), [word]);
        assert_eq!(entries(table, key_of(2)), []);
    });
}

/// As [`carry_all`], where the place may be found neither free nor half open.
fn carry_all_if_there_is_room(table: Table) -> Vec<Replaced> {
    let mut dispossessed = Vec::new();
    let slot = table.slots().nth(1).unwrap();
    let (key, word) = slot.read().unwrap();
    carry(&table, MOVING, Stray { key, hash: MOVES, slot, word }, NOW, |gone| dispossessed.push(gone));
    dispossessed
}

#[test]
fn an_overdue_connection_that_is_being_carried_is_not_taken_for_a_free_place() {
    check(3, || {
        // To who carries it is not overdue yet; a tick later, to the inserter, it is.
        let word = word_of(1, NOW + 1);
        let table = table(&[[Taken(key_of(1), word), Other, Other, Other], [Free, Other, Other, Other]]);
        let rival = thread::spawn(move || {
            insert(&table, MOVING, Hash(0), Entry::new(key_of(2), word_of(2, LATER)), NOW + 1)
        });
        carry_all(table);
        let inserted = rival.join().unwrap();
        let taken_off =
            matches!(inserted, Inserted::New(Some(replaced)) if replaced.key == key_of(1).cells());
        let there = entries(table, key_of(1)).len();
        assert_eq!(there + usize::from(taken_off), 1, "{inserted:?}, {there} entries");
    });
}
