//! The connection tables for a listing: read bucket by bucket, in table order, IPv4 before IPv6, while packets flow.

use std::net::IpAddr;

use lbxdp_common::address::{Address, V4, V6};
use lbxdp_common::cells::Cells;
use lbxdp_common::connection::{Key, Word, kind};
use lbxdp_common::server::{SERVER_CELLS, ServerRow};
use lbxdp_common::settings::SettingsView;
use lbxdp_common::state::State;
use lbxdp_common::table::{Slot, WAYS, has_expired};

use super::clock::Clock;
use crate::record::{Connection, End, Record};
use crate::tables::Mapped;

/// Buckets that are read in one go: some tens of microseconds in which the daemon does nothing else.
const STEP: u32 = 256;

/// What a listing reads; a copy can go to any thread.
#[derive(Clone, Copy)]
pub(super) struct Listing {
    pub connections: Mapped,
    pub connections_v6: Mapped,
    pub settings: Mapped,
    pub servers: Mapped,
    pub clock: Clock,
}

/// A listing on its way through the table.
pub(super) struct Reading {
    listing: Listing,
    /// The table that is being read.
    is_v6: bool,
    /// The bucket that comes next.
    next: u32,
}

impl Listing {
    /// Begins with the first bucket.
    pub(super) fn start(self) -> Reading {
        Reading { listing: self, is_v6: false, next: 0 }
    }
}

impl Reading {
    /// The most records that one [`Reading::go_on`] finds.
    pub(super) const MOST: usize = STEP as usize * WAYS;

    /// Reads on from where the last call stopped, and adds what it finds; false once all has been read.
    ///
    /// A connection that is carried elsewhere meanwhile may be seen twice, or missed: so it is while the table grows.
    pub(super) fn go_on(&mut self, records: &mut Vec<Record>) -> bool {
        let Self { listing, is_v6, next } = self;
        let read = if *is_v6 {
            listing.read::<V6>(listing.connections_v6, *next, records)
        } else {
            listing.read::<V4>(listing.connections, *next, records)
        };
        (*is_v6, *next) = match (read, *is_v6) {
            (Some(next), is_v6) => (is_v6, next),
            (None, false) => (true, 0),
            (None, true) => return false,
        };
        true
    }
}

impl Listing {
    /// Reads on from a bucket of a table: the one that comes next, `None` if there is none.
    fn read<A: Address + Into<IpAddr>>(
        &self,
        table: Mapped,
        from: u32,
        records: &mut Vec<Record>,
    ) -> Option<u32> {
        let buckets = SettingsView(self.settings.row(0)?).shape_of::<A>().buckets();
        let end = from.saturating_add(STEP).min(buckets);
        let now = self.clock.now();
        for bucket in (from..end).filter_map(|index| table.row(index)) {
            let slots = (0..WAYS).map(|way| Slot::<_, A>::new(bucket, way));
            let entries = slots.filter_map(|slot| slot.read().map(|(key, word)| (key, word, slot.bond())));
            records.extend(entries.filter_map(|(key, word, bond)| self.record(key, word, bond, now)));
        }
        (end < buckets).then_some(end)
    }

    /// `None` for an overdue connection: it is gone, though nobody has cleared it away yet. A template is there until the
    /// daemon knows that no connection holds it. What leads replies to a connection is none of its own.
    fn record<A: Address + Into<IpAddr>>(
        &self,
        key: Key<A>,
        word: Word,
        bond: u64,
        now: lbxdp_common::Ticks,
    ) -> Option<Record> {
        if has_expired(word, now) || key.kind == kind::REPLY {
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
            client: end(key.client, key.client_port),
            vip: end(key.vip, key.vip_port),
            server: end(server.ip(), shown_port(key.vip_port, state, bond, &server)),
        }))
    }
}

/// The server's port as IPVS shows it. A connection with a template (it has a bond) to another port than the service's
/// keeps the packet's port: those of a service by mark, of an address with all ports, FTP's data connections. A template
/// that stands for all ports has none.
fn shown_port(vip_port: [u8; 2], state: State, bond: u64, server: &ServerRow) -> [u8; 2] {
    const ANY: [u8; 2] = [0; 2];
    let is_of_all = if state.is_template() {
        vip_port == ANY
    } else {
        let is_by_mark = bond == 0 && server.service.mark().is_some();
        let is_services = is_by_mark || server.service.port == vip_port;
        !is_services || server.port_number == ANY
    };
    if is_of_all { vip_port } else { server.port_number }
}

fn end(address: impl Into<IpAddr>, port: [u8; 2]) -> End {
    End { address: address.into(), port: u16::from_be_bytes(port) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbxdp_common::server::ServerId;
    use lbxdp_common::service::{ServiceKey, widened};
    use lbxdp_common::settings::{SETTINGS_CELLS, SHAPE_CELL, SHAPE_V6_CELL};
    use lbxdp_common::state::TcpState;
    use lbxdp_common::table::{BUCKET_CELLS, BUCKET_V6_CELLS, Shape};
    use lbxdp_common::{Protocol, Ticks};

    /// What is shown for an entry to port `vip_port` by a server of its own port `port` of a service.
    fn shown(state: State, vip_port: u16, service: ServiceKey, port: u16, bond: u64) -> u16 {
        let server = ServerRow { service, port_number: port.to_be_bytes(), ..ServerRow::default() };
        u16::from_be_bytes(shown_port(vip_port.to_be_bytes(), state, bond, &server))
    }

    #[test]
    fn connections_of_both_families_are_listed_and_the_way_back_of_none() {
        let listing = Listing {
            connections: Mapped::of_memory(BUCKET_CELLS, 300),
            connections_v6: Mapped::of_memory(BUCKET_V6_CELLS, 600),
            settings: Mapped::of_memory(SETTINGS_CELLS, 1),
            servers: Mapped::of_memory(SERVER_CELLS, 2),
            clock: Clock::at_hertz(100),
        };
        let settings = listing.settings.row(0).expect("a row");
        settings.store(SHAPE_CELL, Shape::steady(300).0);
        settings.store(SHAPE_V6_CELL, Shape::steady(600).0);
        let id = ServerId::new(1, 1);
        let rip = widened([10, 0, 0, 11]);
        let server = ServerRow { id: id.0, address: rip, ..ServerRow::default() };
        for (at, cell) in server.cells().into_iter().enumerate() {
            listing.servers.row(1).expect("a row").store(at, cell);
        }
        let due = Ticks(listing.clock.now().0.wrapping_add(100_000));
        let word = Word::live(id, State::tcp(TcpState::Established), due);
        let [one, other]: [(V4, V6); 2] = [([192, 0, 2, 7], [7; 16]), ([10, 0, 0, 100], [8; 16])];
        put(listing.connections, 299, key(one.0, other.0), word);
        put(listing.connections_v6, 0, key(one.1, other.1), word);
        put(listing.connections_v6, 599, key(other.1, one.1), word);
        let reply = Key { kind: kind::REPLY, ..key(one.1, other.1) };
        put(listing.connections_v6, 300, reply, word);
        put(listing.connections, 3, Key { kind: kind::REPLY, ..key(one.0, other.0) }, word);
        let mut records = Vec::new();
        let mut reading = listing.start();
        while reading.go_on(&mut records) {}
        let connections: Vec<_> = records.iter().map(|record| record.read().expect("a connection")).collect();
        let ends: Vec<_> = connections.iter().map(|c| (c.client.address, c.vip.address)).collect();
        let [client, vip] = [IpAddr::from(one.1), IpAddr::from(other.1)];
        assert_eq!(ends, [(one.0.into(), other.0.into()), (client, vip), (vip, client)]);
        assert!(connections.iter().all(|c| c.server.address == IpAddr::from([10, 0, 0, 11])));
    }

    fn key<A>(client: A, vip: A) -> Key<A> {
        let (client_port, vip_port) = ([1, 2], [0, 80]);
        let protocol = Protocol::Tcp.raw();
        Key { client, vip, client_port, vip_port, protocol, kind: kind::CONNECTION, pad: [0; 2] }
    }

    /// Puts an entry into a bucket.
    fn put<A: Address>(table: Mapped, bucket: u32, key: Key<A>, word: Word) {
        let bucket = table.row(bucket).expect("a bucket");
        A::store(bucket, 0, key.cells());
        bucket.store(A::KEY_CELLS, word.0);
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
