//! Whether the tables still say what the layout wrote: what to write where they do not.
//!
//! Nobody else should write to them. What the packet path writes itself (turns, loads, connections, counters) is not
//! looked at.

use std::collections::{BTreeMap, BTreeSet};

use lbxdp_common::hint::{self, Hint};
use lbxdp_common::service::{List, Member};
use lbxdp_common::table::Seed;
use lbxdp_common::vip;

use super::addresses::Addresses;
use super::contents::MarkRuns;
use super::write::run_cells;
use super::{Contents, Layout, Write, service_id};
use crate::tables::TableError;

impl Layout {
    /// The writes that make the tables say what they should; none, if they do.
    pub fn drift(&self, tables: &impl Contents, seed: Seed) -> Result<Vec<Write>, TableError> {
        let rows = self.servers().chain(self.marks.writes());
        let mut writes: Vec<Write> = rows.filter(|write| !holds(write, tables)).collect();
        self.marks_drift(&tables.mark_runs()?, &mut writes);
        for (key, laid) in &self.services {
            // The list is long, and nearly always as it should be: only what is to be written is copied.
            if !list_holds(laid.list, &laid.members, &laid.table, &laid.slots, tables) {
                writes.push(laid.run());
            }
            writes.extend(Some(laid.row(key)).filter(|row| !holds(row, tables)));
        }
        self.services_drift(&tables.service_ids()?, &mut writes);
        self.hints_drift(tables, &mut writes);
        for addresses in [&self.vips, self.ways.sources()] {
            addresses_drift(addresses, tables, seed, &mut writes);
        }
        Ok(writes)
    }

    fn marks_drift(&self, found: &MarkRuns, writes: &mut Vec<Write>) {
        let is_so = |write: &Write| match write {
            Write::MarkRun { destination, run } => found.get(destination) == Some(run),
            // Rows have been looked at.
            _ => true,
        };
        writes.extend(self.marks.writes().filter(|write| !is_so(write)));
        let strangers = found.keys().filter(|destination| !self.marks.has(**destination));
        writes.extend(strangers.map(|destination| Write::RemoveMarkRun { destination: *destination }));
    }

    /// The rows of all servers, those that wait first.
    fn servers(&self) -> impl Iterator<Item = Write> {
        let gone = self.gone.values().map(|gone| Write::Server { id: gone.id, row: gone.row });
        let configured = || self.services.values();
        let servers = configured().flat_map(|laid| laid.ids.iter().zip(&laid.rows));
        let servers = servers.map(|(id, row)| Write::Server { id: *id, row: *row });
        let thresholds = configured().flat_map(|laid| laid.ids.iter().zip(&laid.service.servers));
        let thresholds = thresholds
            .map(|(id, server)| Write::Thresholds { id: *id, thresholds: super::thresholds(server) });
        gone.chain(servers).chain(thresholds)
    }

    fn services_drift(
        &self,
        found: &BTreeMap<lbxdp_common::service::ServiceKey, u32>,
        writes: &mut Vec<Write>,
    ) {
        let wanted: BTreeMap<_, _> =
            self.services.iter().map(|(key, laid)| (service_id(key), laid.index)).collect();
        for (key, index) in &wanted {
            if found.get(key) != Some(index) {
                writes.push(Write::ServiceId { key: *key, index: *index });
            }
        }
        let strangers = found.keys().filter(|key| !wanted.contains_key(key));
        writes.extend(strangers.map(|key| Write::RemoveServiceId { key: *key }));
    }

    /// A hint that is missing does no harm, and one to a service that is taken away goes with it.
    fn hints_drift(&self, tables: &impl Contents, writes: &mut Vec<Write>) {
        let given: BTreeSet<_> = self
            .services
            .iter()
            .map(|(key, laid)| (hint::place_of(service_id(key)), Hint::to(laid.index).0))
            .collect();
        let goes_with = |write: &Write| match write {
            Write::RemoveServiceId { key } => Some(hint::place_of(*key)),
            _ => None,
        };
        let gone: BTreeSet<u32> = writes.iter().filter_map(goes_with).collect();
        let strangers = tables.hints().into_iter().filter(|(place, hint)| !given.contains(&(*place, hint.0)));
        let strangers = strangers.filter(|(place, _)| !gone.contains(place));
        writes.extend(strangers.map(|(place, _)| Write::ClearHint { place }));
    }
}

fn addresses_drift(addresses: &Addresses, tables: &impl Contents, seed: Seed, writes: &mut Vec<Write>) {
    let (set, mut missing) = (addresses.set(), addresses.in_tables().clone());
    for (bucket, address) in tables.addresses(set) {
        // The second one of two is a stranger too.
        let is_ours = bucket == vip::bucket_of(address, seed) && missing.remove(&address);
        if !is_ours {
            writes.push(Write::ClearAddress { set, bucket, address });
        }
    }
    writes.extend(missing.into_iter().map(|address| Write::Address { set, address }));
}

/// Whether the tables say already what a write would make them say.
fn holds(write: &Write, tables: &impl Contents) -> bool {
    match write {
        Write::Server { id, row } => tables.server(id.row()) == *row,
        Write::Service { index, row } => tables.service(*index) == *row,
        Write::Members { list, members, table, slots } => list_holds(*list, members, table, slots, tables),
        Write::Thresholds { id, thresholds } => tables.thresholds(id.row()) == *thresholds,
        Write::MarkRow { index, row } => tables.mark_row(*index) == *row,
        // No row says these.
        _ => true,
    }
}

/// Whether a list and its tables stand where they should.
fn list_holds(list: List, members: &[Member], table: &[u16], slots: &[u16], tables: &impl Contents) -> bool {
    run_cells(list, members, table, slots).all(|(row, cell)| tables.member_cell(row) == cell)
}
