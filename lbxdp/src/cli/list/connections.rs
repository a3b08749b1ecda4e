//! `-L -c`: the connection table, as it comes.

use std::fmt::Write;

use crate::cli::names::Naming;
use crate::snapshot::ConnectionSnapshot;

/// The two lines above the entries.
pub(crate) fn title() -> String {
    let columns = format!("{:<11} {:<18} {:<18} destination", "state", "source", "virtual");
    format!("IPVS connection entries\npro expire {columns}\n")
}

/// The lines of some entries.
pub(crate) fn connections(connections: &[ConnectionSnapshot], naming: &mut Naming<'_>) -> String {
    let ends = |c: &ConnectionSnapshot| [c.client.ip(), c.service.ip(), c.server.ip()];
    naming.learn(connections.iter().flat_map(ends));
    let mut text = String::new();
    for connection in connections {
        add_connection(&mut text, connection, naming);
    }
    text
}

fn add_connection(text: &mut String, connection: &ConnectionSnapshot, naming: &mut Naming<'_>) {
    let ConnectionSnapshot { protocol, expires_s, state, client, service, server } = connection;
    let [client, service, server] =
        [client, service, server].map(|end| naming.endpoint(end.ip(), end.port(), *protocol));
    let expiry = format!("{:02}:{:02}", expires_s / 60, expires_s % 60);
    let _ = writeln!(text, "{protocol:<3} {expiry:<6} {state:<11} {client:<18} {service:<18} {server}");
}
