//! The links in the place of Debian's package, for programs that call `/sbin/ipvsadm`: its files are diverted (dpkg-divert(1)),
//! so that they stand beside the links, whenever the package is installed or upgraded.
//!
//! dpkg goes by the path that a package has in its list. Debian 12's has `/sbin/ipvsadm`, Debian 13's `/usr/sbin/ipvsadm`; where
//! `/sbin` is a link both are the same file, so both are diverted: an upgrade of the system does not undo it. They are diverted
//! to different names: after an upgrade from one to the other dpkg removes what the old one has become.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{BINARY, Found, LinkError, NAMES, found, itself, put, remove};

/// The package.
const PACKAGE: &str = "ipvsadm";

/// Diverts the package's files below a root directory, and puts the links in their place.
pub fn link_diverted(root: &Path) -> Result<(), LinkError> {
    let binary = itself()?;
    let shipped = shipped(root)?;
    let programs = NAMES.map(|name| Program::of(root, name, &shipped));
    for diversion in programs.iter().flat_map(|program| &program.diversions) {
        let to = diverted_to(root, &diversion.path)?;
        if to != diversion.path && to != diversion.aside {
            return Err(LinkError::Diverted { path: diversion.path.clone(), to });
        }
    }
    for Program { link, diversions } in &programs {
        for Diversion { path, aside } in diversions {
            // A link that is there is not to be moved away: what it stands for is diverted already, or not there.
            let rename = match found(link)? {
                Found::LinkToUs => "--no-rename",
                Found::Nothing | Found::Foreign => "--rename",
            };
            dpkg_divert(root, &["--local", "--divert", aside, rename, "--add", path])?;
        }
        put(link, &binary)?;
    }
    Ok(())
}

/// Takes the links away below a root directory, and gives the package's files their places back.
pub fn unlink_diverted(root: &Path) -> Result<(), LinkError> {
    for Program { link, diversions } in NAMES.map(|name| Program::of(root, name, &[])) {
        remove(&link)?;
        for Diversion { path, aside } in &diversions {
            // Somebody else's diversion is not ours to undo.
            if diverted_to(root, path)? == *aside {
                dpkg_divert(root, &["--local", "--divert", aside, "--rename", "--remove", path])?;
            }
        }
    }
    Ok(())
}

/// The `ipvsadm` below a root directory that is the kernel's own: what was diverted, else what stands at its place, if that does not
/// lead to lbxdp.
pub(crate) fn kernels_ipvsadm(root: &Path) -> Option<PathBuf> {
    let [name, ..] = NAMES;
    let aside = ["usr/sbin/ipvsadm.kernel", "sbin/ipvsadm.kernel-sbin", "sbin/ipvsadm.kernel"];
    let places = ["sbin", "usr/sbin"].map(|directory| root.join(directory).join(name));
    let all = aside.into_iter().map(|path| root.join(path)).chain(places);
    all.into_iter().find(|path| path.is_file() && !leads_to_us(path))
}

/// Whether a file is lbxdp, by whatever links.
fn leads_to_us(path: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let is_named = |path: PathBuf| path.file_name().is_some_and(|name| name == BINARY);
    path.canonicalize().is_ok_and(is_named)
        || itself().is_ok_and(|own| identity(&own).is_some_and(|own| identity(path) == Some(own)))
}

/// One of ipvsadm's programs in the place of the package's.
struct Program {
    /// Where the link is to be.
    link: PathBuf,
    /// Of each name that the file may have in the package's list. What stands there now is moved by the first of them.
    diversions: Vec<Diversion>,
}

/// A path, and where a package's file goes that has it.
struct Diversion {
    path: String,
    aside: String,
}

impl Program {
    /// A program of a package that has these files.
    fn of(root: &Path, name: &str, shipped: &[String]) -> Self {
        let mut diversions = if root.join("sbin").is_symlink() {
            vec![Diversion::of("/usr/sbin", name, ".kernel"), Diversion::of("/sbin", name, ".kernel-sbin")]
        } else {
            vec![Diversion::of("/sbin", name, ".kernel")]
        };
        diversions.sort_by_key(|diversion| !shipped.contains(&diversion.path));
        Self { link: root.join("sbin").join(name), diversions }
    }
}

impl Diversion {
    fn of(directory: &str, name: &str, suffix: &str) -> Self {
        let path = format!("{directory}/{name}");
        Self { aside: format!("{path}{suffix}"), path }
    }
}

/// The package's list of files; none if it is not installed.
fn shipped(root: &Path) -> Result<Vec<String>, LinkError> {
    let mut query = Command::new("dpkg-query");
    query.env("LC_ALL", "C").arg("--admindir").arg(root.join("var/lib/dpkg")).args(["--listfiles", PACKAGE]);
    let output = query.output().map_err(LinkError::NoDpkg)?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Where the file of a package is that has this path; the path itself if it is not diverted.
fn diverted_to(root: &Path, path: &str) -> Result<String, LinkError> {
    Ok(dpkg_divert(root, &["--truename", path])?.trim_end().to_owned())
}

/// What dpkg-divert answers.
fn dpkg_divert(root: &Path, arguments: &[&str]) -> Result<String, LinkError> {
    let mut command = Command::new("dpkg-divert");
    command.env("LC_ALL", "C").arg("--root").arg(root).args(arguments);
    let output = command.output().map_err(LinkError::NoDpkg)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(LinkError::Dpkg(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")))
    }
}
