//! GRE (RFC 2784), without key and sequence number.

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// IANA number of the protocol.
pub const PROTOCOL: u8 = 47;

/// The header without its optional part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Gre {
    /// Which optional parts follow, and the version (0).
    pub flags: U16,
    /// Ethertype of what is inside.
    pub protocol: U16,
}

impl Gre {
    /// In `flags`: a [`Checksum`] follows.
    pub const CHECKSUM: U16 = U16::new(0x8000);
}

/// The optional part that [`Gre::CHECKSUM`] announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Checksum {
    /// Of GRE header and all behind it.
    pub checksum: [u8; 2],
    /// Always zero.
    pub reserved: [u8; 2],
}
