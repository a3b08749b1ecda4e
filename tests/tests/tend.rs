//! What the daemon has done to entries: templates that are due, or stand in the way of growth, and what else depends on
//! a connection's end.

use lbxdp_common::connection::{Key, Word};
use lbxdp_common::overload::LoadRow;
use lbxdp_common::server::ServerFlags;
use lbxdp_common::settings::Rules;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::table::{Shape, WAYS};
use lbxdp_common::tend::{Errand, tend};
use lbxdp_common::{Cells, Protocol, Scheduler, V4};
use lbxdp_tests::cases::frame::{forwarded, tcp};
use lbxdp_tests::cases::memory::{self, BUCKETS, HERTZ, bond, connection, snapshot};
use lbxdp_tests::cases::setup::{Setup, key, template_key};
use lbxdp_tests::cases::{Host, Runner, Table};

use Protocol::{Tcp, Udp};
use Scheduler::RoundRobin;

const SECONDS: u32 = 300;
const ONE: [u8; 4] = [255; 4];
/// Ticks until a template of these tests is due.
const SOON: u32 = 1000;

/// The scheduler begins with server 2.
fn http() -> Setup {
    Setup::new().service(Tcp, 80, RoundRobin, &[(2, 1), (3, 1)]).persistent(SECONDS, ONE)
}

fn template() -> Key {
    template_key(Tcp, 80)
}

/// A template to server 1 that is due in [`SOON`].
fn known() -> Setup {
    http().template(template(), 1, SECONDS, SOON.cast_signed())
}

fn host(setup: &Setup) -> Host {
    let mut host = Host::default();
    memory::write(&mut host, setup);
    host
}

/// Where an entry stands.
fn place_of(host: &Host, key: Key) -> (u32, usize) {
    let entries = snapshot(host).entries;
    let at = entries.iter().position(|(of, word)| *of == key && word.is_live()).expect("an entry");
    (u32::try_from(at / WAYS).expect("few buckets"), at % WAYS)
}

/// What the daemon knows of a template.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// A connection of it lives.
    Held,
    Idle,
}

/// An errand for the template, as it stands now.
fn errand(host: &Host, known: Known) -> (Errand, usize) {
    let (bucket, way) = place_of(host, template());
    let errand = Errand::of(bucket);
    (if known == Known::Idle { errand.with_idle_template(way) } else { errand }, way)
}

fn carry_out(host: &Host, (errand, way): (Errand, usize)) {
    tend::<V4, _>(&host, errand, way);
    memory::assert_loads_agree(host);
}

fn tend_all(host: &Host) {
    for bucket in 0..BUCKETS {
        for way in 0..WAYS {
            tend::<V4, _>(&host, Errand::of(bucket), way);
        }
    }
    memory::assert_loads_agree(host);
}

fn load(host: &Host, server: u32) -> LoadRow<&[std::sync::atomic::AtomicU64]> {
    LoadRow(host.row(Table::Loads, server).expect("a row"))
}

fn due_in(host: &mut Host) -> i32 {
    let now = host.now();
    connection(host, template()).expect("a template").due().since(now)
}

/// Opens a connection; the server it goes to.
fn server_of_syn(host: &mut Host, port: u16) -> u8 {
    let before = tcp(port, 80).syn().bytes();
    let mut frame = before.clone();
    host.run(&mut frame);
    let macs = frame[..12].try_into().expect("two addresses");
    assert_eq!(frame, forwarded(&before, macs), "it was not forwarded");
    macs[5]
}

const MINUTE: i32 = 60 * HERTZ.cast_signed();

#[test]
fn an_overdue_template_waits_a_minute_for_its_connections_and_lasts_a_minute_from_then_on() {
    let mut host = host(&known());
    host.pass(SOON);
    assert_eq!(due_in(&mut host), 0);
    carry_out(&host, errand(&host, Known::Held));
    assert_eq!((due_in(&mut host), bond(&host, template())), (MINUTE, Some(u64::from(60 * HERTZ))));
    assert_eq!(connection(&host, template()).map(Word::state), Some(State::TEMPLATE_ASSURED));
    host.pass(HERTZ);
    assert_eq!(server_of_syn(&mut host, 5), 1);
    assert_eq!(due_in(&mut host), MINUTE, "a new connection gives it no more than that");
    host.pass(60 * HERTZ);
    carry_out(&host, errand(&host, Known::Held));
    assert_eq!(due_in(&mut host), MINUTE);
    host.pass(60 * HERTZ);
    carry_out(&host, errand(&host, Known::Idle));
    assert_eq!(connection(&host, template()), None);
}

#[test]
fn an_idle_template_goes_when_it_is_overdue_and_not_before() {
    let mut host = host(&known());
    host.pass(SOON - 1);
    carry_out(&host, errand(&host, Known::Idle));
    assert_eq!((due_in(&mut host), load(&host, 1).templates()), (1, 1));
    host.pass(1);
    carry_out(&host, errand(&host, Known::Idle));
    assert_eq!((connection(&host, template()), load(&host, 1).templates()), (None, 0));
    assert_eq!(server_of_syn(&mut host, 5), 2, "the scheduler has the word again");
    assert_eq!(load(&host, 2).templates(), 1);
}

#[test]
fn an_errand_names_one_way_of_a_bucket() {
    let mut host = host(&known());
    host.pass(SOON);
    let (bucket, way) = place_of(&host, template());
    let others = (0..WAYS).filter(|other| *other != way);
    let errand = others.fold(Errand::of(bucket), Errand::with_idle_template);
    carry_out(&host, (errand, way));
    assert_eq!(due_in(&mut host), MINUTE, "not this one was idle");
}

#[test]
fn a_template_that_was_renewed_between_the_look_and_the_errand_stays() {
    let mut host = host(&known());
    host.pass(SOON);
    let seen_idle = errand(&host, Known::Idle);
    assert_eq!(server_of_syn(&mut host, 5), 1);
    carry_out(&host, seen_idle);
    assert_eq!(due_in(&mut host), i32::try_from(SECONDS * HERTZ).expect("a short time"));
    assert_eq!(load(&host, 1).templates(), 1);
}

#[test]
fn growth_carries_templates_with_their_bonds() {
    let (old, new) = (BUCKETS / 3, BUCKETS);
    let clients = 1..40;
    let of = |client: u8| Key { client: [10, 0, 1, client], ..template() };
    let setup = clients.clone().fold(http().shape(Shape::new(new, old)), |setup, client| {
        setup.template(of(client), client % 4 + 1, u32::from(client), 60_000)
    });
    let host = host(&setup);
    let before: Vec<_> = clients.clone().map(|client| connection(&host, of(client))).collect();
    tend_all(&host);
    let settings = host.row(Table::Settings, 0).expect("a row");
    settings.store(lbxdp_common::settings::SHAPE_CELL, Shape::steady(new).0);
    assert_eq!(clients.clone().map(|client| connection(&host, of(client))).collect::<Vec<_>>(), before);
    for client in clients {
        assert_eq!(bond(&host, of(client)), Some(u64::from(client) * u64::from(HERTZ)), "client {client}");
    }
    assert_eq!((1..=4).map(|server| load(&host, server).templates()).sum::<u64>(), 39);
}

#[test]
fn a_template_of_a_deleted_server_goes_only_if_the_rules_say_so() {
    for (rules, stays) in [(Rules::default(), true), (Rules::EXPIRE_NODEST_CONN, false)] {
        let setup = known().rules(rules).server(1, |row| row.flags = ServerFlags::default());
        let host = host(&setup);
        carry_out(&host, errand(&host, Known::Held));
        assert_eq!(connection(&host, template()).is_some(), stays);
        assert_eq!(load(&host, 1).templates(), u64::from(stays));
    }
}

#[test]
fn a_server_is_relieved_by_connections_that_are_taken_out() {
    let connection = |setup: Setup, port| setup.connection(key(Udp, port, 9), 2, State::UDP, 1000);
    let setup = http().thresholds(2, 3, 2);
    let mut host = host(&connection(connection(setup, 1), 2));
    assert_eq!(server_of_syn(&mut host, 5), 2);
    assert!(load(&host, 2).load().is_overloaded());
    tend_all(&host);
    assert!(load(&host, 2).load().is_overloaded(), "all of them live");
    host.pass(1000);
    tend_all(&host);
    assert_eq!((load(&host, 2).load().total(), load(&host, 2).load().is_overloaded()), (1, false));
    assert_eq!(memory::connection(&host, key(Tcp, 5, 80)).map(Word::state), {
        Some(State::tcp(TcpState::SynReceived))
    });
}

/// `ip_vs_unbind_dest` judges a template's end as a connection's.
#[test]
fn a_server_is_relieved_by_a_template_that_is_taken_out() {
    let mut host = host(&known().thresholds(1, 3, 2).overloaded(1));
    host.pass(SOON);
    carry_out(&host, errand(&host, Known::Idle));
    assert!(!load(&host, 1).load().is_overloaded());
}
