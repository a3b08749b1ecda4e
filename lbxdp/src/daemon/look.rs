//! A look at everything, for metrics, the status page and `lbxdp top`.
//!
//! Reading the counters of all servers is what takes time, and needs no director. So whoever looks reads them beforehand by a
//! view of its own, and the director only says what they mean. If rows have begun anew since they were read, it reads them
//! itself.

use tokio::sync::{mpsc, oneshot};

use super::director::Director;
use super::load::{self, chain};
use crate::snapshot::{Moment, Overview};
use crate::tables::pins::Instance;
use crate::tables::{Counted, TableError, Tables};

/// A request for a look, on its way to the director.
pub(super) struct Look {
    /// What was read beforehand.
    read: Option<(Mark, Counted)>,
    answer: oneshot::Sender<Result<Seen, TableError>>,
}

/// Until when rows that were read may be used, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    epoch: u64,
    end: u32,
}

/// What the director knows.
struct Seen {
    mark: Mark,
    moment: Moment,
}

/// Why there is nothing to be seen.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error("the daemon is stopping")]
    Stopping,
    #[error(transparent)]
    Table(#[from] TableError),
}

impl Director {
    /// Answers a look.
    pub(super) fn show(&self, look: Look) {
        // Whoever does not wait any more needs no answer.
        let _ = look.answer.send(self.seen(look.read));
    }

    fn seen(&self, read: Option<(Mark, Counted)>) -> Result<Seen, TableError> {
        let mark = Mark { epoch: self.rows_epoch, end: self.total.end() };
        let counted = match read {
            Some((then, counted)) if then == mark => counted,
            _ => self.tables.counted(mark.end)?,
        };
        Ok(Seen { mark, moment: self.moment_of(&counted)? })
    }

    /// Everything, with counters that are read now.
    pub(super) fn moment(&self) -> Result<Moment, TableError> {
        self.moment_of(&self.tables.counted(self.total.end())?)
    }

    fn moment_of(&self, counted: &Counted) -> Result<Moment, TableError> {
        Ok(Moment {
            version: env!("CARGO_PKG_VERSION").into(),
            services: self.snapshot_of(&counted.rows),
            totals: self.total.totals_of(&counted.cpus),
            status: self.status()?,
            started: self.started,
            configuration: self.changes,
        })
    }
}

/// Somebody who looks at a director from another thread.
pub(super) struct Observer {
    instance: Instance,
    tables: Tables,
    looks: mpsc::Sender<Look>,
    mark: Option<Mark>,
}

impl Observer {
    /// One with a view of the tables of its own.
    pub(super) fn new(instance: &Instance, looks: mpsc::Sender<Look>) -> Result<Self, TableError> {
        let tables = Tables::open(&instance.map_pins())?;
        Ok(Self { instance: instance.clone(), tables, looks, mark: None })
    }

    /// Looks at everything.
    pub(super) async fn look(&mut self) -> Result<Overview, LookError> {
        let read = match self.mark {
            Some(mark) => Some((mark, self.tables.counted(mark.end)?)),
            None => None,
        };
        let (answer, answered) = oneshot::channel();
        self.looks.send(Look { read, answer }).await.map_err(|_| LookError::Stopping)?;
        let Seen { mark, moment } = answered.await.map_err(|_| LookError::Stopping)??;
        self.mark = Some(mark);
        let Moment { services, totals, status, started, configuration, .. } = moment;
        let programs = status.interfaces.iter().filter_map(|interface| {
            match load::pinned_program(&self.instance, &interface.name) {
                Ok(program) => Some((interface.name.clone(), program)),
                Err(error) => {
                    tracing::debug!(
                        interface = interface.name,
                        error = chain(&error),
                        "no program is pinned"
                    );
                    None
                }
            }
        });
        Ok(Overview {
            instance: self.instance.to_string(),
            programs: programs.collect(),
            services,
            totals,
            status,
            started,
            configuration,
        })
    }
}
