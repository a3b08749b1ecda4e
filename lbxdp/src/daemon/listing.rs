//! The connection table for a listing: read bucket by bucket, in table order, while packets flow.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lbxdp_common::cells::Cells;
use lbxdp_common::connection::{Key, Word};
use lbxdp_common::server::{SERVER_CELLS, ServerRow};
use lbxdp_common::table::{Buckets, Slot, WAYS};

use super::clock::Clock;
use super::keeper::shape;
use crate::snapshot::ConnectionSnapshot;
use crate::tables::Mapped;

/// Connections in one message to a client.
const CHUNK: usize = 512;

/// What a listing reads; a copy can go to any thread.
#[derive(Clone, Copy)]
pub(super) struct Listing {
    pub connections: Mapped,
    pub settings: Mapped,
    pub servers: Mapped,
    pub clock: Clock,
}

impl Listing {
    /// The table in chunks: each call of the iterator reads on where the last one stopped.
    pub(super) fn chunks(self) -> impl Iterator<Item = Vec<ConnectionSnapshot>> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let mut chunk = Vec::new();
            // A connection that is carried elsewhere meanwhile may be seen twice, or missed: so it is while the table grows.
            let buckets = shape(&self.settings).buckets();
            while next < buckets && chunk.len() < CHUNK {
                if let Some(bucket) = self.connections.bucket(next) {
                    let entries = (0..WAYS).filter_map(|way| Slot::new(bucket, way).read());
                    chunk.extend(entries.filter_map(|(key, word)| self.connection(key, word)));
                }
                next += 1;
            }
            (!chunk.is_empty()).then_some(chunk)
        })
    }

    /// `None` for an overdue one: it is gone, though the sweep has not come by yet.
    fn connection(&self, key: Key, word: Word) -> Option<ConnectionSnapshot> {
        let protocol = key.protocol()?;
        let left = u32::try_from(word.due().since(self.clock.now())).ok().filter(|ticks| *ticks > 0)?;
        let row = self.servers.row(word.server().row())?;
        let mut cells = [0; SERVER_CELLS];
        for (at, cell) in cells.iter_mut().enumerate() {
            *cell = row.load(at);
        }
        let server = ServerRow::from_cells(cells);
        Some(ConnectionSnapshot {
            protocol,
            expires_s: left / self.clock.hertz(),
            state: word.state().name(protocol).into(),
            client: endpoint(key.client, key.client_port),
            service: endpoint(key.vip, key.vip_port),
            server: endpoint(server.address, server.port_number),
        })
    }
}

fn endpoint(address: [u8; 4], port: [u8; 2]) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(address)), u16::from_be_bytes(port))
}
