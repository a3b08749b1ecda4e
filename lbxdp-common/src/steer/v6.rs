//! IPv6 packets.

use zerocopy::big_endian::U16;

use super::follow::Look;
use super::parse::{HeadV6, v6_packet};
use super::settled::{self, Plain};
use super::{Stage, Stages, classify, entered, forward};
use crate::address::V6;
use crate::settings::{Rules, SettingsView};
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;
use crate::wire::ethernet::{self, Ethernet};

/// Gives a packet that is not an untagged IPv4 one over to the stage for it.
#[inline(always)]
pub(super) fn enter<F: Frame, W: Stages<F>>(
    frame: &mut F,
    world: &W,
    ethertype: U16,
) -> Result<W::Sent, Reason> {
    if matches!(ethertype, ethernet::VLAN | ethernet::SERVICE_VLAN) {
        let Ethernet { destination, .. } = frame.read(0).ok_or(Reason::NotOurs)?;
        if ethernet::number(destination) != world.ingress_mac() {
            return Err(Reason::NotOurs);
        }
        return entered(frame, world, Stage::Tagged);
    }
    if ethertype != ethernet::IPV6 {
        return Err(Reason::NotOurs);
    }
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let Ethernet { destination, .. } = frame.read(0).ok_or(Reason::NotOurs)?;
    // Neighbour solicitations and the like go to groups, so this also spares a stage for them.
    if !settings.rules().has(Rules::IPV6) || ethernet::number(destination) != world.ingress_mac() {
        return Err(Reason::NotOurs);
    }
    let mut stage = Stage::V6;
    if let Some(mut frame) = frame.window::<{ size_of::<HeadV6>() }>() {
        if classify::is_v6_vip(world, settings, &frame) {
            if let Some(plain) = Plain::<V6>::of(&frame) {
                match settled::go_on(&mut frame, world, settings, plain, Stage::FreshV6, Stage::V6) {
                    Ok(sent) => return Ok(sent),
                    Err(other) => stage = other,
                }
            }
        } else if !settings.rules().has(Rules::MARKED_NETS) {
            if classify::is_from_a_v6_server(world, settings, &frame) {
                if let Some(plain) = Plain::<V6>::of(&frame)
                    && let Some(sent) = settled::send_back(&mut frame, world, settings, plain)
                {
                    return Ok(sent);
                }
            } else if !classify::may_be_stray_v6_error(settings, &frame) {
                return Err(Reason::NotOurs);
            }
        }
    }
    entered(frame, world, stage)
}

/// The stage.
#[inline(always)]
pub(super) fn arrive<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    if let Err(reason) = classify::is_for_a_v6_vip(world, settings, frame) {
        if classify::may_be_stray_v6_error(settings, frame) {
            return world.enter(Stage::ErrorBackV6, frame);
        }
        if classify::is_from_a_v6_server(world, settings, frame) {
            return world.enter(Stage::BackV6, frame);
        }
        return Err(reason);
    }
    let packet = match v6_packet(frame, world) {
        Err(Reason::Fragment) => return world.enter(Stage::FragmentV6, frame),
        Err(Reason::OtherProtocol) => return world.enter(Stage::ErrorV6, frame),
        packet => packet?,
    };
    let look = Look::<_, V6>::at(world, settings, &packet);
    if let Some(way) = look.go_on(world, settings, &packet) {
        return forward::forward::<V6, _, _>(frame, world, &way);
    }
    look.lay_down(world, &packet)?;
    world.enter(Stage::RareV6, frame)
}
