//! Is a packet for a VIP at all? Nearly every packet that is not leaves here, for a few nanoseconds.

use super::Ways;
use super::parse::{ADDRESSES, Headers, IP_OFFSET};
use crate::address::{Address, V4, V6};
use crate::settings::{Rules, SettingsView};
use crate::verdict::Reason;
use crate::vip;
use crate::wire::Frame;

/// Whether the packet's destination is a VIP, and the frame's is this machine.
#[inline(always)]
pub(super) fn is_for_a_vip<W: Ways<V4>>(
    world: &W,
    settings: SettingsView<W::Row>,
    headers: &Headers,
) -> Result<(), Reason> {
    is_vip(world, settings, headers)?;
    // The stack ignores frames for others too, but an XDP program sees them before that.
    if headers.destination_mac != world.ingress_mac() {
        return Err(Reason::OtherHost);
    }
    Ok(())
}

/// The same for a frame that is known to be for this machine.
#[inline(always)]
pub(super) fn is_vip<W: Ways<V4>>(
    world: &W,
    settings: SettingsView<W::Row>,
    headers: &Headers,
) -> Result<(), Reason> {
    let destination = headers.destination.to_ne_bytes();
    let bucket = world.vip_bucket(vip::bucket(destination, settings.seed())).ok_or(Reason::NotReady)?;
    if !vip::holds(bucket, destination) && !is_marked(world, settings, destination) {
        return Err(Reason::NotOurs);
    }
    Ok(())
}

/// The same for an IPv6 packet, whose frame is known to be for this machine.
#[inline(always)]
pub(super) fn is_for_a_v6_vip<F: Frame, W: Ways<V6>>(
    world: &W,
    settings: SettingsView<W::Row>,
    frame: &F,
) -> Result<(), Reason> {
    let Some(halves) = frame.read::<[u64; 2]>(IP_OFFSET + ADDRESSES + size_of::<V6>()) else {
        return Err(Reason::NotOurs);
    };
    let destination: V6 = zerocopy::transmute!(halves);
    let bucket = world.vip_v6_bucket(vip::bucket_v6(destination, settings.seed()));
    if !vip::holds_v6(bucket.ok_or(Reason::NotReady)?, destination)
        && !is_marked(world, settings, destination)
    {
        return Err(Reason::NotOurs);
    }
    Ok(())
}

/// Whether a packet comes from a server that some connection may reach by VS/NAT, and its frame is for this machine: it may be
/// a reply.
#[inline(always)]
pub(super) fn is_from_a_server<W: Ways<V4>>(
    world: &W,
    settings: SettingsView<W::Row>,
    headers: &Headers,
) -> bool {
    if !settings.rules().has(Rules::MASQUERADE) || headers.destination_mac != world.ingress_mac() {
        return false;
    }
    let source = headers.source.to_ne_bytes();
    let bucket = world.source_bucket(vip::bucket(source, settings.seed()));
    bucket.is_some_and(|bucket| vip::holds(bucket, source))
}

/// The same of an IPv6 packet, whose frame is known to be for this machine.
#[inline(always)]
pub(super) fn is_from_a_v6_server<F: Frame, W: Ways<V6>>(
    world: &W,
    settings: SettingsView<W::Row>,
    frame: &F,
) -> bool {
    if !settings.rules().has(Rules::MASQUERADE) {
        return false;
    }
    let Some(halves) = frame.read::<[u64; 2]>(IP_OFFSET + ADDRESSES) else {
        return false;
    };
    let source: V6 = zerocopy::transmute!(halves);
    let bucket = world.source_v6_bucket(vip::bucket_v6(source, settings.seed()));
    bucket.is_some_and(|bucket| vip::holds_v6(bucket, source))
}

/// Whether rules give marks to packets for a destination that is no VIP.
#[inline(always)]
fn is_marked<A: Address, W: Ways<A>>(world: &W, settings: SettingsView<W::Row>, destination: A) -> bool {
    settings.rules().has(Rules::MARKED_NETS) && world.mark_run(destination).is_some()
}
