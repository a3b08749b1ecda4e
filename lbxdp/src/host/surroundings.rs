//! What is there on a machine, as far as load balancing cares: interfaces, addresses, routes, sysctls, decapsulators. Plain
//! values; `look` fills them in, plans and findings are made from them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::director;

/// The kernel's own devices that take tunnels off.
pub(crate) const TUNNEL_DEVICES: [&str; 5] = ["tunl0", "gre0", "sit0", "ip6tnl0", "ip6gre0"];

/// A machine (one network namespace of it).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Values by names as below `/proc/sys`, with slashes. Only those that somebody here asks for.
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) links: Vec<Link>,
    pub(crate) addresses: Vec<Address>,
    /// Unicast routes of the main table.
    pub(crate) routes: Vec<Route>,
    /// Decapsulators (`lbxdp decap`) by their interfaces.
    pub(crate) decapsulators: BTreeMap<String, Decapsulator>,
    /// The daemon's services and servers, as the lines that would add them; none on a real server.
    pub(crate) services: Vec<String>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) is_up: bool,
    pub(crate) is_loopback: bool,
    /// Answers ARP: Ethernet, and not told to be silent.
    pub(crate) has_arp: bool,
    pub(crate) mac: Option<[u8; 6]>,
    /// The largest IP packet, in bytes.
    pub(crate) mtu: u32,
    /// What the kernel calls this kind of interface, such as `vlan`; empty for a network card.
    pub(crate) kind: String,
    /// The index of the interface below, of a VLAN.
    pub(crate) lower: Option<u32>,
    /// The index of the bridge or bond that it is a port of.
    pub(crate) master: Option<u32>,
    /// The kernel's id of the XDP program on it.
    pub(crate) xdp_program: Option<u32>,
}

/// An address on an interface.
#[expect(
    clippy::struct_field_names,
    reason = "an address and where it is: there is no better word for either"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) interface: String,
    pub(crate) address: IpNet,
    pub(crate) scope: Scope,
    /// Never chosen as the source of what this machine begins itself (IPv6).
    #[serde(default)]
    pub(crate) is_deprecated: bool,
}

/// How far an address means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scope {
    Global,
    Link,
    Host,
}

/// A route with everything that is needed to make it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    pub(crate) destination: IpNet,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) interface: String,
    pub(crate) source: Option<IpAddr>,
    /// 0 if none is given.
    pub(crate) metric: u32,
    /// Who made it (`RTPROT_…`).
    pub(crate) protocol: u8,
    /// `RT_SCOPE_…`.
    pub(crate) scope: u8,
    /// In bytes.
    pub(crate) mtu: Option<u32>,
    /// The largest TCP segment that is advertised to those it leads to, in bytes.
    pub(crate) advmss: Option<u32>,
    /// It has more than stands here (several next hops, other metrics …): it is not to be touched.
    pub(crate) is_beyond_us: bool,
}

impl Route {
    /// Whether it is from a router's advertisement.
    pub(crate) fn is_advertised(&self) -> bool {
        /// `RTPROT_RA`.
        const ADVERTISED: u8 = 9;
        self.protocol == ADVERTISED
    }

    /// The way to the world, as a router has advertised it.
    pub(crate) fn is_advertised_default(&self) -> bool {
        self.is_advertised() && self.destination.prefix_len() == 0
    }
}

/// What a decapsulator was told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decapsulator {
    pub(crate) from: Vec<IpNet>,
    pub(crate) gue_ports: Vec<u16>,
}

impl Surroundings {
    /// The number a sysctl has; 0 if it is not there.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.sysctls.get(name).and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    }

    /// What counts of a setting of IPv4 for an interface: the greater one of `all`'s and its own.
    pub(crate) fn greater(&self, interface: &str, setting: &str) -> i64 {
        let of = |which: &str| self.number(&format!("net/ipv4/conf/{which}/{setting}"));
        of("all").max(of(interface))
    }

    /// An interface by its name.
    pub(crate) fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The service or server, as a line, that is the same as a line's, however that is to be.
    pub(crate) fn service_like(&self, line: &str) -> Option<&String> {
        self.services.iter().find(|found| director::identity(found) == director::identity(line))
    }

    /// The interfaces by which an interface's frames come in: of a VLAN the one below, of a bridge or a bond its ports.
    pub(crate) fn below(&self, name: &str) -> impl Iterator<Item = &Link> {
        // Of a veth the other end stands there, which is beside it; its index may be of another namespace.
        let upper = self.link(name).filter(|link| link.kind != "veth");
        let is_below = move |link: &&Link| {
            upper.is_some_and(|upper| upper.lower == Some(link.index) || link.master == Some(upper.index))
        };
        self.links.iter().filter(is_below)
    }

    /// Interfaces by which somebody may ask for an address by ARP.
    pub(crate) fn asked(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(|link| link.has_arp && !link.is_loopback)
    }

    /// Where an address is: all interfaces that have it.
    pub(crate) fn places(&self, address: IpAddr) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |place| place.address.addr() == address)
    }

    /// The route by which packets to an address leave.
    pub(crate) fn route_to(&self, address: IpAddr) -> Option<&Route> {
        let fitting = self.routes.iter().filter(|route| route.destination.contains(&address));
        // The longest prefix; then the least metric.
        fitting.max_by_key(|route| (route.destination.prefix_len(), u32::MAX - route.metric))
    }

    /// The interface whose own network an address is of.
    pub(crate) fn neighbourhood(&self, address: IpAddr) -> Option<&Address> {
        let near = self.addresses.iter().filter(|own| {
            let is_net = own.address.prefix_len() < own.address.max_prefix_len();
            is_net
                && own.address.contains(&address)
                && self.link(&own.interface).is_some_and(|link| !link.is_loopback)
        });
        near.max_by_key(|own| own.address.prefix_len())
    }

    /// The routes that lead to clients, of a family: those by gateways; where there are none, all that leave the machine.
    pub(crate) fn routes_to_clients(&self, is_v6: bool) -> Vec<&Route> {
        // Nobody is behind a device that only opens tunnels; one of IPv6 has a route of its own as soon as it is up (`::/96 dev sit0`).
        let leaves = |route: &&Route| {
            let is_opening = TUNNEL_DEVICES.contains(&route.interface.as_str());
            !is_opening && self.link(&route.interface).is_some_and(|link| !link.is_loopback)
        };
        let is_local = |route: &&Route| match route.destination.addr() {
            IpAddr::V4(_) => false,
            IpAddr::V6(address) => address.is_multicast() || address.is_unicast_link_local(),
        };
        let of_family = self.routes.iter().filter(|route| route.destination.addr().is_ipv6() == is_v6);
        let all: Vec<_> = of_family.filter(|route| !is_local(route)).filter(leaves).collect();
        let by_gateways: Vec<_> = all.iter().copied().filter(|route| route.gateway.is_some()).collect();
        if by_gateways.is_empty() { all } else { by_gateways }
    }
}
