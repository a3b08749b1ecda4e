//! The tables of a director, wherever they lie: what a case writes into them and reads out of them.

use std::net::IpAddr;
use std::sync::atomic::AtomicU64;

use lbxdp_common::address::Address;
use lbxdp_common::cells::Cells;
use lbxdp_common::client_hop::{self, CLIENT_HOP_CELLS, ClientHop, WayOut, Wish};
use lbxdp_common::connection::{Key, Phase, Word, kind};
use lbxdp_common::counters::ServerCounters;
use lbxdp_common::held::HeldHeader;
use lbxdp_common::hint::{self, HINTS, Hint};
use lbxdp_common::limit::{LIMIT_CELLS, LIMIT_ROWS, TOTAL_ROW};
use lbxdp_common::mark::{MARK_CELLS, MARK_ROWS, MarkRun};
use lbxdp_common::overload::LoadRow;
use lbxdp_common::pressure::{PRESSURE_CELLS, PRESSURE_ROWS};
use lbxdp_common::schedule::wrr;
use lbxdp_common::server::{LOAD_CELLS, Load, SERVER_CELLS, ServerFlags, ServerId, ServerRow};
use lbxdp_common::service::{
    List, Member, NO_MEMBER, SERVICE_CELLS, ServiceFlags, ServiceKey, ServiceRow, Shares, TURN_CELLS,
    narrowed,
};
use lbxdp_common::settings::{SETTINGS_CELLS, Settings, SettingsView};
use lbxdp_common::state::{DEFAULT_TIMEOUTS_S, reusable_states};
use lbxdp_common::table::{
    self, BUCKET_CELLS, BUCKET_V6_CELLS, Buckets, ENTRY_CELLS, Entry, Hash, Inserted, Seed, Shape, Slot, WAYS,
};
use lbxdp_common::walk::Walker;
use lbxdp_common::wire::ethernet::Tag;
use lbxdp_common::{Protocol, Reason, Scheduler, Ticks, V4, V6, Verdict, vip};

use super::setup::{Destination, Service, Setup};
use super::{CLIENT, CLIENT_V6, SEED, VIP, VIP_V6};

/// Buckets of the connection table.
pub const BUCKETS: u32 = 256;
/// Rows of servers.
pub const SERVERS: u32 = 16;
/// Rows of services.
pub const SERVICES: u32 = 16;
/// Rows of members.
pub const MEMBERS: u32 = 4096;

/// Ticks in a second, as the settings of all cases have it. More than any kernel's, so that nothing expires while a
/// case runs there.
pub const HERTZ: u32 = 100_000;
/// No connection's due time is written anew for less.
const REFRESH: u32 = 100;

/// The tables that are rows of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Settings,
    Vips,
    VipsV6,
    Sources,
    SourcesV6,
    Connections,
    ConnectionsV6,
    Servers,
    Loads,
    Services,
    Turns,
    Members,
    Pressure,
    MarkRules,
    Limits,
    ServiceHints,
}

impl Table {
    pub const ALL: [Self; 16] = [
        Self::Settings,
        Self::Vips,
        Self::VipsV6,
        Self::Sources,
        Self::SourcesV6,
        Self::Connections,
        Self::ConnectionsV6,
        Self::Servers,
        Self::Loads,
        Self::Services,
        Self::Turns,
        Self::Members,
        Self::Pressure,
        Self::MarkRules,
        Self::Limits,
        Self::ServiceHints,
    ];

    /// The connection table of a width of addresses.
    pub fn connections<A: Address>() -> Self {
        if A::IS_V6 { Self::ConnectionsV6 } else { Self::Connections }
    }

    /// Whether only rows that were written are cleared: there are too many.
    fn is_sparse(self) -> bool {
        matches!(self, Self::Vips | Self::VipsV6 | Self::Sources | Self::SourcesV6 | Self::ServiceHints)
    }

    /// Cells of a row, and rows.
    pub fn shape(self) -> (usize, u32) {
        match self {
            Self::Settings => (SETTINGS_CELLS, 1),
            Self::Vips | Self::Sources => (vip::VIP_CELLS, vip::VIP_BUCKETS),
            Self::VipsV6 | Self::SourcesV6 => (vip::VIP_CELLS_V6, vip::VIP_BUCKETS),
            Self::Connections => (BUCKET_CELLS, BUCKETS),
            Self::ConnectionsV6 => (BUCKET_V6_CELLS, BUCKETS / 2),
            Self::Servers => (SERVER_CELLS, SERVERS),
            Self::Loads => (LOAD_CELLS, SERVERS),
            Self::Services => (SERVICE_CELLS, SERVICES),
            Self::Turns => (TURN_CELLS, SERVICES),
            Self::Members => (1, MEMBERS),
            Self::Pressure => (PRESSURE_CELLS, PRESSURE_ROWS),
            Self::MarkRules => (MARK_CELLS, MARK_ROWS),
            Self::Limits => (LIMIT_CELLS, LIMIT_ROWS),
            Self::ServiceHints => (1, HINTS),
        }
    }
}

/// What became of a frame, as far as its sender and the counters can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The XDP action.
    pub action: u32,
    /// The reason that was counted.
    pub counted: Option<Reason>,
}

impl From<Result<Verdict, Reason>> for Outcome {
    fn from(result: Result<Verdict, Reason>) -> Self {
        const DROP: u32 = 1;
        const PASS: u32 = 2;
        const TX: u32 = 3;
        const REDIRECT: u32 = 4;
        match result {
            Ok(Verdict::Transmit) => Self { action: TX, counted: None },
            Ok(Verdict::Redirect(_) | Verdict::Leave(_)) => Self { action: REDIRECT, counted: None },
            Ok(Verdict::Answered(reason)) => Self { action: TX, counted: Some(reason) },
            Ok(Verdict::Local) | Err(Reason::NotOurs) => Self { action: PASS, counted: None },
            Err(reason) => {
                let action = if reason.fate() == lbxdp_common::Fate::Pass { PASS } else { DROP };
                Self { action, counted: Some(reason) }
            }
        }
    }
}

/// Something that has tables and runs frames through the packet path.
pub trait Runner {
    /// The least frame it can run.
    const MIN_FRAME_BYTES: usize;

    fn row(&self, table: Table, index: u32) -> Option<&[AtomicU64]>;
    /// Makes a key find a service.
    fn put_service(&mut self, key: ServiceKey, index: u32);
    /// Gives packets to a destination a run of rules.
    fn put_mark_run(&mut self, destination: Destination, run: MarkRun);
    /// Makes all keys find nothing, and all counters 0.
    fn forget(&mut self);
    fn counters(&self, server: ServerId) -> ServerCounters;
    /// What was noted since the tables were written, by [`lbxdp_common::Overflow`].
    fn overflows(&self) -> Vec<u64>;
    /// What senders were told since then, by [`lbxdp_common::Notice`].
    fn notices(&self) -> Vec<u64>;
    /// The time.
    fn now(&mut self) -> Ticks;
    /// Has every CPU remember a way to a client.
    fn put_client_hop(&mut self, index: u32, cells: [u64; CLIENT_HOP_CELLS]);
    /// Takes what the packet path wishes for.
    fn wishes(&self) -> Vec<Wish>;
    /// Runs a frame; its bytes are then as they leave.
    fn run(&mut self, frame: &mut Vec<u8>) -> Outcome;
    /// The frames that were held for the daemon since this was asked last.
    fn held(&mut self) -> Vec<(HeldHeader, Vec<u8>)>;
    /// The rows of sets of addresses that were written: too many have not been.
    fn set_rows(&mut self) -> &mut Vec<(Table, u32)>;
    /// What `steer` said of the last frame, if that can be known.
    fn last(&self) -> Option<Result<Verdict, Reason>> {
        None
    }
}

fn put<C: Cells>(row: Option<C>, cells: &[u64]) {
    let row = row.expect("a row");
    for (at, cell) in cells.iter().enumerate() {
        row.store(at, *cell);
    }
}

fn clear<R: Runner>(runner: &R, table: Table, row: u32) {
    put(runner.row(table, row), &vec![0; table.shape().0]);
}

/// The connection table of a runner.
struct Connections<'a, R>(&'a R);

impl<R> Walker for Connections<'_, R> {}

impl<'a, A: Address, R: Runner> Buckets<A> for Connections<'a, R> {
    type Bucket = &'a [AtomicU64];

    fn bucket(&self, index: u32) -> Option<Self::Bucket> {
        self.0.row(Table::connections::<A>(), index)
    }
}

/// A first service has its hint, a second one none, and a third one that of the second: it makes no difference to packets.
fn hint_of(index: u32) -> Hint {
    match index % 3 {
        1 => Hint::to(index),
        2 => Hint::NONE,
        _ => Hint::to(index - 1),
    }
}

/// Clears everything, then writes a setup.
pub fn write<R: Runner>(runner: &mut R, setup: &Setup) {
    for table in Table::ALL.into_iter().filter(|table| !table.is_sparse()) {
        for row in 0..table.shape().1 {
            clear(runner, table, row);
        }
    }
    for (table, row) in std::mem::take(runner.set_rows()) {
        clear(runner, table, row);
    }
    runner.forget();
    fill_total_limit(runner);
    put(runner.row(Table::Settings, 0), &settings(setup).cells());
    let bucket = vip::bucket(VIP, SEED);
    runner.set_rows().push((Table::Vips, bucket));
    put(runner.row(Table::Vips, bucket), &[vip::cell([[10, 9, 8, 7], VIP]), 0]);
    let bucket = vip::bucket_v6(VIP_V6, SEED);
    runner.set_rows().push((Table::VipsV6, bucket));
    assert!(vip::put_v6(runner.row(Table::VipsV6, bucket).expect("a row"), VIP_V6, || ()));
    for server in &setup.servers {
        put(runner.row(Table::Servers, ServerId(server.id).row()), &ServerRow::cells(*server));
    }
    for server in setup.servers.iter().filter(|server| server.flags.may_masquerade()) {
        if server.flags.has(ServerFlags::IPV6) {
            let bucket = vip::bucket_v6(server.address, SEED);
            runner.set_rows().push((Table::SourcesV6, bucket));
            assert!(vip::put_v6(runner.row(Table::SourcesV6, bucket).expect("a row"), server.address, || ()));
            continue;
        }
        let address = narrowed(server.address);
        let bucket = vip::bucket(address, SEED);
        runner.set_rows().push((Table::Sources, bucket));
        assert!(vip::put(runner.row(Table::Sources, bucket).expect("a row"), address));
    }
    let mut start = 3;
    for (index, service) in (1..).zip(&setup.services) {
        write_service(runner, index, service, setup.flags, start);
        runner.put_service(service.key, index);
        let place = hint::place_of(service.key);
        runner.set_rows().push((Table::ServiceHints, place));
        put(runner.row(Table::ServiceHints, place), &[hint_of(index).0]);
        start += list_at(start, service.scheduler, &service.members).rows();
    }
    for (number, thresholds) in &setup.thresholds {
        LoadRow(runner.row(Table::Loads, u32::from(*number)).expect("a row")).set_thresholds(*thresholds);
    }
    let mut start = 1;
    for (destination, rules) in &setup.marks {
        for (row, rule) in (start..).zip(rules) {
            put(runner.row(Table::MarkRules, row), &rule.cells());
        }
        let length = u32::try_from(rules.len()).expect("few rules");
        runner.put_mark_run(*destination, MarkRun { start, length });
        start += length;
    }
    let now = runner.now();
    for (key, word, lives, bond) in &setup.connections {
        let due = Ticks(now.0.wrapping_add_signed(*lives));
        let word = word.after(word.state(), due).half_open_as(*word);
        let hash = Hash::of(*key, SEED);
        // Put in as of a time at which none of them is overdue.
        let then = Ticks(now.0.wrapping_sub(i32::MAX.cast_unsigned() / 2));
        // A table that grows holds them by its old size.
        let old = Shape::steady(setup.shape.home().min(setup.shape.elsewhere()));
        assert_eq!(
            table::insert(&Connections(runner), old, hash, Entry { key: *key, word, bond: *bond }, then),
            Inserted::New(None)
        );
        count(runner, *key, word);
    }
    for (key, word, lives, bond) in &setup.connections_v6 {
        let due = Ticks(now.0.wrapping_add_signed(*lives));
        let word = word.after(word.state(), due);
        let entry = Entry { key: *key, word, bond: *bond };
        let then = Ticks(now.0.wrapping_sub(i32::MAX.cast_unsigned() / 2));
        let old = Shape::steady(setup.shape_v6.home().min(setup.shape_v6.elsewhere()));
        let inserted = table::insert(&Connections(runner), old, Hash::of(*key, SEED), entry, then);
        assert_eq!(inserted, Inserted::New(None));
        count(runner, *key, word);
    }
    write_client_ways(runner, &setup.client_ways, now);
    for number in &setup.overloaded {
        runner.row(Table::Loads, u32::from(*number)).expect("a row").add(0, Load::OVERLOADED);
    }
    if setup.is_full {
        fill(runner, now);
    }
}

/// Lets all clients together have errors: how many they have left is drawn by lot. An empty row would do, but for some
/// seconds after the kernel's clock has begun anew, five minutes after its start.
pub fn fill_total_limit<R: Runner>(runner: &R) {
    const PLENTY: u64 = 50;
    runner.row(Table::Limits, TOTAL_ROW).expect("a row").store(0, PLENTY << 32);
}

/// Has the runner know these ways to clients, and no others.
fn write_client_ways<R: Runner>(runner: &mut R, ways: &[(IpAddr, IpAddr, WayOut, [Tag; 2])], now: Ticks) {
    for hash in [hop_hash(CLIENT, VIP), hop_hash(CLIENT_V6, VIP_V6)] {
        runner.put_client_hop(client_hop::row_of(hash), [0; CLIENT_HOP_CELLS]);
    }
    for (client, vip, way, tags) in ways {
        let (hash, client, vip) = match (client, vip) {
            (IpAddr::V4(client), IpAddr::V4(vip)) => {
                let (client, vip) = (client.octets(), vip.octets());
                (hop_hash(client, vip), client.wide(), vip.wide())
            }
            (IpAddr::V6(client), IpAddr::V6(vip)) => {
                let (client, vip) = (client.octets(), vip.octets());
                (hop_hash(client, vip), client, vip)
            }
            _ => panic!("{client} and {vip} are of two families"),
        };
        let cells = [const { AtomicU64::new(0) }; CLIENT_HOP_CELLS];
        let row = ClientHop(&cells[..]);
        row.set_way(*way, *tags);
        row.name(client, vip, now + 60 * HERTZ, 1500);
        runner.put_client_hop(client_hop::row_of(hash), cells.map(AtomicU64::into_inner));
    }
}

fn hop_hash<A: Address>(client: A, vip: A) -> u32 {
    client_hop::hash(client.folded(), vip.folded())
}

fn settings(setup: &Setup) -> Settings {
    let Seed { offset, multiplier } = SEED;
    let timeouts = DEFAULT_TIMEOUTS_S.map(|seconds| seconds * HERTZ);
    Settings {
        seed_offset: offset,
        seed_multiplier: multiplier,
        shape: setup.shape.0,
        refresh: REFRESH,
        rules: setup.rules,
        timeouts,
        reusable_tcp: setup.reusable_tcp,
        reusable_sctp: reusable_states(Protocol::Sctp, 1),
        hertz: HERTZ,
        lblcr_expiration: 100 * HERTZ,
        tunnel_spread: setup.tunnel_spread,
        shape_v6: setup.shape_v6.0,
        zero: 0,
    }
}

fn list_at(start: u32, by: Scheduler, members: &[Member]) -> List {
    List::new(start, u16::try_from(members.len()).expect("few members"), by)
}

/// All hash slots of a service lead to its last server, so that a packet that goes by hash is known by where it goes. Its
/// scheduler's table has the servers one after the other.
fn write_service<R: Runner>(runner: &R, index: u32, service: &Service, more: ServiceFlags, start: u32) {
    let Service { key, scheduler, flags, persistence, members } = service;
    let (list, shares) = (list_at(start, *scheduler, members), Shares::of(members));
    for (row, member) in (start..).zip(members) {
        put(runner.row(Table::Members, row), &[member.cell()]);
    }
    let table: Vec<u16> = (0..list.length).cycle().take(list.table_slots() as usize).collect();
    for (row, slots) in (list.table_row(0)..).zip(table.chunks(4)) {
        put(runner.row(Table::Members, row), &[List::slots_cell(slots)]);
    }
    let is_usable = members.last().is_some_and(|last| last.usable_weight() > 0);
    let last = if is_usable { list.length - 1 } else { NO_MEMBER };
    for slot in (0..list.slots()).step_by(4) {
        put(runner.row(Table::Members, list.slot_row(slot)), &[List::slots_cell(&[last; 4])]);
    }
    if *scheduler == Scheduler::WeightedRoundRobin {
        put(runner.row(Table::Turns, index), &[wrr::Turn::default().after_edit(shares).cell()]);
    }
    let row = ServiceRow {
        list,
        shares,
        flags: flags.with_if(more, true),
        persistence: *persistence,
        key: *key,
        ..ServiceRow::default()
    };
    put(runner.row(Table::Services, index), &row.cells());
}

fn count<A: Address, R: Runner>(runner: &R, key: Key<A>, word: Word) {
    if key.kind == kind::REPLY {
        return;
    }
    if word.is_template() {
        return LoadRow(runner.row(Table::Loads, word.server().row()).expect("a row")).gain_template();
    }
    let protocol = key.protocol().expect("a protocol of ours");
    let load = Load::gained(word.state().is_active(protocol));
    runner.row(Table::Loads, word.server().row()).expect("a row").add(0, load);
}

/// Puts a connection that is not overdue into every place that is free.
fn fill<R: Runner>(runner: &R, now: Ticks) {
    for bucket in 0..BUCKETS {
        let row = runner.row(Table::Connections, bucket).expect("a row");
        for entry in (0..BUCKET_CELLS).step_by(ENTRY_CELLS) {
            if row.load(entry + 2) == 0 {
                let word = Word::live(ServerId(1), lbxdp_common::state::State::UDP, now + 300 * HERTZ);
                put(Some(&row[entry..]), &[u64::MAX, u64::from(bucket), word.0]);
            }
        }
    }
}

/// The connection of a key.
pub fn connection<A: Address, R: Runner>(runner: &R, key: Key<A>) -> Option<Word> {
    entry(runner, key).map(|(_, word)| word)
}

/// The bond of a key's entry.
pub fn bond<A: Address, R: Runner>(runner: &R, key: Key<A>) -> Option<u64> {
    entry(runner, key).map(|(slot, _)| slot.bond())
}

fn entry<A: Address, R: Runner>(runner: &R, key: Key<A>) -> Option<(Slot<&[AtomicU64], A>, Word)> {
    let shape = SettingsView(runner.row(Table::Settings, 0)?).shape_of::<A>();
    table::find(&Connections(runner), shape, Hash::of(key, SEED), key)?.here()
}

/// Everything packets change, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// All cells of loads and turns.
    pub cells: Vec<u64>,
    pub counters: Vec<ServerCounters>,
    pub overflows: Vec<u64>,
    pub notices: Vec<u64>,
    /// All entries of the connection table, with due time 0.
    pub entries: Vec<(Key, Word)>,
    /// Those of the table of IPv6.
    pub entries_v6: Vec<(Key<V6>, Word)>,
    /// The bonds of both.
    pub bonds: Vec<u64>,
    /// Their due times.
    pub dues: Vec<Ticks>,
}

/// Takes a snapshot.
pub fn snapshot<R: Runner>(runner: &R) -> Snapshot {
    let cells_of = |table: Table| {
        (0..table.shape().1).flat_map(move |row| {
            let row = runner.row(table, row).expect("a row");
            (0..row.len()).map(move |cell| row.load(cell)).collect::<Vec<u64>>()
        })
    };
    let (mut bonds, mut dues) = (Vec::new(), Vec::new());
    let entries = entries_of::<V4, _>(runner, &mut bonds, &mut dues);
    let entries_v6 = entries_of::<V6, _>(runner, &mut bonds, &mut dues);
    Snapshot {
        cells: cells_of(Table::Loads).chain(cells_of(Table::Turns)).collect(),
        overflows: runner.overflows(),
        notices: runner.notices(),
        counters: (0..SERVERS).map(|row| runner.counters(ServerId(row))).collect(),
        entries,
        entries_v6,
        bonds,
        dues,
    }
}

/// The entries of a table, without their due times, and beside them their bonds and due times.
fn entries_of<A: Address, R: Runner>(
    runner: &R,
    bonds: &mut Vec<u64>,
    dues: &mut Vec<Ticks>,
) -> Vec<(Key<A>, Word)> {
    let mut entries = Vec::new();
    let table = Table::connections::<A>();
    for row in (0..table.shape().1).map(|row| runner.row(table, row).expect("a row")) {
        for way in 0..WAYS {
            let slot = Slot::<_, A>::new(row, way);
            let word = slot.word();
            let is_empty = word.phase() == Phase::Empty;
            // What a place held before it became free is nobody's business.
            let cells = if is_empty {
                A::cells(A::of_wide([0; 16]), A::of_wide([0; 16]), 0)
            } else {
                A::load(row, way * A::ENTRY_CELLS)
            };
            entries.push((Key::from_cells(cells), Word(if is_empty { 0 } else { word.0 & 0xffff_ffff })));
            bonds.push(if is_empty { 0 } else { slot.bond() });
            dues.push(if is_empty { Ticks(0) } else { word.due() });
        }
    }
    entries
}

impl Snapshot {
    /// The words of all entries, as many as there are bonds and due times.
    pub fn words(&self) -> impl Iterator<Item = Word> {
        self.entries.iter().map(|(_, word)| *word).chain(self.entries_v6.iter().map(|(_, word)| *word))
    }
}

/// As [`assert_loads_agree`], and there are connections.
pub fn assert_loads_are_right<R: Runner>(runner: &R) {
    assert_loads_agree(runner);
    assert!(snapshot(runner).entries.iter().any(|(_, word)| word.is_live() && !word.is_template()));
}

/// Every live connection is in its server's load, as what it is, and every template; nothing else is.
pub fn assert_loads_agree<R: Runner>(runner: &R) {
    let mut loads = vec![0u64; SERVERS as usize];
    let mut templates = vec![0u64; SERVERS as usize];
    let Snapshot { entries, entries_v6, .. } = snapshot(runner);
    let v4 = entries.into_iter().map(|(key, word)| (key.protocol, key.kind, word));
    let v6 = entries_v6.into_iter().map(|(key, word)| (key.protocol, key.kind, word));
    for (protocol, kind, word) in v4.chain(v6).filter(|(_, _, word)| word.is_live()) {
        let row = word.server().row() as usize;
        match kind {
            kind::TEMPLATE => templates[row] += 1,
            kind::CONNECTION => {
                let protocol = Protocol::from_raw(protocol).expect("a protocol of ours");
                loads[row] += Load::gained(word.state().is_active(protocol));
            }
            // What leads replies to a connection is in nobody's counts.
            _ => assert_eq!(kind, kind::REPLY),
        }
    }
    let rows = (0..SERVERS).map(|row| LoadRow(runner.row(Table::Loads, row).expect("a row")));
    let counted: Vec<(u64, u64)> =
        rows.map(|row| (row.load().without_overload().0, row.templates())).collect();
    assert_eq!(counted, loads.iter().copied().zip(templates).collect::<Vec<_>>());
}
