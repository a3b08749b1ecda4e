//! Where connections go that the table has no room for: each service's hash slots.
//!
//! Maglev hashing: each server has an order of its own in which it would like the slots, and they take turns in taking
//! the next one that is free, as often as their weights say. When a server comes or goes, few slots of others change.
//! Source: Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load Balancer" (2016), 3.4. There the number
//! of slots is a prime; here it is a power of two and the steps are odd, which reaches every slot as well.

use lbxdp_common::service::{Member, NO_MEMBER};

use crate::state::Server;

/// Which server (by its index) has which of `count` slots (a power of two); [`NO_MEMBER`] in all if no server can be used.
pub(super) fn slots(servers: &[Server], members: &[Member], count: u32) -> Vec<u16> {
    let mut slots = vec![NO_MEMBER; count as usize];
    let mut takers: Vec<Taker> = servers
        .iter()
        .zip(members)
        .zip(0..NO_MEMBER)
        .filter(|((_, member), _)| member.usable_weight() > 0)
        .map(|((server, member), index)| Taker::new(server, *member, index, count))
        .collect();
    // Who comes first in a round is settled by who they are, not by the order in which they were configured.
    takers.sort_by_key(|taker| taker.name);
    let greatest = takers.iter().map(|taker| u64::from(taker.weight)).max().unwrap_or(0);
    let mut left = if takers.is_empty() { 0 } else { count };
    while left > 0 {
        for taker in &mut takers {
            taker.credit += u64::from(taker.weight);
            if taker.credit < greatest || left == 0 {
                continue;
            }
            taker.credit -= greatest;
            while slots[taker.next as usize] != NO_MEMBER {
                taker.step(count);
            }
            slots[taker.next as usize] = taker.index;
            left -= 1;
        }
    }
    slots
}

struct Taker {
    /// A hash of its address and port.
    name: u64,
    /// Where it stands in the list.
    index: u16,
    weight: u32,
    credit: u64,
    next: u32,
    step: u32,
}

impl Taker {
    fn new(server: &Server, member: Member, index: u16, count: u32) -> Self {
        let name = name(server);
        let [offset, step]: [u32; 2] = zerocopy::transmute!(name);
        let (weight, next) = (member.usable_weight(), offset & (count - 1));
        Self { name, index, weight, credit: 0, next, step: step | 1 }
    }

    fn step(&mut self, count: u32) {
        self.next = self.next.wrapping_add(self.step) & (count - 1);
    }
}

/// The same for the same server on every director and in every life of a row. (FNV-1a, then the finalizer of
/// `MurmurHash3`, for FNV alone leaves the upper bits of short texts alike.)
fn name(server: &Server) -> u64 {
    let text = format!("{} {}", server.address, server.port);
    let mut hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbxdp_common::Forward;
    use lbxdp_common::server::ServerId;
    use std::collections::BTreeMap;

    /// The number of the server in each slot; 0 for none.
    fn of(list: &[(u8, u32)], count: u32) -> Vec<u8> {
        let (servers, members): (Vec<Server>, Vec<Member>) = list
            .iter()
            .map(|(number, weight)| {
                let address = [10, 0, 0, *number].into();
                let server = Server::new(address, 80, Forward::Direct, *weight);
                (server, Member::new(ServerId(u32::from(*number)), *weight))
            })
            .unzip();
        let indices = slots(&servers, &members, count);
        indices.iter().map(|index| list.get(usize::from(*index)).map_or(0, |(number, _)| *number)).collect()
    }

    fn shares(slots: &[u8]) -> BTreeMap<u8, usize> {
        slots.iter().fold(BTreeMap::new(), |mut shares, server| {
            *shares.entry(*server).or_default() += 1;
            shares
        })
    }

    #[test]
    fn servers_get_slots_by_their_weights() {
        let shares = shares(&of(&[(1, 1), (2, 2), (3, 5), (4, 0)], 1024));
        assert_eq!(shares.values().sum::<usize>(), 1024);
        for (server, share) in [(1, 128), (2, 256), (3, 640)] {
            assert!(shares[&server].abs_diff(share) <= 8, "{shares:?}");
        }
        assert!(!shares.contains_key(&4));
    }

    #[test]
    fn a_server_that_goes_moves_few_slots_of_others() {
        let before = of(&[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)], 1024);
        let after = of(&[(1, 1), (2, 1), (4, 1), (5, 1)], 1024);
        let moved = before.iter().zip(&after).filter(|(was, is)| **was != 3 && was != is).count();
        assert!(moved < 1024 / 10, "{moved}");
        assert!(after.iter().all(|server| *server != 3));
    }

    #[test]
    fn the_order_of_servers_does_not_matter_and_none_is_none() {
        assert_eq!(of(&[(1, 3), (2, 1)], 64), of(&[(2, 1), (1, 3)], 64));
        assert!(of(&[(1, 0)], 64).iter().all(|server| *server == 0));
        assert!(of(&[], 0).is_empty());
    }

    #[test]
    fn a_weight_that_dwarfs_the_others_fills_the_table_all_the_same() {
        let shares = shares(&of(&[(1, 1), (2, i32::MAX.cast_unsigned())], 64));
        assert_eq!(shares.values().sum::<usize>(), 64);
    }
}
