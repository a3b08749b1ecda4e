//! Memory of the kernel's tables.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result};
use aya::maps::MapData;
use lbxdp::tables::MAP_NAMES;
use lbxdp::tables::pins::Instance;

use crate::figure::{Figure, Spread, Unit};

/// What the kernel has locked for the tables of connections, for each there is room for, and for all tables together.
pub(crate) fn measure(instance: &Instance, connections: u32) -> Result<Vec<Figure>> {
    let figure =
        |name: &str, bytes: f64| Figure::new(format!("memory/{name}"), Unit::Bytes, Spread::exactly(bytes));
    let mut all = 0.0;
    let mut figures = Vec::new();
    for name in MAP_NAMES {
        let bytes = locked(instance, name)?;
        all += bytes;
        let room = match *name {
            "connections" => f64::from(connections),
            "connections_v6" => f64::from(connections / 2),
            _ => continue,
        };
        let family = if *name == "connections" { "v4" } else { "v6" };
        figures.push(
            figure(&format!("connection/{family}"), bytes / room).with_note(format!(
                "of a table with room for {room}; a connection by VS/NAT takes two places"
            )),
        );
    }
    figures.push(
        figure("all-tables", all).with_note(format!("with room for {connections} connections of IPv4")),
    );
    Ok(figures)
}

/// Bytes that the kernel has for a map.
fn locked(instance: &Instance, name: &str) -> Result<f64> {
    let map = MapData::from_pin(instance.map_pins().join(name))?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd()))?;
    let line = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(line.context("the kernel does not tell a map's memory")?.trim().parse()?)
}
