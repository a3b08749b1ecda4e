//! Where things are in the project's tree.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// The packet program's crate. It has a workspace of its own.
pub(crate) fn packet_crate() -> PathBuf {
    root().join("lbxdp-ebpf")
}

/// The directory cargo builds into. This program lies in it, at `debug/xtask`, so whatever moved it is honoured.
pub(crate) fn target() -> Result<PathBuf> {
    let program = env::current_exe().context("finding this program's own file")?;
    let target = program.parent().and_then(Path::parent).context("this program was not run by cargo")?;
    Ok(target.to_path_buf())
}

/// The binary that `build` leaves.
pub(crate) fn binary() -> Result<PathBuf> {
    Ok(target()?.join("release/lbxdp"))
}

/// Tools of the project's own, installed by `setup`: they touch nothing outside the project.
pub(crate) fn tools() -> Result<PathBuf> {
    Ok(target()?.join("tools"))
}

/// The cargo that runs us, at work in the project's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}
