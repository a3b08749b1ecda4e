//! What a director forwards, and what else on it forwards too.

use lbxdp_common::Forward;
use lbxdp_common::table::{entries_in, is_nearly_full};

use super::Finding;
use crate::doctor::facts::{Daemon, Facts};
use crate::host::surroundings::{Address, Route, Scope};
use crate::host::sysctl_name;
use crate::snapshot::{TableStatus, Way};

/// What is to be done before a daemon is started: without `--leave` an orderly end would forget everything.
pub(super) const DAEMON_ENDED: &str = "when the daemon has ended (kill -9, if it runs without --leave)";

pub(super) fn daemon_down(facts: &Facts) -> Vec<Finding> {
    let Daemon::Down { why, is_running, has_packet_path } = &facts.daemon else { return Vec::new() };
    let (path, reason) = if *has_packet_path {
        (
            "the packet path is there",
            "packets are forwarded as the tables were left: next hops that change, servers that are added, and \
             connections that end are not followed",
        )
    } else {
        ("the packet path is not there", "this machine was set up as a director, and balances nothing")
    };
    // It may be that another one of the same instance would only be in its way.
    let remedy = if *is_running {
        facts.lbxdp("status") + "   # as root; then the daemon's log"
    } else {
        facts.run(facts.attached.iter().map(String::as_str), "")
    };
    vec![Finding::error("daemon-down", format!("{path}, but {why}"), reason, remedy)]
}

pub(super) fn next_hop(facts: &Facts) -> Vec<Finding> {
    let hops = facts.status.iter().flat_map(|status| &status.next_hops);
    let unknown = hops.filter(|hop| hop.way == Way::Unknown);
    unknown
        .map(|hop| {
            let server = hop.server;
            Finding::error(
                "next-hop",
                format!("nobody answers as the next hop to {server}, or there is no route"),
                "the server gets no connection while others can, and packets of those it has are dropped",
                format!("ip route get {server}; ping -c 1 {server}; ip neigh show"),
            )
        })
        .collect()
}

pub(super) fn martian_source(facts: &Facts) -> Vec<Finding> {
    let own = facts.sources.iter().filter(|(_, source)| facts.vips.contains(source));
    own.map(|(server, source)| {
        Finding::error(
            "martian-source",
            format!("the director's own packets to {server} come from the VIP {source}"),
            "the server has that address itself, and drops what comes from it as martian: tunnels, health checks",
            match facts.there.route_to(*server) {
                Some(route) if !route.is_beyond_us => with_own_source(facts, route),
                _ => format!("ip route get {server}   # and that route again, with src DIP"),
            },
        )
    })
    .collect()
}

/// The command that leaves a route as it is, but for the source of what goes by it.
fn with_own_source(facts: &Facts, route: &Route) -> String {
    let own = facts.there.addresses.iter().filter(|place| {
        let address = place.address.addr();
        place.interface == route.interface
            && place.scope == Scope::Global
            && address.is_ipv4() == route.destination.addr().is_ipv4()
            && !facts.vips.contains(&address)
    });
    // One that the gateway knows as its neighbour.
    let is_near = |place: &&Address| route.gateway.is_some_and(|gateway| place.address.contains(&gateway));
    let source = own.clone().find(is_near).or(own.clone().next()).map(|place| place.address.addr());
    let src = if source.is_some() { "" } else { " src DIP" };
    format!("ip route change {}{src}", Route { source, ..route.clone() })
}

pub(super) fn not_forwarding(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (is_v6, name) in [(false, "net/ipv4/ip_forward"), (true, "net/ipv6/conf/all/forwarding")] {
        let mut servers = facts.services.iter().flat_map(|service| &service.servers);
        let is_nat = servers.any(|found| {
            found.server.forward == Forward::Masquerade
                && found.server.address.is_ipv6() == is_v6
                && !facts.is_local(found.server.address)
        });
        if is_nat && facts.there.number(name) == 0 {
            let name = name.replace('/', ".");
            findings.push(Finding::error(
                "nat-forwarding",
                format!("{name} is 0, and there are servers by VS/NAT"),
                "their answers are not forwarded to the clients",
                format!("sysctl -w {name}=1"),
            ));
        }
    }
    findings
}

/// A director that forwards IPv6, and has heard nothing of a router since.
pub(super) fn no_advertisements(facts: &Facts) -> Vec<Finding> {
    let there = &facts.there;
    let mut servers = facts.services.iter().flat_map(|service| &service.servers);
    let is_nat = servers.any(|found| {
        found.server.forward == Forward::Masquerade
            && found.server.address.is_ipv6()
            && !facts.is_local(found.server.address)
    });
    let has_default = there
        .routes
        .iter()
        .any(|route| route.destination.prefix_len() == 0 && route.destination.addr().is_ipv6());
    if !is_nat || has_default || there.number("net/ipv6/conf/all/forwarding") == 0 {
        return Vec::new();
    }
    let name = |interface: &str| format!("net/ipv6/conf/{interface}/accept_ra");
    let deaf = there.asked().filter(|link| link.is_up && there.number(&name(&link.name)) == 1);
    deaf.map(|link| {
        let name = sysctl_name(&name(&link.name));
        Finding::warning(
            "accept-ra",
            format!("{name} is 1, IPv6 is forwarded, and there is no default route of IPv6"),
            "a machine that forwards takes no router's advertisements with 1: it has lost its way to clients, if that was one",
            format!("sysctl -w {name}=2"),
        )
    })
    .collect()
}

pub(super) fn no_tunnel(facts: &Facts) -> Vec<Finding> {
    // The counter knows packets of all times: what was mended since is not told from what is not.
    if facts.no_tunnel == 0 {
        return Vec::new();
    }
    vec![Finding::warning(
        "tunnel-mtu",
        format!("{} packets just now found no room for a tunnel's header on their way", facts.no_tunnel),
        "the way to a server is too narrow for any packet in a tunnel, or the driver leaves no room before frames",
        facts.lbxdp("status --next-hops"),
    )]
}

pub(super) fn table_full(facts: &Facts) -> Vec<Finding> {
    let Some(status) = &facts.status else { return Vec::new() };
    let is_full = |table: &TableStatus| is_nearly_full(table.entries, table.most_places);
    let mut findings = Vec::new();
    for (family, option, table) in
        [("IPv4", "--connections", &status.table), ("IPv6", "--connections-v6", &status.table_v6)]
    {
        if is_full(table) {
            findings.push(Finding::warning(
                "table-full",
                format!(
                    "{} of {} places for connections of {family} are taken",
                    table.entries, table.most_places
                ),
                "the more of them are taken, the more new connections find none: one of 67,000 at 40 %, of 1,700 at 50 %, of 130 at 60 %",
                larger(facts, option, table.most_places),
            ));
        }
    }
    if findings.is_empty() && status.is_pressed {
        findings.push(Finding::warning(
            "table-full",
            "new connections find no place in the table now".to_owned(),
            "they go by hash, without an entry of their own: a flood of half-open ones, or the table is too small",
            larger(facts, "--connections", status.table.most_places) + "; if it is no flood",
        ));
    }
    findings
}

/// Twice as many connections as a table has room for. A daemon that takes tables over leaves them as large as they are.
fn larger(facts: &Facts, option: &str, places: u64) -> String {
    let connections = entries_in(places) * 2;
    let unload = facts.lbxdp("unload --keep-configuration");
    let run = facts.run(facts.attached.iter().map(String::as_str), &format!(" {option} {connections}"));
    format!("{unload} && {run}   # {DAEMON_ENDED}; all connections are lost")
}

/// Clocks may be so far apart, in seconds.
const APART_S: f64 = 1.0;

pub(super) fn clock(facts: &Facts) -> Vec<Finding> {
    let wrong = facts.clocks.iter().filter(|(_, (least, most))| *least > APART_S || *most < -APART_S);
    wrong
        .map(|(server, (least, most))| {
            let (by, word) = if *least > 0.0 { (*least, "ahead of") } else { (-*most, "behind") };
            Finding::warning(
                "clock-skew",
                format!("the clock of {server} is at least {by:.0} s {word} this machine's"),
                "logs cannot be compared, and what is kept with a time (sessions, certificates, caches) breaks when a client \
                 changes servers",
                "timedatectl set-ntp true   # on the one that is wrong".to_owned(),
            )
        })
        .collect()
}

pub(super) fn kernel_ipvs(facts: &Facts) -> Vec<Finding> {
    let reason = "lbxdp sees packets first; what it passes may be balanced a second time";
    let symptom = "the kernel's IPVS has services too".to_owned();
    // After `lbxdp link` ipvsadm may be lbxdp itself: its services are not to be taken away.
    let remedy = match &facts.kernels_ipvsadm {
        Some(program) => format!("{} -C", program.display()),
        None => "modprobe -r ip_vs   # once the program that made the services has ended".to_owned(),
    };
    let finding = Finding::warning("kernel-ipvs", symptom, reason, remedy);
    facts.has_kernel_ipvs.then_some(finding).into_iter().collect()
}

pub(super) fn kube_proxy(facts: &Facts) -> Vec<Finding> {
    let reason = "kube-proxy owns the addresses of Kubernetes' services on this machine, and takes away what it does not know";
    let symptom = "kube-ipvs0 is there: kube-proxy balances here too".to_owned();
    let remedy = "kube-proxy --cleanup   # or a machine of its own for the director".to_owned();
    let finding = Finding::warning("kube-proxy", symptom, reason, remedy);
    facts.there.link("kube-ipvs0").map(|_| finding).into_iter().collect()
}
