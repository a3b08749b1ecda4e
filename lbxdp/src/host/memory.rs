//! What was started, and what takes it back: a file in `/run`, for none of it outlives a reboot.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::HostError;
use super::plan::Change;
use crate::tables::pins::Instance;

/// What was started as a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory<Wish> {
    pub(crate) wish: Wish,
    /// All that was changed, in order, with what takes it back.
    pub(crate) changes: Vec<Change>,
}

fn path(instance: &Instance, role: &str) -> PathBuf {
    Instance::run_directory().join(format!("{instance}.{role}"))
}

/// What was started; `None` if nothing was.
pub(crate) fn recall<Wish: DeserializeOwned>(
    instance: &Instance,
    role: &str,
) -> Result<Option<Memory<Wish>>, HostError> {
    let path = path(instance, role);
    match fs::read(&path) {
        Ok(text) => {
            serde_json::from_slice(&text).map(Some).map_err(|error| HostError::Forgotten(path, error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HostError::Memory(path, error)),
    }
}

/// Keeps it; whole, or as it was before.
pub(super) fn keep<Wish: Serialize>(
    instance: &Instance,
    role: &str,
    memory: Option<&Memory<Wish>>,
) -> Result<(), HostError> {
    let path = path(instance, role);
    let kept = match memory {
        None => crate::saved::remove(&path),
        Some(memory) => fs::create_dir_all(Instance::run_directory()).and_then(|()| {
            let new = path.with_extension(format!("{role}.new"));
            fs::write(&new, serde_json::to_vec_pretty(memory).map_err(io::Error::other)?)?;
            fs::rename(&new, &path)
        }),
    };
    kept.map_err(|error| HostError::Memory(path, error))
}
