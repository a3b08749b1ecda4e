//! What labs of dead processes left: a killed test cannot clean up. The next lab does it, by the process in the names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::label::Label;
use crate::{command, namespace, wait};

/// Where daemons pin their maps, one directory an instance.
pub(crate) const PINS: &str = "/sys/fs/bpf/lbxdp";

/// Where decapsulators are pinned, one directory an instance.
const DECAP_PINS: &str = "/sys/fs/bpf/lbxdp-decap";

/// Where daemons have their sockets and locks.
pub(crate) const SOCKETS: &str = "/run/lbxdp";

/// Where daemons save their configurations.
pub(crate) const STATES: &str = "/var/lib/lbxdp";

/// How long a daemon may take to end: one that is just loading its programs has to wait for the verifier.
const DEADLINE: Duration = Duration::from_secs(30);

/// Removes all that labs of dead processes left: daemons, namespaces, pins, sockets and saved configurations.
pub fn remove() -> Result<()> {
    for name in orphans(namespace::DIRECTORY) {
        for process in daemons_in(&name) {
            // One that has just ended by itself is no failure.
            let _ = kill(process, Signal::SIGTERM);
            // Nobody may be there to take leave of it: what has ended is in no namespace, though it still has its number.
            wait::until("a daemon left behind ends", DEADLINE, || !daemons_in(&name).contains(&process))?;
        }
        // Another process may be removing the same: what counts is that it is gone.
        let _ = command::read(Command::new("ip").args(["netns", "del", &name]));
    }
    for pins in [PINS, DECAP_PINS] {
        for name in orphans(pins) {
            let _ = fs::remove_dir_all(Path::new(pins).join(name));
        }
    }
    for directory in [SOCKETS, STATES] {
        for name in orphans(directory) {
            let _ = fs::remove_file(Path::new(directory).join(name));
        }
    }
    // Files of tests and of their hosts; a directory or a file.
    let files = std::env::temp_dir();
    for name in orphans(&files.to_string_lossy()) {
        let path = files.join(name);
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    }
    Ok(())
}

/// The namespaces of all labs there are, of any process.
pub fn namespaces() -> Vec<String> {
    labelled(namespace::DIRECTORY)
}

/// Names of all labels' things in a directory.
fn labelled(directory: &str) -> Vec<String> {
    let entries = PathBuf::from(directory).read_dir().into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| Label::of(name).is_some()).collect()
}

fn orphans(directory: &str) -> Vec<String> {
    let is_orphaned = |name: &String| Label::of(name).is_some_and(|label| label.is_orphaned());
    labelled(directory).into_iter().filter(is_orphaned).collect()
}

/// The daemons inside a namespace. Whatever else is there, such as somebody's shell, is none of ours.
fn daemons_in(namespace: &str) -> Vec<Pid> {
    let processes = command::read(Command::new("ip").args(["netns", "pids", namespace])).unwrap_or_default();
    let is_daemon = |process: &i32| {
        fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|program| program.trim() == "lbxdp")
    };
    processes
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .filter(is_daemon)
        .map(Pid::from_raw)
        .collect()
}
