//! Is a packet for a VIP at all? Nearly every packet that is not leaves here, for a few nanoseconds.

use super::Ways;
use super::parse::{ADDRESSES, HeadV6, Headers, IP_OFFSET};
use crate::address::{Address, V4, V6};
use crate::cells::Cells;
use crate::settings::{Rules, SettingsView};
use crate::verdict::Reason;
use crate::vip;
use crate::wire::Frame;
use crate::wire::icmp::{ICMP_V6, kind_v6::FIRST_INFORMATIONAL};
use crate::wire::ipv6::HEADER_BYTES;

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

/// Whether the destination of an IPv6 packet is a VIP, as nearly all VIPs are: not by a mark alone.
#[inline(always)]
pub(super) fn is_v6_vip<F: Frame, W: Ways<V6>>(world: &W, settings: SettingsView<W::Row>, frame: &F) -> bool {
    let Some(HeadV6 { addresses: [_, halves], .. }) = frame.read(0) else {
        return false;
    };
    let destination: V6 = zerocopy::transmute!(halves);
    world
        .vip_v6_bucket(vip::bucket_v6(destination, settings.seed()))
        .is_some_and(|bucket| vip::holds_v6(bucket, destination))
}

/// Whether an ICMP packet that is not for a VIP may be an error about a packet that went to a server, and its frame is for
/// this machine.
#[inline(always)]
pub(super) fn may_be_stray_error<W: Ways<V4>>(
    world: &W,
    settings: SettingsView<W::Row>,
    headers: &Headers,
) -> bool {
    is_stray_error(settings, headers) && headers.destination_mac == world.ingress_mac()
}

/// The same of a frame that is known to be for this machine.
#[inline(always)]
pub(super) fn is_stray_error<C: Cells>(settings: SettingsView<C>, headers: &Headers) -> bool {
    headers.is_icmp() && hears_errors(settings)
}

/// The same of an IPv6 packet, whose frame is known to be for this machine. Only where no other header stands before the
/// ICMP header: routers send nothing else.
#[inline(always)]
pub(super) fn may_be_stray_v6_error<F: Frame, C: Cells>(settings: SettingsView<C>, frame: &F) -> bool {
    const NEXT: usize = IP_OFFSET + 6;
    let is_icmp = frame.read::<[u8; 2]>(NEXT).is_some_and(|[next, _]| next == ICMP_V6);
    // Neighbours are found by ICMP too: nearly all that is not an error ends here.
    let kind = frame.read::<[u8; 2]>(IP_OFFSET + HEADER_BYTES);
    is_icmp && kind.is_some_and(|[kind, _]| kind < FIRST_INFORMATIONAL) && hears_errors(settings)
}

/// Whether packets go to servers from where errors come that are not for a VIP.
#[inline(always)]
fn hears_errors<C: Cells>(settings: SettingsView<C>) -> bool {
    settings.rules().has_any(Rules::MASQUERADE.and(Rules::TUNNELS))
}

/// Whether a packet comes from a server that some connection may reach by VS/NAT, and its frame is for this machine: it may be
/// a reply.
#[inline(always)]
pub(super) fn is_from_a_server<W: Ways<V4>>(
    world: &W,
    settings: SettingsView<W::Row>,
    headers: &Headers,
) -> bool {
    headers.destination_mac == world.ingress_mac() && is_a_servers(world, settings, headers)
}

/// The same of a frame that is known to be for this machine.
#[inline(always)]
pub(super) fn is_a_servers<W: Ways<V4>>(
    world: &W,
    settings: SettingsView<W::Row>,
    headers: &Headers,
) -> bool {
    if !settings.rules().has(Rules::MASQUERADE) {
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
