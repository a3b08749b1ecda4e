//! ICMP errors that arrive: which packet they are about, and who is to hear of it.

mod forth;
mod quote;

pub(super) use forth::{arrive_v4, arrive_v6};
