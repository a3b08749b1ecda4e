//! The director itself: interfaces, next hops, configuration, daemon.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::metrics::family::{Family, Kind, Samples};
use crate::metrics::scene::Scene;
use crate::snapshot::{PacketPath, Way};
use crate::tables::pins::LAYOUT_VERSION;

pub(in crate::metrics) const FAMILIES: &[Family] = &[
    Family {
        name: "lbxdp_interface_xdp_mode",
        kind: Kind::Gauge,
        labels: &["interface", "mode"],
        help: "1 for the mode in which the XDP program runs on the interface, 0 for the others: native (in the driver), generic (slow), gone (the interface was removed).",
        samples: modes,
    },
    Family {
        name: "lbxdp_interface_program_id",
        kind: Kind::Gauge,
        labels: &["interface"],
        help: "The kernel's id of the interface's XDP program: another one whenever the program was replaced.",
        samples: |scene, to| {
            let mut programs = scene.overview.programs.iter();
            programs.try_for_each(|(interface, id)| to.add(&[interface], u64::from(*id)))
        },
    },
    Family {
        name: "lbxdp_next_hops",
        kind: Kind::Gauge,
        labels: &["state"],
        help: "Addresses of servers by what is known of the way to them: up, local (the director itself), unknown.",
        samples: next_hops,
    },
    Family {
        name: "lbxdp_configuration_generation",
        kind: Kind::Gauge,
        labels: &[],
        help: "Changes of the configuration since the daemon has begun.",
        samples: |scene, to| to.add(&[], scene.overview.configuration.count),
    },
    Family {
        name: "lbxdp_configuration_change_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the configuration was last changed, in seconds since 1970; when the daemon has begun, if it was not changed since.",
        samples: |scene, to| {
            let overview = &scene.overview;
            to.add(&[], timestamp(overview.configuration.last.unwrap_or(overview.started)))
        },
    },
    Family {
        name: "lbxdp_configuration_saved",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 if the configuration is saved on disk as it is, else 0.",
        samples: |scene, to| to.add(&[], u64::from(scene.overview.status.unsaved.is_none())),
    },
    Family {
        name: "lbxdp_repaired_rows_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Rows of tables in the kernel that somebody else had written to, and that were put right.",
        samples: |scene, to| to.add(&[], scene.overview.status.repaired),
    },
    Family {
        name: "lbxdp_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the daemon has begun, in seconds since 1970.",
        samples: |scene, to| to.add(&[], timestamp(scene.overview.started)),
    },
    Family {
        name: "lbxdp_build_info",
        kind: Kind::Gauge,
        labels: &["version", "layout", "director"],
        help: "What runs: always 1. The version of lbxdp, that of the layout of its tables, and the name of the instance.",
        samples: |scene, to| {
            to.add(&[env!("CARGO_PKG_VERSION"), LAYOUT_VERSION, &scene.overview.instance], 1u64)
        },
    },
    Family {
        name: "lbxdp_scrape_duration_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "How long it took to read all this from the tables.",
        samples: |scene, to| to.add(&[], scene.took.as_secs_f64()),
    },
];

fn modes(scene: &Scene, to: &mut Samples<'_>) -> fmt::Result {
    let modes =
        [("native", PacketPath::Native), ("generic", PacketPath::Generic), ("gone", PacketPath::Gone)];
    scene.overview.status.interfaces.iter().try_for_each(|interface| {
        modes
            .iter()
            .try_for_each(|(mode, path)| to.add(&[&interface.name, mode], u64::from(interface.path == *path)))
    })
}

fn next_hops(scene: &Scene, to: &mut Samples<'_>) -> fmt::Result {
    let hops = &scene.overview.status.next_hops;
    let count = |is: fn(&Way) -> bool| hops.iter().filter(|hop| is(&hop.way)).count() as u64;
    to.add(&["up"], count(|way| matches!(way, Way::Out { .. })))?;
    to.add(&["local"], count(|way| matches!(way, Way::Local)))?;
    to.add(&["unknown"], count(|way| matches!(way, Way::Unknown)))
}

fn timestamp(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
