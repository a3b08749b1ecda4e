//! The names and labels of `node_exporter`'s collector `ipvs` (`collector/ipvs_linux.go`), so that dashboards made for it go on.
//!
//! What it reads from `/proc/net/ip_vs` and `/proc/net/ip_vs_stats`, `lbxdp proc` prints: labels are as there. All servers are
//! shown, whatever limit there is for lbxdp's own names.

use std::fmt;

use super::family::{Family, Kind, Samples};
use super::scene::Scene;
use crate::snapshot::ServerSnapshot;
use crate::state::{Endpoint, ServiceKey};

const BACKEND: &[&str] =
    &["local_address", "local_port", "remote_address", "remote_port", "proto", "local_mark"];

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "node_ipvs_connections_total",
        kind: Kind::Counter,
        labels: &[],
        help: "The total number of connections made.",
        samples: |scene, to| to.add(&[], scene.overview.totals.counters.connections),
    },
    Family {
        name: "node_ipvs_incoming_packets_total",
        kind: Kind::Counter,
        labels: &[],
        help: "The total number of incoming packets.",
        samples: |scene, to| to.add(&[], scene.overview.totals.counters.in_packets),
    },
    Family {
        name: "node_ipvs_outgoing_packets_total",
        kind: Kind::Counter,
        labels: &[],
        help: "The total number of outgoing packets.",
        samples: |scene, to| to.add(&[], scene.overview.totals.counters.out_packets),
    },
    Family {
        name: "node_ipvs_incoming_bytes_total",
        kind: Kind::Counter,
        labels: &[],
        help: "The total amount of incoming data.",
        samples: |scene, to| to.add(&[], scene.overview.totals.counters.in_bytes),
    },
    Family {
        name: "node_ipvs_outgoing_bytes_total",
        kind: Kind::Counter,
        labels: &[],
        help: "The total amount of outgoing data.",
        samples: |scene, to| to.add(&[], scene.overview.totals.counters.out_bytes),
    },
    Family {
        name: "node_ipvs_backend_connections_active",
        kind: Kind::Gauge,
        labels: BACKEND,
        help: "The current active connections by local and remote address.",
        samples: |scene, to| backends(scene, to, |server| server.active),
    },
    Family {
        name: "node_ipvs_backend_connections_inactive",
        kind: Kind::Gauge,
        labels: BACKEND,
        help: "The current inactive connections by local and remote address.",
        samples: |scene, to| backends(scene, to, |server| server.inactive),
    },
    Family {
        name: "node_ipvs_backend_weight",
        kind: Kind::Gauge,
        labels: BACKEND,
        help: "The current backend weight by local and remote address.",
        samples: |scene, to| backends(scene, to, |server| server.server.weight),
    },
];

/// A sample for each server of each service. A service by mark has no address, port 0, and the protocol `FWM`; its mark is
/// written as in `/proc/net/ip_vs`.
fn backends(scene: &Scene, to: &mut Samples<'_>, value: fn(&ServerSnapshot) -> u32) -> fmt::Result {
    for service in &scene.overview.services.services {
        let (address, port, protocol, mark) = match service.key {
            ServiceKey::Address(Endpoint { protocol, address, port }) => {
                (address.to_canonical().to_string(), port, protocol.name(), String::new())
            }
            ServiceKey::Mark(mark) => (String::new(), 0, "FWM", format!("{:08X}", mark.mark)),
        };
        let port = port.to_string();
        for server in &service.servers {
            let remote = server.server.address.to_canonical().to_string();
            let remote_port = server.server.port.to_string();
            to.add(&[&address, &port, &remote, &remote_port, protocol, &mark], value(server))?;
        }
    }
    Ok(())
}
