//! SCTP (RFC 9260).

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The common header, 12 bytes; chunks follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Sctp {
    /// Source port.
    pub source: [u8; 2],
    /// Destination port.
    pub destination: [u8; 2],
    /// Whose association this is: the receiver's choice; 0 with INIT.
    pub verification_tag: U32,
    /// `CRC32c` of the whole packet. It covers no address, so VS/DR leaves it as it is.
    pub checksum: [u8; 4],
}

/// The header of a chunk; the next chunk begins at the next multiple of four bytes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Chunk {
    /// What it is.
    pub kind: ChunkKind,
    /// By kind.
    pub flags: u8,
    /// Bytes of header and value, without padding.
    pub bytes: U16,
}

/// What a chunk is (IANA's chunk types).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct ChunkKind(pub u8);

impl ChunkKind {
    /// User data.
    pub const DATA: Self = Self(0);
    /// The client opens.
    pub const INIT: Self = Self(1);
    /// The answer to that.
    pub const INIT_ACK: Self = Self(2);
    /// The end of the association, at once.
    pub const ABORT: Self = Self(6);
    /// No more data from the sender.
    pub const SHUTDOWN: Self = Self(7);
    /// The answer to that.
    pub const SHUTDOWN_ACK: Self = Self(8);
    /// Something was wrong.
    pub const ERROR: Self = Self(9);
    /// The client returns the cookie of INIT-ACK.
    pub const COOKIE_ECHO: Self = Self(10);
    /// The association stands.
    pub const COOKIE_ACK: Self = Self(11);
    /// The association is over.
    pub const SHUTDOWN_COMPLETE: Self = Self(14);
}
