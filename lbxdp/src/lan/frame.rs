//! The beginning of a frame: who sent it, and what packet is in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Mac;

/// Kinds of Ethernet frames.
pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;

/// Bytes of an Ethernet header.
pub(super) const HEADER: usize = 14;

/// An IP packet in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) to_mac: Mac,
    pub(crate) from_mac: Mac,
    pub(crate) destination: IpAddr,
}

/// Some bytes of a frame.
pub(super) fn bytes<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}

/// What kind of packet is in it.
pub(super) fn kind(frame: &[u8]) -> Option<u16> {
    bytes(frame, 12).map(u16::from_be_bytes)
}

/// The header of a frame.
pub(super) fn header(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes()].concat()
}

impl Packet {
    /// The IP packet of a frame without VLAN tags.
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        let destination = match kind(frame)? {
            IPV4 => Ipv4Addr::from(bytes::<4>(frame, HEADER + 16)?).into(),
            IPV6 => Ipv6Addr::from(bytes::<16>(frame, HEADER + 24)?).into(),
            _ => return None,
        };
        Some(Self { to_mac: bytes(frame, 0)?, from_mac: bytes(frame, 6)?, destination })
    }
}
