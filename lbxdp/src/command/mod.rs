//! The one vocabulary of changes: the command line, the saved file and the socket all speak `Command`.
//!
//! Each noun has its file, with the effect of its commands on `State`.

mod mark;
mod server;
mod service;
mod sync;
mod sysctl;
#[cfg(test)]
mod tests;
pub(crate) mod timeouts;
mod undo;

use serde::{Deserialize, Serialize};

use crate::state::{MarkRule, MarkRuleError, Options, Role, Server, ServiceKey, State, SyncDaemon};
use crate::sysctl::Setting;
pub use undo::{Touched, Undo};

/// One change of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    AddService {
        service: ServiceKey,
        options: Options,
    },
    EditService {
        service: ServiceKey,
        options: Options,
    },
    DeleteService {
        service: ServiceKey,
    },
    /// Delete all services; marks, timeouts, settings and connections stay.
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
    /// New values of settings; of two for the same one the last.
    Set {
        settings: Vec<Setting>,
    },
    /// From now on the rule's packets have its mark.
    AddMark {
        rule: MarkRule,
    },
    /// Forget a rule: all that it says must be the same.
    DeleteMark {
        rule: MarkRule,
    },
    /// Start a synchronization daemon.
    StartDaemon {
        role: Role,
        daemon: SyncDaemon,
    },
    /// Stop a synchronization daemon.
    StopDaemon {
        role: Role,
    },
    /// Counters of one service and its servers, or of all, start again at 0.
    Zero {
        service: Option<ServiceKey>,
    },
}

/// Why a command cannot be carried out; the configuration is unchanged.
///
/// The texts are ipvsadm's: the same refusal reads differently for different operations.
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
    /// What IPVS answers with EINVAL: a new server whose address is not unicast, one of another family than its service's that
    /// is not reached by VS/TUN, GUE without a port, an IPv6 netmask that is no length of a prefix.
    #[error("Invalid operation.  Possibly wrong module version, address not unicast, ...")]
    Invalid,
    /// Port 0 stands for all ports of a persistent service.
    #[error("Zero port specified for non-persistent service")]
    ZeroPort,
    /// A weight or threshold above `i32::MAX`, a lower threshold above the upper one, or a timeout above 31 days.
    #[error("Numerical result out of range")]
    OutOfRange,
    #[error("One-Packet Scheduling is only for UDP virtual services")]
    OnePacket,
    #[error("Daemon has already run")]
    DaemonRuns,
    #[error("No daemon is running")]
    NoDaemon,
    /// The interface of a synchronization daemon is not there.
    #[error("No such device")]
    NoSuchDevice,
    #[error(transparent)]
    NoMarkRule(MarkRuleError),
    #[error("the rule exists already")]
    MarkExists,
    #[error("the rule contradicts one of the same packets for mark {0}: delete that first")]
    MarkContradicts(u32),
    #[error("there is no such rule")]
    NoSuchMark,
}

impl Command {
    /// The state this command turns `state` into.
    pub fn apply(&self, state: &State) -> Result<State, CommandError> {
        let mut next = state.clone();
        self.carry_out(&mut next)?;
        Ok(next)
    }

    /// The same command with what an interface tells filled in; `mtu_of` gives that of an interface in bytes, `None` if there
    /// is no such interface. Only daemons of synchronization have one.
    pub fn on_interfaces(self, mtu_of: impl FnOnce(&str) -> Option<u32>) -> Result<Self, CommandError> {
        match self {
            Self::StartDaemon { role, daemon } => {
                let mtu = mtu_of(&daemon.interface).ok_or(CommandError::NoSuchDevice)?;
                Ok(Self::StartDaemon { role, daemon: daemon.completed(role, mtu) })
            }
            other => Ok(other),
        }
    }

    /// As [`Command::apply`], in place. A command that is refused has changed nothing.
    pub fn carry_out(&self, next: &mut State) -> Result<(), CommandError> {
        match *self {
            Self::AddService { service, options } => service::add(next, service, options)?,
            Self::EditService { service, options } => service::edit(next, service, options)?,
            Self::DeleteService { service } => service::delete(next, service)?,
            Self::Flush => next.services.clear(),
            Self::AddServer { service, server } => server::add(next, service, server)?,
            Self::EditServer { service, server } => server::edit(next, service, server)?,
            Self::DeleteServer { service, address, port } => {
                server::delete(next, service, (address, port))?;
            }
            Self::SetTimeouts { tcp, tcp_fin, udp } => timeouts::set(next, tcp, tcp_fin, udp)?,
            Self::AddMark { ref rule } => mark::add(next, rule)?,
            Self::DeleteMark { ref rule } => mark::delete(next, rule)?,
            Self::Set { ref settings } => sysctl::set(next, settings),
            Self::StartDaemon { role, ref daemon } => sync::start(next, role, daemon)?,
            Self::StopDaemon { role } => sync::stop(next, role)?,
            // Counters are no part of the configuration: only the service's name can be wrong.
            Self::Zero { service } => {
                service.map_or(Ok(()), |service| service::must_exist(next, service))?;
            }
        }
        Ok(())
    }
}
