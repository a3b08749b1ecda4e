//! ICMP for IPv4 (RFC 792) and for IPv6 (RFC 4443), as far as errors are made or forwarded here.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The most bytes an error's packet has, IP header included (RFC 1812, 4.3.2.3).
pub const MAX_ERROR_BYTES: u32 = 576;

/// The most bytes an `ICMPv6` error's packet has: IPv6's least MTU (RFC 4443, 2.4 (c)).
pub const MAX_V6_ERROR_BYTES: u32 = 1280;

/// IANA's number of ICMP.
pub const ICMP: u8 = 1;
/// IANA's number of `ICMPv6`.
pub const ICMP_V6: u8 = 58;

/// Types of ICMP.
pub mod kind {
    /// Destination unreachable.
    pub const DESTINATION_UNREACHABLE: u8 = 3;
    /// Source quench (deprecated, but IPVS forwards it).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// The last type that Linux knows (`NR_ICMP_TYPES`).
    pub const LAST: u8 = 18;

    /// Whether it is an error, about which there must be no other one; what nobody knows counts as one (`icmp_send`).
    #[inline(always)]
    pub const fn is_error(kind: u8) -> bool {
        matches!(kind, DESTINATION_UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
            || kind > LAST
    }
}

/// Types of `ICMPv6`; those below 128 are errors.
pub mod kind_v6 {
    /// Destination unreachable.
    pub const DESTINATION_UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// The first type that is no error's.
    pub const FIRST_INFORMATIONAL: u8 = 128;
}

/// The code of "destination unreachable" that path MTU discovery of IPv4 needs.
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// The code of IPv4's "destination unreachable" that says that nobody listens on the port.
const PORT: u8 = 3;
/// The same of IPv6's.
const PORT_V6: u8 = 4;

/// The header of every ICMP packet. An error quotes the packet it is about behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Icmp {
    /// What it is about (IANA's "type").
    pub kind: u8,
    /// And more exactly.
    pub code: u8,
    /// Of header and quote.
    pub checksum: [u8; 2],
    /// What else this kind has to say, as it stands in the packet.
    pub rest: [u8; 4],
}

impl Icmp {
    /// Nobody listens on the port.
    pub const PORT_UNREACHABLE: Self = Self::error(kind::DESTINATION_UNREACHABLE, PORT, [0; 4]);
    /// The same of IPv6.
    pub const PORT_UNREACHABLE_V6: Self = Self::error(kind_v6::DESTINATION_UNREACHABLE, PORT_V6, [0; 4]);
    /// The packet had no hop left.
    pub const TIME_EXCEEDED: Self = Self::error(kind::TIME_EXCEEDED, 0, [0; 4]);
    /// The same of IPv6.
    pub const TIME_EXCEEDED_V6: Self = Self::error(kind_v6::TIME_EXCEEDED, 0, [0; 4]);

    /// The packet is longer than so many bytes, and must not be fragmented (RFC 1191, 4).
    #[inline(always)]
    pub const fn fragmentation_needed(mtu: u32) -> Self {
        // The upper half is unused, and zero.
        let mtu = if mtu > 0xffff { 0xffff } else { mtu };
        Self::error(kind::DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, mtu.to_be_bytes())
    }

    /// The packet is longer than so many bytes (RFC 4443, 3.2).
    #[inline(always)]
    pub const fn packet_too_big(mtu: u32) -> Self {
        Self::error(kind_v6::PACKET_TOO_BIG, 0, mtu.to_be_bytes())
    }

    /// An error, without its checksum.
    pub const fn error(kind: u8, code: u8, rest: [u8; 4]) -> Self {
        Self { kind, code, checksum: [0; 2], rest }
    }

    /// Whether hosts limit how often they send it: they never hold back what path MTU discovery needs
    /// (`icmpv4_mask_allow`).
    #[inline(always)]
    pub const fn is_limited(self) -> bool {
        !(self.kind == kind::DESTINATION_UNREACHABLE && self.code == FRAGMENTATION_NEEDED)
    }

    /// The same of IPv6's errors (`icmpv6_mask_allow`).
    #[inline(always)]
    pub const fn is_limited_v6(self) -> bool {
        self.kind != kind_v6::PACKET_TOO_BIG
    }

    /// As a number, to be handed over.
    #[inline(always)]
    pub fn number(self) -> u64 {
        zerocopy::transmute!(self)
    }

    /// Of such a number.
    #[inline(always)]
    pub fn from_number(number: u64) -> Self {
        zerocopy::transmute!(number)
    }
}
