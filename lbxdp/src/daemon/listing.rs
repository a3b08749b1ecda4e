//! The connection table for a listing: read bucket by bucket, in table order, while packets flow.

use std::net::{IpAddr, Ipv4Addr};

use lbxdp_common::cells::Cells;
use lbxdp_common::connection::{Key, Word};
use lbxdp_common::server::{SERVER_CELLS, ServerRow};
use lbxdp_common::state::State;
use lbxdp_common::table::{Buckets, Slot, WAYS, has_expired};

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
            let slots = (0..WAYS).map(|way| Slot::new(bucket, way));
            let entries = slots.filter_map(|slot| slot.read().map(|(key, word)| (key, word, slot.bond())));
            records.extend(entries.filter_map(|(key, word, bond)| listing.record(key, word, bond, now)));
        }
        *next = end;
        end < buckets
    }
}

impl Listing {
    /// `None` for an overdue connection: it is gone, though nobody has cleared it away yet. A template is there until the
    /// daemon knows that no connection holds it.
    fn record(&self, key: Key, word: Word, bond: u64, now: lbxdp_common::Ticks) -> Option<Record> {
        if has_expired(word, now) {
            return None;
        }
        let left = u32::try_from(word.due().since(now)).unwrap_or(0);
        let row = self.servers.row(word.server().row())?;
        let mut cells = [0; SERVER_CELLS];
        for (at, cell) in cells.iter_mut().enumerate() {
            *cell = row.load(at);
        }
        let server = ServerRow::from_cells(cells);
        let state = word.state();
        let protocol = key.protocol();
        // Only the template of a service by mark has no protocol.
        if protocol.is_none() && !(state.is_template() && key.protocol == 0) {
            return None;
        }
        Some(Record::from(Connection {
            protocol,
            state,
            expires_s: left / self.clock.hertz(),
            client: end(Ipv4Addr::from(key.client), key.client_port),
            vip: end(Ipv4Addr::from(key.vip), key.vip_port),
            server: end(server.ip(), shown_port(key, state, bond, &server)),
        }))
    }
}

/// The server's port as IPVS shows it. A connection with a template (it has a bond) to another port than the service's
/// keeps the packet's port: those of a service by mark, of an address with all ports, FTP's data connections. A template
/// that stands for all ports has none.
fn shown_port(key: Key, state: State, bond: u64, server: &ServerRow) -> [u8; 2] {
    const ANY: [u8; 2] = [0; 2];
    let is_of_all = if state.is_template() {
        key.vip_port == ANY
    } else {
        let is_by_mark = bond == 0 && server.service.mark().is_some();
        let is_services = is_by_mark || server.service.port == key.vip_port;
        !is_services || server.port_number == ANY
    };
    if is_of_all { key.vip_port } else { server.port_number }
}

fn end(address: impl Into<IpAddr>, port: [u8; 2]) -> End {
    End { address: address.into(), port: u16::from_be_bytes(port) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbxdp_common::Protocol;
    use lbxdp_common::service::ServiceKey;
    use lbxdp_common::state::TcpState;

    /// What is shown for an entry to port `vip_port` by a server of its own port `port` of a service.
    fn shown(state: State, vip_port: u16, service: ServiceKey, port: u16, bond: u64) -> u16 {
        let protocol = Protocol::Tcp.raw();
        let [client, vip] = [[192, 0, 2, 1], [10, 0, 0, 100]];
        let (client_port, vip_port) = ([0; 2], vip_port.to_be_bytes());
        let key = Key { client, vip, client_port, vip_port, protocol, kind: Key::CONNECTION, pad: [0; 2] };
        let server = ServerRow { service, port_number: port.to_be_bytes(), ..ServerRow::default() };
        u16::from_be_bytes(shown_port(key, state, bond, &server))
    }

    #[test]
    fn a_servers_port_stands_as_ipvs_has_it() {
        let connection = State::tcp(TcpState::Established);
        let at = |port: u16| ServiceKey::address([10, 0, 0, 100], port.to_be_bytes(), Protocol::Tcp.raw());
        let marked = ServiceKey::marked(5);
        for (state, vip_port, service, port, bond, expected) in [
            (connection, 80, at(80), 8080, 0, 8080),
            (connection, 80, at(80), 0, 0, 80),
            (connection, 80, at(80), 8080, 1, 8080),
            (connection, 443, at(0), 0, 1, 443),
            (connection, 443, at(0), 8080, 1, 443),
            (connection, 30_000, at(21), 21, 1, 30_000),
            (connection, 80, marked, 0, 0, 80),
            (connection, 80, marked, 8080, 0, 8080),
            (connection, 80, marked, 8080, 1, 80),
            (State::TEMPLATE, 80, at(80), 8080, 9, 8080),
            (State::TEMPLATE, 80, at(80), 0, 9, 0),
            (State::TEMPLATE_ASSURED, 0, at(21), 21, 9, 0),
            (State::TEMPLATE_ASSURED, 0, at(0), 0, 9, 0),
            (State::TEMPLATE, 0, marked, 8080, 9, 0),
        ] {
            assert_eq!(
                shown(state, vip_port, service, port, bond),
                expected,
                "{state:?} {vip_port} {service:?} {port}"
            );
        }
    }
}
