use core::sync::atomic::AtomicU64;
use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::server::{Method, ServerId};

struct Nobody;

impl Walker for Nobody {}

fn empty() -> [AtomicU64; FRAGMENT_CELLS] {
    [const { AtomicU64::new(0) }; FRAGMENT_CELLS]
}

const COURSE_OF_TEST: Course = Course::new(ServerId(0x01_0007), Method::TUNNEL);
const NOW: Ticks = Ticks(u32::MAX - 10);

#[test]
fn a_datagram_is_known_until_all_of_it_has_come() {
    let cells = empty();
    let row = FragmentRow(&cells[..]);
    assert_eq!(row.fortune(NOW), None);
    row.begin(&Nobody, Fortune::goes(COURSE_OF_TEST), Hash(77), NOW + 30_000, 185);
    let fortune = row.fortune(NOW).expect("it is known");
    assert_eq!((fortune.course(), row.hash()), (COURSE_OF_TEST, Hash(77)));
    assert_eq!(row.take(&Nobody, Units { first: 370, end: 400 }, false), Fit::New);
    assert!(row.fortune(NOW).is_some());
    assert_eq!(row.take(&Nobody, Units { first: 185, end: 370 }, true), Fit::New);
    assert_eq!(row.fortune(NOW), None);
}

#[test]
fn a_datagram_is_forgotten_in_time() {
    let cells = empty();
    let row = FragmentRow(&cells[..]);
    row.begin(&Nobody, Fortune::PASSES, Hash(0), NOW + LIFETIME_S * 100, 1);
    assert!(row.fortune(NOW).is_some_and(Fortune::passes));
    assert!(row.fortune(NOW + (LIFETIME_S * 100 - 1)).is_some());
    assert_eq!(row.fortune(NOW + LIFETIME_S * 100), None);
    assert!(row.is_young(NOW, 100) && row.is_young(NOW + 99, 100) && !row.is_young(NOW + 100, 100));
}

#[test]
fn what_is_poisoned_stays_so() {
    let cells = empty();
    let row = FragmentRow(&cells[..]);
    row.begin(&Nobody, Fortune::goes(COURSE_OF_TEST), Hash(1), NOW + 100, 10);
    assert_eq!(row.take(&Nobody, Units { first: 9, end: 20 }, true), Fit::Overlap);
    row.poison();
    assert!(row.fortune(NOW).is_some_and(Fortune::is_poisoned));
}

#[test]
fn nothing_comes_behind_the_end() {
    let cells = empty();
    let row = FragmentRow(&cells[..]);
    row.begin(&Nobody, Fortune::goes(COURSE_OF_TEST), Hash(1), NOW + 100, 10);
    assert_eq!(row.take(&Nobody, Units { first: 30, end: 40 }, false), Fit::New);
    assert_eq!(row.take(&Nobody, Units { first: 40, end: 50 }, true), Fit::Overlap);
    assert_eq!(row.take(&Nobody, Units { first: 20, end: 25 }, false), Fit::Overlap);
}

proptest! {
    /// Whatever comes in whatever order, a fragment is new, known or neither as a set of units says.
    #[test]
    fn fragments_fit_as_sets_do(pieces in prop::collection::vec((0u32..8192, 1u32..400), 1..60)) {
        let cells = empty();
        let row = FragmentRow(&cells[..]);
        let mut come = BTreeSet::new();
        for (first, length) in pieces {
            let end = (first + length).min(8192);
            let piece: Vec<u32> = (first..end).collect();
            let known = piece.iter().filter(|unit| come.contains(*unit)).count();
            let fit = row.take(&Nobody, Units { first, end }, true);
            let expected = match known {
                0 => Fit::New,
                known if known == piece.len() => Fit::Again,
                _ => Fit::Overlap,
            };
            prop_assert_eq!(fit, expected);
            if fit == Fit::Overlap {
                // The datagram is poisoned; what has come of it is nobody's business any more.
                return Ok(());
            }
            come.extend(piece);
        }
    }

    /// A datagram cut anywhere, in any order behind its first fragment, is complete with its last piece and not before.
    #[test]
    fn a_datagram_is_complete_when_all_has_come(
        cuts in prop::collection::btree_set(1u32..8191, 1..40),
        seed: u64,
    ) {
        let cells = empty();
        let row = FragmentRow(&cells[..]);
        let bounds: Vec<u32> = core::iter::once(0).chain(cuts).chain([8192]).collect();
        let mut pieces: Vec<Units> =
            bounds.windows(2).map(|pair| Units { first: pair[0], end: pair[1] }).collect();
        let first = pieces.remove(0);
        let mut order = seed;
        pieces.sort_by_cached_key(|_| { order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); order });
        row.begin(&Nobody, Fortune::goes(COURSE_OF_TEST), Hash(5), NOW + 10, first.end);
        for (number, piece) in pieces.iter().enumerate() {
            prop_assert!(row.fortune(NOW).is_some(), "piece {number}");
            prop_assert_eq!(row.take(&Nobody, *piece, piece.end != 8192), Fit::New);
        }
        prop_assert_eq!(row.fortune(NOW), None);
    }
}
