//! Commands as the words that mean them: what `-S` writes and `-R` reads.

use std::fmt::Write;

use lbxdp_common::{Forward, Protocol, TunnelKind};

use crate::cli::names::Naming;
use crate::command::Command;
use crate::state::{Endpoint, Family, Mark, Options, Role, Server, ServiceKey, SyncDaemon, Tunnel};

/// One line, without its end, that the grammar reads as `command` again; but what ipvsadm has not reads as `lbxdp set` and
/// `lbxdp mark` do.
pub fn print(command: &Command, naming: &mut Naming<'_>) -> String {
    match *command {
        Command::AddService { service, options } => {
            format!("-A {} {}", service_words(service, naming), option_words(service, options))
        }
        Command::EditService { service, options } => {
            format!("-E {} {}", service_words(service, naming), option_words(service, options))
        }
        Command::DeleteService { service } => format!("-D {}", service_words(service, naming)),
        Command::Flush => "-C".to_owned(),
        Command::AddServer { service, server } => {
            format!("-a {} {}", service_words(service, naming), server_words(service, server, naming))
        }
        Command::EditServer { service, server } => {
            format!("-e {} {}", service_words(service, naming), server_words(service, server, naming))
        }
        Command::DeleteServer { service, address, port } => {
            let server = naming.endpoint(address, port, service.protocol());
            format!("-d {} -r {server}", service_words(service, naming))
        }
        Command::SetTimeouts { tcp, tcp_fin, udp } => format!("--set {tcp} {tcp_fin} {udp}"),
        Command::Set { ref settings } => {
            settings.iter().fold("set".to_owned(), |line, setting| format!("{line} {setting}"))
        }
        Command::AddMark { ref rule } => format!("mark add {rule}"),
        Command::DeleteMark { ref rule } => format!("mark delete {rule}"),
        Command::StartDaemon { role, ref daemon } => daemon_words(role, daemon),
        Command::StopDaemon { role } => format!("--stop-daemon {role}"),
        Command::Zero { service: None } => "-Z".to_owned(),
        Command::Zero { service: Some(service) } => format!("-Z {}", service_words(service, naming)),
    }
}

fn service_words(service: ServiceKey, naming: &mut Naming<'_>) -> String {
    let Endpoint { protocol, address, port } = match service {
        ServiceKey::Address(endpoint) => endpoint,
        // ipvsadm's own -S writes marks above 2^31 - 1 as negative numbers, which it does not read again.
        ServiceKey::Mark(Mark { family: Family::V4, mark }) => return format!("-f {mark}"),
        ServiceKey::Mark(Mark { family: Family::V6, mark }) => return format!("-f {mark} -6"),
    };
    let option = match protocol {
        Protocol::Tcp => "-t",
        Protocol::Udp => "-u",
        Protocol::Sctp => "--sctp-service",
    };
    format!("{option} {}", naming.endpoint(address, port, protocol))
}

fn option_words(service: ServiceKey, options: Options) -> String {
    let Options { scheduler, persistence, one_packet, engine, .. } = options;
    let mut words = format!("-s {scheduler}");
    // Writing into a string cannot fail.
    if let Some(persistence) = persistence {
        let _ = write!(words, " -p {}", persistence.timeout_s);
        if let Some(mask) = persistence.mask(service.family()) {
            let _ = write!(words, " -M {mask}");
        }
    }
    if let Some(engine) = engine {
        let _ = write!(words, " --pe {engine}");
    }
    if one_packet {
        words += " -o";
    }
    let flags = options.flag_words();
    if !flags.is_empty() {
        let _ = write!(words, " -b {flags}");
    }
    words
}

fn server_words(service: ServiceKey, server: Server, naming: &mut Naming<'_>) -> String {
    let method = match server.forward {
        Forward::Direct => "-g",
        Forward::Masquerade => "-m",
        Forward::Tunnel => "-i",
    };
    let endpoint = naming.endpoint(server.address, server.port, service.protocol());
    let mut words = format!("-r {endpoint} {method} -w {}", server.weight);
    if server.forward == Forward::Tunnel {
        words += &tunnel_words(server.tunnel);
    }
    for (option, threshold) in [("-x", server.upper), ("-y", server.lower)] {
        if threshold != 0 {
            let _ = write!(words, " {option} {threshold}");
        }
    }
    words
}

/// A tunnel that came by the socket may have more than its kind has, and such words would not be read again.
fn tunnel_words(tunnel: Tunnel) -> String {
    let Tunnel { kind, port, checksum } = tunnel.without_surplus();
    let checksum = format!(" --tun-{checksum}");
    match kind {
        TunnelKind::Ipip => format!(" --tun-type {kind}"),
        TunnelKind::Gue => format!(" --tun-type {kind} --tun-port {port}{checksum}"),
        TunnelKind::Gre => format!(" --tun-type {kind}{checksum}"),
    }
}

/// The name of an interface stands in the same word as its option, for it may look like one.
fn daemon_words(role: Role, daemon: &SyncDaemon) -> String {
    let SyncDaemon { interface, sync_id, max_length, group, port, ttl } = daemon;
    let mut words = format!("--start-daemon {role} --mcast-interface={interface} --syncid {sync_id}");
    if let Some(group) = group {
        let _ = write!(words, " --mcast-group {group}");
    }
    for (option, number) in
        [("--sync-maxlen", *max_length), ("--mcast-port", *port), ("--mcast-ttl", u16::from(*ttl))]
    {
        if number != 0 {
            let _ = write!(words, " {option} {number}");
        }
    }
    words
}
