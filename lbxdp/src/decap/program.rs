//! The decapsulator's program: from this binary into the kernel.

use std::io;
use std::path::Path;

use aya::maps::MapData;
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};

use super::DecapError;
use crate::daemon::load::is_permission;
use crate::tables::decap::{OPENED, REFUSED, counter_rows};

/// The program's name, in the object and in the kernel.
pub const PROGRAM: &str = "decap";

#[cfg(has_decap_program)]
static OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(env!("LBXDP_DECAP_OBJECT")));
#[cfg(not(has_decap_program))]
static OBJECT: Option<&[u8]> = None;

/// Loads the program, with its counters pinned in a directory of the BPF file system: those that are there go on.
pub fn load(counters: &Path) -> Result<Ebpf, DecapError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::PermissionDenied => DecapError::NotPermitted,
        _ => DecapError::Pins(counters.into(), source),
    };
    std::fs::create_dir_all(counters).map_err(failed)?;
    for table in [OPENED, REFUSED] {
        let pin = counters.join(table);
        let rows = MapData::from_pin(&pin).and_then(|map| map.info().map(|info| info.max_entries()));
        // Those of another build count other things: they begin anew.
        if rows.is_ok_and(|rows| rows as usize != counter_rows(table)) {
            crate::saved::remove(&pin).map_err(failed)?;
        }
    }
    verified(|loader| {
        for table in [OPENED, REFUSED] {
            loader.map_pin_path(table, counters.join(table));
        }
    })
}

/// Loads the program without any trace: what the verifier says of it.
pub fn verify() -> Result<Ebpf, DecapError> {
    verified(|_| ())
}

/// The object as it was compiled.
pub(crate) fn object() -> Result<&'static [u8], DecapError> {
    OBJECT.ok_or(DecapError::NoProgram)
}

fn verified(pins: impl FnOnce(&mut EbpfLoader<'_>)) -> Result<Ebpf, DecapError> {
    let mut loader = EbpfLoader::new();
    pins(&mut loader);
    let mut ebpf = loader.load(object()?).map_err(|error| {
        if is_permission(&error) { DecapError::NotPermitted } else { DecapError::Object(error) }
    })?;
    // The verifier's refusal may look like a want of permission, which the tables would have shown.
    program(&mut ebpf)?.load().map_err(DecapError::Verifier)?;
    Ok(ebpf)
}

/// The program of a loaded object.
pub(super) fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, DecapError> {
    ebpf.program_mut(PROGRAM).ok_or(DecapError::NoProgram)?.try_into().map_err(DecapError::Verifier)
}
