//! The next hop of a server, as far as its row needs it.

use lbxdp_common::server::{ServerFlags, ServerRow};

/// Where packets for an address go: what the daemon knows of the next hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// MAC address of the next hop; `None` while it is not known.
    pub mac: Option<[u8; 6]>,
    /// MAC address of the interface that leads there.
    pub source: [u8; 6],
    pub ifindex: u32,
    /// The interface's slot in the device map.
    pub port: u16,
    /// The address is the director's own.
    pub is_local: bool,
}

impl From<&ServerRow> for Hop {
    fn from(row: &ServerRow) -> Self {
        Self {
            mac: Some(row.next_hop).filter(|mac| *mac != [0; 6]),
            source: row.source,
            ifindex: row.ifindex,
            port: row.port,
            is_local: row.flags.has(ServerFlags::LOCAL),
        }
    }
}

impl Hop {
    /// Whether packets can be sent there.
    pub fn is_usable(&self) -> bool {
        self.is_local || self.mac.is_some()
    }
}
