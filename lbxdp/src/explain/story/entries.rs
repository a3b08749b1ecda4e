//! Entries of the connection table that a packet's run has touched, as they were before it and as it leaves them.

use std::net::IpAddr;

use lbxdp_common::Protocol;
use lbxdp_common::address::{Address, V4, V6};
use lbxdp_common::connection::{Key, Word, kind};
use lbxdp_common::service::ip;
use lbxdp_common::table::{Slot, WAYS};

use crate::explain::rehearsal::{Kept, Place, Still};
use crate::tables::CellTable;

/// What identifies an entry, for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) client: (IpAddr, u16),
    /// Of a reply entry the server's.
    pub(super) vip: (IpAddr, u16),
    /// `None`: of a template by mark.
    pub(super) protocol: Option<Protocol>,
    kind: u8,
}

impl Identity {
    fn of<A: Address>(key: Key<A>) -> Self {
        let address = |address: A| ip(address.wide(), A::IS_V6);
        Self {
            client: (address(key.client), u16::from_be_bytes(key.client_port)),
            vip: (address(key.vip), u16::from_be_bytes(key.vip_port)),
            protocol: key.protocol(),
            kind: key.kind,
        }
    }

    pub(super) fn is_connection(&self) -> bool {
        self.kind == kind::CONNECTION
    }

    pub(super) fn is_template(&self) -> bool {
        self.kind == kind::TEMPLATE
    }
}

/// An entry, before and after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) identity: Identity,
    /// `None`: there was none.
    pub(super) was: Option<Word>,
    /// `None`: there is none any more.
    pub(super) now: Option<Word>,
}

impl Entry {
    /// The word to go by: as it was if it was there.
    pub(super) fn word(&self) -> Option<Word> {
        self.was.or(self.now)
    }

    /// Whether the packet has left it as it was.
    pub(super) fn is_unchanged(&self) -> bool {
        self.was == self.now
    }
}

/// All live entries of the buckets that were touched.
pub(super) fn of(rows: &[Kept]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for row in rows {
        match row.place {
            Place::Cells(CellTable::Connections, _) => in_bucket::<V4>(row, &mut entries),
            Place::Cells(CellTable::ConnectionsV6, _) => in_bucket::<V6>(row, &mut entries),
            _ => {}
        }
    }
    entries
}

fn in_bucket<A: Address>(row: &Kept, entries: &mut Vec<Entry>) {
    let read = |cells: &[u64], way| {
        let (key, word) = Slot::<_, A>::new(Still(cells), way).read()?;
        Some((Identity::of(key), word))
    };
    for way in 0..WAYS {
        match (read(&row.was, way), read(&row.now, way)) {
            (Some((identity, was)), Some((now_identity, now))) if identity == now_identity => {
                entries.push(Entry { identity, was: Some(was), now: Some(now) });
            }
            (was, now) => {
                entries.extend(was.map(|(identity, word)| Entry { identity, was: Some(word), now: None }));
                entries.extend(now.map(|(identity, word)| Entry { identity, was: None, now: Some(word) }));
            }
        }
    }
}
