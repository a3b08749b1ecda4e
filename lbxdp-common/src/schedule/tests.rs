use core::sync::atomic::AtomicU64;
use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::service::{ServiceRow, Shares};

#[path = "reference.rs"]
mod reference;
use reference::Reference;

/// One service and its servers, in ordinary memory.
struct OneService {
    scheduler: Scheduler,
    members: Vec<Member>,
    /// By server id.
    loads: Vec<Load>,
    turn: [AtomicU64; 1],
}

impl Walker for &OneService {}

impl<'a> Pool for &'a OneService {
    type Turn = &'a [AtomicU64];

    fn member_cell(&self, index: u32) -> Option<u64> {
        self.members.get(index.checked_sub(START)? as usize).map(|member| member.cell())
    }

    fn load(&self, server: ServerId) -> Load {
        self.loads.get(server.0 as usize).copied().unwrap_or(Load(0))
    }

    fn turn(&self, service: u32) -> Option<Self::Turn> {
        (service == INDEX).then_some(&self.turn[..])
    }
}

const INDEX: u32 = 7;
/// Where in the member table the list stands.
const START: u32 = 40;

/// A server of a list: its id, its weight, and whether it is avoided.
type Entry = (u32, u32, bool);

fn member((id, weight, is_avoided): Entry) -> Member {
    let member = Member::new(ServerId(id), weight);
    if is_avoided { member.avoided() } else { member }
}

impl OneService {
    fn new(scheduler: Scheduler, entries: &[Entry]) -> Self {
        let members: Vec<Member> = entries.iter().copied().map(member).collect();
        let turn = match scheduler {
            WeightedRoundRobin => wrr::Turn::default().after_edit(Shares::of(&members)).cell(),
            _ => 0,
        };
        Self { scheduler, members, loads: std::vec![Load(0); 16], turn: [AtomicU64::new(turn)] }
    }

    fn of_weights(scheduler: Scheduler, weights: &[u32]) -> Self {
        let entries: Vec<Entry> = (1..).zip(weights).map(|(id, weight)| (id, *weight, false)).collect();
        Self::new(scheduler, &entries)
    }

    fn pick(&self) -> Option<u32> {
        let row = ServiceRow {
            list: List::new(START, self.members.len() as u16),
            shares: Shares::of(&self.members),
            scheduler: self.scheduler.raw(),
            ..ServiceRow::default()
        };
        let cells = row.cells().map(AtomicU64::new);
        pick(&self, INDEX, Service(&cells[..])).map(|server| server.0)
    }

    /// The next picks: a digit each, `-` for none.
    fn picks(&self, count: usize) -> String {
        (0..count).map(|_| self.pick().map_or('-', |id| char::from_digit(id, 10).expect("a digit"))).collect()
    }

    fn connect(&mut self, is_active: bool) -> Option<u32> {
        let server = self.pick()?;
        let load = &mut self.loads[server as usize];
        *load = Load(load.0.wrapping_add(Load::gained(is_active)));
        Some(server)
    }

    fn edit(&mut self, entries: &[Entry]) {
        let members: Vec<Member> = entries.iter().copied().map(member).collect();
        let cell = self.turn[0].load(core::sync::atomic::Ordering::Relaxed);
        let cell = match self.scheduler {
            RoundRobin => rr::Turn::from_cell(cell).after_edit(&self.members, &members).cell(),
            WeightedRoundRobin => wrr::Turn::from_cell(cell).after_edit(Shares::of(&members)).cell(),
            WeightedLeastConnection => cell,
        };
        self.turn = [AtomicU64::new(cell)];
        self.members = members;
    }
}

use Scheduler::{RoundRobin, WeightedLeastConnection, WeightedRoundRobin};

#[test]
fn connections_go_where_linux_sends_them() {
    let recorded = include_str!("recorded.txt").lines().filter(|line| !line.starts_with('#'));
    let mut runs = 0;
    for line in recorded {
        let [scheduler, how, sequence] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let scheduler = Scheduler::from_name(scheduler).expect("a scheduler of ours");
        // Servers were added one by one, which wrr's bar shows; the one added last is the first of the list.
        let list = [(3, 1, false), (2, 2, false), (1, 3, false)];
        let mut service = OneService::new(scheduler, &[]);
        for first in (0..list.len()).rev() {
            service.edit(&list[first..]);
        }
        let picks: String = sequence
            .chars()
            .map(|_| service.connect(how == "held").and_then(|id| char::from_digit(id, 10)).unwrap_or('-'))
            .collect();
        assert_eq!(picks, sequence, "{scheduler} {how}");
        runs += 1;
    }
    assert_eq!(runs, 6);
}

#[test]
fn schedulers_take_the_turns_their_weights_say() {
    for (scheduler, weights, picks) in [
        (RoundRobin, &[1, 1, 1][..], "1231231"),
        (RoundRobin, &[5, 0, 1], "1313131"),
        (RoundRobin, &[1], "1111111"),
        (RoundRobin, &[0, 0], "-------"),
        (RoundRobin, &[], "-------"),
        (WeightedRoundRobin, &[4, 3, 2], "112123123112123123"),
        (WeightedRoundRobin, &[3, 1], "11121112"),
        (WeightedRoundRobin, &[4, 2], "112112"),
        (WeightedRoundRobin, &[100, 100], "121212"),
        (WeightedRoundRobin, &[0, 2, 0], "2222"),
        (WeightedRoundRobin, &[i32::MAX as u32, 1], "1111111"),
        (WeightedRoundRobin, &[i32::MAX as u32, i32::MAX as u32], "121212"),
        (WeightedRoundRobin, &[0, 0], "-------"),
        (WeightedRoundRobin, &[], "-------"),
        (WeightedLeastConnection, &[1, 9], "1111111"),
        (WeightedLeastConnection, &[0, 9], "2222222"),
        (WeightedLeastConnection, &[0, 0], "-------"),
        (WeightedLeastConnection, &[], "-------"),
    ] {
        let service = OneService::of_weights(scheduler, weights);
        assert_eq!(service.picks(picks.len()), picks, "{scheduler} {weights:?}");
    }
}

#[test]
fn the_greatest_weights_do_not_overflow() {
    const MOST: u32 = i32::MAX as u32;
    let mut service = OneService::of_weights(WeightedLeastConnection, &[MOST, MOST - 1]);
    // Sixteen million connections each.
    service.loads[1] = Load(Load::gained(true) * (1 << 23));
    service.loads[2] = Load(Load::gained(true) * (1 << 23));
    assert_eq!(service.pick(), Some(1));
    service.loads[1] = Load(service.loads[1].0 + Load::gained(true));
    assert_eq!(service.pick(), Some(2));
    let service = OneService::new(WeightedRoundRobin, &[(1, MOST, true), (2, 1, false)]);
    assert_eq!(service.picks(3), "222");
}

#[test]
fn rr_goes_on_where_it_was_when_its_list_is_edited() {
    let plain = |ids: &[u32]| ids.iter().map(|id| (*id, 1, false)).collect::<Vec<Entry>>();
    for (before, taken, after, next) in [
        (&[3, 2, 1][..], 1, &[4, 3, 2, 1][..], "2143"),
        (&[3, 2, 1], 2, &[3, 1], "1313"),
        (&[3, 2, 1], 1, &[2, 1], "2121"),
        (&[3, 2, 1], 3, &[4, 3, 2], "4324"),
        (&[3, 2, 1], 3, &[], "----"),
        (&[3, 2, 1], 0, &[4, 3, 2, 1], "4321"),
        (&[3, 2, 1], 2, &[4, 1], "4141"),
        (&[3, 2, 1], 2, &[5, 4], "5454"),
    ] {
        let mut service = OneService::new(RoundRobin, &plain(before));
        service.picks(taken);
        service.edit(&plain(after));
        assert_eq!(service.picks(4), next, "{before:?} {taken} {after:?}");
    }
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec((0u32..=20, proptest::bool::weighted(0.2)), 0..8).prop_map(|servers| {
        (1..).zip(servers).map(|(id, (weight, is_avoided))| (id, weight, is_avoided)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn wrr_picks_what_the_loop_of_ip_vs_wrr_picks(
        edits in proptest::collection::vec((entries(), 0..60usize), 1..8),
    ) {
        let mut service = OneService::new(WeightedRoundRobin, &edits[0].0);
        let mut reference = Reference::new(&edits[0].0);
        for (at, (entries, picks)) in edits.iter().enumerate() {
            if at > 0 {
                service.edit(entries);
                reference.edit(entries);
            }
            for pick in 0..*picks {
                prop_assert_eq!(service.pick(), reference.pick(), "edit {}, pick {}", at, pick);
            }
        }
    }

    #[test]
    fn wrr_gives_each_server_its_weight_in_every_period(weights in proptest::collection::vec(0u32..=20, 1..8)) {
        let step = Shares::of(&OneService::of_weights(WeightedRoundRobin, &weights).members).step;
        let period = (weights.iter().sum::<u32>() / step) as usize;
        let service = OneService::of_weights(WeightedRoundRobin, &weights);
        for _ in 0..3 {
            let mut counts = std::vec![0; weights.len()];
            for _ in 0..period {
                counts[service.pick().expect("a server") as usize - 1] += step;
            }
            prop_assert_eq!(&counts, &weights);
        }
    }

    #[test]
    fn no_scheduler_picks_what_has_no_weight_or_is_avoided(entries in entries(), which in 0..3usize) {
        let mut service = OneService::new(Scheduler::ALL[which], &entries);
        let usable: Vec<u32> =
            entries.iter().filter(|(_, weight, is_avoided)| *weight > 0 && !is_avoided).map(|e| e.0).collect();
        for _ in 0..40 {
            match service.connect(true) {
                Some(server) => prop_assert!(usable.contains(&server)),
                None => prop_assert!(usable.is_empty()),
            }
        }
    }

    #[test]
    fn wlc_picks_the_first_of_those_with_the_least_overhead_for_their_weight(
        servers in proptest::collection::vec((0u32..=5, 0u32..20, 0u32..600), 0..8),
    ) {
        let weights: Vec<u32> = servers.iter().map(|server| server.0).collect();
        let mut service = OneService::of_weights(WeightedLeastConnection, &weights);
        let mut least: Option<(f64, u32)> = None;
        for (id, (weight, active, inactive)) in (1..).zip(&servers) {
            service.loads[id as usize] = Load(u64::from(*inactive) << 32 | u64::from(*active));
            let merit = f64::from(256 * active + inactive) / f64::from(*weight);
            if *weight > 0 && least.is_none_or(|(best, _)| merit < best) {
                least = Some((merit, id));
            }
        }
        prop_assert_eq!(service.pick(), least.map(|(_, id)| id));
    }
}
