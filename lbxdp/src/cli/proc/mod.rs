//! `lbxdp proc`: what the files of the kernel's IPVS in /proc/net would say, to the byte, for programs that read these.

mod connections;
mod services;
mod stats;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::net::IpAddr;

use clap::ValueEnum;

use super::client::{Client, ClientError, Director};
use crate::message::{Request, Response};
use crate::tables::pins::Instance;

/// A file of `/proc/net`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ProcFile {
    /// Services and servers.
    IpVs,
    /// Connections and templates.
    IpVsConn,
    /// Totals and rates of all services.
    IpVsStats,
    /// The same by CPU; what CPUs have counted is never set to zero.
    IpVsStatsPercpu,
}

/// Prints what the file would say.
pub fn print(instance: &Instance, file: ProcFile) -> Result<(), ClientError> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    let written = write(&mut Client::new(instance.clone()), file, &mut output)
        .and_then(|()| output.flush().map_err(ClientError::Output));
    match written {
        // Nobody reads any more.
        Err(ClientError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn write(director: &mut impl Director, file: ProcFile, output: &mut impl Write) -> Result<(), ClientError> {
    let text = match file {
        ProcFile::IpVs => match director.ask(&Request::Services)? {
            Response::Services(snapshot) => services::text(&snapshot),
            other => return Err(ClientError::unexpected(&other)),
        },
        ProcFile::IpVsConn => return connections::write(director, output),
        ProcFile::IpVsStats | ProcFile::IpVsStatsPercpu => match director.ask(&Request::Totals)? {
            Response::Totals(totals) if file == ProcFile::IpVsStats => stats::text(&totals),
            Response::Totals(totals) => stats::text_by_cpu(&totals),
            other => return Err(ClientError::unexpected(&other)),
        },
    };
    output.write_all(text.as_bytes()).map_err(ClientError::Output)
}

/// An address as these files write it: IPv4 as a hexadecimal number, IPv6 in full.
fn address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:08X}", address.to_bits()),
        IpAddr::V6(address) => address.segments().map(|segment| format!("{segment:04x}")).join(":"),
    }
}

/// As [`address`], an IPv6 one in brackets.
fn bracketed(of: IpAddr) -> String {
    if of.is_ipv4() { address(of) } else { format!("[{}]", address(of)) }
}
