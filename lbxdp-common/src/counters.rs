//! What is counted for a server: a row for each CPU, so that nobody waits for anybody.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Totals of one server on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ServerCounters {
    /// Packets that belonged to its connections, forwarded or not.
    pub packets: u64,
    /// Their bytes, from the IP header on.
    pub bytes: u64,
    /// Connections scheduled to it.
    pub connections: u64,
}
