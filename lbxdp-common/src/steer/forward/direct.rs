//! VS/DR: the packet stays as it is, but for one hop less, and goes to the server's MAC address.

use crate::server::Hop;
use crate::steer::parse::IP_OFFSET;
use crate::verdict::Reason;
use crate::wire::Frame;
use crate::wire::ipv4::{TTL_OFFSET, TtlAndChecksum};

/// Rewrites the frame; untouched if no hop is left.
#[inline(always)]
pub(super) fn rewrite<F: Frame>(frame: &mut F, hop: &Hop) -> Result<(), Reason> {
    let ttl: TtlAndChecksum = frame.read(IP_OFFSET + TTL_OFFSET).ok_or(Reason::Malformed)?;
    let ttl = ttl.decremented().ok_or(Reason::TtlExpired)?;
    frame.write(IP_OFFSET + TTL_OFFSET, ttl).ok_or(Reason::Malformed)?;
    frame.write(0, hop.macs).ok_or(Reason::Malformed)
}
