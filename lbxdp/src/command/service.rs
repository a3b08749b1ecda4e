//! Virtual services: add, edit, delete.

use lbxdp_common::Protocol;

use super::CommandError;
use super::timeouts::MAX_TIMEOUT_S;
use crate::state::{FLAG_1, FLAG_2, FLAG_3, Mark, Options, Service, ServiceKey, State};

pub(super) fn add(state: &mut State, key: ServiceKey, options: Options) -> Result<(), CommandError> {
    if state.services.contains_key(&key) {
        return Err(CommandError::ServiceExists);
    }
    check(key, options)?;
    state.services.insert(key, Service { options, servers: Vec::new() });
    Ok(())
}

/// All options are replaced, also those that were not named; its servers stay as they are.
pub(super) fn edit(state: &mut State, key: ServiceKey, options: Options) -> Result<(), CommandError> {
    let service = state.services.get_mut(&key).ok_or(CommandError::NoSuchService)?;
    check(key, options)?;
    service.options = options;
    Ok(())
}

/// Its servers go with it.
pub(super) fn delete(state: &mut State, key: ServiceKey) -> Result<(), CommandError> {
    state.services.remove(&key).map(|_| ()).ok_or(CommandError::NoSuchService)
}

pub(super) fn must_exist(state: &State, key: ServiceKey) -> Result<(), CommandError> {
    if state.services.contains_key(&key) { Ok(()) } else { Err(CommandError::NoSuchService) }
}

/// ipvsadm's own checks once more: a command may come from elsewhere.
fn check(key: ServiceKey, options: Options) -> Result<(), CommandError> {
    let is_marked_0 = matches!(key, ServiceKey::Mark(Mark { mark: 0, .. }));
    if is_marked_0 || options.sched_flags & !(FLAG_1 | FLAG_2 | FLAG_3) != 0 {
        return Err(CommandError::Invalid);
    }
    if let Some(protocol) = key.protocol() {
        if key.port() == 0 && options.persistence.is_none() {
            return Err(CommandError::ZeroPort);
        }
        if options.one_packet && protocol != Protocol::Udp {
            return Err(CommandError::OnePacket);
        }
    }
    match options.persistence {
        Some(persistence) if !persistence.is_of(key.family()) => Err(CommandError::Invalid),
        Some(persistence) if !(1..=MAX_TIMEOUT_S).contains(&persistence.timeout_s) => {
            Err(CommandError::OutOfRange)
        }
        _ => Ok(()),
    }
}
