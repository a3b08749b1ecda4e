//! Virtual services: add, edit, delete.

use lbxdp_common::Scheduler;

use super::CommandError;
use crate::state::{Service, ServiceKey, State};

pub(super) fn add(state: &mut State, key: ServiceKey, scheduler: Scheduler) -> Result<(), CommandError> {
    if state.services.contains_key(&key) {
        return Err(CommandError::ServiceExists);
    }
    if key.port == 0 {
        return Err(CommandError::ZeroPort);
    }
    state.services.insert(key, Service { scheduler, servers: Vec::new() });
    Ok(())
}

/// Its servers stay as they are.
pub(super) fn edit(state: &mut State, key: ServiceKey, scheduler: Scheduler) -> Result<(), CommandError> {
    let service = state.services.get_mut(&key).ok_or(CommandError::NoSuchService)?;
    service.scheduler = scheduler;
    Ok(())
}

/// Its servers go with it.
pub(super) fn delete(state: &mut State, key: ServiceKey) -> Result<(), CommandError> {
    state.services.remove(&key).map(|_| ()).ok_or(CommandError::NoSuchService)
}

pub(super) fn must_exist(state: &State, key: ServiceKey) -> Result<(), CommandError> {
    if state.services.contains_key(&key) { Ok(()) } else { Err(CommandError::NoSuchService) }
}
