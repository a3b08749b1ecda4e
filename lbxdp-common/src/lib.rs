//! The law of lbxdp: records, wire formats and every decision of the packet path.
//!
//! Nothing here does I/O, allocates or is unsafe, so the very same code runs in the kernel, in the daemon and in tests.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::expect_used, clippy::panic, reason = "tests may fail")
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "fields are cut out of wider cells on purpose, everywhere here"
)]

#[cfg(test)]
extern crate std;

pub mod address;
pub mod cells;
pub mod client_hop;
pub mod connection;
pub mod counters;
pub mod decap;
pub mod drive;
pub mod forward;
pub mod fragment;
pub mod held;
pub mod hint;
pub mod limit;
mod maps;
pub mod mark;
mod named;
pub mod notice;
pub mod overflow;
pub mod overload;
pub mod pressure;
pub mod protocol;
pub mod reply;
pub mod schedule;
pub mod server;
pub mod service;
pub mod settings;
pub mod state;
pub mod steer;
pub mod table;
pub mod template;
pub mod tend;
pub mod time;
pub mod verdict;
pub mod vip;
pub mod walk;
pub mod watch;
pub mod wire;

pub use address::{Address, V4, V6};
pub use cells::Cells;
pub use forward::{Forward, Tunnel, TunnelChecksum, TunnelKind};
pub use notice::Notice;
pub use overflow::Overflow;
pub use protocol::Protocol;
pub use schedule::Scheduler;
pub use time::Ticks;
pub use verdict::{Fate, Reason, Verdict};
