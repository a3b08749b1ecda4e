//! What is always seen: who this is, what all services do together, tables and interfaces in short.

use ratatui_core::style::Modifier;
use ratatui_core::text::{Line, Span};

use super::director::fill_bar;
use super::hand::{Hand, Tone, number, percent, span_of};
use super::scene::{Pace, Scene};
use super::view::{Screen, View};
use crate::snapshot::PacketPath;

/// Places of a table's bar.
const BAR: usize = 10;

/// Three lines on the director.
pub(super) fn lines(hand: Hand, scene: &Scene, view: &View) -> [Line<'static>; 3] {
    [daemon(hand, scene, view), rates(hand, scene, view.pace), tables(hand, scene)]
}

fn daemon(hand: Hand, scene: &Scene, view: &View) -> Line<'static> {
    let Scene { instance, version, uptime_s, generation, .. } = scene;
    let uptime = span_of(*uptime_s);
    let mut line = Line::from(vec![
        hand.span(Tone::Heading, format!("lbxdp {instance}")),
        Span::raw(format!("  daemon {version}, up {uptime}, generation {generation}  ")),
    ]);
    line.push_span(match scene.warnings.len() {
        0 => hand.span(Tone::Good, "all is well"),
        1 => hand.span(Tone::Bad, "1 warning (3)"),
        count => hand.span(Tone::Bad, format!("{count} warnings (3)")),
    });
    if view.is_paused {
        line.push_span(hand.span(Tone::Bad, "  PAUSED"));
    }
    line
}

fn rates(hand: Hand, scene: &Scene, pace: Pace) -> Line<'static> {
    let rates = scene.all.of(pace);
    let shown = |of: fn(&crate::snapshot::Rates) -> u64| rates.as_ref().map(of);
    let words = |value: Option<u64>| value.map_or_else(|| "-".into(), number);
    let both = |name: &str, into: Option<u64>, out: Option<u64>| {
        Span::raw(format!("{name} {} in {} out   ", words(into), words(out)))
    };
    let lost = if scene.dropped.unwrap_or(0) > 0 { Tone::Bad } else { Tone::Plain };
    Line::from(vec![
        both("pkt/s", shown(|rates| rates.in_packets), shown(|rates| rates.out_packets)),
        both("byte/s", shown(|rates| rates.in_bytes), shown(|rates| rates.out_bytes)),
        Span::raw(format!("conn/s {}   ", words(shown(|rates| rates.connections)))),
        hand.span(lost, format!("dropped/s {}", words(scene.dropped))),
        Span::raw(format!("   to stack/s {}", words(scene.passed))),
    ])
}

fn tables(hand: Hand, scene: &Scene) -> Line<'static> {
    let mut spans = Vec::new();
    for (name, table) in [("IPv4", &scene.status.table), ("IPv6", &scene.status.table_v6)] {
        spans.push(Span::raw(format!("{name} ")));
        spans.push(fill_bar(hand, table, BAR));
        let (fill, connections) = (percent(table.entries, table.most_places), number(table.connections));
        spans.push(Span::raw(format!(" {fill} {connections} conn   ")));
    }
    for interface in &scene.status.interfaces {
        let (words, tone) = match interface.path {
            PacketPath::Native => ("native", Tone::Good),
            PacketPath::Generic => ("GENERIC", Tone::Bad),
            PacketPath::Gone => ("GONE", Tone::Bad),
        };
        spans.push(Span::raw(format!("{} ", interface.name)));
        spans.push(hand.span(tone, format!("{words} ")));
    }
    Line::from(spans)
}

/// The names of the screens, and what is special about this look.
pub(super) fn screens(hand: Hand, scene: &Scene, view: &View) -> Line<'static> {
    let names = [
        (Screen::Services, format!("1 services ({})", scene.services.len())),
        (Screen::Reasons, "2 not forwarded".to_owned()),
        (Screen::Director, "3 director".to_owned()),
    ];
    let mut spans = Vec::new();
    for (screen, name) in names {
        let style = hand.style(Tone::Heading);
        let style = if screen == view.screen { style.add_modifier(Modifier::REVERSED) } else { style };
        spans.push(Span::styled(format!(" {name} "), style));
    }
    if view.screen == Screen::Services {
        let order = if view.is_reversed { ", turned round" } else { "" };
        let pace = match view.pace {
            Pace::Average => "averages",
            Pace::Lately => "since the last look",
        };
        let title = view.column.title().to_lowercase();
        let title = title.split(',').next().unwrap_or_default().to_owned();
        spans.push(hand.span(Tone::Quiet, format!("  by {title}{order}, {pace}")));
    }
    Line::from(spans)
}
