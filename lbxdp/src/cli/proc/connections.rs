//! `/proc/net/ip_vs_conn`.

use std::io::Write;

use lbxdp_common::Protocol;

use super::address;
use crate::cli::client::{ClientError, Director};
use crate::record::{Connection, End};

const TITLE: &str = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";

/// Piece by piece: there may be millions.
pub(super) fn write(director: &mut impl Director, output: &mut impl Write) -> Result<(), ClientError> {
    let mut title = TITLE;
    director.connections(&mut |piece| {
        output.write_all(std::mem::take(&mut title).as_bytes())?;
        piece.iter().try_for_each(|connection| output.write_all(line(connection).as_bytes()))
    })?;
    output.write_all(title.as_bytes()).map_err(ClientError::Output)
}

pub(super) fn line(connection: &Connection) -> String {
    let Connection { protocol, state, expires_s, client, vip, server } = *connection;
    let end = |End { address: of, port }: End| format!("{} {port:04X}", address(of));
    let name = protocol.map_or("IP", Protocol::name);
    let (client, vip, server) = (end(client), end(vip), end(server));
    format!("{name:<3} {client} {vip} {server} {:<11} {expires_s:>7}\n", state.name(protocol))
}
