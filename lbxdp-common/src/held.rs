//! Packets that are held for the daemon: what the packet path cannot do with them, it does, and sends them again.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The longest frame that is held, in bytes.
pub const MAX_HELD_BYTES: usize = 2048;
/// Bytes of the ring they lie in: a power of two.
pub const HELD_RING_BYTES: u32 = 1 << 19;

/// What stands before a held frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HeldHeader {
    /// Why it is held ([`Reason`](crate::Reason)).
    pub reason: u32,
    /// Index of the interface it came in by.
    pub ifindex: u32,
    /// What would have fitted its way, in bytes from the IP header on; 0 if it is not held for that.
    pub mtu: u32,
    /// Bytes of the frame.
    pub frame_bytes: u32,
}

/// A held frame.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Held {
    /// What is known of it.
    pub header: HeldHeader,
    /// The frame, and behind it whatever was there.
    pub frame: [u8; MAX_HELD_BYTES],
}

impl Held {
    /// The frame alone.
    pub fn frame(&self) -> &[u8] {
        self.frame.get(..self.header.frame_bytes as usize).unwrap_or_default()
    }
}
