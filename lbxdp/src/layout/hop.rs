//! The next hop of a server, as far as its row needs it.

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

impl Hop {
    /// Whether packets can be sent there.
    pub fn is_usable(&self) -> bool {
        self.is_local || self.mac.is_some()
    }
}
