//! VS/DR: the packet stays as it is, but for one hop less, and goes to the server's MAC address.

use super::one_hop_of;
use crate::address::Address;
use crate::server::Hop;
use crate::steer::World;
use crate::verdict::Reason;
use crate::wire::Frame;

/// Rewrites the frame; untouched if no hop is left, or if it is too long.
#[inline(always)]
pub(super) fn rewrite<A: Address, F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    hop: &Hop,
    ip_bytes: u32,
    mtu: u32,
) -> Result<(), Reason> {
    one_hop_of::<A, _, _>(frame, world, ip_bytes, mtu, false)?;
    frame.write(0, hop.macs).ok_or(Reason::Malformed)
}
