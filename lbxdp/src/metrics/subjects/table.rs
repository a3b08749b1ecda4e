//! The connection tables.

use std::fmt;

use prometheus_client::encoding::EncodeGaugeValue;

use crate::metrics::family::{Family, Kind, Samples};
use crate::metrics::scene::Scene;
use crate::snapshot::TableStatus;

const FAMILY: &[&str] = &["family"];

pub(in crate::metrics) const FAMILIES: &[Family] = &[
    Family {
        name: "lbxdp_table_connections",
        kind: Kind::Gauge,
        labels: FAMILY,
        help: "Connections in the table.",
        samples: |scene, to| each(scene, to, |table| table.connections),
    },
    Family {
        name: "lbxdp_table_half_open_connections",
        kind: Kind::Gauge,
        labels: FAMILY,
        help: "Connections that were half open when the daemon last looked through the table.",
        samples: |scene, to| each(scene, to, |table| table.half_open),
    },
    Family {
        name: "lbxdp_table_entries",
        kind: Kind::Gauge,
        labels: FAMILY,
        help: "Places of the table that are taken: by connections, by templates of persistence, and by what tells replies of VS/NAT.",
        samples: |scene, to| each(scene, to, |table| table.entries),
    },
    Family {
        name: "lbxdp_table_places",
        kind: Kind::Gauge,
        labels: FAMILY,
        help: "Places of the table that are in use now.",
        samples: |scene, to| each(scene, to, |table| table.places),
    },
    Family {
        name: "lbxdp_table_places_max",
        kind: Kind::Gauge,
        labels: FAMILY,
        help: "Places that the table may grow to; when two thirds are taken, some connections find none.",
        samples: |scene, to| each(scene, to, |table| table.most_places),
    },
    Family {
        name: "lbxdp_table_growing",
        kind: Kind::Gauge,
        labels: FAMILY,
        help: "1 while the table grows, else 0.",
        samples: |scene, to| each(scene, to, |table| u64::from(table.is_growing)),
    },
    Family {
        name: "lbxdp_table_sweep_passes_total",
        kind: Kind::Counter,
        labels: FAMILY,
        help: "Times that all of the table was looked through for what is over.",
        samples: |scene, to| each(scene, to, |table| table.sweep.passes),
    },
    Family {
        name: "lbxdp_table_sweep_seconds_total",
        kind: Kind::Counter,
        labels: FAMILY,
        help: "Time that the daemon has spent looking through the table.",
        samples: |scene, to| each(scene, to, |table| seconds(table.sweep.busy_ns)),
    },
    Family {
        name: "lbxdp_table_pressure",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 while some new connections find no place in a table and go by consistent hash, else 0.",
        samples: |scene, to| to.add(&[], u64::from(scene.overview.status.is_pressed)),
    },
];

fn each<V: EncodeGaugeValue + Copy>(
    scene: &Scene,
    to: &mut Samples<'_>,
    value: fn(&TableStatus) -> V,
) -> fmt::Result {
    let status = &scene.overview.status;
    to.add(&["ipv4"], value(&status.table))?;
    to.add(&["ipv6"], value(&status.table_v6))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
