//! What directors and real servers need of the machine they run on, set up and taken back: `lbxdp realserver` and `lbxdp director`.
//!
//! `look` finds out what is there (`surroundings`); `realserver` and `director` say what is wanted of that; `plan` makes ordered
//! steps of it, which `render` prints and `carry_out` does; `memory` keeps what takes them back.

mod carry_out;
mod director;
mod look;
mod memory;
mod netlink;
mod plan;
mod realserver;
mod render;
mod run;
mod step;
pub(crate) mod surroundings;
#[cfg(test)]
mod tests;
mod words;

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

pub use realserver::TunnelKind;
pub use run::{Outcome, run_director, run_realserver};
pub use words::{DirectorVerb, RealServerVerb};

pub(crate) use director::{Director as DirectorWish, vips};
pub(crate) use look::look;
pub(crate) use memory::{Memory, recall};
pub(crate) use netlink::Netlink;
pub(crate) use realserver::{RealServer, fitting_mss, is_ignoring, is_silent};
pub(crate) use step::{Step, sysctl_name};
pub(crate) use surroundings::Surroundings;

use lbxdp_common::decap::MAX_GUE_PORTS;

use crate::cli::client::ClientError;
use crate::decap::DecapError;
use crate::tables::pins::Instance;

/// Why it was not done. What had been done before is taken back.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("there is no interface {0}")]
    NoInterface(String),
    #[error(
        "there is no route to the director {0}: name the interface that its tunnel comes in by (--interface)"
    )]
    NoRoute(IpAddr),
    #[error("name the directors by --director: only their tunnel packets are opened")]
    NoDirector,
    #[error(
        "no interface is on the network of {0}: name the one that clients, or the router to them, reach it by (--interface)"
    )]
    NoPlace(IpAddr),
    #[error(
        "there is no device {0}: load the kernel's module for {1:?}, or leave the tunnel to XDP (--decap xdp)"
    )]
    NoDevice(&'static str, TunnelKind),
    #[error("the kernel's GUE wants a port of its own (ip fou): leave it to XDP (--decap xdp)")]
    KernelGue,
    #[error("cannot ask or tell the kernel about {0}")]
    Netlink(&'static str, #[source] rtnetlink::Error),
    #[error("cannot use netlink")]
    NetlinkSocket(#[source] io::Error),
    #[error("cannot {step}{root}", step = .0, root = needs_root(.1.as_ref()))]
    Step(String, #[source] Box<dyn Error + Send + Sync>),
    #[error("cannot {0}; and what was done before could not all be taken back: {1}")]
    HalfDone(String, String, #[source] Box<dyn Error + Send + Sync>),
    #[error("cannot keep what is to be taken back in {0}")]
    Memory(PathBuf, #[source] io::Error),
    #[error(
        "{0} cannot be understood: another version of lbxdp has written it; take back by hand what it lists, and remove it"
    )]
    Forgotten(PathBuf, #[source] serde_json::Error),
    #[error("cannot read {0}")]
    File(PathBuf, #[source] io::Error),
    #[error("{path}:{line}: {words}")]
    Line { path: PathBuf, line: usize, words: String },
    #[error(
        "the daemon of instance `{0}` is not running, but its services are not gone: {1} is there. Start it (lbxdp run), or give them up \
         (lbxdp unload), and stop again; until then all stays as it is"
    )]
    Away(Instance, PathBuf),
    #[error("at most {MAX_GUE_PORTS} ports of GUE can be given (--gue-port)")]
    GuePorts,
    #[error("nothing was started as {0}")]
    NotStarted(&'static str),
    #[error("which VIPs? Nothing was started; name them by --vip")]
    NoVips,
    #[error("{0} is on no interface here that others ask by (ip addr)")]
    NotHere(IpAddr),
    #[error(transparent)]
    Decap(#[from] DecapError),
    #[error(transparent)]
    Daemon(#[from] ClientError),
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

/// What is to be said of an error that another user would not have got.
fn needs_root(cause: &(dyn Error + 'static)) -> &'static str {
    let mut next = Some(cause);
    while let Some(error) = next {
        let by_netlink = match error.downcast_ref() {
            Some(rtnetlink::Error::NetlinkError(message)) => Some(message.to_io()),
            _ => None,
        };
        let of_io = error.downcast_ref::<io::Error>().or(by_netlink.as_ref());
        if of_io.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            return " (root is needed)";
        }
        next = error.source();
    }
    ""
}
