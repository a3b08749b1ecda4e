//! lbxdp's user half: command line, daemon, tables. `ARCHITECTURE.md` has the map.

pub mod cli;
pub mod command;
pub mod daemon;
pub mod decap;
pub mod doctor;
pub mod explain;
pub mod host;
mod lan;
pub mod layout;
pub mod link;
pub mod message;
pub mod metrics;
pub mod record;
pub mod saved;
pub mod snapshot;
pub mod state;
pub mod sysctl;
pub mod tables;
pub mod watch;
mod words;
