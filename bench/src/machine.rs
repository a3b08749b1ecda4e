//! The machine and the build that figures are of.

use std::fs;
use std::path::Path;
use std::process::Command;

use lbxdp_tests::command;
use nix::sys::utsname::uname;
use serde::{Deserialize, Serialize};

/// What a reader must know of where figures come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) kernel: String,
    /// The last cache, and whether it is a virtual machine, as the kernel tells.
    pub(crate) cache: String,
    pub(crate) hypervisor: String,
    /// The commit that was measured; with a `+` if the tree was changed.
    pub(crate) commit: String,
    /// How many processes wanted a processor, at the end of the run: with more than there are, figures are worse than they need be.
    #[serde(default)]
    pub(crate) load: String,
    /// When, in UTC.
    pub(crate) date: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = information.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned())
        };
        let kernel = uname().map(|names| names.release().to_string_lossy().into_owned()).unwrap_or_default();
        let is_virtual =
            field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
        Self {
            processor: field("model name").unwrap_or_default(),
            processors: crate::processor::all().map(|all| all.len()).unwrap_or_default(),
            kernel,
            cache: field("cache size").unwrap_or_default(),
            hypervisor: if is_virtual { "a virtual machine".into() } else { "no hypervisor".into() },
            commit: commit(),
            load: load(),
            date: said_by(Command::new("date").args(["--utc", "+%Y-%m-%d"])),
        }
    }
}

/// The average of the last five minutes.
fn load() -> String {
    let averages = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    averages.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn commit() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let git = |arguments: &[&str]| said_by(Command::new("git").arg("-C").arg(root).args(arguments));
    let hash = git(&["rev-parse", "--short", "HEAD"]);
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    if changed.is_empty() { hash } else { hash + "+" }
}

/// What a command says; nothing, if it cannot be asked.
fn said_by(command: &mut Command) -> String {
    command::read(command).map(|said| said.trim().to_owned()).unwrap_or_default()
}
