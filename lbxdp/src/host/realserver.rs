//! What a real server needs: silence about the VIP, what opens tunnels, and the VIP; in this order.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::HostError;
use super::plan::Change;
use super::step::Step;
use super::surroundings::{Address, Decapsulator, Route, Scope, Surroundings};

/// What an operator wants of a real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RealServer {
    pub(crate) vips: Vec<IpAddr>,
    pub(crate) tunnel: Option<Tunnel>,
}

/// How the director's tunnel is taken off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tunnel {
    pub(crate) kind: TunnelKind,
    /// The directors' addresses; may be empty if the kernel opens the tunnel.
    pub(crate) directors: Vec<IpNet>,
    pub(crate) opener: Opener,
    /// Where tunnels' packets come in; `None`: by the route to the first director.
    pub(crate) interface: Option<String>,
    pub(crate) gue_ports: Vec<u16>,
    pub(crate) advmss: AdvertisedMss,
}

/// What the director wraps packets into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum TunnelKind {
    Ipip,
    Gue,
    Gre,
}

/// Who takes the tunnel's header off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub(crate) enum Opener {
    /// `lbxdp decap`.
    Xdp,
    /// The kernel's tunnel devices (`tunl0` and its like).
    Kernel,
}

/// The size of segments that clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AdvertisedMss {
    /// What fits into the tunnel, if that has the MTU of the interface.
    Auto,
    /// Routes stay as they are: there is room on the way, or path MTU discovery is to do.
    Off,
    /// In bytes.
    Bytes(u32),
}

/// Bytes of a TCP header without options.
const TCP_BYTES: u32 = 20;

impl Tunnel {
    /// Whether directors are reached by IPv6.
    fn is_outer_v6(&self) -> bool {
        self.directors.iter().any(|director| director.addr().is_ipv6())
    }

    /// Bytes that it puts before a packet.
    pub(crate) fn overhead(&self) -> u32 {
        // The kernel's own IPv6 tunnels add an encapsulation limit of 8 bytes.
        let outer = if self.is_outer_v6() { 40 + 8 } else { 20 };
        outer
            + match self.kind {
                TunnelKind::Ipip => 0,
                // UDP, GUE.
                TunnelKind::Gue => 8 + 4,
                // With a checksum, which the director may be told to add.
                TunnelKind::Gre => 8,
            }
    }

    /// The interface that the tunnels' packets come in by.
    pub(crate) fn interface(&self, there: &Surroundings) -> Result<String, HostError> {
        if let Some(interface) = &self.interface {
            return match there.link(interface) {
                Some(_) => Ok(interface.clone()),
                None => Err(HostError::NoInterface(interface.clone())),
            };
        }
        let director = self.directors.first().ok_or(HostError::NoDirector)?;
        let route = there.route_to(director.addr()).ok_or(HostError::NoRoute(director.addr()))?;
        Ok(route.interface.clone())
    }

    /// The kernel's devices that open it, for these VIPs: from directors of both families, those for both.
    fn devices(&self, vips: &[IpAddr]) -> Result<Vec<&'static str>, HostError> {
        // Whoever names no director is reached by IPv4.
        let is_any = |is_v6| self.directors.iter().any(|director| director.addr().is_ipv6() == is_v6);
        let mut devices = Vec::new();
        for is_outer_v6 in [false, true] {
            if !is_any(is_outer_v6) && (is_outer_v6 || !self.directors.is_empty()) {
                continue;
            }
            for vip in vips {
                devices.push(match (self.kind, is_outer_v6) {
                    (TunnelKind::Gue, _) => return Err(HostError::KernelGue),
                    (TunnelKind::Gre, false) => "gre0",
                    (TunnelKind::Gre, true) => "ip6gre0",
                    (TunnelKind::Ipip, true) => "ip6tnl0",
                    (TunnelKind::Ipip, false) if vip.is_ipv4() => "tunl0",
                    (TunnelKind::Ipip, false) => SIT,
                });
            }
        }
        devices.sort_unstable();
        devices.dedup();
        Ok(devices)
    }
}

impl RealServer {
    /// All changes that make a machine this real server, in the order in which they must be made: the VIP comes last.
    pub(crate) fn wanted(&self, there: &Surroundings) -> Result<Vec<Change>, HostError> {
        let mut steps = Vec::new();
        if self.vips.iter().any(IpAddr::is_ipv4) {
            steps.extend(silence(there));
        }
        if let Some(tunnel) = &self.tunnel {
            steps.extend(self.opening(tunnel, there)?);
        }
        let kernels = self.tunnel.as_ref().filter(|tunnel| tunnel.opener == Opener::Kernel);
        let devices = kernels.map_or(Ok(Vec::new()), |tunnel| tunnel.devices(&self.vips))?;
        for vip in &self.vips {
            if vip.is_ipv4() && kernels.is_some() {
                // Of IPv4 on the devices themselves: of what comes in by one without any address `rp_filter` drops all, also if it is
                // loose (`__fib_validate_source` in `net/ipv4/fib_frontend.c`). Nobody asks for it there.
                let opening = devices.iter().filter(|device| **device != SIT);
                let place =
                    |device: &&str| Address { interface: (*device).to_owned(), ..vip_on_loopback(*vip) };
                steps.extend(opening.map(place).map(Step::AddAddress));
                continue;
            }
            // Wherever it is: an operator may have it on a tunnel's device or a dummy one.
            let is_there = there.places(*vip).any(|place| is_silent(there, &place.interface));
            let place = there.places(*vip).find(|place| is_silent(there, &place.interface));
            let address = if is_there { place.cloned() } else { None };
            steps.push(Step::AddAddress(address.unwrap_or_else(|| vip_on_loopback(*vip))));
        }
        Ok(steps.into_iter().map(|step| Change::new(step, there)).collect())
    }

    fn opening(&self, tunnel: &Tunnel, there: &Surroundings) -> Result<Vec<Step>, HostError> {
        let mut steps = Vec::new();
        match tunnel.opener {
            Opener::Xdp => {
                let interface = tunnel.interface(there)?;
                steps.extend(loose(there, &interface));
                let mut gue_ports = tunnel.gue_ports.clone();
                gue_ports.sort_unstable();
                gue_ports.dedup();
                let mut from = tunnel.directors.clone();
                from.sort();
                from.dedup();
                if from.is_empty() {
                    return Err(HostError::NoDirector);
                }
                steps.push(Step::StartDecapsulator { interface, told: Decapsulator { from, gue_ports } });
            }
            Opener::Kernel => {
                for device in tunnel.devices(&self.vips)? {
                    if there.link(device).is_none() {
                        return Err(HostError::NoDevice(device, tunnel.kind));
                    }
                    steps.extend(loose(there, device));
                    steps.push(Step::SetLink { name: device.to_owned(), is_up: true });
                }
            }
        }
        for is_v6 in [false, true] {
            if self.vips.iter().any(|vip| vip.is_ipv6() == is_v6) {
                steps.extend(advertised(tunnel, there, is_v6));
            }
        }
        Ok(steps)
    }
}

/// The kernel's device that opens IPv6 in IPv4, and nothing else.
const SIT: &str = "sit0";

/// An interface by which nobody asks for addresses.
pub(crate) fn is_silent(there: &Surroundings, interface: &str) -> bool {
    there.link(interface).is_some_and(|link| link.is_loopback || !link.has_arp)
}

/// The VIP as a real server has it. Of IPv4 with scope host, so that the kernel never chooses it as the source of what this server
/// begins itself; of IPv6, which has no such scope, deprecated, which means the same, and without duplicate address
/// detection, for the director has it too.
fn vip_on_loopback(vip: IpAddr) -> Address {
    Address {
        interface: "lo".to_owned(),
        address: IpNet::from(vip),
        scope: if vip.is_ipv4() { Scope::Host } else { Scope::Global },
        is_deprecated: vip.is_ipv6(),
    }
}

/// Whether a value of `arp_ignore` keeps a server silent about an address on another interface. 1 and 2 do, 8 too; 3 does for addresses
/// of scope host; of 4 to 7 the kernel knows nothing, and answers (`arp_ignore` in `net/ipv4/arp.c`).
pub(crate) fn is_ignoring(value: i64) -> bool {
    matches!(value, 1..=3 | 8)
}

/// The ARP settings. The greater of `all`'s and an interface's own counts, so `all`'s is enough, but where an interface has a
/// value of its own that is greater and worse.
fn silence(there: &Surroundings) -> Vec<Step> {
    let sysctl = |which: &str, setting: &str, value: u8| Step::Sysctl {
        name: format!("net/ipv4/conf/{which}/{setting}"),
        value: value.to_string(),
    };
    let mut steps = Vec::new();
    let of_all = there.number("net/ipv4/conf/all/arp_ignore");
    if is_ignoring(of_all) && of_all != 3 {
        steps.push(sysctl("all", "arp_ignore", u8::try_from(of_all).unwrap_or(1)));
    } else {
        steps.push(sysctl("all", "arp_ignore", 1));
    }
    for link in there.asked() {
        let own = there.number(&format!("net/ipv4/conf/{}/arp_ignore", link.name));
        // 3 would let a VIP of wider scope be answered for, which somebody may have put there by hand.
        if own > 1 && (own == 3 || !is_ignoring(own)) {
            steps.push(sysctl(&link.name, "arp_ignore", 1));
        }
    }
    steps.push(sysctl("all", "arp_announce", 2));
    steps
}

/// Packets may come in by an interface that answers do not leave by. The greater of `all`'s and its own value counts, and 2 is
/// greater than 1 and lets them in: so its own is enough.
fn loose(there: &Surroundings, interface: &str) -> Option<Step> {
    (there.greater(interface, "rp_filter") == 1)
        .then(|| Step::Sysctl { name: format!("net/ipv4/conf/{interface}/rp_filter"), value: "2".to_owned() })
}

/// The largest segment that a client of a family can send through a tunnel on a path of an MTU, in bytes.
pub(crate) fn fitting_mss(mtu: u32, overhead: u32, is_v6: bool) -> u32 {
    let header = if is_v6 { 40 } else { 20 };
    mtu.saturating_sub(overhead + header + TCP_BYTES)
}

/// The routes to clients, with the size of segments that these are told.
fn advertised(tunnel: &Tunnel, there: &Surroundings, is_v6: bool) -> Vec<Step> {
    let routes = there.routes_to_clients(is_v6);
    let changed = routes.into_iter().filter(|route| !route.is_beyond_us).filter_map(|route| {
        let mtu = there.link(&route.interface)?.mtu;
        let advmss = match tunnel.advmss {
            AdvertisedMss::Off => return None,
            AdvertisedMss::Bytes(bytes) => bytes,
            AdvertisedMss::Auto => fitting_mss(mtu, tunnel.overhead(), is_v6),
        };
        // What the operator has made smaller stays.
        if tunnel.advmss == AdvertisedMss::Auto && route.advmss.is_some_and(|there| there <= advmss) {
            return None;
        }
        Some(Step::ChangeRoute(Route { advmss: Some(advmss), ..route.clone() }))
    });
    changed.collect()
}

#[cfg(test)]
#[path = "realserver_tests.rs"]
mod tests;
