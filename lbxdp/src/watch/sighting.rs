//! A packet as the daemon tells a watcher of it: the kernel's record, and what the daemon knows beside it. On the socket these
//! follow a line that counts them; both ends are of the same build.

use std::net::IpAddr;

use lbxdp_common::server::Method;
use lbxdp_common::service::{ip, octets};
use lbxdp_common::watch::Watched;
use lbxdp_common::{Forward, TunnelKind};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The most that follow one line.
pub const MOST_SIGHTINGS: usize = 64;

/// Bytes of an interface's name, a zero at its end.
const NAME_BYTES: usize = 16;

/// A packet that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Sighting {
    /// The kernel's record; its time is in nanoseconds since 1970.
    pub watched: Watched,
    /// Name of the interface it came in by, followed by zeros.
    pub ingress: [u8; NAME_BYTES],
    /// Name of the interface it leaves by, if it does.
    pub egress: [u8; NAME_BYTES],
    /// The server of its connection, if it was forwarded and has one.
    pub server: ServerSeen,
}

/// A server in a record; all zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ServerSeen {
    /// RIP; an IPv4 one with zeros behind it.
    address: [u8; 16],
    /// The port that its packets go to.
    port: u16,
    /// 4 or 6; 0: no server.
    family: u8,
    /// [`Forward`], raw.
    forward: u8,
    /// [`TunnelKind`], raw.
    tunnel: u8,
    /// Always zero.
    pad: [u8; 3],
}

/// A server, and how packets get to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerTold {
    pub address: IpAddr,
    pub port: u16,
    pub forward: Forward,
    /// Of [`Forward::Tunnel`].
    pub tunnel: TunnelKind,
}

impl ServerSeen {
    /// In a record.
    pub fn new(address: IpAddr, port: u16, method: Method, tunnel: u8) -> Self {
        let forward = match method {
            Method::TUNNEL => Forward::Tunnel,
            Method::MASQUERADE => Forward::Masquerade,
            _ => Forward::Direct,
        };
        let family = if address.is_ipv4() { 4 } else { 6 };
        Self { address: octets(address), port, family, forward: forward.raw(), tunnel, pad: [0; 3] }
    }

    /// What the record says.
    pub fn told(&self) -> Option<ServerTold> {
        if self.family == 0 {
            return None;
        }
        Some(ServerTold {
            address: ip(self.address, self.family == 6),
            port: self.port,
            forward: Forward::from_raw(self.forward)?,
            tunnel: TunnelKind::from_raw(self.tunnel)?,
        })
    }
}

impl Sighting {
    /// Name of the interface that it came in by.
    pub fn ingress(&self) -> String {
        name(&self.ingress)
    }

    /// Name of the interface that it leaves by; empty if it does not.
    pub fn egress(&self) -> String {
        name(&self.egress)
    }
}

/// A name as it stands in a record.
pub fn interface_name(name: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    for (byte, letter) in bytes.iter_mut().zip(name.bytes().take(NAME_BYTES - 1)) {
        *byte = letter;
    }
    bytes
}

fn name(bytes: &[u8; NAME_BYTES]) -> String {
    let letters = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(letters).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_servers_are_read_as_they_were_written() {
        for known in ["", "eth0", "a-name-of-15-ab"] {
            assert_eq!(name(&interface_name(known)), known);
        }
        assert_eq!(name(&interface_name("longer-than-there-can-be")), "longer-than-the");
        assert_eq!(ServerSeen::default().told(), None);
        for (address, method, forward) in [
            ("10.0.0.11", Method::DIRECT, Forward::Direct),
            ("2001:db8::11", Method::TUNNEL, Forward::Tunnel),
            ("10.0.0.11", Method::MASQUERADE, Forward::Masquerade),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            let told = ServerSeen::new(address, 80, method, TunnelKind::Gue.raw()).told();
            assert_eq!(told, Some(ServerTold { address, port: 80, forward, tunnel: TunnelKind::Gue }));
        }
    }
}
