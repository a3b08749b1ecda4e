//! What `/api/v1` answers beside the lists of `docs/json.md`, which are the same there; the same rules hold for what may change.

use std::time::SystemTime;

use serde::Serialize;

use crate::cli::native::document::VERSION;
use crate::snapshot::{Counted, Counters, Overview, PacketPath, Rates, TableStatus, Way};

#[derive(Serialize)]
struct StatusDocument<'a> {
    version: u32,
    instance: &'a str,
    lbxdp: &'static str,
    uptime_s: u64,
    interfaces: Vec<Interface<'a>>,
    next_hops: Vec<Hop<'a>>,
    tables: [Table; 2],
    is_pressed: bool,
    unsaved: Option<&'a str>,
    only_kept: &'a [String],
    repaired: u64,
    configuration: Configuration,
    counters: &'a Counters,
    rates: &'a Rates,
}

#[derive(Serialize)]
struct Interface<'a> {
    name: &'a str,
    mode: &'static str,
    program: Option<u32>,
}

#[derive(Serialize)]
struct Hop<'a> {
    server: String,
    state: &'static str,
    mac: Option<&'a str>,
    interface: Option<&'a str>,
    vlans: &'a [u16],
    mtu: Option<u16>,
}

#[derive(Serialize)]
struct Table {
    family: &'static str,
    connections: u64,
    half_open: u64,
    entries: u64,
    places: u64,
    most_places: u64,
    is_growing: bool,
}

#[derive(Serialize)]
struct Configuration {
    generation: u64,
    /// Seconds since the last change; null if there was none.
    changed_s_ago: Option<u64>,
}

#[derive(Serialize)]
struct ReasonsDocument<'a> {
    version: u32,
    instance: &'a str,
    reasons: Vec<ReasonRow<'a>>,
    icmp_errors: &'a [Counted],
    overflows: &'a [Counted],
}

#[derive(Serialize)]
struct ReasonRow<'a> {
    reason: &'a str,
    fate: &'static str,
    packets: u64,
}

/// The director itself.
pub(super) fn status(overview: &Overview) -> String {
    let Overview { instance, totals, status, programs, started, configuration, .. } = overview;
    let since = |time: SystemTime| time.elapsed().unwrap_or_default().as_secs();
    let program = |name: &str| programs.iter().find(|(of, _)| of == name).map(|(_, id)| *id);
    let interfaces = status.interfaces.iter().map(|interface| Interface {
        name: &interface.name,
        mode: match interface.path {
            PacketPath::Native => "native",
            PacketPath::Generic => "generic",
            PacketPath::Gone => "gone",
        },
        program: program(&interface.name),
    });
    let next_hops = status.next_hops.iter().map(|hop| {
        let without = |state| Hop {
            server: hop.server.to_string(),
            state,
            mac: None,
            interface: None,
            vlans: &[],
            mtu: None,
        };
        match &hop.way {
            Way::Unknown => without("unknown"),
            Way::Local => without("local"),
            Way::Out { mac, interface, vlans, mtu } => Hop {
                mac: Some(mac),
                interface: Some(interface),
                vlans,
                mtu: Some(*mtu).filter(|mtu| *mtu != 0),
                ..without("up")
            },
        }
    });
    text(&StatusDocument {
        version: VERSION,
        instance,
        lbxdp: env!("CARGO_PKG_VERSION"),
        uptime_s: since(*started),
        interfaces: interfaces.collect(),
        next_hops: next_hops.collect(),
        tables: [table("ipv4", &status.table), table("ipv6", &status.table_v6)],
        is_pressed: status.is_pressed,
        unsaved: status.unsaved.as_deref(),
        only_kept: &status.only_kept,
        repaired: status.repaired,
        configuration: Configuration {
            generation: configuration.count,
            changed_s_ago: configuration.last.map(since),
        },
        counters: &totals.counters,
        rates: &totals.rates,
    })
}

/// What was not forwarded, and why.
pub(super) fn reasons(overview: &Overview) -> String {
    let Overview { instance, status, .. } = overview;
    let reasons = status.not_forwarded.iter().map(|counted| ReasonRow {
        reason: &counted.reason,
        fate: counted.fate.name(),
        packets: counted.packets,
    });
    text(&ReasonsDocument {
        version: VERSION,
        instance,
        reasons: reasons.collect(),
        icmp_errors: &status.notices,
        overflows: &status.overflows,
    })
}

fn table(family: &'static str, table: &TableStatus) -> Table {
    let TableStatus { connections, half_open, entries, places, most_places, is_growing, .. } = *table;
    Table { family, connections, half_open, entries, places, most_places, is_growing }
}

/// Strings and numbers alone cannot fail to be JSON.
fn text(document: &impl Serialize) -> String {
    serde_json::to_string_pretty(document).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::metrics::tests::usual;

    const DOCUMENTED: &str = include_str!("../../../../docs/json.md");

    /// The example that stands under a word in the document.
    fn example(word: &str) -> Value {
        let behind = DOCUMENTED.split_once(&format!("```json {word}\n")).expect("an example").1;
        serde_json::from_str(behind.split_once("```").expect("its end").0).expect("JSON")
    }

    #[test]
    fn the_status_is_as_documented() {
        let mut shown: Value = serde_json::from_str(&status(&usual())).expect("JSON");
        let uptime = shown["uptime_s"].take();
        assert!(uptime.as_u64().is_some_and(|seconds| seconds > 0), "{uptime}");
        assert_eq!(shown["lbxdp"].take(), env!("CARGO_PKG_VERSION"));
        let mut documented = example("status");
        documented["uptime_s"].take();
        documented["lbxdp"].take();
        assert_eq!(shown, documented);
    }

    #[test]
    fn the_reasons_are_as_documented() {
        let mut shown: Value = serde_json::from_str(&reasons(&usual())).expect("JSON");
        let documented = example("reasons");
        for (list, key) in [("reasons", "reason"), ("icmp_errors", "name"), ("overflows", "name")] {
            let wanted: Vec<&Value> =
                documented[list].as_array().expect("a list").iter().map(|row| &row[key]).collect();
            let rows = shown[list].as_array_mut().expect("a list");
            assert!(rows.len() > wanted.len(), "{list} has all of them");
            rows.retain(|row| wanted.contains(&&row[key]));
        }
        assert_eq!(shown, documented);
    }
}
