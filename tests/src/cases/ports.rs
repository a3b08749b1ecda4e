//! Cases of services that get packets to other ports than their own, without persistence; with it, see `persistence.rs`.

use lbxdp_common::mark::MarkRow;
use lbxdp_common::settings::Rules;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::{Protocol, Reason, Scheduler};

use super::VIP;
use super::case::{Case, Fact};
use super::frame::{tcp, udp};
use super::setup::{Setup, key, template_key};

use Protocol::{Tcp, Udp};
use Reason::{FtpData, NoConnection, NoServer, NoService};
use Scheduler::RoundRobin;

const PORT: u16 = 40_000;
const ONE: [u8; 4] = [255; 4];

/// A service for all ports: server 2.
fn all_ports() -> Setup {
    Setup::new().service(Tcp, 0, RoundRobin, &[(2, 1)]).rule(Rules::ALL_PORTS)
}

fn ftp() -> Setup {
    Setup::new().service(Tcp, 21, RoundRobin, &[(3, 1)]).rule(Rules::FTP)
}

/// Both, with persistence.
fn both() -> Setup {
    let by = RoundRobin;
    let all = Setup::new().service(Tcp, 0, by, &[(2, 1)]).persistent(300, ONE).rule(Rules::ALL_PORTS);
    all.service(Tcp, 21, by, &[(3, 1)]).persistent(300, ONE).rule(Rules::FTP)
}

pub(super) fn all() -> Vec<Case> {
    let every = MarkRow { last_port: u16::MAX, mark: 7, ..MarkRow::default() };
    let by_mark = Setup::new().service_by_mark(7, RoundRobin, &[(2, 1)]).marks(VIP, 32, &[every]);
    let nobody = |port| Setup::new().service(Tcp, port, RoundRobin, &[(3, 0)]).persistent(300, ONE);
    vec![
        Case::new("a service for all ports without persistence has no server for them", all_ports())
            .refused(NoServer, tcp(PORT, 80).syn())
            .refused(NoServer, tcp(PORT, 21).syn())
            .then(Fact::NoConnection(key(Tcp, PORT, 80)))
            .not(NoConnection, tcp(PORT, 80).ack())
            .not(NoService, udp(PORT, 80))
            // Port 0 is its own.
            .to(2, tcp(PORT, 0).syn())
            .then(Fact::Connection(key(Tcp, PORT, 0), State::tcp(TcpState::SynReceived), 2)),
        Case::new("a service for all ports of UDP without persistence has no server for them", {
            Setup::new().service(Udp, 0, RoundRobin, &[(2, 1)]).rule(Rules::ALL_PORTS)
        })
        .refused(NoServer, udp(PORT, 53)),
        Case::new("FTP without persistence has no data connections: they are left to the stack", ftp())
            .to(3, tcp(PORT, 21).syn())
            .not(FtpData, tcp(PORT, 20).syn())
            .not(FtpData, tcp(PORT, 5000).syn())
            .not(NoConnection, tcp(PORT, 5000).ack())
            .not(NoService, tcp(PORT, 1023).syn())
            .not(NoService, udp(PORT, 5000))
            .then(Fact::Load(3, 1, 0)),
        Case::new("what may be FTP's is FTP's, and all else goes to the service for all ports", {
            // Another server's VIP has no part in this; both services' templates have one key, as in IPVS.
            both()
        })
        .to(3, tcp(PORT, 5000).syn())
        .then(Fact::Connection(template_key(Tcp, 0), State::TEMPLATE, 3))
        .to(2, tcp(PORT, 1023).syn().from_address([10, 0, 0, 11]))
        .to(3, tcp(PORT, 80).syn())
        .to(2, tcp(PORT, 5000).syn().from_address([10, 0, 0, 11])),
        Case::new("from port 20 nothing is scheduled", both())
            .not(FtpData, tcp(20, 21).syn())
            .not(FtpData, tcp(20, 5000).syn())
            .not(FtpData, tcp(20, 80).syn())
            .then(Fact::NoConnection(template_key(Tcp, 0))),
        Case::new("from port 20 nothing is scheduled by a mark either", by_mark)
            .not(FtpData, tcp(20, 80).syn())
            .not(FtpData, udp(20, 53))
            .to(2, tcp(21, 80).syn()),
        Case::new("without a server, FTP's data connections are left to the stack", {
            nobody(21).rule(Rules::FTP)
        })
        .refused(NoServer, tcp(PORT, 21).syn())
        .not(FtpData, tcp(PORT, 5000).syn())
        .not(FtpData, tcp(PORT, 20).syn()),
        Case::new("without a server, a service for all ports says so", nobody(0).rule(Rules::ALL_PORTS))
            .refused(NoServer, tcp(PORT, 5000).syn())
            .refused(NoServer, tcp(PORT, 21).syn()),
    ]
}
