//! Listings to the byte, on numbers that no recorded answer has.

use lbxdp_common::state::{State, TcpState};
use lbxdp_common::{Forward, Protocol, Scheduler, TunnelChecksum, TunnelKind};

use super::{connections, connections_title, services, timeouts};
use crate::cli::grammar::{Columns, Listing, Selection};
use crate::cli::names::{FixedNames, Naming};
use crate::record::{Connection, End};
use crate::snapshot::{Counters, Rates, ServerSnapshot, ServiceSnapshot, Snapshot};
use crate::state::{FLAG_1, FLAG_2, FLAG_3, Options, Persistence, Server, ServiceKey, Timeouts, Tunnel};

fn server(address: &str) -> ServerSnapshot {
    let address = address.parse().unwrap();
    ServerSnapshot {
        server: Server { upper: 9, lower: 3, ..Server::new(address, 8080, Forward::Direct, 100) },
        active: 7,
        inactive: 4_294_967_295,
        persistent: 5,
        counters: counters(),
        rates: Rates { connections: 123_456_789, ..Rates::default() },
    }
}

fn counters() -> Counters {
    Counters {
        connections: 123_456_789,
        in_packets: 99_999_999,
        out_packets: 100_000_000,
        in_bytes: 1_234_567_890_123,
        out_bytes: 5,
    }
}

fn key(protocol: Protocol, address: &str, port: u16) -> ServiceKey {
    ServiceKey::at(protocol, address.parse().unwrap(), port)
}

fn snapshot() -> Snapshot {
    let service = |key, servers| ServiceSnapshot {
        key,
        options: Options::of(Scheduler::WeightedRoundRobin),
        counters: counters(),
        rates: Rates::default(),
        servers,
    };
    Snapshot {
        table_size: 1024,
        hertz: 250,
        services: vec![
            service(key(Protocol::Udp, "192.0.2.10", 53), vec![]),
            service(key(Protocol::Tcp, "192.0.2.10", 80), vec![server("10.0.0.2"), server("10.0.0.1")]),
        ],
    }
}

fn listed(columns: Columns, is_exact: bool) -> String {
    let listing = Listing { columns, is_exact, ..Listing::default() };
    services(&snapshot(), None, &listing, &mut Naming::numeric()).unwrap()
}

#[test]
fn services_stand_with_their_servers() {
    assert_eq!(
        listed(Columns::Connections, false),
        "IP Virtual Server version 1.2.1 (size=1024)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.0.2.10:80 wrr
  -> 10.0.0.1:8080                Route   100    7          4294967295
  -> 10.0.0.2:8080                Route   100    7          4294967295
UDP  192.0.2.10:53 wrr
"
    );
}

#[test]
fn totals_are_rounded_or_exact() {
    let rounded = listed(Columns::Stats, false);
    assert!(rounded.contains(
        "TCP  192.0.2.10:80                 123456K 99999999  100000K    1234G        5
  -> 10.0.0.1:8080                 123456K 99999999  100000K    1234G        5
"
    ));
    let exact = listed(Columns::Stats, true);
    assert!(
        exact.contains(
            "  -> 10.0.0.1:8080                123456789 99999999 100000000 1234567890123        5\n"
        )
    );
}

#[test]
fn rates_have_their_own_title() {
    let text = listed(Columns::Rates, false);
    assert!(
        text.contains("Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n")
    );
    assert!(
        text.contains("  -> 10.0.0.1:8080                 123456K        0        0        0        0\n")
    );
}

#[test]
fn a_service_that_is_not_there_has_no_listing() {
    let there = snapshot().services[0].key;
    let listing = Listing { selection: Selection::Services(Some(there)), ..Listing::default() };
    let text = services(&snapshot(), Some(there), &listing, &mut Naming::numeric()).unwrap();
    assert!(text.starts_with("Prot ") && text.ends_with("\nUDP  192.0.2.10:53 wrr\n"));
    let other = key(Protocol::Udp, "192.0.2.10", 54);
    assert_eq!(services(&snapshot(), Some(other), &listing, &mut Naming::numeric()), None);
}

#[test]
fn long_names_are_cut() {
    let mut snapshot = snapshot();
    snapshot.services[1].key = key(Protocol::Tcp, "169.254.0.1", 80);
    snapshot.services[1].servers[0].server.address = "169.254.0.2".parse().unwrap();
    let text = services(&snapshot, None, &Listing::default(), &mut Naming::by_name(&FixedNames)).unwrap();
    assert!(text.contains("TCP  a.very.long.name.a.very.long wrr\n"), "{text}");
    assert!(text.contains("  -> a.very.long.name.a.very.long Route   100 "), "{text}");
}

#[test]
fn connections_stand_as_they_come() {
    let end = |address: &str, port| End { address: address.parse().unwrap(), port };
    let connection = |expires_s, client, state| Connection {
        protocol: Some(Protocol::Tcp),
        state: State::tcp(state),
        expires_s,
        client,
        vip: end("10.0.0.100", 80),
        server: end("10.0.0.101", 80),
    };
    let all = [
        connection(899, end("10.0.0.10", 40000), TcpState::Established),
        connection(6001, end("1.2.3.4", 5), TcpState::SynReceived),
        connection(60_000, end("255.255.255.255", 65535), TcpState::Close),
    ];
    let mut text = connections_title(Columns::Connections);
    connections(&mut text, &all, &mut Naming::numeric());
    assert_eq!(
        text,
        "IPVS connection entries
pro expire state       source             virtual            destination
TCP 14:59  ESTABLISHED 10.0.0.10:40000    10.0.0.100:80      10.0.0.101:80
TCP 100:01 SYN_RECV    1.2.3.4:5          10.0.0.100:80      10.0.0.101:80
TCP 1000:00 CLOSE       255.255.255.255:65535 10.0.0.100:80      10.0.0.101:80
"
    );
}

#[test]
fn templates_stand_among_connections() {
    let end = |address: &str, port| End { address: address.parse().unwrap(), port };
    let by_mark = Connection {
        protocol: None,
        state: State::TEMPLATE,
        expires_s: 299,
        client: end("10.0.0.10", 0),
        vip: end("0.0.0.5", 0),
        server: end("10.0.0.103", 0),
    };
    let at_port = Connection {
        protocol: Some(Protocol::Tcp),
        state: State::TEMPLATE_ASSURED,
        vip: end("10.0.0.100", 80),
        server: end("10.0.0.103", 80),
        ..by_mark
    };
    let mut text = String::new();
    connections(&mut text, &[by_mark, at_port], &mut Naming::by_name(&FixedNames));
    assert_eq!(
        text,
        "IP  04:59  NONE        10.0.0.10:0        0.0.0.5:0          10.0.0.103:0
TCP 04:59  ASSURED     10.0.0.10:0        10.0.0.100:http    10.0.0.103:http
"
    );
    assert_eq!(
        connections_title(Columns::Persistent),
        "IPVS connection entries
pro expire state       source             virtual            destination        pe name          pe_data
"
    );
}

/// Services of every kind, and in what order they stand.
#[test]
fn flags_stand_behind_the_scheduler() {
    let plain = Options::of(Scheduler::RoundRobin);
    let mask = Persistence::ALL_BITS;
    let persistent = |netmask| Some(Persistence { timeout_s: 360, netmask });
    let service = |key, options| ServiceSnapshot {
        key,
        options,
        counters: Counters::default(),
        rates: Rates::default(),
        servers: vec![],
    };
    let services_of = vec![
        service(ServiceKey::marked(3), plain),
        service(ServiceKey::marked(u32::MAX), plain),
        service(ServiceKey::marked(2), Options { one_packet: true, ..plain }),
        service(key(Protocol::Udp, "10.0.0.1", 53), Options { sched_flags: FLAG_1 | FLAG_3, ..plain }),
        service(key(Protocol::Tcp, "10.0.0.1", 80), Options { persistence: persistent(mask), ..plain }),
        service(
            key(Protocol::Tcp, "10.0.0.1", 0),
            Options { persistence: persistent(0xffff_ff00), one_packet: true, sched_flags: FLAG_2, ..plain },
        ),
    ];
    let snapshot = Snapshot { table_size: 1, hertz: 250, services: services_of };
    let text = services(&snapshot, None, &Listing::default(), &mut Naming::numeric()).unwrap();
    let text = text.split_inclusive('\n').skip(3).collect::<String>();
    assert_eq!(
        text,
        "FWM  -1 rr
TCP  10.0.0.1:0 rr (flag-2) persistent 360 mask 255.255.255.0 ops
TCP  10.0.0.1:80 rr persistent 360
UDP  10.0.0.1:53 rr (flag-1,flag-3)
FWM  2 rr ops
FWM  3 rr
"
    );
}

#[test]
fn thresholds_and_templates_have_their_own_columns() {
    assert_eq!(
        listed(Columns::Thresholds, false),
        "IP Virtual Server version 1.2.1 (size=1024)
Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn\x20
  -> RemoteAddress:Port
TCP  192.0.2.10:80 wrr
  -> 10.0.0.1:8080                9          3          7          4294967295
  -> 10.0.0.2:8080                9          3          7          4294967295
UDP  192.0.2.10:53 wrr
"
    );
    assert_eq!(
        listed(Columns::Persistent, false),
        "IP Virtual Server version 1.2.1 (size=1024)
Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn\x20
  -> RemoteAddress:Port
TCP  192.0.2.10:80 wrr
  -> 10.0.0.1:8080                100       5           7          4294967295
  -> 10.0.0.2:8080                100       5           7          4294967295
UDP  192.0.2.10:53 wrr
"
    );
}

#[test]
fn tunnels_have_a_column() {
    let to = |address, forward, kind, port, checksum| {
        let tunnel = Tunnel { kind, port, checksum };
        let plain = server(address);
        let server = Server { forward, tunnel, ..plain.server };
        ServerSnapshot { server, inactive: 12, ..plain }
    };
    let servers = vec![
        to("10.0.0.1", Forward::Tunnel, TunnelKind::Ipip, 0, TunnelChecksum::None),
        to("10.0.0.2", Forward::Tunnel, TunnelKind::Gue, 6080, TunnelChecksum::None),
        to("10.0.0.3", Forward::Tunnel, TunnelKind::Gue, 65535, TunnelChecksum::Remote),
        to("10.0.0.4", Forward::Tunnel, TunnelKind::Gre, 0, TunnelChecksum::Full),
        to("10.0.0.5", Forward::Masquerade, TunnelKind::Ipip, 0, TunnelChecksum::None),
        to("fd00::1", Forward::Tunnel, TunnelKind::Gre, 0, TunnelChecksum::None),
    ];
    let mut snapshot = snapshot();
    snapshot.services[1].servers = servers;
    let listing = Listing { columns: Columns::Tunnels, ..Listing::default() };
    assert_eq!(
        services(&snapshot, None, &listing, &mut Naming::numeric()).unwrap(),
        "IP Virtual Server version 1.2.1 (size=1024)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn
TCP  192.0.2.10:80 wrr
  -> [fd00::1]:8080               Tunnel  gre:-c        100    7          12\x20\x20\x20\x20\x20\x20\x20\x20
  -> 10.0.0.1:8080                Tunnel  ipip          100    7          12\x20\x20\x20\x20\x20\x20\x20\x20
  -> 10.0.0.2:8080                Tunnel  gue:6080:-c   100    7          12\x20\x20\x20\x20\x20\x20\x20\x20
  -> 10.0.0.3:8080                Tunnel  gue:65535:r+c 100    7          12\x20\x20\x20\x20\x20\x20\x20\x20
  -> 10.0.0.4:8080                Tunnel  gre:+c        100    7          12\x20\x20\x20\x20\x20\x20\x20\x20
  -> 10.0.0.5:8080                Masq    n/a           100    7          12\x20\x20\x20\x20\x20\x20\x20\x20
UDP  192.0.2.10:53 wrr
"
    );
}

/// Nothing that has an IPv6 address is cut, and what is too long moves the rest.
#[test]
fn ipv6_addresses_stand_whole() {
    let long = "2001:db8:1111:2222:3333:4444:5555:6666";
    let mut snapshot = snapshot();
    snapshot.services[1].key = key(Protocol::Tcp, long, 443);
    snapshot.services[1].servers = vec![ServerSnapshot { inactive: 4, ..server(long) }];
    let with_mask = Some(Persistence { timeout_s: 90, netmask: 64 });
    snapshot.services[1].options.persistence = with_mask;
    snapshot.services[0].key = ServiceKey::marked_v6(7);
    let whole = Persistence { timeout_s: 90, netmask: Persistence::ALL_BITS_V6 };
    snapshot.services[0].options.persistence = Some(whole);
    let text = services(&snapshot, None, &Listing::default(), &mut Naming::numeric()).unwrap();
    let text = text.split_inclusive('\n').skip(3).collect::<String>();
    assert_eq!(
        text,
        "TCP  [2001:db8:1111:2222:3333:4444:5555:6666]:443 wrr persistent 90 mask 64
  -> [2001:db8:1111:2222:3333:4444:5555:6666]:8080 Route   100    7          4\x20\x20\x20\x20\x20\x20\x20\x20\x20
FWM  7 IPv6 wrr persistent 90
"
    );
}

#[test]
fn connections_of_both_families_stand_side_by_side() {
    let end = |address: &str, port| End { address: address.parse().unwrap(), port };
    let plain = Connection {
        protocol: Some(Protocol::Tcp),
        state: State::tcp(TcpState::Established),
        expires_s: 899,
        client: end("fd00::10", 40000),
        vip: end("fd00::100", 80),
        server: end("10.0.0.101", 80),
    };
    let far = Connection { client: end("2001:db8:1111:2222:3333:4444:5555:6666", 1), ..plain };
    // IPVS keeps a mark in the first bytes of what stands for the VIP.
    let by_mark = Connection {
        protocol: None,
        state: State::TEMPLATE,
        client: end("fd00::", 0),
        vip: end("0:5::", 0),
        ..plain
    };
    let mut text = String::new();
    connections(&mut text, &[plain, far, by_mark], &mut Naming::numeric());
    assert_eq!(
        text,
        "TCP 14:59  ESTABLISHED [fd00::10]:40000   [fd00::100]:80     10.0.0.101:80
TCP 14:59  ESTABLISHED [2001:db8:1111:2222:3333:4444:5555:6666]:1 [fd00::100]:80     10.0.0.101:80
IP  14:59  NONE        [fd00::]:0         [0:5::]:0          10.0.0.101:80
"
    );
}

#[test]
fn timeouts_stand_in_one_line() {
    assert_eq!(timeouts(Timeouts::default()), "Timeout (tcp tcpfin udp): 900 120 300\n");
}
