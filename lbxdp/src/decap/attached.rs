//! A decapsulator that is there, as the kernel knows it: its link, the interface and the program of that, and its tables.

use aya::programs::links::{FdLink, PinnedLink};

use super::pins::Pins;
use super::{Anything, DecapError};
use crate::daemon::links::ifindex;
use crate::tables::decap::Decap;

/// A decapsulator on an interface.
pub(super) struct Attached {
    pub(super) link: FdLink,
    /// The kernel's id of the link.
    pub(super) id: u32,
    /// The index of its interface, in that one's network namespace; 0 if it is gone.
    pub(super) ifindex: u32,
    pub(super) tables: Decap,
}

impl Attached {
    /// The one that is pinned there, if there is one.
    pub(super) fn find(pins: &Pins) -> Result<Option<Self>, DecapError> {
        if !pins.link().exists() {
            return Ok(None);
        }
        let failed = |error: Anything| DecapError::Pin(pins.interface.clone(), error);
        let link = PinnedLink::from_pin(pins.link()).map_err(|error| failed(error.into()))?;
        let link = FdLink::from(link);
        let info = link.info().map_err(|error| failed(error.into()))?;
        let ifindex = ifindex(info.id()).map_err(|error| failed(error.into()))?;
        let tables = Decap::of_program(info.program_id())?;
        Ok(Some(Self { link, id: info.id(), ifindex, tables }))
    }
}
