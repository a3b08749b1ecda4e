//! The kernel of a virtual machine: Debian's, unpacked beside what cargo builds, and not installed.

use std::env;
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{packages, project, step};

/// The variable that names the directory for the bench, and by which an unpacked kernel is given to us: its `boot/vmlinuz-*`
/// and its `lib/modules`.
pub(crate) const VARIABLE: &str = "LBXDP_BENCH_KERNEL";

/// The package that depends on the distribution's kernel.
const LATEST: &str = "linux-image-amd64";

/// How a kernel's package is called, but for its release.
const PACKAGE: &str = "linux-image-";

/// The line of kernels that figures are documented of.
const DOCUMENTED: &str = "6.1.";

/// The directory of an unpacked kernel; it is fetched first unless it is there or given.
pub(crate) fn require() -> Result<PathBuf> {
    if let Some(given) = env::var_os(VARIABLE) {
        let path = PathBuf::from(given);
        return path.canonicalize().with_context(|| format!("{VARIABLE}={}", path.display()));
    }
    if ARCH != "x86_64" {
        bail!("the virtual machine is one of x86_64, and runs what is installed here: this is {ARCH}");
    }
    packages::require_program(
        "depmod",
        "kmod",
        "the virtual machine's kernel gets its list of modules by it",
    )?;
    let package = latest()?;
    let release = package.strip_prefix(PACKAGE).unwrap_or(&package);
    let kernels = project::target()?.join("kernels");
    let directory = kernels.join(&package);
    if !directory.exists() {
        step::say(format_args!("fetching {package} for a virtual machine, into {}", kernels.display()));
        fetch(&package, release, &directory)?;
    }
    step::say(format_args!("the virtual machine's kernel: {release}"));
    if !release.starts_with(DOCUMENTED) {
        step::say(format_args!(
            "this distribution has no {DOCUMENTED}x any more: compare with documented figures by ratios only"
        ));
    }
    Ok(directory)
}

/// The package of the distribution's kernel.
fn latest() -> Result<String> {
    if !packages::is_offered(LATEST) {
        bail!(
            "apt offers no {LATEST}, as Debian's does: unpack a kernel's package (`dpkg-deb -x`, then `depmod -b`), and name the directory by {VARIABLE}"
        );
    }
    let said = step::read(Command::new("apt-cache").args(["depends", "--important", LATEST]))?;
    depended_on(&said).map(str::to_owned).with_context(|| format!("which kernel does {LATEST} mean? {said}"))
}

/// The kernel among what a package depends on.
fn depended_on(said: &str) -> Option<&str> {
    let dependencies = said.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    dependencies.map(str::trim).find(|name| {
        name.strip_prefix(PACKAGE)
            .is_some_and(|release| release.starts_with(|first: char| first.is_ascii_digit()))
    })
}

/// Fetches a package and unpacks it. The directory is there only when all is in it.
fn fetch(package: &str, release: &str, directory: &Path) -> Result<()> {
    let unfinished = directory.with_file_name(format!("{package}.unfinished"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("removing {}", unfinished.display()))?;
    }
    let root = unfinished.join("root");
    fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
    step::run(Command::new("apt-get").args(["--quiet", "download", package]).current_dir(&unfinished))?;
    let mut files = fs::read_dir(&unfinished)?.flatten().map(|file| file.path());
    let archive = files
        .find(|file| file.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get has left no package in {}", unfinished.display()))?;
    step::run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&root))?;
    // The package's own scripts would do it where it is installed.
    step::run(Command::new("depmod").arg("--basedir").arg(&root).arg(release))?;
    fs::rename(&root, directory).with_context(|| format!("moving {}", root.display()))?;
    fs::remove_dir_all(&unfinished).with_context(|| format!("removing {}", unfinished.display()))
}

#[cfg(test)]
mod tests {
    use super::depended_on;

    #[test]
    fn the_kernel_is_found_among_what_a_package_depends_on() {
        let said = "linux-image-amd64\n  Depends: linux-base\n  Depends: linux-image-6.1.0-56-amd64\n";
        assert_eq!(depended_on(said), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(depended_on("linux-image-amd64\n  Depends: linux-image-amd64-signed\n"), None);
        assert_eq!(depended_on(""), None);
    }
}
