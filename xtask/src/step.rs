//! Steps of the work: each is one line that says what is done and why, and a command whose failure is shown whole.

use std::fmt::Display;
use std::io::{IsTerminal, stderr};
use std::process::Command;

use anyhow::{Context, Result, bail};
use lbxdp_tests::command::line;

pub(crate) use lbxdp_tests::command::read;

/// Says what is being done and why. On stderr: the output of what `run` starts stays clean.
pub(crate) fn say(text: impl Display) {
    if stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        eprintln!("\x1b[1;36m==>\x1b[0m {text}");
    } else {
        eprintln!("==> {text}");
    }
}

/// Runs a command that speaks for itself.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}
