//! What readers see while addresses come and go.

use core::cell::RefCell;
use core::sync::atomic::AtomicU64;
use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const SEED: Seed = Seed { offset: 5, multiplier: 0x9e37_79b9_7f4a_7c15 };

#[test]
fn each_of_four_addresses_is_found_and_no_other() {
    let vips = [[10, 0, 0, 100], [10, 0, 0, 101], [192, 0, 2, 1], [203, 0, 113, 7]];
    let cells = [cell([vips[0], vips[1]]), cell([vips[2], vips[3]])].map(AtomicU64::new);
    assert!(vips.iter().all(|vip| holds(&cells[..], *vip)));
    assert!(!holds(&cells[..], [10, 0, 0, 102]));
    let empty = [AtomicU64::new(0), AtomicU64::new(0)];
    assert!(!holds(&empty[..], [0; 4]));
    assert_eq!(pair(cell([vips[1], vips[2]])), [vips[1], vips[2]]);
}

#[test]
fn four_addresses_fit_and_a_fifth_when_one_is_gone() {
    let cells: [AtomicU64; VIP_CELLS] = Default::default();
    let vip = |last| [10, 0, 0, last];
    assert!((1..=4).all(|last| put(&cells[..], vip(last)) && put(&cells[..], vip(last))));
    assert!(!put(&cells[..], vip(5)));
    remove(&cells[..], vip(2));
    assert!(put(&cells[..], vip(5)) && !holds(&cells[..], vip(2)));
    let cells: [AtomicU64; VIP_CELLS_V6] = Default::default();
    let vip = |last: u128| (0xfd00_u128 << 112 | last).to_be_bytes();
    let put = |last| put_v6(&cells[..], vip(last), || {});
    assert!((1..=4).all(|last| put(last) && put(last)));
    assert!(!put(5));
    remove_v6(&cells[..], vip(2), || {});
    assert!(put(5) && !holds_v6(&cells[..], vip(2)));
    assert!([1, 3, 4, 5].iter().all(|last| holds_v6(&cells[..], vip(*last))));
}

#[test]
fn what_a_table_cannot_hold_is_not_found() {
    let cells: [AtomicU64; VIP_CELLS_V6] = Default::default();
    let ones = [u8::MAX; 16];
    assert!(!holds_v6(&cells[..], ones) && !holds_v6(&cells[..], [0; 16]));
    for (address, can) in [
        ("0.0.0.0", false),
        ("10.0.0.1", true),
        ("::", true),
        ("::1", true),
        ("fd00::", true),
        ("ffff:ffff:ffff:ffff::1", false),
    ] {
        assert_eq!(can_hold(address.parse().expect("an address")), can, "{address}");
    }
}

/// Neighbours in a network, as VIPs are.
#[test]
fn buckets_do_not_overflow() {
    for network in [0x2001_0db8_u128 << 96, 0xfd00_u128 << 112] {
        for step in [1_u128, 0x100, 1 << 64] {
            let mut lengths = BTreeMap::<u32, usize>::new();
            for number in 0..4096 {
                *lengths.entry(bucket_v6((network + number * step).to_be_bytes(), SEED)).or_default() += 1;
            }
            assert!(lengths.values().all(|length| *length <= VIP_WAYS), "{network:x} {step:x}");
        }
    }
}

/// A bucket that keeps what it was after every store, and when its readers were waited for.
struct Watched {
    cells: [AtomicU64; VIP_CELLS_V6],
    past: RefCell<Vec<Moment>>,
}

#[derive(Clone, Copy)]
struct Moment {
    cells: [u64; VIP_CELLS_V6],
    /// How often readers were waited for before.
    waits: usize,
}

impl Watched {
    fn new() -> Self {
        let moment = Moment { cells: [0; VIP_CELLS_V6], waits: 0 };
        Self { cells: Default::default(), past: RefCell::new([moment].into()) }
    }

    fn take_down(&self, waited: usize) {
        let waits = self.past.borrow().last().map_or(0, |moment| moment.waits) + waited;
        let cells = core::array::from_fn(|at| (&self.cells[..]).load(at));
        self.past.borrow_mut().push(Moment { cells, waits });
    }

    fn addresses(&self) -> Vec<[u8; 16]> {
        (0..VIP_WAYS).filter_map(|way| address_v6(&self.cells[..], way)).collect()
    }
}

impl Cells for &Watched {
    fn load(self, cell: usize) -> u64 {
        (&self.cells[..]).load(cell)
    }

    fn store(self, cell: usize, value: u64) {
        (&self.cells[..]).store(cell, value);
        self.take_down(0);
    }

    fn replace(self, cell: usize, old: u64, new: u64) -> bool {
        (&self.cells[..]).replace(cell, old, new)
    }

    fn swap(self, cell: usize, value: u64) -> u64 {
        (&self.cells[..]).swap(cell, value)
    }

    fn add(self, cell: usize, value: u64) {
        (&self.cells[..]).add(cell, value);
    }
}

/// Addresses of few halves, those that are all zeros and all ones among them, so that halves meet.
fn any_address() -> impl Strategy<Value = [u8; 16]> {
    let half = proptest::sample::select(&[0, 1, 2, u64::MAX][..]);
    (half.clone(), half)
        .prop_map(|(first, second)| (u128::from(first) << 64 | u128::from(second)).to_be_bytes())
        .prop_filter("begins with 64 ones", |address| can_hold(IpAddr::from(*address)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// Whatever a reader loads when: what it takes for an address was one while it looked.
    #[test]
    fn no_reader_takes_halves_of_two_addresses_for_one(
        changes in proptest::collection::vec((any::<bool>(), any_address()), 1..24),
    ) {
        let bucket = Watched::new();
        let mut held = Vec::new();
        for (comes, address) in changes {
            let wait = || bucket.take_down(1);
            if comes {
                if put_v6(&bucket, address, wait) && !held.contains(&address) {
                    held.push(address);
                }
            } else {
                remove_v6(&bucket, address, wait);
                held.retain(|known| *known != address);
            }
            let mut seen = bucket.addresses();
            seen.sort_unstable();
            held.sort_unstable();
            prop_assert_eq!(&seen, &held);
        }
        let past = bucket.past.borrow();
        let of = |moment: &Moment, way: usize| (moment.cells[2 * way], moment.cells[2 * way + 1]);
        for way in 0..VIP_WAYS {
            for (at, early) in past.iter().enumerate() {
                // A packet that began before a wait is gone after it.
                let later = past[at..].iter().enumerate().take_while(|(_, late)| late.waits == early.waits);
                for (distance, late) in later {
                    let ((first, _), (_, second)) = (of(early, way), of(late, way));
                    let span = &past[at..=at + distance];
                    let was_whole = span.iter().any(|moment| of(moment, way) == (first, second));
                    prop_assert!(first == 0 || was_whole, "way {} from {} by {}", way, at, distance);
                }
            }
        }
    }
}
