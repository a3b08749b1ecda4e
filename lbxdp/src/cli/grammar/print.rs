//! Commands as the words that mean them: what `-S` writes and `-R` reads.

use lbxdp_common::{Forward, Protocol};

use crate::cli::names::Naming;
use crate::command::Command;
use crate::state::{Server, ServiceKey};

/// One line, without its end, that the grammar reads as `command` again; but `Set`, which ipvsadm has not, reads as
/// `lbxdp set` does.
pub fn print(command: &Command, naming: &mut Naming<'_>) -> String {
    match *command {
        Command::AddService { service, scheduler } => {
            format!("-A {} -s {scheduler}", service_words(service, naming))
        }
        Command::EditService { service, scheduler } => {
            format!("-E {} -s {scheduler}", service_words(service, naming))
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
            let server = naming.endpoint(address, port, service.protocol);
            format!("-d {} -r {server}", service_words(service, naming))
        }
        Command::SetTimeouts { tcp, tcp_fin, udp } => format!("--set {tcp} {tcp_fin} {udp}"),
        Command::Set { ref settings } => {
            settings.iter().fold("set".to_owned(), |line, setting| format!("{line} {setting}"))
        }
        Command::Zero { service: None } => "-Z".to_owned(),
        Command::Zero { service: Some(service) } => format!("-Z {}", service_words(service, naming)),
    }
}

fn service_words(service: ServiceKey, naming: &mut Naming<'_>) -> String {
    let option = match service.protocol {
        Protocol::Tcp => "-t",
        Protocol::Udp => "-u",
        Protocol::Sctp => "--sctp-service",
    };
    format!("{option} {}", naming.endpoint(service.address, service.port, service.protocol))
}

fn server_words(service: ServiceKey, server: Server, naming: &mut Naming<'_>) -> String {
    let method = match server.forward {
        Forward::Direct => "-g",
    };
    let endpoint = naming.endpoint(server.address, server.port, service.protocol);
    format!("-r {endpoint} {method} -w {}", server.weight)
}
