//! What of the configuration is kept and listed without an effect on packets: it is said.

use super::Director;
use crate::command::Command;
use crate::state::{Service, State};

impl Director {
    /// Says, once for each, what of the configuration is only kept.
    pub(in crate::daemon) fn say_what_is_only_kept(&mut self) {
        for words in only_kept(&self.state) {
            if self.said.insert(words) {
                tracing::warn!("{words}");
            }
        }
    }
}

/// Whether a command may bring something of [`only_kept`]: looking for it is a walk through all services.
pub(super) fn may_be_only_kept(command: &Command) -> bool {
    match command {
        Command::StartDaemon { .. } => true,
        Command::AddService { options, .. } | Command::EditService { options, .. } => {
            options.engine.is_some()
        }
        _ => false,
    }
}

/// What of the configuration is kept and listed without an effect on packets.
pub(super) fn only_kept(state: &State) -> Vec<&'static str> {
    let goes_by_engine =
        |service: &Service| service.options.engine.is_some() && service.options.persistence.is_some();
    let kept = [
        (
            state.daemons.is_any(),
            "connections are not synchronized yet: the daemons of --start-daemon are kept and listed, but send and receive \
             nothing",
        ),
        (
            state.services.values().any(goes_by_engine),
            "--pe sip is kept and listed, but no packet is looked into for its Call-ID: clients stay at their servers by \
             their addresses (-p, -M), so all calls of a client are at one server",
        ),
    ];
    kept.into_iter().filter(|(is_there, _)| *is_there).map(|(_, words)| words).collect()
}
