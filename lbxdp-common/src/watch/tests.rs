use core::cell::RefCell;
use core::sync::atomic::AtomicU64;
use std::vec::Vec;

use super::*;
use crate::verdict::{Fate, Reason, Verdict};
use crate::wire::Buffer;
use crate::{V4, V6};

/// Slots in memory, a clock that stands still, and dice that fall as they are told.
struct World {
    rows: Vec<Vec<AtomicU64>>,
    tallies: RefCell<Vec<(u32, Tally)>>,
    now: Ticks,
    random: u32,
}

impl World {
    fn new(wishes: &[(u32, Wish)]) -> Self {
        let row = || (0..WISH_CELLS).map(|_| AtomicU64::new(0)).collect();
        let world = Self {
            rows: (0..WATCHERS).map(|_| row()).collect(),
            tallies: RefCell::default(),
            now: Ticks(0),
            random: u32::MAX,
        };
        for (slot, wish) in wishes {
            world.put(*slot, *wish);
        }
        world
    }

    fn put(&self, slot: u32, wish: Wish) {
        for (at, cell) in wish.cells().into_iter().enumerate() {
            (&self.rows[slot as usize][..]).store(at, cell);
        }
    }
}

impl Walker for &World {}

impl<'a> Watches for &'a World {
    type Row = &'a [AtomicU64];

    fn wish(&self, slot: u32) -> Option<Self::Row> {
        self.rows.get(slot as usize).map(Vec::as_slice)
    }

    fn tally(&self, slot: u32, tally: Tally) {
        self.tallies.borrow_mut().push((slot, tally));
    }

    fn now(&self) -> Ticks {
        self.now
    }

    fn random(&self) -> u32 {
        self.random
    }
}

/// All packets, as many as there are.
fn all() -> Wish {
    Wish {
        outcomes: Outcomes::OURS.0,
        threshold: Wish::one_of(1).into(),
        budget: Budget { packets: u32::MAX, ticks: 1 },
        ..Wish::default()
    }
}

/// All packets that are this; zeros: anything.
fn of(what: What) -> Wish {
    let mask = |is_any: bool| if is_any { 0 } else { u32::MAX };
    let what_mask = What {
        ifindex: mask(what.ifindex == 0),
        family: mask(what.family == 0) as u8,
        protocol: mask(what.protocol == 0) as u8,
        port: mask(what.port == 0) as u16,
    };
    Wish { what, what_mask, ..all() }
}

const CLIENT: V4 = [192, 0, 2, 7];
const VIP: V4 = [10, 0, 0, 100];
const CLIENT_V6: V6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
const VIP_V6: V6 = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// A frame with so many VLAN tags, to port 80 from port 4242.
fn frame_v4(tags: usize, protocol: u8, fragment: u16) -> Vec<u8> {
    let mut frame = std::vec![2; 12];
    frame.extend([0x81, 0, 0, 5].repeat(tags));
    frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0]);
    frame.extend(fragment.to_be_bytes());
    frame.extend([64, protocol, 0, 0]);
    frame.extend([CLIENT, VIP].concat());
    frame.extend([0x10, 0x92, 0, 80]);
    frame.extend([0; 16]);
    frame
}

fn frame_v6() -> Vec<u8> {
    let mut frame = std::vec![2; 12];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 17, 64]);
    frame.extend([CLIENT_V6, VIP_V6].concat());
    frame.extend([0x10, 0x92, 0, 80]);
    frame.extend([0; 16]);
    frame
}

fn seen(mut frame: Vec<u8>) -> Seen {
    Seen::of(&&mut Buffer::new(&mut frame, 0))
}

#[test]
fn a_packet_is_seen_behind_its_tags() {
    for tags in 0..=2 {
        let found = seen(frame_v4(tags, 6, 0));
        assert_eq!((found.family, found.protocol, found.source_port, found.port), (4, 6, 4242, 80));
        assert_eq!((found.source, found.destination), (seen::wide(CLIENT), seen::wide(VIP)));
        assert_eq!(found.ip_offset as usize, 14 + 4 * tags);
    }
    let found = seen(frame_v6());
    assert_eq!((found.family, found.protocol, found.source_port, found.port), (6, 17, 4242, 80));
    assert_eq!((found.source, found.destination), (seen::wide(CLIENT_V6), seen::wide(VIP_V6)));
    assert_eq!(seen(frame_v4(0, 6, 8)).port, 0, "a later fragment has no ports");
    assert_eq!(seen(frame_v4(0, 1, 0)).port, 0, "nor has ICMP");
    for length in 0..34 {
        assert_eq!(seen(frame_v4(0, 6, 0)[..length].to_vec()), Seen::default(), "{length}");
    }
}

fn fits(wish: Wish, seen: &Seen) -> bool {
    let world = World::new(&[(3, wish)]);
    choose(&&world, *seen, 5).slots() == 1 << 3
}

fn net(address: V4, bits: u32) -> ([u64; 2], [u64; 2]) {
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0).to_be_bytes();
    (seen::wide(address), seen::wide(mask))
}

#[test]
fn a_filter_fits_what_it_says() {
    let [tcp, icmp, udp_v6] = [seen(frame_v4(1, 6, 0)), seen(frame_v4(0, 1, 0)), seen(frame_v6())];
    assert!(fits(all(), &tcp) && fits(all(), &icmp) && fits(all(), &udp_v6));
    assert!(
        fits(of(What { protocol: 6, ..What::default() }), &tcp)
            && !fits(of(What { protocol: 17, ..What::default() }), &tcp)
    );
    assert!(
        fits(of(What { protocol: 1, ..What::default() }), &icmp)
            && !fits(of(What { protocol: 1, ..What::default() }), &udp_v6)
    );
    assert!(
        fits(of(What { port: 80, ..What::default() }), &tcp)
            && !fits(of(What { port: 81, ..What::default() }), &udp_v6)
    );
    assert!(
        fits(of(What { ifindex: 5, ..What::default() }), &tcp)
            && !fits(of(What { ifindex: 6, ..What::default() }), &tcp)
    );
    let client = |address, bits| {
        let (client, client_mask) = net(address, bits);
        Wish { client, client_mask, ..of(What { family: 4, ..What::default() }) }
    };
    assert!(fits(client(CLIENT, 32), &tcp) && fits(client([192, 0, 2, 0], 24), &tcp));
    assert!(!fits(client([192, 0, 2, 8], 32), &tcp) && !fits(client([192, 0, 3, 0], 24), &tcp));
    assert!(fits(client(VIP, 32), &tcp), "what goes to the client is the client's, too");
    assert!(!fits(client([0; 4], 0), &udp_v6), "of the other family");
    let (service, service_mask) = (seen::wide(VIP_V6), [u64::MAX; 2]);
    assert!(fits(Wish { service, service_mask, ..of(What { family: 6, ..What::default() }) }, &udp_v6));
    let service = seen::wide(CLIENT_V6);
    assert!(
        !fits(Wish { service, service_mask, ..of(What { family: 6, ..What::default() }) }, &udp_v6),
        "only where it goes to"
    );
}

#[test]
fn nobody_in_a_slot_wants_nothing() {
    let world = World::new(&[(1, all())]);
    world.put(1, all().nobodys());
    assert_eq!(choose(&&world, seen(frame_v4(0, 6, 0)), 5), Mark::default());
    assert!(world.tallies.borrow().is_empty());
}

#[test]
fn one_of_so_many_is_taken() {
    assert_eq!([0, 1, 2, 10].map(Wish::one_of), [u32::MAX, u32::MAX, u32::MAX / 2, u32::MAX / 10]);
    let mut world = World::new(&[(0, all()), (1, Wish { threshold: Wish::one_of(10).into(), ..all() })]);
    let packet = seen(frame_v4(0, 6, 0));
    world.random = u32::MAX / 10;
    assert_eq!(choose(&&world, packet, 5).slots(), 0b11);
    world.random += 1;
    assert_eq!(choose(&&world, packet, 5).slots(), 0b01);
    assert_eq!(*world.tallies.borrow(), [(1, Tally::SampledOut)]);
}

#[test]
fn a_budget_is_kept_and_comes_anew() {
    let budget = Budget { packets: 3, ticks: 25 };
    let mut world = World::new(&[(2, Wish { budget, ..all() })]);
    let packet = seen(frame_v4(0, 6, 0));
    world.now = Ticks(u32::MAX - 10);
    for _ in 0..2 {
        let taken = (0..10).filter(|_| choose(&&world, packet, 5).is_any()).count();
        assert_eq!(taken, 3);
        world.now = world.now + 25;
    }
    assert_eq!(world.tallies.borrow().len(), 14);
}

#[test]
fn who_wants_no_forwarded_packets_pays_by_those_that_are_shown() {
    let drops = Wish {
        outcomes: Outcomes::with_fate(Fate::Drop).0,
        budget: Budget { packets: 1, ticks: 25 },
        ..all()
    };
    let world = World::new(&[(0, drops)]);
    let packet = seen(frame_v4(0, 6, 0));
    let forwarded = Outcome::new(Ok(Verdict::Transmit), 3, Mark::default());
    let dropped = Outcome::new(Err(Reason::NextHopUnresolved), 1, Mark::default());
    for _ in 0..5 {
        let mark = choose(&&world, packet, 5);
        assert!(mark.is_any() && !mark.is_at_once(), "the entry need not copy what it may send");
        assert_eq!(admit(&&world, mark.slots(), forwarded), 0);
    }
    assert_eq!(admit(&&world, 1, dropped), 1);
    assert_eq!(admit(&&world, 1, dropped), 0);
    let tallies = world.tallies.borrow();
    let count = |kind| tallies.iter().filter(|(_, tally)| *tally == kind).count();
    assert_eq!((count(Tally::OtherOutcome), count(Tally::Limited)), (5, 1));
    assert!(choose(&&World::new(&[(0, all())]), packet, 5).is_at_once());
}

#[test]
fn an_outcome_is_read_as_it_was_written() {
    let [drop, pass, transmit, redirect] = [1, 2, 3, 4];
    let mark = Mark(0b1000_0001).copied();
    let ending = |decided, action| {
        let outcome = Outcome::new(decided, action, mark);
        assert_eq!((outcome.mark(), outcome.action()), (mark, action));
        outcome.ending().expect("an ending")
    };
    for verdict in [Verdict::Transmit, Verdict::Leave(u32::MAX), Verdict::Local] {
        assert_eq!(ending(Ok(verdict), transmit), Ending::Went(verdict));
    }
    assert_eq!(ending(Ok(Verdict::Redirect(63)), redirect), Ending::Went(Verdict::Redirect(63)));
    assert_eq!(ending(Ok(Verdict::Redirect(63)), drop), Ending::Stopped(Reason::NoWayOut));
    for &reason in Reason::ALL {
        assert_eq!(ending(Ok(Verdict::Answered(reason)), transmit), Ending::Went(Verdict::Answered(reason)));
        assert_eq!(ending(Err(reason), pass), Ending::Stopped(reason));
        for outcome in [Ok(Verdict::Answered(reason)), Err(reason)] {
            assert_eq!(Outcome::new(outcome, pass, mark).among_outcomes(), Outcomes::of(reason));
        }
    }
    assert_eq!(Outcome::default().ending(), None);
}

#[test]
fn the_sets_of_outcomes_are_apart_and_all_there_is() {
    let [pass, drop, hold] = [Fate::Pass, Fate::Drop, Fate::Hold].map(Outcomes::with_fate);
    assert_eq!((pass.0 & drop.0, pass.0 & hold.0, drop.0 & hold.0), (0, 0, 0));
    assert!(!pass.has(Outcomes::of(Reason::NotOurs)) && !Outcomes::OURS.has(Outcomes::of(Reason::NotOurs)));
    for &reason in Reason::ALL.iter().filter(|reason| **reason != Reason::NotOurs) {
        assert!(Outcomes::OURS.has(Outcomes::of(reason)));
        assert!(pass.with(drop).with(hold).has(Outcomes::of(reason)), "{reason}");
    }
    assert!(Outcomes::OURS.has(Outcomes::FORWARDED.with(Outcomes::LOCAL)));
}

#[test]
fn a_head_has_as_many_bytes_as_the_frame_or_as_are_kept() {
    let mut watched = Watched {
        nanos: 0,
        outcome: 0,
        slots: 0,
        ifindex: 0,
        bytes: 60,
        bytes_after: 0,
        head: [7; HEAD_BYTES],
        head_after: [8; HEAD_BYTES],
    };
    assert_eq!((watched.head().len(), watched.head_after().len()), (60, 0));
    (watched.bytes, watched.bytes_after) = (9000, 256);
    assert_eq!((watched.head().len(), watched.head_after().len()), (HEAD_BYTES, HEAD_BYTES));
}
