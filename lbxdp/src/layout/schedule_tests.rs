//! Whole services, laid out and scheduled: connections go where Linux has sent them.
//!
//! `tests/data/scheduling.json` was recorded from Linux 6.1: servers 10.0.0.101, .102, .103 were added in this order to a
//! service on 10.0.0.100; a digit is the server of a connection, `-` a refusal. `short`: one connection after the other
//! was opened and closed, `held`: all stayed open, both from 10.0.0.10, from one port after the other. `by_client`: each
//! client opened and closed two. `by_dest`: two to each of 24 addresses, through one service by mark that was edited from
//! scheduler to scheduler.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use lbxdp_common::Ticks;
use lbxdp_common::schedule::cache::CACHE_CELLS;
use lbxdp_common::schedule::{self, CacheKey, Pool};
use lbxdp_common::server::Load;
use lbxdp_common::service::{SERVICE_CELLS, ServiceFlags, narrowed};
use lbxdp_common::walk::Walker;
use serde::Deserialize;

use super::tests::{Played, key, resolved};
use super::*;

#[derive(Deserialize)]
struct Recorded {
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    scheduler: String,
    weights: [u32; 3],
    how: String,
    first_source_port: Option<u16>,
    #[serde(default)]
    clients: BTreeMap<Ipv4Addr, String>,
    #[serde(default)]
    dests: BTreeMap<Ipv4Addr, String>,
    sequence: String,
    virtual_port: Option<u16>,
}

/// A director with one service, in ordinary memory.
struct Director {
    layout: Layout,
    played: Played,
    state: State,
    port: u16,
    row: [AtomicU64; SERVICE_CELLS],
    turn: [AtomicU64; 1],
    loads: Vec<AtomicU64>,
    dice: AtomicU32,
    now: AtomicU32,
    cache: RefCell<BTreeMap<CacheKey, &'static [AtomicU64]>>,
}

const SIZES: [u32; 3] = [16, 2, 16384];
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

impl Director {
    fn new(port: u16, scheduler: Scheduler, flags: ServiceFlags) -> Self {
        let mut new = Self {
            layout: Layout::new(SIZES[0], SIZES[1], SIZES[2]),
            played: Played::new(SIZES),
            state: State::default(),
            port,
            row: Default::default(),
            turn: Default::default(),
            loads: std::iter::repeat_with(AtomicU64::default).take(SIZES[0] as usize).collect(),
            dice: AtomicU32::new(1),
            now: AtomicU32::default(),
            cache: RefCell::default(),
        };
        let options = Options { sched_flags: flags.0, ..Options::of(scheduler) };
        new.state.services.insert(key(port), Service { options, servers: Vec::new() });
        new.install();
        new
    }

    /// A server is added to the service, or its weight is another.
    fn put(&mut self, last: u8, weight: u32) {
        let address = [10, 0, 0, last].into();
        let server = Server::new(address, self.port, lbxdp_common::Forward::Direct, weight);
        let service = self.state.services.get_mut(&key(self.port)).expect("it is there");
        match service.servers.iter_mut().find(|known| known.address == server.address) {
            Some(known) => *known = server,
            None => service.servers.insert(0, server),
        }
        self.install();
    }

    fn edit(&mut self, scheduler: Scheduler) {
        self.state.services.get_mut(&key(self.port)).expect("it is there").options.scheduler = scheduler;
        self.install();
    }

    fn install(&mut self) {
        self.layout.readers_are_gone();
        for write in self.layout.change(&self.state, &resolved, Instant::now()).expect("room") {
            self.played.play(&write);
            if let Write::Turn { change, .. } = &write {
                let [turn] = &mut self.turn;
                *turn.get_mut() = change.apply(*turn.get_mut());
            }
        }
        self.row = self.played.service(0).cells().map(AtomicU64::new);
    }

    /// The last digit of the server that a connection goes to.
    fn connect(&self, client: Ipv4Addr, port: u16, vip: Ipv4Addr, is_active: bool) -> Option<u8> {
        let id = schedule::pick(&self, 0, client.into(), vip.into(), port)?;
        self.loads[id.row() as usize].fetch_add(Load::gained(is_active), Ordering::Relaxed);
        let [.., last] = narrowed(self.played.server(id.row()).address);
        Some(last)
    }
}

impl Walker for &Director {}

impl<'a> Pool for &'a Director {
    type Shared = &'a [AtomicU64];

    fn service_row(&self, index: u32) -> Option<Self::Shared> {
        (index == 0).then_some(&self.row[..])
    }

    fn member_cell(&self, index: u32) -> Option<u64> {
        Some(self.played.member_cell(index))
    }

    fn load(&self, server: ServerId) -> Load {
        Load(self.loads[server.row() as usize].load(Ordering::Relaxed))
    }

    fn turn(&self, service: u32) -> Option<Self::Shared> {
        (service == 0).then_some(&self.turn[..])
    }

    fn now(&self) -> Ticks {
        Ticks(self.now.load(Ordering::Relaxed))
    }

    fn lblcr_expiration(&self) -> u32 {
        86_400
    }

    fn cached(&self, key: CacheKey) -> Option<Self::Shared> {
        self.cache.borrow().get(&key).copied()
    }

    fn cache(&self, key: CacheKey) -> Option<Self::Shared> {
        let new = || &Box::leak(Box::new([0; CACHE_CELLS].map(AtomicU64::new)))[..];
        Some(self.cache.borrow_mut().entry(key).or_insert_with(new))
    }

    fn random(&self) -> u32 {
        self.dice.fetch_add(0x9e37_79b9, Ordering::Relaxed)
    }
}

/// The scheduler and the flags of `-s`, as recorded.
fn wanted(words: &str) -> (Scheduler, ServiceFlags) {
    let (name, flag) = words.split_once(" -b ").unwrap_or((words, ""));
    let flags = if flag.ends_with("-port") { ServiceFlags::PORT } else { ServiceFlags::default() };
    (Scheduler::from_name(name).expect("a scheduler of ours"), flags)
}

fn digit(server: Option<u8>) -> char {
    server.map_or('-', |last| char::from(b'0' + last % 10))
}

#[test]
fn connections_go_where_linux_sends_them() {
    let recorded: Recorded =
        serde_json::from_str(include_str!("../../tests/data/scheduling.json")).expect("as recorded");
    let (mut reproduced, mut by_mark): (usize, Option<Director>) = (0, None);
    for run in &recorded.runs {
        let (scheduler, flags) = wanted(&run.scheduler);
        let new = || {
            let mut director = Director::new(run.virtual_port.unwrap_or(9999), scheduler, flags);
            for (last, weight) in (101..).zip(run.weights) {
                director.put(last, weight);
            }
            director
        };
        let sequence: String = match run.how.as_str() {
            "short" | "held" => {
                let (director, first) = (new(), run.first_source_port.expect("a port"));
                let ports = (first..).take(run.sequence.len());
                ports.map(|port| digit(director.connect(CLIENT, port, VIP, run.how == "held"))).collect()
            }
            // From which ports was not recorded.
            "by_client" if flags.has(ServiceFlags::PORT) => continue,
            "by_client" => {
                let (director, twice) = (new(), run.clients.keys().flat_map(|client| [client, client]));
                twice.map(|client| digit(director.connect(*client, 0, VIP, false))).collect()
            }
            _ => {
                let director = by_mark.get_or_insert_with(new);
                director.edit(scheduler);
                let twice = run.dests.keys().flat_map(|vip| [vip, vip]);
                twice.map(|vip| digit(director.connect(CLIENT, 0, *vip, false))).collect()
            }
        };
        assert_eq!(sequence, run.sequence, "{} {}", run.scheduler, run.how);
        reproduced += 1;
    }
    assert_eq!((reproduced, recorded.runs.len()), (36, 38));
}
