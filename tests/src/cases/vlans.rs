//! Frames that come with VLAN tags.

use etherparse::EtherType;
use lbxdp_common::server::ServerFlags;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::{Protocol, Reason, Scheduler};

use super::case::{Case, Fact};
use super::frame::{Packet, fragment, tagged, tcp, udp};
use super::setup::{Setup, key};

use Protocol::{Tcp, Udp};

/// One tag, and two: ethertype, priority and number.
pub(super) const ONE: &[(u16, u16)] = &[(0x8100, 0x6007)];
pub(super) const TWO: &[(u16, u16)] = &[(0x88a8, 100), (0x8100, 0xffff)];

fn setup() -> Setup {
    let setup = Setup::new().service(Tcp, 80, Scheduler::RoundRobin, &[(1, 1)]);
    setup.service(Udp, 53, Scheduler::RoundRobin, &[(1, 1)])
}

fn web() -> Packet {
    tcp(40_000, 80)
}

pub(super) fn all() -> Vec<Case> {
    let datagram = udp(40_000, 53).payload(400).identification(3).bytes();
    [ONE, TWO]
        .into_iter()
        .flat_map(|tags| {
            let with = move |packet: Packet| tagged(&packet.bytes(), tags);
            let number = tags.len();
            vec![
                Case::new(&format!("what comes with {number} tags goes to its server without"), setup())
                    .to_frame(1, with(web().syn()))
                    .then(Fact::Connection(key(Tcp, 40_000, 80), State::tcp(TcpState::SynReceived), 1))
                    .to_frame(1, with(web().ack()))
                    .then(Fact::Counted(1, 2, 1))
                    .to(1, web().ack()),
                Case::new(&format!("what passes has its {number} tags as before"), setup())
                    .not_frame(Reason::NoService, with(tcp(40_000, 81).syn()))
                    .not_frame(Reason::NoConnection, with(web().ack()))
                    .not_frame(Reason::NotOurs, with(web().syn().to_address([10, 0, 0, 101])))
                    .not_frame(Reason::NotOurs, with(web().syn().to_mac([2, 0, 0, 0, 0, 2])))
                    .not_frame(Reason::NotOurs, with(web().syn().ether_type(EtherType::ARP)))
                    .not_frame(Reason::NotOurs, with(web().syn().ether_type(EtherType::IPV6)))
                    .not(Reason::NoService, tcp(40_000, 81).syn()),
                Case::new(&format!("what goes to the director has its {number} tags as before"), {
                    setup().server(1, |row| row.flags = row.flags.with(ServerFlags::LOCAL))
                })
                .local_frame(with(web().syn())),
                Case::new(&format!("the answer to what came with {number} tags has them too"), {
                    Setup::new().service(Tcp, 80, Scheduler::RoundRobin, &[(1, 0)])
                })
                .refused_frame(Reason::NoServer, with(web().syn()))
                .refused(Reason::NoServer, web().syn()),
                Case::new(&format!("fragments come with {number} tags, and are held with them"), setup())
                    .held(Reason::EarlyFragment, 0, tagged(&fragment(&datagram, 80..408), tags))
                    .to_frame(1, tagged(&fragment(&datagram, 0..80), tags))
                    .to_frame(1, tagged(&fragment(&datagram, 80..408), tags))
                    .not_frame(
                        Reason::TinyFragment,
                        tagged(&fragment(&web().syn().identification(4).bytes(), 0..8), tags),
                    ),
            ]
        })
        .collect()
}
