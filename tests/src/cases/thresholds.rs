//! Cases of thresholds: who is overloaded, and since when no more.

use lbxdp_common::connection::Key;
use lbxdp_common::schedule::{dh, mh, sh};
use lbxdp_common::service::ServiceFlags;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::{Notice, Protocol, Reason, Scheduler};

use super::VIP;
use super::case::{Case, Fact};
use super::frame::{Packet, tcp, udp};
use super::setup::{Setup, key};

use Protocol::{Tcp, Udp};
use Reason::{NoConnection, NoServer};
use Scheduler::{DestinationHashing, Failover, MaglevHashing, Nobody, SourceHashing};

pub(super) fn all() -> Vec<Case> {
    [counts(), [schedulers(), with_fallback()].concat(), everybody()].concat()
}

const PORT: u16 = 40_000;

fn web(number: u16) -> Packet {
    tcp(PORT + number, 80)
}

/// Everything goes to server 2 as long as it can be used, else to server 3.
fn http(upper: u32, lower: u32) -> Setup {
    Setup::new().service(Tcp, 80, Failover, &[(2, 5), (3, 1)]).thresholds(2, upper, lower)
}

/// Opens connections of server 2 until it has as many as its upper threshold; more go to server 3.
fn filled(name: &str, upper: u16, lower: u32) -> Case {
    let mut case = Case::new(name, http(upper.into(), lower));
    for number in 0..upper {
        case = case.to(2, web(number).syn()).then(Fact::Overloaded(2, number + 1 == upper));
    }
    case.to(3, web(100).syn()).then(Fact::Load(2, upper.into(), 0)).then(Fact::Overloaded(3, false))
}

/// Ends a connection of server 2: it is closed, which it is still counted for, and then taken out.
fn ended(case: Case, number: u16) -> Case {
    case.to(2, web(number).ack())
        .to(2, web(number).rst())
        .then(Fact::Overloaded(2, true))
        .not(NoConnection, web(number).syn().rst())
        .then(Fact::NoConnection(key(Tcp, PORT + number, 80)))
}

fn counts() -> Vec<Case> {
    let of_four =
        filled("a server is overloaded until it has less than three quarters of its upper threshold", 4, 0);
    let of_five = filled("three quarters are rounded up", 5, 0);
    let with_lower = filled("a server is overloaded until it has fewer than its lower threshold", 4, 2);
    let still = |case: Case| case.then(Fact::Overloaded(2, true)).to(3, web(101).syn());
    let again = |case: Case, number: u16| case.then(Fact::Overloaded(2, false)).to(2, web(number).syn());
    let known = http(1, 0).connection(web_key(0), 2, State::tcp(TcpState::Established), 60_000);
    vec![
        again(ended(still(ended(of_four, 0)), 1), 102).to(2, web(103).syn()).then(Fact::Overloaded(2, true)),
        // 4 of 5 are no less than 3.75, 3 are.
        again(ended(still(ended(of_five, 0)), 1), 102),
        again(ended(ended(still(ended(with_lower, 0)), 1), 2), 102),
        Case::new("connections that are not active count as well", {
            Setup::new().service(Udp, 53, Failover, &[(2, 5), (3, 1)]).thresholds(2, 2, 0)
        })
        .to(2, udp(PORT, 53))
        .to(2, udp(PORT + 1, 53))
        .then(Fact::Overloaded(2, true))
        .to(3, udp(PORT + 2, 53)),
        Case::new("an overloaded server keeps its connections", known.overloaded(2))
            .to(2, web(0).ack())
            .to(2, web(0).syn())
            .to(3, web(1).syn())
            .then(Fact::Load(2, 1, 0)),
        Case::new("without thresholds nobody is overloaded", {
            Setup::new().service(Tcp, 80, Failover, &[(2, 5), (3, 1)])
        })
        .to(2, web(0).syn())
        .to(2, web(1).syn())
        .then(Fact::Overloaded(2, false)),
    ]
}

fn web_key(number: u16) -> Key {
    key(Tcp, PORT + number, 80)
}

/// Clients enough that each hash leads some of them to either server.
const CLIENTS: std::ops::Range<u8> = 20..40;

/// Server 2, the better one, is overloaded; server 3 is not.
fn crowded(by: Scheduler) -> Setup {
    Setup::new()
        .service(Tcp, 80, by, &[(2, 200), (3, 100)])
        .thresholds(2, 9, 0)
        .connection(key(Udp, 1, 1), 2, State::UDP, 60_000)
        .overloaded(2)
}

/// Whether a scheduler has only server 2 for a client: the tables of the hashing ones have both servers in turn.
fn is_bound(by: Scheduler, client: [u8; 4]) -> bool {
    let client = u32::from_be_bytes(client);
    match by {
        DestinationHashing => dh::slot(u32::from_be_bytes(VIP)).is_multiple_of(2),
        SourceHashing => sh::slot(client).is_multiple_of(2),
        MaglevHashing => mh::slot(client).is_multiple_of(2),
        Nobody => true,
        _ => false,
    }
}

fn schedulers() -> Vec<Case> {
    let case = |by: Scheduler| {
        let name = format!("{} leaves an overloaded server alone", by.name());
        CLIENTS.fold(Case::new(&name, crowded(by)), |case, number| {
            let client = [10, 0, 0, number];
            let packet = web(0).syn().from_address(client);
            if is_bound(by, client) { case.refused(NoServer, packet) } else { case.to(3, packet) }
        })
    };
    Scheduler::ALL.iter().map(|by| case(*by).then(Fact::Load(2, 0, 1))).collect()
}

fn with_fallback() -> Vec<Case> {
    let case = |by: Scheduler| {
        let name = format!("{} with its fallback leaves an overloaded server alone", by.name());
        CLIENTS.fold(Case::new(&name, crowded(by).flagged(ServiceFlags::FALLBACK)), |case, number| {
            case.to(3, web(0).syn().from_address([10, 0, 0, number]))
        })
    };
    [SourceHashing, MaglevHashing].map(case).into()
}

fn everybody() -> Vec<Case> {
    let all = |by| crowded(by).thresholds(3, 9, 0).overloaded(3);
    Scheduler::ALL
        .iter()
        .map(|by| {
            Case::new(&format!("{} has no server if all are overloaded", by.name()), all(*by))
                .refused(NoServer, web(0).syn())
                .then(Fact::Told(Notice::PortUnreachable, 1))
                .then(Fact::NoConnection(web_key(0)))
                .then(Fact::Load(3, 0, 0))
        })
        .collect()
}
