//! `cargo xtask run`: builds, and becomes lbxdp.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::build;

pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    let binary = build::build()?.binary;
    // Only a failure returns: signals and the exit code are lbxdp's own.
    let error = Command::new(&binary).args(arguments).exec();
    Err(anyhow!(error).context(format!("starting {}", binary.display())))
}
