//! The hand that writes: tones, signs, numbers, bars.

use std::env;

use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::text::Span;

use crate::cli::paint::Paint;

/// How something is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Heading,
    /// Of little weight.
    Quiet,
    Good,
    Bad,
    Bar,
}

/// With or without colours, with which signs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hand {
    paint: Paint,
    pub(super) signs: &'static Signs,
}

/// Signs that are not letters.
#[derive(Debug)]
pub(super) struct Signs {
    pub(super) full: char,
    pub(super) empty: char,
    pub(super) open: char,
    pub(super) closed: char,
    /// Stands for what has no room.
    pub(super) cut: char,
}

const UNICODE: Signs = Signs { full: '█', empty: '·', open: '▾', closed: '▸', cut: '…' };
const ASCII: Signs = Signs { full: '#', empty: '.', open: '-', closed: '+', cut: '~' };

impl Hand {
    /// That of standard output: colours unless somebody says no, and signs that the terminal has by its locale.
    pub(super) fn of_output() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .filter_map(env::var_os)
            .find(|value| !value.is_empty())
            .map(|value| value.to_string_lossy().to_lowercase());
        let is_unicode = locale.is_some_and(|locale| locale.contains("utf-8") || locale.contains("utf8"));
        Self { paint: Paint::of_output(), signs: if is_unicode { &UNICODE } else { &ASCII } }
    }

    /// Plain text for whoever reads it.
    pub(super) fn plain() -> Self {
        Self { paint: Paint::Plain, signs: &ASCII }
    }

    #[cfg(test)]
    pub(super) fn coloured() -> Self {
        Self { paint: Paint::Coloured, signs: &UNICODE }
    }

    /// The words in a tone.
    pub(super) fn span(self, tone: Tone, words: impl Into<String>) -> Span<'static> {
        Span::styled(words.into(), self.style(tone))
    }

    /// Without colours, what is bad is bold.
    pub(super) fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        match (tone, self.paint) {
            (Tone::Heading, _) | (Tone::Bad, Paint::Plain) => style.add_modifier(Modifier::BOLD),
            (Tone::Plain, _) | (_, Paint::Plain) => style,
            (Tone::Quiet, _) => style.fg(Color::DarkGray),
            (Tone::Good, _) => style.fg(Color::Green),
            (Tone::Bad, _) => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Tone::Bar, _) => style.fg(Color::Cyan),
        }
    }

    /// A bar of so many places: how much a part is of the whole.
    pub(super) fn bar(self, part: u64, whole: u64, places: usize) -> String {
        let full = share(part, whole, places);
        let signs = |sign, count| std::iter::repeat_n(sign, count);
        signs(self.signs.full, full).chain(signs(self.signs.empty, places - full)).collect()
    }

    /// Words in just so many places, the rest cut off or blank.
    pub(super) fn fit(self, words: &str, places: usize) -> String {
        if words.chars().count() <= places {
            return format!("{words:<places$}");
        }
        let kept = words.chars().take(places.saturating_sub(1));
        kept.chain(std::iter::repeat_n(self.signs.cut, places.min(1))).collect()
    }
}

/// Of so many places, how many are full: one at least if there is anything, all only if it is all.
fn share(part: u64, whole: u64, places: usize) -> usize {
    if part == 0 || whole == 0 {
        return 0;
    }
    let rounded = (u128::from(part) * places as u128 + u128::from(whole) / 2) / u128::from(whole);
    let most = if part < whole { places.saturating_sub(1).max(1) } else { places };
    usize::try_from(rounded).unwrap_or(places).clamp(1, most.max(1)).min(places)
}

const UNITS: [(char, u64); 6] = [
    ('E', 1_000_000_000_000_000_000),
    ('P', 1_000_000_000_000_000),
    ('T', 1_000_000_000_000),
    ('G', 1_000_000_000),
    ('M', 1_000_000),
    ('k', 1_000),
];

/// A number in at most five places, as on the status page: exactly below ten thousand, else rounded down.
pub(super) fn number(value: u64) -> String {
    if value < 10_000 {
        return value.to_string();
    }
    let (sign, unit) = UNITS.into_iter().find(|(_, unit)| value >= *unit).unwrap_or(('k', 1_000));
    let whole = value / unit;
    if whole >= 100 {
        format!("{whole}{sign}")
    } else {
        format!("{whole}.{}{sign}", value % unit / (unit / 10))
    }
}

/// A part of a whole in percent, rounded to a tenth.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let tenths =
        (u128::from(part) * 1000 + u128::from(whole) / 2).checked_div(u128::from(whole)).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// A stretch of time by its largest unit.
pub(super) fn span_of(seconds: u64) -> String {
    for (unit, size) in [("day", 86_400), ("hour", 3600), ("minute", 60)] {
        let count = seconds / size;
        if count > 0 {
            return format!("{count} {unit}{}", if count > 1 { "s" } else { "" });
        }
    }
    format!("{seconds} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_at_most_five_places_and_never_says_too_much() {
        for (value, expected) in [
            (0, "0"),
            (9_999, "9999"),
            (10_000, "10.0k"),
            (99_999, "99.9k"),
            (100_000, "100k"),
            (999_999, "999k"),
            (1_000_000, "1.0M"),
            (12_345_678, "12.3M"),
            (999_999_999, "999M"),
            (3_200_000_000, "3.2G"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_bar_is_empty_or_full_only_if_its_part_is() {
        let hand = Hand::plain();
        for (part, whole, expected) in [
            (0, 10, "....."),
            (1, 1_000_000, "#...."),
            (5, 10, "###.."),
            (999_999, 1_000_000, "####."),
            (10, 10, "#####"),
            (20, 10, "#####"),
            (0, 0, "....."),
            (3, 0, "....."),
        ] {
            assert_eq!(hand.bar(part, whole, 5), expected, "{part} of {whole}");
        }
        assert_eq!((hand.bar(1, 2, 1), hand.bar(1, 2, 0)), ("#".into(), String::new()));
    }

    #[test]
    fn what_has_no_room_is_cut_and_shown_to_be_so() {
        let hand = Hand::plain();
        assert_eq!(hand.fit("10.0.0.11", 12), "10.0.0.11   ");
        assert_eq!(hand.fit("10.0.0.11", 9), "10.0.0.11");
        assert_eq!(hand.fit("10.0.0.11", 5), "10.0~");
        assert_eq!((hand.fit("10.0.0.11", 1), hand.fit("10.0.0.11", 0)), ("~".into(), String::new()));
    }

    #[test]
    fn without_colours_nothing_is_coloured() {
        for tone in [Tone::Plain, Tone::Heading, Tone::Quiet, Tone::Good, Tone::Bad, Tone::Bar] {
            let style = Hand::plain().style(tone);
            assert_eq!((style.fg, style.bg), (None, None), "{tone:?}");
        }
        assert_eq!(Hand::coloured().style(Tone::Bad).fg, Some(Color::Red));
    }
}
