use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU32, AtomicU64};
use std::collections::BTreeMap;
use std::string::String;
use std::sync::Mutex;
use std::vec::Vec;

use proptest::prelude::*;

use super::cache::CACHE_CELLS;
use super::*;
use crate::service::{SERVICE_CELLS, ServiceRow, Shares};

#[path = "reference.rs"]
mod reference;
use reference::Reference;

/// One service and its servers, in ordinary memory.
struct OneService {
    row: [AtomicU64; SERVICE_CELLS],
    scheduler: Scheduler,
    flags: ServiceFlags,
    /// Where chance stands.
    dice: AtomicU32,
    now: AtomicU32,
    cache: Mutex<BTreeMap<CacheKey, &'static [AtomicU64]>>,
    members: Vec<Member>,
    /// By server id.
    loads: Vec<Load>,
    /// What other threads add to them, from id 1 on.
    busy: [AtomicU64; 12],
    turn: [AtomicU64; 1],
    /// The scheduler's table: indices of members. The daemon lays it out; here any will do.
    table: Vec<u16>,
}

impl Walker for &OneService {}

impl<'a> Pool for &'a OneService {
    type Shared = &'a [AtomicU64];

    fn service_row(&self, index: u32) -> Option<Self::Shared> {
        (index == INDEX).then_some(&self.row[..])
    }

    fn member_cell(&self, index: u32) -> Option<u64> {
        let index = index.checked_sub(START)? as usize;
        if let Some(member) = self.members.get(index) {
            return Some(member.cell());
        }
        let slots = self.table.get((index - self.members.len()) * 4..)?;
        Some(List::slots_cell(&slots[..slots.len().min(4)]))
    }

    fn load(&self, server: ServerId) -> Load {
        let busy = self.busy.get((server.0 as usize).wrapping_sub(1)).map_or(0, |load| load.load(Relaxed));
        Load(self.loads.get(server.0 as usize).map_or(0, |load| load.0) + busy)
    }

    fn turn(&self, service: u32) -> Option<Self::Shared> {
        (service == INDEX).then_some(&self.turn[..])
    }

    fn now(&self) -> Ticks {
        Ticks(self.now.load(Relaxed))
    }

    fn lblcr_expiration(&self) -> u32 {
        EXPIRATION
    }

    fn cached(&self, key: CacheKey) -> Option<Self::Shared> {
        self.cache.lock().expect("no panic").get(&key).copied()
    }

    fn cache(&self, key: CacheKey) -> Option<Self::Shared> {
        let new = || &std::boxed::Box::leak(std::boxed::Box::new([0; CACHE_CELLS].map(AtomicU64::new)))[..];
        Some(self.cache.lock().expect("no panic").entry(key).or_insert_with(new))
    }

    /// Marsaglia's xorshift.
    fn random(&self) -> u32 {
        let next = |mut x: u32| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^ x << 5
        };
        self.dice.fetch_update(Relaxed, Relaxed, |x| Some(next(x))).expect("always some")
    }
}

/// Of the sets of lblcr.
const EXPIRATION: u32 = 1000;
const INDEX: u32 = 7;
/// Where in the member table the list stands.
const START: u32 = 40;

/// A server of a list: its id, its weight, and whether it is avoided.
type Entry = (u32, u32, bool);

fn member((id, weight, is_avoided): Entry) -> Member {
    let member = Member::new(ServerId(id), weight);
    if is_avoided { member.avoided() } else { member }
}

fn digit(picked: Option<u32>) -> char {
    picked.map_or('-', |id| char::from_digit(id, 10).expect("a digit"))
}

/// A packet that opens a connection.
const REQUEST: Request = Request { client: 0xc000_0201, vip: 0x0a00_0064, client_port: 40_000 };

impl OneService {
    fn new(scheduler: Scheduler, entries: &[Entry]) -> Self {
        let members: Vec<Member> = entries.iter().copied().map(member).collect();
        let turn = match scheduler {
            WeightedRoundRobin => wrr::Turn::default().after_edit(Shares::of(&members)).cell(),
            _ => 0,
        };
        let slots = if members.is_empty() { 0 } else { scheduler.table_slots() };
        let table = (0..members.len() as u16).cycle().take(slots as usize).collect();
        let mut new = Self {
            row: Default::default(),
            scheduler,
            flags: ServiceFlags::default(),
            dice: AtomicU32::new(2_463_534_242),
            now: AtomicU32::new(0),
            cache: Mutex::default(),
            members,
            loads: std::vec![Load(0); 16],
            busy: Default::default(),
            turn: [AtomicU64::new(turn)],
            table,
        };
        new.write_row();
        new
    }

    fn write_row(&mut self) {
        let row = ServiceRow {
            list: List::new(START, self.members.len() as u16, self.scheduler),
            shares: Shares::of(&self.members),
            flags: self.flags,
            ..ServiceRow::default()
        };
        self.row = row.cells().map(AtomicU64::new);
    }

    #[must_use]
    fn with(mut self, flags: ServiceFlags) -> Self {
        self.flags = self.flags.with_if(flags, true);
        self.write_row();
        self
    }

    fn of_weights(scheduler: Scheduler, weights: &[u32]) -> Self {
        let entries: Vec<Entry> = (1..).zip(weights).map(|(id, weight)| (id, *weight, false)).collect();
        Self::new(scheduler, &entries)
    }

    fn pick(&self) -> Option<u32> {
        self.pick_for(REQUEST)
    }

    fn pick_for(&self, request: Request) -> Option<u32> {
        let Request { client, vip, client_port } = request;
        pick(&self, INDEX, client, vip, client_port).map(|server| server.0)
    }

    /// The next picks: a digit each, `-` for none.
    fn picks(&self, count: usize) -> String {
        (0..count).map(|_| digit(self.pick())).collect()
    }

    fn connect(&mut self, is_active: bool) -> Option<u32> {
        let server = self.pick()?;
        let load = &mut self.loads[server as usize];
        *load = Load(load.0.wrapping_add(Load::gained(is_active)));
        Some(server)
    }

    fn edit(&mut self, entries: &[Entry]) {
        let members: Vec<Member> = entries.iter().copied().map(member).collect();
        let cell = self.turn[0].load(Relaxed);
        let cell = match self.scheduler {
            RoundRobin => rr::Turn::from_cell(cell).after_edit(&self.members, &members).cell(),
            WeightedRoundRobin => wrr::Turn::from_cell(cell).after_edit(Shares::of(&members)).cell(),
            _ => cell,
        };
        self.turn = [AtomicU64::new(cell)];
        self.members = members;
        self.write_row();
    }
}

use Scheduler::{
    DestinationHashing, Failover, LeastConnection, LocalityBased, LocalityBasedReplicated, MaglevHashing,
    NeverQueue, Overflow, RoundRobin, ShortestExpectedDelay, SourceHashing, TwoChoices,
    WeightedLeastConnection, WeightedRoundRobin,
};

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

#[test]
fn hashes_are_those_of_linux() {
    for (address, port, sh_slot) in [
        ([192, 0, 2, 1], 0, 50),
        ([192, 0, 2, 1], 40000, 214),
        ([192, 0, 2, 2], 0, 148),
        ([198, 51, 100, 7], 0, 171),
        ([203, 0, 113, 77], 40000, 221),
    ] {
        let address = u32::from_be_bytes(address);
        assert_eq!(sh::slot(address + port), sh_slot);
        if port == 0 {
            assert_eq!(dh::slot(address), sh_slot);
        }
    }
    // 2001:db8::1, folded.
    assert_eq!(sh::slot(0x2001_0db8 ^ 1), 63);
}

#[test]
fn hashing_heeds_the_port_only_with_its_flag_and_dh_never() {
    for (scheduler, by_port, by_vip) in
        [(SourceHashing, true, false), (MaglevHashing, true, false), (DestinationHashing, false, true)]
    {
        let plain = OneService::of_weights(scheduler, &[1; 7]);
        let with_port = OneService::of_weights(scheduler, &[1; 7]).with(ServiceFlags::PORT);
        let goes_one_way = |service: &OneService, requests: &[Request]| {
            requests.iter().all(|request| service.pick_for(*request) == service.pick_for(requests[0]))
        };
        let ports: Vec<_> = (0..20).map(|client_port| Request { client_port, ..REQUEST }).collect();
        let vips: Vec<_> = (0..20).map(|vip| Request { vip, ..REQUEST }).collect();
        let clients: Vec<_> = (0..20).map(|client| Request { client, ..REQUEST }).collect();
        assert!(goes_one_way(&plain, &ports));
        assert_eq!(goes_one_way(&with_port, &ports), !by_port, "{scheduler}");
        assert_eq!(goes_one_way(&plain, &vips), !by_vip, "{scheduler}");
        assert_eq!(goes_one_way(&plain, &clients), by_vip, "{scheduler}");
    }
}

#[test]
fn fallback_moves_only_the_clients_of_the_server_that_fails() {
    for scheduler in [SourceHashing, MaglevHashing] {
        let all = OneService::of_weights(scheduler, &[1; 5]).with(ServiceFlags::FALLBACK);
        let but_three = OneService::of_weights(scheduler, &[1, 1, 0, 1, 1]).with(ServiceFlags::FALLBACK);
        let strict = OneService::of_weights(scheduler, &[1, 1, 0, 1, 1]);
        for client in 0..500 {
            let request = Request { client, ..REQUEST };
            let before = all.pick_for(request).expect("all can be used");
            let after = but_three.pick_for(request).expect("the others can");
            if before == 3 {
                assert_ne!(after, 3);
                assert_eq!(strict.pick_for(request), None);
            } else {
                assert_eq!((after, strict.pick_for(request)), (before, Some(before)));
            }
        }
    }
}

/// `ip_vs_sh_get_fallback`, slot by slot.
#[test]
fn the_fallback_of_sh_begins_at_twice_the_slot() {
    let weights = [0, 1, 1, 1, 1];
    let service = OneService::of_weights(SourceHashing, &weights).with(ServiceFlags::FALLBACK);
    for client in 0..300 {
        let first = sh::slot(client) as usize;
        let slots = core::iter::once(first).chain((0..256).map(|offset| (2 * first + offset) % 256));
        let wanted = slots.map(|slot| service.table[slot]).find(|index| *index != 0);
        let wanted = wanted.map(|index| u32::from(index) + 1);
        assert_eq!(service.pick_for(Request { client, ..REQUEST }), wanted);
    }
}

#[test]
fn connections_that_stay_fill_servers_as_their_scheduler_says() {
    for (scheduler, weights, picks) in [
        (LeastConnection, &[1, 9, 0][..], "121212"),
        (ShortestExpectedDelay, &[1, 2, 3], "323123"),
        (NeverQueue, &[1, 2, 3], "123323"),
        (Failover, &[1, 3, 3], "222222"),
        (Overflow, &[1, 2, 0], "22211----"),
        (Scheduler::Nobody, &[1, 1], "--"),
    ] {
        let mut service = OneService::of_weights(scheduler, weights);
        let picked: String = picks.chars().map(|_| service.connect(true)).map(digit).collect();
        assert_eq!(picked, picks, "{scheduler} {weights:?}");
    }
}

#[test]
fn udp_is_never_active_so_sed_nq_and_ovf_stay_with_one_server() {
    for (scheduler, server) in [(ShortestExpectedDelay, 2), (NeverQueue, 1), (Overflow, 2)] {
        let mut service = OneService::of_weights(scheduler, &[1, 2, 2]);
        assert!((0..20).all(|_| service.connect(false) == Some(server)), "{scheduler}");
    }
}

#[test]
fn twos_gives_by_weights_and_to_who_has_less() {
    let mut service = OneService::of_weights(TwoChoices, &[1, 2, 5, 0]);
    let mut counts = [0; 5];
    for _ in 0..8000 {
        counts[service.pick().expect("a server") as usize] += 1;
    }
    // Nobody has connections: the first of the two drawn is picked. (0 may be drawn too: the first has 2/9, not 1/8.)
    for (server, ninths) in [(1, 2), (2, 2), (3, 5)] {
        assert!(i32::abs(counts[server] - 8000 * ninths / 9) < 200, "{counts:?}");
    }
    // The second is picked if it has less.
    service.loads[3] = Load(Load::gained(true) * 1000);
    let to_third = (0..8000).filter(|_| service.pick() == Some(3)).count();
    assert!(to_third.abs_diff(8000 * 25 / 81) < 200, "{to_third}");
}

#[test]
fn turns_under_contention_are_exact_in_sum() {
    const EACH: usize = 3000;
    for (scheduler, weights) in [(RoundRobin, &[1, 1, 1, 1][..]), (WeightedRoundRobin, &[4, 3, 2, 1])] {
        let service = &OneService::of_weights(scheduler, weights);
        let counts = std::thread::scope(|scope| {
            // Between two picks there is time, so that nobody fails all attempts at the turn.
            let pick_one = move |_: usize| {
                (0..500).for_each(|_| core::hint::spin_loop());
                service.pick().expect("a server")
            };
            let pick_all = move || (0..EACH).map(pick_one).collect::<Vec<u32>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(pick_all)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).fold(
                [0; 5],
                |mut counts, id| {
                    counts[id as usize] += 1;
                    counts
                },
            )
        });
        let all: u32 = weights.iter().sum();
        for (id, weight) in (1..).zip(weights) {
            assert_eq!(counts[id], 4 * EACH as u32 * weight / all, "{scheduler}");
        }
    }
}

fn to(vip: u32) -> Request {
    Request { vip, ..REQUEST }
}

#[test]
fn lblc_stays_with_an_addresss_server_until_it_is_busy_and_another_is_idle() {
    let mut service = OneService::of_weights(LocalityBased, &[2, 4]);
    // Twice as many active connections as its weight are too many only while server 2 has less than half of its own.
    let active = |count: u64| Load(Load::gained(true) * count);
    assert_eq!(service.pick_for(to(7)), Some(1));
    for (first, second, picked) in [(2, 0, 1), (3, 2, 1), (3, 1, 2), (0, 4, 2), (0, 5, 1)] {
        (service.loads[1], service.loads[2]) = (active(first), active(second));
        assert_eq!(service.pick_for(to(7)), Some(picked), "{first} {second}");
    }
    // Another address knows nothing of that.
    service.loads[1] = active(1);
    service.loads[2] = active(0);
    assert_eq!((service.pick_for(to(8)), service.pick_for(to(7))), (Some(2), Some(1)));
    // Overload counts when a server is chosen, not when it is remembered.
    service.loads[1].0 += Load::OVERLOADED;
    service.loads[2] = active(4);
    assert_eq!((service.pick_for(to(7)), service.pick_for(to(9))), (Some(1), Some(2)));
}

#[test]
fn what_is_remembered_follows_the_list() {
    for scheduler in [LocalityBased, LocalityBasedReplicated] {
        let mut service = OneService::new(scheduler, &[(2, 1, false), (1, 1, false)]);
        assert_eq!(service.pick_for(to(7)), Some(2));
        // It stands elsewhere now.
        service.edit(&[(3, 1, false), (2, 1, false), (1, 1, false)]);
        assert_eq!((service.pick_for(to(7)), service.pick_for(to(7))), (Some(2), Some(2)));
        // It cannot be used, and comes back: lblc has gone over to another one, lblcr has both.
        service.edit(&[(3, 1, false), (2, 0, false), (1, 1, false)]);
        assert_eq!(service.pick_for(to(7)), Some(3));
        service.edit(&[(3, 1, false), (2, 1, false), (1, 1, false)]);
        service.loads[3] = Load(Load::gained(false));
        let picked = if scheduler == LocalityBased { 3 } else { 2 };
        assert_eq!(service.pick_for(to(7)), Some(picked));
        // Another one in the same row: an id of another generation.
        service.edit(&[(1, 1, false), (12, 1, true)]);
        assert_eq!(service.pick_for(to(7)), Some(1));
        service.edit(&[]);
        assert_eq!(service.pick_for(to(7)), None);
    }
}

impl OneService {
    /// The servers of an address's set, the newest last.
    fn set(&self, vip: u32) -> Vec<u32> {
        let pool: &Self = self;
        let cache =
            cache::Cache((&pool).cached(CacheKey::new(INDEX, LocalityBasedReplicated, vip)).expect("a row"));
        (0..cache.size().0).map(|place| cache.server(place) as u32).collect()
    }
}

#[test]
fn lblcr_adds_servers_while_they_are_busy_and_lets_the_fullest_go_in_time() {
    let mut service = OneService::of_weights(LocalityBasedReplicated, &[1, 1, 1, 1]);
    let active = |count: u64| Load(Load::gained(true) * count);
    let times = |service: &OneService, now| service.now.store(now, Relaxed);
    for (now, busy, picked) in [(10, 0, 1), (20, 1, 2), (30, 2, 3)] {
        times(&service, now);
        if busy > 0 {
            service.loads[busy] = active(2 + busy as u64);
        }
        assert_eq!(service.pick_for(to(7)), Some(picked));
    }
    assert_eq!(service.set(7), [1, 2, 3]);
    // The one with the fewest is taken. Nothing leaves before its time.
    times(&service, 30 + EXPIRATION);
    assert_eq!((service.pick_for(to(7)), service.set(7)), (Some(3), std::vec![1, 2, 3]));
    times(&service, 31 + EXPIRATION);
    assert_eq!((service.pick_for(to(7)), service.set(7)), (Some(3), std::vec![1, 3]));
    // The next one only after that time again; one that the service does not have any more is the first.
    assert_eq!((service.pick_for(to(7)), service.set(7)), (Some(3), std::vec![1, 3]));
    service.edit(&[(1, 1, false), (2, 1, false), (4, 1, false)]);
    times(&service, 32 + 2 * EXPIRATION);
    assert_eq!((service.pick_for(to(7)), service.set(7)), (Some(4), std::vec![1, 4]));
    // The last one stays for good.
    times(&service, 33 + 3 * EXPIRATION);
    assert_eq!((service.pick_for(to(7)), service.set(7)), (Some(4), std::vec![4]));
    times(&service, 34 + 4 * EXPIRATION);
    assert_eq!((service.pick_for(to(7)), service.set(7)), (Some(4), std::vec![4]));
}

#[test]
fn a_set_of_lblcr_that_is_full_forgets_its_oldest_server() {
    let weights = [1; 40];
    let mut service = OneService::of_weights(LocalityBasedReplicated, &weights);
    service.loads = std::vec![Load(0); 64];
    for id in 1..=40 {
        // All before it are busy.
        assert_eq!(service.pick_for(to(7)), Some(id));
        service.loads[id as usize] = Load(Load::gained(true) * 2);
    }
    assert_eq!(service.set(7), (9..=40).collect::<Vec<u32>>());
}

#[test]
fn a_set_of_lblcr_stays_a_set_under_contention() {
    let service = &OneService::of_weights(LocalityBasedReplicated, &[1; 12]);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            scope.spawn(move || {
                for round in 0..2000 {
                    service.now.fetch_add(EXPIRATION / 3, Relaxed);
                    let picked = service.pick_for(to((thread + round) % 3));
                    assert!(picked.is_some_and(|id| (1..=12).contains(&id)));
                    // Connections come and go, so that servers are busy by turns.
                    let cell = &service.busy[(round % 12) as usize];
                    cell.store(if (round / 12) % 2 == 0 { Load::gained(true) * 3 } else { 0 }, Relaxed);
                }
            });
        }
    });
    for vip in 0..3 {
        let mut set = service.set(vip);
        let size = set.len();
        set.sort_unstable();
        set.dedup();
        assert_eq!(set.len(), size, "no server stands in it twice");
        assert!(set.iter().all(|id| (1..=12).contains(id)) && size > 0);
    }
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

    /// Of all schedulers but lblc, which heeds no overload of the server it remembers.
    #[test]
    fn no_scheduler_picks_what_has_no_weight_or_is_avoided_or_overloaded(
        entries in entries(),
        overloaded in proptest::collection::vec(proptest::bool::weighted(0.2), 16),
        which in 0..Scheduler::COUNT,
        falls_back in any::<bool>(),
    ) {
        let scheduler = Scheduler::ALL[which];
        let flags = if falls_back { ServiceFlags::FALLBACK } else { ServiceFlags::default() };
        let mut service = OneService::new(scheduler, &entries).with(flags.with_if(ServiceFlags::HAS_THRESHOLDS, true));
        for (load, is_overloaded) in service.loads.iter_mut().zip(&overloaded) {
            load.0 += if *is_overloaded { Load::OVERLOADED } else { 0 };
        }
        let is_usable = |&&(id, weight, is_avoided): &&Entry| weight > 0 && !is_avoided && !overloaded[id as usize];
        let usable: Vec<u32> = entries.iter().filter(is_usable).map(|entry| entry.0).collect();
        let may_find_none = match scheduler {
            SourceHashing | MaglevHashing => !falls_back,
            DestinationHashing | Overflow | Scheduler::Nobody => true,
            _ => false,
        };
        for client in 0..40 {
            let server = service.pick_for(Request { client, vip: client, client_port: 7 });
            match server {
                Some(server) => prop_assert!(usable.contains(&server)),
                None => prop_assert!(usable.is_empty() || may_find_none),
            }
            if let Some(server) = server {
                service.loads[server as usize].0 += Load::gained(true);
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
