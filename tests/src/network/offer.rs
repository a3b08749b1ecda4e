//! Virtual services on a network's director, made by ipvsadm's own words.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};

use super::build::{Network, Site};
use super::family::Family;
use super::method::Method;
use crate::daemon::Daemon;
use crate::http::{ECHO_PORT, HTTP_PORT, RECEIPT_PORT};
use crate::service::status;
use crate::wait;

/// How long ARP and neighbour discovery may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The programs of the servers as virtual services of one VIP.
#[derive(Clone, Debug)]
pub struct Offer {
    pub vip: IpAddr,
    pub method: Method,
    /// Between a port of the VIP and that of the servers: NAT alone can have one.
    shift: u16,
    lines: Vec<String>,
}

/// ipvsadm's option and the server's port of each program.
const PROGRAMS: [(&str, u16); 4] =
    [("-t", HTTP_PORT), ("-t", ECHO_PORT), ("-u", ECHO_PORT), ("-u", RECEIPT_PORT)];

/// So far are NAT's virtual ports from the servers'.
const SHIFT: u16 = 1000;

impl Offer {
    /// Makes services of a VIP of this family, with all servers at their addresses of that family.
    pub fn make(
        network: &Network,
        daemon: &Daemon,
        vip: Family,
        method: Method,
        servers: Family,
    ) -> Result<Self> {
        let servers: Vec<IpAddr> = network.servers().map(|server| network.address(server, servers)).collect();
        Self::make_of(network.vip(vip), daemon, method, &servers)
    }

    /// The same with one server.
    pub fn make_at(
        network: &Network,
        daemon: &Daemon,
        method: Method,
        server: &Site,
        family: Family,
    ) -> Result<Self> {
        Self::make_of(network.vip(family), daemon, method, &[network.address(server, family)])
    }

    /// Makes services of this VIP, with these servers.
    pub fn make_of(vip: IpAddr, daemon: &Daemon, method: Method, servers: &[IpAddr]) -> Result<Self> {
        let shift = if method == Method::Masquerade { SHIFT } else { 0 };
        Self::make_shifted(vip, daemon, method, servers, shift)
    }

    /// The same at the servers' own ports, whatever the method.
    pub fn make_at_same_ports(
        vip: IpAddr,
        daemon: &Daemon,
        method: Method,
        servers: &[IpAddr],
    ) -> Result<Self> {
        Self::make_shifted(vip, daemon, method, servers, 0)
    }

    fn make_shifted(
        vip: IpAddr,
        daemon: &Daemon,
        method: Method,
        servers: &[IpAddr],
        shift: u16,
    ) -> Result<Self> {
        let mut offer = Self { vip, method, shift, lines: vec![] };
        match offer.add_all(daemon, servers) {
            Ok(()) => Ok(offer),
            Err(error) => {
                // Half an offer would be in the next one's way; what went wrong first is what counts.
                let _ = offer.end(daemon);
                Err(error)
            }
        }
    }

    fn add_all(&mut self, daemon: &Daemon, servers: &[IpAddr]) -> Result<()> {
        for (option, port) in PROGRAMS {
            let service = self.service(port);
            daemon.must(&format!("-A {option} {service} -s rr"))?;
            self.lines.push(format!("{option} {service}"));
            for server in servers {
                let server = SocketAddr::new(*server, port);
                daemon.must(&format!("-a {option} {service} -r {server} {}", self.method))?;
            }
        }
        wait::until("all servers are found", DEADLINE, || {
            status(daemon).is_ok_and(|text| !text.contains("UNKNOWN"))
        })
        .with_context(|| format!("status says:\n{}", status(daemon).unwrap_or_default()))
    }

    /// The virtual service of a program, by the port it has on servers.
    pub fn service(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.vip, port + self.shift)
    }

    /// Deletes the services.
    pub fn end(self, daemon: &Daemon) -> Result<()> {
        self.lines.iter().try_for_each(|line| daemon.must(&format!("-D {line}")).map(drop))
    }
}
