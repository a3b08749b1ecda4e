//! What ipvsadm cannot say: listings as JSON or as tables, and draining a server.

mod connections;
pub(crate) mod document;
mod drain;
pub(crate) mod name;
mod table;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::time::Duration;

pub use drain::DrainError;
pub use name::{ServerName, ServiceName};

use super::client::{Client, ClientError, Director};
use super::paint::Paint;
use crate::message::{Request, Response};
use crate::snapshot::Snapshot;
use crate::tables::pins::Instance;

/// How something is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people: may change at any time.
    Text,
    /// For programs: `docs/json.md` says what it is, and what may change.
    Json,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error(transparent)]
    Director(#[from] ClientError),
    #[error("there is no service {0} (lbxdp service list shows those that are)")]
    NoSuchService(ServiceName),
}

/// Prints all services.
pub fn services(instance: &Instance, form: Form) -> Result<(), ListError> {
    let snapshot = snapshot(&mut Client::new(instance.clone()))?;
    let text = match form {
        Form::Json => document::services(instance, &snapshot),
        Form::Text => table::services(&snapshot, Paint::of_output()),
    };
    Ok(write(&text)?)
}

/// Prints all servers, or those of one service.
pub fn servers(instance: &Instance, service: Option<ServiceName>, form: Form) -> Result<(), ListError> {
    let mut snapshot = snapshot(&mut Client::new(instance.clone()))?;
    if let Some(name) = service {
        snapshot.services.retain(|service| service.key == name.0);
        if snapshot.services.is_empty() {
            return Err(ListError::NoSuchService(name));
        }
    }
    let text = match form {
        Form::Json => document::servers(instance, &snapshot),
        Form::Text => table::servers(&snapshot, Paint::of_output()),
    };
    Ok(write(&text)?)
}

/// Prints all connections as they come: there may be millions.
pub fn connections(instance: &Instance, form: Form) -> Result<(), ListError> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    let mut client = Client::new(instance.clone());
    match form {
        Form::Json => connections::json(instance, &mut client, &mut output)?,
        Form::Text => connections::text(&mut client, &mut output, Paint::of_output())?,
    }
    output.flush().or_else(unless_nobody_reads).map_err(ClientError::Output)?;
    Ok(())
}

/// Takes a server's weight away and waits for its connections' ends.
pub fn drain(
    instance: &Instance,
    service: ServiceName,
    server: ServerName,
    timeout: Option<Duration>,
) -> Result<(), DrainError> {
    drain::run(&mut Client::new(instance.clone()), service, server, timeout)
}

fn snapshot(director: &mut impl Director) -> Result<Snapshot, ClientError> {
    match director.ask(&Request::Services)? {
        Response::Services(snapshot) => Ok(snapshot),
        other => Err(ClientError::unexpected(&other)),
    }
}

fn write(text: &str) -> Result<(), ClientError> {
    io::stdout().write_all(text.as_bytes()).or_else(unless_nobody_reads).map_err(ClientError::Output)
}

/// Where nobody reads any more, there is nothing to complain of.
pub(super) fn unless_nobody_reads(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}
