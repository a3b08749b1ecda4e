//! What a director forwards, and what else on it forwards too.

use lbxdp_common::Forward;

use super::Finding;
use crate::doctor::facts::{Daemon, Facts};
use crate::snapshot::{TableStatus, Way};

pub(super) fn daemon_down(facts: &Facts) -> Vec<Finding> {
    let reason = "packets are forwarded as the tables were left: next hops that change, servers that are added, and \
                  connections that end are not followed";
    let symptom = "the packet path is there, but its daemon does not answer".to_owned();
    let remedy = "lbxdp run -i IF --leave".to_owned();
    let is_dead = facts.daemon == Daemon::Dead;
    is_dead.then(|| Finding::error("daemon-down", symptom, reason, remedy)).into_iter().collect()
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
                Some(route) => {
                    let destination = route.destination;
                    format!("ip route change {destination} dev {} src DIP", route.interface)
                }
                None => format!("ip route get {server}"),
            },
        )
    })
    .collect()
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

pub(super) fn no_tunnel(facts: &Facts) -> Vec<Finding> {
    let reasons = facts.status.iter().flat_map(|status| &status.not_forwarded);
    let none = reasons.filter(|counted| counted.reason == "no_tunnel" && counted.packets > 0);
    none.map(|counted| {
        Finding::error(
            "tunnel-mtu",
            format!("{} packets found no room for a tunnel's header on their way", counted.packets),
            "the way to a server is too narrow for any packet in a tunnel, or the driver leaves no room before frames",
            "lbxdp status --next-hops".to_owned(),
        )
    })
    .collect()
}

/// Of a table's places so many tenths may be taken before it is said.
const TENTHS: u64 = 9;

pub(super) fn table_full(facts: &Facts) -> Vec<Finding> {
    let Some(status) = &facts.status else { return Vec::new() };
    let is_full =
        |table: &TableStatus| table.most_places > 0 && table.entries * 10 >= table.most_places * TENTHS;
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
                "when all are, new connections go by hash, without an entry of their own",
                format!(
                    "lbxdp run {option} {}   # as much memory as the machine has to spare",
                    table.most_places * 2
                ),
            ));
        }
    }
    if findings.is_empty() && status.is_pressed {
        findings.push(Finding::warning(
            "table-full",
            "new connections find no place in the table now".to_owned(),
            "they go by hash, without an entry of their own: a flood of half-open ones, or the table is too small",
            "lbxdp status".to_owned(),
        ));
    }
    findings
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
    let finding = Finding::warning("kernel-ipvs", symptom, reason, "/sbin/ipvsadm -C".to_owned());
    facts.has_kernel_ipvs.then_some(finding).into_iter().collect()
}

pub(super) fn kube_proxy(facts: &Facts) -> Vec<Finding> {
    let reason = "kube-proxy owns the addresses of Kubernetes' services on this machine, and takes away what it does not know";
    let symptom = "kube-ipvs0 is there: kube-proxy balances here too".to_owned();
    let remedy = "kube-proxy --cleanup   # or a machine of its own for the director".to_owned();
    let finding = Finding::warning("kube-proxy", symptom, reason, remedy);
    facts.there.link("kube-ipvs0").map(|_| finding).into_iter().collect()
}
