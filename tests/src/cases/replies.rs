//! Replies of VS/NAT whose way to the client is known, or is not: each is the packet that would have come from the VIP, to
//! the byte, with the VLAN tags that its way out has, whatever those are with which it came in. And what is none, though
//! there is a reply entry for it.

use lbxdp_common::client_hop::{WayOut, Wish};
use lbxdp_common::connection::Word;
use lbxdp_common::server::{Method, ServerFlags};
use lbxdp_common::service::{ServiceKey, widened};
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::table::Hash;
use lbxdp_common::wire::ethernet::{SERVICE_VLAN, Tag, VLAN};
use lbxdp_common::{Protocol, Reason, Scheduler, Ticks, Verdict};

use super::case::{Case, Fact};
use super::frame::{self, Packet, fragment, tagged, tcp, udp};
use super::masquerade::{reply_key, service};
use super::memory::HERTZ;
use super::setup::{Setup, key, key_v6, server_id};
use super::vlans::{ONE, TWO};
use super::{CLIENT, CLIENT_MAC, CLIENT_V6, DIRECTOR_MAC, IFINDEX, SEED, VIP, VIP_V6, v6};

use Protocol::{Tcp, Udp};

const PORT: u16 = 40_000;
const INSIDE: u16 = 8080;
/// The addresses of server 2.
const RIP: [u8; 4] = [10, 0, 0, 102];
const RIP_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];

/// The tags that frames come in with: none, one, two.
const TAGS: [&[(u16, u16)]; 3] = [&[], ONE, TWO];

/// How the client is reached, by an interface.
fn way(ifindex: u32) -> WayOut {
    let mut macs = [0; 12];
    macs[..6].copy_from_slice(&CLIENT_MAC);
    macs[6..].copy_from_slice(&DIRECTOR_MAC);
    WayOut { macs, ifindex }
}

pub(super) fn all() -> Vec<Case> {
    let each = TAGS.into_iter().flat_map(|tags| [sent_back(tags), sent_back_v6(tags), without_a_way(tags)]);
    each.chain([other_ways(), renewed(), left_behind(), wanted_twice()]).flatten().collect()
}

fn from_server(packet: Packet) -> Vec<u8> {
    packet.from_address(RIP).to_address(CLIENT).from_mac(SERVER_MAC).bytes()
}

fn at_client(packet: Packet) -> Vec<u8> {
    packet.from_address(VIP).to_address(CLIENT).ttl(63).from_mac(DIRECTOR_MAC).to_mac(CLIENT_MAC).bytes()
}

fn from_server_v6(packet: v6::Packet) -> Vec<u8> {
    packet.from_address(RIP_V6).to_address(CLIENT_V6).from_mac(SERVER_MAC).bytes()
}

fn at_client_v6(packet: v6::Packet) -> Vec<u8> {
    let packet = packet.from_address(VIP_V6).to_address(CLIENT_V6).hop_limit(63);
    packet.from_mac(DIRECTOR_MAC).to_mac(CLIENT_MAC).bytes()
}

/// Frames by both ways of a connection that comes in with these tags.
fn sent_back(tags: &'static [(u16, u16)]) -> Vec<Case> {
    let number = tags.len();
    let connection = key(Tcp, PORT, 80);
    let request = |flags: fn(Packet) -> Packet| {
        let out = flags(tcp(PORT, INSIDE)).to_address(RIP).ttl(63).from_mac(DIRECTOR_MAC).to_mac(SERVER_MAC);
        (tagged(&flags(tcp(PORT, 80)).bytes(), tags), out.bytes())
    };
    let reply = |flags: fn(Packet) -> Packet| {
        (tagged(&from_server(flags(tcp(INSIDE, PORT))), tags), at_client(flags(tcp(80, PORT))))
    };
    let mut case = Case::new(
        &format!("a connection by VS/NAT whose packets all come with {number} tags"),
        service(Tcp, 80, INSIDE).client_way(way(IFINDEX)),
    );
    for ((frame, out), state) in [
        (request(Packet::syn), TcpState::SynReceived),
        (reply(|packet| packet.syn().ack()), TcpState::SynReceived),
        (request(Packet::ack), TcpState::Established),
        (reply(|packet| packet.ack().payload(1000)), TcpState::Established),
        (reply(|packet| packet.fin().ack()), TcpState::FinWait),
        (request(|packet| packet.fin().ack()), TcpState::TimeWait),
    ] {
        case = case.becomes(Verdict::Transmit, frame, out);
        case = case.then(Fact::Connection(connection, State::tcp(state), 2));
    }
    let strange = tagged(&from_server(tcp(INSIDE, PORT + 1).ack()), tags);
    let exhausted = tagged(&from_server(tcp(INSIDE, PORT).ack().ttl(1)), tags);
    let datagram = |bytes| {
        let packet = |from| udp(from, PORT).payload(bytes).ip_options(&[1; 4]);
        (tagged(&from_server(packet(5353)), tags), at_client(packet(53)))
    };
    let known = service(Udp, 53, 5353)
        .connection(key(Udp, PORT, 53), 2, State::UDP, 60_000)
        .by(Method::MASQUERADE)
        .answered()
        .client_way(way(IFINDEX));
    let datagrams = Case::new(&format!("datagrams of VS/NAT come back with {number} tags"), known);
    vec![
        case.then(Fact::Counted(2, 3, 1)).then(Fact::Replied(2, 3)),
        Case::new(
            &format!("what comes from a server with {number} tags and is no reply"),
            service(Tcp, 80, INSIDE)
                .connection(key(Tcp, PORT, 80), 2, State::tcp(TcpState::Established), 60_000)
                .by(Method::MASQUERADE)
                .answered()
                .client_way(way(IFINDEX)),
        )
        .not_frame(Reason::NotOurs, strange)
        .told(Reason::TtlExpired, frame::TIME_EXCEEDED, exhausted),
        [0, 1, 2, 999, 1400]
            .into_iter()
            .map(datagram)
            .fold(datagrams, |case, (frame, out)| case.becomes(Verdict::Transmit, frame, out)),
    ]
}

/// A service of IPv6 by VS/NAT, and a connection to it.
fn service_v6(protocol: Protocol, port: u16, inside: u16, state: State) -> Setup {
    service(protocol, port, inside)
        .server(2, |row| {
            row.flags = row.flags.with(ServerFlags::IPV6);
            row.address = RIP_V6;
            row.service = ServiceKey::address_v6(VIP_V6, port.to_be_bytes(), protocol.raw());
        })
        .connection_v6(key_v6(protocol, PORT, port), 2, state, Method::MASQUERADE)
        .that_lives(20_000)
        .answered_v6()
}

fn sent_back_v6(tags: &'static [(u16, u16)]) -> Vec<Case> {
    let number = tags.len();
    let connection = key_v6(Tcp, PORT, 80);
    let established = State::tcp(TcpState::Established);
    let fin = |from| v6::tcp(from, PORT).fin().ack();
    let datagram = |from| v6::udp(from, PORT).payload(901);
    vec![
        Case::new(
            &format!("IPv6 replies by VS/NAT come with {number} tags"),
            service_v6(Tcp, 80, INSIDE, established).client_way(way(IFINDEX)),
        )
        .becomes(Verdict::Transmit, tagged(&from_server_v6(fin(INSIDE)), tags), at_client_v6(fin(80)))
        .then(Fact::ConnectionV6(connection, State::tcp(TcpState::FinWait), 2))
        .then(Fact::Replied(2, 1))
        .not_frame(Reason::NotOurs, tagged(&from_server_v6(v6::tcp(INSIDE, PORT + 1).ack()), tags)),
        Case::new(
            &format!("IPv6 datagrams by VS/NAT come back with {number} tags"),
            service_v6(Udp, 53, 5353, State::UDP).client_way(way(IFINDEX)),
        )
        .becomes(
            Verdict::Transmit,
            tagged(&from_server_v6(datagram(5353)), tags),
            at_client_v6(datagram(53)),
        ),
    ]
}

/// The kernel has a route to the client, and does not know its MAC address; to others it has none.
fn without_a_way(tags: &'static [(u16, u16)]) -> Vec<Case> {
    let number = tags.len();
    let reply = tagged(&from_server(udp(5353, PORT)), tags);
    let reply_v6 = tagged(&from_server_v6(v6::udp(5353, PORT)), tags);
    let mut far = key(Udp, PORT, 53);
    far.client = [10, 200, 0, 1];
    let to_far = udp(5353, PORT).from_address(RIP).to_address(far.client).from_mac(SERVER_MAC).bytes();
    vec![
        Case::new(
            &format!("a reply with {number} tags to a client whose MAC address is not known"),
            service(Udp, 53, 5353)
                .connection(key(Udp, PORT, 53), 2, State::UDP, 60_000)
                .by(Method::MASQUERADE)
                .answered(),
        )
        .not_frame(Reason::ClientUnresolved, reply)
        .then(Fact::Wished(Wish::NextHop(CLIENT.into())))
        .then(Fact::Replied(2, 1)),
        Case::new(
            &format!("an IPv6 reply with {number} tags to a client whose MAC address is not known"),
            service_v6(Udp, 53, 5353, State::UDP),
        )
        .not_frame(Reason::ClientUnresolved, reply_v6)
        .then(Fact::Wished(Wish::NextHop(CLIENT_V6.into()))),
        Case::new(
            &format!("a reply with {number} tags to a client that no route leads to"),
            service(Udp, 53, 5353).connection(far, 2, State::UDP, 60_000).by(Method::MASQUERADE).answered(),
        )
        .not_frame(Reason::NoRoute, tagged(&to_far, tags)),
    ]
}

/// Ways out that have tags, and lead elsewhere.
fn other_ways() -> Vec<Case> {
    const ELSEWHERE: u32 = 9;
    let one = Tag { control: 0x6009.into(), ethertype: VLAN };
    let (outer, none) = (Tag { ethertype: SERVICE_VLAN, ..one }, Tag::default());
    let ways = [
        (ELSEWHERE, [none, none], &[][..]),
        (IFINDEX, [one, none], &[(0x8100, 0x6009)]),
        (ELSEWHERE, [outer, one], &[(0x88a8, 0x6009), (0x8100, 0x6009)]),
    ];
    ways.into_iter()
        .map(|(ifindex, tags, as_words)| {
            let setup = service(Udp, 53, 5353)
                .connection(key(Udp, PORT, 53), 2, State::UDP, 60_000)
                .by(Method::MASQUERADE)
                .answered()
                .tagged_client_way(way(ifindex), tags);
            let number = as_words.len();
            let name = format!("replies that leave with {number} tags by interface {ifindex}");
            let verdict = if ifindex == IFINDEX { Verdict::Transmit } else { Verdict::Leave(ifindex) };
            TAGS.into_iter().fold(Case::new(&name, setup), |case, came_with| {
                case.becomes(
                    verdict,
                    tagged(&from_server(udp(5353, PORT)), came_with),
                    tagged(&at_client(udp(53, PORT)), as_words),
                )
            })
        })
        .collect()
}

/// A reply in fragments renews its connection as a whole one does.
fn renewed() -> Vec<Case> {
    let (connection, connection_v6) = (key(Udp, PORT, 53), key_v6(Udp, PORT, 53));
    let lifetime = 300 * HERTZ;
    let setup = service(Udp, 53, 5353)
        .connection(connection, 2, State::UDP, 20_000)
        .by(Method::MASQUERADE)
        .answered()
        .client_way(way(IFINDEX));
    let packet = |from: u16| udp(from, PORT).payload(1000).identification(3);
    let (reply, out) = (from_server(packet(5353)), at_client(packet(53)));
    let packet_v6 = |from: u16| v6::udp(from, PORT).payload(1000);
    let (reply_v6, out_v6) = (from_server_v6(packet_v6(5353)), at_client_v6(packet_v6(53)));
    vec![
        Case::new("a reply in fragments renews its connection", setup)
            .becomes(Verdict::Transmit, fragment(&reply, 0..400), fragment(&out, 0..400))
            .then(Fact::DueIn(connection, lifetime))
            .then(Fact::DueIn(reply_key(Udp, PORT, 5353), lifetime))
            .becomes(Verdict::Transmit, fragment(&reply, 400..1008), fragment(&out, 400..1008))
            .then(Fact::Replied(2, 2)),
        Case::new(
            "an IPv6 reply in fragments renews its connection",
            service_v6(Udp, 53, 5353, State::UDP).client_way(way(IFINDEX)),
        )
        .becomes(Verdict::Transmit, v6::fragment(&reply_v6, 3, 0..400), v6::fragment(&out_v6, 3, 0..400))
        .then(Fact::DueInV6(connection_v6, lifetime))
        .becomes(
            Verdict::Transmit,
            v6::fragment(&reply_v6, 3, 400..1008),
            v6::fragment(&out_v6, 3, 400..1008),
        )
        .then(Fact::Replied(2, 2)),
        Case::new(
            "an IPv6 reply in fragments moves its connection on",
            service_v6(Tcp, 80, INSIDE, State::tcp(TcpState::Established)).client_way(way(IFINDEX)),
        )
        .becomes(
            Verdict::Transmit,
            v6::fragment(&from_server_v6(v6::tcp(INSIDE, PORT).fin().ack().payload(400)), 4, 0..80),
            v6::fragment(&at_client_v6(v6::tcp(80, PORT).fin().ack().payload(400)), 4, 0..80),
        )
        .then(Fact::ConnectionV6(key_v6(Tcp, PORT, 80), State::tcp(TcpState::FinWait), 2)),
    ]
}

/// The client's connection to a port of the service, by VS/NAT unless that is changed; and its reply entry.
fn known(port: u16, lives: i32) -> Setup {
    service(Tcp, port, INSIDE)
        .connection(key(Tcp, PORT, port), 2, State::tcp(TcpState::Established), lives)
        .by(Method::MASQUERADE)
        .answered()
        .client_way(way(IFINDEX))
}

/// Reply entries whose connections are none any more: what comes from the server is the stack's, as it is.
fn left_behind() -> Vec<Case> {
    let late = || from_server(tcp(INSIDE, PORT).ack());
    let mut overdue = known(80, 60_000);
    overdue.connections[0].2 = -1;
    let mut of_another_server = known(80, 60_000);
    of_another_server.connections[0].1 =
        Word::live(server_id(1), State::tcp(TcpState::Established), Ticks(0)).by(Method::MASQUERADE);
    let mut by_tunnel = known(80, 60_000);
    by_tunnel.connections[0].1 = by_tunnel.connections[0].1.by(Method::TUNNEL);
    let mut overdue_v6 = service_v6(Tcp, 80, INSIDE, State::tcp(TcpState::Established));
    overdue_v6.connections_v6[0].2 = -1;
    let mut direct_v6 = service_v6(Tcp, 80, INSIDE, State::tcp(TcpState::Established));
    direct_v6.connections_v6[0].1 = direct_v6.connections_v6[0].1.by(Method::DIRECT);
    let late_v6 = || from_server_v6(v6::tcp(INSIDE, PORT).ack());
    let none = |name: &str, setup: Setup| {
        Case::new(&format!("no reply: the connection {name}"), setup)
            .not_frame(Reason::NotOurs, late())
            .not_frame(Reason::NotOurs, tagged(&late(), TAGS[2]))
            .then(Fact::Replied(2, 0))
    };
    let none_v6 = |name: &str, setup: Setup| {
        Case::new(&format!("no reply: the IPv6 connection {name}"), setup.client_way(way(IFINDEX)))
            .not_frame(Reason::NotOurs, late_v6())
            .then(Fact::Replied(2, 0))
    };
    vec![
        Case::new("a reply, where there is a connection", known(80, 60_000)).becomes(
            Verdict::Transmit,
            late(),
            at_client(tcp(80, PORT).ack()),
        ),
        none("is overdue", overdue),
        none("has gone", known(80, 60_000).that_has_gone()),
        none("goes to another server by now", of_another_server),
        none("goes another way by now", by_tunnel),
        none_v6("is overdue", overdue_v6),
        none_v6("goes another way by now", direct_v6),
    ]
}

/// Two services of one server, and a client that comes to both from one port: the server's packets do not tell which is
/// meant. They are the newer connection's, as long as there is one.
fn wanted_twice() -> Vec<Case> {
    let reply = reply_key(Tcp, PORT, INSIDE);
    let (older, newer) = (Hash::of(key(Tcp, PORT, 80), SEED).0, Hash::of(key(Tcp, PORT, 81), SEED).0);
    let setup = || {
        known(80, 60_000).service(Tcp, 81, Scheduler::RoundRobin, &[(3, 1)]).server(3, |row| {
            row.flags = row.flags.by(Method::MASQUERADE);
            row.address = widened(RIP);
            row.next_hop = SERVER_MAC;
            row.port_number = INSIDE.to_be_bytes();
            row.service = ServiceKey::address(VIP, 81u16.to_be_bytes(), Tcp.raw());
        })
    };
    let asks = |case: Case, flags: fn(Packet) -> Packet, port| {
        let out = flags(tcp(PORT, INSIDE)).to_address(RIP).ttl(63).from_mac(DIRECTOR_MAC).to_mac(SERVER_MAC);
        case.becomes(Verdict::Transmit, flags(tcp(PORT, port)).bytes(), out.bytes())
    };
    let answers = |case: Case, flags: fn(Packet) -> Packet, port| {
        case.becomes(
            Verdict::Transmit,
            from_server(flags(tcp(INSIDE, PORT))),
            at_client(flags(tcp(port, PORT))),
        )
    };
    let case = Case::new("a port that is used again leads replies to the newer connection", setup());
    let case = answers(case, Packet::ack, 80);
    let case = asks(case, Packet::syn, 81).then(Fact::Bond(reply, newer));
    let case = answers(case, |packet| packet.syn().ack(), 81);
    // Whatever else comes to the older one, even what once opened it.
    let case = asks(case, Packet::ack, 80).then(Fact::Bond(reply, newer));
    let case = asks(case, Packet::syn, 80).then(Fact::Bond(reply, newer));
    let case = answers(case, Packet::ack, 81);
    let mut ended = setup();
    // The newer one's entry, overdue as that is.
    let entry = ended.connections.last_mut().expect("a reply entry");
    (entry.2, entry.3) = (-1, newer);
    let again = Case::new("the older connection gets its replies again when the newer one is over", ended)
        .not_frame(Reason::NotOurs, from_server(tcp(INSIDE, PORT).ack()));
    let again = asks(again, Packet::ack, 80).then(Fact::Bond(reply, older));
    vec![case, answers(again, Packet::ack, 80)]
}
