//! `-L -c`: the connection table, as it comes.

use std::fmt::Write;

use lbxdp_common::Protocol;

use crate::cli::grammar::Columns;
use crate::cli::names::Naming;
use crate::record::{Connection, End};

/// The columns of an end of a connection.
const END_WIDTH: usize = 18;

/// The two lines above the entries. `--persistent-conn` adds the columns of persistence engines, which stay empty here.
pub(crate) fn title(columns: Columns) -> String {
    let last = match columns {
        Columns::Persistent => format!("{:<END_WIDTH$} {:<16} pe_data", "destination", "pe name"),
        _ => "destination".to_owned(),
    };
    let columns = format!("{:<11} {:<END_WIDTH$} {:<END_WIDTH$} {last}", "state", "source", "virtual");
    format!("IPVS connection entries\npro expire {columns}\n")
}

/// Adds the lines of some entries. There may be millions, so they share the memory of `text`.
pub(crate) fn connections(text: &mut String, connections: &[Connection], naming: &mut Naming<'_>) {
    let ends = |c: &Connection| [c.client.address, c.vip.address, c.server.address];
    naming.learn(connections.iter().flat_map(ends));
    for connection in connections {
        add(text, connection, naming);
    }
}

fn add(text: &mut String, connection: &Connection, naming: &mut Naming<'_>) {
    let Connection { protocol, state, expires_s, client, vip, server } = *connection;
    let start = text.len();
    // Writing into a string cannot fail.
    let name = protocol.map_or("IP", Protocol::name);
    let _ = write!(text, "{name:<3} {:02}:{:02}", expires_s / 60, expires_s % 60);
    fill_up(text, start, "TCP ".len() + 6);
    let _ = write!(text, " {:<11} ", state.name(protocol));
    for End { address, port } in [client, vip] {
        let start = text.len();
        naming.add_endpoint(text, address, port, protocol);
        fill_up(text, start, END_WIDTH);
        text.push(' ');
    }
    naming.add_endpoint(text, server.address, server.port, protocol);
    text.push('\n');
}

/// Adds blanks until what begins at `start` is so wide.
fn fill_up(text: &mut String, start: usize, width: usize) {
    let columns = text[start..].chars().count();
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(columns)));
}
