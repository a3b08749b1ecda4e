//! The daemons of connection synchronization: started and stopped.

use super::CommandError;
use crate::state::{Family, MarkRule, Role, State, SyncDaemon};

/// What the daemon had not got said is filled in as far as that is possible without its interface.
pub(super) fn start(state: &mut State, role: Role, daemon: &SyncDaemon) -> Result<(), CommandError> {
    if !MarkRule::is_interface(&daemon.interface) {
        return Err(CommandError::NoSuchDevice);
    }
    let group_is_wrong = daemon.group.is_some_and(|group| !group.is_multicast());
    if group_is_wrong || has_mixed_families(state) {
        return Err(CommandError::Invalid);
    }
    let place = state.daemons.of_mut(role);
    if place.is_some() {
        return Err(CommandError::DaemonRuns);
    }
    *place = Some(daemon.clone().completed(role, 0));
    Ok(())
}

pub(super) fn stop(state: &mut State, role: Role) -> Result<(), CommandError> {
    state.daemons.of_mut(role).take().map(|_| ()).ok_or(CommandError::NoDaemon)
}

/// The protocol has no words for a server of another family than its service's.
fn has_mixed_families(state: &State) -> bool {
    state.services.iter().any(|(key, service)| {
        service.servers.iter().any(|server| Family::from(server.address) != key.family())
    })
}
