//! Explanations of what happens on a director without a kernel.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use lbxdp_common::address::Address;
use lbxdp_common::client_hop::{ClientHop, WayOut};
use lbxdp_common::fragment::FragmentKey;
use lbxdp_common::mark::MarkRun;
use lbxdp_common::schedule::{CacheKey, Pool};
use lbxdp_common::service::ServiceKey;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::steer::{Stages, Ways, World};
use lbxdp_common::wire::Buffer;
use lbxdp_common::{Fate, Protocol, Scheduler, Ticks, Verdict};
use lbxdp_tests::cases::setup::{Setup, key, template_key};
use lbxdp_tests::cases::{self, DIRECTOR_MAC, Host, IFINDEX, OTHER_PORT, Runner, Table, frame, memory};
use serde_json::Value;

use super::document::json;
use super::rehearsal::{Note, Performance, Rehearsal, Source};
use super::story::{Explanation, InterfaceNames, tell};
use super::text::text;
use crate::cli::paint::Paint;
use crate::daemon::load::Interface;
use crate::tables::CellTable;
use crate::tables::pins::Instance;

/// A host's tables, to be looked at.
struct OfHost<'a>(&'a Host);

fn copied(row: &[AtomicU64]) -> Vec<u64> {
    row.iter().map(|cell| cell.load(Ordering::Acquire)).collect()
}

impl Source for OfHost<'_> {
    fn row(&self, table: CellTable, index: u32) -> Option<Vec<u64>> {
        let table = match table {
            CellTable::Wanted => return World::wanted(&self.0, index).map(copied),
            CellTable::Settings => Table::Settings,
            CellTable::Vips => Table::Vips,
            CellTable::VipsV6 => Table::VipsV6,
            CellTable::Sources => Table::Sources,
            CellTable::SourcesV6 => Table::SourcesV6,
            CellTable::Connections => Table::Connections,
            CellTable::ConnectionsV6 => Table::ConnectionsV6,
            CellTable::Servers => Table::Servers,
            CellTable::Loads => Table::Loads,
            CellTable::Services => Table::Services,
            CellTable::Turns => Table::Turns,
            CellTable::Members => Table::Members,
            CellTable::Pressure => Table::Pressure,
            CellTable::Limits => Table::Limits,
            CellTable::MarkRules => Table::MarkRules,
            CellTable::ServiceHints => Table::ServiceHints,
        };
        Runner::row(self.0, table, index).map(copied)
    }

    fn service(&self, key: ServiceKey) -> Option<u32> {
        World::service(&self.0, key)
    }

    fn mark_run<A: Address>(&self, destination: A) -> Option<MarkRun> {
        Ways::<A>::mark_run(&self.0, destination)
    }

    fn cached(&self, key: CacheKey) -> Option<Vec<u64>> {
        Pool::cached(&self.0, key).map(copied)
    }

    fn fragment(&self, key: FragmentKey) -> Option<Vec<u64>> {
        World::fragment(&self.0, key).map(copied)
    }

    fn vlan(&self, ifindex: u32) -> Option<[u64; 2]> {
        World::vlan(&self.0, ifindex)
    }

    fn port(&self, _: u16) -> Option<u32> {
        Some(OTHER_PORT.1)
    }

    fn client_hop(&self, index: u32) -> Option<Vec<u64>> {
        World::client_hop(&self.0, index).map(copied)
    }

    fn now(&self) -> Ticks {
        Pool::now(&self.0)
    }

    fn random(&self) -> u32 {
        Pool::random(&self.0)
    }

    fn route<A: Address>(&self, _: u32, from: A, to: A) -> Result<(WayOut, u32), u32> {
        let row = ClientHop(World::client_hop(&self.0, 0).expect("a row"));
        let mut memory = [0; 64];
        let frame = &mut Buffer::new(&mut memory, 0);
        // A host without ways answers neither by the frame nor into the row.
        let answer = Stages::<&mut Buffer<'_>>::route(&self.0, &frame, from, to, row);
        answer.failure().map_or_else(|| Ok((row.way(), answer.mtu())), Err)
    }
}

fn interface() -> Interface {
    Interface { name: "eth0".into(), ifindex: IFINDEX, mac: DIRECTOR_MAC }
}

fn names() -> InterfaceNames {
    [(IFINDEX, "eth0".to_owned()), (OTHER_PORT.1, "eth1".to_owned())].into()
}

fn foretold(host: &Host, bytes: &[u8]) -> (Performance, Explanation) {
    let rehearsal = Rehearsal::new(OfHost(host), interface());
    let performance = rehearsal.perform(bytes);
    let explanation = tell(&rehearsal, &names(), bytes, &performance);
    (performance, explanation)
}

/// A tunnel's outer header has a number that is counted where the packet is sent.
fn without_number(performance: &Performance, bytes: &[u8], frame: Vec<u8>) -> Vec<u8> {
    let is_tunnelled = matches!(performance.decided, Ok(Verdict::Transmit | Verdict::Redirect(_)))
        && performance.frame.len() > bytes.len();
    if is_tunnelled { frame::settled(frame) } else { frame }
}

/// All frames of all cases: what is foretold is what `steer` then does, and what is told of it agrees with itself.
#[test]
fn every_case_is_foretold_on_the_host() {
    let mut host = Host::default();
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases::all() {
        memory::write(&mut host, &case.setup);
        for (number, step) in case.steps.iter().enumerate() {
            let at = format!("{}, frame {number}", case.name);
            let before = memory::snapshot(&host);
            let (performance, explanation) = foretold(&host, &step.frame);
            let after = memory::snapshot(&host);
            assert_eq!(
                (before.cells, before.entries),
                (after.cells, after.entries),
                "{at}: nothing is written"
            );
            let mut frame = step.frame.clone();
            host.run(&mut frame);
            assert_eq!(host.last(), Some(performance.decided), "{at}");
            let expected = without_number(&performance, &step.frame, frame);
            let foretold = without_number(&performance, &step.frame, performance.frame.clone());
            assert_eq!(foretold, expected, "{at}");
            assert_agrees(&performance, &explanation, &at);
            *told.entry(explanation.outcome.name()).or_default() += 1;
        }
    }
    let outcomes: Vec<_> = told.keys().copied().collect();
    assert_eq!(outcomes, ["answered", "dropped", "forwarded", "held", "local", "passed"], "{told:?}");
}

/// What is told must not contradict what was seen.
fn assert_agrees(performance: &Performance, explanation: &Explanation, at: &str) {
    let is = |wanted: fn(&Note) -> bool| performance.notes.iter().any(wanted);
    let reason = match performance.decided {
        Ok(Verdict::Answered(reason)) | Err(reason) => Some(reason),
        Ok(_) => None,
    };
    assert_eq!(explanation.reason, reason, "{at}");
    let is_passed = performance.decided.err().is_some_and(|reason| reason.fate() == Fate::Pass);
    assert_eq!(explanation.outcome.name() == "passed", is_passed, "{at}");
    let was_chosen = is(|note| matches!(note, Note::Scheduled(_) | Note::Hashed(..) | Note::Consulted(..)));
    let goes_on = is(|note| matches!(note, Note::Counted(_, more) if more.connections == 0));
    let is_piece = is(|note| matches!(note, Note::Touched(super::rehearsal::Place::Fragment(_))));
    if goes_on && !was_chosen && !is_piece {
        assert!(
            explanation.is_known,
            "{at}: a packet that was counted for a server without a choice is a known one's: {explanation:#?}"
        );
    }
    for step in &explanation.steps {
        assert!(!step.words.is_empty() && !step.words.contains('\n'), "{at}: {step:?}");
    }
}

/// The text of a frame's explanation.
fn text_of(setup: &Setup, bytes: &[u8]) -> String {
    let mut host = Host::default();
    memory::write(&mut host, setup);
    text(&foretold(&host, bytes).1, false, Paint::Plain)
}

fn two_servers() -> Setup {
    Setup::new().service(Protocol::Tcp, 80, Scheduler::WeightedLeastConnection, &[(2, 1), (1, 1)])
}

#[test]
fn a_new_connection_is_told() {
    assert_eq!(
        text_of(&two_servers().thresholds(2, 1, 0).overloaded(2), &frame::tcp(40_000, 80).syn().bytes()),
        "\
tcp 10.0.0.10:40000 -> 10.0.0.100:80, flags S, 45 bytes, ttl 64
arrived      by eth0, for its MAC address 02:00:00:00:00:01
vip          10.0.0.100 is a VIP
connection   none of these addresses and ports is known
service      tcp/10.0.0.100:80: wlc, 2 servers
scheduler    wlc takes the fewest connections for the weight (an active one counts as 256 inactive ones): 10.0.0.101
\x20            10.0.0.102  weight 1, 0 active, 0 inactive, cannot be chosen: it has reached its upper threshold
\x20            10.0.0.101  weight 1, 0 active, 0 inactive <- chosen
server       10.0.0.101 by VS/DR, a new connection
connection   begins: SYN_RECV, expires in 60 s
way          next hop 02:00:00:00:01:01 by eth0, packets of unknown size
change       10.0.0.101: from 0 active, 0 inactive, 0 templates to 1 active, 0 inactive, 0 templates
verdict      FORWARDED, back out by eth0
frame        02:00:00:00:00:01 -> 02:00:00:00:01:01
\x20            tcp 10.0.0.10:40000 -> 10.0.0.100:80, flags S, 45 bytes, ttl 63
"
    );
}

#[test]
fn a_known_connection_that_ends_is_told() {
    let setup = two_servers().connection(
        key(Protocol::Tcp, 40_000, 80),
        1,
        State::tcp(TcpState::Established),
        6_000_000,
    );
    assert_eq!(
        text_of(&setup, &frame::tcp(40_000, 80).fin().ack().bytes()),
        "\
tcp 10.0.0.10:40000 -> 10.0.0.100:80, flags AF, 45 bytes, ttl 64
arrived      by eth0, for its MAC address 02:00:00:00:00:01
vip          10.0.0.100 is a VIP
connection   10.0.0.10:40000 -> 10.0.0.100:80 is known: ESTABLISHED, expires in 60 s, to 10.0.0.101
server       10.0.0.101 by VS/DR
connection   goes from ESTABLISHED to FIN_WAIT, expires in 120 s
way          next hop 02:00:00:00:01:01 by eth0, packets of unknown size
change       10.0.0.101: from 1 active, 0 inactive, 0 templates to 0 active, 1 inactive, 0 templates
verdict      FORWARDED, back out by eth0
frame        02:00:00:00:00:01 -> 02:00:00:00:01:01
\x20            tcp 10.0.0.10:40000 -> 10.0.0.100:80, flags AF, 45 bytes, ttl 63
"
    );
}

#[test]
fn a_client_with_a_template_is_told() {
    let setup =
        two_servers().persistent(300, [255; 4]).template(template_key(Protocol::Tcp, 80), 1, 300, 900_000);
    assert_eq!(
        text_of(&setup, &frame::tcp(40_000, 80).syn().bytes()),
        "\
tcp 10.0.0.10:40000 -> 10.0.0.100:80, flags S, 45 bytes, ttl 64
arrived      by eth0, for its MAC address 02:00:00:00:00:01
vip          10.0.0.100 is a VIP
connection   none of these addresses and ports is known
service      tcp/10.0.0.100:80: wlc, 2 servers, persistent for 300 s
template     the client's (10.0.0.10) leads to 10.0.0.101, expires in 9 s
server       10.0.0.101 by VS/DR, a new connection
connection   begins: SYN_RECV, expires in 60 s
template     the client's template is renewed: expires in 300 s
way          next hop 02:00:00:00:01:01 by eth0, packets of unknown size
change       10.0.0.101: from 0 active, 0 inactive, 1 templates to 1 active, 0 inactive, 1 templates
verdict      FORWARDED, back out by eth0
frame        02:00:00:00:00:01 -> 02:00:00:00:01:01
\x20            tcp 10.0.0.10:40000 -> 10.0.0.100:80, flags S, 45 bytes, ttl 63
"
    );
}

#[test]
fn what_is_not_forwarded_is_told_with_its_remedy() {
    let unresolved =
        two_servers().server(1, |row| row.next_hop = [0; 6]).server(2, |row| row.next_hop = [0; 6]);
    assert_eq!(text_of(&unresolved, &frame::tcp(40_000, 80).syn().bytes()), "\
tcp 10.0.0.10:40000 -> 10.0.0.100:80, flags S, 45 bytes, ttl 64
arrived      by eth0, for its MAC address 02:00:00:00:00:01
vip          10.0.0.100 is a VIP
connection   none of these addresses and ports is known
service      tcp/10.0.0.100:80: wlc, 2 servers
scheduler    wlc takes the fewest connections for the weight (an active one counts as 256 inactive ones): 10.0.0.102
\x20            10.0.0.102  weight 1, 0 active, 0 inactive <- chosen
\x20            10.0.0.101  weight 1, 0 active, 0 inactive
server       10.0.0.102 by VS/DR, a new connection
connection   begins: SYN_RECV, expires in 60 s
way          the next hop to 10.0.0.102 is NOT KNOWN
change       10.0.0.102: from 0 active, 0 inactive, 0 templates to 1 active, 0 inactive, 0 templates
verdict      DROPPED (next_hop_unresolved): the MAC address of the server's next hop is not known
remedy       lbxdp status --next-hops; from the director: ip route get RIP, ip neigh show, ping RIP
");
    let idle = Setup::new().service(Protocol::Tcp, 80, Scheduler::RoundRobin, &[(1, 0)]);
    assert_eq!(text_of(&idle, &frame::tcp(40_000, 80).syn().bytes()), "\
tcp 10.0.0.10:40000 -> 10.0.0.100:80, flags S, 45 bytes, ttl 64
arrived      by eth0, for its MAC address 02:00:00:00:00:01
vip          10.0.0.100 is a VIP
connection   none of these addresses and ports is known
service      tcp/10.0.0.100:80: rr, one server
scheduler    rr takes the servers in turn: nobody can be chosen
\x20            10.0.0.101  weight 0, 0 active, 0 inactive, cannot be chosen: weight 0
icmp         its sender is told: port unreachable
verdict      DROPPED, and its sender is told (no_server): the service has no server that may get a new connection
remedy       give a server a weight above 0, add one, or raise a threshold (lbxdp server list)
frame        02:00:00:00:00:01 -> 02:00:00:00:00:10
\x20            icmp 10.0.0.100 -> 10.0.0.10, type 3 code 3, 73 bytes, ttl 64
\x20            about tcp 10.0.0.10:40000 -> 10.0.0.100:80, flags S, 45 bytes, ttl 64
");
}

/// The whole table's, the sector's and the template's pressure are one thing to the reader.
#[test]
fn pressure_is_told_once() {
    let setups = [two_servers(), two_servers().persistent(300, [255; 4])];
    for text in setups.map(|setup| text_of(&setup.full(), &frame::tcp(40_000, 80).syn().bytes())) {
        assert_eq!(text.matches("pressure is noted").count(), 1, "{text}");
    }
}

/// The document's example is what is printed.
#[test]
fn the_document_is_the_documented_one() {
    let documented = include_str!("../../../docs/json.md");
    let example = documented.split_once("```json explanations\n").expect("an example").1;
    let mut example: Value =
        serde_json::from_str(example.split_once("```").expect("its end").0).expect("JSON");
    let mut host = Host::default();
    memory::write(&mut host, &two_servers());
    let bytes = frame::tcp(40_000, 81).syn().bytes();
    let explained = [(None, foretold(&host, &bytes).1)];
    let mut printed: Value =
        serde_json::from_str(&json(&Instance::default(), "eth0", &explained)).expect("JSON");
    // The example shows the beginning of the frames.
    for document in [&mut example, &mut printed] {
        for name in ["frame_in", "frame_out"] {
            let frame = &mut document["packets"][0][name];
            *frame = frame.as_str().map(|hex| &hex[..28]).into();
        }
    }
    assert_eq!(printed, example);
}

#[test]
fn of_many_servers_some_are_shown_and_the_chosen_one() {
    let servers = [&[(1, 0); 24][..], &[(2, 1)]].concat();
    let setup = Setup::new().service(Protocol::Tcp, 80, Scheduler::RoundRobin, &servers);
    let told = text_of(&setup, &frame::tcp(40_000, 80).syn().bytes());
    let count = |words: &str| told.lines().filter(|line| line.contains(words)).count();
    assert_eq!((count("cannot be chosen: weight 0"), count("<- chosen"), count("and 4 others")), (20, 1, 1));
}
