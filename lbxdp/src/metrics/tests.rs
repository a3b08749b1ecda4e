//! The text against what it is made from, the document against the families, and dashboard and alerts against both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use lbxdp_common::{Fate, Forward, Notice, Overflow, Protocol, Reason, Scheduler};

use super::{Names, Others, Scene, ServerLimit, document, text};
use crate::snapshot::{
    Changes, Counted, Counters, InterfaceStatus, NextHop, NotForwarded, Overview, PacketPath, Rates,
    ServerSnapshot, ServiceSnapshot, Snapshot, Status, Sweep, TableStatus, Totals, Way,
};
use crate::state::{Options, Server, ServiceKey};

fn counters(factor: u64) -> Counters {
    Counters {
        connections: factor,
        in_packets: 10 * factor,
        out_packets: 20 * factor,
        in_bytes: 1000 * factor,
        out_bytes: 2000 * factor,
    }
}

fn server(last: u8, weight: u32, counted: Counters) -> ServerSnapshot {
    ServerSnapshot {
        server: Server::new([10, 0, 0, last].into(), 80, Forward::Direct, weight),
        active: 2,
        inactive: 1,
        persistent: 0,
        counters: counted,
        rates: Rates::default(),
    }
}

fn service(key: ServiceKey, servers: Vec<ServerSnapshot>) -> ServiceSnapshot {
    let options = Options::of(Scheduler::WeightedLeastConnection);
    ServiceSnapshot { key, options, counters: counters(100), rates: Rates::default(), servers }
}

fn web() -> ServiceKey {
    ServiceKey::at(Protocol::Tcp, IpAddr::from([10, 0, 0, 100]), 80)
}

fn table(connections: u64) -> TableStatus {
    TableStatus {
        connections,
        half_open: 1,
        entries: connections + 1,
        places: 1024,
        most_places: 4096,
        is_growing: false,
        sweep: Sweep { passes: 7, busy_ns: 1_500_000_000 },
    }
}

fn overview(services: Vec<ServiceSnapshot>) -> Overview {
    let hop = |last: u8, way| NextHop { server: [10, 0, 0, last].into(), way };
    let out =
        Way::Out { mac: "02:00:00:00:00:11".into(), interface: "eth0".into(), vlans: vec![], mtu: 1500 };
    let counted = |name: &str| Counted { name: name.into(), count: 3 };
    let reason = |reason: &Reason| NotForwarded {
        reason: reason.name().into(),
        fate: reason.fate(),
        packets: u64::from(reason.raw()),
    };
    Overview {
        instance: "default".into(),
        services: Snapshot { table_size: 1, hertz: 100, services },
        totals: Totals { cpus: vec![], counters: counters(1000), rates: Rates::default() },
        status: Status {
            interfaces: vec![InterfaceStatus { name: "eth0".into(), path: PacketPath::Generic }],
            table: table(6),
            table_v6: table(0),
            is_pressed: true,
            overflows: Overflow::ALL.iter().map(|overflow| counted(overflow.name())).collect(),
            repaired: 2,
            unsaved: None,
            only_kept: vec![],
            next_hops: vec![hop(11, out), hop(12, Way::Unknown), hop(13, Way::Local)],
            not_forwarded: Reason::ALL
                .iter()
                .filter(|other| **other != Reason::NotOurs)
                .map(reason)
                .collect(),
            notices: Notice::ALL.iter().map(|notice| counted(notice.name())).collect(),
        },
        programs: vec![("eth0".into(), 42)],
        started: UNIX_EPOCH + Duration::from_millis(1_700_000_000_500),
        configuration: Changes { count: 5, last: None },
    }
}

/// A director with a service of three servers, one of which cannot be reached, and one without any.
pub(crate) fn usual() -> Overview {
    let servers = vec![server(11, 1, counters(1)), server(12, 1, counters(2)), server(13, 0, counters(3))];
    overview(vec![service(web(), servers), service(ServiceKey::marked_v6(7), vec![])])
}

fn page(names: Names, overview: Overview, limit: ServerLimit, others: &mut Others) -> String {
    text(names, Scene::new(overview, limit, others, Duration::from_millis(3))).expect("text")
}

fn own(overview: Overview, limit: ServerLimit) -> String {
    page(Names::Own, overview, limit, &mut Others::default())
}

/// The samples: the number of each name with labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn every_family_is_written_with_its_kind_and_all_of_its_labels() {
    for names in [Names::Own, Names::NodeIpvs] {
        let text = page(names, usual(), ServerLimit::All, &mut Others::default());
        let samples = samples(&text);
        for family in names.families() {
            let (name, kind) = (family.name, family.kind.name());
            assert!(
                text.contains(&format!("# HELP {name} {}\n# TYPE {name} {kind}\n", family.help)),
                "{name}"
            );
            let of_it: Vec<_> =
                samples.keys().filter(|sample| sample.split('{').next() == Some(name)).collect();
            assert!(!of_it.is_empty(), "{name} has no samples");
            for sample in of_it {
                let labels: Vec<&str> = match sample.split_once('{') {
                    Some((_, labels)) => labels
                        .trim_end_matches('}')
                        .split("\",")
                        .filter_map(|label| label.split_once('=').map(|(label, _)| label))
                        .collect(),
                    None => vec![],
                };
                assert_eq!(labels, family.labels, "{sample}");
            }
        }
    }
}

#[test]
fn names_follow_the_conventions() {
    let mut seen = BTreeSet::new();
    for family in Names::Own.families().chain(Names::NodeIpvs.families()) {
        let name = family.name;
        assert!(seen.insert(name), "{name} is there twice");
        assert_eq!(name.ends_with("_total"), family.kind.name() == "counter", "{name}");
        assert!(
            family.help.ends_with('.') && !family.help.contains(['\\', '\n', '|']),
            "{name}: {}",
            family.help
        );
    }
}

#[test]
fn values_are_those_of_the_overview() {
    let samples = samples(&own(usual(), ServerLimit::All));
    let web = "service=\"tcp/10.0.0.100:80\"";
    for (name, value) in [
        (format!("lbxdp_service_connections_total{{{web}}}"), 100.0),
        (format!("lbxdp_service_incoming_bytes_total{{{web}}}"), 100_000.0),
        (format!("lbxdp_service_active_connections{{{web}}}"), 6.0),
        (format!("lbxdp_service_servers{{{web}}}"), 3.0),
        // One has no next hop, one no weight.
        (format!("lbxdp_service_usable_servers{{{web}}}"), 1.0),
        (format!("lbxdp_server_outgoing_packets_total{{{web},server=\"10.0.0.12:80\"}}"), 40.0),
        (format!("lbxdp_server_weight{{{web},server=\"10.0.0.13:80\"}}"), 0.0),
        (format!("lbxdp_server_next_hop_up{{{web},server=\"10.0.0.11:80\"}}"), 1.0),
        (format!("lbxdp_server_next_hop_up{{{web},server=\"10.0.0.12:80\"}}"), 0.0),
        (format!("lbxdp_server_next_hop_up{{{web},server=\"10.0.0.13:80\"}}"), 1.0),
        ("lbxdp_packets_dropped_total{reason=\"ttl_expired\"}".into(), 11.0),
        ("lbxdp_packets_passed_total{reason=\"no_service\"}".into(), 5.0),
        ("lbxdp_table_connections{family=\"ipv4\"}".into(), 6.0),
        ("lbxdp_table_sweep_seconds_total{family=\"ipv6\"}".into(), 1.5),
        ("lbxdp_table_pressure".into(), 1.0),
        ("lbxdp_interface_xdp_mode{interface=\"eth0\",mode=\"generic\"}".into(), 1.0),
        ("lbxdp_interface_xdp_mode{interface=\"eth0\",mode=\"native\"}".into(), 0.0),
        ("lbxdp_interface_program_id{interface=\"eth0\"}".into(), 42.0),
        ("lbxdp_next_hops{state=\"unknown\"}".into(), 1.0),
        ("lbxdp_configuration_change_timestamp_seconds".into(), 1_700_000_000.5),
        ("lbxdp_scrape_duration_seconds".into(), 0.003),
    ] {
        assert_eq!(samples.get(&name), Some(&value), "{name}");
    }
    let fates = |reason: &Reason| {
        let has = |fate| samples.contains_key(&format!("lbxdp_packets_{fate}_total{{reason=\"{reason}\"}}"));
        ["dropped", "passed", "held"].map(has)
    };
    for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::NotOurs) {
        let fate = reason.fate();
        let expected = [Fate::Drop, Fate::Pass, Fate::Hold].map(|other| other == fate);
        assert_eq!(fates(reason), expected, "{reason} has one fate");
    }
    assert_eq!(fates(&Reason::MustFragment), [false, false, true]);
    assert_eq!(fates(&Reason::EarlyFragment), [false, false, true]);
    assert_eq!(fates(&Reason::HeldLost), [true, false, false], "what was given up is lost");
}

#[test]
fn a_label_may_hold_anything() {
    let mut overview = usual();
    overview.status.interfaces[0].name = "a\"b\\c\nd".into();
    let text = own(overview, ServerLimit::All);
    assert!(text.contains(r#"interface="a\"b\\c\nd",mode="native""#), "{text}");
}

#[test]
fn the_names_of_node_exporter_have_its_labels() {
    let key = ServiceKey::marked(0x10);
    let services = vec![
        service(web(), vec![server(11, 3, counters(1))]),
        service(key, vec![server(12, 4, counters(1))]),
    ];
    let text = page(Names::NodeIpvs, overview(services), ServerLimit::None, &mut Others::default());
    let samples = samples(&text);
    assert_eq!(samples.get("node_ipvs_incoming_bytes_total"), Some(&1_000_000.0));
    let backend = |labels: &str| samples.get(&format!("node_ipvs_backend_weight{{{labels}}}")).copied();
    let at = r#"local_address="10.0.0.100",local_port="80",remote_address="10.0.0.11",remote_port="80",proto="TCP",local_mark="""#;
    assert_eq!(backend(at), Some(3.0));
    let marked = r#"local_address="",local_port="0",remote_address="10.0.0.12",remote_port="80",proto="FWM",local_mark="00000010""#;
    assert_eq!(backend(marked), Some(4.0));
}

/// What is exported of connections for the servers of the web.
fn connections(overview: Overview, limit: ServerLimit, others: &mut Others) -> BTreeMap<String, f64> {
    let samples = samples(&page(Names::Own, overview, limit, others));
    let prefix = "lbxdp_server_connections_total{service=\"tcp/10.0.0.100:80\",server=\"";
    let of_servers = samples.into_iter().filter_map(|(name, value)| {
        Some((name.strip_prefix(prefix)?.trim_end_matches("\"}").to_owned(), value))
    });
    of_servers.collect()
}

#[test]
fn what_the_others_have_counted_only_grows_and_nothing_is_counted_twice() {
    let (mut others, top) = (Others::default(), ServerLimit::Top(1));
    let mut look = |servers: &[(u8, u64)]| {
        let servers = servers.iter().map(|(last, counted)| server(*last, 1, counters(*counted))).collect();
        connections(overview(vec![service(web(), servers)]), top, &mut others)
    };
    let rows = |rows: &[(&str, f64)]| {
        rows.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(look(&[(11, 5), (12, 9), (13, 2)]), rows(&[("10.0.0.12:80", 9.0), ("other", 7.0)]));
    assert_eq!(look(&[(11, 6), (12, 10), (13, 2)]), rows(&[("10.0.0.12:80", 10.0), ("other", 8.0)]));
    // Another one comes to the top: what it had counted among the others stays there.
    assert_eq!(look(&[(11, 20), (12, 12), (13, 2)]), rows(&[("10.0.0.11:80", 20.0), ("other", 10.0)]));
    // One of the others is deleted, and one begins anew after `ipvsadm -Z`.
    assert_eq!(look(&[(11, 21), (12, 3)]), rows(&[("10.0.0.11:80", 21.0), ("other", 13.0)]));
    // A new one.
    assert_eq!(look(&[(14, 4), (11, 21), (12, 3)]), rows(&[("10.0.0.11:80", 21.0), ("other", 17.0)]));
}

#[test]
fn gauges_of_the_others_are_summed() {
    let samples = samples(&own(usual(), ServerLimit::Top(1)));
    let of = |name: &str, server: &str| {
        samples
            .get(&format!("lbxdp_server_{name}{{service=\"tcp/10.0.0.100:80\",server=\"{server}\"}}"))
            .copied()
    };
    assert_eq!(of("active_connections", "other"), Some(4.0));
    assert_eq!(of("weight", "other"), Some(2.0));
    assert_eq!(of("active_connections", "10.0.0.13:80"), Some(2.0));
    assert_eq!(of("active_connections", "10.0.0.11:80"), None);
    assert_eq!(of("next_hop_up", "other"), None);
}

#[test]
fn without_servers_there_are_services() {
    let text = own(usual(), ServerLimit::None);
    assert!(text.contains("lbxdp_service_connections_total{") && !text.contains("server=\""), "{text}");
}

#[test]
fn a_limit_is_read_as_it_is_written() {
    for limit in [ServerLimit::All, ServerLimit::None, ServerLimit::Top(7)] {
        assert_eq!(limit.to_string().parse(), Ok(limit));
    }
    assert_eq!("0".parse(), Ok(ServerLimit::None));
    for word in ["", "some", "-1", "7.5"] {
        assert!(word.parse::<ServerLimit>().is_err(), "{word}");
    }
}

#[test]
fn the_document_is_up_to_date() {
    let committed = include_str!("../../../docs/metrics.md");
    assert!(committed == document(), "docs/metrics.md is not what the code says: run `cargo xtask docs`");
    // The figures in it.
    let text = own(usual(), ServerLimit::All);
    let of = |label: &str| text.lines().filter(|line| !line.starts_with('#') && line.contains(label)).count();
    assert!(document().contains("Each server of each service has 11 series, each service too"));
    assert_eq!(of("server=\"10.0.0.11:80\""), 11);
    assert_eq!(of("service=\"mark6/7\""), 11);
}

/// The words of an expression that look like names of metrics.
fn metric_names(expression: &str) -> Vec<&str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = expression.split(|character| !is_part(character));
    words.filter(|word| word.starts_with("lbxdp_") || word.starts_with("node_ipvs_")).collect()
}

/// All values of a key, wherever they stand.
fn values_of<'a>(key: &str, value: &'a serde_json::Value, found: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                match value.as_str() {
                    Some(text) if name == key => found.push(text),
                    _ => values_of(key, value, found),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| values_of(key, value, found)),
        _ => {}
    }
}

#[test]
fn dashboard_and_alerts_ask_for_nothing_but_what_is_exported() {
    let exported: BTreeSet<&str> = Names::Own.families().map(|family| family.name).collect();
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../../docs/grafana/dashboard.json")).expect("JSON");
    let mut expressions = Vec::new();
    values_of("expr", &dashboard, &mut expressions);
    values_of("query", &dashboard, &mut expressions);
    let alerts = include_str!("../../../docs/grafana/alerts.yml");
    let of_alerts: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert_eq!(
        of_alerts.len(),
        alerts.matches("- alert: ").count(),
        "each alert has its expression in one line"
    );
    assert!(expressions.len() > 15 && of_alerts.len() > 8, "{} and {}", expressions.len(), of_alerts.len());
    for expression in expressions.into_iter().chain(of_alerts) {
        let names = metric_names(expression);
        assert!(
            !names.is_empty() || expression == "up{job=\"lbxdp\"} == 0" || expression == "prometheus",
            "{expression}"
        );
        for name in names {
            assert!(exported.contains(name), "{name} is not exported: {expression}");
        }
    }
}
