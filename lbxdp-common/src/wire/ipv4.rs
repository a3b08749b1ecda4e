//! IPv4 (RFC 791).

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a header without options.
pub const MIN_HEADER_BYTES: usize = size_of::<Ipv4>();
/// Where TTL, protocol and checksum stand in the header: [`TtlAndChecksum`].
pub const TTL_OFFSET: usize = 8;

/// "Don't fragment".
pub const DONT_FRAGMENT: U16 = U16::new(0x4000);
/// "More fragments".
pub const MORE_FRAGMENTS: U16 = U16::new(0x2000);
/// The fragment's offset: 0 in the first one.
const FRAGMENT_OFFSET: U16 = U16::new(0x1fff);
/// "More fragments" and the fragment's offset: either makes the packet a fragment.
const FRAGMENT_BITS: U16 = U16::new(0x3fff);

/// The header without options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ipv4 {
    /// Version (4) and length of the header in 32-bit words.
    pub version_and_length: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Bytes of header and payload.
    pub total_bytes: U16,
    /// Which packet a fragment belongs to.
    pub identification: U16,
    /// Three flags, and the fragment's offset in units of 8 bytes.
    pub fragment: U16,
    /// Hops left.
    pub ttl: u8,
    /// IANA number of what follows.
    pub protocol: u8,
    /// Of the header.
    pub checksum: [u8; 2],
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}

/// Bytes of the header with its options, 20 to 60, by its first byte; 0 if this is not IPv4 or the length is less than a
/// header's.
#[inline(always)]
pub const fn header_bytes(version_and_length: u8) -> u32 {
    let bytes = (version_and_length & 0x0f) as u32 * 4;
    if version_and_length >> 4 == 4 && bytes as usize >= MIN_HEADER_BYTES { bytes } else { 0 }
}

impl Ipv4 {
    /// Bytes of the header with its options, 20 to 60; 0 if this is not IPv4 or the length is less than a header's.
    #[inline(always)]
    pub fn header_bytes(&self) -> u32 {
        header_bytes(self.version_and_length)
    }

    /// The header as it is to be written, with the checksum that it should have; its own must be 0 now. In words, for bytes
    /// that are written one by one cost more, and so do those who read them at once right after.
    #[inline(always)]
    pub(crate) const fn finished(self) -> [[u8; 4]; 5] {
        const fn word(low: u16, high: u16) -> u32 {
            low as u32 | (high as u32) << 16
        }
        let Self {
            version_and_length,
            traffic_class,
            total_bytes,
            identification,
            fragment,
            ttl,
            protocol,
            ..
        } = self;
        // As little-endian numbers, like the sum.
        let first = u16::from_le_bytes([version_and_length, traffic_class]);
        let lives = u16::from_le_bytes([ttl, protocol]);
        let length = word(first, u16::from_le_bytes(total_bytes.to_bytes()));
        let piece =
            word(u16::from_le_bytes(identification.to_bytes()), u16::from_le_bytes(fragment.to_bytes()));
        let (source, destination) = (u32::from_le_bytes(self.source), u32::from_le_bytes(self.destination));
        let sum = length as u64 + piece as u64 + lives as u64 + source as u64 + destination as u64;
        let checksum = u16::from_le_bytes(super::checksum::of_sum(sum));
        [
            length.to_le_bytes(),
            piece.to_le_bytes(),
            word(lives, checksum).to_le_bytes(),
            self.source,
            self.destination,
        ]
    }

    /// What it adds to the sum of a transport checksum, without the length: addresses and protocol (RFC 768).
    #[inline(always)]
    pub(crate) fn pseudo_sum(&self) -> u64 {
        let [source, destination] = [self.source, self.destination].map(u32::from_le_bytes);
        u64::from(source) + u64::from(destination) + (u64::from(self.protocol) << 8)
    }

    /// Whether it must not be fragmented.
    #[inline(always)]
    pub fn must_not_fragment(&self) -> bool {
        (self.fragment & DONT_FRAGMENT).get() != 0
    }

    /// The fragment's offset, in units of eight bytes.
    #[inline(always)]
    pub fn fragment_offset(&self) -> u16 {
        (self.fragment & FRAGMENT_OFFSET).get()
    }

    /// Whether more fragments follow this one.
    #[inline(always)]
    pub fn has_more_fragments(&self) -> bool {
        (self.fragment & MORE_FRAGMENTS).get() != 0
    }

    /// Whether this is a fragment, and not the first of its packet.
    #[inline(always)]
    pub fn is_later_fragment(&self) -> bool {
        (self.fragment & FRAGMENT_OFFSET).get() != 0
    }

    /// Whether this is a fragment, first or later.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        (self.fragment & FRAGMENT_BITS).get() != 0
    }
}

/// The four bytes of the header that forwarding changes, at [`TTL_OFFSET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TtlAndChecksum {
    /// Hops left.
    pub ttl: u8,
    /// Unchanged; it lies between.
    pub protocol: u8,
    /// Of the header.
    pub checksum: [u8; 2],
}

impl TtlAndChecksum {
    /// One hop less, with the checksum made right again; `None` if no hop is left (TTL 0 or 1).
    #[inline(always)]
    pub fn decremented(self) -> Option<Self> {
        if self.ttl <= 1 {
            return None;
        }
        let checksum = super::checksum::after_ttl_decrement(self.checksum);
        Some(Self { ttl: self.ttl - 1, checksum, ..self })
    }
}
