//! A command in place: what it changes is kept as it was, so that it can be taken back.
//!
//! A command touches one service or the rules for marks, but [`Command::Flush`]. So what it costs does not grow with the number of
//! services.

use std::collections::BTreeMap;

use super::{Command, CommandError};
use crate::state::{MarkRule, Service, ServiceKey, State, SyncDaemons, Timeouts};
use crate::sysctl::Sysctls;

/// The services that a command may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    None,
    One(ServiceKey),
    All,
    /// No service, but the rules for marks.
    Marks,
}

/// What a command has changed, as it was before.
#[derive(Debug)]
pub struct Undo {
    services: Before,
    timeouts: Timeouts,
    sysctls: Sysctls,
    daemons: SyncDaemons,
}

#[derive(Debug)]
enum Before {
    Untouched,
    One(ServiceKey, Option<Service>),
    /// A server came to the head of the list: the list may be long, so it is not kept.
    NewServer(ServiceKey),
    All(BTreeMap<ServiceKey, Service>),
    Marks(Vec<MarkRule>),
}

impl Command {
    /// Turns `state` into the next one. A command that is refused leaves it as it is.
    pub fn change(&self, state: &mut State) -> Result<Undo, CommandError> {
        let undo = Undo::before(self, state);
        self.carry_out(state)?;
        Ok(undo)
    }

    fn touches(&self) -> Touched {
        match self {
            Self::AddService { service, .. }
            | Self::EditService { service, .. }
            | Self::DeleteService { service }
            | Self::AddServer { service, .. }
            | Self::EditServer { service, .. }
            | Self::DeleteServer { service, .. } => Touched::One(*service),
            Self::Flush => Touched::All,
            Self::AddMark { .. } | Self::DeleteMark { .. } => Touched::Marks,
            Self::SetTimeouts { .. }
            | Self::Set { .. }
            | Self::StartDaemon { .. }
            | Self::StopDaemon { .. }
            | Self::Zero { .. } => Touched::None,
        }
    }
}

impl Undo {
    fn before(command: &Command, state: &State) -> Self {
        let services = match command.touches() {
            Touched::One(key) if matches!(command, Command::AddServer { .. }) => Before::NewServer(key),
            Touched::None => Before::Untouched,
            Touched::One(key) => Before::One(key, state.services.get(&key).cloned()),
            Touched::All => Before::All(state.services.clone()),
            Touched::Marks => Before::Marks(state.marks.clone()),
        };
        Self { services, timeouts: state.timeouts, sysctls: state.sysctls, daemons: state.daemons.clone() }
    }

    /// The services that may have changed.
    pub fn touched(&self) -> Touched {
        match self.services {
            Before::Untouched => Touched::None,
            Before::One(key, _) | Before::NewServer(key) => Touched::One(key),
            Before::All(_) => Touched::All,
            Before::Marks(_) => Touched::Marks,
        }
    }

    /// Whether timeouts or settings are others now.
    pub fn has_changed_settings(&self, state: &State) -> bool {
        (self.timeouts, self.sysctls) != (state.timeouts, state.sysctls)
    }

    /// Makes `state` what it was.
    pub fn take_back(self, state: &mut State) {
        match self.services {
            Before::Untouched => {}
            Before::One(key, Some(service)) => {
                state.services.insert(key, service);
            }
            Before::One(key, None) => {
                state.services.remove(&key);
            }
            Before::NewServer(key) => {
                if let Some(service) = state.services.get_mut(&key) {
                    service.servers.remove(0);
                }
            }
            Before::All(services) => state.services = services,
            Before::Marks(marks) => state.marks = marks,
        }
        (state.timeouts, state.sysctls) = (self.timeouts, self.sysctls);
        state.daemons = self.daemons;
    }
}
