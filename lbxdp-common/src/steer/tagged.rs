//! Frames that come with VLAN tags, one or two: the tags are taken off, and the packet goes its way as if there had been
//! none. If it ends at the stack, or goes back to its sender, it gets them back.

use super::parse::IP_OFFSET;
use super::{Desk, Stage, Stages, World, classify, continued, parse};
use crate::cells::Cells;
use crate::settings::{Rules, SettingsView};
use crate::verdict::{Fate, Reason, Verdict};
use crate::wire::Frame;
use crate::wire::ethernet::{self, Tag};

const TAG_BYTES: u32 = size_of::<Tag>() as u32;
/// Where the first tag stands.
const TAGS: usize = IP_OFFSET - 2;

/// The stage. That the frame is for this machine's MAC address has been seen before.
#[inline(always)]
pub(super) fn arrive<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let outer: Tag = frame.read(TAGS).ok_or(Reason::NotOurs)?;
    let second: Tag = frame.read(TAGS + size_of::<Tag>()).ok_or(Reason::NotOurs)?;
    let is_twice = matches!(second.ethertype, ethernet::VLAN | ethernet::SERVICE_VLAN);
    let bytes = if is_twice { 2 * TAG_BYTES } else { TAG_BYTES };
    let macs: [u8; 12] = frame.read(0).ok_or(Reason::NotOurs)?;
    frame.cut_front(bytes).ok_or(Reason::NotOurs)?;
    frame.write(0, macs).ok_or(Reason::NotOurs)?;
    desk.set_tags([outer, if is_twice { second } else { Tag::default() }]);
    match parse::headers(frame) {
        Ok(headers) => {
            if let Err(reason) = classify::is_vip(world, settings, &headers) {
                if classify::is_stray_error(settings, &headers) {
                    return world.enter(Stage::ErrorBackV4, frame);
                }
                if classify::is_a_servers(world, settings, &headers) {
                    return world.enter(Stage::BackV4, frame);
                }
                return Err(reason);
            }
            continued(frame, world, settings, &headers)
        }
        Err(ethernet::IPV6) if settings.rules().has(Rules::IPV6) => world.enter(Stage::V6, frame),
        Err(_) => Err(Reason::NotOurs),
    }
}

/// Puts the tags that were taken off a frame where its packet goes from here: they are on the desk no longer.
#[inline(always)]
pub(super) fn put_back<F: Frame, W: World>(frame: &mut F, world: &W) -> Result<(), Reason> {
    let Some(tags) = world.desk().and_then(|desk| Desk(desk).take_tags()) else {
        return Ok(());
    };
    put(frame, tags).ok_or(Reason::NoWayOut)
}

/// Puts VLAN tags into a frame that has none; the second one is none if it is zero.
#[inline(always)]
pub(super) fn put<F: Frame>(frame: &mut F, [outer, inner]: [Tag; 2]) -> Option<()> {
    let is_twice = inner != Tag::default();
    let bytes = if is_twice { 2 * TAG_BYTES } else { TAG_BYTES };
    let macs: [u8; 12] = frame.read(0)?;
    frame.grow_front(bytes)?;
    frame.write(0, macs)?;
    frame.write(TAGS, outer)?;
    // A tag stands before the ethertype of what it tags, so what was there before is right behind the last one.
    if is_twice { frame.write(TAGS + size_of::<Tag>(), inner) } else { Some(()) }
}

/// What is decided when all is done: a frame that came with tags and does not go to a server has them again. To be asked
/// once, at the end of the last stage; the desk has no tags then.
#[inline(always)]
pub fn retagged<F: Frame, C: Cells>(
    frame: &mut F,
    desk: Desk<C>,
    decided: Result<Verdict, Reason>,
) -> Result<Verdict, Reason> {
    let Some(tags) = desk.take_tags() else {
        return decided;
    };
    let needs_them = match decided {
        Ok(Verdict::Local | Verdict::Answered(_)) => true,
        Ok(Verdict::Transmit | Verdict::Redirect(_) | Verdict::Leave(_)) => false,
        Err(reason) => matches!(reason.fate(), Fate::Pass),
    };
    if needs_them && put(frame, tags).is_none() {
        return Err(Reason::NoWayOut);
    }
    decided
}
