//! Documents against `docs/json.md`, tables, and draining.

use std::net::IpAddr;
use std::time::Duration;

use lbxdp_common::state::{State as ConnectionState, TcpState};
use lbxdp_common::{Forward, Protocol, Scheduler, TunnelChecksum, TunnelKind};
use serde_json::Value;

use super::drain::{self, DrainError};
use super::{connections, document, table};
use crate::cli::client::{ClientError, Director, EachPiece};
use crate::cli::paint::Paint;
use crate::command::Command;
use crate::message::{Request, Response};
use crate::record::{Connection, End};
use crate::snapshot::{Counters, Rates, ServerSnapshot, ServiceSnapshot, Snapshot};
use crate::state::{Engine, FLAG_2, Options, Persistence, Server, ServiceKey, Tunnel};
use crate::tables::pins::Instance;

const DOCUMENTED: &str = include_str!("../../../../docs/json.md");

/// The example that stands under a word in the document.
fn example(word: &str) -> Value {
    let behind = DOCUMENTED.split_once(&format!("```json {word}\n")).expect("an example").1;
    serde_json::from_str(behind.split_once("```").expect("its end").0).expect("JSON")
}

fn end(address: &str, port: u16) -> End {
    End { address: address.parse().expect("an address"), port }
}

fn key() -> ServiceKey {
    ServiceKey::at(Protocol::Tcp, IpAddr::from([10, 0, 0, 100]), 80)
}

/// What the examples show.
fn snapshot() -> Snapshot {
    let counters = Counters { connections: 3, in_packets: 30, in_bytes: 1800, ..Counters::default() };
    let rates = Rates { connections: 1, in_packets: 10, in_bytes: 600, ..Rates::default() };
    let tunnel = Tunnel { kind: TunnelKind::Gue, port: 6080, checksum: TunnelChecksum::Full };
    let plain = Server::new([10, 0, 0, 11].into(), 80, Forward::Tunnel, 2);
    let server = ServerSnapshot {
        server: Server { tunnel, upper: 100, lower: 50, ..plain },
        active: 2,
        inactive: 1,
        persistent: 1,
        counters,
        rates,
    };
    let options = Options {
        sched_flags: FLAG_2,
        persistence: Some(Persistence { timeout_s: 60, netmask: 0xffff_ff00 }),
        engine: Some(Engine::Sip),
        ..Options::of(Scheduler::SourceHashing)
    };
    let one_packet = Options { one_packet: true, ..Options::of(Scheduler::WeightedLeastConnection) };
    let (nothing, still) = (Counters::default(), Rates::default());
    let services = vec![
        ServiceSnapshot { key: key(), options, counters, rates, servers: vec![server] },
        ServiceSnapshot {
            key: ServiceKey::marked_v6(7),
            options: one_packet,
            counters: nothing,
            rates: still,
            servers: vec![],
        },
    ];
    Snapshot { table_size: 1, hertz: 250, services }
}

/// A director with connections, of which some end with each look at the services.
struct Emptying {
    snapshot: Snapshot,
    pieces: Vec<Vec<Connection>>,
    fails: bool,
    changes: Vec<Command>,
}

impl Emptying {
    fn of(snapshot: Snapshot) -> Self {
        Self { snapshot, pieces: Vec::new(), fails: false, changes: Vec::new() }
    }
}

impl Director for Emptying {
    fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        let answer = self.snapshot.clone();
        let found = &mut self.snapshot.services[0].servers[0];
        if let Request::Change(command) = request {
            self.changes.push(command.clone());
            if let Command::EditServer { server, .. } = command {
                found.server = *server;
            }
            return Ok(Response::Done);
        }
        if found.server.weight == 0 {
            // Templates outlive the connections.
            found.persistent -= u32::from(found.inactive + found.active == 0).min(found.persistent);
            found.inactive = (found.inactive + found.active).saturating_sub(1);
            found.active = 0;
        }
        Ok(Response::Services(answer))
    }

    fn connections(&mut self, each: &mut EachPiece<'_>) -> Result<(), ClientError> {
        for piece in &self.pieces {
            each(piece).map_err(ClientError::Output)?;
        }
        if self.fails { Err(ClientError::GoneAway(Instance::default())) } else { Ok(()) }
    }
}

fn some_connections() -> Vec<Vec<Connection>> {
    let connection = Connection {
        protocol: Some(Protocol::Tcp),
        state: ConnectionState::tcp(TcpState::Established),
        expires_s: 900,
        client: end("192.0.2.1", 40000),
        vip: end("10.0.0.100", 80),
        server: end("10.0.0.11", 80),
    };
    let template = Connection {
        protocol: None,
        state: ConnectionState::TEMPLATE,
        expires_s: 60,
        client: end("192.0.2.0", 0),
        vip: end("0.0.0.7", 0),
        server: end("10.0.0.11", 0),
    };
    vec![vec![connection], vec![template]]
}

#[test]
fn documents_are_what_is_documented() {
    let instance = Instance::default();
    let read = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
    assert_eq!(read(document::services(&instance, &snapshot())), example("services"));
    assert_eq!(read(document::servers(&instance, &snapshot())), example("servers"));
    let mut director = Emptying { pieces: some_connections(), ..Emptying::of(snapshot()) };
    let mut output = Vec::new();
    connections::json(&instance, &mut director, &mut output).expect("a document");
    let text = String::from_utf8(output).expect("text");
    assert_eq!(text.lines().count(), 8, "a line for each connection: {text}");
    assert_eq!(read(text), example("connections"));
}

#[test]
fn no_connections_are_a_document_too_and_a_broken_listing_is_none() {
    let mut director = Emptying::of(snapshot());
    let mut output = Vec::new();
    connections::json(&Instance::default(), &mut director, &mut output).expect("a document");
    let document: Value = serde_json::from_slice(&output).expect("JSON");
    assert_eq!(document["connections"], Value::Array(vec![]));
    director = Emptying { pieces: some_connections(), fails: true, ..director };
    output.clear();
    assert!(connections::json(&Instance::default(), &mut director, &mut output).is_err());
    assert!(serde_json::from_slice::<Value>(&output).is_err());
}

#[test]
fn tables_are_as_wide_as_what_stands_in_them() {
    assert_eq!(
        table::servers(&snapshot(), Paint::Plain),
        "SERVICE            SERVER        FORWARD  WEIGHT  ACTIVE  INACTIVE  TEMPLATES  CONNECTIONS/S  BYTES/S\n\
         tcp/10.0.0.100:80  10.0.0.11:80  Tunnel        2       2         1          1              1      600\n"
    );
    assert_eq!(
        table::services(&snapshot(), Paint::Plain),
        "SERVICE            SCHEDULER  PERSISTENT  SERVERS  ACTIVE  INACTIVE  CONNECTIONS/S  BYTES/S\n\
         tcp/10.0.0.100:80  sh         60s               1       2         1              1      600\n\
         mark6/7            wlc        -                 0       0         0              0        0\n"
    );
    let mut output = Vec::new();
    let mut director = Emptying { pieces: some_connections(), ..Emptying::of(snapshot()) };
    connections::text(&mut director, &mut output, Paint::Plain).expect("a table");
    assert_eq!(
        String::from_utf8(output).expect("text"),
        "PROTOCOL  STATE         EXPIRES  CLIENT                 VIRTUAL                SERVER\n\
         tcp       ESTABLISHED      900s  192.0.2.1:40000        10.0.0.100:80          10.0.0.11:80\n\
         any       NONE              60s  192.0.2.0:0            0.0.0.7:0              10.0.0.11:0\n"
    );
}

fn drained(
    director: &mut Emptying,
    service: &str,
    server: &str,
    timeout: Option<u64>,
) -> Result<(), DrainError> {
    let (service, server) = (service.parse().expect("a service"), server.parse().expect("a server"));
    drain::run(director, service, server, timeout.map(Duration::from_secs))
}

const SERVICE: &str = "tcp/10.0.0.100:80";

#[test]
fn a_drained_server_keeps_all_but_its_weight() {
    let mut director = Emptying::of(snapshot());
    let before = snapshot().services[0].servers[0].server;
    drained(&mut director, SERVICE, "10.0.0.11", None).expect("drained");
    let server = Server { weight: 0, ..before };
    assert_eq!(director.changes, [Command::EditServer { service: key(), server }]);
    let now = &director.snapshot.services[0].servers[0];
    assert_eq!((now.active, now.inactive), (0, 0), "it was waited for");
    // Once more there is nothing to change.
    drained(&mut director, SERVICE, "10.0.0.11:80", Some(0)).expect("drained");
    assert_eq!(director.changes.len(), 1);
}

#[test]
fn what_cannot_be_drained_says_why() {
    let mut director = Emptying::of(snapshot());
    let timed_out = drained(&mut director, SERVICE, "10.0.0.11", Some(0)).unwrap_err();
    assert!(matches!(timed_out, DrainError::TimedOut { left: 3, .. }), "{timed_out}");
    assert_eq!(director.snapshot.services[0].servers[0].server.weight, 0);
    let director = &mut Emptying::of(snapshot());
    let mut says =
        |service: &str, server: &str| drained(director, service, server, None).unwrap_err().to_string();
    assert!(says("udp/10.0.0.100:80", "10.0.0.11").starts_with("there is no service udp/10.0.0.100:80"));
    assert!(says(SERVICE, "10.0.0.12").starts_with("tcp/10.0.0.100:80 has no server 10.0.0.12"));
    assert!(says(SERVICE, "10.0.0.11:81").contains("has no server 10.0.0.11:81"));
    let mut two = snapshot();
    let mut other = two.services[0].servers[0].clone();
    other.server.port = 81;
    two.services[0].servers.push(other);
    let several = drained(&mut Emptying::of(two), SERVICE, "10.0.0.11", None).unwrap_err();
    assert!(several.to_string().ends_with("with several ports: name one, as 10.0.0.11:80"), "{several}");
}
