//! ICMP errors: those that are made about packets that go no further, and those that arrive about connections.

use etherparse::{IpNumber, Ipv4Header, Ipv6Header, PacketBuilder};
use lbxdp_common::server::{Method, ServerFlags, ServerRow};
use lbxdp_common::service::widened;
use lbxdp_common::settings::Rules;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::{Notice, Protocol, Reason, Scheduler, Verdict};

use super::case::{Case, Fact};
use super::frame::{Error, IP, PORT_UNREACHABLE, Packet, TIME_EXCEEDED, tcp, udp};
use super::setup::{Setup, key, key_v6};
use super::{CLIENT, CLIENT_MAC, CLIENT_V6, DIRECTOR_MAC, VIP, VIP_V6};

use Protocol::{Tcp, Udp};
use Reason::{Malformed, MustFragment, NoServer, OtherProtocol, ServerGone, TooBig, TtlExpired};

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
    [told(), not_told(), limits(), arriving(), arriving_v6(), translated(), not_forwarded()].concat()
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
            .not_frame(NoServer, longer_than_its_frame)
            .then(Fact::Told(Notice::Unanswerable, 5)),
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
    known(Method::MASQUERADE).server(1, |row| row.port_number = 5353u16.to_be_bytes())
}

fn masquerade_v6() -> Setup {
    masquerade().server(1, |row| {
        row.address = SERVER_V6;
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
