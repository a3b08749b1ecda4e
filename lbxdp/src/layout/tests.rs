//! The order of writes is what packets see: these tests play the writes one by one.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lbxdp_common::hint::{self, Hint};
use lbxdp_common::mark::MarkRow;
use lbxdp_common::server::Method;
use lbxdp_common::table::Seed;
use lbxdp_common::{Forward, Protocol, Scheduler, TunnelChecksum, TunnelKind, vip};
use proptest::prelude::*;

use super::*;
use crate::state::Options;
use crate::tables::TableError;

/// The last of the ports that tests use is one of IPv6.
pub(super) fn key(port: u16) -> ServiceKey {
    let vip = if port == PORT_OF_V6 { v6(100) } else { [10, 0, 0, 100].into() };
    ServiceKey::at(Protocol::Tcp, vip, port)
}

const PORT_OF_V6: u16 = 83;

pub(super) fn v6(last: u8) -> IpAddr {
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last].into()
}

pub(super) fn server(last: u8, weight: u32) -> Server {
    Server::new([10, 0, 0, last].into(), 80, Forward::Direct, weight)
}

pub(super) fn state(services: &[(u16, &[Server])]) -> State {
    state_by(services, |_| Scheduler::RoundRobin)
}

/// A state in which the port of a service tells its scheduler.
pub(super) fn state_by(services: &[(u16, &[Server])], scheduler: fn(u16) -> Scheduler) -> State {
    let server = |port: u16, server: &Server| match server.address {
        IpAddr::V4(address) if port == PORT_OF_V6 => Server { address: v6(address.octets()[3]), ..*server },
        _ => *server,
    };
    let service = |port, servers: &[Server]| Service {
        options: Options::of(scheduler(port)),
        servers: servers.iter().map(|known| server(port, known)).collect(),
    };
    State {
        services: services.iter().map(|(port, servers)| (key(*port), service(*port, servers))).collect(),
        ..State::default()
    }
}

pub(super) fn resolved(_: IpAddr) -> Hop {
    Hop { mac: Some([2, 0, 0, 0, 0, 9]), source: [2, 0, 0, 0, 0, 1], ifindex: 3, ..Hop::default() }
}

/// The tables as packets would find them.
#[derive(Clone, Default)]
pub(super) struct Played {
    sizes: [u32; 3],
    servers: BTreeMap<u32, ServerRow>,
    members: BTreeMap<u32, u64>,
    services: BTreeMap<u32, ServiceRow>,
    taken_in: BTreeMap<u32, ServerId>,
    ids: BTreeMap<service::ServiceKey, u32>,
    pub(super) hints: BTreeMap<u32, Hint>,
    pub(super) addresses: BTreeSet<(AddressSet, u32, IpAddr)>,
    thresholds: BTreeMap<u32, Thresholds>,
    mark_rows: BTreeMap<u32, MarkRow>,
    mark_runs: contents::MarkRuns,
}

pub(super) const SEED: Seed = Seed { offset: 5, multiplier: 0x9e37_79b9_7f4a_7c15 };

fn in_its_bucket(set: AddressSet, address: IpAddr) -> (AddressSet, u32, IpAddr) {
    (set, vip::bucket_of(address, SEED), address)
}

impl Played {
    /// Empty tables for so many servers, services, members.
    pub(super) fn new(sizes: [u32; 3]) -> Self {
        Self { sizes, ..Self::default() }
    }

    pub(super) fn play(&mut self, write: &Write) {
        match write {
            Write::FreshServer { .. } | Write::FreshService { .. } | Write::Turn { .. } => {}
            Write::ForgetServer { id, .. } => {
                self.play_half(write);
                let row = self.servers.get_mut(&id.row()).expect("a server's row");
                row.service = service::ServiceKey::default();
            }
            Write::Server { id, row } => {
                self.servers.insert(id.row(), *row);
            }
            Write::Members { list, members, table, slots } => {
                self.members.extend(write::run_cells(*list, members, table, slots));
            }
            Write::Service { index, row } => {
                self.services.insert(*index, *row);
            }
            Write::ServiceId { key, index } => {
                self.ids.insert(*key, *index);
                self.hints.insert(hint::place_of(*key), Hint::to(*index));
            }
            Write::RemoveServiceId { key } => {
                self.hints.remove(&hint::place_of(*key));
                self.ids.remove(key);
            }
            Write::ClearHint { place } => {
                self.hints.remove(place);
            }
            Write::Thresholds { id, thresholds } => {
                self.thresholds.insert(id.row(), *thresholds);
            }
            Write::MarkRow { index, row } => {
                self.mark_rows.insert(*index, *row);
            }
            Write::MarkRun { destination, run } => {
                self.mark_runs.insert(*destination, *run);
            }
            Write::RemoveMarkRun { destination } => {
                self.mark_runs.remove(destination);
            }
            Write::Address { set, address } => {
                self.addresses.insert(in_its_bucket(*set, *address));
            }
            Write::RemoveAddress { set, address } => {
                self.addresses.remove(&in_its_bucket(*set, *address));
            }
            Write::ClearAddress { set, bucket, address } => {
                self.addresses.remove(&(*set, *bucket, *address));
            }
        }
    }

    /// Plays a write by a daemon that is killed in its midst, where that can be told from before and after.
    pub(super) fn play_half(&mut self, write: &Write) {
        if let Write::ForgetServer { id, service: Some(index) } = write {
            self.taken_in.insert(*index, *id);
        }
    }

    /// The addresses of a set, without those of a stranger.
    fn set(&self, set: AddressSet) -> Vec<IpAddr> {
        let of_set = self.addresses.iter().filter(|(of, ..)| *of == set);
        let mut addresses: Vec<IpAddr> = of_set.map(|(.., address)| *address).collect();
        addresses.sort_unstable();
        addresses
    }

    /// Whether replies from an address are looked for.
    fn is_source(&self, address: IpAddr) -> bool {
        self.addresses.contains(&in_its_bucket(AddressSet::Sources, address))
    }

    /// The RIPs and weights that packets to a port may be scheduled to; `None` if they find no service. Fails if any row
    /// on the way is not there, or is another server's, or if replies of a server would not be known.
    fn seen_by_packets(&self, port: u16) -> Option<Vec<(IpAddr, u32)>> {
        let index = self.ids.get(&service_id(&key(port)))?;
        let list = self.services[index].list;
        let rows = list.start..list.start + u32::from(list.length);
        Some(
            rows.map(|row| Member::from_cell(self.members[&row]))
                .map(|member| {
                    let row = self.servers[&member.server().row()];
                    assert_eq!(row.id, member.server().0, "a list names a server whose row is another's");
                    assert!(row.flags.has(ServerFlags::AVAILABLE), "a list names a deleted server");
                    let has_replies = row.flags.has(ServerFlags::MASQUERADE);
                    assert!(!has_replies || self.is_source(row.ip()), "no reply of {} is known", row.ip());
                    (row.ip(), member.weight())
                })
                .collect(),
        )
    }
}

impl Contents for Played {
    fn server_rows(&self) -> u32 {
        self.sizes[0]
    }

    fn service_rows(&self) -> u32 {
        self.sizes[1]
    }

    fn member_rows(&self) -> u32 {
        self.sizes[2]
    }

    fn server(&self, row: u32) -> ServerRow {
        self.servers.get(&row).copied().unwrap_or_default()
    }

    fn service(&self, index: u32) -> ServiceRow {
        self.services.get(&index).copied().unwrap_or_default()
    }

    fn member_cell(&self, row: u32) -> u64 {
        self.members.get(&row).copied().unwrap_or_default()
    }

    fn taken_in(&self, index: u32) -> ServerId {
        self.taken_in.get(&index).copied().unwrap_or_default()
    }

    fn service_ids(&self) -> Result<BTreeMap<service::ServiceKey, u32>, TableError> {
        Ok(self.ids.clone())
    }

    fn hints(&self) -> Vec<(u32, Hint)> {
        self.hints.iter().map(|(place, hint)| (*place, *hint)).collect()
    }

    fn thresholds(&self, row: u32) -> Thresholds {
        self.thresholds.get(&row).copied().unwrap_or_default()
    }

    fn mark_row(&self, index: u32) -> MarkRow {
        self.mark_rows.get(&index).copied().unwrap_or_default()
    }

    fn mark_runs(&self) -> Result<contents::MarkRuns, TableError> {
        Ok(self.mark_runs.clone())
    }

    fn addresses(&self, set: AddressSet) -> Vec<(u32, IpAddr)> {
        let of_set = self.addresses.iter().filter(|(of, ..)| *of == set);
        of_set.map(|(_, bucket, address)| (*bucket, *address)).collect()
    }
}

fn wanted(state: &State, port: u16) -> Option<Vec<(IpAddr, u32)>> {
    let servers = &state.services.get(&key(port))?.servers;
    Some(servers.iter().map(|s| (s.address, s.weight)).collect())
}

#[test]
fn what_is_so_already_writes_nothing() {
    let mut layout = Layout::new(16, 16, 1024);
    let state = state(&[(80, &[server(1, 1), server(2, 3)]), (81, &[])]);
    assert!(!layout.change(&state, &resolved, Instant::now()).expect("room").is_empty());
    assert_eq!(layout.change(&state, &resolved, Instant::now()), Ok(vec![]));
}

#[test]
fn a_deleted_server_that_returns_has_its_old_row() {
    let (mut layout, now) = (Layout::new(16, 16, 1024), Instant::now());
    let with = state(&[(80, &[server(1, 1), server(2, 1)])]);
    layout.change(&with, &resolved, now).expect("room");
    let id = layout.server_ids(&key(80))[0];
    let writes = layout.change(&state(&[(80, &[server(2, 1)])]), &resolved, now).expect("room");
    let Some(Write::Server { id: buried, row }) = writes.last() else {
        panic!("the last write takes the server away: {writes:?}");
    };
    assert_eq!((*buried, row.flags.has(ServerFlags::AVAILABLE)), (id, false));
    let writes = layout.change(&with, &resolved, now).expect("room");
    assert_eq!(layout.server_ids(&key(80))[0], id);
    assert!(!writes.iter().any(|write| matches!(write, Write::FreshServer { .. })), "its counters go on");
}

#[test]
fn the_trash_keeps_a_row_for_two_minutes_and_as_long_as_connections_live() {
    let (mut layout, now) = (Layout::new(3, 16, 1024), Instant::now());
    layout.change(&state(&[(80, &[server(1, 1), server(2, 1)])]), &resolved, now).expect("room");
    layout.change(&state(&[(80, &[])]), &resolved, now).expect("room");
    let another = state(&[(80, &[server(3, 1)])]);
    assert_eq!(layout.change(&another, &resolved, now), Err(LayoutError::ServersFull));
    let (idle, busy) = (|_| 0, |_| 1);
    layout.empty_trash(&idle, now + TRASH_TIME / 2);
    assert_eq!(layout.change(&another, &resolved, now), Err(LayoutError::ServersFull));
    layout.empty_trash(&busy, now + TRASH_TIME);
    assert_eq!(layout.change(&another, &resolved, now), Err(LayoutError::ServersFull));
    layout.empty_trash(&idle, now + TRASH_TIME);
    assert!(layout.change(&another, &resolved, now).is_ok());
}

#[test]
fn a_vip_stays_while_connections_of_its_deleted_service_may_live() {
    let (mut layout, mut played, now) = (Layout::new(16, 16, 1024), Played::default(), Instant::now());
    let other_vip = ServiceKey::at(Protocol::Tcp, [10, 0, 0, 101].into(), 80);
    let mut both = state(&[(80, &[server(1, 1)])]);
    let service = Service { options: Options::of(Scheduler::RoundRobin), servers: vec![server(2, 1)] };
    both.services.insert(other_vip, service);
    let mut go_to = |state: &State, layout: &mut Layout| {
        layout.change(state, &resolved, now).expect("room").iter().for_each(|write| played.play(write));
        played.set(AddressSet::Vips)
    };
    let [one, other]: [IpAddr; 2] = [[10, 0, 0, 100].into(), [10, 0, 0, 101].into()];
    assert_eq!(go_to(&both, &mut layout), [one, other]);
    both.services.remove(&key(80));
    assert_eq!(go_to(&both, &mut layout), [one, other]);
    let in_v6 = state(&[(PORT_OF_V6, &[server(1, 1)])]);
    both.services.extend(in_v6.services.clone());
    assert_eq!(go_to(&both, &mut layout), [one, other, v6(100)]);
    // Without any service of their family what is left of them belongs to the stack, as in IPVS.
    assert_eq!(go_to(&in_v6, &mut layout), [v6(100)]);
    assert_eq!(go_to(&State::default(), &mut layout), [[0; 4]; 0].map(IpAddr::from));
}

#[test]
fn an_unresolved_server_is_avoided_only_while_others_can_be_reached() {
    let (mut layout, now) = (Layout::new(16, 16, 1024), Instant::now());
    let unresolved = |address: IpAddr| match address {
        IpAddr::V4(v4) if v4.octets()[3] == 1 => Hop::default(),
        _ => resolved(address),
    };
    layout.change(&state(&[(80, &[server(1, 4), server(2, 1)])]), &unresolved, now).expect("room");
    let usable = |layout: &Layout| -> Vec<u32> {
        layout.services[&key(80)].members.iter().map(|member| member.usable_weight()).collect()
    };
    assert_eq!(usable(&layout), [0, 1]);
    layout.change(&state(&[(80, &[server(1, 4), server(2, 0)])]), &unresolved, now).expect("room");
    assert_eq!(usable(&layout), [4, 0]);
    layout.change(&state(&[(80, &[server(1, 4), server(2, 1)])]), &unresolved, now).expect("room");
    let writes = layout.change_hops(&[[10, 0, 0, 1].into()], &resolved);
    assert_eq!(usable(&layout), [4, 1]);
    assert!(matches!(writes[..], [Write::Server { .. }, Write::Members { .. }]), "{writes:?}");
}

#[test]
fn a_list_its_table_and_its_scheduler_change_in_one_write() {
    let (mut layout, mut played, now) = (Layout::new(16, 1, 16384), Played::default(), Instant::now());
    let servers = [server(1, 1), server(2, 3)];
    let mut before = Scheduler::RoundRobin;
    for after in [Scheduler::SourceHashing, Scheduler::MaglevHashing, Scheduler::WeightedRoundRobin] {
        for (scheduler, is_edit) in [(before, false), (after, true)] {
            let mut state = state(&[(80, &servers)]);
            state.services.get_mut(&key(80)).expect("it is there").options.scheduler = scheduler;
            for write in layout.change(&state, &resolved, now).expect("room") {
                played.play(&write);
                let Some(row) = played.services.get(&0) else { continue };
                let (list, is_new) = (row.list, row.list.scheduler() == Some(after));
                assert!(is_new && is_edit || list.scheduler() == Some(before));
                for slot in 0..list.table_slots() {
                    let index = List::index_in(slot, played.members[&list.table_row(slot)]);
                    assert!(index < list.length, "slot {slot} of {scheduler} after {write:?}");
                }
            }
            layout.readers_are_gone();
        }
        before = after;
    }
}

#[test]
fn mh_has_as_many_servers_as_slots_at_the_most() {
    let (mut layout, now) = (Layout::new(1 << 14, 2, 1 << 16), Instant::now());
    let of_length = |count: u32, scheduler| {
        let servers: Vec<Server> = (0..count)
            .map(|number| Server { address: Ipv4Addr::from(0x0a01_0000 + number).into(), ..server(1, 1) })
            .collect();
        let mut state = state(&[(80, &servers)]);
        state.services.get_mut(&key(80)).expect("it is there").options.scheduler = scheduler;
        state
    };
    let too_many = of_length(mh::SLOTS + 1, Scheduler::MaglevHashing);
    assert_eq!(layout.change(&too_many, &resolved, now), Err(LayoutError::TooManyForMaglev));
    let most = of_length(mh::SLOTS, Scheduler::MaglevHashing);
    layout.change(&most, &resolved, now).expect("one slot each");
    let table: HashSet<u16> = layout.services[&key(80)].table.iter().copied().collect();
    assert_eq!(table.len(), mh::SLOTS as usize);
    assert_eq!(layout.change(&too_many, &resolved, now), Err(LayoutError::TooManyForMaglev));
    layout.readers_are_gone();
    let by_source = of_length(mh::SLOTS + 1, Scheduler::SourceHashing);
    assert!(layout.change(&by_source, &resolved, now).is_ok());
}

#[test]
fn a_servers_last_weight_outlives_weight_0_the_trash_and_the_daemon() {
    let (mut layout, mut played, now) =
        (Layout::new(16, 8, 16384), Played::new([16, 8, 16384]), Instant::now());
    let of = |servers: &[Server]| state_by(&[(80, servers)], |_| Scheduler::MaglevHashing);
    let mut go_to = |layout: &mut Layout, servers: &[Server]| {
        layout.readers_are_gone();
        layout
            .change(&of(servers), &resolved, now)
            .expect("room")
            .iter()
            .for_each(|write| played.play(write));
        let laid = &layout.services[&key(80)];
        let weights: Vec<u32> = laid.rows.iter().map(|row| row.last_weight).collect();
        (weights, laid.table.clone(), Layout::take_over(&played, now).expect("consistent").layout)
    };
    let (weights, before, _) = go_to(&mut layout, &[server(2, 5), server(1, 3)]);
    assert_eq!(weights, [5, 3]);
    // Weight 0: nobody moves.
    let (weights, quiet, _) = go_to(&mut layout, &[server(2, 0), server(1, 3)]);
    assert_eq!((weights, &quiet), (vec![5, 3], &before));
    // Deleted, and there again with weight 0, as another daemon sees it too.
    let (weights, _, mut layout) = go_to(&mut layout, &[server(1, 3)]);
    assert_eq!(weights, [3]);
    let (weights, again, _) = go_to(&mut layout, &[server(2, 0), server(1, 3)]);
    assert_eq!((weights, &again), (vec![5, 3], &before));
    // Added with weight 0: no slots.
    let (weights, with_a_third, _) = go_to(&mut layout, &[server(3, 0), server(2, 5), server(1, 3)]);
    assert_eq!(weights, [0, 5, 3]);
    assert!(with_a_third.iter().all(|index| *index != 0));
}

/// Prints how long a table takes; run it by hand, with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures"]
fn how_long_a_list_takes_to_be_laid_out() {
    for count in [100u32, 1000] {
        for scheduler in [Scheduler::RoundRobin, Scheduler::SourceHashing, Scheduler::MaglevHashing] {
            let mut servers: Vec<Server> = (0..count)
                .map(|number| Server {
                    address: Ipv4Addr::from(0x0a01_0000 + number).into(),
                    weight: 1 + number % 7,
                    ..server(1, 1)
                })
                .collect();
            let mut layout = Layout::new(1 << 14, 2, 1 << 18);
            let mut edits = Vec::new();
            for weight in 1..50 {
                servers[0].weight = weight;
                let mut state = state(&[(80, &servers)]);
                state.services.get_mut(&key(80)).expect("it is there").options.scheduler = scheduler;
                let (rows, members) = layout
                    .services
                    .get(&key(80))
                    .map_or((vec![], vec![]), |laid| (laid.rows.clone(), laid.members.clone()));
                let begin = Instant::now();
                let table = scheduling::table(scheduler, &rows, &members).len();
                let of_table = begin.elapsed();
                let begin = Instant::now();
                layout.readers_are_gone();
                layout.change(&state, &resolved, Instant::now()).expect("room");
                edits.push((begin.elapsed(), of_table, table));
            }
            edits.sort();
            println!(
                "{count} servers, {scheduler}: edit, of that table, slots: {:?}",
                edits[edits.len() / 2]
            );
        }
    }
}

#[test]
fn a_service_too_many_changes_nothing() {
    let (mut layout, now) = (Layout::new(16, 1, 64), Instant::now());
    let one = state(&[(80, &[server(1, 1)])]);
    layout.change(&one, &resolved, now).expect("room");
    let two = state(&[(80, &[server(1, 1)]), (81, &[server(1, 1)])]);
    assert_eq!(layout.change(&two, &resolved, now), Err(LayoutError::ServicesFull));
    assert_eq!(layout.change(&one, &resolved, now), Ok(vec![]));
}

/// Servers of all forwarding methods.
pub(super) fn any_servers() -> impl Strategy<Value = Vec<Server>> {
    let way = proptest::sample::select(Forward::ALL);
    proptest::collection::btree_map(1..6u8, (0..4u32, way), 0..5).prop_map(|servers| {
        let by = |(last, (weight, forward))| by(forward, last, weight);
        servers.into_iter().map(by).collect()
    })
}

/// A server by a method, with a tunnel if that is VS/TUN.
pub(super) fn by(forward: Forward, last: u8, weight: u32) -> Server {
    let gue = Tunnel { kind: TunnelKind::Gue, port: 6080, checksum: TunnelChecksum::Remote };
    let tunnel = if forward == Forward::Tunnel { gue } else { Tunnel::IPIP };
    Server { forward, tunnel, ..server(last, weight) }
}

proptest! {
    /// After every single write each service is as it was or as it is to be, and never in between.
    #[test]
    fn packets_see_the_old_service_or_the_new_one(
        edits in proptest::collection::vec(proptest::collection::btree_map(80..84u16, any_servers(), 0..4), 1..12),
    ) {
        let (mut layout, mut played, now) = (Layout::new(64, 8, 256), Played::default(), Instant::now());
        let mut before = State::default();
        for edit in edits {
            let services: Vec<(u16, &[Server])> = edit.iter().map(|(port, servers)| (*port, &servers[..])).collect();
            let after = state(&services);
            layout.readers_are_gone();
            for write in layout.change(&after, &resolved, now).expect("room") {
                played.play(&write);
                for port in 80..84 {
                    let seen = played.seen_by_packets(port);
                    prop_assert!(
                        seen == wanted(&before, port) || seen == wanted(&after, port),
                        "after {:?} packets to {} see {:?}", write, port, seen
                    );
                }
            }
            for port in 80..84 {
                prop_assert_eq!(played.seen_by_packets(port), wanted(&after, port));
            }
            before = after;
        }
    }
}

proptest! {
    /// A change service by service writes to the tables what a change of the whole state does, VIPs included.
    #[test]
    fn a_service_alone_is_laid_out_as_with_all_others(
        edits in proptest::collection::vec(proptest::collection::btree_map(80..84u16, any_servers(), 0..4), 1..12),
    ) {
        let (mut whole, mut parts, now) = (Layout::new(64, 8, 256), Layout::new(64, 8, 256), Instant::now());
        let (mut played_whole, mut played_parts) = (Played::default(), Played::default());
        for edit in edits {
            let services: Vec<(u16, &[Server])> = edit.iter().map(|(port, servers)| (*port, &servers[..])).collect();
            let after = state(&services);
            whole.readers_are_gone();
            parts.readers_are_gone();
            for write in whole.change(&after, &resolved, now).expect("room") {
                played_whole.play(&write);
            }
            for port in 80..84 {
                let service = after.services.get(&key(port));
                for write in parts.change_service(key(port), service, &resolved, now).expect("room") {
                    played_parts.play(&write);
                }
            }
            for port in 80..84 {
                prop_assert_eq!(played_parts.seen_by_packets(port), played_whole.seen_by_packets(port));
            }
            prop_assert_eq!(&played_parts.addresses, &played_whole.addresses);
            prop_assert_eq!(parts.change(&after, &resolved, now), Ok(vec![]));
        }
    }
}

#[test]
fn a_row_says_how_packets_get_to_its_server() {
    let (mut layout, now) = (Layout::new(16, 16, 1024), Instant::now());
    let servers = [by(Forward::Tunnel, 1, 1), by(Forward::Masquerade, 2, 1), server(3, 1)];
    let state = state(&[(80, &servers), (PORT_OF_V6, &servers[..1])]);
    layout.change(&state, &resolved, now).expect("room");
    let row = |port, at: usize| layout.services[&key(port)].rows[at];
    let gue = lbxdp_common::Tunnel { kind: 1, checksum: 2, port: 6080_u16.to_be_bytes() };
    assert_eq!((row(80, 0).tunnel, row(80, 0).forward), (gue, 2));
    assert_eq!((row(80, 1).tunnel, row(80, 1).forward), (lbxdp_common::Tunnel::default(), 0));
    let methods = [0, 1, 2].map(|at| row(80, at).flags.method());
    assert_eq!(methods, [Method::TUNNEL, Method::MASQUERADE, Method::DIRECT]);
    let of_v6 = row(PORT_OF_V6, 0);
    assert!(of_v6.flags.has(ServerFlags::IPV6) && of_v6.service.is_v6());
    assert_eq!((of_v6.ip(), of_v6.service.address_of()), (v6(1), Some(v6(100))));
    assert!(!row(80, 0).flags.has(ServerFlags::IPV6));
}

/// Connections go on by the method they began with: where their replies come from must be known as long as there may be any.
#[test]
fn a_method_is_remembered_while_connections_may_use_it() {
    let (mut layout, mut played, now) =
        (Layout::new(16, 16, 1024), Played::new([16, 16, 1024]), Instant::now());
    let server_by = |forward| state(&[(80, &[by(forward, 1, 1)])]);
    let of = |layout: &Layout| (layout.may_masquerade(), layout.may_tunnel());
    let go_to = |layout: &mut Layout, played: &mut Played, state: &State| {
        layout.readers_are_gone();
        layout.change(state, &resolved, now).expect("room").iter().for_each(|write| played.play(write));
    };
    let wait = |layout: &mut Layout, played: &mut Played, later: Duration, entries: u64| {
        layout.empty_trash(&|_| entries, now + later).1.iter().for_each(|write| played.play(write));
    };
    let rip: IpAddr = [10, 0, 0, 1].into();
    go_to(&mut layout, &mut played, &server_by(Forward::Direct));
    assert_eq!((of(&layout), played.is_source(rip)), ((false, false), false));
    go_to(&mut layout, &mut played, &server_by(Forward::Masquerade));
    assert_eq!((of(&layout), played.is_source(rip)), ((true, false), true));
    go_to(&mut layout, &mut played, &server_by(Forward::Tunnel));
    assert_eq!((of(&layout), played.is_source(rip)), ((true, true), true));
    go_to(&mut layout, &mut played, &server_by(Forward::Direct));
    assert_eq!((of(&layout), played.is_source(rip)), ((true, true), true));
    // Nor is it forgotten when the server is deleted, returns, and another daemon takes over.
    go_to(&mut layout, &mut played, &state(&[(80, &[])]));
    assert_eq!((of(&layout), played.is_source(rip)), ((true, true), true));
    go_to(&mut layout, &mut played, &server_by(Forward::Direct));
    let mut layout = Layout::take_over(&played, now).expect("consistent").layout;
    assert_eq!(layout.change(&server_by(Forward::Direct), &resolved, now), Ok(vec![]));
    assert_eq!(of(&layout), (true, true));
    for (later, entries) in [(TRASH_TIME, 1), (TRASH_TIME / 2, 0)] {
        wait(&mut layout, &mut played, later, entries);
        assert_eq!((of(&layout), played.is_source(rip)), ((true, true), true));
    }
    wait(&mut layout, &mut played, TRASH_TIME, 0);
    assert_eq!((of(&layout), played.is_source(rip)), ((false, false), false));
    assert_eq!(layout.drift(&played, SEED).expect("readable"), vec![]);
    assert_eq!(layout.change(&server_by(Forward::Direct), &resolved, now), Ok(vec![]));
    // A server that is gone for good is none.
    go_to(&mut layout, &mut played, &server_by(Forward::Masquerade));
    go_to(&mut layout, &mut played, &state(&[(80, &[])]));
    wait(&mut layout, &mut played, TRASH_TIME, 1);
    assert!(played.is_source(rip));
    wait(&mut layout, &mut played, TRASH_TIME, 0);
    assert_eq!((of(&layout), played.set(AddressSet::Sources)), ((false, false), vec![]));
}

/// 0.0.0.0 may be the VIP of a service; no packet has it, and no table says that it is one.
#[test]
fn what_no_table_can_hold_is_not_written() {
    let (mut layout, mut played, now) =
        (Layout::new(16, 16, 1024), Played::new([16, 16, 1024]), Instant::now());
    let mut state = State::default();
    let service = Service { options: Options::of(Scheduler::RoundRobin), servers: vec![] };
    for vip in ["0.0.0.0", "::", "ffff:ffff:ffff:ffff::1"] {
        let key = ServiceKey::at(Protocol::Tcp, vip.parse().expect("an address"), 80);
        state.services.insert(key, service.clone());
    }
    layout.change(&state, &resolved, now).expect("room").iter().for_each(|write| played.play(write));
    assert_eq!(played.set(AddressSet::Vips), [Ipv6Addr::UNSPECIFIED]);
    assert_eq!(layout.drift(&played, SEED).expect("readable"), vec![]);
}

#[test]
fn a_row_says_where_its_way_leads() {
    let [plain, twice] = [None, Some(Tag { ethertype: 0x8100, control: 0x2007 })];
    let outer = Tag { ethertype: 0x88a8, control: 0x0fff };
    for (address, source) in [([10, 0, 0, 1].into(), [10, 0, 0, 9].into()), (v6(1), v6(9))] {
        for (vlan, tags) in [
            (None, [0; 8]),
            (Some(VlanTags { outer, inner: plain }), [0x88, 0xa8, 0x0f, 0xff, 0, 0, 0, 0]),
            (Some(VlanTags { outer, inner: twice }), [0x88, 0xa8, 0x0f, 0xff, 0x81, 0, 0x20, 7]),
        ] {
            let hop = Hop { mtu: 1400, tunnel_source: Some(source), vlan, ..resolved(address) };
            let server = Server { address, ..by(Forward::Tunnel, 1, 1) };
            let row = server_row(&key(80), &server, ServerId::new(1, 1), &hop, None);
            assert_eq!(zerocopy::IntoBytes::as_bytes(&row.tags), tags);
            assert_eq!(row.flags.has(ServerFlags::TAGGED), vlan.is_some());
            assert_eq!(row.flags.has(ServerFlags::TWICE_TAGGED), tags[4] != 0);
            assert_eq!((row.mtu, row.tunnel_source), (1400, service::octets(source)));
            // The next daemon knows from the row what this one knew.
            assert_eq!(Hop::from(&row), hop);
        }
    }
    let row = server_row(&key(80), &server(1, 1), ServerId::new(1, 1), &Hop::default(), None);
    assert_eq!(Hop::from(&row), Hop::default());
}

/// The turn's cell after a change of a service's servers.
fn turn_after(layout: &mut Layout, servers: &[Server], scheduler: fn(u16) -> Scheduler, cell: u64) -> u64 {
    let state = state_by(&[(80, servers)], scheduler);
    let writes = layout.change(&state, &resolved, Instant::now()).expect("room");
    layout.readers_are_gone();
    writes.iter().fold(cell, |cell, write| match write {
        Write::Turn { change, .. } => change.apply(cell),
        _ => cell,
    })
}

proptest! {
    #[test]
    fn servers_that_are_added_at_once_lead_to_the_turn_of_adding_them_one_by_one(
        weights in prop::collection::vec(0u32..7, 2..9),
        at_first in 0usize..9,
        turn in (0usize..9, 0u32..9),
    ) {
        // New ones stand at the head.
        let servers: Vec<Server> =
            (1u8..100).rev().zip(&weights).map(|(last, weight)| server(last, *weight)).collect();
        let first = at_first.min(servers.len() - 1);
        for scheduler in [|_| Scheduler::RoundRobin, |_| Scheduler::WeightedRoundRobin] {
            let mut layout = Layout::new(64, 4, 4096);
            turn_after(&mut layout, &servers[servers.len() - first..], scheduler, 0);
            // rr: which server, and where it stands; wrr: a place in the list, and the bar.
            let ids = layout.server_ids(&key(80));
            let low = match scheduler(80) {
                Scheduler::RoundRobin => ids.get(turn.0).map_or(0, |id| id.0),
                _ => u32::try_from(turn.0).expect("a place"),
            };
            let cell = u64::from(turn.1) << 32 | u64::from(low);
            let mut stepwise = layout.clone();
            let at_once = turn_after(&mut layout, &servers, scheduler, cell);
            let one_by_one = (first + 1..=servers.len())
                .fold(cell, |cell, many| turn_after(&mut stepwise, &servers[servers.len() - many..], scheduler, cell));
            prop_assert_eq!(at_once, one_by_one);
        }
    }
}
