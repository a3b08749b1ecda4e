//! ICMP errors: those that are made about packets that go no further, and those that arrive about connections.

use etherparse::{IpNumber, Ipv4Header, Ipv6Header, PacketBuilder};
use lbxdp_common::client_hop::{WayOut, Wish};
use lbxdp_common::forward::TunnelKind;
use lbxdp_common::server::{Method, ServerFlags, ServerRow};
use lbxdp_common::service::{ServiceKey, widened};
use lbxdp_common::settings::Rules;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::{Notice, Protocol, Reason, Scheduler, Verdict};
use std::net::IpAddr;

use super::case::{Case, Fact};
use super::frame::{Error, IP, PORT_UNREACHABLE, Packet, TIME_EXCEEDED, refused, tagged, tcp, udp};
use super::setup::{Setup, key, key_v6};
use super::vlans::{ONE, TWO};
use super::{CLIENT, CLIENT_MAC, CLIENT_V6, DIRECTOR_MAC, IFINDEX, VIP, VIP_V6};

use Protocol::{Tcp, Udp};
use Reason::{
    Malformed, MustFragment, NoServer, NotOurs, OtherProtocol, ServerGone, TooBig, TtlExpired, TunnelError,
};

const PORT_UNREACHABLE_V6: Error = (1, 4, [0; 4]);
const TIME_EXCEEDED_V6: Error = (3, 0, [0; 4]);

/// Too long for a way that takes so many bytes.
const fn fragmentation_needed(mtu: u16) -> Error {
    let [high, low] = mtu.to_be_bytes();
    (3, 4, [0, 0, high, low])
}

const fn packet_too_big(mtu: u16) -> Error {
    let [high, low] = mtu.to_be_bytes();
    (2, 0, [0, 0, high, low])
}

pub(super) fn all() -> Vec<Case> {
    [
        told(),
        not_told(),
        limits(),
        arriving(),
        arriving_v6(),
        translated(),
        not_forwarded(),
        back(),
        about_tunnels(),
    ]
    .concat()
}

/// The row of a server behind a way that takes so many bytes.
fn narrow(mtu: u16) -> impl Fn(&mut ServerRow) {
    move |row| row.mtu = mtu
}

/// One service of each family; server 1 is behind a narrow way.
fn services() -> Setup {
    let by = Scheduler::RoundRobin;
    Setup::new()
        .service(Tcp, 80, by, &[(1, 1)])
        .service(Udp, 53, by, &[])
        .service_v6(Tcp, 80, by, &[(1, 1)])
        .service_v6(Udp, 53, by, &[])
        .rule(Rules::PMTU_DISC)
        .server(1, narrow(1400))
}

/// Server 1 is reached by a tunnel of IP in IP.
fn tunnel(setup: Setup) -> Setup {
    setup.server(1, |row| {
        row.flags = row.flags.with(ServerFlags::TUNNEL);
        row.tunnel_source = widened([10, 0, 0, 1]);
    })
}

fn web() -> Packet {
    tcp(40_000, 80).syn()
}

/// An IPv6 packet from the client to the VIP, of a hop limit.
fn v6(hop_limit: u8) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(CLIENT_MAC, DIRECTOR_MAC).ipv6(CLIENT_V6, VIP_V6, hop_limit)
}

fn dns_v6(hop_limit: u8, payload: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(payload).collect();
    let mut frame = Vec::new();
    v6(hop_limit).udp(40_000, 53).write(&mut frame, &payload).expect("memory takes all");
    frame
}

fn web_v6(hop_limit: u8, payload: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    v6(hop_limit)
        .tcp(40_000, 80, 1000, 64_000)
        .syn()
        .write(&mut frame, &vec![7; payload])
        .expect("memory takes all");
    frame
}

fn told() -> Vec<Case> {
    let lengths = |lengths: std::ops::Range<usize>| {
        lengths
            .fold(Case::new("an IPv6 packet is quoted as far as there is room", services()), |case, bytes| {
                case.told(NoServer, PORT_UNREACHABLE_V6, dns_v6(64, bytes))
            })
    };
    let mut padded = dns_v6(64, 3);
    padded.extend([0x5a; 9]);
    // A destination options header of 16 bytes.
    let mut with_options = dns_v6(64, 5);
    with_options.splice(IP + 40..IP + 40, [[17, 1, 1, 12], [0; 4], [0; 4], [0; 4]].concat());
    with_options[IP + 5] += 16;
    with_options[IP + 6] = 60;
    vec![
        Case::new("IPv6 clients are told that the port is unreachable", services())
            .told(NoServer, PORT_UNREACHABLE_V6, dns_v6(64, 0))
            .told(NoServer, PORT_UNREACHABLE_V6, padded)
            .told(NoServer, PORT_UNREACHABLE_V6, with_options)
            .then(Fact::Told(Notice::PortUnreachable, 3)),
        lengths(0..4),
        lengths(1183..1187),
        Case::new("the hop limit is quoted as it came", services())
            .told(TtlExpired, TIME_EXCEEDED_V6, web_v6(1, 0))
            .told(TtlExpired, TIME_EXCEEDED_V6, web_v6(0, 33))
            .then(Fact::Told(Notice::TimeExceeded, 2)),
        Case::new("no hop left", services()).told(TtlExpired, TIME_EXCEEDED, web().ttl(1).bytes()).told(
            TtlExpired,
            TIME_EXCEEDED,
            web().ttl(1).ip_options(&[1; 40]).bytes(),
        ),
        Case::new("too big for the way", services())
            .to(1, web().payload(1360))
            .told(TooBig, fragmentation_needed(1400), web().payload(1361).bytes())
            .then(Fact::Told(Notice::PacketTooBig, 1)),
        Case::new("no hop left goes before too big", services()).told(
            TtlExpired,
            TIME_EXCEEDED,
            web().ttl(1).payload(1361).bytes(),
        ),
        Case::new("too big for the way, of IPv6", services())
            .told(TooBig, packet_too_big(1400), web_v6(64, 1341))
            .told(TooBig, packet_too_big(1400), web_v6(64, 1400)),
        Case::new("too big for the tunnel", tunnel(services()))
            .told(TooBig, fragmentation_needed(1380), web().payload(1341).bytes())
            .told(TooBig, packet_too_big(1380), web_v6(64, 1321)),
        Case::new("too big for the tunnel, and nobody cares", {
            let mut setup = tunnel(services());
            setup.rules = Rules::IPV6;
            setup
        })
        .held(MustFragment, 1380, web().payload(1341).bytes())
        .told(TooBig, packet_too_big(1380), web_v6(64, 1321)),
    ]
}

/// Cases in which nobody is told.
fn not_told() -> Vec<Case> {
    let from = |address: [u8; 16]| {
        let mut frame = dns_v6(64, 4);
        frame[IP + 8..IP + 24].copy_from_slice(&address);
        frame
    };
    let mut group = [0; 16];
    (group[0], group[15]) = (0xff, 1);
    let mut loopback = [0; 16];
    loopback[15] = 1;
    let mut longer_than_its_frame = dns_v6(64, 40);
    longer_than_its_frame.pop();
    vec![
        Case::new("nobody is told whose address is not one IPv6 host's", services())
            .not_frame(NoServer, from(group))
            .not_frame(NoServer, from([0; 16]))
            .not_frame(NoServer, from(loopback))
            .not_frame(NoServer, from(VIP_V6))
            .not_frame(Malformed, longer_than_its_frame)
            .then(Fact::Told(Notice::Unanswerable, 4)),
    ]
}

fn limits() -> Vec<Case> {
    let told = (0..6).fold(Case::new("an IPv6 client is told six times at once", services()), |case, _| {
        case.told(NoServer, PORT_UNREACHABLE_V6, dns_v6(64, 1))
    });
    let too_big = (0..3).fold(told.not_frame(NoServer, dns_v6(64, 1)), |case, _| {
        case.told(TooBig, packet_too_big(1400), web_v6(64, 1400))
    });
    let too_big_v4 = (0..9).fold(Case::new("path MTU discovery is not limited", services()), |case, _| {
        case.told(TooBig, fragmentation_needed(1400), web().payload(1400).bytes())
    });
    vec![
        too_big
            .then(Fact::Told(Notice::ClientLimit, 1))
            .then(Fact::Told(Notice::PortUnreachable, 6))
            .then(Fact::Told(Notice::PacketTooBig, 3)),
        too_big_v4.told(NoServer, PORT_UNREACHABLE, udp(40_000, 53).bytes()),
    ]
}

/// Somebody between director and client.
const ROUTER: [u8; 4] = [10, 0, 0, 9];
const ROUTER_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];

/// An error about what quotes as so many bytes, from a router to somebody.
fn error(to: [u8; 4], (kind, code, rest): Error, quote: &[u8]) -> Vec<u8> {
    error_of_ttl(64, to, (kind, code, rest), quote)
}

fn error_of_ttl(ttl: u8, to: [u8; 4], (kind, code, rest): Error, quote: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(CLIENT_MAC, DIRECTOR_MAC)
        .ipv4(ROUTER, to, ttl)
        .icmpv4_raw(kind, code, rest)
        .write(&mut frame, quote)
        .expect("memory takes all");
    frame
}

fn error_v6(hop_limit: u8, to: [u8; 16], (kind, code, rest): Error, quote: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(CLIENT_MAC, DIRECTOR_MAC)
        .ipv6(ROUTER_V6, to, hop_limit)
        .icmpv6_raw(kind, code, rest)
        .write(&mut frame, quote)
        .expect("memory takes all");
    frame
}

/// What the client was sent from an address and port, on its way at a TTL; options of the header.
fn sent(from: [u8; 4], port: u16, ttl: u8, options: &[u8]) -> Vec<u8> {
    let udp = [&port.to_be_bytes()[..], &40_000u16.to_be_bytes(), &[0, 28], &[0xab, 0xcd], &[9; 20]].concat();
    let mut ip = Ipv4Header::new(u16::try_from(udp.len()).expect("short"), ttl, IpNumber::UDP, from, CLIENT)
        .expect("short");
    ip.options = options.try_into().expect("options of a length that can be");
    ip.header_checksum = ip.calc_header_checksum();
    [&ip.to_bytes()[..], &udp].concat()
}

fn sent_v6(from: [u8; 16], port: u16, extensions: &[u8]) -> Vec<u8> {
    let udp = [&port.to_be_bytes()[..], &40_000u16.to_be_bytes(), &[0, 28], &[0xab, 0xcd], &[9; 20]].concat();
    let ip = Ipv6Header {
        payload_length: u16::try_from(extensions.len() + udp.len()).expect("short"),
        next_header: if extensions.is_empty() { IpNumber::UDP } else { IpNumber::IPV6_DESTINATION_OPTIONS },
        hop_limit: 60,
        source: from,
        destination: CLIENT_V6,
        ..Ipv6Header::default()
    };
    [&ip.to_bytes()[..], extensions, &udp].concat()
}

/// A connection of the client to server 1, by a method.
fn known(method: Method) -> Setup {
    Setup::new().connection(key(Udp, 40_000, 53), 1, State::UDP, 60_000).by(method).connection_v6(
        key_v6(Udp, 40_000, 53),
        1,
        State::UDP,
        method,
    )
}

const ERRORS: [Error; 5] =
    [PORT_UNREACHABLE, TIME_EXCEEDED, (3, 4, [0, 0, 5, 0]), (4, 0, [0; 4]), (3, 13, [0; 4])];
const ERRORS_V6: [Error; 4] =
    [PORT_UNREACHABLE_V6, TIME_EXCEEDED_V6, (2, 0, [0, 0, 5, 0]), (4, 1, [0, 0, 0, 6])];

fn arriving() -> Vec<Case> {
    let all = ERRORS
        .iter()
        .fold(Case::new("errors go to the connection's server", known(Method::DIRECT)), |case, told| {
            case.to_frame(1, error(VIP, *told, &sent(VIP, 53, 60, &[])))
        });
    let number = ERRORS.len() as u64;
    let direct = all
        .then(Fact::Counted(1, number, 0))
        .then(Fact::Connection(key(Udp, 40_000, 53), State::UDP, 1))
        .then(Fact::DueIn(key(Udp, 40_000, 53), 60_000));
    let quotes = (28..49).fold(
        Case::new("eight bytes of the transport header are enough, fewer are not", known(Method::DIRECT))
            .not_frame(Malformed, error(VIP, PORT_UNREACHABLE, &sent(VIP, 53, 60, &[])[..27])),
        |case, bytes| case.to_frame(1, error(VIP, PORT_UNREACHABLE, &sent(VIP, 53, 60, &[])[..bytes])),
    );
    let state = State::tcp(TcpState::Established);
    let tcp_setup = Setup::new().connection(key(Tcp, 40_000, 53), 2, state, 60_000);
    let mut tcp_quote = sent(VIP, 53, 60, &[]);
    tcp_quote[9] = 6;
    vec![
        direct,
        quotes,
        Case::new("options of the quoted header are stepped over", known(Method::DIRECT))
            .to_frame(1, error(VIP, TIME_EXCEEDED, &sent(VIP, 53, 1, &[1; 40])))
            .to_frame(1, error(VIP, TIME_EXCEEDED, &sent(VIP, 53, 1, &[1; 4]))),
        Case::new("an error changes no state", tcp_setup)
            .to_frame(2, error(VIP, PORT_UNREACHABLE, &tcp_quote))
            .then(Fact::Connection(key(Tcp, 40_000, 53), state, 2))
            .then(Fact::Load(2, 1, 0)),
        Case::new("an error that has no hop left is dropped", known(Method::DIRECT))
            .not_frame(TtlExpired, error_of_ttl(1, VIP, PORT_UNREACHABLE, &sent(VIP, 53, 60, &[])))
            .then(Fact::Told(Notice::Unanswerable, 1)),
        Case::new(
            "an error whose server is gone is dropped",
            known(Method::DIRECT).server(1, |row| {
                row.flags = ServerFlags::default();
            }),
        )
        .not_frame(ServerGone, error(VIP, PORT_UNREACHABLE, &sent(VIP, 53, 60, &[]))),
        {
            let frame = error(VIP, PORT_UNREACHABLE, &sent(VIP, 53, 60, &[]));
            let outer = Ipv4Header::from_slice(&frame[IP..]).expect("a header").0;
            let mut inner = frame[IP..].to_vec();
            let mut decremented = outer.clone();
            decremented.time_to_live -= 1;
            decremented.header_checksum = decremented.calc_header_checksum();
            inner[..20].copy_from_slice(&decremented.to_bytes());
            let mut tunnel = Ipv4Header::new(
                u16::try_from(inner.len()).expect("short"),
                63,
                IpNumber::IPV4,
                [10, 0, 0, 1],
                [10, 0, 0, 101],
            )
            .expect("short");
            tunnel.dont_fragment = true;
            tunnel.header_checksum = tunnel.calc_header_checksum();
            let macs = [&[2, 0, 0, 0, 1, 1][..], &DIRECTOR_MAC, &[8, 0]].concat();
            Case::new(
                "an error goes by the tunnel",
                self::tunnel(known(Method::TUNNEL).rule(Rules::PMTU_DISC)),
            )
            .becomes(Verdict::Transmit, frame, [&macs[..], &tunnel.to_bytes(), &inner].concat())
            .then(Fact::Counted(1, 1, 0))
        },
    ]
}

/// The frame as server 1 gets it, by its MAC addresses alone.
fn to_server_1(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..12].copy_from_slice(&[2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 1]);
    frame
}

fn arriving_v6() -> Vec<Case> {
    let name = "errors go to the IPv6 connection's server";
    let all = ERRORS_V6.iter().fold(Case::new(name, known(Method::DIRECT)), |case, told| {
        let quote = sent_v6(VIP_V6, 53, &[]);
        let out = to_server_1(error_v6(63, VIP_V6, *told, &quote));
        case.becomes(Verdict::Transmit, error_v6(64, VIP_V6, *told, &quote), out)
    });
    let options = [[17, 1, 1, 12], [0; 4], [0; 4], [0; 4]].concat();
    // A first fragment.
    let fragment = [17, 0, 0, 1, 0, 0, 0, 9];
    let mut first = sent_v6(VIP_V6, 53, &fragment);
    first[6] = 44;
    let mut later = first.clone();
    later[43] = 0x29;
    let through = |case: Case, quote: &[u8]| {
        let out = to_server_1(error_v6(63, VIP_V6, TIME_EXCEEDED_V6, quote));
        case.becomes(Verdict::Transmit, error_v6(64, VIP_V6, TIME_EXCEEDED_V6, quote), out)
    };
    let case = Case::new("extension headers of the quoted packet are stepped over", known(Method::DIRECT));
    let case = through(through(case, &sent_v6(VIP_V6, 53, &options)), &first);
    let short =
        Case::new("eight bytes of the transport header are enough, of IPv6 too", known(Method::DIRECT));
    let quote = sent_v6(VIP_V6, 53, &[]);
    let short = (48..60).fold(short, |case, bytes| through(case, &quote[..bytes]));
    vec![
        all.then(Fact::Counted(1, ERRORS_V6.len() as u64, 0)),
        case.not_frame(OtherProtocol, error_v6(64, VIP_V6, TIME_EXCEEDED_V6, &later)),
        short.not_frame(Malformed, error_v6(64, VIP_V6, TIME_EXCEEDED_V6, &quote[..47])),
        Case::new("an IPv6 error that has no hop left is dropped", known(Method::DIRECT))
            .not_frame(TtlExpired, error_v6(1, VIP_V6, TIME_EXCEEDED_V6, &quote))
            .then(Fact::Told(Notice::Unanswerable, 1)),
    ]
}

const SERVER: [u8; 4] = [10, 0, 0, 101];
const SERVER_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];

/// By VS/NAT: the server has an address of its own, and a port.
fn masquerade() -> Setup {
    known(Method::MASQUERADE).server(1, |row| {
        row.port_number = 5353u16.to_be_bytes();
        row.service = ServiceKey::address(VIP, 53u16.to_be_bytes(), Udp.raw());
    })
}

fn masquerade_v6() -> Setup {
    masquerade().server(1, |row| {
        row.address = SERVER_V6;
        row.service = ServiceKey::address_v6(VIP_V6, 53u16.to_be_bytes(), Udp.raw());
        row.flags = row.flags.with(ServerFlags::IPV6);
    })
}

fn translated() -> Vec<Case> {
    let translated = |case: Case, told: Error, bytes: usize, options: &[u8]| {
        let frame = error(VIP, told, &sent(VIP, 53, 60, options)[..bytes]);
        let out = error_of_ttl(63, SERVER, told, &sent(SERVER, 5353, 60, options)[..bytes]);
        case.becomes(Verdict::Transmit, frame, to_server_1(out))
    };
    let case = Case::new("by VS/NAT an error is the server's, and so is what it quotes", masquerade());
    let case = ERRORS.iter().fold(case, |case, told| translated(case, *told, 48, &[]));
    let number = ERRORS.len() as u64;
    let lengths = Case::new("whatever the length of the quote", masquerade());
    let lengths = (28..48).fold(lengths, |case, bytes| translated(case, TIME_EXCEEDED, bytes, &[]));
    let options = Case::new("and whatever its options", masquerade());
    let translated_v6 = |case: Case, told: Error, bytes: usize| {
        let frame = error_v6(64, VIP_V6, told, &sent_v6(VIP_V6, 53, &[])[..bytes]);
        let out = error_v6(63, SERVER_V6, told, &sent_v6(SERVER_V6, 5353, &[])[..bytes]);
        case.becomes(Verdict::Transmit, frame, to_server_1(out))
    };
    let case_v6 = Case::new("by VS/NAT an IPv6 error is the server's", masquerade_v6());
    let case_v6 = ERRORS_V6.iter().fold(case_v6, |case, told| translated_v6(case, *told, 68));
    let case_v6 = (48..68).fold(case_v6, |case, bytes| translated_v6(case, TIME_EXCEEDED_V6, bytes));
    let mut wrong_checksum = error(VIP, TIME_EXCEEDED, &sent(VIP, 53, 60, &[]));
    wrong_checksum[IP + 22] ^= 1;
    let mut wrong_checksum_v6 = error_v6(64, VIP_V6, TIME_EXCEEDED_V6, &sent_v6(VIP_V6, 53, &[]));
    wrong_checksum_v6[IP + 42] ^= 1;
    vec![
        case.then(Fact::Counted(1, number, 0)),
        lengths,
        translated(options, TIME_EXCEEDED, 68, &[1; 20]),
        case_v6,
        Case::new("an error with a wrong checksum passes as it is", masquerade())
            .not_frame(Malformed, wrong_checksum)
            .not_frame(Malformed, wrong_checksum_v6),
    ]
}

fn not_forwarded() -> Vec<Case> {
    let of = |kind: u8| error(VIP, (kind, 0, [0; 4]), &sent(VIP, 53, 60, &[]));
    let of_v6 = |kind: u8| error_v6(64, VIP_V6, (kind, 0, [0; 4]), &sent_v6(VIP_V6, 53, &[]));
    let passes = [0, 5, 8, 12, 13, 42].iter().fold(
        Case::new("what is no error passes, and what IPVS leaves alone", known(Method::DIRECT)),
        |case, kind| case.not_frame(OtherProtocol, of(*kind)),
    );
    let mut later = sent(VIP, 53, 60, &[]);
    later[7] = 9;
    let mut other = sent(VIP, 53, 60, &[]);
    other[9] = 47;
    let overdue = Setup::new().connection(key(Udp, 40_000, 53), 1, State::UDP, -1);
    vec![
        [128, 129, 135, 200].iter().fold(passes, |case, kind| case.not_frame(OtherProtocol, of_v6(*kind))),
        Case::new("an error about no connection passes", known(Method::DIRECT))
            .not_frame(OtherProtocol, error(VIP, PORT_UNREACHABLE, &sent(VIP, 54, 60, &[])))
            .not_frame(OtherProtocol, error(VIP, PORT_UNREACHABLE, &sent([10, 0, 0, 7], 53, 60, &[])))
            .not_frame(OtherProtocol, error_v6(64, VIP_V6, TIME_EXCEEDED_V6, &sent_v6(VIP_V6, 54, &[])))
            .not_frame(OtherProtocol, error(VIP, PORT_UNREACHABLE, &later))
            .not_frame(OtherProtocol, error(VIP, PORT_UNREACHABLE, &other)),
        Case::new("an error about a connection that is over passes", overdue)
            .not_frame(OtherProtocol, error(VIP, PORT_UNREACHABLE, &sent(VIP, 53, 60, &[]))),
    ]
}

/// How the client is reached.
fn way() -> WayOut {
    let mut macs = [0; 12];
    macs[..6].copy_from_slice(&CLIENT_MAC);
    macs[6..].copy_from_slice(&DIRECTOR_MAC);
    WayOut { macs, ifindex: IFINDEX }
}

/// The frame as the client gets it.
fn to_client(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..12].copy_from_slice(&way().macs);
    frame
}

/// What a server was sent by the client.
fn requested(to: [u8; 4], port: u16, ttl: u8) -> Vec<u8> {
    let mut packet = sent(CLIENT, 40_000, ttl, &[]);
    packet[16..20].copy_from_slice(&to);
    packet[22..24].copy_from_slice(&port.to_be_bytes());
    packet[10..12].fill(0);
    let (ip, _) = Ipv4Header::from_slice(&packet).expect("a header");
    packet[10..12].copy_from_slice(&ip.calc_header_checksum().to_be_bytes());
    packet
}

fn requested_v6(to: [u8; 16], port: u16) -> Vec<u8> {
    let mut packet = sent_v6(CLIENT_V6, 40_000, &[]);
    packet[24..40].copy_from_slice(&to);
    packet[42..44].copy_from_slice(&port.to_be_bytes());
    packet
}

/// The same frame from another address.
fn from(mut frame: Vec<u8>, source: [u8; 4]) -> Vec<u8> {
    frame[IP + 12..IP + 16].copy_from_slice(&source);
    frame[IP + 10..IP + 12].fill(0);
    let (ip, _) = Ipv4Header::from_slice(&frame[IP..]).expect("a header");
    frame[IP + 10..IP + 12].copy_from_slice(&ip.calc_header_checksum().to_be_bytes());
    frame
}

fn from_v6(source: [u8; 16], hop_limit: u8, (kind, code, rest): Error, quote: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(CLIENT_MAC, DIRECTOR_MAC)
        .ipv6(source, CLIENT_V6, hop_limit)
        .icmpv6_raw(kind, code, rest)
        .write(&mut frame, quote)
        .expect("memory takes all");
    frame
}

fn back() -> Vec<Case> {
    let setup = || masquerade().answered().client_way(way());
    let setup_v6 = || masquerade_v6().answered_v6().client_way(way());
    let translated = |case: Case, source: [u8; 4], told: Error, bytes: usize| {
        let frame = from(error(CLIENT, told, &requested(SERVER, 5353, 62)[..bytes]), source);
        let out = from(error_of_ttl(63, CLIENT, told, &requested(VIP, 53, 62)[..bytes]), VIP);
        case.becomes(Verdict::Transmit, frame, to_client(out))
    };
    let all = Case::new("by VS/NAT an error about a request is the VIP's", setup());
    let all = ERRORS.iter().fold(all, |case, told| translated(case, ROUTER, *told, 48));
    let all = translated(all, SERVER, PORT_UNREACHABLE, 48);
    let lengths = Case::new("an error about a request, whatever its length", setup());
    let lengths = (28..48).fold(lengths, |case, bytes| translated(case, ROUTER, TIME_EXCEEDED, bytes));
    let translated_v6 = |case: Case, told: Error, bytes: usize| {
        let frame = from_v6(ROUTER_V6, 64, told, &requested_v6(SERVER_V6, 5353)[..bytes]);
        let out = from_v6(VIP_V6, 63, told, &requested_v6(VIP_V6, 53)[..bytes]);
        case.becomes(Verdict::Transmit, frame, to_client(out))
    };
    let all_v6 = Case::new("by VS/NAT an IPv6 error about a request is the VIP's", setup_v6());
    let all_v6 = ERRORS_V6.iter().fold(all_v6, |case, told| translated_v6(case, *told, 68));
    let all_v6 = (48..68).fold(all_v6, |case, bytes| translated_v6(case, TIME_EXCEEDED_V6, bytes));
    // Whatever tags they come with.
    let in_tags = |tags: &[(u16, u16)]| {
        let frame = from(error(CLIENT, PORT_UNREACHABLE, &requested(SERVER, 5353, 62)), SERVER);
        let out = from(error_of_ttl(63, CLIENT, PORT_UNREACHABLE, &requested(VIP, 53, 62)), VIP);
        let number = tags.len();
        Case::new(&format!("an error about a request comes with {number} tags"), setup())
            .becomes(Verdict::Transmit, tagged(&frame, tags), to_client(out))
            .not_frame(NotOurs, tagged(&error(CLIENT, PORT_UNREACHABLE, &requested(SERVER, 53, 62)), tags))
    };
    let in_tags_v6 = |tags: &[(u16, u16)]| {
        let frame = from_v6(SERVER_V6, 64, PORT_UNREACHABLE_V6, &requested_v6(SERVER_V6, 5353));
        let out = from_v6(VIP_V6, 63, PORT_UNREACHABLE_V6, &requested_v6(VIP_V6, 53));
        let number = tags.len();
        Case::new(&format!("an IPv6 error about a request comes with {number} tags"), setup_v6()).becomes(
            Verdict::Transmit,
            tagged(&frame, tags),
            to_client(out),
        )
    };
    let plain = || error(CLIENT, PORT_UNREACHABLE, &requested(SERVER, 5353, 62));
    let mut wrong_checksum = plain();
    wrong_checksum[IP + 22] ^= 1;
    vec![
        all.then(Fact::Counted(1, 0, 0)),
        lengths,
        all_v6,
        in_tags(ONE),
        in_tags(TWO),
        in_tags_v6(ONE),
        in_tags_v6(TWO),
        Case::new("an error about no request is the stack's", setup())
            .not_frame(NotOurs, error(CLIENT, PORT_UNREACHABLE, &requested(SERVER, 53, 62)))
            .not_frame(NotOurs, error([10, 0, 0, 11], PORT_UNREACHABLE, &requested(SERVER, 5353, 62)))
            .not_frame(NotOurs, error(CLIENT, (8, 0, [0; 4]), &requested(SERVER, 5353, 62)))
            .not_frame(NotOurs, wrong_checksum),
        Case::new("nobody looks for what cannot be there", {
            let mut setup = setup();
            setup.rules = Rules::IPV6;
            setup
        })
        .not_frame(NotOurs, plain()),
    ]
}

/// The director's addresses on the way to the servers.
const DIRECTOR: [u8; 4] = [10, 0, 0, 1];
const DIRECTOR_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];

/// A way for a tunnel.
struct Way {
    kind: TunnelKind,
    is_v6: bool,
    overhead: u16,
}

const WAYS: [Way; 6] = [
    Way { kind: TunnelKind::Ipip, is_v6: false, overhead: 20 },
    Way { kind: TunnelKind::Gue, is_v6: false, overhead: 32 },
    Way { kind: TunnelKind::Gre, is_v6: false, overhead: 24 },
    Way { kind: TunnelKind::Ipip, is_v6: true, overhead: 40 },
    Way { kind: TunnelKind::Gue, is_v6: true, overhead: 52 },
    Way { kind: TunnelKind::Gre, is_v6: true, overhead: 44 },
];

const GUE_PORT: u16 = 6080;
const TUNNEL_SERVER_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1];

impl Way {
    /// The client's connections go to server 1 by it.
    fn setup(&self) -> Setup {
        let setup = known(Method::TUNNEL).client_way(way()).rule(Rules::TUNNELS).rule(Rules::PMTU_DISC);
        setup.server(1, |row| {
            row.flags = row.flags.with(ServerFlags::TUNNEL).with_if(ServerFlags::IPV6, self.is_v6);
            let port = if self.kind == TunnelKind::Gue { GUE_PORT.to_be_bytes() } else { [0; 2] };
            row.tunnel = lbxdp_common::forward::Tunnel { kind: self.kind.raw(), checksum: 0, port };
            row.mtu = 1500;
            if self.is_v6 {
                row.address = TUNNEL_SERVER_V6;
            }
        })
    }

    /// What travels.
    fn outer(&self, inner: &[u8]) -> Vec<u8> {
        let is_inner_v6 = inner[0] >> 4 == 6;
        let inside = if is_inner_v6 { IpNumber::IPV6 } else { IpNumber::IPV4 };
        let between = match self.kind {
            TunnelKind::Ipip => Vec::new(),
            TunnelKind::Gue => {
                let bytes = u16::try_from(inner.len() + 12).expect("short");
                let numbers = [40_001, GUE_PORT, bytes, 0].map(u16::to_be_bytes);
                [&numbers.concat()[..], &[0, inside.0, 0, 0]].concat()
            }
            TunnelKind::Gre => [[0, 0], if is_inner_v6 { [0x86, 0xdd] } else { [8, 0] }].concat(),
        };
        let protocol = match self.kind {
            TunnelKind::Ipip => inside,
            TunnelKind::Gue => IpNumber::UDP,
            TunnelKind::Gre => IpNumber::GRE,
        };
        let bytes = u16::try_from(between.len() + inner.len()).expect("short");
        let header = if self.is_v6 {
            Ipv6Header {
                payload_length: bytes,
                next_header: protocol,
                hop_limit: 60,
                source: DIRECTOR_V6,
                destination: TUNNEL_SERVER_V6,
                ..Ipv6Header::default()
            }
            .to_bytes()
            .to_vec()
        } else {
            let mut ip = Ipv4Header::new(bytes, 60, protocol, DIRECTOR, SERVER).expect("short");
            ip.header_checksum = ip.calc_header_checksum();
            ip.to_bytes().to_vec()
        };
        [header, between, inner.to_vec()].concat()
    }

    /// A router's word about that.
    fn error(&self, v4: Error, v6: Error, quote: &[u8]) -> Vec<u8> {
        if self.is_v6 { error_v6(64, DIRECTOR_V6, v6, quote) } else { error(DIRECTOR, v4, quote) }
    }
}

/// What the client gets: an error about its packet, from the VIP.
fn told_client(told: Error, inner: &[u8]) -> Vec<u8> {
    let ethertype: [u8; 2] = if inner[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
    let frame = [&DIRECTOR_MAC[..], &CLIENT_MAC, &ethertype, inner].concat();
    to_client(refused(&frame, told))
}

fn about_tunnels() -> Vec<Case> {
    let mut cases = Vec::new();
    for way in &WAYS {
        let name = |what: &str| {
            let family = if way.is_v6 { 6 } else { 4 };
            format!("{what}, {} over IPv{family}", way.kind.name())
        };
        let (inner, inner_v6) = (requested(VIP, 53, 60), requested_v6(VIP_V6, 53));
        let server: IpAddr = if way.is_v6 { TUNNEL_SERVER_V6.into() } else { SERVER.into() };
        let told = |case: Case, (v4, v6): (Error, Error), inner: &[u8], out: Error| {
            case.tunnelled(Verdict::Transmit, way.error(v4, v6, &way.outer(inner)), told_client(out, inner))
        };
        let too_big = (fragmentation_needed(1400), packet_too_big(1400));
        let fits = 1400 - way.overhead;
        let case = Case::new(&name("what does not fit a tunnel's way is the client's to know"), way.setup());
        let case = told(case, too_big, &inner, fragmentation_needed(fits))
            .then(Fact::Wished(Wish::PathMtu(server, 1400)))
            .then(Fact::Told(Notice::Relayed, 1));
        cases.push(told(case, too_big, &inner_v6, packet_too_big(fits)).then(Fact::Told(Notice::Relayed, 2)));

        let unreachable = if way.is_v6 { (3, 1, [0; 4]) } else { (3, 13, [0; 4]) };
        let unreachable_v6 = if way.is_v6 { (1, 1, [0; 4]) } else { (1, 3, [0; 4]) };
        let case = Case::new(&name("other errors about tunnels"), way.setup());
        let case = told(case, ((3, 13, [0; 4]), (1, 1, [0; 4])), &inner, unreachable);
        let case = told(case, ((3, 13, [0; 4]), (1, 1, [0; 4])), &inner_v6, unreachable_v6);
        let case = told(case, (TIME_EXCEEDED, TIME_EXCEEDED_V6), &inner, TIME_EXCEEDED);
        cases.push(told(case, (TIME_EXCEEDED, TIME_EXCEEDED_V6), &inner_v6, TIME_EXCEEDED_V6));

        let mut may_be_cut = inner.clone();
        may_be_cut[6] = 0;
        may_be_cut[10..12].fill(0);
        let (ip, _) = Ipv4Header::from_slice(&may_be_cut).expect("a header");
        may_be_cut[10..12].copy_from_slice(&ip.calc_header_checksum().to_be_bytes());
        let frame = way.error(too_big.0, too_big.1, &way.outer(&may_be_cut));
        cases.push(
            Case::new(&name("nobody is told whose packet may be fragmented"), way.setup())
                .not_frame(TunnelError, frame)
                .then(Fact::Wished(Wish::PathMtu(server, 1400))),
        );

        let whole = way.outer(&inner);
        let least = whole.len() - inner.len() + 28;
        let mut case = Case::new(&name("a quote of a tunnel's packet that ends too early"), way.setup());
        for bytes in least..whole.len() {
            let cut = &inner[..inner.len() - (whole.len() - bytes)];
            let out = told_client_of(fragmentation_needed(fits), cut);
            case = case.tunnelled(Verdict::Transmit, way.error(too_big.0, too_big.1, &whole[..bytes]), out);
        }
        cases.push(case);
        let frame = way.error(too_big.0, too_big.1, &whole[..least - 1]);
        cases.push(
            Case::new(&name("a quote that does not name the client is learnt from"), way.setup())
                .not_frame(NotOurs, frame)
                .then(Fact::Wished(Wish::PathMtu(server, 1400))),
        );

        let stranger = requested(VIP, 54, 60);
        let frame = |outer: &[u8]| way.error(too_big.0, too_big.1, outer);
        let mut wrong_checksum = frame(&way.outer(&inner));
        *wrong_checksum.last_mut().expect("a byte") ^= 1;
        let mut elsewhere = way.outer(&inner);
        let last = if way.is_v6 { 39 } else { 19 };
        elsewhere[last] ^= 3;
        cases.push(
            Case::new(&name("an error about no tunnel of ours is the stack's"), way.setup())
                .not_frame(NotOurs, frame(&way.outer(&stranger)))
                .not_frame(NotOurs, frame(&elsewhere))
                .not_frame(NotOurs, wrong_checksum)
                .not_frame(NotOurs, frame(&inner)),
        );
    }
    cases
}

/// As [`told_client`], of a packet that was quoted in part.
fn told_client_of(told: Error, part: &[u8]) -> Vec<u8> {
    let mut whole = part.to_vec();
    // The header says how long the packet was, and stays as it is.
    let length = [whole[2], whole[3]];
    whole[2..4].copy_from_slice(&u16::try_from(part.len()).expect("short").to_be_bytes());
    let mut frame = told_client(told, &whole);
    let quoted = IP + 28;
    frame[quoted + 2..quoted + 4].copy_from_slice(&length);
    frame[IP + 22..IP + 24].fill(0);
    let sum = internet_checksum(&frame[IP + 20..]);
    frame[IP + 22..IP + 24].copy_from_slice(&sum);
    frame
}

/// RFC 1071, the plain way.
fn internet_checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).expect("folded")).to_be_bytes()
}
