//! The classic topology of direct routing, each host in a namespace of its own.
//!
//! ```text
//!   client ── router ─┬─ switch ── server s1, s2 …      one leg: the director is on the switch, and sends out where
//!                     │    └────── director             the packet came in
//!
//!   client ── router ─┬─ director ─┐                    two legs: the director is on a link to the router, and has
//!                     └────────── switch ── s1, s2 …    a leg on the switch
//! ```
//!
//! Servers answer by the router, never through the director.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client::Client;
use crate::daemon::Daemon;
use crate::http::{HTTP_PORT, Host};
use crate::label::Label;
use crate::link::{End, face_native_xdp, join};
use crate::namespace::Namespace;
use crate::pass::Pass;
use crate::{leftovers, wait};

/// How many interfaces the director has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legs {
    /// One: packets go out where they came in, by `XDP_TX`.
    One,
    /// Two: packets are redirected from the router's link to the servers' net.
    Two,
}

/// What a lab is to be like.
#[derive(Clone, Debug)]
pub struct Plan {
    pub legs: Legs,
    /// Number of real servers, at most 80: their addresses lie between the director's and the VIP.
    pub servers: u8,
    /// The address of the virtual service; the router reaches it on the director's net, 10.0.0.0/24.
    pub vip: Ipv4Addr,
    /// Of all links, in bytes.
    pub mtu: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self { legs: Legs::One, servers: 2, vip: Ipv4Addr::new(10, 0, 0, 100), mtu: 1500 }
    }
}

/// The address of the client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);

/// The director's own address on the net of the VIP.
pub const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);

/// The director's interface on the router's side; its only one, if it has one leg.
pub const OUTER: &str = "eth0";

/// The director's interface on the servers' side, if it has two legs.
pub const INNER: &str = "eth1";

/// The router's interface towards the director, whatever number of legs that has.
pub const ROUTER_OUTER: &str = "outer";

/// How long the network may take until the client reaches the servers.
const DEADLINE: Duration = Duration::from_secs(10);

/// A real server. Fields are dropped in order: its programs end before its namespace.
#[derive(Debug)]
pub struct Server {
    /// What it answers: `s1`, `s2` and so on.
    pub name: String,
    /// The RIP.
    pub address: Ipv4Addr,
    pub host: Host,
    pub namespace: Namespace,
}

/// The network, at work until this is dropped.
#[derive(Debug)]
pub struct Lab {
    label: Label,
    plan: Plan,
    /// What the director's peers need for native XDP.
    peers: Vec<Pass>,
    pub servers: Vec<Server>,
    pub client: Namespace,
    pub director: Namespace,
    pub router: Namespace,
    pub switch: Namespace,
}

impl Server {
    /// Its programs end.
    pub fn die(&mut self) {
        self.host.stop();
    }

    /// They begin again, under this name.
    pub fn return_as(&mut self, name: &str, vip: Ipv4Addr) -> Result<()> {
        self.host.stop();
        self.host = Host::start(&self.namespace, name, &[self.address, vip])?;
        Ok(())
    }
}

impl Lab {
    /// Builds the network and waits until the client reaches every server's own address.
    pub fn build(plan: Plan) -> Result<Self> {
        leftovers::remove()?;
        let label = Label::unique();
        let host = |role: &str| Namespace::create(format!("{label}-{role}"));
        let (client, director, router, switch) =
            (host("client")?, host("director")?, host("router")?, host("switch")?);
        let mut lab =
            Self { label, plan, peers: Vec::new(), servers: Vec::new(), client, director, router, switch };
        lab.build_switch()?;
        lab.build_router()?;
        lab.build_client()?;
        lab.build_director()?;
        for number in 1..=lab.plan.servers {
            let server = lab.build_server(number).with_context(|| format!("building server {number}"))?;
            lab.servers.push(server);
        }
        lab.wait_until_connected()?;
        Ok(lab)
    }

    /// The address of the virtual service.
    pub fn vip(&self) -> Ipv4Addr {
        self.plan.vip
    }

    /// The virtual service at a port.
    pub fn service(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.plan.vip, port)
    }

    /// A name for an instance of lbxdp that nobody else has.
    pub fn instance(&self) -> String {
        self.label.to_string()
    }

    /// The director's interfaces.
    pub fn interfaces(&self) -> &'static [&'static str] {
        match self.plan.legs {
            Legs::One => &[OUTER],
            Legs::Two => &[OUTER, INNER],
        }
    }

    /// Starts lbxdp on all interfaces of the director.
    pub fn start_daemon(&self, binary: &Path) -> Result<Daemon> {
        Daemon::start(binary, &self.director, &self.instance(), self.interfaces(), &[])
    }

    /// Somebody on the client's host.
    pub fn client(&self) -> Client<'_> {
        Client::new(&self.client)
    }

    /// The switch: a bridge in a namespace, which forwards at once.
    fn build_switch(&self) -> Result<()> {
        self.switch.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0")?;
        self.switch.ip(&format!("link set br0 mtu {} up", self.plan.mtu)).map(drop)
    }

    /// The router: between the client's net, the director's and, if that is another, the servers'.
    fn build_router(&self) -> Result<()> {
        let router = &self.router;
        router.set("ipv4/ip_forward", "1")?;
        // Servers answer as the VIP from a net that the VIP is not on.
        loosen_source_check(router)?;
        match self.plan.legs {
            Legs::One => {
                self.plug(router, ROUTER_OUTER, "router")?;
                router.ip(&format!("addr add 10.0.0.1/24 dev {ROUTER_OUTER}"))?;
            }
            Legs::Two => {
                self.plug(router, "inner", "router")?;
                router.ip("addr add 10.0.1.1/24 dev inner")?;
            }
        }
        Ok(())
    }

    fn build_client(&self) -> Result<()> {
        let (near, far) = (end(&self.client, "eth0"), end(&self.router, "client"));
        join(near, far, self.plan.mtu)?;
        self.router.ip("addr add 192.168.0.1/24 dev client")?;
        self.client.ip(&format!("addr add {CLIENT}/24 dev eth0"))?;
        self.client.ip("route add default via 192.168.0.1").map(drop)
    }

    fn build_director(&mut self) -> Result<()> {
        let director = &self.director;
        loosen_source_check(director)?;
        let mut peers = Vec::new();
        match self.plan.legs {
            Legs::One => {
                self.plug(director, OUTER, "director")?;
                peers.push(face_native_xdp(end(&self.switch, "director"))?);
            }
            Legs::Two => {
                join(end(director, OUTER), end(&self.router, ROUTER_OUTER), self.plan.mtu)?;
                self.router.ip(&format!("addr add 10.0.0.1/24 dev {ROUTER_OUTER}"))?;
                peers.push(face_native_xdp(end(&self.router, ROUTER_OUTER))?);
                self.plug(director, INNER, "director")?;
                peers.push(face_native_xdp(end(&self.switch, "director"))?);
                director.ip(&format!("addr add 10.0.1.10/24 dev {INNER}"))?;
            }
        }
        director.ip(&format!("addr add {DIRECTOR}/24 dev {OUTER}"))?;
        director.ip(&format!("addr add {}/32 dev {OUTER}", self.plan.vip))?;
        director.ip("route add default via 10.0.0.1")?;
        self.peers = peers;
        Ok(())
    }

    fn build_server(&self, number: u8) -> Result<Server> {
        let name = format!("s{number}");
        let namespace = Namespace::create(format!("{}-{name}", self.label))?;
        let net = match self.plan.legs {
            Legs::One => 0,
            Legs::Two => 1,
        };
        let address = Ipv4Addr::new(10, 0, net, 10 + number);
        loosen_source_check(&namespace)?;
        self.plug(&namespace, "eth0", &name)?;
        // Before the VIP is there: otherwise this host may tell the router that the VIP is here.
        for interface in ["all", "eth0"] {
            namespace.set(&format!("ipv4/conf/{interface}/arp_ignore"), "1")?;
            namespace.set(&format!("ipv4/conf/{interface}/arp_announce"), "2")?;
        }
        namespace.ip(&format!("addr add {}/32 dev lo", self.plan.vip))?;
        namespace.ip(&format!("addr add {address}/24 dev eth0"))?;
        namespace.ip(&format!("route add default via 10.0.{net}.1"))?;
        let host = Host::start(&namespace, &name, &[address, self.plan.vip])?;
        Ok(Server { name, address, host, namespace })
    }

    /// Plugs a host into the switch, at a port of the given name.
    fn plug(&self, host: &Namespace, interface: &str, port: &str) -> Result<()> {
        join(end(host, interface), end(&self.switch, port), self.plan.mtu)?;
        self.switch.ip(&format!("link set {port} master br0")).map(drop)
    }

    fn wait_until_connected(&self) -> Result<()> {
        let client = self.client().with_deadline(Duration::from_millis(200));
        for server in &self.servers {
            let what = format!("the client reaches {} at {}", server.name, server.address);
            let to = SocketAddrV4::new(server.address, HTTP_PORT);
            wait::until(&what, DEADLINE, || client.who(to).is_ok_and(|name| name == server.name))?;
        }
        Ok(())
    }
}

/// Packets may come from where the host would not send to: direct routing is made of such.
fn loosen_source_check(host: &Namespace) -> Result<()> {
    host.set("ipv4/conf/all/rp_filter", "0")?;
    host.set("ipv4/conf/default/rp_filter", "0")
}

fn end<'a>(namespace: &'a Namespace, interface: &'a str) -> End<'a> {
    End { namespace, interface }
}
