//! The guest's kernel: a package of Debian's that was unpacked, not installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::command;

/// The variable that names the directory into which the package was unpacked: `cargo xtask bench` sets it.
const VARIABLE: &str = "LBXDP_BENCH_KERNEL";

/// How the file of a kernel is called, but for its release.
const IMAGE: &str = "vmlinuz-";

/// An unpacked kernel.
pub(crate) struct Kernel {
    directory: PathBuf,
    release: String,
}

impl Kernel {
    /// The one that was given.
    pub(crate) fn given() -> Result<Self> {
        let directory = env::var_os(VARIABLE)
            .with_context(|| format!("{VARIABLE} is not set: run this by `cargo xtask bench`"))?;
        Self::of(PathBuf::from(directory))
    }

    fn of(directory: PathBuf) -> Result<Self> {
        let files = fs::read_dir(directory.join("boot"))
            .with_context(|| format!("{} has no unpacked kernel", directory.display()))?;
        let release = files
            .flatten()
            .find_map(|file| file.file_name().to_str()?.strip_prefix(IMAGE).map(str::to_owned))
            .with_context(|| format!("there is no {IMAGE}* in {}/boot", directory.display()))?;
        Ok(Self { directory, release })
    }

    pub(crate) fn release(&self) -> &str {
        &self.release
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.directory.join("boot").join(format!("{IMAGE}{}", self.release))
    }

    /// The directory that is the guest's /lib/modules.
    pub(crate) fn modules(&self) -> PathBuf {
        self.directory.join("lib/modules")
    }

    /// The files of modules, after those of all that they need; of what is built in there is none.
    pub(crate) fn with_dependencies(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for name in names {
            let mut modprobe = Command::new("modprobe");
            modprobe.arg("-d").arg(&self.directory).args(["-S", &self.release, "--show-depends", name]);
            let said = command::read(&mut modprobe)?;
            for file in said.lines().filter_map(inserted) {
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        Ok(files)
    }
}

/// The file in a line of what modprobe would do.
fn inserted(line: &str) -> Option<PathBuf> {
    line.strip_prefix("insmod ").map(|file| PathBuf::from(file.trim()))
}

/// A module as the kernel takes it: newer packages have them compressed.
pub(crate) fn module(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(file).with_context(|| format!("reading {}", file.display()));
    }
    let output =
        Command::new("xz").args(["--decompress", "--stdout"]).arg(file).output().context("starting xz")?;
    ensure!(output.status.success(), "xz cannot unpack {}", file.display());
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_modprobe_would_do_names_files_and_what_is_built_in_has_none() {
        let file = "/k/lib/modules/6.1.0/kernel/fs/9p/9p.ko";
        assert_eq!(inserted(&format!("insmod {file} ")), Some(file.into()));
        assert_eq!(inserted("builtin virtio_pci"), None);
    }

    #[test]
    fn a_kernel_is_known_by_its_file() {
        let directory = env::temp_dir().join(format!("{}-kernel", lbxdp_tests::Label::unique()));
        fs::create_dir_all(directory.join("boot")).unwrap();
        assert!(Kernel::of(directory.clone()).is_err());
        fs::write(directory.join("boot/config-6.1.0-1-amd64"), "").unwrap();
        fs::write(directory.join("boot/vmlinuz-6.1.0-1-amd64"), "").unwrap();
        let kernel = Kernel::of(directory.clone());
        fs::remove_dir_all(&directory).unwrap();
        let kernel = kernel.unwrap();
        assert_eq!(kernel.release(), "6.1.0-1-amd64");
        assert_eq!(kernel.image(), directory.join("boot/vmlinuz-6.1.0-1-amd64"));
    }
}
