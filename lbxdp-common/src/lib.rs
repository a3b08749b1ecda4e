//! The law of lbxdp: records, wire formats and every decision of the packet path.
//!
//! Nothing here does I/O, allocates or is unsafe, so the very same code runs in the kernel, in the daemon and in tests.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(test)]
extern crate std;

pub mod forward;
mod named;
pub mod protocol;
pub mod schedule;

pub use forward::Forward;
pub use protocol::Protocol;
pub use schedule::Scheduler;
