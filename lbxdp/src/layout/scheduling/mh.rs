//! mh: each server has an order of its own in which it would like the slots, and they take turns in taking those that are
//! free, as many a turn as their last weights above 0 say. When a server comes or goes, few slots of others change.
//!
//! Source: Linux `ip_vs_mh.c`.

use lbxdp_common::address::Address;
use lbxdp_common::schedule::mh::{SLOTS, preference};
use lbxdp_common::server::ServerRow;
use lbxdp_common::service::{NO_MEMBER, narrowed};

/// No server takes more than this many bits' worth of slots a turn: greater weights are all shifted.
const TURN_BITS: u32 = 6;

/// The table; without any server if none has ever had a weight.
pub(super) fn table(rows: &[ServerRow]) -> Vec<u16> {
    let mut slots = vec![NO_MEMBER; SLOTS as usize];
    let turns = turns(rows);
    let mut takers: Vec<Taker> = super::indices(rows.len())
        .zip(rows)
        .zip(turns)
        .filter(|(_, turns)| *turns > 0)
        .map(|((index, row), turns)| Taker::new(index, row, turns))
        .collect();
    let mut left = if takers.is_empty() { 0 } else { SLOTS };
    while left > 0 {
        for taker in &mut takers {
            for _ in 0..taker.turns.min(left) {
                taker.take(&mut slots);
                left -= 1;
            }
        }
    }
    slots
}

/// How many slots each server takes in its turn.
fn turns(rows: &[ServerRow]) -> Vec<u32> {
    let weights = || rows.iter().map(|row| row.last_weight);
    let divisor = weights().fold(0, gcd).max(1);
    let greatest = weights().max().unwrap_or(0) / divisor;
    let shift = (u32::BITS - greatest.leading_zeros()).saturating_sub(TURN_BITS);
    weights()
        .map(|weight| match (weight / divisor) >> shift {
            0 => u32::from(weight != 0),
            turns => turns,
        })
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The address as one number: in a service of IPv6 its four words folded, also of an IPv4 address behind a tunnel.
fn folded(row: &ServerRow) -> u32 {
    if row.service.is_v6() { row.address.folded() } else { narrowed(row.address).folded() }
}

struct Taker {
    index: u16,
    turns: u32,
    /// The slot it would like next, and how far the one after that is.
    next: u32,
    skip: u32,
}

impl Taker {
    fn new(index: u16, row: &ServerRow, turns: u32) -> Self {
        let (next, skip) = preference(folded(row), u16::from_be_bytes(row.port_number));
        Self { index, turns, next, skip }
    }

    /// Takes its next free slot; there must be one.
    fn take(&mut self, slots: &mut [u16]) {
        while slots[self.next as usize] != NO_MEMBER {
            self.step();
        }
        slots[self.next as usize] = self.index;
        self.step();
    }

    fn step(&mut self) {
        self.next = (self.next + self.skip) % SLOTS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbxdp_common::service::widened;
    use proptest::prelude::*;

    /// Servers 10.0.0.N of these last weights, by N.
    fn rows(servers: &[(u8, u32)]) -> Vec<ServerRow> {
        let row = |&(last, last_weight): &(u8, u32)| ServerRow {
            address: widened([10, 0, 0, last]),
            port_number: 80u16.to_be_bytes(),
            last_weight,
            ..ServerRow::default()
        };
        servers.iter().map(row).collect()
    }

    /// Who has each slot, by N; 0 for nobody.
    fn of(servers: &[(u8, u32)]) -> Vec<u8> {
        let owner = |index: u16| servers.get(usize::from(index)).map_or(0, |(last, _)| *last);
        table(&rows(servers)).into_iter().map(owner).collect()
    }

    fn share(slots: &[u8], server: u8) -> usize {
        slots.iter().map(|owner| usize::from(*owner == server)).sum()
    }

    #[test]
    fn an_ipv6_address_is_folded() {
        let mut row = rows(&[(7, 1)])[0];
        assert_eq!(folded(&row), 0x0a00_0007);
        row.address = *b"\x20\x01\x0d\xb8\0\0\0\x01\0\0\0\0\0\0\0\x04";
        assert_eq!(folded(&row), 0x2001_0db8);
        row.service.kind = lbxdp_common::service::ServiceKey::IPV6;
        assert_eq!(folded(&row), 0x2001_0db8 ^ 1 ^ 4);
    }

    #[test]
    fn the_tables_of_linux() {
        for (weights, shares, first) in [
            ([1, 1, 1], [1365, 1364, 1364], [1, 2, 2, 3, 3, 1, 2, 3, 3, 1, 1, 2, 2, 1, 1, 3]),
            ([1, 2, 4], [585, 1170, 2338], [1, 1, 2, 1, 1, 1, 2, 3, 3, 1, 1, 2, 2, 1, 1, 1]),
        ] {
            let [third, second, first_weight] = weights;
            let slots = of(&[(3, third), (2, second), (1, first_weight)]);
            assert_eq!([3, 2, 1].map(|server| share(&slots, server)), shares);
            assert_eq!(slots[..16], first);
        }
        let slots = of(&[(3, 1), (2, 1), (1, 1)]);
        let of_client =
            |client: [u8; 4]| slots[lbxdp_common::schedule::mh::slot(u32::from_be_bytes(client)) as usize];
        let clients = [[192, 0, 2, 1], [192, 0, 2, 2], [198, 51, 100, 7], [203, 0, 113, 77]];
        assert_eq!(clients.map(of_client), [3, 2, 1, 2]);
    }

    #[test]
    fn who_never_had_a_weight_has_no_slot() {
        assert!(of(&[(1, 0), (2, 0)]).iter().all(|owner| *owner == 0));
        assert_eq!(share(&of(&[(1, 0), (2, 7)]), 2), SLOTS as usize);
    }

    #[test]
    fn great_weights_are_shifted_and_small_ones_beside_them_keep_a_slot_a_turn() {
        assert_eq!(turns(&rows(&[(1, 100), (2, 50), (3, 1), (4, 0)])), [50, 25, 1, 0]);
        assert_eq!(turns(&rows(&[(1, i32::MAX.cast_unsigned()), (2, 1)])), [63, 1]);
        assert_eq!(turns(&rows(&[(1, 300), (2, 200)])), [3, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn servers_of_one_weight_have_the_same_number_of_slots_but_for_one(
            servers in proptest::collection::btree_set(1u8..=255, 1..40), weight in 1u32..1000,
        ) {
            let servers: Vec<(u8, u32)> = servers.into_iter().map(|last| (last, weight)).collect();
            let slots = of(&servers);
            let fair = SLOTS as usize / servers.len();
            for (server, _) in &servers {
                prop_assert!((fair..=fair + 1).contains(&share(&slots, *server)));
            }
        }

        /// The paper's promise, with room to spare: beside the slots that must move, few do.
        #[test]
        fn a_server_that_goes_moves_few_slots_of_others(
            servers in proptest::collection::btree_set(1u8..=255, 3..30), which in any::<prop::sample::Index>(),
        ) {
            let before: Vec<(u8, u32)> = servers.into_iter().map(|last| (last, 1)).collect();
            let mut after = before.clone();
            let (gone, _) = after.remove(which.index(before.len()));
            let (was, is) = (of(&before), of(&after));
            let moved = was.iter().zip(&is).filter(|(was, is)| **was != gone && was != is).count();
            prop_assert!(moved < SLOTS as usize / 4, "{} of {}", moved, SLOTS);
            prop_assert!(!is.contains(&gone));
        }
    }
}
