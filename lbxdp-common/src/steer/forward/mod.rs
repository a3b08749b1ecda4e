//! Getting a packet to its server: one file a forwarding method.

mod direct;

use super::World;
use super::follow::Way;
use crate::server::ServerFlags;
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;

/// Rewrites the packet and says how it leaves.
#[inline(always)]
pub(super) fn forward<F: Frame, W: World>(frame: &mut F, world: &W, way: &Way) -> Result<Verdict, Reason> {
    if way.hop.flags.has(ServerFlags::LOCAL) {
        return Ok(Verdict::Local);
    }
    if !way.hop.is_resolved() {
        return Err(Reason::NextHopUnresolved);
    }
    direct::rewrite(frame, &way.hop)?;
    if way.ifindex == world.ingress_ifindex() {
        Ok(Verdict::Transmit)
    } else {
        Ok(Verdict::Redirect(way.hop.port))
    }
}
