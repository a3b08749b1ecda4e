//! The command line. `ipvsadm` is the front that speaks ipvsadm's language, to the byte.

pub mod client;
mod failure;
pub mod grammar;
mod help;
pub mod ipvsadm;
mod list;
pub mod marks;
pub mod names;
pub(crate) mod restore;
mod save;
pub mod settings;
pub mod status;

pub use failure::Failure;
