//! ICMP for IPv4 (RFC 792), as far as errors are made here.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The most bytes an error's packet has, IP header included (RFC 1812, 4.3.2.3).
pub const MAX_ERROR_BYTES: u32 = 576;

const DESTINATION_UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;

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
    pub const PORT_UNREACHABLE: Self = Self::error(DESTINATION_UNREACHABLE, 3, [0; 4]);

    /// An error, without its checksum.
    pub const fn error(kind: u8, code: u8, rest: [u8; 4]) -> Self {
        Self { kind, code, checksum: [0; 2], rest }
    }

    /// Whether hosts limit how often they send it: they never hold back what path MTU discovery needs
    /// (`icmpv4_mask_allow`).
    #[inline(always)]
    pub const fn is_limited(self) -> bool {
        !(self.kind == DESTINATION_UNREACHABLE && self.code == FRAGMENTATION_NEEDED)
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
