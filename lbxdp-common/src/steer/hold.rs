//! Holding a packet for the daemon.

use super::{Desk, Stages, tagged};
use crate::held::HeldHeader;
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;

/// The stage: gives the daemon a copy of the frame, as it came. The packet itself is dropped for the reason on the desk.
#[inline(always)]
pub(super) fn hold<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    let reason = desk.reason().ok_or(Reason::NotReady)?;
    // What comes again is to come as it came.
    tagged::put_back(frame, world)?;
    let header = HeldHeader {
        reason: reason.raw(),
        ifindex: world.ingress_ifindex(),
        mtu: if matches!(reason, Reason::MustFragment) { desk.mtu() } else { 0 },
        frame_bytes: frame.bytes(),
    };
    Err(if world.hold(frame, header) { reason } else { Reason::HeldFull })
}
