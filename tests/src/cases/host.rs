//! The packet path on the host: `steer` itself, on tables in ordinary memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::AtomicU64;

use lbxdp_common::address::Address;
use lbxdp_common::cells::Cells;
use lbxdp_common::client_hop::{
    self, BELIEVED, CLIENT_HOP_CELLS, CLIENT_HOPS, ClientHop, WANTED, WANTED_CELLS, Wanted, WayOut, Wish,
};
use lbxdp_common::counters::ServerCounters;
use lbxdp_common::fragment::{FRAGMENT_CELLS, FragmentKey};
use lbxdp_common::held::{HeldHeader, MAX_HELD_BYTES};
use lbxdp_common::mark::MarkRun;
use lbxdp_common::pressure::{PRESSURE_ROWS, Pressure, WHOLE};
use lbxdp_common::schedule::cache::CACHE_CELLS;
use lbxdp_common::schedule::{CacheKey, Pool};
use lbxdp_common::server::{Load, ServerId};
use lbxdp_common::service::{ServiceKey, narrowed};
use lbxdp_common::settings::SettingsView;
use lbxdp_common::steer::{ARRIVAL_CELLS, Desk, Route, Stage, Stages, Ways, World, retagged, steer};
use lbxdp_common::table::Buckets;
use lbxdp_common::tend::Errand;
use lbxdp_common::walk::Walker;
use lbxdp_common::wire::{Buffer, Frame, ethernet};
use lbxdp_common::{Notice, Overflow, Reason, Ticks, V4, Verdict};

use super::memory::{HERTZ, Outcome, Runner, Table};
use super::setup::Destination;
use super::{CLIENT, CLIENT_V6, DIRECTOR_MAC, IFINDEX};

/// A director without a kernel. Its clock stands still unless it is told to go on, and begins just before the tick counter
/// wraps around.
pub struct Host {
    tables: Vec<Vec<AtomicU64>>,
    services: BTreeMap<ServiceKey, u32>,
    mark_runs: BTreeMap<Destination, MarkRun>,
    counters: RefCell<BTreeMap<u32, ServerCounters>>,
    overflows: RefCell<Vec<u64>>,
    notices: RefCell<Vec<u64>>,
    now: Ticks,
    cache: RefCell<BTreeMap<CacheKey, &'static [AtomicU64]>>,
    last: Option<Result<Verdict, Reason>>,
    desk: Vec<AtomicU64>,
    fragments: RefCell<BTreeMap<FragmentKey, &'static [AtomicU64]>>,
    /// What was held for the daemon.
    held: RefCell<Vec<HeldFrame>>,
    /// The stage that was entered.
    next: Cell<Option<Stage>>,
    /// Those that the last frame went through.
    stages: RefCell<Vec<Stage>>,
    /// Frames take no short way.
    goes_round: bool,
    set_rows: Vec<(Table, u32)>,
    client_hops: Vec<AtomicU64>,
    wanted: Vec<AtomicU64>,
}

/// A frame, and what stands before it.
pub(super) type HeldFrame = (HeldHeader, Vec<u8>);

const NOW: Ticks = Ticks(u32::MAX - 500);
/// Bytes in front of a frame, as a driver leaves them.
const HEADROOM: usize = 256;

impl Host {
    /// The lot that is always drawn here, as far as it stands in packets.
    pub const DRAWN: u16 = 0x79b9;

    /// Packets of all sectors went by hash for want of room, so many seconds ago.
    pub fn feel_pressure(&self, seconds_ago: u32) {
        for row in 0..PRESSURE_ROWS {
            let row = Pressure::<_, V4>::new(self.row(Table::Pressure, row).expect("a row"));
            row.forget_after(NOW, 0);
            row.is_felt(Ticks(NOW.0.wrapping_sub(seconds_ago * HERTZ)));
        }
    }

    /// Makes the way from a VIP to a client known, as a look at the kernel's routes would.
    pub fn remember_way(&self, client: V4, vip: V4, way: WayOut) {
        let row = client_hop::row_of(client_hop::hash(client.folded(), vip.folded()));
        let row = ClientHop(World::client_hop(&self, row).expect("a row"));
        row.set_way(way, Default::default());
        row.name(client.wide(), vip.wide(), self.now + HERTZ / BELIEVED, 1500);
    }

    /// The stages that the last frame went through.
    pub fn stages(&self) -> Vec<Stage> {
        self.stages.borrow().clone()
    }

    /// From now on no frame takes the short way of a connection's first packet, and one that is known to be sent at once otherwise
    /// enters its stage instead ([`Host::run_round`]).
    pub fn go_round(&mut self) {
        self.goes_round = true;
    }

    /// Runs a frame as if the program's entry had given it over to a stage.
    pub fn run_round(&mut self, stage: Stage, frame: &mut Vec<u8>) -> Outcome {
        self.run_from(Some(stage), frame)
    }

    /// Runs a frame from the program's entry, or from a stage.
    fn run_from(&mut self, stage: Option<Stage>, frame: &mut Vec<u8>) -> Outcome {
        let mut memory = [&[0; HEADROOM], &frame[..]].concat();
        let mut buffer = Buffer::new(&mut memory, HEADROOM);
        let (world, mut packet) = (&&*self, &mut buffer);
        self.stages.borrow_mut().clear();
        let mut result = match stage {
            Some(stage) => world.enter(stage, &mut packet),
            None => steer(&mut packet, world),
        };
        // In the kernel a stage that was entered is what decides; who entered it is done.
        while let Some(stage) = self.next.take() {
            self.stages.borrow_mut().push(stage);
            result = stage.run(world, &mut packet);
        }
        let desk = Desk(world.desk().expect("a desk"));
        let result = retagged(&mut packet, desk, result);
        *frame = buffer.frame().to_vec();
        self.last = Some(result);
        result.into()
    }

    /// Lets time pass, in ticks.
    pub fn pass(&mut self, ticks: u32) {
        self.now = self.now + ticks;
    }

    /// When that was last.
    pub fn last_pressure(&self) -> Option<Ticks> {
        Pressure::<_, V4>::new(self.row(Table::Pressure, WHOLE).expect("a row")).last()
    }
}

fn zeros(cells: usize) -> Vec<AtomicU64> {
    (0..cells).map(|_| AtomicU64::new(0)).collect()
}

impl Default for Host {
    fn default() -> Self {
        let table = |table: Table| {
            let (width, rows) = table.shape();
            (0..width * rows as usize).map(|_| AtomicU64::new(0)).collect()
        };
        let tables = Table::ALL.map(table).into();
        Self {
            tables,
            services: BTreeMap::new(),
            mark_runs: BTreeMap::new(),
            counters: RefCell::default(),
            overflows: RefCell::new(vec![0; Overflow::COUNT]),
            notices: RefCell::new(vec![0; Notice::COUNT]),
            now: NOW,
            cache: RefCell::default(),
            last: None,
            fragments: RefCell::default(),
            held: RefCell::default(),
            next: Cell::default(),
            stages: RefCell::default(),
            goes_round: false,
            desk: zeros(ARRIVAL_CELLS),
            client_hops: zeros(CLIENT_HOP_CELLS * CLIENT_HOPS as usize),
            wanted: zeros(WANTED_CELLS * WANTED as usize),
            set_rows: Vec::new(),
        }
    }
}

impl Runner for Host {
    const MIN_FRAME_BYTES: usize = 0;

    fn row(&self, table: Table, index: u32) -> Option<&[AtomicU64]> {
        let (width, _) = table.shape();
        let start = index as usize * width;
        self.tables[table as usize].get(start..start + width)
    }

    fn put_service(&mut self, key: ServiceKey, index: u32) {
        self.services.insert(key, index);
    }

    fn put_mark_run(&mut self, destination: Destination, run: MarkRun) {
        self.mark_runs.insert(destination, run);
    }

    fn forget(&mut self) {
        self.services.clear();
        self.mark_runs.clear();
        self.counters.borrow_mut().clear();
        self.cache.borrow_mut().clear();
        self.fragments.borrow_mut().clear();
        self.held.borrow_mut().clear();
        self.overflows.borrow_mut().fill(0);
        self.notices.borrow_mut().fill(0);
    }

    fn set_rows(&mut self) -> &mut Vec<(Table, u32)> {
        &mut self.set_rows
    }

    fn put_client_hop(&mut self, index: u32, cells: [u64; CLIENT_HOP_CELLS]) {
        let row = World::client_hop(&&*self, index).expect("a row");
        for (at, cell) in cells.iter().enumerate() {
            row.store(at, *cell);
        }
    }

    fn wishes(&self) -> Vec<Wish> {
        self.wanted.chunks_exact(WANTED_CELLS).filter_map(|place| Wanted(place).take()).collect()
    }

    fn overflows(&self) -> Vec<u64> {
        self.overflows.borrow().clone()
    }

    fn notices(&self) -> Vec<u64> {
        self.notices.borrow().clone()
    }

    fn counters(&self, server: ServerId) -> ServerCounters {
        self.counters.borrow().get(&server.row()).copied().unwrap_or_default()
    }

    fn now(&mut self) -> Ticks {
        self.now
    }

    fn run(&mut self, frame: &mut Vec<u8>) -> Outcome {
        self.run_from(None, frame)
    }

    fn held(&mut self) -> Vec<HeldFrame> {
        self.held.take()
    }

    fn last(&self) -> Option<Result<Verdict, Reason>> {
        self.last
    }
}

impl Walker for &Host {}

impl<'a, A: Address> Buckets<A> for &'a Host {
    type Bucket = &'a [AtomicU64];

    fn bucket(&self, index: u32) -> Option<Self::Bucket> {
        self.row(Table::connections::<A>(), index)
    }
}

impl<'a> Pool for &'a Host {
    type Shared = &'a [AtomicU64];

    fn service_row(&self, index: u32) -> Option<Self::Shared> {
        self.row(Table::Services, index)
    }

    fn member_cell(&self, index: u32) -> Option<u64> {
        self.row(Table::Members, index).map(|row| row.load(0))
    }

    fn load(&self, server: ServerId) -> Load {
        self.load_row(server).map_or(Load(0), |row| Load(row.load(0)))
    }

    fn turn(&self, service: u32) -> Option<Self::Shared> {
        self.row(Table::Turns, service)
    }

    fn now(&self) -> Ticks {
        self.now
    }

    fn lblcr_expiration(&self) -> u32 {
        self.row(Table::Settings, 0).map_or(0, |row| SettingsView(row).lblcr_expiration())
    }

    fn cached(&self, key: CacheKey) -> Option<Self::Shared> {
        self.cache.borrow().get(&key).copied()
    }

    /// Rows stay for good, as the mapped tables of the daemon do.
    fn cache(&self, key: CacheKey) -> Option<Self::Shared> {
        let new = || &*Box::leak(Box::new([0; CACHE_CELLS].map(AtomicU64::new)));
        Some(self.cache.borrow_mut().entry(key).or_insert_with(|| &new()[..]))
    }

    /// No case hangs on what it is: the kernel's is another.
    fn random(&self) -> u32 {
        0x9e37_0000 | u32::from(Host::DRAWN)
    }
}

impl<'a> World for &'a Host {
    type Sent = Verdict;

    fn sent(&self, verdict: Verdict) -> Verdict {
        verdict
    }

    type Row = &'a [AtomicU64];

    fn settings(&self) -> Option<Self::Row> {
        self.row(Table::Settings, 0)
    }

    fn vip_bucket(&self, index: u32) -> Option<Self::Row> {
        self.row(Table::Vips, index)
    }

    fn vip_v6_bucket(&self, index: u32) -> Option<Self::Row> {
        self.row(Table::VipsV6, index)
    }

    fn source_bucket(&self, index: u32) -> Option<Self::Row> {
        self.row(Table::Sources, index)
    }

    fn source_v6_bucket(&self, index: u32) -> Option<Self::Row> {
        self.row(Table::SourcesV6, index)
    }

    fn fragment(&self, key: FragmentKey) -> Option<Self::Row> {
        self.fragments.borrow().get(&key).copied()
    }

    fn new_fragment(&self, key: FragmentKey) -> Option<Self::Row> {
        let new = &*Box::leak(Box::new([0; FRAGMENT_CELLS].map(AtomicU64::new)));
        self.fragments.borrow_mut().insert(key, new);
        Some(new)
    }

    fn client_hop(&self, index: u32) -> Option<Self::Row> {
        self.client_hops.chunks_exact(CLIENT_HOP_CELLS).nth(index as usize)
    }

    fn vlan(&self, _: u32) -> Option<[u64; 2]> {
        None
    }

    fn wanted(&self, index: u32) -> Option<Self::Row> {
        self.wanted.chunks_exact(WANTED_CELLS).nth(index as usize)
    }

    fn desk(&self) -> Option<Self::Row> {
        Some(&self.desk)
    }

    fn service(&self, key: ServiceKey) -> Option<u32> {
        self.services.get(&key).copied()
    }

    fn service_hint(&self, place: u32) -> Option<Self::Row> {
        self.row(Table::ServiceHints, place)
    }

    fn server_row(&self, server: ServerId) -> Option<Self::Row> {
        self.row(Table::Servers, server.row())
    }

    fn load_row(&self, server: ServerId) -> Option<Self::Row> {
        self.row(Table::Loads, server.row())
    }

    fn ingress_mac(&self) -> u64 {
        if self.stages.borrow().is_empty() { ethernet::number(DIRECTOR_MAC) } else { 0 }
    }

    fn ingress_ifindex(&self) -> u32 {
        IFINDEX
    }

    fn pressure(&self, row: u32) -> Option<Self::Row> {
        self.row(Table::Pressure, row)
    }

    fn limit(&self, index: u32) -> Option<Self::Row> {
        self.row(Table::Limits, index)
    }

    fn errand(&self, _: u32) -> Option<Errand> {
        None
    }

    fn mark_row(&self, index: u32) -> Option<Self::Row> {
        self.row(Table::MarkRules, index)
    }

    fn note(&self, overflow: Overflow) {
        self.overflows.borrow_mut()[overflow.raw() as usize] += 1;
    }

    fn count_notice(&self, notice: Notice) {
        self.notices.borrow_mut()[notice.raw() as usize] += 1;
    }

    fn count(&self, server: ServerId, more: ServerCounters) -> u64 {
        let mut counters = self.counters.borrow_mut();
        let row = counters.entry(server.row()).or_default();
        row.packets += more.packets;
        row.bytes += more.bytes;
        row.connections += more.connections;
        row.reply_packets += more.reply_packets;
        row.reply_bytes += more.reply_bytes;
        row.packets
    }
}

impl<A: Address> Ways<A> for &Host {
    fn mark_run(&self, destination: A) -> Option<MarkRun> {
        let destination = address_of(destination);
        (0..=128).rev().find_map(|bits| self.mark_runs.get(&(first_bits(destination, bits), bits)).copied())
    }
}

fn address_of<A: Address>(address: A) -> IpAddr {
    if A::IS_V6 {
        Ipv6Addr::from(address.wide()).into()
    } else {
        Ipv4Addr::from(narrowed(address.wide())).into()
    }
}

/// The address of a net: so many bits of an address that is in it.
fn first_bits(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(bits)).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

impl<F: Frame> Stages<F> for &Host {
    /// It is entered when whoever asked for it is done.
    fn enter(&self, stage: Stage, _: &mut F) -> Result<Verdict, Reason> {
        self.next.set(Some(match stage {
            Stage::FreshV4 if self.goes_round => Stage::V4,
            Stage::FreshV6 if self.goes_round => Stage::V6,
            stage => stage,
        }));
        Err(Reason::NotReady)
    }

    /// There is no way but those that are remembered: to neighbours of the client's there is one, but none of them answers.
    fn route<A: Address>(&self, _: &F, _: A, to: A, _: ClientHop<Self::Row>) -> Route {
        let is_near = if A::IS_V6 {
            first_bits(address_of(to), 64) == first_bits(CLIENT_V6.into(), 64)
        } else {
            first_bits(address_of(to), 24) == first_bits(CLIENT.into(), 24)
        };
        Route::none(if is_near { Route::NO_NEIGHBOUR } else { 1 })
    }

    fn hold(&self, frame: &F, header: HeldHeader) -> bool {
        let bytes = header.frame_bytes as usize;
        let frame = (0..bytes).map(|at| frame.read::<u8>(at).expect("it is as long as it says")).collect();
        let fits = bytes <= MAX_HELD_BYTES;
        if fits {
            self.held.borrow_mut().push((header, frame));
        }
        fits
    }
}
