//! Listings for people: columns as wide as what stands in them.

use super::name::{ServerName, ServiceName};
use crate::cli::paint::{Ink, Paint};
use crate::snapshot::{ServiceSnapshot, Snapshot};

pub(super) fn services(snapshot: &Snapshot, paint: Paint) -> String {
    let title =
        ["SERVICE", "SCHEDULER", "PERSISTENT", "SERVERS", "ACTIVE", "INACTIVE", "CONNECTIONS/S", "BYTES/S"];
    let rows = snapshot.services.iter().map(|service| {
        let ServiceSnapshot { key, options, rates, servers, .. } = service;
        let sum = |number: fn(&crate::snapshot::ServerSnapshot) -> u32| {
            servers.iter().map(|server| u64::from(number(server))).sum::<u64>().to_string()
        };
        let persistent = options.persistence.map_or("-".to_owned(), |how| format!("{}s", how.timeout_s));
        [
            ServiceName(*key).to_string(),
            options.scheduler.to_string(),
            persistent,
            servers.len().to_string(),
            sum(|server| server.active),
            sum(|server| server.inactive),
            rates.connections.to_string(),
            rates.in_bytes.saturating_add(rates.out_bytes).to_string(),
        ]
    });
    columns(title, rows, paint)
}

pub(super) fn servers(snapshot: &Snapshot, paint: Paint) -> String {
    let title = [
        "SERVICE",
        "SERVER",
        "FORWARD",
        "WEIGHT",
        "ACTIVE",
        "INACTIVE",
        "TEMPLATES",
        "CONNECTIONS/S",
        "BYTES/S",
    ];
    let rows = snapshot.services.iter().flat_map(|service| {
        service.servers.iter().map(|snapshot| {
            let (server, rates) = (&snapshot.server, &snapshot.rates);
            [
                ServiceName(service.key).to_string(),
                ServerName { address: server.address, port: Some(server.port) }.to_string(),
                server.forward.to_string(),
                server.weight.to_string(),
                snapshot.active.to_string(),
                snapshot.inactive.to_string(),
                snapshot.persistent.to_string(),
                rates.connections.to_string(),
                rates.in_bytes.saturating_add(rates.out_bytes).to_string(),
            ]
        })
    });
    columns(title, rows, paint)
}

/// Columns with two blanks between them; numbers end, and words begin, at the same place.
fn columns<const N: usize>(
    title: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    paint: Paint,
) -> String {
    let rows: Vec<[String; N]> = rows.collect();
    let widths: [usize; N] = std::array::from_fn(|at| {
        rows.iter().map(|row| row[at].len()).chain([title[at].len()]).max().unwrap_or(0)
    });
    let is_number: [bool; N] = std::array::from_fn(|at| {
        !rows.is_empty() && rows.iter().all(|row| row[at].bytes().all(|byte| byte.is_ascii_digit()))
    });
    let line = |cells: [&str; N]| {
        let cells = cells.iter().enumerate().map(|(at, cell)| {
            let width = widths[at];
            if is_number[at] { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = paint.ink(Ink::Heading, &line(title)) + "\n";
    for row in &rows {
        text += &line(std::array::from_fn(|at| row[at].as_str()));
        text.push('\n');
    }
    text
}
