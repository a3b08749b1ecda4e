//! What the packet path does for a connection when the table has no room for it; each time is counted.

use crate::named_enum;

named_enum! {
    /// Why a packet went by hash, or whose place was taken.
    pub enum Overflow: u32 {
        /// A new connection went by hash: half-open ones have used up their share of its buckets.
        HashedHalfOpen = 0 => "hashed_half_open",
        /// A new connection went by hash: its buckets are full.
        HashedFull = 1 => "hashed_full",
        /// A later packet of a connection without an entry followed the hash.
        HashedOn = 2 => "hashed_on",
        /// A connection without an entry has got one.
        TakenUp = 3 => "taken_up",
        /// A half-open connection lost its place to an established one while the table grew.
        HalfOpenReplaced = 4 => "half_open_replaced",
        /// An established connection found its new place full while the table grew, and stayed where it was.
        StayedBehind = 5 => "stayed_behind",
    }
}

impl Overflow {
    /// Whether a new connection found no room.
    pub const fn is_pressure(self) -> bool {
        matches!(self, Self::HashedHalfOpen | Self::HashedFull)
    }
}
