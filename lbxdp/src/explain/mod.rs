//! `lbxdp explain`: what would become of a packet, step by step, and nothing is done.
//!
//! `rehearsal` runs the very decision code over the live tables, which are opened for reading alone, and keeps what it writes in
//! copies; `story` tells what was seen. Nothing is decided here.

mod arguments;
mod capture;
mod craft;
mod document;
mod helper;
mod here;
mod live;
mod read;
pub mod rehearsal;
mod run;
mod story;
#[cfg(test)]
mod tests;
mod text;
mod words;

use std::io;

pub use arguments::ExplainArguments;
pub use live::Live;
pub use run::run;
pub use story::{About, Explanation, InterfaceNames, Outcome, Step, tell};

use crate::host::HostError;
use crate::tables::TableError;
use crate::tables::pins::Instance;
use capture::CaptureError;
use craft::CannotCraft;
use words::BadWords;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error(transparent)]
    Words(#[from] BadWords),
    #[error(transparent)]
    Craft(#[from] CannotCraft),
    #[error("--flags are TCP's: a packet of another protocol has none")]
    FlagsOfTcp,
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(
        "looking at the tables needs root (or CAP_BPF and CAP_NET_ADMIN, and the right to read /sys/fs/bpf)"
    )]
    NotPermitted,
    #[error(
        "instance `{0}` has no packet path in the kernel: start it (lbxdp run), or set LBXDP_INSTANCE to the one you mean"
    )]
    NotLoaded(Instance),
    #[error("instance `{0}` forwards by tables of another version of lbxdp: explain with that one")]
    OtherVersion(Instance),
    #[error("no interface of this network namespace has the packet path of this instance")]
    Nowhere,
    #[error(
        "the packet path is on several interfaces: say with --interface by which one the packet comes in ({0})"
    )]
    WhichInterface(String),
    #[error("the packet path is not on {0}; it is on: {1}")]
    NotAttached(String, String),
    #[error("cannot ask the kernel for the time in its ticks")]
    Clock(#[source] io::Error),
    #[error("cannot ask the kernel for the way to a client")]
    Route(#[source] io::Error),
    #[error("cannot ask for the pinned links")]
    Links(#[source] io::Error),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

impl ExplainError {
    /// 2 if the words were not understood, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Words(_) | Self::Craft(_) | Self::FlagsOfTcp => 2,
            _ => 1,
        }
    }
}
