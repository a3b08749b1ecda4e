//! Packets of all services together, and those that were not forwarded, by reason.

use std::fmt;

use lbxdp_common::Fate;

use crate::metrics::family::{Family, Kind, Samples};
use crate::metrics::scene::Scene;
use crate::snapshot::Counted;

pub(in crate::metrics) const FAMILIES: &[Family] = &[
    Family {
        name: "lbxdp_connections_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Connections of all services, deleted ones too.",
        samples: |scene, to| to.add(&[], scene.overview.totals.counters.connections),
    },
    Family {
        name: "lbxdp_incoming_packets_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Packets from clients to all services, deleted ones too.",
        samples: |scene, to| to.add(&[], scene.overview.totals.counters.in_packets),
    },
    Family {
        name: "lbxdp_outgoing_packets_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Packets back to clients through the director, of all services, deleted ones too.",
        samples: |scene, to| to.add(&[], scene.overview.totals.counters.out_packets),
    },
    Family {
        name: "lbxdp_incoming_bytes_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Bytes of IP packets from clients to all services, deleted ones too.",
        samples: |scene, to| to.add(&[], scene.overview.totals.counters.in_bytes),
    },
    Family {
        name: "lbxdp_outgoing_bytes_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Bytes of IP packets back to clients through the director, of all services, deleted ones too.",
        samples: |scene, to| to.add(&[], scene.overview.totals.counters.out_bytes),
    },
    Family {
        name: "lbxdp_packets_dropped_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Packets for VIPs that nobody got, by reason.",
        samples: |scene, to| not_forwarded(scene, to, Fate::Drop),
    },
    Family {
        name: "lbxdp_packets_held_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Packets for VIPs that the daemon was given, to be sent again, by reason; those it gives up are dropped by reason held_lost.",
        samples: |scene, to| not_forwarded(scene, to, Fate::Hold),
    },
    Family {
        name: "lbxdp_packets_passed_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Packets for VIPs that were left to the director's own stack, by reason.",
        samples: |scene, to| not_forwarded(scene, to, Fate::Pass),
    },
    Family {
        name: "lbxdp_icmp_errors_total",
        kind: Kind::Counter,
        labels: &["kind"],
        help: "Times that the sender of such a packet was told by an ICMP error, or why it was not told.",
        samples: |scene, to| counted(&scene.overview.status.notices, to),
    },
    Family {
        name: "lbxdp_table_overflows_total",
        kind: Kind::Counter,
        labels: &["kind"],
        help: "Times that something was done for want of room in the connection table, by what was done.",
        samples: |scene, to| counted(&scene.overview.status.overflows, to),
    },
];

fn not_forwarded(scene: &Scene, to: &mut Samples<'_>, fate: Fate) -> fmt::Result {
    let mut reasons = scene.overview.status.not_forwarded.iter().filter(|counted| counted.fate == fate);
    reasons.try_for_each(|counted| to.add(&[&counted.reason], counted.packets))
}

fn counted(counted: &[Counted], to: &mut Samples<'_>) -> fmt::Result {
    counted.iter().try_for_each(|counted| to.add(&[&counted.name], counted.count))
}
