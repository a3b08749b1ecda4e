//! Where decapsulators live in the BPF file system: a directory for each instance, in it one for each interface.

use std::io;
use std::path::{Path, PathBuf};

use crate::tables::pins::Instance;

const ROOT: &str = "/sys/fs/bpf/lbxdp-decap";

/// The pins of one interface's decapsulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pins {
    /// As the interface was called.
    pub(super) interface: String,
    pub(super) directory: PathBuf,
}

impl Pins {
    pub(super) fn new(instance: &Instance, interface: &str) -> Self {
        let directory = of_instance(instance).join(instance.pin_name(interface));
        Self { interface: interface.into(), directory }
    }

    /// All that are there.
    pub(super) fn all(instance: &Instance) -> io::Result<Vec<Self>> {
        let entries = match std::fs::read_dir(of_instance(instance)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut pins = Vec::new();
        for entry in entries {
            // No interface has a colon in its name, so the way back is exact.
            let interface = entry?.file_name().to_string_lossy().replace(':', ".");
            pins.push(Self::new(instance, &interface));
        }
        pins.sort_by(|one, other| one.interface.cmp(&other.interface));
        Ok(pins)
    }

    /// The link: while it is there, the program stays attached.
    pub(super) fn link(&self) -> PathBuf {
        self.directory.join("link")
    }

    /// Removes them, and the directories above if nothing else is in them.
    pub(super) fn remove(&self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.directory)?;
        for directory in self.directory.ancestors().skip(1).take(2) {
            // One that is not empty stays.
            if std::fs::remove_dir(directory).is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn of_instance(instance: &Instance) -> PathBuf {
    Path::new(ROOT).join(instance.to_string())
}
