//! Listings for programs. `docs/json.md` is the contract: within a version nothing that stands there changes or goes, things
//! may only be added.

use std::fmt::Display;

use lbxdp_common::Forward;
use serde::Serialize;

use super::name::{ServerName, ServiceName};
use crate::record::{Connection, End};
use crate::snapshot::{Counters, Rates, ServerSnapshot, ServiceSnapshot, Snapshot};
use crate::state::{Engine, Family, Options, Server, ServiceKey};

/// The version of all documents.
pub(crate) const VERSION: u32 = 1;

#[derive(Serialize)]
struct ServiceList<'a> {
    version: u32,
    instance: String,
    services: Vec<ServiceRow<'a>>,
}

#[derive(Serialize)]
struct ServerList<'a> {
    version: u32,
    instance: String,
    servers: Vec<ServerRow<'a>>,
}

/// A service with its servers.
#[derive(Serialize)]
struct ServiceRow<'a> {
    service: String,
    protocol: Option<String>,
    address: Option<String>,
    port: Option<u16>,
    mark: Option<u32>,
    family: &'static str,
    scheduler: &'static str,
    flags: Vec<String>,
    one_packet: bool,
    persistence: Option<Persistence>,
    counters: &'a Counters,
    rates: &'a Rates,
    servers: Vec<ServerRow<'a>>,
}

#[derive(Serialize)]
struct Persistence {
    timeout_s: u32,
    netmask: String,
    engine: Option<&'static str>,
}

#[derive(Serialize)]
struct ServerRow<'a> {
    service: String,
    server: String,
    address: String,
    port: u16,
    forward: &'static str,
    tunnel: Option<Tunnel>,
    weight: u32,
    upper_threshold: u32,
    lower_threshold: u32,
    active_connections: u32,
    inactive_connections: u32,
    templates: u32,
    counters: &'a Counters,
    rates: &'a Rates,
}

#[derive(Serialize)]
struct Tunnel {
    kind: &'static str,
    port: u16,
    checksum: &'static str,
}

#[derive(Serialize)]
struct ConnectionRow {
    protocol: Option<String>,
    state: &'static str,
    is_template: bool,
    expires_s: u32,
    client: EndRow,
    #[serde(rename = "virtual")]
    vip: EndRow,
    server: EndRow,
}

#[derive(Serialize)]
struct EndRow {
    address: String,
    port: u16,
}

pub(crate) fn services(instance: &impl Display, snapshot: &Snapshot) -> String {
    let services = snapshot.services.iter().map(service).collect();
    text(&ServiceList { version: VERSION, instance: instance.to_string(), services })
}

pub(crate) fn servers(instance: &impl Display, snapshot: &Snapshot) -> String {
    let servers = snapshot.services.iter().flat_map(servers_of).collect();
    text(&ServerList { version: VERSION, instance: instance.to_string(), servers })
}

/// One connection, without anything around it.
pub(super) fn connection(connection: &Connection) -> String {
    let Connection { protocol, state, expires_s, client, vip, server } = *connection;
    let end = |End { address, port }: End| EndRow { address: address.to_string(), port };
    let row = ConnectionRow {
        protocol: protocol.map(|protocol| protocol.name().to_lowercase()),
        state: state.name(protocol),
        is_template: state.is_template(),
        expires_s,
        client: end(client),
        vip: end(vip),
        server: end(server),
    };
    serde_json::to_string(&row).unwrap_or_default()
}

/// Strings and numbers alone cannot fail to be JSON.
fn text(document: &impl Serialize) -> String {
    serde_json::to_string_pretty(document).unwrap_or_default() + "\n"
}

fn service(snapshot: &ServiceSnapshot) -> ServiceRow<'_> {
    let (key, options) = (snapshot.key, &snapshot.options);
    let is_at_address = key.address().is_some();
    let flags = options.flag_words();
    ServiceRow {
        service: ServiceName(key).to_string(),
        protocol: key.protocol().map(|protocol| protocol.name().to_lowercase()),
        address: key.address().map(|address| address.to_string()),
        port: is_at_address.then(|| key.port()),
        mark: match key {
            ServiceKey::Mark(mark) => Some(mark.mark),
            ServiceKey::Address(_) => None,
        },
        family: match key.family() {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        },
        scheduler: options.scheduler.name(),
        flags: flags.split(',').filter(|flag| !flag.is_empty()).map(str::to_owned).collect(),
        one_packet: options.one_packet,
        persistence: persistence(key, options),
        counters: &snapshot.counters,
        rates: &snapshot.rates,
        servers: servers_of(snapshot).collect(),
    }
}

fn persistence(key: ServiceKey, options: &Options) -> Option<Persistence> {
    let persistence = options.persistence?;
    let netmask = match key.family() {
        Family::V4 => std::net::Ipv4Addr::from_bits(persistence.netmask).to_string(),
        Family::V6 => persistence.netmask.to_string(),
    };
    Some(Persistence { timeout_s: persistence.timeout_s, netmask, engine: options.engine.map(Engine::name) })
}

fn servers_of(service: &ServiceSnapshot) -> impl Iterator<Item = ServerRow<'_>> {
    service.servers.iter().map(|server| server_of(service.key, server))
}

fn server_of(service: ServiceKey, snapshot: &ServerSnapshot) -> ServerRow<'_> {
    let Server { address, port, forward, tunnel, weight, upper, lower } = snapshot.server;
    let is_tunnel = forward == Forward::Tunnel;
    ServerRow {
        service: ServiceName(service).to_string(),
        server: ServerName { address, port: Some(port) }.to_string(),
        address: address.to_string(),
        port,
        forward: match forward {
            Forward::Direct => "direct",
            Forward::Tunnel => "tunnel",
            Forward::Masquerade => "masquerade",
        },
        tunnel: is_tunnel.then(|| Tunnel {
            kind: tunnel.kind.name(),
            port: tunnel.port,
            checksum: tunnel.checksum.name(),
        }),
        weight,
        upper_threshold: upper,
        lower_threshold: lower,
        active_connections: snapshot.active,
        inactive_connections: snapshot.inactive,
        templates: snapshot.persistent,
        counters: &snapshot.counters,
        rates: &snapshot.rates,
    }
}
