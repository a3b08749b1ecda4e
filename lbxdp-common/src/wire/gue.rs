//! GUE (draft-ietf-intarea-gue), version 0, as the kernel's `fou` module speaks it (`net/gue.h`): behind a UDP header.

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The header without its optional fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Gue {
    /// Version (2 bits, 0), whether it is a control message (1 bit), and the length of the optional fields in words of
    /// four bytes (5 bits).
    pub version_and_length: u8,
    /// IANA number of what is inside.
    pub protocol: u8,
    /// Which optional fields follow.
    pub flags: U16,
}

impl Gue {
    /// In `flags`: private flags follow, four bytes (`GUE_FLAG_PRIV`).
    pub const PRIVATE: U16 = U16::new(0x0001);

    /// Bytes of the optional fields.
    #[inline(always)]
    pub const fn optional_bytes(self) -> u32 {
        (self.version_and_length & 0x1f) as u32 * 4
    }

    /// Whether it is version 0 and carries data.
    #[inline(always)]
    pub const fn is_data(self) -> bool {
        self.version_and_length >> 5 == 0
    }
}

/// Private flags: remote checksum offload (`GUE_PFLAG_REMCSUM`); four bytes follow.
pub const REMOTE_CHECKSUM: u32 = 1 << 31;

/// What [`REMOTE_CHECKSUM`] announces: the receiver is to make the checksum of the inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RemoteChecksum {
    /// From where on it is summed, counted from the end of the GUE header.
    pub start: U16,
    /// Where it is written, counted likewise.
    pub offset: U16,
}
