//! Is a packet for a VIP at all? Nearly every packet that is not leaves here, for a few nanoseconds.

use super::World;
use super::parse::Headers;
use crate::settings::{Rules, SettingsView};
use crate::verdict::Reason;
use crate::vip;

/// Whether the packet's destination is a VIP, and the frame's is this machine.
#[inline(always)]
pub(super) fn is_for_a_vip<W: World>(
    world: &W,
    settings: SettingsView<W::Row>,
    headers: &Headers,
) -> Result<(), Reason> {
    let destination = headers.destination.to_ne_bytes();
    let bucket = world.vip_bucket(vip::bucket(destination, settings.seed())).ok_or(Reason::NotReady)?;
    if !vip::holds(bucket, destination) && !is_marked(world, settings, destination) {
        return Err(Reason::NotOurs);
    }
    // The stack ignores frames for others too, but an XDP program sees them before that.
    if headers.destination_mac != world.ingress_mac() {
        return Err(Reason::OtherHost);
    }
    Ok(())
}

/// Whether rules give marks to packets for a destination that is no VIP.
#[inline(always)]
fn is_marked<W: World>(world: &W, settings: SettingsView<W::Row>, destination: [u8; 4]) -> bool {
    settings.rules().has(Rules::MARKED_NETS) && world.mark_run(destination).is_some()
}
