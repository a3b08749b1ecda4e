//! The next hop in words, and what else would be written.

use lbxdp_common::client_hop::{ClientHop, Wanted, Wish};
use lbxdp_common::overload::LoadRow;
use lbxdp_common::server::{Load, ServerFlags, ServerId, ServerRow};
use lbxdp_common::wire::ethernet::Tag;

use super::reasons::no_route;
use super::{About, Narrator, Step};
use crate::explain::rehearsal::{Place, Routed, Source, Still};
use crate::lan::{Mac, written};
use crate::tables::CellTable;

/// The bits of a tag that are the VLAN's number.
const VLAN_ID: u16 = 0xfff;

impl<S: Source> Narrator<'_, S> {
    /// What the kernel has said of the way to a client.
    pub(super) fn routed(&self, routed: &Routed) -> Step {
        let Routed { from, to, answer } = routed;
        let words = match answer {
            Ok((way, mtu)) => format!(
                "to the client {to}, as a packet from {from}: the kernel says {}, packets up to {mtu} bytes",
                self.hop(way.macs, way.ifindex, [Tag::default(); 2])
            ),
            Err(number) => format!("to the client {to}, as a packet from {from}: {}", no_route(*number)),
        };
        Step::new(About::Way, words)
    }

    /// The way to the server, or to a client that a CPU remembers.
    pub(super) fn way(&self) -> Option<Step> {
        let counted = self.counted()?;
        if counted.reply_packets > 0 {
            let row = self.performance.rows.iter().find(|row| matches!(row.place, Place::ClientHop(_)))?;
            let hop = ClientHop(Still(&row.was));
            // What has been written the kernel has said, and that has been told.
            let words = format!(
                "to the client, as a CPU remembers it: {}, packets up to {} bytes",
                self.hop(hop.way().macs, hop.way().ifindex, hop.tags()),
                hop.mtu()
            );
            return (row.was == row.now).then(|| Step::new(About::Way, words));
        }
        let row = self.server_row(self.server()?)?;
        if row.flags.has(ServerFlags::LOCAL) {
            return None;
        }
        let words = if row.next_hop == [0; 6] {
            format!("the next hop to {} is NOT KNOWN", row.ip())
        } else {
            format!("{}{}", self.hop(macs(&row), row.ifindex, row.tags), mtu_words(&row))
        };
        Some(Step::new(About::Way, words))
    }

    fn hop(&self, macs: [u8; 12], ifindex: u32, tags: [Tag; 2]) -> String {
        // As at the head of a frame: the destination first.
        let [next_hop, _]: [Mac; 2] = zerocopy::transmute!(macs);
        let tags = tags.iter().filter(|tag| **tag != Tag::default());
        let vlans =
            tags.fold(String::new(), |words, tag| words + &format!(", VLAN {}", tag.control.get() & VLAN_ID));
        format!("next hop {} by {}{vlans}", written(next_hop), self.interface_name(ifindex))
    }

    /// What else would be written, that has not been told.
    pub(super) fn changes(&self) -> Vec<Step> {
        let changed = self.performance.rows.iter().filter(|row| row.was != row.now);
        // Of the whole table, of the connection's sector, of the template's.
        let mut is_pressure_told = false;
        let words = changed.filter_map(|row| match row.place {
            Place::Cells(CellTable::Loads, index) => self.load_change(index, &row.was, &row.now),
            Place::Cells(CellTable::Turns, _) => Some("the scheduler's turn moves on".to_owned()),
            Place::Cells(CellTable::Pressure, _) => (!std::mem::replace(&mut is_pressure_told, true))
                .then(|| "pressure is noted: packets may have gone by hash for a while".to_owned()),
            Place::Cells(CellTable::Wanted, _) => wish_words(&row.now),
            Place::Cache(_) => Some("what the scheduler remembers of this VIP".to_owned()),
            Place::Fragment(_) => Some("what is remembered of its datagram".to_owned()),
            _ => None,
        });
        words.map(|words| Step::new(About::Change, words)).collect()
    }

    fn load_change(&self, index: u32, was: &[u64], now: &[u64]) -> Option<String> {
        let row = self.row(CellTable::Servers, index)?;
        let row = ServerRow::from_cells(row.try_into().ok()?);
        let (was, now) = (LoadRow(Still(was)), LoadRow(Still(now)));
        let numbers = |load: Load, templates: u64| {
            format!("{} active, {} inactive, {templates} templates", load.active(), load.inactive())
        };
        let was = numbers(was.load(), was.templates());
        let now_overloaded = if now.load().is_overloaded() { ", overloaded" } else { "" };
        let now = numbers(now.load(), now.templates());
        Some(format!("{}: from {was} to {now}{now_overloaded}", self.server_name(ServerId(row.id))))
    }
}

fn macs(row: &ServerRow) -> [u8; 12] {
    zerocopy::transmute!([row.next_hop, row.source])
}

fn mtu_words(row: &ServerRow) -> String {
    if row.mtu == ServerRow::MTU_UNKNOWN {
        ", packets of unknown size".to_owned()
    } else {
        format!(", packets up to {} bytes", row.mtu)
    }
}

/// What the daemon would be asked for.
fn wish_words(row: &[u64]) -> Option<String> {
    let cells: Vec<_> = row.iter().copied().map(std::sync::atomic::AtomicU64::new).collect();
    Wanted(&cells[..]).take().map(|wish| match wish {
        Wish::NextHop(client) => format!("the daemon would be asked to look for the next hop to {client}"),
        Wish::PathMtu(server, mtu) => {
            format!("the daemon would be told that only {mtu} bytes fit the way to {server}")
        }
    })
}
