//! What a real server does with what the director sends, and how it answers.

use std::net::{IpAddr, SocketAddr};

use super::{Finding, Severity};
use crate::doctor::facts::{Facts, Forwarding, Role};
use crate::host::surroundings::TUNNEL_DEVICES;
use crate::host::{fitting_mss, sysctl_name};

pub(super) fn reverse_path(facts: &Facts) -> Vec<Finding> {
    let there = &facts.there;
    let is_strict = |interface: &str| there.greater(interface, "rp_filter") == 1;
    let reason = "packets whose sender is not reached by the interface they come in by are dropped: requests out of \
                  a tunnel, or of clients who are reached by another one";
    let finding = |interface: &str, symptom: String| {
        let name = sysctl_name(&format!("net/ipv4/conf/{interface}/rp_filter"));
        let remedy = format!("sysctl -w {name}=2");
        Finding::error("rp-filter", symptom, reason, remedy)
    };
    let mut findings = Vec::new();
    for link in there.links.iter().filter(|link| link.is_up && is_strict(&link.name)) {
        let name = &link.name;
        let is_tunnel = TUNNEL_DEVICES.contains(&name.as_str());
        let opens = there.decapsulators.contains_key(name);
        let default = there
            .routes
            .iter()
            .find(|route| route.destination.prefix_len() == 0 && route.destination.addr().is_ipv4());
        let is_elsewhere = default.is_some_and(|route| route.interface != *name);
        if is_tunnel || opens && is_elsewhere {
            findings.push(finding(name, format!("rp_filter is strict for {name}, where tunnels come in")));
        } else if takes_packets(facts) && !link.is_loopback && facts.reverse_path_drops > 0 {
            let drops = facts.reverse_path_drops;
            let symptom = format!("rp_filter is strict for {name}, and has dropped {drops} packets");
            // The counter does not tell which packets these were: other strays are dropped so too.
            findings.push(Finding { severity: Severity::Warning, ..finding(name, symptom) });
        }
    }
    findings.extend(loose_in_vain(facts));
    findings
}

/// Of what comes in by a device without an address the filter drops all, also if it is loose.
fn loose_in_vain(facts: &Facts) -> Option<Finding> {
    let there = &facts.there;
    let vip = facts.vips.iter().find(|vip| vip.is_ipv4())?;
    let has_address = |name: &str| {
        there.addresses.iter().any(|place| place.interface == name && place.address.addr().is_ipv4())
    };
    let link = there.links.iter().find(|link| {
        let name = link.name.as_str();
        // This one opens IPv6 alone, which has no such filter.
        let is_tunnel = TUNNEL_DEVICES.contains(&name) && name != "sit0";
        is_tunnel && link.is_up && there.greater(name, "rp_filter") == 2 && !has_address(name)
    })?;
    let name = &link.name;
    Some(Finding::error(
        "rp-filter",
        format!("rp_filter is loose for {name}, which has no address"),
        "the kernel drops all that comes in by a device without an address, unless rp_filter is 0",
        format!("ip addr add {vip}/32 dev {name} scope host"),
    ))
}

/// Whether packets of services come to the stack here: lbxdp takes a director's before `rp_filter` sees them, but for those of
/// servers on the director itself.
fn takes_packets(facts: &Facts) -> bool {
    let mut servers = facts.services.iter().flat_map(|service| &service.servers);
    facts.role == Role::Server || servers.any(|found| facts.is_local(found.server.address))
}

pub(super) fn route_past_director(facts: &Facts) -> Vec<Finding> {
    if facts.role != Role::Server || facts.forwarding != Forwarding::Nat || facts.directors.is_empty() {
        return Vec::new();
    }
    let anywhere = |director: &IpAddr| -> IpAddr {
        // Any address that only a default route leads to (documentation's own).
        if director.is_ipv4() { [192, 0, 2, 1].into() } else { [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into() }
    };
    let default: Vec<IpAddr> = facts.directors.iter().take(1).map(anywhere).collect();
    let clients = if facts.clients.is_empty() { &default } else { &facts.clients };
    let mut findings = Vec::new();
    for client in clients {
        let route = facts.there.route_to(*client);
        let gateway = route.and_then(|route| route.gateway);
        if gateway.is_some_and(|gateway| facts.directors.contains(&gateway)) {
            continue;
        }
        let to = if facts.clients.is_empty() { "default".to_owned() } else { client.to_string() };
        let leads = match (route, gateway) {
            (None, _) => "nowhere".to_owned(),
            (Some(_), Some(gateway)) => format!("by {gateway}"),
            (Some(route), None) => format!("straight out by {}", route.interface),
        };
        let director = facts.directors.first().map(IpAddr::to_string).unwrap_or_default();
        findings.push(Finding::error(
            "nat-route",
            format!(
                "the route to {} leads {leads}, not by the director",
                if to == "default" { "clients (default)" } else { &to }
            ),
            "by VS/NAT answers must go back through the director: clients do not know who answers them else",
            format!("ip route replace {to} via {director}"),
        ));
    }
    findings
}

pub(super) fn tunnel_mtu(facts: &Facts) -> Vec<Finding> {
    let Some(overhead) = facts.tunnel_overhead.filter(|_| facts.role == Role::Server) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for is_v6 in [false, true] {
        if !facts.vips.iter().any(|vip| vip.is_ipv6() == is_v6) {
            continue;
        }
        for route in facts.there.routes_to_clients(is_v6) {
            let mtu = facts.there.link(&route.interface).map_or(0, |link| link.mtu);
            let fits = fitting_mss(mtu, overhead, is_v6);
            if route.is_beyond_us || route.advmss.is_some_and(|advmss| advmss <= fits) {
                continue;
            }
            findings.push(Finding::warning(
                "tunnel-mtu",
                format!("the route to {} does not tell clients to send segments of at most {fits} bytes", route.destination),
                "larger ones do not fit into the tunnel (unless its way has a larger MTU): each connection waits for \
                 path MTU discovery, and hangs where ICMP is filtered",
                format!("ip route change {} advmss {fits}", without_advmss(route)),
            ));
        }
    }
    findings
}

fn without_advmss(route: &crate::host::surroundings::Route) -> String {
    crate::host::surroundings::Route { advmss: None, ..route.clone() }.to_string()
}

pub(super) fn no_listener(facts: &Facts) -> Vec<Finding> {
    let vips: Vec<IpAddr> = facts.vips.iter().copied().filter(|vip| facts.is_local(*vip)).collect();
    let mut wanted: Vec<SocketAddr> = Vec::new();
    match facts.role {
        Role::Server if facts.forwarding == Forwarding::Nat => {}
        Role::Server => {
            let at = |port: u16| vips.iter().map(move |vip| SocketAddr::new(*vip, port));
            wanted.extend(facts.ports.iter().flat_map(|port| at(*port)));
            if facts.ports.is_empty() {
                // What is served on the server's own address only was probably meant for the VIP.
                let is_narrow = |found: &&SocketAddr| {
                    let ip = found.ip();
                    !ip.is_unspecified() && !ip.is_loopback() && !vips.contains(&ip)
                };
                let narrow = facts.listeners.iter().filter(is_narrow);
                let same_family = |found: &SocketAddr| {
                    let found = *found;
                    vips.iter()
                        .filter(move |vip| vip.is_ipv4() == found.is_ipv4())
                        .map(move |vip| SocketAddr::new(*vip, found.port()))
                };
                wanted.extend(narrow.flat_map(same_family));
            }
        }
        Role::Director => {
            for service in &facts.services {
                let tcp = service.key.protocol() == Some(lbxdp_common::Protocol::Tcp);
                let is_here = service.servers.iter().any(|found| {
                    found.server.weight > 0
                        && found.server.forward != lbxdp_common::Forward::Masquerade
                        && facts.is_local(found.server.address)
                });
                if let (true, true, Some(vip)) = (tcp, is_here, service.key.address())
                    && service.key.port() != 0
                {
                    wanted.push(SocketAddr::new(vip, service.key.port()));
                }
            }
        }
    }
    wanted.sort_unstable();
    wanted.dedup();
    let is_served = |at: &SocketAddr| {
        facts.listeners.iter().any(|found| {
            let any = found.ip().is_unspecified() && (found.is_ipv6() || at.is_ipv4());
            found.port() == at.port() && (any || found.ip() == at.ip())
        })
    };
    let unserved = wanted.into_iter().filter(|at| !is_served(at));
    unserved
        .map(|at| {
            // It may be that nothing is to be served there.
            Finding::warning(
                "no-listener",
                format!("nobody listens at {at}"),
                "the director forwards packets unchanged, to the VIP: a program that listens at another address \
                 refuses them",
                format!("ss -ltn 'sport = :{}'   # and make the program listen at {} or at all addresses", at.port(), at.ip()),
            )
        })
        .collect()
}
