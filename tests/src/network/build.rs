//! A [`Plan`] come to life: a namespace a host, a bridge a net, veth pairs between them, programs on servers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::family::Family;
use super::plan::{Director, HostPlan, Plan, Role, Route, SourceCheck, Spot, To};
use super::receiver::{Receiver, Receiving};
use super::trunk::{Seen, Tags, Trunk};
use crate::client::Client;
use crate::daemon::{self, Daemon};
use crate::http::{HTTP_PORT, Host};
use crate::label::Label;
use crate::link::{End, face_native_xdp, face_tagged_native_xdp, join, leave_segments_apart};
use crate::namespace::Namespace;
use crate::pass::Pass;
use crate::{leftovers, wait};

/// How long the network may take until the client reaches the servers.
const DEADLINE: Duration = Duration::from_secs(10);

/// A host. Fields are dropped in order: its programs end before its namespace.
#[derive(Debug)]
pub struct Site {
    pub plan: HostPlan,
    programs: Option<Host>,
    receiving: Option<Receiving>,
    pub namespace: Namespace,
}

impl Site {
    /// One of its interfaces, as the end of a link.
    pub fn end<'a>(&'a self, interface: &'a str) -> End<'a> {
        End { namespace: &self.namespace, interface }
    }

    /// What opened tunnels' packets here complains of.
    pub fn faults(&self) -> Vec<String> {
        self.receiving.as_ref().map(Receiving::faults).unwrap_or_default()
    }
}

/// The network, at work until this is dropped.
#[derive(Debug)]
pub struct Network {
    label: Label,
    pub plan: Plan,
    next_port: AtomicU16,
    trunks: Vec<Trunk>,
    /// What the director's peers need for native XDP.
    peers: Vec<Pass>,
    sites: Vec<Site>,
    /// Hosts are as they come: without VIPs, and settings for these.
    is_bare: bool,
    pub switch: Namespace,
}

impl Network {
    /// Builds the network and waits until the client reaches every server's own addresses.
    pub fn build(plan: Plan) -> Result<Self> {
        Self::build_with_tags(plan, &[])
    }

    /// As [`Network::build`], with directors and servers that nobody has set up: no VIP anywhere, no settings for them, and servers whose
    /// programs serve their own addresses.
    pub fn build_bare(plan: Plan) -> Result<Self> {
        let network = Self::build_as(plan, &[], true)?;
        for site in network.servers() {
            for (number, _) in site.plan.spots.iter().enumerate() {
                // What comes into XDP (a decapsulator's) must have its checksum.
                network.switch.run(&format!("ethtool -K {}-eth{number} tx off", site.plan.name))?;
            }
        }
        Ok(network)
    }

    /// As [`Network::build`], with a trunk at some of the director's interfaces: it sees IP tagged.
    pub fn build_with_tags(plan: Plan, tags: &[(&str, Tags)]) -> Result<Self> {
        Self::build_as(plan, tags, false)
    }

    fn build_as(plan: Plan, tags: &[(&str, Tags)], is_bare: bool) -> Result<Self> {
        leftovers::remove()?;
        let label = Label::unique();
        let switch = Namespace::create(format!("{label}-switch"))?;
        for net in &plan.nets {
            switch.ip(&format!(
                "link add {} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                net.name
            ))?;
            switch.ip(&format!("link set {} mtu {} up", net.name, net.mtu))?;
        }
        let mut network = Self {
            label,
            plan,
            // Below the ports that the kernel chooses.
            next_port: AtomicU16::new(10_000),
            trunks: Vec::new(),
            peers: Vec::new(),
            sites: Vec::new(),
            is_bare,
            switch,
        };
        for host in network.plan.hosts.clone() {
            let name = host.name;
            network.build_host(host, tags).with_context(|| format!("building {name}"))?;
        }
        // The stack of a director that has no VLAN devices takes nothing tagged: no way by it is open without lbxdp.
        // Nor does a bare director forward.
        if tags.is_empty() && !is_bare {
            network.wait_until_connected()?;
        }
        Ok(network)
    }

    /// A host by its name.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn site(&self, name: &str) -> &Site {
        self.sites.iter().find(|site| site.plan.name == name).expect("the host is in the plan")
    }

    /// The first client.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn client(&self) -> &Site {
        self.sites.iter().find(|site| site.plan.role == Role::Client).expect("a plan with a client")
    }

    /// The director.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn director(&self) -> &Site {
        let mut sites = self.sites.iter();
        sites.find(|site| matches!(site.plan.role, Role::Director(_))).expect("a plan with a director")
    }

    pub fn servers(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().filter(|site| site.plan.role == Role::Server)
    }

    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter()
    }

    /// A host's first address of a family; for a server this is its RIP.
    ///
    /// # Panics
    ///
    /// If the host is nowhere.
    pub fn address(&self, site: &Site, family: Family) -> IpAddr {
        let spot = site.plan.spots.first().expect("a host is somewhere");
        self.at(*spot, family)
    }

    /// The first VIP of a family.
    pub fn vip(&self, family: Family) -> IpAddr {
        self.at(self.plan.vip, family)
    }

    /// The address of a place.
    pub fn at(&self, spot: Spot, family: Family) -> IpAddr {
        family.address(self.plan.net(spot.net).number, spot.host)
    }

    /// All addresses of a host of one family, VIPs included if it is the director's.
    pub fn addresses(&self, site: &Site, family: Family) -> Vec<IpAddr> {
        let own = site.plan.spots.iter().map(|spot| self.at(*spot, family));
        let vips = self.vips(family).filter(|_| matches!(site.plan.role, Role::Director(_)));
        own.chain(vips).collect()
    }

    /// The MTU of a net, in bytes.
    pub fn mtu(&self, net: &str) -> u32 {
        self.plan.net(net).mtu
    }

    /// Somebody on the client's host, with a port that nobody has used yet: what one test leaves in the director's table never
    /// meets the next one's packets.
    pub fn asker(&self) -> Client<'_> {
        Client::new(&self.client().namespace).from_port(self.next_port())
    }

    /// A port of a client that nobody has used yet.
    pub fn next_port(&self) -> u16 {
        self.next_port.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts lbxdp on all interfaces of the director.
    pub fn start_daemon(&self) -> Result<Daemon> {
        self.start_daemon_with(&[])
    }

    /// As [`Network::start_daemon`], with more arguments.
    pub fn start_daemon_with(&self, arguments: &[&str]) -> Result<Daemon> {
        let director = self.director();
        let interfaces = interfaces(&director.plan);
        let interfaces: Vec<&str> = interfaces.iter().map(String::as_str).collect();
        Daemon::start(
            &daemon::binary()?,
            &director.namespace,
            &self.label.to_string(),
            &interfaces,
            arguments,
        )
    }

    /// What the trunks have seen of the director.
    pub fn tagged(&self) -> Seen {
        self.trunks.iter().map(Trunk::seen).fold(Seen::default(), Seen::and)
    }

    /// Sets all servers up for tunnels from the director.
    pub fn receive(&mut self, receiver: Receiver) -> Result<()> {
        let director = self.director();
        let sources: Vec<IpAddr> = Family::BOTH
            .into_iter()
            .flat_map(|family| director.plan.spots.iter().map(move |spot| (*spot, family)))
            .map(|(spot, family)| self.at(spot, family))
            .collect();
        for site in self.sites.iter_mut().filter(|site| site.plan.role == Role::Server) {
            // What was there before goes first: two of them would each deliver what comes.
            drop(site.receiving.take());
            let receiving = Receiving::start(receiver, &site.namespace, &sources)
                .with_context(|| format!("setting {} up for tunnels", site.plan.name))?;
            site.receiving = Some(receiving);
        }
        Ok(())
    }

    /// Ends the programs of a host.
    pub fn end_programs(&mut self, name: &str) {
        drop(self.sites.iter_mut().find(|site| site.plan.name == name).and_then(|site| site.programs.take()));
    }

    /// Starts the programs of a host again: where `at_vips`, they serve the VIPs too, which must be there now.
    pub fn serve_again(&mut self, name: &str, at_vips: bool) -> Result<()> {
        self.end_programs(name);
        let at = self.sites.iter().position(|site| site.plan.name == name).context("no such host")?;
        let site = self.sites.get(at).context("no such host")?;
        // A process that another test is starting may hold the old sockets for the moment between fork and exec.
        let mut started = Ok(None);
        wait::until("the ports of its former programs are free", DEADLINE, || {
            started = self.start_programs(&site.plan, &site.namespace, at_vips);
            !started.as_ref().is_err_and(is_in_use)
        })?;
        let programs = started?;
        if let Some(site) = self.sites.get_mut(at) {
            site.programs = programs;
        }
        Ok(())
    }

    /// The name of the instance of the director's daemon.
    pub fn instance(&self) -> String {
        self.label.to_string()
    }

    /// All VIPs of a family.
    pub fn all_vips(&self, family: Family) -> Vec<IpAddr> {
        self.vips(family).collect()
    }

    fn vips(&self, family: Family) -> impl Iterator<Item = IpAddr> + use<> {
        let (number, first) = (self.plan.net(self.plan.vip.net).number, self.plan.vip.host);
        (first..first + Plan::VIPS).map(move |host| family.address(number, host))
    }

    fn build_host(&mut self, plan: HostPlan, tags: &[(&str, Tags)]) -> Result<()> {
        let namespace = Namespace::create(format!("{}-{}", self.label, plan.name))?;
        calm(&namespace)?;
        if plan.role == Role::Server && !self.is_bare {
            // Before the VIP is there: otherwise this host may say that the VIP is here.
            for interface in ["all", "default"] {
                namespace.set(&format!("ipv4/conf/{interface}/arp_ignore"), "1")?;
                namespace.set(&format!("ipv4/conf/{interface}/arp_announce"), "2")?;
            }
        }
        for (number, spot) in plan.spots.iter().enumerate() {
            self.plug(&namespace, &format!("eth{number}"), &plan, *spot, tags)?;
        }
        match plan.role {
            Role::Client => {}
            Role::Director(_) | Role::Server if self.is_bare => {}
            Role::Router => make_router(&namespace)?,
            Role::Director(director) => self.make_director(&namespace, director)?,
            Role::Server => self.give_vips(&namespace, "lo")?,
        }
        for route in &plan.routes {
            self.add_route(&namespace, *route)?;
        }
        let programs = self.start_programs(&plan, &namespace, !self.is_bare)?;
        self.sites.push(Site { plan, programs, receiving: None, namespace });
        Ok(())
    }

    /// Plugs a host into the switch of a net and gives it its addresses.
    fn plug(
        &mut self,
        namespace: &Namespace,
        interface: &str,
        plan: &HostPlan,
        spot: Spot,
        tags: &[(&str, Tags)],
    ) -> Result<()> {
        let net = self.plan.net(spot.net);
        let port = format!("{}-{interface}", plan.name);
        let near = End { namespace, interface };
        let is_director = matches!(plan.role, Role::Director(_));
        let tags = tags.iter().find(|(found, _)| is_director && *found == interface).map(|(_, tags)| *tags);
        let at_switch = |interface| End { namespace: &self.switch, interface };
        if let Some(tags) = tags {
            let (tagged, untagged) = (format!("t-{interface}"), format!("u-{interface}"));
            // A link has room for one tag beside its MTU; a packet socket takes that of 802.1Q for one, and no other.
            let further = tags.further_bytes();
            join(near, at_switch(&tagged), net.mtu + further)?;
            self.switch.ip(&format!("link set {tagged} mtu {}", net.mtu + 2 * further))?;
            join(at_switch(&untagged), at_switch(&port), net.mtu)?;
            self.peers.push(face_tagged_native_xdp(at_switch(&tagged))?);
            leave_segments_apart(at_switch(&tagged))?;
            // What is read there is sent as it is: whole frames with their checksums.
            self.switch.run(&format!("ethtool -K {port} tx off tso off gso off"))?;
            let trunk = Trunk::start(&self.switch, &untagged, &tagged, tags)?;
            self.trunks.push(trunk);
        } else {
            join(near, at_switch(&port), net.mtu)?;
            if is_director {
                self.peers.push(face_native_xdp(at_switch(&port))?);
                leave_segments_apart(at_switch(&port))?;
            }
        }
        self.switch.ip(&format!("link set {port} master {}", net.name))?;
        for family in Family::BOTH {
            let address = family.address(net.number, spot.host);
            give(namespace, interface, address, family.net_bits())?;
        }
        Ok(())
    }

    fn make_director(&self, namespace: &Namespace, director: Director) -> Result<()> {
        if director.is_router {
            make_router(namespace)?;
        }
        let check = match director.source_check {
            SourceCheck::Off => "0",
            SourceCheck::Strict => "1",
            SourceCheck::Loose => "2",
        };
        // The stricter of all's and the interface's own counts.
        namespace.set("ipv4/conf/all/rp_filter", check)?;
        self.give_vips(namespace, "eth0")
    }

    fn give_vips(&self, namespace: &Namespace, interface: &str) -> Result<()> {
        for family in Family::BOTH {
            for vip in self.vips(family) {
                give(namespace, interface, vip, family.host_bits())?;
            }
        }
        Ok(())
    }

    fn add_route(&self, namespace: &Namespace, route: Route) -> Result<()> {
        for family in Family::BOTH {
            let to = match route.to {
                To::Everywhere => "default".to_owned(),
                To::Net(net) => family.net(self.plan.net(net).number),
                To::Host(spot) => format!("{}/{}", self.at(spot, family), family.host_bits()),
            };
            let via = self.at(route.via, family);
            namespace.ip(&format!("{} route add {to} via {via}", family.option()))?;
        }
        Ok(())
    }

    fn start_programs(&self, plan: &HostPlan, namespace: &Namespace, at_vips: bool) -> Result<Option<Host>> {
        let is_director = matches!(plan.role, Role::Director(_));
        let serves =
            plan.role == Role::Server || matches!(plan.role, Role::Director(Director { serves: true, .. }));
        if !serves {
            return Ok(None);
        }
        let mut addresses = Vec::new();
        for family in Family::BOTH {
            addresses.extend(plan.spots.iter().map(|spot| self.at(*spot, family)));
            addresses.extend(at_vips.then(|| self.vips(family)).into_iter().flatten());
            addresses.extend(is_director.then(|| family.loopback()));
        }
        Host::start(namespace, plan.name, &addresses).map(Some)
    }

    fn wait_until_connected(&self) -> Result<()> {
        for server in self.servers() {
            for family in Family::BOTH {
                let to = SocketAddr::new(self.address(server, family), HTTP_PORT);
                let hasty = || self.asker().with_deadline(Duration::from_millis(200));
                let what = format!("the client reaches {} at {to}", server.plan.name);
                wait::until(&what, DEADLINE, || hasty().open(to).is_ok())?;
                let name = self.asker().who(to)?;
                ensure!(name == server.plan.name, "{name} answers at {to}");
            }
        }
        Ok(())
    }
}

/// The names of a host's interfaces.
pub fn interfaces(plan: &HostPlan) -> Vec<String> {
    (0..plan.spots.len()).map(|number| format!("eth{number}")).collect()
}

/// A host as the tests want it: it takes what it would not send there, has its addresses at once, and tells of every error.
fn calm(host: &Namespace) -> Result<()> {
    for interface in ["all", "default"] {
        host.set(&format!("ipv4/conf/{interface}/rp_filter"), "0")?;
        for sysctl in ["send_redirects", "accept_redirects"] {
            host.set(&format!("ipv4/conf/{interface}/{sysctl}"), "0")?;
        }
        for sysctl in ["accept_dad", "accept_ra", "accept_redirects", "dad_transmits"] {
            host.set(&format!("ipv6/conf/{interface}/{sysctl}"), "0")?;
        }
    }
    host.set("ipv4/icmp_ratelimit", "0")?;
    host.set("ipv6/icmp/ratelimit", "0")
}

fn make_router(host: &Namespace) -> Result<()> {
    host.set("ipv4/ip_forward", "1")?;
    host.set("ipv6/conf/all/forwarding", "1")
}

fn give(host: &Namespace, interface: &str, address: IpAddr, bits: u8) -> Result<()> {
    let at_once = if address.is_ipv6() { " nodad" } else { "" };
    host.ip(&format!("addr add {address}/{bits} dev {interface}{at_once}")).map(drop)
}

/// Whether something failed because an address is another socket's.
fn is_in_use(error: &anyhow::Error) -> bool {
    let is_it = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_it))
}
