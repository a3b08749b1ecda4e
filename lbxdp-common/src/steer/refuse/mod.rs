//! Telling the sender why its packet is not forwarded: the frame becomes an ICMP error, and goes back to the MAC address it
//! came from. As Linux's `icmp_send` and `icmp6_send`, but without IP options.

pub(super) mod v4;
pub(super) mod v6;

use super::forward::is_v6;
use super::{Desk, Stage, Stages, World};
use crate::address::Address;
use crate::limit::{ClientLimit, TOTAL_ROW, TotalLimit, client_row};
use crate::notice::Notice;
use crate::settings::SettingsView;
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;
use crate::wire::icmp::Icmp;

/// The error's time to live, or hop limit (`ip_default_ttl`, `hop_limit`).
const TTL: u8 = 64;

/// What is decided in the end: a packet that is not forwarded is answered, if its sender is to know why. Its reason must be
/// one of those for which packets are dropped, for its frame may have been changed by the time it turns out that no answer
/// can be sent.
#[inline(always)]
pub(super) fn concluded<F: Frame, W: Stages<F>>(
    frame: &mut F,
    world: &W,
    decided: Result<Verdict, Reason>,
) -> Result<Verdict, Reason> {
    match decided {
        Err(reason @ (Reason::NoServer | Reason::TooBig | Reason::TtlExpired)) => {
            Desk(world.desk().ok_or(reason)?).set_reason(reason);
            world.enter(Stage::Answer, frame)
        }
        Err(reason @ (Reason::MustFragment | Reason::EarlyFragment)) => {
            Desk(world.desk().ok_or(reason)?).set_reason(reason);
            world.enter(Stage::Hold, frame)
        }
        done => done,
    }
}

/// The stage: turns the frame into an ICMP error, or counts why not.
#[inline(always)]
pub(super) fn answer<F: Frame, W: World>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    let reason = desk.reason().ok_or(Reason::NotReady)?;
    let (v4, v6, notice) = match reason {
        Reason::TooBig => {
            let mtu = desk.mtu();
            (Icmp::fragmentation_needed(mtu), Icmp::packet_too_big(mtu), Notice::PacketTooBig)
        }
        Reason::TtlExpired => (Icmp::TIME_EXCEEDED, Icmp::TIME_EXCEEDED_V6, Notice::TimeExceeded),
        _ => (Icmp::PORT_UNREACHABLE, Icmp::PORT_UNREACHABLE_V6, Notice::PortUnreachable),
    };
    let told = match is_v6(frame) {
        Some(true) => v6::tell(world, frame, v6),
        Some(false) => v4::tell(world, frame, v4),
        None => Err(Notice::Unanswerable),
    };
    match told {
        Ok(()) => {
            world.count_notice(notice);
            Ok(Verdict::Answered(reason))
        }
        Err(notice) => {
            world.count_notice(notice);
            Err(reason)
        }
    }
}

/// Asks the limits. First the total, so that nobody learns from his own what others get.
#[inline(always)]
pub(super) fn admit<A: Address, W: World>(world: &W, client: A) -> Result<(), Notice> {
    let settings = SettingsView(world.settings().ok_or(Notice::Unanswerable)?);
    let total = TotalLimit(world.limit(TOTAL_ROW).ok_or(Notice::Unanswerable)?);
    let client = world.limit(client_row(client, settings.seed())).ok_or(Notice::Unanswerable)?;
    let second = settings.hertz();
    if !total.allows(|| world.now(), second) {
        return Err(Notice::TotalLimit);
    }
    if !ClientLimit(client).take(|| world.now(), second) {
        return Err(Notice::ClientLimit);
    }
    total.take(world.random());
    Ok(())
}
