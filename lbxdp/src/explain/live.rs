//! The tables of an instance that is loaded, looked at and never written, and the kernel's own answers.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};

use lbxdp_common::Ticks;
use lbxdp_common::address::Address;
use lbxdp_common::client_hop::{ClientHop, WayOut};
use lbxdp_common::fragment::FragmentKey;
use lbxdp_common::mark::MarkRun;
use lbxdp_common::schedule::CacheKey;
use lbxdp_common::service::ServiceKey;

use super::rehearsal::{Source, Still};
use super::{ExplainError, helper};
use crate::tables::{CellTable, LookTables, TableError};

/// What the kernel has.
pub struct Live<'a> {
    tables: &'a LookTables,
    /// One moment for all that is asked.
    now: Ticks,
    /// What could not be read: an explanation that does not know it would be wrong.
    failure: RefCell<Option<ExplainError>>,
    drawn: Cell<u64>,
}

impl<'a> Live<'a> {
    /// These tables, as of now.
    pub fn new(tables: &'a LookTables) -> Result<Self, ExplainError> {
        let now = helper::now().map_err(ExplainError::Clock)?;
        Ok(Self { tables, now, failure: RefCell::default(), drawn: Cell::default() })
    }

    /// What could not be read, if there was something.
    pub fn failure(&self) -> Option<ExplainError> {
        self.failure.borrow_mut().take()
    }

    fn read<T>(&self, answer: Result<Option<T>, TableError>) -> Option<T> {
        answer.unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(ExplainError::Table(error));
            None
        })
    }
}

impl Source for &Live<'_> {
    fn row(&self, table: CellTable, index: u32) -> Option<Vec<u64>> {
        self.read(self.tables.row(table, index))
    }

    fn service(&self, key: ServiceKey) -> Option<u32> {
        self.read(self.tables.service(key))
    }

    fn mark_run<A: Address>(&self, destination: A) -> Option<MarkRun> {
        self.read(self.tables.mark_run(destination))
    }

    fn cached(&self, key: CacheKey) -> Option<Vec<u64>> {
        self.read(self.tables.cached(key)).map(Into::into)
    }

    fn fragment(&self, key: FragmentKey) -> Option<Vec<u64>> {
        self.read(self.tables.fragment(key)).map(Into::into)
    }

    fn vlan(&self, ifindex: u32) -> Option<[u64; 2]> {
        self.read(self.tables.vlan(ifindex))
    }

    fn port(&self, slot: u16) -> Option<u32> {
        self.tables.port(slot)
    }

    fn client_hop(&self, index: u32) -> Option<Vec<u64>> {
        let hops = self.read(self.tables.client_hops(index).map(Some))?;
        let latest = hops.iter().max_by_key(|cells| ClientHop(Still(*cells)).until().since(self.now));
        latest.map(|cells| cells.to_vec())
    }

    fn now(&self) -> Ticks {
        self.now
    }

    fn random(&self) -> u32 {
        self.drawn.set(self.drawn.get().wrapping_add(1));
        let drawn = RandomState::new().hash_one(self.drawn.get());
        u32::try_from(drawn >> 32).unwrap_or(0)
    }

    fn route<A: Address>(&self, ifindex: u32, from: A, to: A) -> Result<(WayOut, u32), u32> {
        let answer = helper::route(ifindex, from, to).map_err(ExplainError::Route);
        answer.unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            Err(0)
        })
    }
}
