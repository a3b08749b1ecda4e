//! The network in which real IPVS was recorded, with its addresses, because schedulers hash them: client, director and three servers
//! on one net, 10.0.0.0/24, direct routing.
//!
//! ```text
//!   client ──┐           ┌── server 1   10.0.0.101
//!   (many    ├── switch ─┼── server 2   10.0.0.102
//!  addresses)│           └── server 3   10.0.0.103
//!   director ┘
//! ```
//!
//! Servers greet by their number ([`Greeter`]), so who serves a connection is known without a packet more than was recorded.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::client::{Client, Connection};
use crate::daemon::{self, Daemon};
use crate::greeter::{Greeter, Places};
use crate::label::Label;
use crate::link::{End, face_native_xdp, join};
use crate::namespace::Namespace;
use crate::pass::Pass;
use crate::service::status;
use crate::{leftovers, wait};

/// The client of most of what was recorded.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
/// The address of most services.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// The director's own address.
pub const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Where servers answer datagrams, on every address.
pub const UDP_PORTS: [u16; 2] = [9999, 9998];

const INTERFACE: &str = "eth0";
const SERVERS: u8 = 3;
const DEADLINE: Duration = Duration::from_secs(10);

/// Further clients: 10.0.0.20 to .43.
pub fn further_clients() -> impl Iterator<Item = Ipv4Addr> {
    (20..=43).map(|last| Ipv4Addr::new(10, 0, 0, last))
}

/// Further addresses of services: 10.0.0.120 to .143.
pub fn further_vips() -> impl Iterator<Item = Ipv4Addr> {
    (120..=143).map(|last| Ipv4Addr::new(10, 0, 0, last))
}

/// The RIP of server 1, 2 or 3.
pub fn server(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 100 + number)
}

/// The service at a port of the VIP.
pub fn vip(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(VIP, port)
}

fn tcp_ports() -> Vec<u16> {
    [20, 21, 80, 443, 5000, 5001, 40_000].into_iter().chain(9791..=9899).collect()
}

/// A real server. Fields are dropped in order: its program ends before its namespace.
#[derive(Debug)]
struct Host {
    _greeter: Greeter,
    namespace: Namespace,
}

/// The network with a director at work, until this is dropped.
#[derive(Debug)]
pub struct Net {
    pub daemon: Daemon,
    /// The port the next client connects from: none is used twice, or the director would know the connection.
    next_port: AtomicU16,
    hosts: Vec<Host>,
    pub client: Namespace,
    pub director: Namespace,
    _peer: Pass,
    _switch: Namespace,
}

impl Net {
    /// Builds it, and starts lbxdp on the director.
    pub fn build() -> Result<Self> {
        Self::build_with(&[])
    }

    /// As [`Net::build`], with arguments for `lbxdp run`.
    pub fn build_with(arguments: &[&str]) -> Result<Self> {
        leftovers::remove()?;
        let label = Label::unique();
        let create = |role: &str| Namespace::create(format!("{label}-{role}"));
        let switch = create("switch")?;
        switch.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0")?;
        switch.ip("link set br0 up")?;
        let (client, director) = (create("client")?, create("director")?);
        for (host, port) in [(&client, "client"), (&director, "director")] {
            plug(&switch, host, port)?;
        }
        let peer = face_native_xdp(End { namespace: &switch, interface: "director" })?;
        give(&client, INTERFACE, 24, [CLIENT].into_iter().chain(further_clients()))?;
        give(&director, INTERFACE, 24, [DIRECTOR])?;
        give(&director, INTERFACE, 32, [VIP].into_iter().chain(further_vips()))?;
        let hosts = (1..=SERVERS).map(|number| build_host(label, &switch, number)).collect::<Result<_>>()?;
        let instance = label.to_string();
        let daemon = Daemon::start(&daemon::binary()?, &director, &instance, &[INTERFACE], arguments)?;
        let net = Self {
            daemon,
            next_port: AtomicU16::new(24_000),
            hosts,
            client,
            director,
            _peer: peer,
            _switch: switch,
        };
        net.wait_until_connected()?;
        Ok(net)
    }

    /// Gives ipvsadm's command line, which must succeed; what it printed.
    pub fn must(&self, line: &str) -> Result<String> {
        self.daemon.must(line)
    }

    /// Adds a service, `-t 10.0.0.100:80 -s rr` for example, and servers of these weights, 1, 2, 3, in this order.
    pub fn offer(&self, service: &str, options: &str, weights: &[u32]) -> Result<()> {
        self.must(&format!("-A {service} {options}"))?;
        for (number, weight) in (1..).zip(weights) {
            self.must(&format!("-a {service} -r {} -g -w {weight}", server(number)))?;
        }
        self.wait_for_servers()
    }

    /// Waits until all servers are found: one that is not would be passed over.
    pub fn wait_for_servers(&self) -> Result<()> {
        wait::until("all servers are found", DEADLINE, || {
            status(&self.daemon).is_ok_and(|text| !text.contains("UNKNOWN"))
        })
    }

    /// Somebody on the client's host, with this address, and a port that nobody has used yet.
    pub fn client(&self, from: Ipv4Addr) -> Client<'_> {
        let port = self.next_port.fetch_add(1, Ordering::Relaxed);
        Client::new(&self.client).from(SocketAddrV4::new(from, port))
    }

    /// Opens a connection from the usual client, and reads who serves it.
    pub fn open(&self, to: SocketAddrV4) -> Result<(Connection, char)> {
        self.open_from(CLIENT, to)
    }

    /// As [`Net::open`], from another client.
    pub fn open_from(&self, from: Ipv4Addr, to: SocketAddrV4) -> Result<(Connection, char)> {
        self.client(from).open_greeted(to)
    }

    /// Who serves a connection that is closed at once.
    pub fn who(&self, from: Ipv4Addr, to: SocketAddrV4) -> Result<char> {
        let (connection, server) = self.open_from(from, to)?;
        connection.close()?;
        Ok(server)
    }

    /// Who serves so many connections of a client, opened and closed one after the other.
    pub fn run(&self, from: Ipv4Addr, to: SocketAddrV4, connections: usize) -> Result<String> {
        (0..connections).map(|_| self.who(from, to)).collect()
    }

    /// Who answers a datagram of this client, from a port of its own.
    pub fn who_answers(&self, from: Ipv4Addr, to: SocketAddrV4) -> Result<char> {
        let answer = self.client(from).datagram(to, b"who?")?;
        Ok(answer.first().copied().context("an empty answer")?.into())
    }

    /// Lets servers take packets for this network, as they do for VIPs, and sends it from the client to the director.
    pub fn lead_here(&self, network: &str) -> Result<()> {
        for host in &self.hosts {
            host.namespace.ip(&format!("route add local {network} dev lo"))?;
        }
        self.client.ip(&format!("route add {network} via {DIRECTOR}")).map(drop)
    }

    /// Ends the daemon by a signal and starts the next one.
    pub fn restart(&mut self, signal: Signal) -> Result<()> {
        self.daemon.end_by(signal)?;
        self.start_again()
    }

    /// Starts the daemon again after it has ended.
    pub fn start_again(&mut self) -> Result<()> {
        self.daemon.start_again(&self.director, &[INTERFACE], &[])
    }

    fn wait_until_connected(&self) -> Result<()> {
        for number in 1..=SERVERS {
            let to = SocketAddrV4::new(server(number), 80);
            let hasty = || self.client(CLIENT).with_deadline(Duration::from_millis(200));
            wait::until(&format!("the client reaches {to}"), DEADLINE, || hasty().open(to).is_ok())?;
            let greeted = self.who(CLIENT, to)?;
            ensure!(greeted == char::from(b'0' + number), "{greeted} answers at {to}");
        }
        Ok(())
    }
}

fn build_host(label: Label, switch: &Namespace, number: u8) -> Result<Host> {
    let name = format!("s{number}");
    let namespace = Namespace::create(format!("{label}-{name}"))?;
    plug(switch, &namespace, &name)?;
    // Before the VIPs are there: otherwise this host may say that they are here.
    for interface in ["all", INTERFACE] {
        namespace.set(&format!("ipv4/conf/{interface}/arp_ignore"), "1")?;
        namespace.set(&format!("ipv4/conf/{interface}/arp_announce"), "2")?;
    }
    give(&namespace, INTERFACE, 24, [server(number)])?;
    let vips = || [VIP].into_iter().chain(further_vips());
    give(&namespace, "lo", 32, vips())?;
    let udp: Vec<SocketAddrV4> = vips()
        .chain([server(number)])
        .flat_map(|address| UDP_PORTS.map(|port| SocketAddrV4::new(address, port)))
        .collect();
    let places = Places { tcp_ports: &tcp_ports(), udp: &udp };
    let greeter = Greeter::start(&namespace, &number.to_string(), &places)
        .with_context(|| format!("starting server {number}"))?;
    Ok(Host { _greeter: greeter, namespace })
}

/// Plugs a host into the switch, at a port of the given name.
fn plug(switch: &Namespace, host: &Namespace, port: &str) -> Result<()> {
    for interface in ["all", "default"] {
        // Packets may come from where the host would not send to: direct routing is made of such.
        host.set(&format!("ipv4/conf/{interface}/rp_filter"), "0")?;
    }
    let ends = [End { namespace: host, interface: INTERFACE }, End { namespace: switch, interface: port }];
    join(ends[0], ends[1], 1500)?;
    switch.ip(&format!("link set {port} master br0")).map(drop)
}

fn give(
    host: &Namespace,
    interface: &str,
    prefix: u8,
    addresses: impl IntoIterator<Item = Ipv4Addr>,
) -> Result<()> {
    addresses
        .into_iter()
        .try_for_each(|address| host.ip(&format!("addr add {address}/{prefix} dev {interface}")).map(drop))
}
