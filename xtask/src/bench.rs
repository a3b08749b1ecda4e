//! `cargo xtask bench`: what lbxdp costs, a packet and at size. The measuring itself is the crate `bench`.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{build, machine, object, project, step, test};

/// The variable that names the object with drivers and null programs (`bench/src/driver.rs`).
const BENCH_OBJECT_VARIABLE: &str = "LBXDP_BENCH_OBJECT";

pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    // Figures that are there can be compared and documented by anybody.
    if arguments.iter().any(|argument| argument == "--from" || argument == "--help") {
        return step::run(bench().args(arguments));
    }
    if !machine::is_root() {
        bail!("a bench needs root: run `sudo -E env PATH=\"$PATH\" cargo xtask bench`");
    }
    machine::require_lab("bench")?;
    let built = build::build()?;
    let drivers = built.object.with_file_name("bench");
    if !drivers.exists() {
        bail!(
            "there is no {}: beside a packet program that is given by {} must be its bench",
            drivers.display(),
            object::VARIABLE
        );
    }
    step::say("measuring: half an hour for all of it, some minutes with --quick; --only PATTERN is a part");
    let mut bench = bench();
    bench.args(arguments).env(BENCH_OBJECT_VARIABLE, &drivers).env(test::BINARY_VARIABLE, &built.binary);
    // The same as for the binary before: else its library would be compiled again.
    step::run(bench.env(object::VARIABLE, &built.object))
}

fn bench() -> Command {
    let mut cargo = project::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "lbxdp-bench", "--"]);
    cargo
}
