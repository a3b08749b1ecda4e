//! The third screen: the director itself, tables, interfaces, next hops.

use lbxdp_common::table::is_nearly_full;
use ratatui_core::text::{Line, Span};

use super::hand::{Hand, Tone, number, percent, span_of};
use super::scene::{Scene, SweepScene};
use crate::cli::status::next_hop;
use crate::snapshot::{PacketPath, TableStatus, Way};

const BAR: usize = 20;

/// How many lines there are.
pub(super) fn count(scene: &Scene) -> usize {
    scene.warnings.len() + fixed(Hand::plain(), scene).len() + scene.status.next_hops.len()
}

/// The lines from one on, at most so many.
pub(super) fn lines(hand: Hand, scene: &Scene, first: usize, most: usize) -> Vec<Line<'static>> {
    let warnings = scene.warnings.iter().map(|words| named(hand, "WARNING", hand.span(Tone::Bad, words)));
    let hops = scene.status.next_hops.iter().map(|hop| {
        let tone = if hop.way == Way::Unknown { Tone::Bad } else { Tone::Plain };
        named(hand, "next hop", hand.span(tone, next_hop(hop)))
    });
    warnings.chain(fixed(hand, scene)).chain(hops).skip(first).take(most).collect()
}

fn fixed(hand: Hand, scene: &Scene) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for interface in &scene.status.interfaces {
        let (words, tone) = match interface.path {
            PacketPath::Native => ("native XDP", Tone::Good),
            PacketPath::Generic => ("GENERIC XDP", Tone::Bad),
            PacketPath::Gone => ("GONE", Tone::Bad),
        };
        let mut line = named(hand, "interface", Span::raw(format!("{}, ", interface.name)));
        line.push_span(hand.span(tone, words));
        lines.push(line);
    }
    let [v4, v6] = scene.sweeps;
    lines.extend(table(hand, "IPv4 table", &scene.status.table, v4));
    lines.extend(table(hand, "IPv6 table", &scene.status.table_v6, v6));
    let pressure = if scene.status.is_pressed { ("NOW", Tone::Bad) } else { ("none", Tone::Good) };
    lines.push(named(hand, "pressure", hand.span(pressure.1, pressure.0)));
    let changed = match scene.changed_s_ago {
        Some(seconds) => format!(", the last one {} ago", span_of(seconds)),
        None => String::new(),
    };
    let saved = if scene.status.unsaved.is_none() { "saved" } else { "NOT SAVED" };
    let generation = scene.generation;
    let words =
        format!("generation {generation}: so many changes since the daemon has begun{changed}; {saved}");
    lines.push(named(hand, "configured", Span::raw(words)));
    if scene.status.repaired > 0 {
        let words = format!("{} rows that somebody else had written to", scene.status.repaired);
        lines.push(named(hand, "repaired", Span::raw(words)));
    }
    lines
}

fn table(hand: Hand, name: &str, table: &TableStatus, sweep: SweepScene) -> [Line<'static>; 2] {
    let TableStatus { connections, half_open, entries, places, most_places, is_growing, .. } = *table;
    let growing = if is_growing { ", growing" } else { "" };
    let mut fill = named(hand, name, fill_bar(hand, table, BAR));
    fill.push_span(Span::raw(format!(
        " {} full: {entries} of at most {most_places} places taken, {places} in use{growing}",
        percent(entries, most_places)
    )));
    let swept = match sweep.lately {
        // Milliseconds of a second are thousandths.
        Some((passes, millis)) => {
            format!("swept {} times/s, {} of the time", number(passes), percent(millis, 1000))
        }
        None => format!("swept {} times so far", number(sweep.all.passes)),
    };
    let words = format!("{connections} connections, half open {half_open}; {swept}");
    [fill, named(hand, "", Span::raw(words))]
}

/// How full a table is: of what it may grow to.
pub(super) fn fill_bar(hand: Hand, table: &TableStatus, places: usize) -> Span<'static> {
    let TableStatus { entries, most_places, .. } = *table;
    let tone = if is_nearly_full(entries, most_places) { Tone::Bad } else { Tone::Bar };
    hand.span(tone, hand.bar(entries, most_places, places))
}

fn named(hand: Hand, name: &str, words: Span<'static>) -> Line<'static> {
    Line::from(vec![hand.span(Tone::Quiet, format!("{name:<11} ")), words])
}
