//! The forwarding methods, and the kinds of tunnels.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::named_enum;

named_enum! {
    /// How a packet gets to its server; numbers as `IP_VS_CONN_F_FWD_MASK` has them, words as ipvsadm prints them. A server
    /// that is the director itself is no method of its own: whether it is one, its route says.
    pub enum Forward: u8 {
        /// VS/NAT: addresses and ports change, and the replies come back through the director.
        Masquerade = 0 => "Masq",
        /// VS/TUN: the packet travels inside another one; the server has the VIP on a tunnel device or its loopback.
        Tunnel = 2 => "Tunnel",
        /// VS/DR: only the MAC addresses change; the server has the VIP on its loopback.
        Direct = 3 => "Route",
    }
}

named_enum! {
    /// What a packet travels in; numbers as in `linux/ip_vs.h` (`IP_VS_CONN_F_TUNNEL_TYPE_*`), words as ipvsadm's.
    pub enum TunnelKind: u8 {
        /// IP in IP (RFC 2003, RFC 2473, RFC 4213).
        Ipip = 0 => "ipip",
        /// Generic UDP encapsulation.
        Gue = 1 => "gue",
        /// Generic routing encapsulation (RFC 2784).
        Gre = 2 => "gre",
    }
}

named_enum! {
    /// What becomes of a tunnel's checksum; numbers as in `linux/ip_vs.h` (`IP_VS_TUNNEL_ENCAP_FLAG_*`), words as ipvsadm's.
    pub enum TunnelChecksum: u8 {
        /// There is none.
        None = 0 => "nocsum",
        /// The outer UDP or GRE header carries one.
        Full = 1 => "csum",
        /// GUE: the receiver may be told to complete the inner packet's.
        Remote = 2 => "remcsum",
    }
}

/// How a tunnel to a server is made (4 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tunnel {
    /// [`TunnelKind`], raw.
    pub kind: u8,
    /// [`TunnelChecksum`], raw.
    pub checksum: u8,
    /// GUE: the server's UDP port, as in a packet; else 0.
    pub port: [u8; 2],
}
