//! Models of the connection table: what holds whatever the order in which CPUs meet there.
#![cfg_attr(test, allow(clippy::panic, clippy::unwrap_used, reason = "tests may fail"))]

mod growth;
mod memory;
mod table;
mod template;
