//! `lbxdp decap`: the real server's side of VS/TUN. An XDP program on an interface takes off the tunnel headers of what a
//! director sends, and the stack gets the inner packet.
//!
//! There is no daemon: the program is held by a pinned link, and its settings lie in its own tables.

mod attached;
mod command;
mod pins;
mod program;
mod source;
mod start;
mod status;
mod stop;

use std::path::PathBuf;

use aya::programs::ProgramError;

use crate::tables::TableError;
use crate::tables::pins::Instance;

pub use command::{DecapVerb, run};
pub(crate) use program::object;
pub use program::{PROGRAM, load, verify};
pub(crate) use source::prefix;
pub(crate) use start::start as put;
pub(crate) use status::told;
pub(crate) use stop::stop as take_off;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum DecapError {
    #[error("this binary was built without the decapsulator: build it with `cargo xtask build`")]
    NoProgram,
    #[error("loading BPF programs needs root (or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)")]
    NotPermitted,
    #[error("there is no interface {0}")]
    NoInterface(String),
    #[error("interface {0} has no MAC address: only Ethernet's frames are decapsulated")]
    NoEthernet(String),
    #[error("cannot use {0} in the BPF file system; is it mounted? (mount -t bpf bpf /sys/fs/bpf)")]
    Pins(PathBuf, #[source] std::io::Error),
    #[error("cannot load the decapsulator's tables")]
    Object(#[source] aya::EbpfError),
    #[error("the kernel's verifier refuses the decapsulator")]
    Verifier(#[source] ProgramError),
    #[error(
        "{0} already carries another XDP program (bpftool net show names it); to take it off: ip link set dev {0} xdp off"
    )]
    Busy(String),
    #[error("cannot attach the decapsulator to {0}")]
    Attach(String, #[source] ProgramError),
    #[error("cannot pin or replace the decapsulator of {0}")]
    Pin(String, #[source] Anything),
    #[error(
        "the decapsulator of instance {instance} called {interface} is on another interface now, or in another network namespace: stop it first"
    )]
    Elsewhere { instance: Instance, interface: String },
    #[error("no decapsulator of instance {instance} is on {interface}")]
    NotStarted { instance: Instance, interface: String },
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("cannot write the output")]
    Output(#[source] std::io::Error),
}

/// Whatever went wrong while pinning: aya has an error type for each step.
type Anything = Box<dyn std::error::Error + Send + Sync>;
