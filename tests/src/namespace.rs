//! A network namespace: a host of the lab. Only its network is apart; it sees the machine's files, bpffs among them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::command;

/// Where `ip netns` keeps them.
pub(crate) const DIRECTORY: &str = "/run/netns";

/// A namespace of the given name, there until this is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace, with its loopback up.
    pub fn create(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        command::read(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A program to be run inside. Unlike `ip netns exec` this leaves `/sys/fs/bpf` in sight.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Runs a command line, split at blanks, inside, and gives what it printed.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty command line")?;
        command::read(self.command(program).args(words))
    }

    /// Runs iproute2's `ip` with the given words inside.
    pub fn ip(&self, words: &str) -> Result<String> {
        command::read(Command::new("ip").args(["-n", &self.name]).args(words.split_whitespace()))
    }

    /// Sets a sysctl of this namespace, named as below `net`, such as `ipv4/ip_forward`.
    pub fn set(&self, sysctl: &str, value: &str) -> Result<()> {
        let file = format!("/proc/sys/net/{sysctl}");
        let written = self.inside(|| fs::write(&file, value))?;
        written.with_context(|| format!("writing {value} to {file} in {}", self.name))
    }

    /// Runs a closure on a thread inside. Sockets and processes it makes stay inside, whoever uses them later.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let file = File::open(self.path()).with_context(|| format!("opening the namespace {}", self.name))?;
        thread::scope(|scope| {
            let thread = scope.spawn(|| setns(&file, CloneFlags::CLONE_NEWNET).map(|()| work()));
            let entered = thread.join().map_err(|_| anyhow!("a thread inside {} panicked", self.name))?;
            entered.with_context(|| format!("entering the namespace {}", self.name))
        })
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(DIRECTORY).join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = command::read(Command::new("ip").args(["netns", "del", &self.name])) {
            eprintln!("{error:#}");
        }
    }
}
