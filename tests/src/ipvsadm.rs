//! Programs and scripts that call ipvsadm by its name, and get ours: first on their PATH, or at `/sbin/ipvsadm`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::daemon;
use crate::label::Label;
use crate::namespace::Namespace;

/// A directory with ipvsadm's names and lbxdp's own, all of them lbxdp, for one instance. It is gone when this is dropped.
#[derive(Debug)]
pub struct Ipvsadm {
    directory: PathBuf,
    instance: String,
}

/// Where programs look that do not look on PATH.
const INSTALLED: &str = "/usr/sbin/ipvsadm";

impl Ipvsadm {
    /// The commands of an instance's director.
    pub fn of(instance: &str) -> Result<Self> {
        let directory = env::temp_dir().join(format!("{}-bin", Label::unique()));
        fs::create_dir_all(&directory).context("making a directory for links")?;
        let made = Self { directory, instance: instance.to_owned() };
        for name in ["lbxdp", "ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
            symlink(daemon::binary()?, made.directory.join(name)).context("making a link")?;
        }
        Ok(made)
    }

    /// A program inside a namespace that finds our ipvsadm on its PATH.
    pub fn command(&self, namespace: &Namespace, program: impl AsRef<Path>) -> Command {
        let mut command = namespace.command(program.as_ref());
        self.set_up(&mut command);
        command
    }

    /// A program inside a namespace that finds our ipvsadm where Debian installs it: by a mount that only it sees.
    pub fn command_in_place(&self, namespace: &Namespace, program: &str) -> Command {
        let mut command = namespace.command("unshare");
        let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
        command.args(["--mount", "--", "sh", "-c", script, "sh"]);
        command.arg(self.directory.join("ipvsadm")).arg(INSTALLED).arg(program);
        self.set_up(&mut command);
        command
    }

    /// Runs lines of a shell in a namespace, which must succeed, and gives what they printed.
    pub fn shell(&self, namespace: &Namespace, lines: &str) -> Result<String> {
        command::read(self.command(namespace, "sh").args(["-e", "-c", lines]))
    }

    fn set_up(&self, command: &mut Command) {
        let mut path = OsString::from(&self.directory);
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        path.push(":/usr/sbin:/sbin");
        command.env("PATH", path).env("LBXDP_INSTANCE", &self.instance);
    }
}

impl Drop for Ipvsadm {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
