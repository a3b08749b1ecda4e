//! What all services together have counted. Servers come and go, and their rows begin anew; the sum goes on.

use lbxdp_common::counters::ServerCounters;
use lbxdp_common::server::ServerId;

use super::accounts::{Estimate, shown};
use crate::snapshot::{Counters, Totals};
use crate::tables::{TableError, Tables};

/// The sum, kept from the daemon's start on: with what the tables held then.
#[derive(Default)]
pub(super) struct Total {
    /// What was counted in rows that have begun anew, by CPU.
    gone: Vec<ServerCounters>,
    /// All rows in use are before this one.
    end: u32,
    /// Where what is shown begins.
    base: ServerCounters,
    estimate: Option<Estimate>,
}

impl Total {
    /// These servers are there.
    pub(super) fn know(&mut self, servers: impl IntoIterator<Item = ServerId>) {
        self.end = servers.into_iter().map(|server| server.row() + 1).fold(self.end, u32::max);
    }

    /// The row of a server is about to begin anew.
    pub(super) fn begin(&mut self, tables: &Tables, server: ServerId) -> Result<(), TableError> {
        if server.row() < self.end {
            let counted = tables.counted_by_cpu(server.row(), server.row() + 1)?;
            self.gone = plus(&counted, &self.gone);
        }
        self.know([server]);
        Ok(())
    }

    /// Shows 0 from now on.
    pub(super) fn zero(&mut self, tables: &Tables) -> Result<(), TableError> {
        self.base = sum(&self.cpus(tables)?);
        self.estimate = None;
        Ok(())
    }

    /// One step of the rates.
    pub(super) fn step(&mut self, tables: &Tables) -> Result<(), TableError> {
        let now = self.counters(&self.cpus(tables)?);
        self.estimate.get_or_insert_with(|| Estimate::from(now)).step(now);
        Ok(())
    }

    pub(super) fn totals(&self, tables: &Tables) -> Result<Totals, TableError> {
        Ok(self.totals_of(&tables.counted_by_cpu(0, self.end)?))
    }

    /// The same, of what was read already: what each CPU has counted in the rows before [`Total::end`].
    pub(super) fn totals_of(&self, now: &[ServerCounters]) -> Totals {
        let cpus = plus(now, &self.gone);
        let rates = self.estimate.as_ref().map_or_else(Default::default, Estimate::rates);
        Totals { counters: self.counters(&cpus), rates, cpus: cpus.into_iter().map(shown).collect() }
    }

    /// All rows in use are before this one.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    fn cpus(&self, tables: &Tables) -> Result<Vec<ServerCounters>, TableError> {
        Ok(plus(&tables.counted_by_cpu(0, self.end)?, &self.gone))
    }

    fn counters(&self, cpus: &[ServerCounters]) -> Counters {
        shown(sum(cpus).minus(self.base))
    }
}

fn sum(cpus: &[ServerCounters]) -> ServerCounters {
    cpus.iter().fold(ServerCounters::default(), |sum, cpu| sum.plus(*cpu))
}

/// The second one may know fewer CPUs.
fn plus(now: &[ServerCounters], gone: &[ServerCounters]) -> Vec<ServerCounters> {
    let gone = gone.iter().copied().chain(std::iter::repeat(ServerCounters::default()));
    now.iter().zip(gone).map(|(now, gone)| now.plus(gone)).collect()
}
