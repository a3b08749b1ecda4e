//! ipvsadm's names as links to this binary, so that whoever calls ipvsadm gets lbxdp: made, and taken away again.
//!
//! Nothing is overwritten but links to lbxdp, and nothing else is removed. Both ways can be gone again.

mod divert;

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

pub(crate) use divert::kernels_ipvsadm;
pub use divert::{link_diverted, unlink_diverted};

/// The directory for what an administrator installs: on root's PATH it stands before those of packages.
pub const DIRECTORY: &str = "/usr/local/sbin";

/// The names of ipvsadm's programs.
const NAMES: [&str; 3] = ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"];
/// The name that a link leads to, wherever it stands.
const BINARY: &str = "lbxdp";

/// Why there are no links, or still some.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot tell where this binary is")]
    Itself(#[source] io::Error),
    #[error("{0} is there already and is no link to lbxdp: it is left as it is, and so are those after it")]
    Foreign(PathBuf),
    #[error("cannot {what} {path}")]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("dpkg-divert is needed and cannot be started; `lbxdp link DIRECTORY` needs no packages")]
    NoDpkg(#[source] io::Error),
    #[error("{path} is diverted to {to} already, not by `lbxdp link`: nothing was changed")]
    Diverted { path: String, to: String },
    #[error("dpkg-divert says: {0}")]
    Dpkg(String),
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    LinkToUs,
    Foreign,
}

/// Makes the links in a directory. They may be there; if something else is, none is made.
pub fn link(directory: &Path) -> Result<(), LinkError> {
    let paths = NAMES.map(|name| directory.join(name));
    for path in &paths {
        if found(path)? == Found::Foreign {
            return Err(LinkError::Foreign(path.clone()));
        }
    }
    let binary = itself()?;
    paths.iter().try_for_each(|path| put(path, &binary))
}

/// Takes the links out of a directory; what is no link to lbxdp stays.
pub fn unlink(directory: &Path) -> Result<(), LinkError> {
    NAMES.iter().try_for_each(|name| remove(&directory.join(name)).map(drop))
}

fn itself() -> Result<PathBuf, LinkError> {
    std::env::current_exe().map_err(LinkError::Itself)
}

fn found(path: &Path) -> Result<Found, LinkError> {
    match fs::read_link(path) {
        Ok(target) if target.file_name().is_some_and(|name| name == BINARY) => Ok(Found::LinkToUs),
        Ok(_) => Ok(Found::Foreign),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(Found::Nothing),
            // What it says of a file that is no link.
            io::ErrorKind::InvalidInput => Ok(Found::Foreign),
            _ => Err(failed("look at", path)(error)),
        },
    }
}

/// Makes a link, in the place of another one to lbxdp in one step.
fn put(path: &Path, binary: &Path) -> Result<(), LinkError> {
    if found(path)? == Found::Foreign {
        return Err(LinkError::Foreign(path.into()));
    }
    let new = path.with_extension(format!("lbxdp-{}", std::process::id()));
    symlink(binary, &new).map_err(failed("make", &new))?;
    fs::rename(&new, path).map_err(failed("make", path))?;
    println!("{} -> {}", path.display(), binary.display());
    Ok(())
}

/// Whether there was a link to be removed.
fn remove(path: &Path) -> Result<bool, LinkError> {
    let is_ours = found(path)? == Found::LinkToUs;
    if is_ours {
        fs::remove_file(path).map_err(failed("remove", path))?;
        println!("{} removed", path.display());
    }
    Ok(is_ours)
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LinkError {
    move |source| LinkError::File { what, path: path.into(), source }
}

#[cfg(test)]
mod tests;
