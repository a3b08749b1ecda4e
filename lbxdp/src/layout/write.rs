//! One write to the kernel's tables, and how it is done.

use std::net::IpAddr;

use ipnet::IpNet;
use lbxdp_common::Scheduler;
use lbxdp_common::cells::Cells;
use lbxdp_common::hint::Hint;
use lbxdp_common::mark::{MarkRow, MarkRun};
use lbxdp_common::overload::{LoadRow, Thresholds};
use lbxdp_common::schedule::{rr, wrr};
use lbxdp_common::server::{SERVICE_CELL, ServerId, ServerRow};
use lbxdp_common::service::{List, Member, ServiceKey, ServiceRow, Shares};
use lbxdp_common::table::Seed;

use crate::tables::{AddressSet, TableError, Tables};

/// One step of a change. Each is seen by packets as a whole, or (rows that nobody points to yet) not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A server's row begins a new life: its counters start at 0.
    FreshServer {
        id: ServerId,
    },
    /// A service's counters start at 0, those of its deleted servers that wait too; before packets find it.
    FreshService {
        index: u32,
        waiting: Vec<ServerId>,
    },
    Server {
        id: ServerId,
        row: ServerRow,
    },
    /// Nothing points to a deleted server any more: its service, if it is there, takes in what was counted for it.
    ForgetServer {
        id: ServerId,
        service: Option<u32>,
    },
    /// A list of servers, its scheduler's table and its hash slots.
    Members {
        list: List,
        members: Vec<Member>,
        table: Vec<u16>,
        slots: Vec<u16>,
    },
    Service {
        index: u32,
        row: ServiceRow,
    },
    /// What an edit does to the place a service's scheduler keeps.
    Turn {
        index: u32,
        change: TurnChange,
    },
    /// How many connections a server may have; whether it is overloaded follows as at an edit in IPVS.
    Thresholds {
        id: ServerId,
        thresholds: Thresholds,
    },
    MarkRow {
        index: u32,
        row: MarkRow,
    },
    MarkRun {
        destination: IpNet,
        run: MarkRun,
    },
    RemoveMarkRun {
        destination: IpNet,
    },
    ServiceId {
        key: ServiceKey,
        index: u32,
    },
    RemoveServiceId {
        key: ServiceKey,
    },
    /// Takes a hint away that leads to no service of its place.
    ClearHint {
        place: u32,
    },
    /// Puts an address into a set.
    Address {
        set: AddressSet,
        address: IpAddr,
    },
    RemoveAddress {
        set: AddressSet,
        address: IpAddr,
    },
    /// Takes an address out of a bucket it does not belong to.
    ClearAddress {
        set: AddressSet,
        bucket: u32,
        address: IpAddr,
    },
}

/// How a scheduler's place changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnChange {
    /// The scheduler begins.
    Start { scheduler: Scheduler, shares: Shares },
    /// Its list was edited. Of an edit in several steps the shares after each: the scheduler takes each of them in.
    List { scheduler: Scheduler, from: Vec<Member>, to: Vec<Member>, shares: Vec<Shares> },
}

impl TurnChange {
    /// The turn's cell after the change, from what it is.
    pub fn apply(&self, cell: u64) -> u64 {
        match self {
            Self::Start { scheduler: Scheduler::WeightedRoundRobin, shares } => {
                wrr::Turn::default().after_edit(*shares).cell()
            }
            Self::Start { .. } => 0,
            Self::List { scheduler, from, to, shares } => match scheduler {
                Scheduler::RoundRobin => rr::Turn::from_cell(cell).after_edit(from, to).cell(),
                Scheduler::WeightedRoundRobin => {
                    shares.iter().copied().fold(wrr::Turn::from_cell(cell), wrr::Turn::after_edit).cell()
                }
                _ => cell,
            },
        }
    }
}

impl Write {
    /// Does it.
    pub fn carry_out(&self, tables: &mut Tables, seed: Seed) -> Result<(), TableError> {
        match self {
            Self::FreshServer { id } => tables.begin_server(*id)?,
            Self::FreshService { index, waiting } => {
                for id in waiting {
                    tables.zero_server(*id)?;
                }
                tables.zero_service(*index, waiting.iter().copied())?;
            }
            Self::Server { id, row } => put(tables.SERVERS.row(id.row()), &row.cells()),
            Self::ForgetServer { id, service } => {
                if let Some(index) = service {
                    tables.take_in(*index, *id)?;
                }
                if let Some(row) = tables.SERVERS.row(id.row()) {
                    row.store(SERVICE_CELL, 0);
                }
            }
            Self::Members { list, members, table, slots } => {
                for (row, cell) in run_cells(*list, members, table, slots) {
                    put(tables.MEMBERS.row(row), &[cell]);
                }
            }
            Self::Service { index, row } => put_service(tables.SERVICES.row(*index), row),
            Self::Turn { index, change } => {
                if let Some(row) = tables.TURNS.row(*index) {
                    // Packets take turns at the same time; theirs count too.
                    while let seen = row.load(0)
                        && !row.replace(0, seen, change.apply(seen))
                    {}
                }
            }
            Self::Thresholds { id, thresholds } => {
                if let Some(row) = tables.LOADS.row(id.row()) {
                    LoadRow(row).set_thresholds(*thresholds);
                }
            }
            Self::MarkRow { index, row } => put(tables.MARK_RULES.row(*index), &row.cells()),
            Self::MarkRun { destination, run } => tables.put_mark_run(*destination, *run)?,
            Self::RemoveMarkRun { destination } => tables.remove_mark_run(*destination)?,
            Self::ServiceId { key, index } => tables.put_service_id(*key, *index)?,
            Self::RemoveServiceId { key } => tables.remove_service_id(*key)?,
            Self::ClearHint { place } => tables.put_hint(*place, Hint::NONE),
            Self::Address { set, address } => tables.put_address(*set, *address, seed)?,
            Self::RemoveAddress { set, address } => tables.remove_address(*set, *address, seed),
            Self::ClearAddress { set, bucket, address } => tables.clear_address(*set, *bucket, *address),
        }
        Ok(())
    }
}

/// The rows of a list and what stands in them.
pub(super) fn run_cells(
    list: List,
    members: &[Member],
    table: &[u16],
    slots: &[u16],
) -> impl Iterator<Item = (u32, u64)> {
    let members = (list.start..).zip(members.iter().map(|member| member.cell()));
    let table = (list.table_row(0)..).zip(table.chunks(4).map(List::slots_cell));
    let slots = (list.slot_row(0)..).zip(slots.chunks(4).map(List::slots_cell));
    members.chain(table).chain(slots)
}

fn put<C: Cells>(row: Option<C>, cells: &[u64]) {
    if let Some(row) = row {
        for (at, cell) in cells.iter().enumerate() {
            row.store(at, *cell);
        }
    }
}

/// The list is the cell that makes the rest count, so it is written last.
fn put_service<C: Cells>(row: Option<C>, service: &ServiceRow) {
    if let Some(row) = row {
        for (at, cell) in service.cells().iter().enumerate().rev() {
            row.store(at, *cell);
        }
    }
}
