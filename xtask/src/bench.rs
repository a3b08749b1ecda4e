//! `cargo xtask bench`: what lbxdp costs, a packet and at size. The measuring itself is the crate `bench`.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{build, kernel, machine, object, project, step, test};

/// The variable that names the object with drivers and null programs (`bench/src/driver.rs`).
const BENCH_OBJECT_VARIABLE: &str = "LBXDP_BENCH_OBJECT";

pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    // Figures that are there can be compared and documented by anybody.
    if arguments.iter().any(|argument| argument == "--from" || argument == "--help") {
        return step::run(bench().args(arguments));
    }
    let guest_kernel = if arguments.iter().any(|argument| argument == "--against-ipvs") {
        // Nothing is done to this machine, so no root is needed, but to install what is missing.
        machine::require_guest_programs()?;
        Some(kernel::require()?)
    } else if machine::is_root() {
        machine::require_lab("bench")?;
        None
    } else {
        bail!("a bench needs root: run `sudo -E env PATH=\"$PATH\" cargo xtask bench`");
    };
    let built = build::build()?;
    let drivers = built.object.with_file_name("bench");
    if !drivers.exists() {
        bail!(
            "there is no {}: beside a packet program that is given by {} must be its bench",
            drivers.display(),
            object::VARIABLE
        );
    }
    step::say(match guest_kernel {
        Some(_) => {
            "measuring in a virtual machine: a quarter of an hour, some minutes with --quick; --only PATTERN is a part"
        }
        None => "measuring: half an hour for all of it, some minutes with --quick; --only PATTERN is a part",
    });
    let mut bench = bench();
    if let Some(directory) = guest_kernel {
        bench.env(kernel::VARIABLE, directory);
    }
    bench.args(arguments).env(BENCH_OBJECT_VARIABLE, &drivers).env(test::BINARY_VARIABLE, &built.binary);
    // The same as for the binary before: else its library would be compiled again.
    step::run(bench.env(object::VARIABLE, &built.object))
}

fn bench() -> Command {
    let mut cargo = project::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "lbxdp-bench", "--"]);
    cargo
}
