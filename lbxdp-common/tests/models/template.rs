//! Templates of persistence: CPUs that open connections of one client at once, while the daemon carries its template or
//! takes it out. Connections themselves are left out: the table's own models have them.

use std::sync::atomic::AtomicU64;

use lbxdp_common::connection::{Key, Word};
use lbxdp_common::counters::ServerCounters;
use lbxdp_common::fragment::FragmentKey;
use lbxdp_common::mark::MarkRun;
use lbxdp_common::overload::{LoadRow, TEMPLATES};
use lbxdp_common::schedule::{CacheKey, Pool};
use lbxdp_common::server::{LOAD_CELLS, Load, ServerFlags, ServerId, ServerRow};
use lbxdp_common::service::{Persistence, ServiceKey, ServiceRow};
use lbxdp_common::settings::{Rules, Settings};
use lbxdp_common::state::{Event, State, Timer};
use lbxdp_common::steer::{ARRIVAL_CELLS, Arrival, Desk, Ways, World};
use lbxdp_common::table::{Buckets, Hash, Seed, Shape, WAYS};
use lbxdp_common::template::key_of;
use lbxdp_common::tend::{Errand, tend};
use lbxdp_common::walk::Walker;
use lbxdp_common::{Notice, Overflow, Ticks, V4, Verdict};
use loom::thread;

use crate::memory::{Bound, FreeFor, NOW, Other, Place, Row, Table, check};

const SECONDS: u32 = 10;
const HERTZ: u32 = 100;
const LIFETIME: u32 = SECONDS * HERTZ;
const CLIENT: [u8; 4] = [192, 0, 2, 1];
/// Servers: 1 and 2 are those of the CPUs, 3 has been deleted.
const GONE: u8 = 3;
const SERVICE: ServiceKey = ServiceKey::address([10, 0, 0, 100], [0, 80], 6);
const PERSISTENCE: Persistence = Persistence { seconds: SECONDS, netmask: [255; 4] };

fn template() -> Key {
    key_of(SERVICE, PERSISTENCE, CLIENT)
}

fn word(server: u8, due: Ticks) -> Word {
    Word::live(ServerId(server.into()), State::TEMPLATE_ASSURED, due)
}

/// A free place, and the template in a place.
fn free() -> Place {
    FreeFor(template().cells()[1], LIFETIME.into())
}

fn taken(word: Word) -> Place {
    Bound(template(), word, LIFETIME.into())
}

/// A secret by which the template belongs into the second of two buckets.
fn seed() -> Seed {
    let moves = |seed: &Seed| Shape::steady(2).home_of(Hash::of(template(), *seed));
    let seeds = (1..).map(|offset| Seed { offset, multiplier: 0x9e37_79b9_7f4a_7c15 });
    seeds.into_iter().find(|seed| (moves(seed).first, moves(seed).second) == (1, 1)).unwrap()
}

/// The server in the number of a choice.
fn server_of(choice: u64) -> ServerId {
    ServerId(u32::try_from(choice & u64::from(ServerId::MASK)).unwrap())
}

/// A director with one service, of which only templates and their counts can change.
#[derive(Clone, Copy)]
struct Director {
    table: Table,
    settings: Row,
    service: Row,
    servers: [Row; 4],
    loads: [Row; 4],
    desk: Row,
}

/// What lies on the desk of each CPU: a packet of the client.
fn arrival() -> [u64; ARRIVAL_CELLS] {
    let cells = [const { AtomicU64::new(0) }; ARRIVAL_CELLS];
    let key = Key { client: CLIENT, kind: Key::CONNECTION, ..template() };
    let event = Event::from_raw(0);
    let hash = Hash(0);
    Desk(&cells[..]).put::<V4>(Arrival {
        cells: key.cells(),
        event,
        hash,
        now: NOW,
        ip_bytes: 40,
        may_be_known: false,
    });
    cells.map(AtomicU64::into_inner)
}

impl Director {
    fn new(buckets: &[[Place; WAYS]], shape: Shape, seed: Seed) -> Self {
        let templates = |number: u8| {
            let there = buckets.iter().flatten().filter_map(|place| match place {
                Bound(_, word, _) => Some(word.server()),
                _ => None,
            });
            there.filter(|server| *server == ServerId(number.into())).count() as u64
        };
        let server = |number: u8| {
            let flags = if number == GONE { ServerFlags::default() } else { ServerFlags::AVAILABLE };
            ServerRow { id: number.into(), flags, ..ServerRow::default() }
        };
        let load = |number: u8| {
            let mut cells = [0; LOAD_CELLS];
            cells[TEMPLATES] = templates(number);
            Row::fixed_but(TEMPLATES, &cells)
        };
        let settings = Settings {
            seed_offset: seed.offset,
            seed_multiplier: seed.multiplier,
            shape: shape.0,
            refresh: 1,
            rules: Rules::default(),
            timeouts: [LIFETIME; Timer::COUNT],
            reusable_tcp: 0,
            reusable_sctp: 0,
            hertz: HERTZ,
            lblcr_expiration: 0,
            tunnel_spread: 0,
            shape_v6: Shape::steady(1).0,
            zero: 0,
        };
        let service = ServiceRow { persistence: PERSISTENCE, key: SERVICE, ..ServiceRow::default() };
        Self {
            table: Table::of(buckets),
            settings: Row::fixed(&settings.cells()),
            service: Row::fixed(&service.cells()),
            servers: [0, 1, 2, 3].map(|number| Row::fixed(&server(number).cells())),
            loads: [0, 1, 2, 3].map(load),
            desk: Row::fixed(&arrival()),
        }
    }

    /// One bucket.
    fn small(places: [Place; WAYS]) -> Self {
        Self::new(&[places], Shape::steady(1), seed())
    }

    /// What a CPU does for a new connection of the client, as `open` does it, whose scheduler would have it go to `server`.
    fn open(self, server: u8) -> ServerId {
        let known = Ways::consult(&self, 0, 0);
        if known != 0 {
            return server_of(known);
        }
        let place = self.claim(Hash(self.template(0)));
        let choice = self.remember(place, 0, 0, server.into());
        server_of(choice)
    }

    /// The templates there are.
    fn live(self) -> Vec<Word> {
        self.table.live().into_iter().filter(|(key, _)| *key == template()).map(|(_, word)| word).collect()
    }

    /// There is one template, it leads to `server`, it is counted there and only there, and no place is left half taken.
    fn assert_one(self, server: ServerId) {
        let live = self.live();
        let [word] = live[..] else { panic!("{} templates", live.len()) };
        assert_eq!(word.server(), server);
        for number in 0..4 {
            let counted = LoadRow(self.loads[number]).templates();
            assert_eq!(counted, u64::from(number == server.row() as usize), "server {number}");
        }
        let unfinished = self.table.slots().filter(|slot| slot.word().0 != 0 && !slot.word().is_live());
        assert_eq!(unfinished.count(), 0, "a place was not given back");
    }
}

impl Walker for Director {}

impl Buckets for Director {
    type Bucket = Row;
    const PATIENCE: u32 = Table::PATIENCE;

    fn bucket(&self, index: u32) -> Option<Row> {
        self.table.bucket(index)
    }
}

impl Pool for Director {
    type Shared = Row;

    fn service_row(&self, _: u32) -> Option<Row> {
        Some(self.service)
    }

    fn member_cell(&self, _: u32) -> Option<u64> {
        None
    }

    fn load(&self, server: ServerId) -> Load {
        LoadRow(self.loads[server.row() as usize]).load()
    }

    fn turn(&self, _: u32) -> Option<Row> {
        None
    }

    fn random(&self) -> u32 {
        0
    }

    fn now(&self) -> Ticks {
        NOW
    }

    fn lblcr_expiration(&self) -> u32 {
        0
    }

    fn cached(&self, _: CacheKey) -> Option<Row> {
        None
    }

    fn cache(&self, _: CacheKey) -> Option<Row> {
        None
    }
}

impl World for Director {
    type Sent = Verdict;

    fn sent(&self, verdict: Verdict) -> Verdict {
        verdict
    }

    type Row = Row;

    fn settings(&self) -> Option<Row> {
        Some(self.settings)
    }

    fn vip_bucket(&self, _: u32) -> Option<Row> {
        None
    }

    fn vip_v6_bucket(&self, _: u32) -> Option<Row> {
        None
    }

    fn source_bucket(&self, _: u32) -> Option<Row> {
        None
    }

    fn source_v6_bucket(&self, _: u32) -> Option<Row> {
        None
    }

    fn fragment(&self, _: FragmentKey) -> Option<Row> {
        None
    }

    fn new_fragment(&self, _: FragmentKey) -> Option<Row> {
        None
    }

    fn vlan(&self, _: u32) -> Option<[u64; 2]> {
        None
    }

    fn client_hop(&self, _: u32) -> Option<Row> {
        None
    }

    fn wanted(&self, _: u32) -> Option<Row> {
        None
    }

    fn desk(&self) -> Option<Row> {
        Some(self.desk)
    }

    fn service(&self, _: ServiceKey) -> Option<u32> {
        Some(0)
    }

    fn service_hint(&self, _: u32) -> Option<Row> {
        None
    }

    fn server_row(&self, server: ServerId) -> Option<Row> {
        self.servers.get(server.row() as usize).copied()
    }

    fn load_row(&self, server: ServerId) -> Option<Row> {
        self.loads.get(server.row() as usize).copied()
    }

    fn ingress_mac(&self) -> u64 {
        0
    }

    fn ingress_ifindex(&self) -> u32 {
        0
    }

    fn pressure(&self, _: u32) -> Option<Row> {
        None
    }

    fn limit(&self, _: u32) -> Option<Row> {
        None
    }

    fn errand(&self, _: u32) -> Option<Errand> {
        None
    }

    fn mark_row(&self, _: u32) -> Option<Row> {
        None
    }

    fn note(&self, overflow: Overflow) {
        panic!("there was room: {overflow:?}");
    }

    fn count_notice(&self, _: Notice) {}

    fn count(&self, _: ServerId, _: ServerCounters) -> u64 {
        0
    }
}

impl Ways<V4> for Director {
    fn mark_run(&self, _: V4) -> Option<MarkRun> {
        None
    }
}

#[test]
fn two_first_connections_of_a_client_go_to_one_server_by_one_template() {
    check(3, || {
        let director = Director::small([free(), Other, free(), Other]);
        let other = thread::spawn(move || director.open(1));
        let (mine, theirs) = (director.open(2), other.join().unwrap());
        assert_eq!(mine, theirs);
        director.assert_one(mine);
    });
}

#[test]
fn two_connections_give_a_template_without_a_server_the_same_new_one() {
    check(3, || {
        let director = Director::small([taken(word(GONE, NOW + 9)), Other, free(), free()]);
        let other = thread::spawn(move || director.open(1));
        let (mine, theirs) = (director.open(2), other.join().unwrap());
        assert_eq!(mine, theirs);
        director.assert_one(mine);
    });
}

#[test]
fn a_template_that_is_carried_leads_its_connections_at_every_moment() {
    let seed = seed();
    check(3, move || {
        let shape = Shape::new(2, 1);
        let director = Director::new(
            &[[Other, taken(word(1, NOW + 9)), Other, Other], [free(), Other, Other, Other]],
            shape,
            seed,
        );
        let packet = thread::spawn(move || Ways::consult(&director, 0, 0));
        tend(&director, Errand::of(0), 1);
        assert_eq!(packet.join().unwrap(), 1);
        director.assert_one(ServerId(1));
    });
}

#[test]
fn a_template_is_never_taken_out_and_used_at_the_same_time() {
    check(3, || {
        let director = Director::small([taken(word(1, NOW)), free(), Other, Other]);
        let packet = thread::spawn(move || director.open(2));
        // Idle when the daemon looked.
        tend(&director, Errand::of(0).with_idle_template(0), 0);
        director.assert_one(packet.join().unwrap());
    });
}
