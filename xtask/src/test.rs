//! `cargo xtask test`: the tests of the host, then the root tests, against the loaded program in networks of namespaces.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::{build, machine, object, project, size, step};

/// The variable that tells the root tests which binary is tested.
pub(crate) const BINARY_VARIABLE: &str = "LBXDP_BIN";
/// The variable that leaves out what needs a browser.
const NO_BROWSER_VARIABLE: &str = "LBXDP_NO_BROWSER";

pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    step::say("the host's tests");
    let host = step::run(project::cargo().args(["test", "--quiet", "--workspace", "--no-fail-fast"]));
    // A failure here does not hide what the root tests have to say.
    if let Err(error) = &host {
        eprintln!("{error:#}");
    }
    if !machine::is_root() {
        if host.is_err() {
            eprintln!("the host's tests failed");
        }
        bail!("the root tests did not run: run `sudo -E env PATH=\"$PATH\" cargo xtask test`");
    }
    let root = root_tests(arguments);
    match (host, root) {
        (Ok(()), root) => root,
        (Err(_), Ok(())) => bail!("the host's tests failed (the root tests passed)"),
        (Err(_), Err(root)) => Err(root.context("the host's tests failed, and the root tests too")),
    }
}

fn root_tests(arguments: &[OsString]) -> Result<()> {
    machine::require_lab("test")?;
    machine::require_test_programs()?;
    let has_browser = machine::find_browser()?;
    let built = build::build()?;
    step::say("the root tests: how large the programs are");
    let sizes = size::check(&built.binary);
    if let Err(error) = &sizes {
        eprintln!("{error:#}");
    }
    step::say("the root tests: what the kernel says of next hops");
    let mut next_hops = project::cargo();
    next_hops.args(["test", "--quiet", "--release", "--package", "lbxdp", "--lib"]);
    let next_hops = step::run(next_hops.args(["--", "--ignored", "in_a_namespace"]));
    step::say("the root tests: the loaded program, in networks of namespaces");
    let mut cargo = project::cargo();
    cargo.args(["test", "--quiet", "--release", "--package", "lbxdp-tests", "--tests", "--no-fail-fast"]);
    cargo.args(["--", "--ignored"]).args(arguments);
    cargo.env(object::VARIABLE, &built.object).env(BINARY_VARIABLE, &built.binary);
    if !has_browser {
        cargo.env(NO_BROWSER_VARIABLE, "1");
    }
    // A failure of the one does not hide what the other has to say.
    step::run(&mut cargo).and(next_hops).and(sizes)
}
