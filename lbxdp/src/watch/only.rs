//! Which outcomes a watcher wants to see, in words.

use std::str::FromStr;

use lbxdp_common::watch::Outcomes;
use lbxdp_common::{Fate, Reason};

/// A word for one or more outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Only(pub Outcomes);

/// Why a word is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no outcome: forward, pass, drop, hold, or a reason (`lbxdp status` and the README name them)"
)]
pub struct BadOutcome(String);

impl FromStr for Only {
    type Err = BadOutcome;

    fn from_str(word: &str) -> Result<Self, BadOutcome> {
        let reason = || Reason::from_name(word).map(Outcomes::of).ok_or_else(|| BadOutcome(word.into()));
        Ok(Self(match word {
            "forward" => Outcomes::FORWARDED,
            "pass" => Outcomes::with_fate(Fate::Pass).with(Outcomes::LOCAL),
            "drop" => Outcomes::with_fate(Fate::Drop),
            "hold" => Outcomes::with_fate(Fate::Hold),
            _ => reason()?,
        }))
    }
}

impl Only {
    /// All that are named; all that has to do with us if none is.
    pub(super) fn all(words: &[Self]) -> Outcomes {
        words.iter().map(|word| word.0).reduce(Outcomes::with).unwrap_or(Outcomes::OURS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_outcomes() {
        let only = |words: &[&str]| {
            let words: Vec<Only> = words.iter().map(|word| word.parse().expect(word)).collect();
            Only::all(&words)
        };
        assert_eq!(only(&[]), Outcomes::OURS);
        assert_eq!(
            only(&["forward", "pass", "drop", "hold"]),
            Outcomes(Outcomes::OURS.0 & ((3 << 62) | ((1 << Reason::COUNT) - 1)))
        );
        assert_eq!(
            only(&["no_server", "not_ours"]),
            Outcomes::of(Reason::NoServer).with(Outcomes::of(Reason::NotOurs))
        );
        assert!(!only(&["drop"]).has(Outcomes::of(Reason::NoService)));
        assert_eq!("lost".parse::<Only>(), Err(BadOutcome("lost".into())));
    }
}
