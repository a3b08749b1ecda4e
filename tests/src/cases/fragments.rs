//! Datagrams in fragments, and packets that are to be cut.

use etherparse::IpNumber;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::{Protocol, Reason, Scheduler};

use super::VIP;
use super::case::{Case, Fact};
use super::frame::{Packet, fragment, other, tcp, udp};
use super::setup::{Setup, key};

use Protocol::{Tcp, Udp};
use Reason::{EarlyFragment, MustFragment, OverlappingFragment, TinyFragment};
use Scheduler::RoundRobin;

const PORT: u16 = 40_000;

/// The scheduler begins with server 2.
fn setup() -> Setup {
    Setup::new().service(Udp, 53, RoundRobin, &[(2, 1), (1, 1)]).service(Tcp, 80, RoundRobin, &[(3, 1)])
}

/// A datagram of 1,008 bytes with this number.
fn query(number: u16) -> Vec<u8> {
    udp(PORT, 53).payload(1000).identification(number).bytes()
}

fn from_another(number: u16) -> Vec<u8> {
    udp(PORT + 1, 53).payload(1000).identification(number).bytes()
}

fn whole(packet: Packet) -> Vec<u8> {
    packet.identification(9).bytes()
}

pub(super) fn all() -> Vec<Case> {
    [followed(), overlapping(), passing(), too_long()].concat()
}

/// Fragments that go where the first one goes.
fn followed() -> Vec<Case> {
    let (one, two) = (query(1), query(2));
    let connection = key(Udp, PORT, 53);
    vec![
        Case::new("all fragments of a datagram go where the first one goes", setup())
            .to_frame(2, fragment(&one, 0..400))
            .then(Fact::Connection(connection, State::UDP, 2))
            .to_frame(2, fragment(&one, 400..800))
            .to_frame(2, fragment(&one, 800..1008))
            .then(Fact::Counted(2, 3, 1))
            .then(Fact::Load(2, 0, 1)),
        Case::new("fragments that come in any order but the first go there too", setup())
            .to_frame(2, fragment(&one, 0..8))
            .to_frame(2, fragment(&one, 1000..1008))
            .to_frame(2, fragment(&one, 512..1000))
            .to_frame(2, fragment(&one, 8..512)),
        Case::new("fragments of a known connection follow it", {
            setup().connection(connection, 4, State::UDP, 60_000)
        })
        .to_frame(4, fragment(&one, 0..400))
        .to_frame(4, fragment(&one, 400..1008))
        .then(Fact::Counted(4, 2, 0)),
        Case::new("datagrams are told apart by their numbers and protocols", setup())
            .to_frame(2, fragment(&one, 0..400))
            .to_frame(1, fragment(&from_another(2), 0..400))
            .to_frame(1, fragment(&two, 400..1008))
            .to_frame(2, fragment(&one, 400..1008))
            .to_frame(3, fragment(&tcp(PORT, 80).syn().payload(400).identification(1).bytes(), 0..80))
            .held(EarlyFragment, 0, fragment(&one, 400..1008)),
        Case::new(
            "with one-packet scheduling too all fragments go to one server",
            Setup::new().service(Udp, 53, RoundRobin, &[(2, 1), (1, 1)]).one_packet(),
        )
        .to_frame(2, fragment(&one, 0..400))
        .to_frame(1, fragment(&two, 0..400))
        .to_frame(2, fragment(&one, 400..1008))
        .to_frame(1, fragment(&two, 400..1008))
        .then(Fact::NoConnection(connection)),
        Case::new("a fragment that overtakes the first one is held", setup())
            .held(EarlyFragment, 0, fragment(&one, 400..1008))
            .to_frame(2, fragment(&one, 0..400))
            .to_frame(2, fragment(&one, 400..1008))
            .then(Fact::Counted(2, 2, 1)),
        Case::new("when all has come the number is free again", setup())
            .to_frame(2, fragment(&one, 0..400))
            .to_frame(2, fragment(&one, 400..1008))
            .held(EarlyFragment, 0, fragment(&one, 400..1008))
            .to_frame(1, fragment(&from_another(1), 0..400))
            .to_frame(1, fragment(&one, 400..1008)),
    ]
}

/// Fragments that are not what comes of cutting a packet.
fn overlapping() -> Vec<Case> {
    let one = query(1);
    vec![
        Case::new("what has come does not come again", setup())
            .to_frame(2, fragment(&one, 0..400))
            .not_frame(OverlappingFragment, fragment(&one, 0..400))
            .to_frame(2, fragment(&one, 400..800))
            .not_frame(OverlappingFragment, fragment(&one, 400..800))
            .not_frame(OverlappingFragment, fragment(&one, 320..640))
            .to_frame(2, fragment(&one, 800..1008))
            .then(Fact::Counted(2, 3, 1)),
        Case::new("after an overlap nothing of a datagram comes through", setup())
            .to_frame(2, fragment(&one, 0..400))
            .not_frame(OverlappingFragment, fragment(&one, 392..800))
            .not_frame(OverlappingFragment, fragment(&one, 400..1008))
            .not_frame(OverlappingFragment, fragment(&one, 0..400))
            .then(Fact::Counted(2, 1, 1)),
        Case::new("a first fragment of another length is an overlap", setup())
            .to_frame(2, fragment(&one, 0..400))
            .not_frame(OverlappingFragment, fragment(&one, 0..408))
            .not_frame(OverlappingFragment, fragment(&one, 400..1008)),
        Case::new("nothing is written over a transport header", setup())
            .to_frame(3, fragment(&whole(tcp(PORT, 80).syn().payload(400)), 0..80))
            .not_frame(OverlappingFragment, fragment(&whole(tcp(PORT, 80).syn().payload(400)), 8..88))
            .not_frame(OverlappingFragment, fragment(&whole(tcp(PORT, 80).syn().payload(400)), 80..420)),
        Case::new("a first fragment has the whole transport header", setup())
            .not_frame(TinyFragment, fragment(&whole(tcp(PORT, 80).syn().payload(400)), 0..16))
            .then(Fact::NoConnection(key(Tcp, PORT, 80)))
            .to_frame(3, fragment(&whole(tcp(PORT, 80).syn().payload(400)), 0..24))
            .then(Fact::Connection(key(Tcp, PORT, 80), State::tcp(TcpState::SynReceived), 3)),
    ]
}

/// Fragments of what is not forwarded.
fn passing() -> Vec<Case> {
    let one = query(1);
    vec![
        Case::new("fragments of what is not balanced pass", setup())
            .not_frame(Reason::Fragment, fragment(&whole(other(IpNumber::GRE).payload(400)), 0..80))
            .not_frame(Reason::Fragment, fragment(&whole(other(IpNumber::GRE).payload(400)), 80..400)),
        Case::new("fragments of a packet that passes do so too", setup())
            .not_frame(Reason::NoService, fragment(&whole(udp(PORT, 54).payload(400)), 0..80))
            .not_frame(Reason::Fragment, fragment(&whole(udp(PORT, 54).payload(400)), 80..408)),
        Case::new("fragments for no VIP pass", setup()).not_frame(Reason::NotOurs, {
            fragment(&whole(udp(PORT, 53).payload(400).to_address([10, 0, 0, 101])), 0..80)
        }),
        Case::new("fragments without a server are refused", {
            Setup::new().service(Udp, 53, RoundRobin, &[(1, 0)])
        })
        .refused_frame(Reason::NoServer, fragment(&one, 0..400))
        .not_frame(OverlappingFragment, fragment(&one, 400..1008)),
    ]
}

/// What its way is too narrow for.
fn too_long() -> Vec<Case> {
    let (one, two) = (query(1), query(2));
    vec![
        Case::new("a packet that is too long for its way is held to be cut", {
            setup().server(2, |row| row.mtu = 600)
        })
        .held(MustFragment, 600, one.clone())
        .to_frame(2, fragment(&one, 0..576))
        .to_frame(2, fragment(&one, 576..1008)),
        Case::new("so is a fragment, and comes again in pieces", setup().server(2, |row| row.mtu = 600))
            .to_frame(2, fragment(&one, 0..80))
            .held(MustFragment, 600, fragment(&one, 80..1008))
            .to_frame(2, fragment(&fragment(&one, 80..1008), 0..576))
            .to_frame(2, fragment(&fragment(&one, 80..1008), 576..928)),
        Case::new("so is a first fragment", setup().server(2, |row| row.mtu = 600))
            .held(MustFragment, 600, fragment(&one, 0..800))
            .to_frame(2, fragment(&fragment(&one, 0..800), 0..576))
            .to_frame(2, fragment(&fragment(&one, 0..800), 576..800))
            .to_frame(2, fragment(&one, 800..1008)),
        Case::new("what is too long to be held is counted", setup().server(2, |row| row.mtu = 600))
            .not_frame(Reason::HeldFull, udp(PORT, 53).payload(2200).identification(3).bytes())
            .to_frame(2, fragment(&two, 0..400))
            .then(Fact::NoConnection(key(Udp, PORT, 54)))
            .not_frame(
                Reason::NotOurs,
                fragment(&whole(udp(PORT, 53).payload(400).to_address(not_vip())), 0..8),
            ),
    ]
}

fn not_vip() -> [u8; 4] {
    let [a, b, c, d] = VIP;
    [a, b, c, d + 1]
}
