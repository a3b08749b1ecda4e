//! On the host: the guest is started, and its figures are read.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use lbxdp_tests::daemon;

use crate::driver::OBJECT_VARIABLE;
use crate::guest::{Guest, Kernel, SHARE};
use crate::machine::Machine;
use crate::report::Report;

/// The file by which the guest hands over what it has measured.
const REPORT: &str = "report.json";

/// Measures in a guest. `arguments` are what the bench there is to be told beside.
pub(crate) fn measured(arguments: &[String]) -> Result<Report> {
    let kernel = Kernel::given()?;
    println!(
        "in a virtual machine with Linux {}: some minutes, for each instruction is counted",
        kernel.release()
    );
    let mut bench = Command::new(env::current_exe().context("finding this program's own file")?);
    bench.args(["--against-ipvs", "--in-guest", "--json"]).arg(Path::new(SHARE).join(REPORT)).args(arguments);
    bench.env(OBJECT_VARIABLE, env::var_os(OBJECT_VARIABLE).unwrap_or_default());
    bench.env("LBXDP_BIN", daemon::binary()?);
    let guest = Guest::new()?;
    let ran = guest.run(&kernel, &bench);
    let report = guest.share().join(REPORT);
    if !report.exists() {
        // With failures there are figures too; else nothing has been measured at all.
        ran?;
    }
    let report = Report::read(&report)?;
    let here = Machine::here();
    let there = Machine { commit: here.commit.clone(), date: here.date.clone(), ..report.machine };
    Ok(Report { machine: here, guest: Some(there), ..report })
}
