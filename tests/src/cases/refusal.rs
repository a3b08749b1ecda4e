//! Packets that find no server, and what their senders are told.

use lbxdp_common::wire::sctp::ChunkKind;
use lbxdp_common::{Notice, Protocol, Reason, Scheduler};

use super::VIP;
use super::case::{Case, Fact};
use super::frame::{IP, Packet, sctp, tcp, udp};
use super::setup::{Setup, key};

use Protocol::{Sctp, Tcp, Udp};
use Reason::NoServer;

/// Services of every protocol, none with a server.
fn nobody() -> Setup {
    let by = Scheduler::RoundRobin;
    Setup::new().service(Tcp, 80, by, &[]).service(Udp, 53, by, &[(1, 0)]).service(Sctp, 5000, by, &[])
}

fn case(name: &str) -> Case {
    Case::new(name, nobody())
}

fn web() -> Packet {
    tcp(40_000, 80).syn()
}

fn dns() -> Packet {
    udp(40_000, 53)
}

pub(super) fn all() -> Vec<Case> {
    [answered(), quotes(), unanswered(), limited()].concat()
}

fn answered() -> Vec<Case> {
    vec![
        case("TCP, UDP and SCTP alike are told that the port is unreachable")
            .refused(NoServer, web())
            .refused(NoServer, dns())
            .refused(NoServer, sctp(40_000, 5000).chunk(ChunkKind::INIT, &[0; 16]))
            .then(Fact::Told(Notice::PortUnreachable, 3))
            .then(Fact::NoConnection(key(Tcp, 40_000, 80))),
        case("an error has the type of service of its packet, and precedence")
            .refused(NoServer, dns().traffic_class(0xff))
            .refused(NoServer, dns().traffic_class(0x41))
            .refused(NoServer, dns().traffic_class(0x12)),
        case("the quote is the packet as it came, with its time to live")
            .refused(NoServer, dns().ttl(1))
            .refused(NoServer, dns().ttl(255)),
    ]
}

fn quotes() -> Vec<Case> {
    // 20 bytes of IP header and 8 of UDP: at 520 bytes the quote is at its limit.
    let lengths = |lengths: std::ops::Range<usize>| {
        lengths.fold(case("a packet is quoted as far as there is room"), |case, bytes| {
            case.refused(NoServer, dns().payload(bytes))
        })
    };
    let padded = |bytes: usize, padding: usize| {
        let mut frame = dns().payload(bytes).bytes();
        frame.extend(vec![0x5a; padding]);
        frame
    };
    vec![
        lengths(0..5),
        lengths(517..523),
        case("a packet of full size")
            .refused(NoServer, dns().payload(1472))
            .refused(NoServer, web().payload(1400)),
        case("options of the IP header are quoted, and not echoed")
            .refused(NoServer, web().ip_options(&[1; 4]))
            .refused(NoServer, dns().ip_options(&[1; 40]).payload(3))
            .refused(NoServer, dns().ip_options(&[1; 40]).payload(1000)),
        case("the padding of a short frame is no part of the packet")
            .refused_frame(NoServer, padded(0, 18))
            .refused_frame(NoServer, padded(5, 13))
            .refused_frame(NoServer, padded(520, 1))
            .refused_frame(NoServer, padded(600, 7)),
    ]
}

fn unanswered() -> Vec<Case> {
    let sources = [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4], VIP]
        .into_iter();
    let mut wrong_checksum = dns().bytes();
    wrong_checksum[IP + 10] ^= 1;
    let mut longer_than_its_frame = dns().payload(100).bytes();
    longer_than_its_frame.pop();
    let mut shorter_than_its_header = dns().bytes();
    shorter_than_its_header[IP + 2..IP + 4].copy_from_slice(&[0, 19]);
    vec![
        sources.fold(case("nobody is told whose address is not one host's"), |case, source| {
            case.not(NoServer, dns().from_address(source))
        }),
        case("nobody is told at a group's MAC address").not(NoServer, dns().from_mac([3, 0, 0, 0, 0, 1])),
        case("nobody is told of a packet that is broken")
            .not_frame(NoServer, wrong_checksum)
            .not_frame(Reason::Malformed, longer_than_its_frame)
            .not_frame(Reason::Malformed, shorter_than_its_header)
            .then(Fact::Told(Notice::Unanswerable, 1))
            .then(Fact::Told(Notice::PortUnreachable, 0)),
    ]
}

fn limited() -> Vec<Case> {
    let told = |case: Case, client: u8| {
        (0..6).fold(case, |case, _| case.refused(NoServer, dns().from_address([10, 0, 0, client])))
    };
    let once = told(case("a client is told six times at once"), 10)
        .not(NoServer, dns())
        .not(NoServer, web())
        .then(Fact::Told(Notice::PortUnreachable, 6))
        .then(Fact::Told(Notice::ClientLimit, 2));
    vec![told(once, 11).then(Fact::Told(Notice::PortUnreachable, 12))]
}
