//! How much there is in a connection table, by the servers' counts. A server belongs to one service, so all of its
//! connections are of one family.

use std::sync::atomic::AtomicU64;

use lbxdp_common::overload::LoadRow;
use lbxdp_common::server::{Load, Method, SERVER_CELLS, ServerId, ServerRow};
use lbxdp_common::{Address, Cells};

use crate::tables::Mapped;

/// Sums over the servers of a family, as exact as their counts are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::daemon) struct Counts {
    pub(in crate::daemon) connections: u64,
    /// Templates of persistence.
    pub(in crate::daemon) templates: u64,
    /// Entries that lead replies to connections: one for each connection by VS/NAT, as far as the servers' rows tell.
    replies: u64,
}

impl Counts {
    /// Of the servers in two tables.
    pub(in crate::daemon) fn of<A: Address>(servers: &Mapped, loads: &Mapped) -> Self {
        let mut counts = Self::default();
        for number in 0..loads.rows() {
            let Some(row) = loads.row(number).map(LoadRow) else { continue };
            let (connections, templates) = (connections_of(row), templates_of(row));
            // Most rows are nobody's.
            if connections + templates == 0 {
                continue;
            }
            let Some(server) = servers.row(number) else { continue };
            let server =
                ServerRow::from_cells(std::array::from_fn::<_, SERVER_CELLS, _>(|cell| server.load(cell)));
            if server.service.is_v6() == A::IS_V6 {
                counts.connections += connections;
                counts.templates += templates;
                counts.replies += if server.flags.method() == Method::MASQUERADE { connections } else { 0 };
            }
        }
        counts
    }

    /// Places that are taken.
    pub(in crate::daemon) fn entries(self) -> u64 {
        self.connections + self.templates + self.replies
    }
}

/// How many connections a server has.
pub(in crate::daemon) fn load_of(loads: &Mapped, server: ServerId) -> Load {
    loads.row(server.row()).map_or(Load(0), |row| Load(row.load(0)))
}

/// How many templates of persistence lead to a server.
pub(in crate::daemon) fn templates_to(loads: &Mapped, server: ServerId) -> u32 {
    let count = loads.row(server.row()).map_or(0, |row| LoadRow(row).templates());
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// For a moment a count may be taken off before it was added: below 0, which looks like very many. (31 bits of a load are
/// inactive connections.)
fn connections_of(row: LoadRow<&'static [AtomicU64]>) -> u64 {
    let some = |count: u32| if count >= 1 << 30 { 0 } else { u64::from(count) };
    let load = row.load();
    some(load.active()) + some(load.inactive())
}

fn templates_of(row: LoadRow<&'static [AtomicU64]>) -> u64 {
    row.templates().cast_signed().max(0).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbxdp_common::server::{LOAD_CELLS, ServerFlags};
    use lbxdp_common::service::ServiceKey;
    use lbxdp_common::{V4, V6};

    #[test]
    fn each_family_has_the_counts_of_its_servers() {
        let (servers, loads) = (Mapped::of_memory(SERVER_CELLS, 5), Mapped::of_memory(LOAD_CELLS, 5));
        let v4 = ServiceKey::address([10, 0, 0, 100], [0, 80], 6);
        let by_nat = ServerFlags::AVAILABLE.by(Method::MASQUERADE);
        let rows = [
            (1, v4, ServerFlags::AVAILABLE, 2),
            (2, ServiceKey::marked_v6(7), ServerFlags::AVAILABLE, 3),
            (3, ServiceKey::address_v6([1; 16], [0, 80], 6), by_nat, 5),
            (4, v4, by_nat, 0),
        ];
        for (number, service, flags, connections) in rows {
            let server = ServerRow { service, flags, ..ServerRow::default() };
            for (at, cell) in server.cells().into_iter().enumerate() {
                servers.row(number).expect("a row").store(at, cell);
            }
            let row = LoadRow(loads.row(number).expect("a row"));
            for connection in 0..connections {
                row.gain(connection % 2 == 0);
            }
        }
        LoadRow(loads.row(2).expect("a row")).gain_template();
        // One that was counted off before it was counted.
        LoadRow(loads.row(4).expect("a row")).lose(true);
        let v4 = Counts::of::<V4>(&servers, &loads);
        assert_eq!(v4, Counts { connections: 2, templates: 0, replies: 0 });
        let v6 = Counts::of::<V6>(&servers, &loads);
        assert_eq!(v6, Counts { connections: 8, templates: 1, replies: 5 });
        assert_eq!((v4.entries(), v6.entries()), (2, 14));
    }
}
