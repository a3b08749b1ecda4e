//! The ways to forward, as ipvsadm's options name them.

use std::fmt;

/// How the director sends a packet to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Direct,
    Tunnel(Tunnel),
    Masquerade,
}

/// How a packet is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    Ipip,
    /// To UDP port [`GUE_PORT`].
    Gue(Checksum),
    Gre(Checksum),
}

/// Of a tunnel's outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    Absent,
    Present,
    /// GUE's remote checksum offload.
    Remote,
}

/// Where servers take GUE.
pub const GUE_PORT: u16 = 6080;

impl Tunnel {
    pub const ALL: [Self; 6] = [
        Self::Ipip,
        Self::Gue(Checksum::Absent),
        Self::Gue(Checksum::Present),
        Self::Gue(Checksum::Remote),
        Self::Gre(Checksum::Absent),
        Self::Gre(Checksum::Present),
    ];

    /// Bytes between the outer IP header and the inner one.
    pub fn between_bytes(self) -> usize {
        match self {
            Self::Ipip => 0,
            Self::Gue(_) => 8 + 4,
            Self::Gre(Checksum::Absent) => 4,
            Self::Gre(_) => 8,
        }
    }
}

impl Method {
    /// One of each kind.
    pub const KINDS: [Self; 5] = [
        Self::Direct,
        Self::Tunnel(Tunnel::Ipip),
        Self::Tunnel(Tunnel::Gue(Checksum::Absent)),
        Self::Tunnel(Tunnel::Gre(Checksum::Absent)),
        Self::Masquerade,
    ];

    /// The tunnels of [`Method::KINDS`].
    pub const TUNNELS: [Self; 3] = [Self::KINDS[1], Self::KINDS[2], Self::KINDS[3]];

    /// Whether servers must answer by way of the director.
    pub fn answers_by_director(self) -> bool {
        self == Self::Masquerade
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "--tun-nocsum",
            Self::Present => "--tun-csum",
            Self::Remote => "--tun-remcsum",
        })
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipip => write!(f, "-i --tun-type ipip"),
            Self::Gue(checksum) => write!(f, "-i --tun-type gue --tun-port {GUE_PORT} {checksum}"),
            Self::Gre(checksum) => write!(f, "-i --tun-type gre {checksum}"),
        }
    }
}

/// ipvsadm's words.
impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("-g"),
            Self::Tunnel(tunnel) => tunnel.fmt(f),
            Self::Masquerade => f.write_str("-m"),
        }
    }
}
