//! The connection table, piece by piece, in constant memory.

use std::io::Write;

use super::document;
use super::unless_nobody_reads;
use crate::cli::client::{ClientError, Director};
use crate::cli::paint::{Ink, Paint};
use crate::record::Connection;
use crate::tables::pins::Instance;

/// One document; each connection stands in a line of its own. It is closed only if all have come.
pub(super) fn json(
    instance: &Instance,
    director: &mut impl Director,
    output: &mut impl Write,
) -> Result<(), ClientError> {
    let mut before =
        format!("{{\n\"version\": {},\n\"instance\": \"{instance}\",\n\"connections\": [", document::VERSION);
    let done = director.connections(&mut |piece| {
        for connection in piece {
            let row = document::connection(connection);
            write!(output, "{before}\n{row}")?;
            ",".clone_into(&mut before);
        }
        Ok(())
    });
    let done = done.and_then(|()| {
        let opening = if before == "," { "" } else { &before };
        writeln!(output, "{opening}\n]\n}}").map_err(ClientError::Output)
    });
    unless_it_was_closed(done)
}

/// A line each.
pub(super) fn text(
    director: &mut impl Director,
    output: &mut impl Write,
    paint: Paint,
) -> Result<(), ClientError> {
    let title = format!(
        "{:<8}  {:<11}  {:>8}  {:<21}  {:<21}  SERVER",
        "PROTOCOL", "STATE", "EXPIRES", "CLIENT", "VIRTUAL"
    );
    let mut title = paint.ink(Ink::Heading, &title) + "\n";
    let done = director.connections(&mut |piece| {
        output.write_all(std::mem::take(&mut title).as_bytes())?;
        piece.iter().try_for_each(|connection| output.write_all(line(connection).as_bytes()))
    });
    let done = done.and_then(|()| output.write_all(title.as_bytes()).map_err(ClientError::Output));
    unless_it_was_closed(done)
}

fn line(connection: &Connection) -> String {
    let Connection { protocol, state, expires_s, client, vip, server } = *connection;
    let end = |end: crate::record::End| std::net::SocketAddr::new(end.address, end.port).to_string();
    let name = protocol.map_or("any".to_owned(), |protocol| protocol.name().to_lowercase());
    format!(
        "{name:<8}  {:<11}  {:>7}s  {:<21}  {:<21}  {}\n",
        state.name(protocol),
        expires_s,
        end(client),
        end(vip),
        end(server)
    )
}

fn unless_it_was_closed(done: Result<(), ClientError>) -> Result<(), ClientError> {
    match done {
        Err(ClientError::Output(error)) => unless_nobody_reads(error).map_err(ClientError::Output),
        done => done,
    }
}
