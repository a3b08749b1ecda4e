//! IPv6 (RFC 8200), and as many of its extension headers as stand before a transport header.

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the header.
pub const HEADER_BYTES: usize = size_of::<Ipv6>();
/// Where the hop limit stands in the header.
pub const HOP_LIMIT_OFFSET: usize = 7;
/// The least MTU of a link (RFC 8200, 5).
pub const MIN_MTU: u32 = 1280;

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6 {
    /// Version (4 bits, 6), traffic class (8), flow label (20).
    pub version_class_flow: U32,
    /// Bytes behind this header, extension headers included.
    pub payload_bytes: U16,
    /// IANA number of what follows.
    pub next: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}

impl Ipv6 {
    /// Whether this is IPv6 at all.
    #[inline(always)]
    pub fn is_version_6(&self) -> bool {
        self.version_class_flow.get() >> 28 == 6
    }

    /// What it adds to the sum of a transport checksum, without the length: addresses and protocol (RFC 8200, 8.1).
    #[inline(always)]
    pub(crate) fn pseudo_sum(&self) -> u64 {
        let words: [[zerocopy::little_endian::U32; 4]; 2] =
            zerocopy::transmute!([self.source, self.destination]);
        words.as_flattened().iter().map(|word| u64::from(word.get())).sum::<u64>()
            + (u64::from(self.next) << 8)
    }

    /// DSCP and ECN.
    #[inline(always)]
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }
}

/// IANA numbers of extension headers ("IPv6 Extension Header Types").
pub mod extension {
    /// Hop-by-Hop Options.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing.
    pub const ROUTING: u8 = 43;
    /// Fragment.
    pub const FRAGMENT: u8 = 44;
    /// Authentication (its length counts words of four bytes).
    pub const AUTHENTICATION: u8 = 51;
    /// No Next Header.
    pub const NONE: u8 = 59;
    /// Destination Options.
    pub const DESTINATION: u8 = 60;
}

/// What every extension header but the fragment's begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Extension {
    /// IANA number of what follows.
    pub next: u8,
    /// Its length behind the first eight bytes, in units of eight bytes; of the authentication header in units of four.
    pub length: u8,
}

impl Extension {
    /// Bytes of the whole header, as the kernel's `ipv6_skip_exthdr` counts them.
    #[inline(always)]
    pub const fn bytes(self, number: u8) -> u32 {
        if number == extension::AUTHENTICATION {
            (self.length as u32 + 2) * 4
        } else {
            (self.length as u32 + 1) * 8
        }
    }
}

/// The fragment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Fragment {
    /// IANA number of what follows (in the first fragment).
    pub next: u8,
    /// Always zero.
    pub reserved: u8,
    /// The offset in units of eight bytes (13 bits), two bits zero, and whether more fragments follow.
    pub offset_and_more: U16,
    /// Which packet it belongs to.
    pub identification: U32,
}

impl Fragment {
    /// The offset in units of eight bytes.
    #[inline(always)]
    pub fn offset(&self) -> u16 {
        self.offset_and_more.get() >> 3
    }

    /// Whether more fragments follow.
    #[inline(always)]
    pub fn has_more(&self) -> bool {
        self.offset_and_more.get() & 1 != 0
    }
}
