//! Ethernet II (IEEE 802.3 clause 3.1.1).

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A MAC address.
pub type Mac = [u8; 6];

/// A MAC address as a number: its bytes from the lowest on. What can be compared in one step.
#[inline(always)]
pub const fn number(mac: Mac) -> u64 {
    u64::from_le_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 0, 0])
}

/// The number of the destination in the first eight bytes of a frame.
#[inline(always)]
pub const fn destination_number(start: [u8; 8]) -> u64 {
    u64::from_le_bytes(start) & 0xffff_ffff_ffff
}

/// Whether a MAC address is not one station's but a group's: multicast or broadcast.
#[inline(always)]
pub const fn is_group(mac: Mac) -> bool {
    mac[0] & 1 != 0
}

/// Bytes of the header.
pub const HEADER_BYTES: usize = size_of::<Ethernet>();

/// The `ethertype` of IPv4.
pub const IPV4: U16 = U16::new(0x0800);
/// The `ethertype` of IPv6.
pub const IPV6: U16 = U16::new(0x86dd);
/// The `ethertype` of a VLAN tag (IEEE 802.1Q).
pub const VLAN: U16 = U16::new(0x8100);
/// The `ethertype` of a service VLAN tag (IEEE 802.1ad).
pub const SERVICE_VLAN: U16 = U16::new(0x88a8);

/// A VLAN tag, as it stands behind the addresses, before the ethertype it replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tag {
    /// [`VLAN`] or [`SERVICE_VLAN`].
    pub ethertype: U16,
    /// Priority (3 bits), drop eligible (1), the VLAN's number (12).
    pub control: U16,
}

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ethernet {
    /// Where the frame goes.
    pub destination: Mac,
    /// Where it comes from.
    pub source: Mac,
    /// What follows.
    pub ethertype: U16,
}
