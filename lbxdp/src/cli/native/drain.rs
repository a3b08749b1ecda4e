//! `lbxdp drain`: a server's weight becomes 0, and its connections are waited for.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::name::{ServerName, ServiceName};
use super::snapshot;
use crate::cli::client::{ClientError, Director};
use crate::command::{Command, CommandError};
use crate::message::{Request, Response};
use crate::snapshot::{ServerSnapshot, Snapshot};
use crate::state::Server;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Why a server is not drained.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    #[error(transparent)]
    Director(#[from] ClientError),
    #[error("there is no service {0} (lbxdp service list shows those that are)")]
    NoSuchService(ServiceName),
    #[error("{service} has no server {server} (lbxdp server list {service} shows those it has)")]
    NoSuchServer { service: ServiceName, server: ServerName },
    #[error("{service} has {server} with several ports: name one, as {example}")]
    SeveralPorts { service: ServiceName, server: ServerName, example: ServerName },
    #[error(transparent)]
    Refused(#[from] CommandError),
    #[error("the server was deleted or given weight again meanwhile")]
    ChangedByOthers,
    #[error("{left} connections and {templates} templates are left after {} s; the weight stays 0", waited.as_secs())]
    TimedOut { left: u64, templates: u32, waited: Duration },
}

/// Drains a server; what goes on is told on standard error.
pub(super) fn run(
    director: &mut impl Director,
    service: ServiceName,
    server: ServerName,
    timeout: Option<Duration>,
) -> Result<(), DrainError> {
    let found = find(&snapshot(director)?, service, server)?.server;
    let drained = Server { weight: 0, ..found };
    if found.weight != 0 {
        change(director, Command::EditServer { service: service.0, server: drained })?;
    }
    let name = ServerName { address: found.address, port: Some(found.port) };
    let mut progress = Progress::begin();
    eprintln!("{service} {name}: the weight was {}, is 0", found.weight);
    let begun = Instant::now();
    loop {
        let now = snapshot(director)?;
        let Ok(current) = find(&now, service, name) else { return Err(DrainError::ChangedByOthers) };
        if current.server.weight != 0 {
            return Err(DrainError::ChangedByOthers);
        }
        let left = u64::from(current.active) + u64::from(current.inactive);
        // A persistent client's template sends new connections here even so, as in IPVS, and each of them renews it.
        let templates = current.persistent;
        let waited = begun.elapsed();
        if left == 0 && templates == 0 {
            progress.end(&format!("{service} {name}: drained after {} s", waited.as_secs()));
            return Ok(());
        }
        if timeout.is_some_and(|timeout| waited >= timeout) {
            progress.end("");
            return Err(DrainError::TimedOut { left, templates, waited });
        }
        progress.count(left + u64::from(templates), current);
        let left_to_wait = timeout.map_or(LOOK_EVERY, |timeout| timeout.saturating_sub(waited));
        std::thread::sleep(LOOK_EVERY.min(left_to_wait));
    }
}

/// The one server that is meant.
fn find(
    snapshot: &Snapshot,
    service: ServiceName,
    server: ServerName,
) -> Result<&ServerSnapshot, DrainError> {
    let known = snapshot.services.iter().find(|known| known.key == service.0);
    let known = known.ok_or(DrainError::NoSuchService(service))?;
    let mut fitting = known.servers.iter().filter(|known| {
        known.server.address == server.address && server.port.is_none_or(|port| known.server.port == port)
    });
    let found = fitting.next().ok_or(DrainError::NoSuchServer { service, server })?;
    if fitting.next().is_some() {
        let example = ServerName { port: Some(found.server.port), ..server };
        return Err(DrainError::SeveralPorts { service, server, example });
    }
    Ok(found)
}

fn change(director: &mut impl Director, command: Command) -> Result<(), DrainError> {
    match director.ask(&Request::Change(command))? {
        Response::Done => Ok(()),
        Response::Refused(refusal) => Err(refusal.into()),
        other => Err(ClientError::unexpected(&other).into()),
    }
}

/// What is told while it goes on: on a terminal one line that changes, elsewhere a line for each change, at most one in
/// [`SAY_EVERY`].
struct Progress {
    is_terminal: bool,
    last: Option<(u64, Instant)>,
}

const SAY_EVERY: Duration = Duration::from_secs(5);

impl Progress {
    fn begin() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), last: None }
    }

    fn count(&mut self, left: u64, server: &ServerSnapshot) {
        let (is_other, is_time) = self.last.map_or((true, true), |(last, when)| {
            (last != left, self.is_terminal || when.elapsed() >= SAY_EVERY)
        });
        if !(is_other && is_time) {
            return;
        }
        self.last = Some((left, Instant::now()));
        let ServerSnapshot { active, inactive, persistent, .. } = server;
        let connections = u64::from(*active) + u64::from(*inactive);
        let words = format!("{connections} connections ({active} active) and {persistent} templates left");
        if self.is_terminal {
            eprint!("\r\x1b[K{words}");
            // Where nobody looks nothing is missed.
            let _ = io::stderr().flush();
        } else {
            eprintln!("{words}");
        }
    }

    fn end(&mut self, words: &str) {
        if self.is_terminal && self.last.is_some() {
            eprint!("\r\x1b[K");
        }
        if !words.is_empty() {
            eprintln!("{words}");
        }
    }
}
