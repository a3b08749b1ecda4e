//! What CLI and daemon say to each other over the unix socket: one JSON object a line.
//!
//! A client sends requests one after the other on one connection. Each is answered by one line, but `Request::Watch`, and
//! `Request::Connections`: by as many `Response::Connections` lines as are needed, the last one with a count of 0. Behind
//! each of these lines follow as many records of [`crate::record`] as it counts.

use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError};
use crate::snapshot::{Moment, Snapshot, Status, Totals};
use crate::state::{MarkRule, SyncDaemons, Timeouts};
use crate::sysctl::Sysctls;
use crate::watch::{NotShown, WatchRequest};

/// The most records behind one line.
pub const MOST_RECORDS: usize = 4096;

/// The most commands of one [`Request::Changes`]: the daemon has time for nobody else meanwhile.
pub const MOST_CHANGES: usize = 256;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Change the configuration: one transaction.
    Change(Command),
    /// Changes one after the other, each a transaction, at most [`MOST_CHANGES`]. Those that are refused are passed over, as
    /// `-R` does; whatever else fails ends it.
    Changes(Vec<Command>),
    /// All services.
    Services,
    /// What all services together have counted.
    Totals,
    /// All connections, in table order.
    Connections,
    /// The three timeouts.
    Timeouts,
    /// The daemons of synchronization.
    Daemons,
    /// The rules for marks.
    Marks,
    /// The values of all settings.
    Settings,
    /// What the director itself is doing.
    Status,
    /// Services, totals and status, of one moment.
    Moment,
    /// Packets as they come, until the client closes its side. Answered by [`Response::Watching`], then as many
    /// [`Response::Packets`] as there are, and in the end [`Response::Watched`].
    Watch(WatchRequest),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Response {
    Done,
    Refused(CommandError),
    /// The answers to `Changes`, in order; those behind one that failed are missing.
    Changes(Vec<Response>),
    Services(Snapshot),
    Totals(Totals),
    /// So many records follow this line; at most [`MOST_RECORDS`].
    Connections {
        count: u32,
    },
    Timeouts(Timeouts),
    Daemons(SyncDaemons),
    /// All rules, the most specific first.
    Marks(Vec<MarkRule>),
    Settings(Sysctls),
    Status(Box<Status>),
    Moment(Box<Moment>),
    /// The watch begins, on these interfaces.
    Watching {
        interfaces: Vec<String>,
    },
    /// So many packets ([`Sighting`](crate::watch::Sighting)) follow this line.
    Packets {
        count: u32,
    },
    /// The watch is over.
    Watched(NotShown),
    /// The daemon does not listen to who asks.
    Forbidden,
    /// The daemon could not carry it out: the chain of causes in one line.
    Failed(String),
}
