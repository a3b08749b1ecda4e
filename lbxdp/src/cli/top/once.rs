//! One frame as plain text: all services, all reasons, the director, with nothing cut.

use ratatui_core::text::Line;

use super::draw::nothing;
use super::hand::Hand;
use super::scene::Scene;
use super::services::{self, Widths};
use super::view::View;
use super::{director, head, reasons};

pub(super) fn text(scene: &Scene) -> String {
    let (hand, view) = (Hand::plain(), View::whole(scene));
    let widths = Widths::whole(scene.name_width);
    let mut lines: Vec<Line> = head::lines(hand, scene, &view).into();
    lines.extend([Line::default(), services::title(hand, &view, &widths)]);
    lines.extend(view.rows.iter().map(|row| services::line(hand, scene, &view, &widths, *row)));
    lines.extend(view.rows.is_empty().then(|| Line::raw(nothing(scene))));
    lines.extend([Line::default(), reasons::title(hand)]);
    lines.extend(scene.reasons.iter().map(|reason| reasons::line(hand, scene, reason)));
    lines.extend(scene.reasons.is_empty().then(|| Line::raw(reasons::NOTHING)));
    lines.push(Line::default());
    lines.extend(director::lines(hand, scene, 0, usize::MAX));
    let mut text = String::new();
    for line in lines {
        let words: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
        text.push_str(words.trim_end());
        text.push('\n');
    }
    text
}
