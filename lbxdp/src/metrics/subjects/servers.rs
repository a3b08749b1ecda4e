//! Servers of services. Those that are not shown by themselves (`--metrics-servers`) are one, called `other`.

use std::fmt;

use lbxdp_common::Forward;

use crate::metrics::family::{Family, Kind, Samples};
use crate::metrics::scene::{Own, Scene, ServerScene};

const SERVER: &[&str] = &["service", "server"];

pub(in crate::metrics) const FAMILIES: &[Family] = &[
    Family {
        name: "lbxdp_server_info",
        kind: Kind::Gauge,
        labels: &["service", "server", "forward"],
        help: "What a server is: always 1. The forwarding method is direct, tunnel or masquerade.",
        samples: info,
    },
    Family {
        name: "lbxdp_server_connections_total",
        kind: Kind::Counter,
        labels: SERVER,
        help: "Connections scheduled to the server.",
        samples: |scene, to| each(scene, to, |server| server.counters.connections),
    },
    Family {
        name: "lbxdp_server_incoming_packets_total",
        kind: Kind::Counter,
        labels: SERVER,
        help: "Packets from clients.",
        samples: |scene, to| each(scene, to, |server| server.counters.in_packets),
    },
    Family {
        name: "lbxdp_server_outgoing_packets_total",
        kind: Kind::Counter,
        labels: SERVER,
        help: "Packets back to clients through the director (VS/NAT).",
        samples: |scene, to| each(scene, to, |server| server.counters.out_packets),
    },
    Family {
        name: "lbxdp_server_incoming_bytes_total",
        kind: Kind::Counter,
        labels: SERVER,
        help: "Bytes of IP packets from clients.",
        samples: |scene, to| each(scene, to, |server| server.counters.in_bytes),
    },
    Family {
        name: "lbxdp_server_outgoing_bytes_total",
        kind: Kind::Counter,
        labels: SERVER,
        help: "Bytes of IP packets back to clients through the director (VS/NAT).",
        samples: |scene, to| each(scene, to, |server| server.counters.out_bytes),
    },
    Family {
        name: "lbxdp_server_active_connections",
        kind: Kind::Gauge,
        labels: SERVER,
        help: "Connections in an active state, as ActiveConn of ipvsadm -L.",
        samples: |scene, to| each(scene, to, |server| server.active),
    },
    Family {
        name: "lbxdp_server_inactive_connections",
        kind: Kind::Gauge,
        labels: SERVER,
        help: "All other connections, as InActConn of ipvsadm -L.",
        samples: |scene, to| each(scene, to, |server| server.inactive),
    },
    Family {
        name: "lbxdp_server_persistence_templates",
        kind: Kind::Gauge,
        labels: SERVER,
        help: "Entries of persistence that lead to the server.",
        samples: |scene, to| each(scene, to, |server| server.templates),
    },
    Family {
        name: "lbxdp_server_weight",
        kind: Kind::Gauge,
        labels: SERVER,
        help: "Weight; a server of weight 0 gets no new connections.",
        samples: |scene, to| each(scene, to, |server| server.weight),
    },
    Family {
        name: "lbxdp_server_next_hop_up",
        kind: Kind::Gauge,
        labels: SERVER,
        help: "1 if the way to the server is known (its next hop answers ARP or NDP, or it is the director itself), else 0.",
        samples: next_hop,
    },
];

fn each(scene: &Scene, to: &mut Samples<'_>, value: fn(&ServerScene) -> u64) -> fmt::Result {
    scene.services.iter().try_for_each(|service| {
        service.servers.iter().try_for_each(|server| to.add(&[&service.name, &server.name], value(server)))
    })
}

/// Hands out what cannot be summed.
fn each_own(scene: &Scene, mut each: impl FnMut(&str, &str, Own) -> fmt::Result) -> fmt::Result {
    scene.services.iter().try_for_each(|service| {
        let mut servers = service.servers.iter().filter_map(|server| Some((server, server.own?)));
        servers.try_for_each(|(server, own)| each(&service.name, &server.name, own))
    })
}

fn info(scene: &Scene, to: &mut Samples<'_>) -> fmt::Result {
    each_own(scene, |service, server, own| {
        let forward = match own.forward {
            Forward::Direct => "direct",
            Forward::Tunnel => "tunnel",
            Forward::Masquerade => "masquerade",
        };
        to.add(&[service, server, forward], 1u64)
    })
}

fn next_hop(scene: &Scene, to: &mut Samples<'_>) -> fmt::Result {
    each_own(scene, |service, server, own| to.add(&[service, server], u64::from(own.is_reachable)))
}
