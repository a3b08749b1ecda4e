//! `-L`: services and their servers, with connections, totals, rates, thresholds or templates.

use std::fmt::Write;
use std::net::IpAddr;

use lbxdp_common::{Forward, TunnelChecksum, TunnelKind};

use super::{number, order};
use crate::cli::grammar::{Columns, Listing};
use crate::cli::names::Naming;
use crate::cli::names::naming::cut;
use crate::snapshot::{Counters, Rates, ServerSnapshot, ServiceSnapshot, Snapshot};
use crate::state::{Endpoint, Family, Mark, Options, Server, ServiceKey};

/// The columns for a service and for a server; longer names are cut, but not those with an IPv6 address.
const SERVICE_WIDTH: usize = 33;
const SERVER_WIDTH: usize = 28;

/// The listing of all services of a snapshot, or of `only` one, which then must be in it.
pub(crate) fn services(
    snapshot: &Snapshot,
    only: Option<ServiceKey>,
    listing: &Listing,
    naming: &mut Naming<'_>,
) -> Option<String> {
    let mut listed: Vec<&ServiceSnapshot> = snapshot.services.iter().collect();
    if let Some(key) = only {
        listed.retain(|service| service.key == key);
        if listed.is_empty() {
            return None;
        }
    } else if listing.is_sorted {
        order::services(&mut listed);
    }
    naming.learn(listed.iter().flat_map(|&service| addresses(service)));
    let mut text = String::new();
    if only.is_none() {
        text = format!("IP Virtual Server version 1.2.1 (size={})\n", snapshot.table_size);
    }
    text += &title(listing.columns);
    for service in listed {
        add_service(&mut text, service, listing, naming);
    }
    Some(text)
}

/// All addresses that stand in a service's part of a listing.
pub(crate) fn addresses(service: &ServiceSnapshot) -> impl Iterator<Item = IpAddr> {
    service.key.address().into_iter().chain(service.servers.iter().map(|server| server.server.address))
}

fn title(columns: Columns) -> String {
    let numbers = match columns {
        Columns::Connections => {
            return "Prot LocalAddress:Port Scheduler Flags\n\
                    \x20 -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
                .to_owned();
        }
        Columns::Tunnels => {
            return "Prot LocalAddress:Port Scheduler Flags\n\
                    \x20 -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
                .to_owned();
        }
        Columns::Thresholds => {
            return "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n\
                    \x20 -> RemoteAddress:Port\n"
                .to_owned();
        }
        Columns::Persistent => {
            return "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n\
                    \x20 -> RemoteAddress:Port\n"
                .to_owned();
        }
        Columns::Stats => ["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"],
        Columns::Rates => ["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"],
    };
    let numbers = numbers.map(|name| format!(" {name:>8}")).concat();
    format!("{:<SERVICE_WIDTH$}{numbers}\n  -> RemoteAddress:Port\n", "Prot LocalAddress:Port")
}

fn add_service(text: &mut String, service: &ServiceSnapshot, listing: &Listing, naming: &mut Naming<'_>) {
    let key = service.key;
    let name = service_name(key, naming);
    let _ = match listing.columns {
        Columns::Connections | Columns::Thresholds | Columns::Persistent | Columns::Tunnels => {
            writeln!(text, "{name} {}", description(key.family(), &service.options))
        }
        Columns::Stats => {
            writeln!(text, "{name:<SERVICE_WIDTH$}{}", totals(&service.counters, listing.is_exact))
        }
        Columns::Rates => writeln!(text, "{name:<SERVICE_WIDTH$}{}", rates(&service.rates, listing.is_exact)),
    };
    let mut servers: Vec<&ServerSnapshot> = service.servers.iter().collect();
    if listing.is_sorted {
        order::servers(&mut servers);
    }
    for server in servers {
        add_server(text, key, server, listing, naming);
    }
}

fn service_name(key: ServiceKey, naming: &mut Naming<'_>) -> String {
    match key {
        ServiceKey::Address(Endpoint { protocol, address, port }) => {
            let name = format!("{protocol:<4} {}", naming.endpoint(address, port, protocol));
            if address.is_ipv6() { name } else { cut(name, SERVICE_WIDTH) }
        }
        // As ipvsadm prints it, with a sign.
        ServiceKey::Mark(Mark { family, mark }) => {
            let family = if family == Family::V6 { " IPv6" } else { "" };
            format!("FWM  {}{family}", mark.cast_signed())
        }
    }
}

/// Scheduler and flags.
fn description(family: Family, options: &Options) -> String {
    let mut text = options.scheduler.to_string();
    if options.sched_flags != 0 {
        let _ = write!(text, " ({})", options.flag_names());
    }
    if let Some(persistence) = options.persistence {
        let _ = write!(text, " persistent {}", persistence.timeout_s);
        if let Some(mask) = persistence.mask(family) {
            let _ = write!(text, " mask {mask}");
        }
        if let Some(engine) = options.engine {
            let _ = write!(text, " pe {engine}");
        }
    }
    if options.one_packet {
        text += " ops";
    }
    text
}

fn add_server(
    text: &mut String,
    service: ServiceKey,
    snapshot: &ServerSnapshot,
    listing: &Listing,
    naming: &mut Naming<'_>,
) {
    let server = &snapshot.server;
    let name = naming.endpoint(server.address, server.port, service.protocol());
    let name = if server.address.is_ipv6() { name } else { cut(name, SERVER_WIDTH) };
    let numbers = match listing.columns {
        Columns::Connections => format!(
            " {:<7} {:<6} {:<10} {:<10}",
            server.forward, server.weight, snapshot.active, snapshot.inactive
        ),
        Columns::Tunnels => format!(
            " {:<7} {:<13} {:<6} {:<10} {:<10}",
            server.forward,
            tunnel_info(server),
            server.weight,
            snapshot.active,
            snapshot.inactive
        ),
        Columns::Thresholds => format!(
            " {:<10} {:<10} {:<10} {:<10}",
            server.upper, server.lower, snapshot.active, snapshot.inactive
        ),
        Columns::Persistent => format!(
            " {:<9} {:<11} {:<10} {:<10}",
            server.weight, snapshot.persistent, snapshot.active, snapshot.inactive
        ),
        Columns::Stats => totals(&snapshot.counters, listing.is_exact),
        Columns::Rates => rates(&snapshot.rates, listing.is_exact),
    };
    let _ = writeln!(text, "  -> {name:<SERVER_WIDTH$}{numbers}");
}

/// What `--tun-info` says of a server's tunnel.
fn tunnel_info(server: &Server) -> String {
    if server.forward != Forward::Tunnel {
        return "n/a".to_owned();
    }
    let checksum = match server.tunnel.checksum {
        TunnelChecksum::None => "-c",
        TunnelChecksum::Full => "+c",
        TunnelChecksum::Remote => "r+c",
    };
    match server.tunnel.kind {
        kind @ TunnelKind::Ipip => kind.name().to_owned(),
        kind @ TunnelKind::Gue => format!("{kind}:{}:{checksum}", server.tunnel.port),
        kind @ TunnelKind::Gre => format!("{kind}:{checksum}"),
    }
}

fn totals(counters: &Counters, is_exact: bool) -> String {
    let Counters { connections, in_packets, out_packets, in_bytes, out_bytes } = *counters;
    [connections, in_packets, out_packets, in_bytes, out_bytes].map(|n| number::column(n, is_exact)).concat()
}

fn rates(rates: &Rates, is_exact: bool) -> String {
    let Rates { connections, in_packets, out_packets, in_bytes, out_bytes } = *rates;
    [connections, in_packets, out_packets, in_bytes, out_bytes].map(|n| number::column(n, is_exact)).concat()
}
