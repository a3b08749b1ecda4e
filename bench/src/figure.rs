//! A figure: what was measured, and how much its rounds differ.

use serde::{Deserialize, Serialize};

/// The least, the middle and the greatest of some rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of the rounds; all zero if there are none.
    pub(crate) fn of(mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let at = |index: usize| rounds.get(index).copied().unwrap_or_default();
        Self { min: at(0), median: at(rounds.len() / 2), max: at(rounds.len().saturating_sub(1)) }
    }

    /// Of something that is counted, not timed.
    pub(crate) fn exactly(value: f64) -> Self {
        Self { min: value, median: value, max: value }
    }
}

/// What a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    /// Nanoseconds of CPU time for a packet, without the driver's.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Millions of packets a second of CPU time.
    #[serde(rename = "Mpps")]
    Rate,
    /// Instructions of the processor for a packet, without the generator's.
    #[serde(rename = "instructions")]
    Instructions,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "bytes")]
    Bytes,
    /// Of what is written beside it.
    #[serde(rename = "%")]
    Percent,
}

impl Unit {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Rate => "Mpps",
            Self::Instructions => "instructions",
            Self::Milliseconds => "ms",
            Self::Bytes => "bytes",
            Self::Percent => "%",
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What was measured, from the general to the special, such as `packet/dr/v4/tcp/established/1k`.
    pub(crate) name: String,
    pub(crate) unit: Unit,
    #[serde(flatten)]
    pub(crate) spread: Spread,
    /// The same of a null program in the same rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) null: Option<Spread>,
    /// What must be known to read it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) note: String,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: Unit, spread: Spread) -> Self {
        Self { name: name.into(), unit, spread, null: None, note: String::new() }
    }

    pub(crate) fn with_null(self, null: Spread) -> Self {
        Self { null: Some(null), ..self }
    }

    pub(crate) fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_all_rounds_in_whatever_order_they_came() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 9.0, 2.0, 4.0]), Spread { min: 1.0, median: 3.0, max: 9.0 });
        assert_eq!(Spread::of(Vec::new()), Spread::exactly(0.0));
    }

    #[test]
    fn a_figure_is_read_as_it_was_written() {
        let figure = Figure::new("packet/x", Unit::Rate, Spread::exactly(2.0)).with_note("why");
        let text = serde_json::to_string(&figure).unwrap();
        assert!(text.contains(r#""unit":"Mpps""#), "{text}");
        let read: Figure = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (read.name, read.unit, read.spread, read.note),
            (figure.name, figure.unit, figure.spread, figure.note)
        );
    }
}
