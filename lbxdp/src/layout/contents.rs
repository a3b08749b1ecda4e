//! What stands in the tables of configuration: what the layout reads of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use lbxdp_common::Cells;
use lbxdp_common::hint::Hint;
use lbxdp_common::mark::{MARK_CELLS, MarkRow, MarkRun};
use lbxdp_common::overload::{LoadRow, Thresholds};
use lbxdp_common::server::{SERVER_CELLS, ServerId, ServerRow};
use lbxdp_common::service::{SERVICE_CELLS, ServiceKey, ServiceRow};

use crate::tables::{AddressSet, Mapped, TableError, Tables};

/// Runs of rules for marks, by destination.
pub(super) type MarkRuns = BTreeMap<IpNet, MarkRun>;

/// Tables that can be read. A row outside its table reads zero.
pub trait Contents {
    /// How many rows of servers there are.
    fn server_rows(&self) -> u32;
    /// How many rows of services there are.
    fn service_rows(&self) -> u32;
    /// How many rows of members there are.
    fn member_rows(&self) -> u32;
    fn server(&self, row: u32) -> ServerRow;
    fn service(&self, index: u32) -> ServiceRow;
    /// A row of members or hash slots.
    fn member_cell(&self, row: u32) -> u64;
    /// The deleted server whose counters a service has taken in last.
    fn taken_in(&self, index: u32) -> ServerId;
    /// All services that packets find, with their indices.
    fn service_ids(&self) -> Result<BTreeMap<ServiceKey, u32>, TableError>;
    /// All hints to services that are given, with their places.
    fn hints(&self) -> Vec<(u32, Hint)>;
    /// How many connections a server may have.
    fn thresholds(&self, row: u32) -> Thresholds;
    /// A rule for marks.
    fn mark_row(&self, index: u32) -> MarkRow;
    /// Where the rules for marks stand.
    fn mark_runs(&self) -> Result<MarkRuns, TableError>;
    /// All addresses of a set, with the buckets they stand in.
    fn addresses(&self, set: AddressSet) -> Vec<(u32, IpAddr)>;
}

impl Contents for Tables {
    fn server_rows(&self) -> u32 {
        self.SERVERS.rows()
    }

    fn service_rows(&self) -> u32 {
        self.SERVICES.rows()
    }

    fn member_rows(&self) -> u32 {
        self.MEMBERS.rows()
    }

    fn server(&self, row: u32) -> ServerRow {
        ServerRow::from_cells(cells::<SERVER_CELLS>(self.SERVERS, row))
    }

    fn service(&self, index: u32) -> ServiceRow {
        ServiceRow::from_cells(cells::<SERVICE_CELLS>(self.SERVICES, index))
    }

    fn member_cell(&self, row: u32) -> u64 {
        let [cell] = cells(self.MEMBERS, row);
        cell
    }

    fn taken_in(&self, index: u32) -> ServerId {
        self.last_taken_in(index)
    }

    fn service_ids(&self) -> Result<BTreeMap<ServiceKey, u32>, TableError> {
        Self::service_ids(self)
    }

    fn hints(&self) -> Vec<(u32, Hint)> {
        Self::hints(self)
    }

    fn thresholds(&self, row: u32) -> Thresholds {
        self.LOADS.row(row).map_or_else(Thresholds::default, |row| LoadRow(row).thresholds())
    }

    fn mark_row(&self, index: u32) -> MarkRow {
        MarkRow::from_cells(cells::<MARK_CELLS>(self.MARK_RULES, index))
    }

    fn mark_runs(&self) -> Result<MarkRuns, TableError> {
        Self::mark_runs(self)
    }

    fn addresses(&self, set: AddressSet) -> Vec<(u32, IpAddr)> {
        Self::addresses(self, set)
    }
}

fn cells<const CELLS: usize>(table: Mapped, index: u32) -> [u64; CELLS] {
    table.row(index).map_or([0; CELLS], |row| std::array::from_fn(|at| row.load(at)))
}
