//! A frame: a scene as somebody looks at it, line by line, and no more lines than are seen.

use ratatui_core::style::Modifier;
use ratatui_core::terminal::Frame;
use ratatui_core::text::{Line, Span};

use super::hand::{Hand, Tone};
use super::keys::HELP;
use super::scene::Scene;
use super::services::{self, Widths};
use super::view::{Screen, View};
use super::{director, head, reasons};

/// How many lines each part has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    /// Lines on the director, and the one with the screens' names.
    head: usize,
    /// The line above the columns.
    title: usize,
    body: usize,
    foot: usize,
}

impl Parts {
    /// Where there is little room, the rows have it.
    fn of(height: usize) -> Self {
        let (head, title, foot) = match height {
            0 | 1 => (0, 0, 0),
            2..=4 => (0, 0, 1),
            5..=9 => (1, 1, 1),
            _ => (4, 1, 1),
        };
        Self { head, title, body: height - head - title - foot, foot }
    }
}

/// Lines that a body has in a terminal of so many.
pub(super) fn body_height(height: u16) -> usize {
    Parts::of(usize::from(height)).body
}

/// Draws a view that has been settled.
pub(super) fn frame(frame: &mut Frame<'_>, hand: Hand, scene: &Scene, view: &View) {
    let area = frame.area();
    let parts = Parts::of(usize::from(area.height));
    let lines = if view.has_help {
        help(hand)
    } else {
        let body = body(hand, scene, view, usize::from(area.width), parts);
        let head = head::lines(hand, scene, view).into_iter().chain([head::screens(hand, scene, view)]);
        let mut lines: Vec<Line> = head.take(parts.head).chain(body).collect();
        lines.resize(usize::from(area.height) - parts.foot, Line::default());
        lines.extend((parts.foot > 0).then(|| foot(hand, view)));
        lines
    };
    for (y, line) in (area.top()..area.bottom()).zip(&lines) {
        frame.buffer_mut().set_line(area.left(), y, line, area.width);
    }
    if let (Some(_), Some(y)) = (&view.typing, area.bottom().checked_sub(1)) {
        let typed = u16::try_from(FILTER.len() + view.filter.text().chars().count()).unwrap_or(u16::MAX);
        frame.set_cursor_position((area.left().saturating_add(typed.min(area.width.saturating_sub(1))), y));
    }
}

fn body(hand: Hand, scene: &Scene, view: &View, width: usize, parts: Parts) -> Vec<Line<'static>> {
    let mut lines = Vec::with_capacity(parts.title + parts.body);
    match view.screen {
        Screen::Services => {
            let widths = Widths::new(width, scene.name_width);
            lines.extend((parts.title > 0).then(|| services::title(hand, view, &widths)));
            let first = view.cursor.first;
            for (at, row) in view.rows.iter().enumerate().skip(first).take(parts.body) {
                let line = services::line(hand, scene, view, &widths, *row);
                let is_chosen = at == view.cursor.at;
                lines.push(if is_chosen { chosen(line, width) } else { line });
            }
            if view.rows.is_empty() {
                lines.push(Line::raw(nothing(scene)));
            }
        }
        Screen::Reasons => {
            lines.extend((parts.title > 0).then(|| reasons::title(hand)));
            let seen = scene.reasons.iter().skip(view.first_line).take(parts.body);
            lines.extend(seen.map(|reason| reasons::line(hand, scene, reason)));
            if scene.reasons.is_empty() {
                lines.push(Line::raw(reasons::NOTHING));
            }
        }
        Screen::Director => {
            lines.extend((parts.title > 0).then(Line::default));
            lines.extend(director::lines(hand, scene, view.first_line, parts.body));
        }
    }
    lines
}

/// What stands where no service does.
pub(super) fn nothing(scene: &Scene) -> &'static str {
    if scene.services.is_empty() {
        "There are no services yet: ipvsadm -A -t VIP:80 -s wlc"
    } else {
        "Nothing has such a name: Esc takes the filter away."
    }
}

/// The row at the cursor, to its end. Whatever colours it has do not matter there.
fn chosen(line: Line<'static>, width: usize) -> Line<'static> {
    let blank = width.saturating_sub(line.width());
    let mut spans: Vec<Span> = line.spans.into_iter().map(|span| Span::raw(span.content)).collect();
    spans.push(Span::raw(" ".repeat(blank)));
    Line::from(spans).style(Modifier::REVERSED)
}

/// Before what is typed.
const FILTER: &str = "filter: ";

/// What is wrong, else what is typed, else what can be pressed.
fn foot(hand: Hand, view: &View) -> Line<'static> {
    let filter = || hand.span(Tone::Heading, format!("{FILTER}{}", view.filter.text()));
    let keys = |words: &'static str| hand.span(Tone::Quiet, words);
    Line::from(match (&view.trouble, &view.typing) {
        (_, Some(_)) => vec![filter(), keys("   Enter keeps it, Esc takes it back")],
        (Some(trouble), None) => vec![hand.span(Tone::Bad, format!("{trouble}; trying again"))],
        (None, None) if view.filter.is_empty() => {
            vec![keys("q end  ? help  / filter  s sort  r turn round  Enter servers  p pause  Tab next")]
        }
        (None, None) => vec![filter(), keys("   Esc takes it away")],
    })
}

fn help(hand: Hand) -> Vec<Line<'static>> {
    let title = Line::from(hand.span(Tone::Heading, "lbxdp top: keys, and what is shown"));
    let back = Line::from(hand.span(Tone::Quiet, "Any key goes back."));
    let lines = HELP.iter().map(|words| Line::raw(*words));
    [title, Line::default()].into_iter().chain(lines).chain([Line::default(), back]).collect()
}
