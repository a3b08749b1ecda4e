//! A virtual service as the packet path sees it: its key, its row, its list of servers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cells::Cells;
use crate::schedule::Scheduler;
use crate::server::ServerId;

/// What a packet that opens a connection must carry to be scheduled: the key of the service map.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct ServiceKey {
    /// VIP, as in a packet.
    pub vip: [u8; 4],
    /// Port, as in a packet.
    pub port: [u8; 2],
    /// IANA number.
    pub protocol: u8,
    /// Always zero.
    pub pad: u8,
}

/// A row of the service table (64 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct ServiceRow {
    /// Where its servers stand in the member table. In one cell: a list is replaced as a whole.
    pub list: List,
    /// For wrr.
    pub shares: Shares,
    /// [`Scheduler`], raw.
    pub scheduler: u8,
    /// Always zero.
    pub pad: [u8; 7],
    /// Always zero: the rest of the cache line.
    pub rest: [u64; 5],
}

/// Cells of a [`ServiceRow`].
pub const SERVICE_CELLS: usize = size_of::<ServiceRow>() / 8;
/// Cells of a row of the turn table, where a scheduler keeps its place; a cache line, for every CPU writes it.
pub const TURN_CELLS: usize = 8;

/// A run of rows in the member table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct List {
    /// The first row.
    pub start: u32,
    /// How many.
    pub length: u32,
}

/// What wrr derives from the weights of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Shares {
    /// Greatest common divisor of all weights above 0; 1 if there is none.
    pub step: u32,
    /// Greatest weight less `step - 1`; 0 if all weights are 0.
    pub top: u32,
}

impl ServiceRow {
    /// The row as cells.
    pub fn cells(self) -> [u64; SERVICE_CELLS] {
        zerocopy::transmute!(self)
    }

    /// The row of cells.
    pub fn from_cells(cells: [u64; SERVICE_CELLS]) -> Self {
        zerocopy::transmute!(cells)
    }
}

/// How a row is read in the packet path.
#[derive(Clone, Copy)]
pub struct Service<C>(pub C);

impl<C: Cells> Service<C> {
    /// Its servers.
    #[inline(always)]
    pub fn list(self) -> List {
        zerocopy::transmute!(self.0.load(0))
    }

    /// For wrr.
    #[inline(always)]
    pub fn shares(self) -> Shares {
        zerocopy::transmute!(self.0.load(1))
    }

    /// Its scheduler; `None` for a number this program does not know.
    #[inline(always)]
    pub fn scheduler(self) -> Option<Scheduler> {
        let [scheduler, ..]: [u8; 8] = zerocopy::transmute!(self.0.load(2));
        Scheduler::from_raw(scheduler)
    }
}

/// One server in a service's list (8 bytes, one cell).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Member {
    /// [`ServerId`].
    server: u32,
    /// Its weight (31 bits), and above it whether it is to be avoided.
    weight: u32,
}

impl Member {
    const AVOIDED: u32 = 1 << 31;

    /// A server with a weight of at most `i32::MAX`.
    pub const fn new(server: ServerId, weight: u32) -> Self {
        Self { server: server.0, weight: weight & !Self::AVOIDED }
    }

    /// The same one, but no scheduler picks it: its next hop is unknown, and others' are known.
    #[must_use]
    pub const fn avoided(self) -> Self {
        Self { weight: self.weight | Self::AVOIDED, ..self }
    }

    /// Which server.
    #[inline(always)]
    pub const fn server(self) -> ServerId {
        ServerId(self.server)
    }

    /// Its weight as configured.
    #[inline(always)]
    pub const fn weight(self) -> u32 {
        self.weight & !Self::AVOIDED
    }

    /// Its weight if a scheduler may pick it, else 0.
    #[inline(always)]
    pub const fn usable_weight(self) -> u32 {
        if self.weight & Self::AVOIDED == 0 { self.weight } else { 0 }
    }

    /// The row as a cell.
    #[inline(always)]
    pub fn cell(self) -> u64 {
        zerocopy::transmute!(self)
    }

    /// The row of a cell.
    #[inline(always)]
    pub fn from_cell(cell: u64) -> Self {
        zerocopy::transmute!(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;

    #[test]
    fn the_packet_path_reads_the_row_that_was_written() {
        let row = ServiceRow {
            list: List { start: 17, length: 3 },
            shares: Shares { step: 2, top: 5 },
            scheduler: Scheduler::WeightedRoundRobin.raw(),
            ..ServiceRow::default()
        };
        assert_eq!(size_of::<ServiceRow>(), 64);
        let cells = row.cells().map(AtomicU64::new);
        let service = Service(&cells[..]);
        assert_eq!((service.list(), service.shares()), (row.list, row.shares));
        assert_eq!(service.scheduler(), Some(Scheduler::WeightedRoundRobin));
        assert_eq!(ServiceRow::from_cells(row.cells()), row);
    }

    #[test]
    fn an_avoided_member_keeps_its_weight_but_cannot_be_used() {
        let member = Member::new(ServerId(9), 5).avoided();
        assert_eq!((member.server(), member.weight(), member.usable_weight()), (ServerId(9), 5, 0));
        assert_eq!(Member::from_cell(member.cell()), member);
        assert_eq!(Member::new(ServerId(9), 5).usable_weight(), 5);
    }
}
