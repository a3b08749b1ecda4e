//! On the host: every case, and frames by chance.

use lbxdp_common::decap::Refusal;
use lbxdp_tests::tunnel::{Kind, Tunnel, datagram, segment};
use proptest::prelude::*;

use crate::cases::{self, ends, opened, tunnel};
use crate::runner::on_host;

#[test]
fn every_case_on_the_host() {
    for case in cases::all() {
        assert_eq!(on_host(&case.frame), (case.outcome, case.after), "{}", case.name);
    }
}

#[test]
fn every_refusal_has_a_case() {
    let outcomes: Vec<_> = cases::all().iter().map(|case| case.outcome).collect();
    // What is not ready is a program without its start; what is not cut is a driver's.
    for refusal in
        Refusal::ALL.iter().filter(|refusal| !matches!(refusal, Refusal::NotReady | Refusal::NotCut))
    {
        assert!(outcomes.contains(&Err(*refusal)), "no case ends with {refusal}");
    }
}

#[test]
fn a_frame_cut_short_anywhere_is_left_as_it_is() {
    for case in cases::all().iter().filter(|case| case.frame.len() < 1000 && case.name != "padding") {
        for bytes in 0..case.frame.len() {
            let short = &case.frame[..bytes];
            let (outcome, after) = on_host(short);
            assert!(outcome.is_err(), "{}, {bytes} bytes: {outcome:?}", case.name);
            assert_eq!(after, short, "{}, {bytes} bytes", case.name);
        }
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    (0..Kind::ALL.len()).prop_map(|at| Kind::ALL[at])
}

proptest! {
    #[test]
    fn what_is_put_in_comes_out(
        kind in any_kind(), by_6: bool, is_6: bool, is_tcp: bool,
        vlan in proptest::option::of(0u16..4096),
        payload in proptest::collection::vec(any::<u8>(), 0..1400),
    ) {
        let tunnel = Tunnel { vlan, ..tunnel(kind, by_6) };
        let (client, vip) = ends(is_6);
        let packet =
            if is_tcp { segment(client, vip, &payload) } else { datagram(client, vip, 0, &payload) };
        prop_assert_eq!(on_host(&tunnel.wrap(&packet)), (Ok(opened(kind)), tunnel.bare(&packet)));
    }

    #[test]
    fn any_bytes_are_no_harm(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (outcome, after) = on_host(&frame);
        if outcome.is_err() {
            prop_assert_eq!(after, frame);
        }
    }

    #[test]
    fn what_is_opened_is_what_was_behind(case in 0usize..100, changes in proptest::collection::vec((0usize..120, any::<u8>()), 0..4)) {
        let cases = cases::all();
        let mut frame = cases[case].frame.clone();
        for (at, byte) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        let (outcome, after) = on_host(&frame);
        if outcome.is_err() {
            prop_assert_eq!(after, frame);
        } else {
            // Addresses stay; all behind the inner header's first twelve bytes does, but a checksum that was left to us.
            prop_assert_eq!(&after[..12], &frame[..12]);
            let differ = after.iter().rev().zip(frame.iter().rev()).take(after.len() - 30).filter(|(a, b)| a != b);
            prop_assert!(differ.count() <= 2);
        }
    }
}
