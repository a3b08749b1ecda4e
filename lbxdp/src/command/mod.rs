//! The one vocabulary of changes: the command line, the saved file and the socket all speak `Command`.

use serde::{Deserialize, Serialize};

use crate::state::{Server, ServiceKey};
use lbxdp_common::Scheduler;

/// One change of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    AddService {
        service: ServiceKey,
        #[serde(with = "crate::words::scheduler")]
        scheduler: Scheduler,
    },
    EditService {
        service: ServiceKey,
        #[serde(with = "crate::words::scheduler")]
        scheduler: Scheduler,
    },
    DeleteService {
        service: ServiceKey,
    },
    /// Delete all services; timeouts and connections stay.
    Flush,
    AddServer {
        service: ServiceKey,
        server: Server,
    },
    EditServer {
        service: ServiceKey,
        server: Server,
    },
    DeleteServer {
        service: ServiceKey,
        address: std::net::IpAddr,
        port: u16,
    },
    /// New timeouts in seconds; 0 leaves the old value.
    SetTimeouts {
        tcp: u32,
        tcp_fin: u32,
        udp: u32,
    },
    /// Counters of one service and its servers, or of all, start again at 0.
    Zero {
        service: Option<ServiceKey>,
    },
}

/// Why a command cannot be carried out; the configuration is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum CommandError {
    #[error("Service already exists")]
    ServiceExists,
    #[error("No such service")]
    NoSuchService,
    #[error("Service not defined")]
    ServiceNotDefined,
    #[error("Destination already exists")]
    ServerExists,
    #[error("No such destination")]
    NoSuchServer,
}
