//! `cargo xtask soak`: the tests of endurance at full size, one after the other, with their figures.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::{build, machine, object, project, step, test};

/// The variable that makes the tests of endurance large (`tests/src/scale.rs`).
const SCALE_VARIABLE: &str = "LBXDP_SOAK";

pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    if !machine::is_root() {
        bail!("a soak needs root: run `sudo -E env PATH=\"$PATH\" cargo xtask soak`");
    }
    machine::require_lab("soak")?;
    let built = build::build()?;
    step::say("the tests of endurance at full size: some minutes");
    let soak = |name: &str, filter: &[&str]| {
        let mut cargo = project::cargo();
        cargo.args(["test", "--quiet", "--release", "--package", "lbxdp-tests", "--test", name]);
        cargo.args(["--", "--ignored", "--nocapture", "--test-threads=1"]).args(filter).args(arguments);
        cargo.env(object::VARIABLE, &built.object).env(test::BINARY_VARIABLE, &built.binary);
        cargo.env(SCALE_VARIABLE, "1");
        step::run(&mut cargo)
    };
    let (floods, deaths) = (soak("endurance", &[]), soak("takeover", &["a_killed_daemon"]));
    floods.and(deaths)
}
