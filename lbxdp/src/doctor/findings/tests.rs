//! Judgements without any machine: what is healthy has no finding, and one fault has exactly its own.

use lbxdp_common::{Forward, Protocol};

use super::*;
use crate::doctor::facts::{Daemon, Forwarding, Role};
use crate::host::surroundings::{Address, Decapsulator, Link, Route, Scope};
use crate::lan::{Heard, Mac};
use crate::snapshot::{
    Counters, InterfaceStatus, NextHop, NotForwarded, PacketPath, Rates, ServerSnapshot, ServiceSnapshot,
    Status, Sweep, TableStatus, Way,
};
use crate::state::{Options, Server, ServiceKey};

const OWN: Mac = [2, 0, 0, 0, 0, 1];
const DIRECTOR: Mac = [2, 0, 0, 0, 0, 2];
const ROUTER: Mac = [2, 0, 0, 0, 0, 3];
const VIP: &str = "10.0.0.100";

fn place(interface: &str, address: &str, scope: Scope) -> Address {
    let address = address.parse().unwrap();
    Address { interface: interface.to_owned(), address, scope, is_deprecated: false }
}

fn route(destination: &str, gateway: &str) -> Route {
    Route {
        destination: destination.parse().unwrap(),
        gateway: Some(gateway.parse().unwrap()),
        interface: "eth0".to_owned(),
        source: None,
        metric: 0,
        protocol: 3,
        scope: 0,
        mtu: None,
        advmss: None,
        is_beyond_us: false,
    }
}

fn machine() -> Facts {
    let mut facts = Facts { vips: vec![VIP.parse().unwrap()], ..Facts::default() };
    let link = |index, name: &str, is_loopback| Link {
        index,
        name: name.to_owned(),
        is_up: true,
        is_loopback,
        has_arp: !is_loopback,
        mac: Some(OWN).filter(|_| !is_loopback),
        mtu: 1500,
        ..Link::default()
    };
    facts.there.links = vec![link(1, "lo", true), link(2, "eth0", false)];
    facts.there.addresses = vec![place("eth0", "10.0.0.11/24", Scope::Global)];
    facts.there.routes = vec![route("0.0.0.0/0", "10.0.0.1")];
    facts.heard.insert("eth0".to_owned(), Heard::default());
    facts
}

fn server() -> Facts {
    let mut facts = Facts { role: Role::Server, ..machine() };
    facts.there.addresses.push(place("lo", "10.0.0.100/32", Scope::Host));
    set(&mut facts, "all/arp_ignore", "1");
    set(&mut facts, "all/arp_announce", "2");
    facts.heard.get_mut("eth0").unwrap().answers.insert((facts.vips[0], DIRECTOR));
    facts.listeners.insert("[::]:80".parse().unwrap());
    facts
}

fn set(facts: &mut Facts, name: &str, value: &str) {
    facts.there.sysctls.insert(format!("net/ipv4/conf/{name}"), value.to_owned());
}

fn table() -> TableStatus {
    TableStatus {
        connections: 10,
        half_open: 0,
        entries: 10,
        places: 64,
        most_places: 1000,
        is_growing: false,
        sweep: Sweep::default(),
    }
}

fn director() -> Facts {
    let mut facts = Facts {
        role: Role::Director,
        daemon: Daemon::Running,
        attached: vec!["eth0".to_owned()],
        ..machine()
    };
    facts.there.addresses.push(place("eth0", "10.0.0.100/32", Scope::Global));
    let server = "10.0.0.12".parse().unwrap();
    let way = Way::Out { mac: String::new(), interface: "eth0".to_owned(), vlans: vec![], mtu: 1500 };
    facts.status = Some(Status {
        interfaces: vec![InterfaceStatus { name: "eth0".to_owned(), path: PacketPath::Native }],
        table: table(),
        table_v6: table(),
        is_pressed: false,
        overflows: vec![],
        repaired: 0,
        unsaved: None,
        only_kept: vec![],
        next_hops: vec![NextHop { server, way }],
        not_forwarded: vec![],
        notices: vec![],
    });
    facts.services = vec![ServiceSnapshot {
        key: ServiceKey::at(Protocol::Tcp, VIP.parse().unwrap(), 80),
        options: Options::of(lbxdp_common::Scheduler::RoundRobin),
        counters: Counters::default(),
        rates: Rates::default(),
        servers: vec![ServerSnapshot {
            server: Server::new(server, 80, Forward::Direct, 1),
            active: 0,
            inactive: 0,
            persistent: 0,
            counters: Counters::default(),
            rates: Rates::default(),
        }],
    }];
    facts.sources.insert(server, "10.0.0.11".parse().unwrap());
    facts.clocks.insert(server, (-0.9, 0.4));
    facts
}

/// A real server by VS/TUN, and one by VS/NAT.
fn tunnelled() -> Facts {
    let mut facts = Facts { forwarding: Forwarding::Tunnel, tunnel_overhead: Some(20), ..server() };
    facts.there.decapsulators.insert("eth0".to_owned(), Decapsulator::default());
    facts.there.routes[0].advmss = Some(1440);
    set(&mut facts, "all/rp_filter", "1");
    facts
}

fn masqueraded() -> Facts {
    let mut facts = Facts { role: Role::Server, forwarding: Forwarding::Nat, ..machine() };
    facts.vips.clear();
    facts.directors = vec!["10.0.0.1".parse().unwrap()];
    facts
}

fn ids(facts: &Facts) -> Vec<&'static str> {
    findings(facts).into_iter().map(|finding| finding.id).collect()
}

#[test]
fn where_all_is_well_nothing_is_found() {
    for facts in [director(), server(), tunnelled(), masqueraded()] {
        assert_eq!(ids(&facts), Vec::<&str>::new());
    }
}

#[test]
fn a_directors_reverse_path_filter_plays_no_part() {
    let mut facts = director();
    set(&mut facts, "all/rp_filter", "1");
    facts.reverse_path_drops = 3;
    assert_eq!(ids(&facts), Vec::<&str>::new());
}

type Fault = (&'static str, fn() -> Facts, fn(&mut Facts));

fn status(facts: &mut Facts) -> &mut Status {
    facts.status.as_mut().unwrap()
}

fn down(is_running: bool) -> Daemon {
    Daemon::Down { why: "silence".into(), is_running, has_packet_path: is_running }
}

const FAULTS: &[Fault] = &[
    ("vip-missing", director, |facts| drop(facts.there.addresses.pop())),
    ("vip-missing", server, |facts| drop(facts.there.addresses.pop())),
    ("vip-wrong-interface", director, |facts| facts.there.addresses[1].interface = "lo".into()),
    ("vip-wrong-interface", server, |facts| facts.there.addresses[1].interface = "eth0".into()),
    ("vip-answered-twice", director, |facts| {
        let vip = facts.vips[0];
        facts.heard.get_mut("eth0").unwrap().answers.insert((vip, DIRECTOR));
    }),
    ("vip-answered-twice", server, |facts| {
        let vip = facts.vips[0];
        facts.heard.get_mut("eth0").unwrap().answers.insert((vip, ROUTER));
    }),
    ("arp-ignore", server, |facts| set(facts, "all/arp_ignore", "0")),
    ("arp-ignore", server, |facts| set(facts, "eth0/arp_ignore", "4")),
    // Of scope host it would be kept silent about.
    ("arp-ignore", server, |facts| {
        facts.there.addresses[1].scope = Scope::Global;
        set(facts, "all/arp_ignore", "3");
    }),
    ("arp-announce", server, |facts| set(facts, "all/arp_announce", "1")),
    ("arp-stale", server, |facts| {
        let vip = facts.vips[0];
        facts.heard.get_mut("eth0").unwrap().packets.insert((vip, ROUTER));
    }),
    ("rp-filter", server, |facts| {
        set(facts, "eth0/rp_filter", "1");
        facts.reverse_path_drops = 3;
    }),
    ("rp-filter", tunnelled, |facts| facts.there.routes[0].interface = "lo".into()),
    ("rp-filter", tunnelled, |facts| {
        let tunnel = Link { index: 3, name: "tunl0".into(), is_up: true, ..Link::default() };
        facts.there.links.push(tunnel);
    }),
    ("rp-filter", tunnelled, |facts| {
        let tunnel = Link { index: 3, name: "tunl0".into(), is_up: true, ..Link::default() };
        facts.there.links.push(tunnel);
        set(facts, "tunl0/rp_filter", "2");
    }),
    ("rp-filter", tunnelled, |facts| {
        let tunnel = Link { index: 3, name: "ip6gre0".into(), is_up: true, ..Link::default() };
        facts.there.links.push(tunnel);
    }),
    ("nat-route", masqueraded, |facts| facts.there.routes[0].gateway = Some("10.0.0.2".parse().unwrap())),
    ("nat-route", masqueraded, |facts| facts.there.routes.clear()),
    // A client that is the server's own neighbour.
    ("nat-route", masqueraded, |facts| {
        facts.clients = vec!["10.0.0.200".parse().unwrap()];
        facts.there.routes.push(Route { gateway: None, ..route("10.0.0.0/24", "10.0.0.1") });
    }),
    ("tunnel-mtu", tunnelled, |facts| facts.there.routes[0].advmss = None),
    ("tunnel-mtu", tunnelled, |facts| facts.there.routes[0].advmss = Some(1460)),
    ("tunnel-mtu", director, |facts| facts.no_tunnel = 1),
    ("no-listener", server, |facts| facts.ports = vec![81]),
    ("no-listener", server, |facts| {
        facts.listeners.insert("10.0.0.11:8080".parse().unwrap());
    }),
    // A director that is a server of its own.
    ("no-listener", director, |facts| {
        let server = &mut facts.services[0].servers[0].server;
        server.address = "10.0.0.11".parse().unwrap();
    }),
    ("daemon-down", director, |facts| facts.daemon = down(false)),
    ("daemon-down", director, |facts| facts.daemon = down(true)),
    ("next-hop", director, |facts| status(facts).next_hops[0].way = Way::Unknown),
    ("martian-source", director, |facts| *facts.sources.values_mut().next().unwrap() = facts.vips[0]),
    ("nat-forwarding", director, |facts| facts.services[0].servers[0].server.forward = Forward::Masquerade),
    ("accept-ra", director, |facts| {
        let server = &mut facts.services[0].servers[0].server;
        (server.address, server.forward) = ("fd00::12".parse().unwrap(), Forward::Masquerade);
        for name in ["all/forwarding", "eth0/accept_ra"] {
            facts.there.sysctls.insert(format!("net/ipv6/conf/{name}"), "1".to_owned());
        }
    }),
    ("table-full", director, |facts| status(facts).table_v6.entries = 500),
    ("table-full", director, |facts| status(facts).is_pressed = true),
    ("clock-skew", director, |facts| *facts.clocks.values_mut().next().unwrap() = (1.1, 2.2)),
    ("clock-skew", director, |facts| *facts.clocks.values_mut().next().unwrap() = (-3.0, -2.0)),
    ("kernel-ipvs", director, |facts| facts.has_kernel_ipvs = true),
    ("kube-proxy", director, |facts| facts.there.links[0].name = "kube-ipvs0".into()),
    ("generic-xdp", director, |facts| status(facts).interfaces[0].path = PacketPath::Generic),
    ("interface-gone", director, |facts| status(facts).interfaces[0].path = PacketPath::Gone),
    ("lro", director, |facts| {
        facts.features.insert("eth0".into(), ["rx-lro".to_owned()].into());
    }),
    ("rx-vlan", director, |facts| {
        facts.features.insert("eth0".into(), ["rx-vlan-hw-parse".to_owned()].into());
        let vlan =
            Link { index: 3, name: "eth0.10".into(), kind: "vlan".into(), lower: Some(2), ..Link::default() };
        facts.there.links.push(vlan);
    }),
];

#[test]
fn every_fault_is_named_and_nothing_else() {
    for (number, (id, healthy, fault)) in FAULTS.iter().enumerate() {
        let mut facts = healthy();
        fault(&mut facts);
        assert_eq!(ids(&facts), [*id], "fault {number}");
        for finding in findings(&facts) {
            assert!(!finding.symptom.is_empty() && !finding.reason.is_empty() && !finding.remedy.is_empty());
            assert!(!finding.symptom.contains('\n') && !finding.remedy.contains('\n'));
        }
    }
}

/// The remedy of the one finding.
fn remedy(facts: &Facts) -> String {
    let findings = findings(facts);
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings[0].remedy.clone()
}

/// `ipvsadm` may be lbxdp.
#[test]
fn the_kernels_services_are_taken_away_by_nothing_that_may_be_lbxdp() {
    let mut facts = director();
    facts.has_kernel_ipvs = true;
    assert!(!remedy(&facts).contains("ipvsadm"));
    facts.kernels_ipvsadm = Some("/usr/sbin/ipvsadm.kernel".into());
    assert_eq!(remedy(&facts), "/usr/sbin/ipvsadm.kernel -C");
}

#[test]
fn a_director_that_stands_by_leaves_the_vip_to_the_other_one() {
    let mut facts = director();
    drop(facts.there.addresses.pop());
    assert_eq!(findings(&facts)[0].severity, Severity::Warning);
    let vip = facts.vips[0];
    facts.heard.get_mut("eth0").unwrap().answers.insert((vip, ROUTER));
    assert_eq!(ids(&facts), Vec::<&str>::new());
}

#[test]
fn a_route_gets_another_source_and_stays_as_it_is_else() {
    let mut facts = director();
    *facts.sources.values_mut().next().unwrap() = facts.vips[0];
    facts.there.routes[0].metric = 100;
    facts.there.routes[0].source = Some(facts.vips[0]);
    assert_eq!(
        remedy(&facts),
        "ip route change default via 10.0.0.1 dev eth0 proto 3 src 10.0.0.11 metric 100"
    );
    // What would be lost by it is not changed blindly.
    facts.there.routes[0].is_beyond_us = true;
    assert!(remedy(&facts).starts_with("ip route get 10.0.0.12 "));
}

#[test]
fn the_director_is_not_told_to_be_silent() {
    let mut facts = server();
    let vip = facts.vips[0];
    let heard = facts.heard.get_mut("eth0").unwrap();
    heard.answers.insert((vip, ROUTER));
    assert!(remedy(&facts).ends_with("on the one that is not the director"));
    // It is the greater or the smaller address.
    for (own, other) in [(DIRECTOR, "02:00:00:00:00:03"), (ROUTER, "02:00:00:00:00:02")] {
        let mut facts = facts.clone();
        let director = "10.0.0.10".parse().unwrap();
        facts.directors.push(director);
        facts.heard.get_mut("eth0").unwrap().answers.insert((director, own));
        assert!(remedy(&facts).ends_with(&format!("on the machine that has {other}")));
    }
}

#[test]
fn a_vip_above_an_attached_interface_is_in_its_place() {
    let above = |kind: &str, lower, port_of| {
        let mut facts = director();
        facts.there.links[1].master = port_of;
        let upper = Link { index: 3, name: "upper".into(), kind: kind.into(), lower, ..Link::default() };
        facts.there.links.push(upper);
        let top =
            Link { index: 4, name: "top".into(), kind: "vlan".into(), lower: Some(3), ..Link::default() };
        facts.there.links.push(top);
        facts.there.addresses[1].interface = "top".into();
        ids(&facts)
    };
    assert_eq!(above("vlan", Some(2), None), Vec::<&str>::new());
    assert_eq!(above("bond", None, Some(3)), Vec::<&str>::new());
    assert_eq!(above("bridge", None, None), ["vip-wrong-interface"]);
    // The other end of a veth is another network's.
    assert_eq!(above("veth", Some(2), None), ["vip-wrong-interface"]);
}

#[test]
fn a_larger_table_is_asked_for_in_connections_and_made_anew() {
    let mut facts = director();
    status(&mut facts).table.entries = 319;
    assert_eq!(ids(&facts), Vec::<&str>::new());
    status(&mut facts).table.entries = 320;
    let remedy = remedy(&facts);
    assert!(
        remedy.starts_with(
            "lbxdp unload --keep-configuration && lbxdp run -i eth0 --leave --connections 800   #"
        ),
        "{remedy}"
    );
}

/// What the counter of all times knows is no fault of now.
#[test]
fn packets_that_were_too_long_once_are_no_fault_now() {
    let mut facts = director();
    let counted = NotForwarded { reason: "no_tunnel".into(), fate: lbxdp_common::Fate::Drop, packets: 1 };
    status(&mut facts).not_forwarded.push(counted);
    assert_eq!(ids(&facts), Vec::<&str>::new());
}

#[test]
fn what_may_be_meant_so_is_no_error() {
    let mut narrow = server();
    narrow.ports = vec![81];
    let mut tunnel = director();
    tunnel.no_tunnel = 1;
    for facts in [narrow, tunnel] {
        assert_eq!(findings(&facts)[0].severity, Severity::Warning);
    }
}

#[test]
fn the_setting_of_a_vlans_interface_is_named_as_sysctl_takes_it() {
    let mut facts = tunnelled();
    let vlan = Link { index: 3, name: "eth0.10".into(), is_up: true, ..Link::default() };
    facts.there.links.push(vlan);
    facts.there.decapsulators.insert("eth0.10".into(), Decapsulator::default());
    assert_eq!(remedy(&facts), "sysctl -w net/ipv4/conf/eth0.10/rp_filter=2");
}

#[test]
fn a_daemon_that_runs_is_not_started_a_second_time() {
    let mut facts = director();
    facts.daemon = down(true);
    assert!(remedy(&facts).starts_with("lbxdp status"));
    assert!(findings(&facts)[0].symptom.ends_with("but silence"));
    facts.daemon = down(false);
    assert_eq!(remedy(&facts), "lbxdp run -i eth0 --leave");
    facts.attached.clear();
    facts.instance = "web".parse().unwrap();
    assert_eq!(remedy(&facts), "LBXDP_INSTANCE=web lbxdp run -i IF --leave");
}

#[test]
fn why_xdp_is_generic_is_told() {
    let why = |change: fn(&mut Facts)| {
        let mut facts = director();
        status(&mut facts).interfaces[0].path = PacketPath::Generic;
        change(&mut facts);
        findings(&facts).into_iter().find(|finding| finding.id == "generic-xdp").unwrap().reason
    };
    assert!(why(|_| {}).contains("has no XDP"));
    assert!(why(|facts| facts.there.links[1].mtu = 9000).contains("MTU"));
    assert!(why(|facts| facts.there.links[1].kind = "vlan".into()).contains("VLAN"));
    assert!(
        why(|facts| drop(facts.features.insert("eth0".into(), ["rx-lro".to_owned()].into()))).contains("LRO")
    );
}

/// A `start` with other words would take back what it was started for.
#[test]
fn a_vip_is_put_back_and_nothing_else_is_touched() {
    let mut facts = director();
    facts.there.addresses.pop();
    let put = "ip addr add 10.0.0.100/32 dev eth0 && lbxdp director announce --vip 10.0.0.100";
    assert_eq!(remedy(&facts), put);
    // Of no net that is here, and the default route leads out where lbxdp is not.
    facts.there.addresses.clear();
    facts.there.routes[0].interface = "eth1".into();
    facts.vips = vec!["192.0.2.1".parse().unwrap()];
    assert!(remedy(&facts).starts_with("ip addr add 192.0.2.1/32 dev eth0 && "));
    let mut facts = director();
    facts.there.addresses[1].interface = "lo".into();
    assert_eq!(remedy(&facts), format!("ip addr del 10.0.0.100/32 dev lo && {put}"));
    let mut facts = server();
    facts.there.addresses.pop();
    set(&mut facts, "all/arp_announce", "0");
    assert_eq!(
        remedy(&facts),
        "sysctl -w net.ipv4.conf.all.arp_announce=2 && ip addr add 10.0.0.100/32 dev lo scope host"
    );
}

#[test]
fn the_worst_comes_first() {
    let mut facts = director();
    facts.has_kernel_ipvs = true;
    status(&mut facts).next_hops[0].way = Way::Unknown;
    let severities: Vec<_> = findings(&facts).iter().map(|finding| finding.severity).collect();
    assert_eq!(severities, [Severity::Error, Severity::Warning]);
}

#[test]
fn every_finding_has_its_row_in_the_manual() {
    let manual = include_str!("../../../../docs/doctor.md");
    let rows: std::collections::BTreeSet<_> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(id, _)| id)
        .collect();
    let ids: std::collections::BTreeSet<_> = FAULTS.iter().map(|(id, ..)| *id).collect();
    assert_eq!(rows, ids);
}
