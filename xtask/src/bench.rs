//! `cargo xtask bench`: what the daemon's side costs at size. Packets are to come.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::{build, machine, object, project, step, test};

pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    if !machine::is_root() {
        bail!("a bench needs root: run `sudo -E env PATH=\"$PATH\" cargo xtask bench`");
    }
    machine::require_lab("bench")?;
    let built = build::build()?;
    step::say("memory, listings, sweep and configuring at size: least, middle, greatest");
    let mut cargo = project::cargo();
    cargo.args(["bench", "--quiet", "--package", "lbxdp-tests", "--bench", "control", "--"]).args(arguments);
    cargo.env(object::VARIABLE, &built.object).env(test::BINARY_VARIABLE, &built.binary);
    step::run(&mut cargo)
}
