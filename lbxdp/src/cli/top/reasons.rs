//! The second screen: what was not forwarded and why, ICMP errors, what was done for want of room.

use ratatui_core::text::Line;

use super::hand::{Hand, Tone, number};
use super::scene::{CountScene, Outcome, Scene};

const BAR: usize = 20;

pub(super) fn title(hand: Hand) -> Line<'static> {
    let words = format!("{:<13} {:<22} {:>14} {:>7} {}", "OUTCOME", "REASON", "TIMES", "/S", "SHARE");
    Line::from(hand.span(Tone::Heading, words))
}

/// What stands instead of rows where nothing has happened.
pub(super) const NOTHING: &str = "Every packet for a VIP was forwarded.";

pub(super) fn line(hand: Hand, scene: &Scene, reason: &CountScene) -> Line<'static> {
    let alike = scene.reasons.iter().filter(|other| other.outcome == reason.outcome);
    let whole = alike.filter_map(|other| other.rate).fold(0, u64::saturating_add);
    let tone = if reason.outcome == Outcome::Dropped { Tone::Bad } else { Tone::Plain };
    let rate = reason.rate.map_or_else(|| "-".into(), number);
    Line::from(vec![
        hand.span(tone, format!("{:<13}", reason.outcome.name())),
        hand.span(Tone::Plain, format!(" {:<22} {:>14} {rate:>7} ", reason.name, reason.count)),
        hand.span(Tone::Bar, hand.bar(reason.rate.unwrap_or(0), whole, BAR)),
    ])
}
