//! Where an instance lives: its pins in bpffs, its socket, its lock, its saved configuration.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The version of all layouts of maps. A pin path carries it, so that no build takes up tables it does not understand.
pub const LAYOUT_VERSION: &str = "6";

const BPFFS: &str = "/sys/fs/bpf";
const RUN: &str = "/run/lbxdp";
const STATE: &str = "/var/lib/lbxdp";

/// The name of an instance: there may be several directors in one machine, each in a network namespace of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance(String);

/// Why a name cannot be an instance's.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` cannot name an instance: 1 to 64 letters, digits, `-` or `_`")]
pub struct BadInstance(String);

impl Default for Instance {
    fn default() -> Self {
        Self("default".into())
    }
}

impl FromStr for Instance {
    type Err = BadInstance;

    fn from_str(name: &str) -> Result<Self, BadInstance> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if (1..=64).contains(&name.len()) && name.chars().all(is_plain) {
            Ok(Self(name.into()))
        } else {
            Err(BadInstance(name.into()))
        }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Instance {
    /// The directory of sockets and locks.
    pub fn run_directory() -> &'static Path {
        Path::new(RUN)
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> PathBuf {
        Path::new(RUN).join(format!("{}.sock", self.0))
    }

    /// The file that a running daemon holds locked.
    pub fn lock(&self) -> PathBuf {
        Path::new(RUN).join(format!("{}.lock", self.0))
    }

    /// The file of the wanted configuration.
    pub fn saved(&self) -> PathBuf {
        Path::new(STATE).join(format!("{}.state", self.0))
    }

    /// Everything pinned by this instance, of whatever layout.
    pub fn pins(&self) -> PathBuf {
        Path::new(BPFFS).join("lbxdp").join(&self.0)
    }

    /// The pins of this build's layout.
    pub fn layout_pins(&self) -> PathBuf {
        self.pins().join(format!("v{LAYOUT_VERSION}"))
    }

    /// The pinned maps.
    pub fn map_pins(&self) -> PathBuf {
        self.layout_pins().join("maps")
    }

    /// The maps of watching, pinned while somebody does. They are of no layout: each daemon begins with its own.
    pub fn watch_pins(&self) -> PathBuf {
        self.layout_pins().join("watch")
    }

    /// The pinned links.
    pub fn link_pins(&self) -> PathBuf {
        self.layout_pins().join("links")
    }

    /// The pinned programs.
    pub fn program_pins(&self) -> PathBuf {
        self.layout_pins().join("programs")
    }

    /// The pinned program of an interface.
    pub fn program_pin(&self, interface: &str) -> PathBuf {
        self.program_pins().join(self.pin_name(interface))
    }

    /// The pinned link of an interface: while it is there, the program stays attached.
    pub fn link_pin(&self, interface: &str) -> PathBuf {
        self.link_pins().join(self.pin_name(interface))
    }

    /// An interface's name as the name of a pin: the BPF file system takes no dots (it keeps them for itself).
    #[allow(clippy::unused_self, reason = "all names of an instance's things are asked of the instance")]
    pub fn pin_name(&self, interface: &str) -> String {
        interface.replace('.', ":")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_directory() {
        for name in ["default", "a", "web-1", "x_2", "0"] {
            assert!(name.parse::<Instance>().is_ok(), "{name}");
        }
        for name in ["", ".", "..", "x.y", "a/b", "a b", "ä", "x\n", &"x".repeat(65)] {
            assert!(name.parse::<Instance>().is_err(), "{name:?}");
        }
    }
}
