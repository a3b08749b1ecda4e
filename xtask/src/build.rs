//! `cargo xtask build`: the packet program, then the binary that carries it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{machine, object, project, step};

/// What a build leaves.
pub(crate) struct Built {
    /// The packet program alone.
    pub(crate) object: PathBuf,
    /// The binary, with the program inside.
    pub(crate) binary: PathBuf,
}

pub(crate) fn run() -> Result<()> {
    let built = build()?;
    if machine::is_root() {
        step::say("asking the kernel's verifier about the packet program");
        step::run(Command::new(&built.binary).arg("verify"))?;
    } else {
        step::say("the verifier's figures are not shown: loading the packet program needs root");
    }
    step::say(format_args!("built {}", built.binary.display()));
    Ok(())
}

/// Builds both, for the verbs that go on with them.
pub(crate) fn build() -> Result<Built> {
    let object = object::require()?;
    step::say("building lbxdp with the packet program inside");
    let mut cargo = project::cargo();
    cargo.args(["build", "--release", "--package", "lbxdp"]).env(object::VARIABLE, &object);
    step::run(&mut cargo)?;
    Ok(Built { object, binary: project::binary()? })
}
