//! Cases of services by mark: which packets have one, and what it leads to.

use lbxdp_common::connection::Key;
use lbxdp_common::mark::MarkRow;
use lbxdp_common::service::widened;
use lbxdp_common::settings::Rules;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::{Protocol, Reason, Scheduler};

use super::case::{Case, Fact};
use super::frame::{tcp, udp};
use super::setup::{Setup, key};
use super::{CLIENT, IFINDEX, VIP};

use Protocol::{Tcp, Udp};
use Scheduler::RoundRobin;

pub(super) fn all() -> Vec<Case> {
    [order(), rules(), nets()].concat()
}

const PORT: u16 = 40_000;

/// The rule that gives a mark to everything.
fn every(mark: u32) -> MarkRow {
    MarkRow { last_port: u16::MAX, mark, ..MarkRow::default() }
}

/// Mark 7 leads to server 2, mark 9 to server 3, and port 80 to server 1.
fn services() -> Setup {
    Setup::new()
        .service(Tcp, 80, RoundRobin, &[(1, 1)])
        .service_by_mark(7, RoundRobin, &[(2, 1)])
        .service_by_mark(9, RoundRobin, &[(3, 1)])
}

fn marked(rules: &[MarkRow]) -> Setup {
    services().marks(VIP, 32, rules)
}

fn order() -> Vec<Case> {
    let to_port = MarkRow { first_port: 80, last_port: 80, ..every(7) };
    vec![
        Case::new("a mark comes before an address, for all ports and protocols", marked(&[every(7)]))
            .to(2, tcp(PORT, 80).syn())
            .then(Fact::Connection(key(Tcp, PORT, 80), State::tcp(TcpState::SynReceived), 2))
            .to(2, tcp(PORT, 1).syn())
            .to(2, udp(PORT, 53))
            .to(2, tcp(PORT, 80).ack())
            .then(Fact::Counted(2, 4, 3)),
        Case::new("a mark without a service leads on to the address", marked(&[every(8)]))
            .to(1, tcp(PORT, 80).syn())
            .not(Reason::NoService, tcp(PORT, 81).syn()),
        Case::new("the first rule that matches gives the mark", marked(&[to_port, every(9)]))
            .to(2, tcp(PORT, 80).syn())
            .to(3, tcp(PORT, 81).syn())
            .to(2, udp(PORT, 80)),
        Case::new("the rule in front hides those behind it", marked(&[every(9), to_port]))
            .to(3, tcp(PORT, 80).syn()),
        Case::new(
            "one mark is looked for, not the next one that has a service",
            marked(&[every(8), every(7)]),
        )
        .to(1, tcp(PORT, 80).syn()),
        Case::new("a known connection needs no mark", {
            let setup = marked(&[]);
            setup.connection(key(Tcp, PORT, 81), 3, State::tcp(TcpState::Established), 60_000)
        })
        .to(3, tcp(PORT, 81).ack())
        .not(Reason::NoService, tcp(PORT + 1, 81).syn()),
        Case::new("a mark's service without a server says so", {
            Setup::new().service_by_mark(7, RoundRobin, &[(2, 0)]).marks(VIP, 32, &[every(7)])
        })
        .refused(Reason::NoServer, tcp(PORT, 80).syn())
        .not(Reason::NoConnection, tcp(PORT, 80).ack()),
    ]
}

fn rules() -> Vec<Case> {
    let [one, two, three, _] = CLIENT;
    let by_source = MarkRow {
        source: widened([one, two, three, 0]),
        source_mask: widened([255, 255, 255, 0]),
        ..every(7)
    };
    let by_ports = MarkRow { first_port: 1000, last_port: 2000, ..every(7) };
    let by_protocol = MarkRow { protocol: Udp.raw(), ..every(7) };
    let by_interface = MarkRow { ifindex: IFINDEX, ..every(7) };
    let of_another = MarkRow { ifindex: IFINDEX + 1, ..every(7) };
    vec![
        Case::new("a rule names a net of clients", marked(&[by_source]))
            .to(2, tcp(PORT, 443).syn())
            .to(2, tcp(PORT, 443).syn().from_address([one, two, three, 255]))
            .not(Reason::NoService, tcp(PORT, 443).syn().from_address([one, two, three + 1, 1])),
        Case::new("a rule names ports, both ends included", marked(&[by_ports]))
            .not(Reason::NoService, tcp(PORT, 999).syn())
            .to(2, tcp(PORT, 1000).syn())
            .to(2, udp(PORT, 1500))
            .to(2, tcp(PORT, 2000).syn())
            .not(Reason::NoService, tcp(PORT, 2001).syn()),
        Case::new("a rule names a protocol", marked(&[by_protocol]))
            .to(2, udp(PORT, 80))
            .to(1, tcp(PORT, 80).syn()),
        Case::new("a rule names the interface", marked(&[by_interface])).to(2, tcp(PORT, 80).syn()),
        Case::new("a rule of another interface is none", marked(&[of_another])).to(1, tcp(PORT, 80).syn()),
    ]
}

fn nets() -> Vec<Case> {
    let inside = [10, 7, 1, 2];
    let outside = [10, 8, 0, 1];
    let by_source =
        MarkRow { source: widened([192, 0, 2, 0]), source_mask: widened([255, 255, 255, 0]), ..every(7) };
    let net = |rules: &[MarkRow]| services().marks([10, 7, 0, 0], 16, rules);
    let of_inside = Key { vip: inside, ..key(Tcp, PORT, 80) };
    vec![
        Case::new("a rule for a net makes its addresses ours", net(&[every(7)]).rule(Rules::MARKED_NETS))
            .to(2, tcp(PORT, 80).syn().to_address(inside))
            .then(Fact::Connection(of_inside, State::tcp(TcpState::SynReceived), 2))
            .to(2, tcp(PORT, 80).ack().to_address(inside))
            .to(2, udp(PORT, 53).to_address([10, 7, 255, 255]))
            .not(Reason::NotOurs, tcp(PORT, 80).syn().to_address(outside))
            .not(Reason::OtherHost, tcp(PORT, 80).syn().to_address(inside).to_mac([2, 0, 0, 0, 0, 2]))
            .to(1, tcp(PORT, 80).syn()),
        Case::new("of nets within nets the smallest has the say", {
            net(&[every(7)]).marks([10, 7, 1, 0], 24, &[every(9)]).rule(Rules::MARKED_NETS)
        })
        .to(3, tcp(PORT, 80).syn().to_address(inside))
        .to(2, tcp(PORT, 80).syn().to_address([10, 7, 2, 1])),
        Case::new("an address of a net is nobody's to packets without a mark", {
            net(&[by_source]).rule(Rules::MARKED_NETS)
        })
        .not(Reason::NoService, tcp(PORT, 80).syn().to_address(inside))
        .to(2, tcp(PORT, 80).syn().to_address(inside).from_address([192, 0, 2, 77])),
        Case::new("without nets only VIPs are looked at", net(&[every(7)]))
            .not(Reason::NotOurs, tcp(PORT, 80).syn().to_address(inside)),
    ]
}
