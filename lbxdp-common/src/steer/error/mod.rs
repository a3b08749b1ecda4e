//! ICMP errors that arrive: which packet they are about, and who is to hear of it.

pub(super) mod back;
pub(super) mod forth;
mod quote;
mod translate;
pub(super) mod tunnel;

pub(super) use tunnel::Tunnelled;
