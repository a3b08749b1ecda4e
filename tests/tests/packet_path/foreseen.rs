//! What `lbxdp explain` foretells is what the loaded program then does: verdict, server, frame and connections; and foretelling
//! leaves no trace in any table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use anyhow::Result;
use aya::Pod;
use aya::maps::{HashMap, PerCpuArray};
use lbxdp::daemon::load::Interface;
use lbxdp::explain::rehearsal::{Note, Performance, Place, Rehearsal};
use lbxdp::explain::{InterfaceNames, Live, tell};
use lbxdp::tables::{CellTable, LookTables};
use lbxdp_common::client_hop::CLIENT_HOP_CELLS;
use lbxdp_common::counters::ServerCounters;
use lbxdp_common::fragment::{FRAGMENT_CELLS, FragmentKey};
use lbxdp_common::schedule::CacheKey;
use lbxdp_common::schedule::cache::CACHE_CELLS;
use lbxdp_common::server::ServerId;
use lbxdp_common::service::Service;
use lbxdp_common::{Scheduler, Ticks, Verdict};
use lbxdp_tests::cases::memory::{self, SERVERS};
use lbxdp_tests::cases::random::Dice;
use lbxdp_tests::cases::{self, DIRECTOR_MAC, Host, IFINDEX, Outcome, Runner, Table, corpus, frame};

use super::{Kernel, SECOND, beside_silent_neighbours, third_of_all};

/// Which tables are looked at for traces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tables {
    All,
    /// All but those of addresses, and of ways to clients: they are large, and read slowly.
    Small,
}

/// Keys, and the cells under them.
type Entries = BTreeSet<(Vec<u8>, Vec<u64>)>;

/// What stands in the kernel, byte for byte. What draws or counts by CPU is there for all CPUs.
#[derive(Debug, PartialEq)]
struct Everything {
    cells: Vec<Vec<u64>>,
    keyed: BTreeMap<&'static str, Entries>,
    by_cpu: BTreeMap<&'static str, Vec<Vec<u64>>>,
}

fn everything(kernel: &Kernel, which: Tables) -> Everything {
    let sets = [Table::Vips, Table::VipsV6, Table::Sources, Table::SourcesV6];
    let wanted = Table::ALL.iter().filter(|table| which == Tables::All || !sets.contains(table));
    let rest = [
        kernel.tables.WANTED,
        kernel.tables.ERRANDS,
        kernel.tables.SERVER_BASES,
        kernel.tables.SERVICE_BASES,
    ];
    let tables = wanted.map(|table| kernel.table(*table)).chain(rest);
    let cells = tables.map(|table| {
        let rows = (0..table.rows()).filter_map(|index| table.row(index)).flatten();
        rows.map(|cell| cell.load(Ordering::Acquire)).collect()
    });
    let keyed = [
        ("service_ids", keyed::<[u8; 24], u32>(kernel, "service_ids", |index| vec![index.into()])),
        ("cache", keyed::<[u8; size_of::<CacheKey>()], [u64; CACHE_CELLS]>(kernel, "cache", Vec::from)),
        (
            "fragments",
            keyed::<[u8; size_of::<FragmentKey>()], [u64; FRAGMENT_CELLS]>(kernel, "fragments", Vec::from),
        ),
        ("vlans", keyed::<[u8; 4], [u64; 2]>(kernel, "vlans", Vec::from)),
    ];
    let mut by_cpu_of = BTreeMap::from([
        ("counters", by_cpu::<[u64; size_of::<ServerCounters>() / 8]>(kernel, "counters", Vec::from)),
        ("reasons", by_cpu::<u64>(kernel, "reasons", |count| vec![count])),
        ("overflows", by_cpu::<u64>(kernel, "overflows", |count| vec![count])),
        ("notices", by_cpu::<u64>(kernel, "notices", |count| vec![count])),
    ]);
    if which == Tables::All {
        let hops = by_cpu::<[u64; CLIENT_HOP_CELLS]>(kernel, "client_hops", Vec::from);
        by_cpu_of.insert("client_hops", hops);
    }
    Everything { cells: cells.collect(), keyed: keyed.into(), by_cpu: by_cpu_of }
}

fn keyed<K: Pod + AsRef<[u8]>, V: Pod>(kernel: &Kernel, name: &str, cells: fn(V) -> Vec<u64>) -> Entries {
    let map = kernel.ebpf.map(name).expect("the map is there");
    let map = HashMap::<_, K, V>::try_from(map).expect("it is what it is taken for");
    map.iter()
        .map(|entry| entry.expect("an entry"))
        .map(|(key, value)| (key.as_ref().to_vec(), cells(value)))
        .collect()
}

fn by_cpu<V: Pod>(kernel: &Kernel, name: &str, cells: fn(V) -> Vec<u64>) -> Vec<Vec<u64>> {
    let map = kernel.ebpf.map(name).expect("the map is there");
    let map = PerCpuArray::<_, V>::try_from(map).expect("it is what it is taken for");
    map.iter().map(|row| row.expect("a row").iter().copied().flat_map(cells).collect()).collect()
}

/// The kernel, and what is needed to foretell what it does.
struct Foreseen {
    kernel: Kernel,
    look: LookTables,
}

/// What was foretold and did happen, in numbers.
#[derive(Default)]
struct Fulfilled {
    by_outcome: BTreeMap<&'static str, usize>,
    by_server: usize,
    /// Those in which a lot was drawn.
    drawn: usize,
}

impl Foreseen {
    fn load() -> Self {
        let kernel = Kernel::load();
        let look = LookTables::open(kernel.pins()).expect("the tables are pinned");
        Self { kernel, look }
    }

    /// Foretells a frame, has the kernel do it, and compares.
    fn fulfil(&mut self, bytes: &[u8], traces: Option<Tables>, fulfilled: &mut Fulfilled, at: &str) {
        let before = traces.map(|which| (which, everything(&self.kernel, which)));
        let live = Live::new(&self.look).expect("the kernel tells the time");
        let rehearsal = Rehearsal::new(&live, interface());
        let foretold = rehearsal.perform(bytes);
        let told = tell(&rehearsal, &InterfaceNames::new(), bytes, &foretold);
        assert!(live.failure().is_none(), "{at}: all tables were read");
        if let Some((which, before)) = before {
            assert!(before == everything(&self.kernel, which), "{at}: foretelling has left a trace");
        }
        let counted_before = self.counted();
        let mut out = bytes.to_vec();
        let outcome = self.kernel.run(&mut out);
        let held: Vec<_> = self.kernel.held().into_iter().map(|(header, _)| header).collect();
        let foretold_held = foretold.notes.iter().filter_map(|note| match note {
            Note::Held(header) => Some(*header),
            _ => None,
        });
        assert_eq!(held, foretold_held.collect::<Vec<_>>(), "{at}: what the daemon gets");
        *fulfilled.by_outcome.entry(told.outcome.name()).or_default() += 1;
        assert_eq!(outcome, Outcome::from(foretold.decided), "{at}: {foretold:#?}");
        let drawn = foretold.notes.iter().any(|note| matches!(note, Note::Drawn));
        fulfilled.drawn += usize::from(drawn);
        if self.draws_servers(&foretold) {
            self.assert_among_candidates(&counted_before, &foretold, at);
            return;
        }
        if outcome.action >= 2 {
            let is_numbered = drawn || is_tunnelled(&foretold, bytes);
            let without_number = |frame: Vec<u8>| if is_numbered { unnumbered(&frame) } else { frame };
            assert_eq!(without_number(foretold.frame.clone()), without_number(out), "{at}");
        }
        fulfilled.by_server += usize::from(self.assert_counted(&counted_before, &foretold, at));
        self.assert_connections(&foretold, at);
    }

    fn counted(&self) -> Vec<ServerCounters> {
        (0..SERVERS).map(|row| self.kernel.counters(ServerId(row))).collect()
    }

    /// Whether a scheduler draws lots: others in the kernel.
    fn draws_servers(&self, foretold: &Performance) -> bool {
        foretold.notes.iter().any(|note| match note {
            Note::Scheduled(choice) => {
                let row = self.kernel.row(Table::Services, choice.index).expect("a row");
                Service(row).list().scheduler() == Some(Scheduler::TwoChoices)
            }
            _ => false,
        })
    }

    /// A scheduler has drawn lots, and draws others in the kernel: who was chosen there was a candidate here.
    fn assert_among_candidates(&self, before: &[ServerCounters], foretold: &Performance, at: &str) {
        let candidates = foretold.notes.iter().find_map(|note| match note {
            Note::Scheduled(choice) => Some(&choice.candidates),
            _ => None,
        });
        let candidates = candidates.unwrap_or_else(|| panic!("{at}: who draws lots has candidates"));
        let after = self.counted();
        let counted = (0..SERVERS).zip(after.iter().zip(before)).filter(|(_, (is, was))| is != was);
        for (row, _) in counted {
            let is_candidate = candidates.iter().any(|candidate| candidate.member.server().row() == row);
            assert!(is_candidate, "{at}: server {row} is none of {candidates:?}");
        }
    }

    /// The server that the kernel has counted the packet for is the one that was foretold; whether there was one.
    fn assert_counted(&self, before: &[ServerCounters], foretold: &Performance, at: &str) -> bool {
        let mut expected = before.to_vec();
        for note in &foretold.notes {
            if let Note::Counted(server, more) = note {
                let row = &mut expected[server.row() as usize];
                row.packets += more.packets;
                row.bytes += more.bytes;
                row.connections += more.connections;
                row.reply_packets += more.reply_packets;
                row.reply_bytes += more.reply_bytes;
            }
        }
        assert_eq!(self.counted(), expected, "{at}: what is counted, and for whom");
        expected != before
    }

    /// Rows of loads, turns and connections stand as was foretold, but for due times: the clock goes on.
    fn assert_connections(&self, foretold: &Performance, at: &str) {
        for row in &foretold.rows {
            let Place::Cells(table, index) = row.place else {
                continue;
            };
            let table = match table {
                CellTable::Connections => Table::Connections,
                CellTable::ConnectionsV6 => Table::ConnectionsV6,
                CellTable::Loads => Table::Loads,
                CellTable::Turns => Table::Turns,
                _ => continue,
            };
            let cells = self.kernel.row(table, index).expect("a row");
            let is_timed = matches!(table, Table::Connections | Table::ConnectionsV6);
            for (at_cell, (foretold, cell)) in row.now.iter().zip(cells).enumerate() {
                let is = cell.load(Ordering::Acquire);
                let is_same = *foretold == is || is_timed && is_nearly(*foretold, is);
                assert!(
                    is_same,
                    "{at}: {table:?} row {index} cell {at_cell}: {foretold:#x} was foretold, {is:#x} came"
                );
            }
        }
    }
}

/// Whether two words differ in nothing but some ticks of their due times.
fn is_nearly(one: u64, other: u64) -> bool {
    let due = |word: u64| Ticks(u32::try_from(word >> 32).expect("32 bits"));
    one & 0xffff_ffff == other & 0xffff_ffff && due(one).since(due(other)).unsigned_abs() <= SECOND
}

fn interface() -> Interface {
    Interface { name: "none".into(), ifindex: IFINDEX, mac: DIRECTOR_MAC }
}

/// Whether a frame leaves in a tunnel: its outer header has a number that is counted by the CPU which puts it there.
fn is_tunnelled(foretold: &Performance, bytes: &[u8]) -> bool {
    matches!(foretold.decided, Ok(Verdict::Transmit | Verdict::Redirect(_)))
        && foretold.frame.len() > bytes.len()
}

/// A frame, tags aside, without the number of its outer header.
fn unnumbered(frame: &[u8]) -> Vec<u8> {
    let (tags, plain) = frame::untagged(frame);
    [tags, frame::settled(plain)].concat()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn every_case_is_foretold() -> Result<()> {
    beside_silent_neighbours(every_case)
}

fn every_case() {
    let (mut foreseen, mut fulfilled) = (Foreseen::load(), Fulfilled::default());
    for (at, case) in cases::all().into_iter().enumerate() {
        memory::write(&mut foreseen.kernel, &case.setup);
        for (number, step) in case.steps.iter().enumerate() {
            if step.frame.len() < Kernel::MIN_FRAME_BYTES {
                continue;
            }
            // All tables now and then: that takes long.
            let traces = if number == 0 && at % 32 == 0 { Tables::All } else { Tables::Small };
            foreseen.fulfil(
                &step.frame,
                Some(traces),
                &mut fulfilled,
                &format!("{}, frame {number}", case.name),
            );
        }
    }
    let outcomes: Vec<_> = fulfilled.by_outcome.keys().copied().collect();
    assert_eq!(outcomes, ["answered", "dropped", "forwarded", "held", "local", "passed"]);
    println!(
        "{:?}, {} of a server, {} drawn by lot",
        fulfilled.by_outcome, fulfilled.by_server, fulfilled.drawn
    );
    assert!(fulfilled.by_server > 300, "{}", fulfilled.by_server);
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn frames_by_chance_are_foretold() -> Result<()> {
    beside_silent_neighbours(frames_by_chance)
}

/// With every scheduler, VLAN tags, VS/NAT and what comes back, fragments, ICMP errors.
fn frames_by_chance() {
    const AT_ONCE: u32 = 500;
    let (mut foreseen, mut fulfilled) = (Foreseen::load(), Fulfilled::default());
    // It knows what frames to make of those that it was shown.
    let mut host = Host::default();
    let mut dice = Dice::new(29);
    let rounds = third_of_all().div_ceil(4 * AT_ONCE);
    for round in 0..rounds {
        let setup = dice.any_setup(Scheduler::ALL);
        memory::write(&mut foreseen.kernel, &setup);
        memory::write(&mut host, &setup);
        for number in 0..AT_ONCE {
            let frame = dice.any_frame();
            let mut shown = frame.clone();
            if host.run(&mut shown).action > 2 {
                dice.show(&shown);
            }
            let traces = number.is_multiple_of(50).then_some(Tables::Small);
            foreseen.fulfil(
                &frame,
                traces,
                &mut fulfilled,
                &format!("round {round}, frame {number}: {setup:?}"),
            );
            memory::fill_total_limit(&foreseen.kernel);
        }
    }
    println!(
        "{:?}, {} of a server, {} drawn by lot",
        fulfilled.by_outcome, fulfilled.by_server, fulfilled.drawn
    );
    assert!(fulfilled.by_server > 20 * rounds as usize, "{}", fulfilled.by_server);
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_kept_frames_are_foretold() -> Result<()> {
    beside_silent_neighbours(|| {
        let (mut foreseen, mut fulfilled) = (Foreseen::load(), Fulfilled::default());
        for (course, frames) in corpus::kept() {
            memory::write(&mut foreseen.kernel, &corpus::setup());
            for frame in frames {
                foreseen.fulfil(&frame, Some(Tables::Small), &mut fulfilled, &format!("{course:?}"));
                memory::fill_total_limit(&foreseen.kernel);
            }
        }
        assert!(fulfilled.by_server > 0);
    })
}
