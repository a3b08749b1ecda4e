//! The table of IPv6 connections: it has room of its own, grows, outlives its daemon, and is cleared.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lbxdp::tables::Tables;
use lbxdp::tables::pins::Instance;
use lbxdp_common::Protocol;
use lbxdp_common::address::V6;
use lbxdp_common::connection::{Key, kind};
use lbxdp_common::settings::SettingsView;
use lbxdp_tests::fill::Filler;
use lbxdp_tests::http::ECHO_PORT;
use lbxdp_tests::network::lore::{Back, one_net};
use lbxdp_tests::network::{Family, Method, Network, Offer};
use lbxdp_tests::service::status;
use lbxdp_tests::{Daemon, wait};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(20);
/// More than the table begins with room for, with its 32,768 places.
const COUNT: u32 = 25_000;

/// A line of `lbxdp status` about IPv6: the first number, and the last one.
fn numbers(daemon: &Daemon, what: &str) -> Result<[u64; 2]> {
    let status = status(daemon)?;
    let line = status.lines().find(|line| line.starts_with("IPv6") && line.contains(what));
    let words: Vec<&str> = line.context("no line about IPv6")?.split_whitespace().collect();
    let [_, first, .., last] = words[..] else { bail!("a short line in\n{status}") };
    Ok([first.parse()?, last.parse()?])
}

fn octets(address: SocketAddr) -> Result<V6> {
    let IpAddr::V6(address) = address.ip() else { bail!("{address} is not of IPv6") };
    Ok(address.octets())
}

fn key(client: SocketAddr, service: SocketAddr) -> Result<Key<V6>> {
    Ok(Key {
        client: octets(client)?,
        vip: octets(service)?,
        client_port: client.port().to_be_bytes(),
        vip_port: service.port().to_be_bytes(),
        protocol: Protocol::Tcp.raw(),
        kind: kind::CONNECTION,
        pad: [0; 2],
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn ipv6_connections_have_a_table_that_grows_is_taken_over_and_cleared() -> Result<()> {
    let network = Network::build(one_net(Back::Straight))?;
    let arguments = ["--connections", "1000", "--connections-v6", "100000"];
    let mut daemon = network.start_daemon_with(&arguments)?;
    let offer = Offer::make(&network, &daemon, Family::V6, Method::Direct, Family::V6)?;
    let service = offer.service(ECHO_PORT);
    ensure!(numbers(&daemon, "places")? == [32_768, 250_000], "{}", status(&daemon)?);
    let mut held = network.asker().open(service)?;
    held.echo("one")?;
    let client = SocketAddr::new(network.address(network.client(), Family::V6), held.source_port()?);
    let tables = Tables::open(&daemon.instance().parse::<Instance>()?.map_pins())?;
    let filler = Filler {
        connections: tables.CONNECTIONS_V6,
        settings: SettingsView(tables.SETTINGS.row(0).context("no settings")?),
        load: |row| tables.LOADS.row(row),
    };
    filler.add_like(key(client, service)?, COUNT)?;
    ensure!(numbers(&daemon, "places")? == [65_536, 250_000], "{}", status(&daemon)?);
    held.echo("two")?;
    let all = u64::from(COUNT) + 1;
    ensure!(numbers(&daemon, "connections")? == [all, 0], "{}", status(&daemon)?);
    let listed = |daemon: &Daemon| -> Result<usize> {
        let listing = daemon.must("-L -n -c")?;
        Ok(listing.lines().filter(|line| line.contains(&service.to_string())).count())
    };
    ensure!(listed(&daemon)? == COUNT as usize + 1);

    daemon.end_by(Signal::SIGKILL)?;
    held.echo("three")?;
    // The director of one net has one interface.
    daemon.start_again(&network.director().namespace, &["eth0"], &arguments)?;
    ensure!(numbers(&daemon, "connections")? == [all, 0], "{}", status(&daemon)?);
    ensure!(numbers(&daemon, "places")? == [65_536, 250_000], "{}", status(&daemon)?);
    held.echo("four")?;
    ensure!(listed(&daemon)? == COUNT as usize + 1);

    daemon.must("set expire_nodest_conn=1")?;
    daemon.must(&format!("-D -t {service}"))?;
    wait::until("the connections of the deleted service are gone", SOON, || {
        numbers(&daemon, "connections").is_ok_and(|now| now == [0, 0])
    })?;
    ensure!(listed(&daemon)? == 0);
    Ok(())
}
