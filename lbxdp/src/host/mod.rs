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
pub(crate) use step::sysctl_name;
pub(crate) use surroundings::Surroundings;

use crate::cli::client::ClientError;
use crate::decap::DecapError;

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
    NetlinkSocket(#[source] std::io::Error),
    #[error("cannot {0} (root is needed)")]
    Step(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot {0}; and what was done before could not all be taken back: {1}")]
    HalfDone(String, String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot keep what is to be taken back in {0}")]
    Memory(PathBuf, #[source] std::io::Error),
    #[error(
        "{0} cannot be understood: another version of lbxdp has written it; take back by hand what it lists, and remove it"
    )]
    Forgotten(PathBuf, #[source] serde_json::Error),
    #[error("cannot read {0}")]
    File(PathBuf, #[source] std::io::Error),
    #[error("{path}:{line}: {words}")]
    Line { path: PathBuf, line: usize, words: String },
    #[error("nothing was started as {0}")]
    NotStarted(&'static str),
    #[error("which VIPs? Nothing was started; name them by --vip")]
    NoVips,
    #[error(transparent)]
    Decap(#[from] DecapError),
    #[error(transparent)]
    Daemon(#[from] ClientError),
    #[error("cannot write the output")]
    Output(#[source] std::io::Error),
}
