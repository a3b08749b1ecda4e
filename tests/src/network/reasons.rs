//! What `lbxdp status` calls the packets that were not forwarded, and the errors that were sent: in one place for all tests.

/// No hop was left.
pub const TTL_EXPIRED: &str = "ttl_expired";
/// Too long for the way out.
pub const TOO_BIG: &str = "too_big";
/// A later fragment whose first has not come.
pub const FRAGMENT_WITHOUT_FIRST: &str = "early_fragment";
/// A held packet that was given up.
pub const HELD_LOST: &str = "held_lost";
/// A first fragment that does not hold the ports and flags.
pub const TINY_FRAGMENT: &str = "tiny_fragment";
/// A fragment that overlaps another.
pub const OVERLAPPING_FRAGMENT: &str = "overlapping_fragment";
/// ICMP errors that a packet was too big, whether the packet was counted so or not.
pub const PACKET_TOO_BIG: &str = "packet_too_big";
