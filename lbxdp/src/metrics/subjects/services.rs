//! Services.

use std::fmt;

use crate::metrics::family::{Family, Kind, Samples};
use crate::metrics::scene::{Scene, ServiceScene};
use crate::snapshot::ServiceSnapshot;
use crate::state::{Family as AddressFamily, ServiceKey};

const SERVICE: &[&str] = &["service"];

pub(in crate::metrics) const FAMILIES: &[Family] = &[
    Family {
        name: "lbxdp_service_info",
        kind: Kind::Gauge,
        labels: &["service", "protocol", "address", "port", "mark", "family", "scheduler"],
        help: "What a service is: always 1. Labels that it has not are empty (a service by mark has no address).",
        samples: info,
    },
    Family {
        name: "lbxdp_service_connections_total",
        kind: Kind::Counter,
        labels: SERVICE,
        help: "Connections scheduled to servers of the service.",
        samples: |scene, to| each(scene, to, |_, service| service.counters.connections),
    },
    Family {
        name: "lbxdp_service_incoming_packets_total",
        kind: Kind::Counter,
        labels: SERVICE,
        help: "Packets from clients.",
        samples: |scene, to| each(scene, to, |_, service| service.counters.in_packets),
    },
    Family {
        name: "lbxdp_service_outgoing_packets_total",
        kind: Kind::Counter,
        labels: SERVICE,
        help: "Packets back to clients through the director (VS/NAT).",
        samples: |scene, to| each(scene, to, |_, service| service.counters.out_packets),
    },
    Family {
        name: "lbxdp_service_incoming_bytes_total",
        kind: Kind::Counter,
        labels: SERVICE,
        help: "Bytes of IP packets from clients.",
        samples: |scene, to| each(scene, to, |_, service| service.counters.in_bytes),
    },
    Family {
        name: "lbxdp_service_outgoing_bytes_total",
        kind: Kind::Counter,
        labels: SERVICE,
        help: "Bytes of IP packets back to clients through the director (VS/NAT).",
        samples: |scene, to| each(scene, to, |_, service| service.counters.out_bytes),
    },
    Family {
        name: "lbxdp_service_active_connections",
        kind: Kind::Gauge,
        labels: SERVICE,
        help: "Connections in an active state, as ActiveConn of ipvsadm -L.",
        samples: |scene, to| each(scene, to, |scene, _| scene.active),
    },
    Family {
        name: "lbxdp_service_inactive_connections",
        kind: Kind::Gauge,
        labels: SERVICE,
        help: "All other connections, as InActConn of ipvsadm -L.",
        samples: |scene, to| each(scene, to, |scene, _| scene.inactive),
    },
    Family {
        name: "lbxdp_service_persistence_templates",
        kind: Kind::Gauge,
        labels: SERVICE,
        help: "Entries of persistence: clients that are to come back to their server.",
        samples: |scene, to| each(scene, to, |scene, _| scene.templates),
    },
    Family {
        name: "lbxdp_service_servers",
        kind: Kind::Gauge,
        labels: SERVICE,
        help: "Servers of the service.",
        samples: |scene, to| each(scene, to, |_, service| service.servers.len() as u64),
    },
    Family {
        name: "lbxdp_service_usable_servers",
        kind: Kind::Gauge,
        labels: SERVICE,
        help: "Servers that new connections may go to: weight above 0, and a next hop that is known.",
        samples: |scene, to| each(scene, to, |scene, _| scene.usable),
    },
];

fn each(
    scene: &Scene,
    to: &mut Samples<'_>,
    value: fn(&ServiceScene, &ServiceSnapshot) -> u64,
) -> fmt::Result {
    scene.services().try_for_each(|(scene, service)| to.add(&[&scene.name], value(scene, service)))
}

fn info(scene: &Scene, to: &mut Samples<'_>) -> fmt::Result {
    scene.services().try_for_each(|(scene, service)| {
        let key = service.key;
        let protocol = key.protocol().map_or_else(String::new, |protocol| protocol.name().to_lowercase());
        let address = key.address().map_or_else(String::new, |address| address.to_string());
        let (port, mark) = match key {
            ServiceKey::Address(_) => (key.port().to_string(), String::new()),
            ServiceKey::Mark(mark) => (String::new(), mark.mark.to_string()),
        };
        let family = match key.family() {
            AddressFamily::V4 => "ipv4",
            AddressFamily::V6 => "ipv6",
        };
        let scheduler = service.options.scheduler.name();
        to.add(&[&scene.name, &protocol, &address, &port, &mark, family, scheduler], 1u64)
    })
}
