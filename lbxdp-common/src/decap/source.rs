//! Where tunnel packets come from, as the table of allowed sources has it.

use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Who sent a tunnel packet, in numbers: what the compiler keeps on the kernel's stack must be aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// 4 or 6.
    pub family: u32,
    /// The address in memory order, zeros behind an IPv4 address.
    pub address: [u64; 2],
}

impl Sender {
    /// Bits of an address of this family.
    #[inline(always)]
    pub const fn bits(self) -> u32 {
        if self.family == 4 { 32 } else { 128 }
    }
}

impl From<Sender> for Source {
    fn from(sender: Sender) -> Self {
        Self { family: U32::new(sender.family), address: zerocopy::transmute!(sender.address) }
    }
}

/// An address of either family. The family is a part of the prefix, so that no prefix of one has addresses of the other.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Source {
    /// 4 or 6.
    pub family: U32,
    /// As in the packet; an IPv4 address has zeros behind it.
    pub address: [u8; 16],
}

impl Source {
    /// Bits of the family: every prefix has them all.
    pub const FAMILY_BITS: u32 = 32;

    /// An IPv4 address, as in the packet.
    #[inline(always)]
    pub const fn ipv4([a, b, c, d]: [u8; 4]) -> Self {
        Self { family: U32::new(4), address: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }
    }

    /// An IPv6 address, as in the packet.
    #[inline(always)]
    pub const fn ipv6(address: [u8; 16]) -> Self {
        Self { family: U32::new(6), address }
    }
}
