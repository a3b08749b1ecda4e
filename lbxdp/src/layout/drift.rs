//! Whether the tables still say what the layout wrote: what to write where they do not.
//!
//! Nobody else should write to them. What the packet path writes itself (turns, loads, connections, counters) is not
//! looked at.

use std::collections::BTreeMap;

use lbxdp_common::server::ServerId;
use lbxdp_common::service::{List, Member};
use lbxdp_common::table::Seed;
use lbxdp_common::vip;

use super::{Contents, Layout, Write, service_id};
use crate::tables::TableError;

impl Layout {
    /// The writes that make the tables say what they should; none, if they do.
    pub fn drift(&self, tables: &impl Contents, seed: Seed) -> Result<Vec<Write>, TableError> {
        let mut writes: Vec<Write> = self.servers().filter(|write| !holds(write, tables)).collect();
        for laid in self.services.values() {
            // The list is long, and nearly always as it should be: only what is to be written is copied.
            if !list_holds(laid.list, &laid.members, &laid.slots, tables) {
                writes.push(laid.run());
            }
            writes.extend(Some(laid.row()).filter(|row| !holds(row, tables)));
        }
        self.services_drift(&tables.service_ids()?, &mut writes);
        self.vips_drift(tables, seed, &mut writes);
        Ok(writes)
    }

    /// The rows of all servers, those that wait first.
    fn servers(&self) -> impl Iterator<Item = Write> {
        let gone = self.gone.values().map(|gone| Write::Server { id: gone.id, row: gone.row });
        let servers = self.services.values().flat_map(|laid| laid.ids.iter().zip(&laid.rows));
        let servers = servers.map(|(id, row)| Write::Server { id: *id, row: *row });
        gone.chain(servers)
    }

    fn services_drift(
        &self,
        found: &BTreeMap<lbxdp_common::service::ServiceKey, u32>,
        writes: &mut Vec<Write>,
    ) {
        let wanted: BTreeMap<_, _> =
            self.services.iter().filter_map(|(key, laid)| Some((service_id(key)?, laid.index))).collect();
        for (key, index) in &wanted {
            if found.get(key) != Some(index) {
                writes.push(Write::ServiceId { key: *key, index: *index });
            }
        }
        let strangers = found.keys().filter(|key| !wanted.contains_key(key));
        writes.extend(strangers.map(|key| Write::RemoveServiceId { key: *key }));
    }

    fn vips_drift(&self, tables: &impl Contents, seed: Seed, writes: &mut Vec<Write>) {
        let mut missing = self.vips.in_tables().clone();
        for (bucket, vip) in tables.vips() {
            // The second one of two is a stranger too.
            let is_ours = bucket == vip::bucket(vip.octets(), seed) && missing.remove(&vip);
            if !is_ours {
                writes.push(Write::ClearVip { bucket, vip });
            }
        }
        writes.extend(missing.into_iter().map(Write::Vip));
    }
}

/// Whether the tables say already what a write would make them say.
fn holds(write: &Write, tables: &impl Contents) -> bool {
    match write {
        Write::Server { id, row } => tables.server(id.row()) == *row,
        Write::Service { index, row } => tables.service(*index) == *row,
        Write::Members { list, members, slots } => list_holds(*list, members, slots, tables),
        // No row says these.
        _ => true,
    }
}

/// Whether a list and its hash slots stand in the tables.
fn list_holds(list: List, members: &[Member], slots: &[ServerId], tables: &impl Contents) -> bool {
    let mut rows = (list.start..).zip(members);
    let mut pairs = (list.slot_row(0)..).zip(slots.chunks(2));
    rows.all(|(row, member)| tables.member_cell(row) == member.cell())
        && pairs.all(|(row, pair)| tables.member_cell(row) == List::slot_cell(pair))
}
