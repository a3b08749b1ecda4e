//! How packets get to a server by VS/TUN: what they are wrapped in.

use lbxdp_common::{TunnelChecksum, TunnelKind};
use serde::{Deserialize, Serialize};

/// The tunnel to a server. A server that is reached in another way has [`Tunnel::IPIP`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    #[serde(with = "crate::words::tunnel_kind")]
    pub kind: TunnelKind,
    /// GUE: the UDP port the server takes it at, not 0; else 0.
    pub port: u16,
    #[serde(with = "crate::words::tunnel_checksum")]
    pub checksum: TunnelChecksum,
}

impl Default for Tunnel {
    fn default() -> Self {
        Self::IPIP
    }
}

impl Tunnel {
    /// What `-i` means without more words.
    pub const IPIP: Self = Self { kind: TunnelKind::Ipip, port: 0, checksum: TunnelChecksum::None };

    /// The same without what its kind has not: IPVS passes over it.
    #[must_use]
    pub const fn without_surplus(self) -> Self {
        match (self.kind, self.checksum) {
            (TunnelKind::Ipip, _) => Self::IPIP,
            (TunnelKind::Gre, TunnelChecksum::Full) => Self { port: 0, ..self },
            (TunnelKind::Gre, _) => Self { port: 0, checksum: TunnelChecksum::None, ..self },
            (TunnelKind::Gue, _) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_has_what_its_kind_has() {
        use TunnelChecksum::{Full, None, Remote};
        use TunnelKind::{Gre, Gue, Ipip};
        for (kind, port, checksum, port_left, checksum_left) in [
            (Ipip, 5, Full, 0, None),
            (Gre, 5, Full, 0, Full),
            (Gre, 5, Remote, 0, None),
            (Gre, 0, None, 0, None),
            (Gue, 5, Remote, 5, Remote),
        ] {
            let plain = Tunnel { kind, port, checksum }.without_surplus();
            assert_eq!(plain, Tunnel { kind, port: port_left, checksum: checksum_left });
        }
    }
}
