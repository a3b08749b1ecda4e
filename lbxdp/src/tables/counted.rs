//! Counters: what the packet path has counted, and where the counters that are shown begin.

use aya::maps::PerCpuValues;
use lbxdp_common::counters::{Base, ServerCounters};
use lbxdp_common::server::ServerId;

use super::row::Row;
use super::{Mapped, TableError, Tables, failed};

impl Tables {
    /// What was counted for a server on all CPUs.
    pub fn counters(&self, server: ServerId) -> Result<ServerCounters, TableError> {
        let rows =
            self.COUNTERS.get(&server.row(), 0).map_err(|source| failed("read", "counters", source))?;
        Ok(rows.iter().fold(ServerCounters::default(), |sum, row| sum.plus(row.0)))
    }

    /// What a server shows.
    pub fn server_total(&self, server: ServerId) -> Result<ServerCounters, TableError> {
        let base = base(self.SERVER_BASES, server.row()).map_or_else(Default::default, Base::counters);
        Ok(self.counters(server)?.minus(base))
    }

    /// What a service shows, from the servers whose counters are its own: those it has, and those it had that wait.
    pub fn service_total(
        &self,
        index: u32,
        servers: impl IntoIterator<Item = ServerId>,
    ) -> Result<ServerCounters, TableError> {
        let base = base(self.SERVICE_BASES, index).map_or_else(Default::default, Base::counters);
        Ok(self.sum(servers)?.plus(base))
    }

    /// A server's counters begin at 0; only before its row is used.
    pub fn begin_server(&mut self, server: ServerId) -> Result<(), TableError> {
        let cpus = aya::util::nr_cpus().map_or(1, |cpus| cpus);
        let zeros = PerCpuValues::try_from(vec![Row(ServerCounters::default()); cpus])
            .map_err(|source| failed("size", "counters", source.into()))?;
        self.COUNTERS.set(server.row(), zeros, 0).map_err(|source| failed("write", "counters", source))?;
        if let Some(base) = base(self.SERVER_BASES, server.row()) {
            base.set(ServerCounters::default(), ServerId::NONE);
        }
        Ok(())
    }

    /// A server shows 0 from now on.
    pub fn zero_server(&self, server: ServerId) -> Result<(), TableError> {
        if let Some(base) = base(self.SERVER_BASES, server.row()) {
            base.set(self.counters(server)?, ServerId::NONE);
        }
        Ok(())
    }

    /// A service shows 0 from now on, with these servers' counters for its own.
    pub fn zero_service(
        &self,
        index: u32,
        servers: impl IntoIterator<Item = ServerId>,
    ) -> Result<(), TableError> {
        if let Some(base) = base(self.SERVICE_BASES, index) {
            base.set(ServerCounters::default().minus(self.sum(servers)?), base.taken_in());
        }
        Ok(())
    }

    /// A service takes in what was counted for a server that will never count again.
    pub fn take_in(&self, index: u32, server: ServerId) -> Result<(), TableError> {
        if let Some(base) = base(self.SERVICE_BASES, index)
            && base.taken_in() != server
        {
            base.set(base.counters().plus(self.counters(server)?), server);
        }
        Ok(())
    }

    /// The server whose counters a service has taken in last.
    pub fn last_taken_in(&self, index: u32) -> ServerId {
        base(self.SERVICE_BASES, index).map_or(ServerId::NONE, Base::taken_in)
    }

    fn sum(&self, servers: impl IntoIterator<Item = ServerId>) -> Result<ServerCounters, TableError> {
        servers
            .into_iter()
            .try_fold(ServerCounters::default(), |sum, server| Ok(sum.plus(self.counters(server)?)))
    }
}

fn base(bases: Mapped, row: u32) -> Option<Base<&'static [std::sync::atomic::AtomicU64]>> {
    bases.row(row).map(Base)
}
