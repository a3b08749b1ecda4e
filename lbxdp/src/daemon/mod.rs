//! The daemon.
pub mod load;
