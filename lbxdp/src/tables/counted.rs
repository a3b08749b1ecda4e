//! Counters: what the packet path has counted, and where the counters that are shown begin.

use lbxdp_common::counters::{Base, ServerCounters};
use lbxdp_common::server::ServerId;

use super::{Mapped, TableError, Tables, failed};

/// What was counted for all servers on all CPUs, as it was when it was read.
#[derive(Debug, Default)]
pub struct CounterRows(Vec<ServerCounters>);

impl CounterRows {
    /// What was counted for a server; nothing if its row was not read.
    pub fn of(&self, server: ServerId) -> ServerCounters {
        self.0.get(server.row() as usize).copied().unwrap_or_default()
    }

    fn sum(&self, servers: impl IntoIterator<Item = ServerId>) -> ServerCounters {
        servers.into_iter().fold(ServerCounters::default(), |sum, server| sum.plus(self.of(server)))
    }
}

/// The same, and for each CPU what was counted for all servers.
#[derive(Debug, Default)]
pub struct Counted {
    pub rows: CounterRows,
    pub cpus: Vec<ServerCounters>,
}

impl Tables {
    /// Reads what was counted in the rows before `end`, all of them in one go.
    pub fn counted(&self, end: u32) -> Result<Counted, TableError> {
        let mut rows = Vec::with_capacity(end as usize);
        let mut cpus = vec![ServerCounters::default(); self.COUNTERS.cpus()];
        let read = self.COUNTERS.each(0, end, |row| {
            let mut all = ServerCounters::default();
            for (cpu, counted) in cpus.iter_mut().zip(row) {
                *cpu = cpu.plus(counted);
                all = all.plus(counted);
            }
            rows.push(all);
        });
        read.map_err(|source| failed("read", "counters", source))?;
        Ok(Counted { rows: CounterRows(rows), cpus })
    }

    /// What was counted for a server on all CPUs.
    pub fn counters(&self, server: ServerId) -> Result<ServerCounters, TableError> {
        let rows = self.COUNTERS.row(server.row()).map_err(|source| failed("read", "counters", source))?;
        Ok(sum(rows))
    }

    /// What was counted for these servers, and for those of rows before theirs.
    pub fn counter_rows(
        &self,
        servers: impl IntoIterator<Item = ServerId>,
    ) -> Result<CounterRows, TableError> {
        let end = servers.into_iter().map(|server| server.row() + 1).max().unwrap_or(0);
        let mut rows = Vec::with_capacity(end as usize);
        let read = self.COUNTERS.each(0, end, |row| rows.push(sum(row)));
        read.map_err(|source| failed("read", "counters", source))?;
        Ok(CounterRows(rows))
    }

    /// What each CPU has counted for the servers of the rows from `first` on, before `end`.
    pub fn counted_by_cpu(&self, first: u32, end: u32) -> Result<Vec<ServerCounters>, TableError> {
        let mut cpus = vec![ServerCounters::default(); self.COUNTERS.cpus()];
        if first < end {
            let read = self.COUNTERS.each(first, end, |row| {
                for (cpu, counted) in cpus.iter_mut().zip(row) {
                    *cpu = cpu.plus(counted);
                }
            });
            read.map_err(|source| failed("read", "counters", source))?;
        }
        Ok(cpus)
    }

    /// What a server shows.
    pub fn server_total(&self, rows: &CounterRows, server: ServerId) -> ServerCounters {
        let base = base(self.SERVER_BASES, server.row()).map_or_else(Default::default, Base::counters);
        rows.of(server).minus(base)
    }

    /// What a service shows, from the servers whose counters are its own: those it has, and those it had that wait.
    pub fn service_total(
        &self,
        rows: &CounterRows,
        index: u32,
        servers: impl IntoIterator<Item = ServerId>,
    ) -> ServerCounters {
        let base = base(self.SERVICE_BASES, index).map_or_else(Default::default, Base::counters);
        rows.sum(servers).plus(base)
    }

    /// A server's counters begin at 0; only before its row is used.
    pub fn begin_server(&mut self, server: ServerId) -> Result<(), TableError> {
        self.COUNTERS.clear(server.row()).map_err(|source| failed("write", "counters", source))?;
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

/// What all CPUs have counted.
fn sum(row: impl IntoIterator<Item = ServerCounters>) -> ServerCounters {
    row.into_iter().fold(ServerCounters::default(), ServerCounters::plus)
}

fn base(bases: Mapped, row: u32) -> Option<Base<&'static [std::sync::atomic::AtomicU64]>> {
    bases.row(row).map(Base)
}
