//! Drift: the tables no longer say what the daemon wrote. Somebody else has written, and it is put right.

use std::collections::BTreeMap;

use lbxdp_common::Cells;
use lbxdp_common::settings::{SHAPE_CELL, SHAPE_V6_CELL};

use super::director::Director;
use super::load::chain;
use super::settings;
use crate::layout::Write;
use crate::tables::{TableError, mark_runs};

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Drift {
    /// Rows that were put right.
    pub repaired: u64,
    /// The last look found some: it has been said.
    is_on: bool,
}

impl Drift {
    /// Takes in what a look has found and put right, by table; what there is to say.
    fn look(&mut self, found: &BTreeMap<&str, u64>) -> Option<String> {
        self.repaired += found.values().sum::<u64>();
        let was_on = std::mem::replace(&mut self.is_on, !found.is_empty());
        let rows = found.iter().map(|(table, rows)| format!("{table} {rows}"));
        (self.is_on && !was_on).then(|| rows.collect::<Vec<_>>().join(", "))
    }
}

impl Director {
    /// Compares the tables with what they should say, and puts them right.
    pub(super) fn put_right(&mut self) {
        let found = match self.repair() {
            Ok(found) => found,
            Err(error) => {
                return tracing::error!(error = %chain(&error), "cannot compare or repair the tables");
            }
        };
        if let Some(rows) = self.drift.look(&found) {
            tracing::warn!(
                rows,
                "somebody else has written to lbxdp's tables, or a daemon was killed in the midst of a change; put right"
            );
        }
    }

    /// The tables that were put right, and how many of their rows.
    fn repair(&mut self) -> Result<BTreeMap<&'static str, u64>, TableError> {
        let mut found = BTreeMap::new();
        for write in self.layout.drift(&self.tables, self.seed)? {
            write.carry_out(&mut self.tables, self.seed)?;
            *found.entry(table(&write)).or_default() += 1;
        }
        let settings = settings::row(&self.state, self.kinds, self.seed, &self.clock).cells();
        if let Some(row) = self.tables.SETTINGS.row(0) {
            let cells =
                settings.iter().enumerate().filter(|(at, _)| !matches!(*at, SHAPE_CELL | SHAPE_V6_CELL));
            for (at, cell) in cells.filter(|(at, cell)| row.load(*at) != **cell) {
                row.store(at, *cell);
                *found.entry("settings").or_default() += 1;
            }
        }
        self.write_ports();
        for (slot, ifindex) in self.next_hops.ports().collect::<Vec<_>>() {
            // The kernel empties the slot of an interface that goes; then its event is on the way.
            if self.tables.port(slot) != Some(ifindex) && self.tables.put_port(slot, ifindex).is_ok() {
                *found.entry("ports").or_default() += 1;
            }
        }
        Ok(found)
    }
}

/// The table that a write is to.
fn table(write: &Write) -> &'static str {
    match write {
        Write::Server { .. } | Write::ForgetServer { .. } | Write::FreshServer { .. } => "servers",
        Write::Members { .. } => "members",
        Write::Service { .. } | Write::FreshService { .. } => "services",
        Write::Turn { .. } => "turns",
        Write::Thresholds { .. } => "loads",
        Write::MarkRow { .. } => "mark_rules",
        Write::MarkRun { destination, .. } | Write::RemoveMarkRun { destination } => mark_runs(*destination),
        Write::ServiceId { .. } | Write::RemoveServiceId { .. } => "service_ids",
        Write::ClearHint { .. } => "service_hints",
        Write::Address { set, address }
        | Write::RemoveAddress { set, address }
        | Write::ClearAddress { set, address, .. } => set.table(*address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_told_of_once_and_everything_is_counted() {
        let (none, some) = (BTreeMap::new(), BTreeMap::from([("servers", 2), ("vips", 1)]));
        let mut drift = Drift::default();
        assert_eq!(drift.look(&none), None);
        assert_eq!(drift.look(&some).as_deref(), Some("servers 2, vips 1"));
        assert_eq!(drift.look(&some), None);
        assert_eq!(drift.look(&none), None);
        assert_eq!(drift.look(&some).as_deref(), Some("servers 2, vips 1"));
        assert_eq!(drift.repaired, 9);
    }
}
