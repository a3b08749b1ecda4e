//! The cases.

use etherparse::{EtherType, IpNumber};
use lbxdp_common::connection::Key;
use lbxdp_common::server::{ServerFlags, ServerId};
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::table::{Hash, Shape};
use lbxdp_common::{Protocol, Reason, Scheduler};

use super::case::{Case, Fact};
use super::frame::{IP, Packet, TIME_EXCEEDED, other, tcp, udp};
use super::memory::BUCKETS;
use super::setup::{Setup, key};
use super::{
    SEED, fragments, icmp, lengths, life, marks, masquerade, one_packet, persistence, ports, refusal,
    replies, schedulers, sctp, thresholds, transitions, tunnels, v6, vlans,
};

use Protocol::{Tcp, Udp};
use Scheduler::RoundRobin;
use TcpState::{Close, Established, FinWait, SynReceived, TimeWait};

/// Every case of the packet path.
pub fn all() -> Vec<Case> {
    [
        not_ours(),
        malformed(),
        lengths::all(),
        scheduled(),
        states(),
        servers(),
        expiry(),
        life::all(),
        transitions::all(),
        tunnels::all(),
        v6::all(),
        sctp::all(),
        refusal::all(),
        icmp::all(),
        persistence::all(),
        marks::all(),
        ports::all(),
        thresholds::all(),
        one_packet::all(),
        fragments::all(),
        vlans::all(),
        masquerade::all(),
        replies::all(),
    ]
    .concat()
}

fn http() -> Setup {
    Setup::new().service(Tcp, 80, RoundRobin, &[(2, 1), (1, 1)])
}

fn dns() -> Setup {
    Setup::new().service(Udp, 53, RoundRobin, &[(2, 1), (1, 1)])
}

const CONNECTION: (u16, u16) = (40_000, 80);

fn web() -> Packet {
    tcp(CONNECTION.0, CONNECTION.1)
}

fn web_key() -> Key {
    key(Tcp, CONNECTION.0, CONNECTION.1)
}

fn is(state: TcpState, server: u8) -> Fact {
    Fact::Connection(web_key(), State::tcp(state), server)
}

/// A connection to server 1 in a state, that lives another minute.
fn known(state: TcpState) -> Setup {
    http().connection(web_key(), 1, State::tcp(state), 60_000)
}

fn not_ours() -> Vec<Case> {
    vec![
        Case::new("what is not IPv4 passes", http())
            .not(Reason::NotOurs, web().syn().ether_type(EtherType::IPV6))
            .not(Reason::NotOurs, web().syn().ether_type(EtherType::ARP))
            .not(Reason::NotOurs, web().syn().ether_type(EtherType::VLAN_TAGGED_FRAME)),
        Case::new("a packet to an address that is no VIP passes", http())
            .not(Reason::NotOurs, web().syn().to_address([10, 0, 0, 101]))
            .not(Reason::NotOurs, web().syn().to_address([0, 0, 0, 0])),
        Case::new("a frame to another machine passes", http())
            .not(Reason::OtherHost, web().syn().to_mac([2, 0, 0, 0, 0, 2]))
            .not(Reason::OtherHost, web().syn().to_mac([0xff; 6])),
        Case::new("a protocol that is not balanced passes", http())
            .not(Reason::OtherProtocol, other(IpNumber::ICMP))
            .not(Reason::OtherProtocol, other(IpNumber::GRE)),
        Case::new("a port without a service passes", http())
            .not(Reason::NoService, tcp(40_000, 81).syn())
            .not(Reason::NoService, tcp(40_000, 81).ack())
            .not(Reason::NoService, udp(40_000, 80)),
    ]
}

fn malformed() -> Vec<Case> {
    let mut cases = vec![
        Case::new("options of the IP header are stepped over", http())
            .to(2, web().syn().ip_options(&[1; 4]))
            .to(2, web().ack().ip_options(&[1; 40]))
            .then(is(Established, 2)),
    ];
    for (name, setup, packet, whole) in [
        ("a TCP frame that ends too early passes", http(), web().syn(), IP + 40),
        ("a UDP frame that ends too early passes", dns(), udp(40_000, 53), IP + 28),
        ("a frame with options that ends too early passes", http(), web().syn().ip_options(&[1; 8]), IP + 48),
    ] {
        let frame = packet.clone().bytes();
        let mut case = Case::new(name, setup);
        for length in 0..whole {
            let reason = if length < IP + 20 { Reason::NotOurs } else { Reason::Malformed };
            case = case.not_frame(reason, frame[..length].to_vec());
        }
        cases.push(case.to(2, packet));
    }
    let mut case = Case::new("an IP header of a length that cannot be passes", http());
    for first_byte in [0x40, 0x41, 0x44, 0x65, 0x05, 0x4f] {
        let mut frame = web().syn().bytes();
        frame[IP] = first_byte;
        case = case.not_frame(Reason::Malformed, frame);
    }
    cases.push(case);
    cases
}

fn scheduled() -> Vec<Case> {
    let mut cases = schedulers::all();
    cases.extend([
        Case::new("only a SYN without RST opens a connection", http())
            .not(Reason::NoConnection, web())
            .not(Reason::NoConnection, web().ack())
            .not(Reason::NoConnection, web().fin())
            .not(Reason::NoConnection, web().rst())
            .not(Reason::NoConnection, web().syn().rst())
            .then(Fact::NoConnection(web_key()))
            .to(2, web().syn().ack())
            .then(is(SynReceived, 2))
            .then(Fact::Load(2, 1, 0)),
        Case::new("a connection from port 20 is never scheduled", http())
            .not(Reason::FtpData, tcp(20, 80).syn())
            .to(2, tcp(21, 80).syn()),
        Case::new("a UDP connection is never active", dns())
            .to(2, udp(40_000, 53))
            .then(Fact::Connection(key(Udp, 40_000, 53), State::UDP, 2))
            .then(Fact::Load(2, 0, 1))
            .then(Fact::Counted(2, 1, 1))
            .to(2, udp(40_000, 53))
            .then(Fact::Load(2, 0, 1))
            .then(Fact::Counted(2, 2, 1))
            .to(1, udp(40_001, 53)),
    ]);
    cases
}

fn states() -> Vec<Case> {
    vec![
        Case::new("a connection goes through its states, and is counted once", http())
            .to(2, web().syn())
            .then(is(SynReceived, 2))
            .then(Fact::Load(2, 1, 0))
            .to(2, web().syn())
            .then(is(SynReceived, 2))
            .to(2, web().ack())
            .then(is(Established, 2))
            .to(2, web().ack())
            .then(Fact::Load(2, 1, 0))
            .to(2, web().fin().ack())
            .then(is(FinWait, 2))
            .then(Fact::Load(2, 0, 1))
            .to(2, web().ack())
            .then(is(FinWait, 2))
            .to(2, web().rst())
            .then(is(Close, 2))
            .then(Fact::Load(2, 0, 1))
            .then(Fact::Counted(2, 7, 1)),
        Case::new("a packet without flags closes", known(Established))
            .to(1, web())
            .then(is(Close, 1))
            .then(Fact::Load(1, 0, 1)),
        Case::new("a SYN on a closed connection is a new one", known(Close))
            .to(1, web().ack())
            .then(is(Close, 1))
            .to(2, web().syn())
            .then(is(SynReceived, 2))
            .then(Fact::Load(1, 0, 0))
            .then(Fact::Load(2, 1, 0)),
        Case::new("a SYN after TIME_WAIT is a new connection", known(TimeWait))
            .to(2, web().syn())
            .then(is(SynReceived, 2))
            .then(Fact::Load(1, 0, 0)),
        Case::new("a SYN with RST ends a finished connection, and opens none", known(Close))
            .not(Reason::NoConnection, web().syn().rst())
            .then(Fact::NoConnection(web_key()))
            .then(Fact::Load(1, 0, 0)),
        Case::new("a SYN in FIN_WAIT goes to the same server", known(FinWait))
            .to(1, web().syn())
            .then(is(SynReceived, 1))
            .then(Fact::Load(1, 1, 0)),
    ]
}

fn servers() -> Vec<Case> {
    let gone = |setup: Setup| setup.server(1, |row| row.flags = ServerFlags::default());
    let unresolved = |setup: Setup| setup.server(1, |row| row.next_hop = [0; 6]);
    let local = |setup: Setup| setup.server(1, |row| row.flags = row.flags.with(ServerFlags::LOCAL));
    let alone = || Setup::new().service(Tcp, 80, RoundRobin, &[(1, 1)]);
    vec![
        Case::new("a connection of a deleted server waits for it", gone(known(Established)))
            .not(Reason::ServerGone, web().fin().ack())
            .then(is(Established, 1))
            .then(Fact::Counted(1, 0, 0)),
        Case::new(
            "a connection of a server whose row has another life now is not sent to the new one",
            known(Established).server(1, |row| row.id = ServerId::new(1, 2).0),
        )
        .not(Reason::ServerGone, web().ack()),
        Case::new("a packet to a server whose MAC address is unknown is dropped", unresolved(alone()))
            .not(Reason::NextHopUnresolved, web().syn())
            .then(is(SynReceived, 1))
            .then(Fact::Counted(1, 1, 1)),
        Case::new("a local server gets its packets as they are", local(unresolved(alone())))
            .local(web().syn())
            .local(web().ack().ttl(1))
            .then(is(Established, 1)),
        Case::new("a packet without hops left is dropped", alone())
            .told(Reason::TtlExpired, TIME_EXCEEDED, web().syn().ttl(1).bytes())
            .told(Reason::TtlExpired, TIME_EXCEEDED, web().syn().ttl(0).bytes())
            .to(1, web().syn().ttl(2))
            .to(1, web().syn().ttl(255)),
        Case::new("a server behind another interface is reached through it", alone().server_elsewhere(1))
            .to_elsewhere(1, web().syn())
            .to_elsewhere(1, web().ack())
            .then(is(Established, 1)),
    ]
}

fn expiry() -> Vec<Case> {
    let overdue = |lives| http().connection(web_key(), 1, State::tcp(Established), lives);
    vec![
        Case::new("an overdue connection is scheduled again", overdue(-1))
            .to(2, web().syn())
            .then(is(SynReceived, 2))
            .then(Fact::Load(1, 0, 0))
            .then(Fact::Load(2, 1, 0))
            .then(Fact::Counted(2, 1, 1)),
        Case::new("an overdue connection is nobody's to a packet that does not open one", overdue(-5000))
            .not(Reason::NoConnection, web().ack())
            .then(Fact::NoConnection(web_key()))
            .then(Fact::Load(1, 0, 0)),
        Case::new("an overdue UDP connection is scheduled again", {
            dns().connection(key(Udp, 40_000, 53), 1, State::UDP, -1)
        })
        .to(2, udp(40_000, 53))
        .then(Fact::Load(1, 0, 0))
        .then(Fact::Load(2, 0, 1)),
        Case::new(
            "an overdue connection makes room in a full table, and comes off its server's counts",
            overdue(-1).full(),
        )
        .to(2, tcp(neighbour(), 80).syn())
        .then(Fact::NoConnection(web_key()))
        .then(Fact::Connection(key(Tcp, neighbour(), 80), State::tcp(SynReceived), 2))
        .then(Fact::Load(1, 0, 0))
        .then(Fact::Load(2, 1, 0)),
        Case::new("a connection that is nearly over lives on with a packet", overdue(2000))
            .to(1, web().ack())
            .then(is(Established, 1)),
    ]
}

/// A client's port whose connection may stand where [`web_key`]'s stands in a table that was empty: in its first bucket.
fn neighbour() -> u16 {
    let shape = Shape::steady(BUCKETS);
    let first = |port| shape.home_of(Hash::of(key(Tcp, port, CONNECTION.1), SEED)).first;
    (CONNECTION.0 + 1..=u16::MAX)
        .find(|port| first(*port) == first(CONNECTION.0))
        .expect("there are more ports than buckets")
}
