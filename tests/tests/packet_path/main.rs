//! The loaded program, run by the kernel on single frames: it must do what `steer` does on the host, to the byte.

mod foreseen;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use anyhow::Result;
use aya::Ebpf;
use aya::maps::{PerCpuArray, PerCpuValues};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use ipnet::IpNet;
use lbxdp::daemon::load::{self, Interface, Sizes};
use lbxdp::tables::{Fragments, Mapped, Ring, Tables, WatchTables, WatchedRing};
use lbxdp_common::client_hop::{CLIENT_HOP_CELLS, Wanted, Wish};
use lbxdp_common::counters::ServerCounters;
use lbxdp_common::held::HeldHeader;
use lbxdp_common::mark::MarkRun;
use lbxdp_common::server::ServerId;
use lbxdp_common::service::ServiceKey;
use lbxdp_common::watch::{self, Budget, Ending, HEAD_BYTES, Wish as Watch};
use lbxdp_common::{Notice, Overflow, Reason, Scheduler, Ticks, Verdict};
use lbxdp_tests::cases::corpus;
use lbxdp_tests::cases::frame;
use lbxdp_tests::cases::memory::{self, BUCKETS, MEMBERS, SERVERS, SERVICES, Snapshot};
use lbxdp_tests::cases::random::{self, Dice};
use lbxdp_tests::cases::setup::{Destination, Setup};
use lbxdp_tests::cases::{self, DIRECTOR_MAC, Host, IFINDEX, OTHER_PORT, Outcome, Runner, Table};
use lbxdp_tests::{Label, Namespace, leftovers};

/// The program in the kernel, attached to nothing.
struct Kernel {
    ebpf: Ebpf,
    tables: Tables,
    fragments: Fragments,
    ring: Ring,
    services: Vec<ServiceKey>,
    mark_runs: Vec<Destination>,
    overflows_before: Vec<u64>,
    notices_before: Vec<u64>,
    set_rows: Vec<(Table, u32)>,
    /// What was counted by reason when the last frame was done.
    reasons: Vec<u64>,
    /// Of a kernel whose packets are watched.
    watched: Option<Watching>,
    pins: Pins,
}

/// The entry that is there while somebody watches, and what it tells.
struct Watching {
    ebpf: Ebpf,
    ring: WatchedRing,
    /// How many frames were seen.
    seen: usize,
}

/// Pins of this process, gone with it.
struct Pins(PathBuf);

impl Drop for Pins {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// The interface that the program is loaded for.
fn interface() -> Interface {
    Interface { name: "none".into(), ifindex: IFINDEX, mac: DIRECTOR_MAC }
}

impl Watching {
    /// The one record of a frame must say what came in, what became of it, and what left.
    fn must_have_seen(&mut self, frame: &[u8], outcome: Outcome, out: &[u8]) {
        let watched = self.ring.take().unwrap_or_else(|| panic!("no record of {frame:02x?}, {outcome:?}"));
        assert!(self.ring.take().is_none(), "two records of {frame:02x?}, {outcome:?}");
        self.seen += 1;
        let head = |frame: &[u8]| frame[..frame.len().min(HEAD_BYTES)].to_vec();
        assert_eq!((watched.bytes as usize, watched.head()), (frame.len(), &head(frame)[..]));
        assert_eq!((watched.slots, watched.ifindex), (1 << 2, IFINDEX));
        let ended = watch::Outcome(watched.outcome);
        assert_eq!(ended.action(), outcome.action);
        let ending = ended.ending().expect("an ending");
        let reason = match ending {
            Ending::Went(Verdict::Answered(reason)) | Ending::Stopped(reason) => Some(reason),
            Ending::Went(_) => None,
        };
        assert_eq!(reason.filter(|reason| *reason != Reason::NotOurs), outcome.counted, "{frame:02x?}");
        let is_sent = matches!(ending, Ending::Went(verdict) if verdict != Verdict::Local);
        if is_sent {
            assert_eq!((watched.bytes_after as usize, watched.head_after()), (out.len(), &head(out)[..]));
        } else {
            assert!(watched.head_after().is_empty());
        }
    }
}

impl Kernel {
    fn load() -> Self {
        static LOADED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = LOADED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let pins = Pins(Path::new("/sys/fs/bpf").join(format!("lbxdp-law-{}-{number}", std::process::id())));
        let sizes = Sizes {
            buckets: BUCKETS,
            buckets_v6: BUCKETS / 2,
            servers: SERVERS,
            services: SERVICES,
            members: MEMBERS,
        };
        let ebpf = load::load_beside(&pins.0, &interface(), sizes).expect("the kernel takes the program");
        let mut tables = Tables::open(&pins.0).expect("the tables are pinned");
        // No frame leaves in these tests; there must be an interface in the slot, whichever it is.
        tables.put_port(OTHER_PORT.0, IFINDEX).expect("a slot for the other interface");
        let reasons = tables.reason_counts().expect("counts");
        Self {
            ebpf,
            tables,
            reasons,
            fragments: Fragments::open(&pins.0).expect("the table is pinned"),
            ring: Ring::open(&pins.0).expect("the ring is pinned"),
            services: Vec::new(),
            mark_runs: Vec::new(),
            overflows_before: vec![0; Overflow::COUNT],
            notices_before: vec![0; Notice::COUNT],
            set_rows: Vec::new(),
            watched: None,
            pins,
        }
    }

    /// Where its tables are pinned.
    fn pins(&self) -> &Path {
        &self.pins.0
    }

    /// One where somebody watches every packet.
    fn load_watched() -> Self {
        let kernel = Self::load();
        let (maps, pins) = (&kernel.pins.0, kernel.pins.0.join("watch"));
        let sizes = Sizes::default();
        let ebpf = load::load_watched(maps, &pins, &interface(), sizes, |_| true);
        let ebpf = ebpf.expect("the kernel takes the programs of watching");
        let mut tables = WatchTables::open(&pins, maps).expect("the tables are pinned");
        load::put_report(&ebpf, tables.stages()).expect("a slot");
        let wish = Watch {
            outcomes: u64::MAX,
            threshold: Watch::one_of(1).into(),
            budget: Budget { packets: u32::MAX, ticks: 1 },
            ..Watch::default()
        };
        tables.put(2, wish).expect("a slot");
        let ring = WatchedRing::open(&pins, maps).expect("the ring is pinned");
        Self { watched: Some(Watching { ebpf, ring, seen: 0 }), ..kernel }
    }

    fn table(&self, table: Table) -> Mapped {
        match table {
            Table::Settings => self.tables.SETTINGS,
            Table::Vips => self.tables.VIPS,
            Table::VipsV6 => self.tables.VIPS_V6,
            Table::Sources => self.tables.SOURCES,
            Table::SourcesV6 => self.tables.SOURCES_V6,
            Table::Connections => self.tables.CONNECTIONS,
            Table::ConnectionsV6 => self.tables.CONNECTIONS_V6,
            Table::Servers => self.tables.SERVERS,
            Table::Loads => self.tables.LOADS,
            Table::Services => self.tables.SERVICES,
            Table::Turns => self.tables.TURNS,
            Table::Members => self.tables.MEMBERS,
            Table::Pressure => self.tables.PRESSURE,
            Table::MarkRules => self.tables.MARK_RULES,
            Table::Limits => self.tables.LIMITS,
            Table::ServiceHints => self.tables.SERVICE_HINTS,
        }
    }

    fn all_overflows(&self) -> Vec<u64> {
        Overflow::ALL.iter().map(|kind| self.tables.overflow_count(*kind).expect("a count")).collect()
    }

    fn all_notices(&self) -> Vec<u64> {
        Notice::ALL.iter().map(|kind| self.tables.notice_count(*kind).expect("a count")).collect()
    }
}

/// A destination as the tables have it.
fn net((address, bits): Destination) -> IpNet {
    IpNet::new(address, u8::try_from(bits).expect("few bits")).expect("a prefix")
}

/// Bytes by which an answer, or a packet in a tunnel, may be longer than its packet.
const MOST_GROWTH: usize = 64;

/// Runs a program on a frame; its action, and the frame it leaves.
fn test_run(program: &Xdp, frame: &[u8]) -> (u32, Vec<u8>) {
    let mut out = vec![0; frame.len() + MOST_GROWTH];
    let options = TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::new() };
    let result = program.test_run(options).expect("the kernel runs the program");
    out.truncate(result.data_size_out as usize);
    (result.return_value, out)
}

impl Runner for Kernel {
    /// The kernel wants at least an Ethernet header.
    const MIN_FRAME_BYTES: usize = 14;

    fn row(&self, table: Table, index: u32) -> Option<&[AtomicU64]> {
        self.table(table).row(index)
    }

    fn put_service(&mut self, key: ServiceKey, index: u32) {
        self.tables.put_service_id(key, index).expect("room for a service");
        self.services.push(key);
    }

    fn put_mark_run(&mut self, destination: Destination, run: MarkRun) {
        self.tables.put_mark_run(net(destination), run).expect("room for a run");
        self.mark_runs.push(destination);
    }

    fn forget(&mut self) {
        for destination in self.mark_runs.drain(..) {
            self.tables.remove_mark_run(net(destination)).expect("it was there");
        }
        for key in self.services.drain(..) {
            self.tables.remove_service_id(key).expect("it was there");
        }
        for (key, _) in self.tables.cached().expect("what was remembered") {
            self.tables.forget_cached(key).expect("it goes");
        }
        self.fragments.forget().expect("they go");
        self.held();
        self.overflows_before = self.all_overflows();
        self.notices_before = self.all_notices();
        for row in 0..SERVERS {
            self.tables.begin_server(ServerId(row)).expect("a row of counters");
        }
    }

    fn set_rows(&mut self) -> &mut Vec<(Table, u32)> {
        &mut self.set_rows
    }

    fn put_client_hop(&mut self, index: u32, cells: [u64; CLIENT_HOP_CELLS]) {
        let map = self.ebpf.map_mut("client_hops").expect("ways to clients");
        let mut rows = PerCpuArray::<_, [u64; CLIENT_HOP_CELLS]>::try_from(map).expect("rows of each CPU");
        let cpus = aya::util::nr_cpus().expect("CPUs");
        let rows_of_all = PerCpuValues::try_from(vec![cells; cpus]).expect("a row for each CPU");
        rows.set(index, rows_of_all, 0).expect("a row");
    }

    fn wishes(&self) -> Vec<Wish> {
        let wanted = self.tables.WANTED;
        (0..wanted.rows()).filter_map(|index| Wanted(wanted.row(index)?).take()).collect()
    }

    fn overflows(&self) -> Vec<u64> {
        self.all_overflows().iter().zip(&self.overflows_before).map(|(now, before)| now - before).collect()
    }

    fn notices(&self) -> Vec<u64> {
        self.all_notices().iter().zip(&self.notices_before).map(|(now, before)| now - before).collect()
    }

    fn counters(&self, server: ServerId) -> ServerCounters {
        self.tables.counters(server).expect("a row of counters")
    }

    fn now(&mut self) -> Ticks {
        let clock = load::clock(&mut self.ebpf).expect("the object has a clock");
        Ticks(test_run(clock, &[0; 14]).0)
    }

    fn held(&mut self) -> Vec<(HeldHeader, Vec<u8>)> {
        std::iter::from_fn(|| self.ring.take()).collect()
    }

    fn run(&mut self, frame: &mut Vec<u8>) -> Outcome {
        let program = match &mut self.watched {
            Some(watched) => load::watched_program(&mut watched.ebpf),
            None => load::program(&mut self.ebpf),
        };
        let (action, out) = test_run(program.expect("the object has the packet path"), frame);
        let came = std::mem::replace(frame, out);
        let after = self.tables.reason_counts().expect("counts");
        let before = std::mem::replace(&mut self.reasons, after);
        let grown: Vec<Reason> = Reason::ALL
            .iter()
            .filter(|reason| before[reason.raw() as usize] != self.reasons[reason.raw() as usize])
            .copied()
            .collect();
        assert!(grown.len() <= 1, "one frame was counted for {grown:?}");
        let outcome = Outcome { action, counted: grown.first().copied() };
        if let Some(watched) = &mut self.watched {
            watched.must_have_seen(&came, outcome, frame);
        }
        outcome
    }
}

/// Runs a test where the kernel answers questions for ways to clients as [`Host`] does: it has routes to the client and its
/// neighbours, none of whom it knows, and to nobody else. Nothing that is sent there arrives.
fn beside_silent_neighbours(test: impl FnOnce() + Send) -> Result<()> {
    leftovers::remove()?;
    let namespace = Namespace::create(format!("{}-law", Label::unique()))?;
    namespace.ip("link add near type veth peer name far")?;
    for family in ["ipv4", "ipv6"] {
        namespace.set(&format!("{family}/conf/all/forwarding"), "1")?;
    }
    for words in ["addr add 10.0.0.1/24 dev near", "addr add fd00::1/64 dev near nodad"] {
        namespace.ip(words)?;
    }
    for end in ["near", "far"] {
        namespace.ip(&format!("link set {end} up"))?;
    }
    namespace.inside(test)
}

/// How far due times may be apart, for one clock stands and the other runs: a second of the fastest kernel's ticks.
const SECOND: u32 = 1000;

/// Both must have left the same behind.
fn assert_same(kernel: &Snapshot, host: &Snapshot, at: &str) {
    assert_eq!(kernel.cells, host.cells, "{at}: loads and turns");
    assert_eq!(kernel.entries, host.entries, "{at}: connections");
    assert_eq!(kernel.entries_v6, host.entries_v6, "{at}: connections of IPv6");
    assert_eq!(kernel.bonds, host.bonds, "{at}: their bonds");
    assert_eq!(kernel.counters, host.counters, "{at}: counters");
    assert_eq!(kernel.overflows, host.overflows, "{at}: what was done for want of room");
    assert_eq!(kernel.notices, host.notices, "{at}: what senders were told");
    for ((kernel, host), entry) in kernel.dues.iter().zip(&host.dues).zip(kernel.words()) {
        let apart = kernel.since(*host).unsigned_abs();
        assert!(apart <= SECOND, "{at}: due times are {apart} ticks apart: {entry:?}");
    }
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn every_case_in_the_kernel_as_on_the_host() -> Result<()> {
    beside_silent_neighbours(every_case)
}

/// Who watches changes nothing of what is decided or counted, and sees all of it.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn every_case_while_somebody_watches_as_on_the_host() -> Result<()> {
    beside_silent_neighbours(|| {
        let mut kernel = Kernel::load_watched();
        every_case_in(&mut kernel);
        let seen = kernel.watched.map_or(0, |watched| watched.seen);
        assert!(seen > 300, "only {seen} frames");
    })
}

fn every_case() {
    every_case_in(&mut Kernel::load());
}

fn every_case_in(kernel: &mut Kernel) {
    let mut host = Host::default();
    let cases = cases::all();
    for case in &cases {
        let in_kernel = cases::run(kernel, case);
        // A host that sees what the kernel sees: frames too short for it are left out there too.
        let mut case = case.clone();
        case.steps.retain(|step| step.frame.len() >= Kernel::MIN_FRAME_BYTES);
        assert_same(&in_kernel, &cases::run(&mut host, &case), &case.name);
    }
    assert!(cases.len() > 30);
}

/// How many frames were forwarded, or answered.
#[derive(Default)]
struct Forwarded {
    all: usize,
    tunnelled: usize,
}

/// The frame with a number that is not drawn, if the host's was: the kernel's is another.
fn without_drawn(in_kernel: Vec<u8>, on_host: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let (tags, plain) = frame::untagged(&on_host);
    let is_v4 = plain.get(12..14) == Some(&[0x08, 0x00]);
    if !is_v4 || plain.get(frame::IP + 4..frame::IP + 6) != Some(&Host::DRAWN.to_be_bytes()) {
        return (in_kernel, on_host);
    }
    let (kernels_tags, kernels) = frame::untagged(&in_kernel);
    assert_eq!(kernels_tags, tags);
    (frame::settled(kernels), frame::settled(plain))
}

/// Runs frames by chance in both.
fn run_both(
    (kernel, host): (&mut Kernel, &mut Host),
    setup: &Setup,
    dice: &mut Dice,
    frames: u32,
    mut next: impl FnMut(&mut Dice) -> Vec<u8>,
) -> Forwarded {
    memory::write(kernel, setup);
    memory::write(host, setup);
    let mut forwarded = Forwarded::default();
    for number in 0..frames {
        let frame = next(dice);
        let bytes = frame.len();
        let (mut in_kernel, mut on_host) = (frame.clone(), frame);
        let outcome = kernel.run(&mut in_kernel);
        assert_eq!(outcome, host.run(&mut on_host), "frame {number}: {on_host:x?}, {setup:?}");
        if outcome.action > 2 {
            (in_kernel, on_host) = without_drawn(in_kernel, on_host);
            forwarded.all += 1;
            forwarded.tunnelled += usize::from(on_host.len() > bytes);
            dice.show(&on_host);
        }
        assert_eq!(in_kernel, on_host, "frame {number}, {setup:?}");
        assert_eq!(kernel.held(), host.held(), "frame {number}, {setup:?}");
        // What the limit of all clients takes is left to chance.
        memory::fill_total_limit(kernel);
        memory::fill_total_limit(host);
    }
    let (in_kernel, on_host) = (memory::snapshot(kernel), memory::snapshot(host));
    assert_eq!(in_kernel.cells, on_host.cells, "{setup:?}");
    assert_eq!(in_kernel.entries, on_host.entries, "{setup:?}");
    assert_eq!(in_kernel.entries_v6, on_host.entries_v6, "{setup:?}");
    assert_eq!(in_kernel.bonds, on_host.bonds, "{setup:?}");
    assert_eq!(in_kernel.counters, on_host.counters, "{setup:?}");
    assert_eq!(in_kernel.overflows, on_host.overflows, "{setup:?}");
    assert_eq!(in_kernel.notices, on_host.notices, "{setup:?}");
    assert_eq!(kernel.wishes(), host.wishes(), "{setup:?}");
    forwarded
}

/// How many frames by chance each of the tests below runs: a third of all, which `LBXDP_RANDOM_FRAMES` says.
fn third_of_all() -> u32 {
    let all = std::env::var("LBXDP_RANDOM_FRAMES").ok();
    all.map_or(60_000u32, |all| all.parse().expect("LBXDP_RANDOM_FRAMES is a number")).div_ceil(3)
}

/// What draws lots draws others in the kernel.
fn schedulers() -> Vec<Scheduler> {
    Scheduler::ALL.iter().copied().filter(|by| *by != Scheduler::TwoChoices).collect()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn frames_by_chance_in_the_kernel_as_on_the_host() {
    const AT_ONCE: u32 = 20_000;
    let (mut kernel, mut host) = (Kernel::load(), Host::default());
    for seed in 0..third_of_all().div_ceil(AT_ONCE) {
        let mut dice = Dice::new(7 + 2 * u64::from(seed));
        let both = (&mut kernel, &mut host);
        let forwarded = run_both(both, &random::setup(), &mut dice, AT_ONCE, Dice::frame).all;
        assert!(forwarded > 1000, "only {forwarded} frames were forwarded");
    }
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn services_by_chance_in_the_kernel_as_on_the_host() {
    const AT_ONCE: u32 = 1000;
    let (mut kernel, mut host) = (Kernel::load(), Host::default());
    let schedulers = schedulers();
    let mut dice = Dice::new(11);
    let rounds = third_of_all().div_ceil(AT_ONCE);
    let (mut forwarded, mut tunnelled, mut templates, mut templates_v6) = (0, 0, 0, 0);
    for _ in 0..rounds {
        let setup = dice.setup(&schedulers);
        let run = run_both((&mut kernel, &mut host), &setup, &mut dice, AT_ONCE, Dice::frame);
        (forwarded, tunnelled) = (forwarded + run.all, tunnelled + run.tunnelled);
        let Snapshot { entries, entries_v6, .. } = memory::snapshot(&host);
        templates += entries.iter().filter(|(_, word)| word.is_template()).count();
        templates_v6 += entries_v6.iter().filter(|(_, word)| word.is_template()).count();
    }
    let rounds = rounds as usize;
    assert!(forwarded > 90 * rounds, "only {forwarded} frames were forwarded");
    assert!(tunnelled > 20 * rounds, "only {tunnelled} frames went through tunnels");
    assert!(templates > 2 * rounds, "only {templates} templates");
    assert!(templates_v6 > rounds, "only {templates_v6} templates of IPv6");
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_kept_frames_in_the_kernel_as_on_the_host() -> Result<()> {
    beside_silent_neighbours(the_kept_frames)
}

fn the_kept_frames() {
    let (mut kernel, mut host) = (Kernel::load(), Host::default());
    let setup = corpus::setup();
    for (course, frames) in corpus::kept() {
        let mut left = frames.iter();
        let mut dice = Dice::new(1);
        let count = u32::try_from(frames.len()).expect("a few");
        let next = |_: &mut Dice| left.next().expect("as many as there are").clone();
        run_both((&mut kernel, &mut host), &setup, &mut dice, count, next);
        assert_eq!(corpus::course(&host), course, "{frames:02x?}");
    }
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn everything_by_chance_in_the_kernel_as_on_the_host() -> Result<()> {
    beside_silent_neighbours(|| everything_by_chance(&mut Kernel::load(), 13))
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn everything_by_chance_while_somebody_watches_as_on_the_host() -> Result<()> {
    beside_silent_neighbours(|| everything_by_chance(&mut Kernel::load_watched(), 17))
}

/// With VLAN tags, VS/NAT and what comes back, fragments, ICMP errors.
fn everything_by_chance(kernel: &mut Kernel, seed: u64) {
    const AT_ONCE: u32 = 1000;
    let mut host = Host::default();
    let schedulers = schedulers();
    let mut dice = Dice::new(seed);
    let rounds = third_of_all().div_ceil(AT_ONCE);
    let (mut forwarded, mut replies) = (0, 0);
    for _ in 0..rounds {
        let setup = dice.any_setup(&schedulers);
        let run = run_both((&mut *kernel, &mut host), &setup, &mut dice, AT_ONCE, Dice::any_frame);
        forwarded += run.all;
        replies += memory::snapshot(&host).counters.iter().map(|row| row.reply_packets).sum::<u64>();
    }
    assert!(forwarded > 60 * rounds as usize, "only {forwarded} frames were forwarded");
    assert!(replies > u64::from(rounds), "only {replies} replies");
    println!("{forwarded} frames were forwarded, {replies} replies counted");
}
