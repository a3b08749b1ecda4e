//! What Linux 6.1 has written, and what is written here of the same.

use lbxdp_common::state::{State as ConnectionState, TcpState};
use lbxdp_common::{Forward, Protocol, Scheduler};

use super::{connections, services, stats};
use crate::record::{Connection, End};
use crate::snapshot::{Counters, Rates, ServerSnapshot, ServiceSnapshot, Snapshot, Totals};
use crate::state::{Options, Persistence, Server, ServiceKey};

fn address(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}

fn server(text: &str, port: u16, forward: Forward, weight: u32, active: u32) -> ServerSnapshot {
    ServerSnapshot {
        server: Server::new(address(text), port, forward, weight),
        active,
        inactive: 0,
        persistent: 0,
        counters: Counters::default(),
        rates: Rates::default(),
    }
}

fn service(key: ServiceKey, options: Options, servers: Vec<ServerSnapshot>) -> ServiceSnapshot {
    ServiceSnapshot { key, options, counters: Counters::default(), rates: Rates::default(), servers }
}

fn persistent(options: Options, timeout_s: u32, netmask: u32) -> Options {
    Options { persistence: Some(Persistence { timeout_s, netmask }), ..options }
}

#[test]
fn services_stand_as_in_the_kernels_file() {
    let (wlc, rr) = (Options::of(Scheduler::WeightedLeastConnection), Options::of(Scheduler::RoundRobin));
    let ops = Options { one_packet: true, ..wlc };
    let at = |protocol, text, port| ServiceKey::at(protocol, address(text), port);
    let vip = "10.0.0.100";
    let all = vec![
        service(at(Protocol::Sctp, vip, 9), wlc, vec![]),
        service(
            at(Protocol::Udp, vip, 5060),
            persistent(wlc, 60, u32::MAX),
            vec![server("10.0.0.5", 5060, Forward::Direct, 1, 0)],
        ),
        service(at(Protocol::Udp, vip, 53), ops, vec![server("10.0.0.5", 53, Forward::Direct, 1, 0)]),
        service(at(Protocol::Udp, vip, 54), persistent(ops, 60, u32::MAX), vec![]),
        service(
            at(Protocol::Tcp, "fd00::100", 80),
            Options::of(Scheduler::SourceHashing),
            vec![server("fd00::6", 80, Forward::Tunnel, 1, 0), server("fd00::5", 80, Forward::Direct, 0, 0)],
        ),
        service(at(Protocol::Udp, "fd00::100", 53), persistent(ops, 60, 64), vec![]),
        service(
            at(Protocol::Tcp, vip, 80),
            rr,
            vec![
                server("127.0.0.1", 80, Forward::Direct, 1, 0),
                server("10.0.0.6", 80, Forward::Tunnel, 1, 1),
            ],
        ),
        service(
            at(Protocol::Tcp, vip, 81),
            persistent(Options::of(Scheduler::WeightedRoundRobin), 300, 0xffff_ff00),
            vec![server("10.0.0.5", 8081, Forward::Masquerade, 1_000_000, 1)],
        ),
        service(
            ServiceKey::marked_v6(u32::MAX),
            persistent(ops, 70, 128),
            vec![server("fd00::9", 0, Forward::Direct, 1, 0)],
        ),
        service(
            ServiceKey::marked(7),
            persistent(ops, 60, u32::MAX),
            vec![server("10.0.0.5", 0, Forward::Direct, 1, 0)],
        ),
    ];
    assert_eq!(
        services::text(&Snapshot { table_size: 4096, hertz: 250, services: all }),
        "IP Virtual Server version 1.2.1 (size=4096)\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
         SCTP  0A000064:0009 wlc  \n\
         UDP  0A000064:13C4 wlc  persistent 15000 FFFFFFFF\n  \
         -> 0A000005:13C4      Route   1      0          0         \n\
         UDP  0A000064:0035 wlc ops  \n  \
         -> 0A000005:0035      Route   1      0          0         \n\
         UDP  0A000064:0036 wlc ops  persistent 15000 FFFFFFFF\n\
         TCP  [fd00:0000:0000:0000:0000:0000:0000:0100]:0050 sh \n  \
         -> [fd00:0000:0000:0000:0000:0000:0000:0006]:0050      Tunnel  1      0          0         \n  \
         -> [fd00:0000:0000:0000:0000:0000:0000:0005]:0050      Route   0      0          0         \n\
         UDP  [fd00:0000:0000:0000:0000:0000:0000:0100]:0035 wlc persistent 15000 40000000\n\
         TCP  0A000064:0050 rr  \n  \
         -> 7F000001:0050      Route   1      0          0         \n  \
         -> 0A000006:0050      Tunnel  1      1          0         \n\
         TCP  0A000064:0051 wrr  persistent 75000 FFFFFF00\n  \
         -> 0A000005:1F91      Masq    1000000 1          0         \n\
         FWM  FFFFFFFF wlc ops persistent 17500 80000000\n  \
         -> [fd00:0000:0000:0000:0000:0000:0000:0009]:0000      Route   1      0          0         \n\
         FWM  00000007 wlc ops persistent 15000 FFFFFFFF\n  \
         -> 0A000005:0000      Route   1      0          0         \n"
    );
}

#[test]
fn connections_stand_as_in_the_kernels_file() {
    let end = |text: &str, port| End { address: address(text), port };
    let tcp = Some(Protocol::Tcp);
    let state = ConnectionState::tcp(TcpState::SynReceived);
    let (client, vip, server) = (end("10.0.0.2", 0xbf84), end("10.0.0.100", 80), end("10.0.0.5", 80));
    let connection = Connection { protocol: tcp, state, expires_s: 51, client, vip, server };
    assert_eq!(
        connections::line(&connection),
        "TCP 0A000002 BF84 0A000064 0050 0A000005 0050 SYN_RECV         51\n"
    );
    let template = Connection {
        state: ConnectionState::TEMPLATE,
        expires_s: 292,
        client: end("10.0.0.0", 0),
        vip: end("10.0.0.100", 81),
        server: end("10.0.0.5", 8081),
        ..connection
    };
    assert_eq!(
        connections::line(&template),
        "TCP 0A000000 0000 0A000064 0051 0A000005 1F91 NONE            292\n"
    );
    let v6 = Connection {
        client: end("fd00::2", 0xbf84),
        vip: end("fd00::100", 80),
        server: end("fd00::6", 80),
        ..connection
    };
    let [client, vip, server] =
        ["0002", "0100", "0006"].map(|last| format!("fd00:0000:0000:0000:0000:0000:0000:{last}"));
    assert_eq!(
        connections::line(&v6),
        format!("TCP {client} BF84 {vip} 0050 {server} 0050 SYN_RECV         51\n")
    );
}

#[test]
fn totals_stand_as_in_the_kernels_files() {
    let counters =
        Counters { connections: 5, in_packets: 5, out_packets: 4, in_bytes: 0x10e, out_bytes: 0x114 };
    let rates = Rates { in_bytes: 0xd, out_bytes: 0x11, ..Rates::default() };
    let totals = Totals { cpus: vec![counters], counters, rates };
    assert_eq!(
        stats::text(&totals),
        "   Total Incoming Outgoing         Incoming         Outgoing\n   \
         Conns  Packets  Packets            Bytes            Bytes\n       \
         5        5        4              10E              114\n\n \
         Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n       \
         0        0        0                D               11\n"
    );
    assert_eq!(
        stats::text_by_cpu(&totals),
        "       Total Incoming Outgoing         Incoming         Outgoing\n\
         CPU    Conns  Packets  Packets            Bytes            Bytes\n  \
         0        5        5        4              10E              114\n  \
         ~        5        5        4              10E              114\n\n     \
         Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n           \
         0        0        0                D               11\n"
    );
}
