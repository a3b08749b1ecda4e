//! Cases of VS/NAT: what a server gets, and which packets get no further. Where replies go is the kernel's word, so they are
//! elsewhere (`tests/tests/masquerade_host.rs`).

use lbxdp_common::connection::{Key, kind};
use lbxdp_common::server::{Method, ServerFlags};
use lbxdp_common::service::ServiceKey;
use lbxdp_common::settings::Rules;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::table::Hash;
use lbxdp_common::wire::sctp::ChunkKind;
use lbxdp_common::{Protocol, Reason, Scheduler, Verdict};

use super::case::{Case, Fact};
use super::frame::{Packet, sctp, tcp, udp};
use super::setup::{Setup, key};
use super::{CLIENT, DIRECTOR_MAC, SEED, VIP};

use Protocol::{Sctp, Tcp, Udp};
use Scheduler::RoundRobin;
use TcpState::{CloseWait, Established, SynReceived};

const PORT: u16 = 40_000;
/// The port of the servers.
const INSIDE: u16 = 8080;
/// The address of server 2, which all cases go to.
const RIP: [u8; 4] = [10, 0, 0, 102];

/// A service by VS/NAT at a port of the VIP.
pub fn service(protocol: Protocol, port: u16, inside: u16) -> Setup {
    let key = ServiceKey::address(VIP, port.to_be_bytes(), protocol.raw());
    Setup::new()
        .service(protocol, port, RoundRobin, &[(2, 1)])
        .server(2, |row| {
            row.flags = row.flags.by(Method::MASQUERADE);
            row.port_number = inside.to_be_bytes();
            row.service = key;
        })
        .rule(Rules::MASQUERADE)
}

/// The key of the reply entry of the client's connection.
pub fn reply_key(protocol: Protocol, from: u16, inside: u16) -> Key {
    Key { vip: RIP, kind: kind::REPLY, ..key(protocol, from, inside) }
}

/// The same packet as the server gets it.
fn at_server(packet: Packet) -> Vec<u8> {
    packet.to_address(RIP).ttl(63).from_mac(DIRECTOR_MAC).to_mac([2, 0, 0, 0, 1, 2]).bytes()
}

/// A packet that the server gets, given as it is with the service's port and with the server's.
fn sent(case: Case, before: Packet, after: Packet) -> Case {
    case.becomes(Verdict::Transmit, before.bytes(), at_server(after))
}

/// Every case of VS/NAT.
pub fn all() -> Vec<Case> {
    let connection = key(Tcp, PORT, 80);
    let reply = reply_key(Tcp, PORT, INSIDE);
    let to_server = |flags: fn(Packet) -> Packet| (flags(tcp(PORT, 80)), flags(tcp(PORT, INSIDE)));
    let mut cases = Vec::new();

    let mut case = Case::new("a connection has two entries and the client's view", service(Tcp, 80, INSIDE));
    for (flags, state) in [
        (Packet::syn as fn(Packet) -> Packet, SynReceived),
        (Packet::ack, Established),
        (|packet: Packet| packet.fin().ack(), CloseWait),
    ] {
        let (before, after) = to_server(flags);
        case = sent(case, before, after).then(Fact::Connection(connection, State::tcp(state), 2));
        case = case.then(Fact::Connection(reply, State::NONE, 2));
        case = case.then(Fact::Bond(reply, Hash::of(connection, SEED).0));
    }
    cases
        .push(case.then(Fact::HalfOpen(reply, false)).then(Fact::Load(2, 0, 1)).then(Fact::Counted(2, 3, 1)));

    let (before, after) = to_server(Packet::ack);
    let old = service(Tcp, 80, INSIDE)
        .connection(connection, 2, State::tcp(Established), 10)
        .by(Method::MASQUERADE);
    cases.push(
        sent(Case::new("a connection without a reply entry gets one again", old), before, after)
            .then(Fact::Connection(reply, State::NONE, 2))
            .then(Fact::HalfOpen(reply, false)),
    );

    let both = |packet: fn(u16) -> Packet| (packet(53), packet(5353));
    for (name, (before, after)) in [
        ("a datagram", both(|port| udp(PORT, port))),
        ("a datagram of an odd length", both(|port| udp(PORT, port).payload(1001))),
        ("a datagram with options", both(|port| udp(PORT, port).ip_options(&[1; 12]))),
    ] {
        let case = Case::new(&format!("{name} is translated"), service(Udp, 53, 5353));
        let case = sent(case, before, after).then(Fact::Connection(key(Udp, PORT, 53), State::UDP, 2));
        cases.push(case.then(Fact::HalfOpen(reply_key(Udp, PORT, 5353), true)));
    }
    let bare = |mut frame: Vec<u8>| {
        frame[40..42].fill(0);
        frame
    };
    cases.push(Case::new("a datagram without a checksum keeps none", service(Udp, 53, 5353)).becomes(
        Verdict::Transmit,
        bare(udp(PORT, 53).bytes()),
        bare(at_server(udp(PORT, 5353))),
    ));
    cases.push({
        let case =
            Case::new("with one packet a connection nothing stays", service(Udp, 53, 5353).one_packet());
        sent(case, udp(PORT, 53), udp(PORT, 5353))
            .then(Fact::NoConnection(key(Udp, PORT, 53)))
            .then(Fact::NoConnection(reply_key(Udp, PORT, 5353)))
    });

    let init = |port: u16, bytes: usize| sctp(PORT, port).chunk(ChunkKind::INIT, &vec![7; bytes]);
    cases.push({
        let case = Case::new("an SCTP packet gets a new checksum", service(Sctp, 7000, 7001));
        sent(case, init(7000, 301), init(7001, 301))
    });
    cases.push(
        Case::new("a long SCTP packet cannot get one", service(Sctp, 7000, 7001))
            .not(Reason::SctpTooLong, init(7000, 2100)),
    );
    cases.push({
        let case = Case::new("a long SCTP packet to the same port needs none", service(Sctp, 7000, 7000));
        sent(case, init(7000, 2100), init(7000, 2100))
    });

    let local =
        |inside| service(Tcp, 80, inside).server(2, |row| row.flags = row.flags.with(ServerFlags::LOCAL));
    cases.push(Case::new("a local server with the same port", local(80)).local(tcp(PORT, 80).syn()));
    cases.push(
        Case::new("a local server with another port", local(INSIDE))
            .not(Reason::LocalPort, tcp(PORT, 80).syn()),
    );
    cases.push(
        Case::new("where there is no room none goes by hash", service(Tcp, 80, INSIDE).full())
            .not(Reason::TableFull, tcp(PORT, 80).syn()),
    );
    cases.push(
        Case::new("what comes from a server and answers nobody is the stack's", service(Tcp, 80, INSIDE))
            .not(Reason::NotOurs, tcp(INSIDE, PORT).from_address(RIP).to_address(CLIENT).ack())
            .not(Reason::NotOurs, tcp(INSIDE, PORT).from_address(RIP).to_address(CLIENT).syn())
            .then(Fact::Counted(2, 0, 0)),
    );
    cases
}
