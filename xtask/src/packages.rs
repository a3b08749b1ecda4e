//! Programs and packages of the distribution.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Once;

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::step;

/// The file of a program on PATH, or in the system directories that a plain user's PATH lacks.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// Makes sure of a program that the distribution's package of the given name contains.
pub(crate) fn require_program(name: &str, package: &str, why: &str) -> Result<()> {
    if find_program(name).is_some() {
        return Ok(());
    }
    install(&[package], why)?;
    find_program(name).map(drop).with_context(|| format!("{package} is installed, but has no program {name}"))
}

/// Installs packages by apt-get. Where that cannot be, the error says what to type.
pub(crate) fn install(packages: &[&str], why: &str) -> Result<()> {
    let names = packages.join(" ");
    if find_program("apt-get").is_none() {
        bail!("{why}: install {names} (this system has no apt-get, so under whatever name it has here)");
    }
    if !geteuid().is_root() {
        bail!("{why}: run `sudo apt-get install {names}`");
    }
    refresh();
    step::say(format_args!("installing {names}: {why}"));
    step::run(apt_get().args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(packages))
}

/// Whether apt knows a package of this name that could be installed.
pub(crate) fn is_offered(package: &str) -> bool {
    if geteuid().is_root() {
        refresh();
    }
    let answer = step::read(Command::new("apt-cache").args(["policy", package]));
    answer.is_ok_and(|text| text.contains("Candidate:") && !text.contains("Candidate: (none)"))
}

/// Fetches the lists of packages, once: a fresh system or container has none.
fn refresh() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        step::say("fetching the lists of packages: a package is needed");
        if let Err(error) = step::run(apt_get().args(["update", "--quiet"])) {
            // Old lists may do: whether they did, the installation tells.
            eprintln!("{error:#}");
        }
    });
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
