//! Cases of one-packet scheduling: each packet of UDP is a connection of its own, which leaves nothing behind.

use lbxdp_common::mark::MarkRow;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::{Overflow, Protocol, Reason, Scheduler};

use super::VIP;
use super::case::{Case, Fact};
use super::frame::{tcp, udp};
use super::memory::HERTZ;
use super::setup::{Setup, key, template_key};

use Protocol::{Tcp, Udp};
use Scheduler::{RoundRobin, WeightedLeastConnection};

const PORT: u16 = 40_000;
const ONE: [u8; 4] = [255; 4];

/// The scheduler begins with server 2; whatever goes by hash goes to server 3.
fn dns() -> Setup {
    Setup::new().service(Udp, 53, RoundRobin, &[(2, 1), (3, 1)]).one_packet()
}

pub(super) fn all() -> Vec<Case> {
    let (connection, template) = (key(Udp, PORT, 53), template_key(Udp, 53));
    let every = MarkRow { last_port: u16::MAX, mark: 7, ..MarkRow::default() };
    let by_mark = || {
        Setup::new().service_by_mark(7, RoundRobin, &[(2, 1), (3, 1)]).one_packet().marks(VIP, 32, &[every])
    };
    vec![
        Case::new("each packet is scheduled and counted by itself", dns())
            .to(2, udp(PORT, 53))
            .then(Fact::NoConnection(connection))
            .then(Fact::Load(2, 0, 0))
            .then(Fact::Counted(2, 1, 1))
            .to(3, udp(PORT, 53))
            .to(2, udp(PORT, 53))
            .then(Fact::Counted(2, 2, 2))
            .then(Fact::Counted(3, 1, 1))
            .then(Fact::Load(3, 0, 0)),
        Case::new("the least loaded server stays that", {
            Setup::new().service(Udp, 53, WeightedLeastConnection, &[(2, 1), (3, 1)]).one_packet()
        })
        .to(2, udp(PORT, 53))
        .to(2, udp(PORT + 1, 53)),
        Case::new("a packet of a connection from before goes on with it", {
            dns().connection(connection, 1, State::UDP, 60_000)
        })
        .to(1, udp(PORT, 53))
        .then(Fact::Counted(1, 1, 0))
        .to(2, udp(PORT + 1, 53)),
        Case::new("TCP by the same mark is as ever", by_mark())
            .to(2, udp(PORT, 53))
            .to(3, tcp(PORT, 80).syn())
            .then(Fact::Connection(key(Tcp, PORT, 80), State::tcp(TcpState::SynReceived), 3))
            .to(2, udp(PORT, 53))
            .then(Fact::NoConnection(connection))
            .to(3, tcp(PORT, 80).ack())
            .then(Fact::Load(3, 1, 0))
            .then(Fact::Counted(3, 2, 1)),
        Case::new("with persistence there is a template, but no connection", dns().persistent(300, ONE))
            .to(2, udp(PORT, 53))
            .then(Fact::Connection(template, State::TEMPLATE, 2))
            .then(Fact::Templates(2, 1))
            .then(Fact::NoConnection(connection))
            .to(2, udp(PORT, 53))
            .to(2, udp(PORT + 1, 53))
            .then(Fact::Counted(2, 3, 3))
            .then(Fact::Load(2, 0, 0))
            .to(3, udp(PORT, 53).from_address([10, 0, 0, 11])),
        Case::new("with persistence each packet begins the template's time anew", {
            dns().persistent(300, ONE).template(template, 1, 300, 60_000)
        })
        .to(1, udp(PORT, 53))
        .then(Fact::DueIn(template, 300 * HERTZ)),
        Case::new("where there is no room none is needed", dns().full())
            .to(2, udp(PORT, 53))
            .to(3, udp(PORT, 53))
            .then(Fact::Noted(Overflow::HashedFull, 0)),
        Case::new("where there is no room for the template, a client has one server", {
            dns().persistent(300, ONE).full()
        })
        .to(3, udp(PORT, 53))
        .to(3, udp(PORT, 53))
        .then(Fact::NoConnection(template)),
        Case::new("without a server its sender is told", {
            Setup::new().service(Udp, 53, RoundRobin, &[(2, 0)]).one_packet()
        })
        .refused(Reason::NoServer, udp(PORT, 53)),
        Case::new("an overloaded server gets no packets", {
            let setup = dns().thresholds(2, 1, 0).connection(key(Udp, 1, 1), 2, State::UDP, 60_000);
            setup.overloaded(2)
        })
        .to(3, udp(PORT, 53))
        .to(3, udp(PORT, 53))
        .then(Fact::Overloaded(3, false)),
    ]
}
