//! `lbxdp decap stop`: all of a decapsulator out of the kernel. When this returns, the interface is free.

use std::time::{Duration, Instant};

use aya::programs::loaded_links;

use super::DecapError;
use super::attached::Attached;
use super::pins::Pins;
use crate::tables::pins::Instance;

/// How long the kernel may take to end a link that nobody holds any more.
const DETACH_TIME: Duration = Duration::from_secs(2);

/// Takes it off.
pub(crate) fn stop(instance: &Instance, interface: &str) -> Result<(), DecapError> {
    let pins = Pins::new(instance, interface);
    if !pins.directory.exists() {
        return Err(DecapError::NotStarted { instance: instance.clone(), interface: interface.into() });
    }
    let link = Attached::find(&pins).ok().flatten().map(|attached| attached.id);
    pins.remove().map_err(|error| DecapError::Pins(pins.directory.clone(), error))?;
    // The kernel ends a link in its own time once the last pin is gone.
    let deadline = Instant::now() + DETACH_TIME;
    let is_there = || loaded_links().flatten().any(|there| Some(there.id()) == link);
    while link.is_some() && is_there() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
