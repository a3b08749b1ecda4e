//! lbxdp's user half: command line, daemon, tables. `ARCHITECTURE.md` has the map.

pub mod command;
pub mod message;
pub mod snapshot;
pub mod state;
mod words;
