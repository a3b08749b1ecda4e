//! The command line. `ipvsadm` is the front that speaks ipvsadm's language, to the byte; `arguments` are lbxdp's own words,
//! `native` is what ipvsadm cannot say.

pub mod arguments;
pub mod client;
mod failure;
pub mod grammar;
mod help;
pub mod ipvsadm;
mod list;
pub mod marks;
pub mod names;
pub mod native;
pub mod paint;
pub mod proc;
pub(crate) mod restore;
mod save;
pub mod scripts;
pub mod settings;
pub mod status;
pub mod top;

pub use failure::Failure;
