//! The connection table for a listing: read bucket by bucket, in table order, while packets flow.

use std::net::Ipv4Addr;

use lbxdp_common::cells::Cells;
use lbxdp_common::connection::{Key, Word};
use lbxdp_common::server::{SERVER_CELLS, ServerRow};
use lbxdp_common::table::{Buckets, Slot, WAYS};

use super::clock::Clock;
use super::keeper::shape;
use crate::record::{Connection, End, Record};
use crate::tables::Mapped;

/// Buckets that are read in one go: some tens of microseconds in which the daemon does nothing else.
const STEP: u32 = 256;

/// What a listing reads; a copy can go to any thread.
#[derive(Clone, Copy)]
pub(super) struct Listing {
    pub connections: Mapped,
    pub settings: Mapped,
    pub servers: Mapped,
    pub clock: Clock,
}

/// A listing on its way through the table.
pub(super) struct Reading {
    listing: Listing,
    /// The bucket that comes next.
    next: u32,
}

impl Listing {
    /// Begins with the first bucket.
    pub(super) fn start(self) -> Reading {
        Reading { listing: self, next: 0 }
    }
}

impl Reading {
    /// The most records that one [`Reading::go_on`] finds.
    pub(super) const MOST: usize = STEP as usize * WAYS;

    /// Reads on from where the last call stopped, and adds what it finds; false once all of the table has been read.
    ///
    /// A connection that is carried elsewhere meanwhile may be seen twice, or missed: so it is while the table grows.
    pub(super) fn go_on(&mut self, records: &mut Vec<Record>) -> bool {
        let Self { listing, next } = self;
        let buckets = shape(&listing.settings).buckets();
        let end = next.saturating_add(STEP).min(buckets);
        let now = listing.clock.now();
        for index in *next..end {
            let Some(bucket) = listing.connections.bucket(index) else {
                continue;
            };
            let entries = (0..WAYS).filter_map(|way| Slot::new(bucket, way).read());
            records.extend(entries.filter_map(|(key, word)| listing.record(key, word, now)));
        }
        *next = end;
        end < buckets
    }
}

impl Listing {
    /// `None` for an overdue one: it is gone, though nobody has cleared it away yet.
    fn record(&self, key: Key, word: Word, now: lbxdp_common::Ticks) -> Option<Record> {
        let left = u32::try_from(word.due().since(now)).ok().filter(|ticks| *ticks > 0)?;
        let row = self.servers.row(word.server().row())?;
        let mut cells = [0; SERVER_CELLS];
        for (at, cell) in cells.iter_mut().enumerate() {
            *cell = row.load(at);
        }
        let server = ServerRow::from_cells(cells);
        Some(Record::from(Connection {
            protocol: key.protocol()?,
            state: word.state(),
            expires_s: left / self.clock.hertz(),
            client: end(key.client, key.client_port),
            vip: end(key.vip, key.vip_port),
            server: end(server.address, server.port_number),
        }))
    }
}

fn end(address: [u8; 4], port: [u8; 2]) -> End {
    End { address: Ipv4Addr::from(address).into(), port: u16::from_be_bytes(port) }
}
