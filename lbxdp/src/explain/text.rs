//! An explanation for people.

use std::fmt::Write;

use super::read::dump;
use super::story::{About, Explanation, Outcome, Step};
use crate::cli::paint::{Ink, Paint};

/// Where the words of a step begin.
const INDENT: usize = 13;

/// The lines of an explanation, with all bytes of its frames if they are wanted.
pub(super) fn text(explanation: &Explanation, with_bytes: bool, paint: Paint) -> String {
    let mut text = paint.ink(Ink::Heading, &explanation.packet) + "\n";
    if let Some(assumed) = &explanation.assumed {
        let _ = writeln!(text, "{:INDENT$}{assumed}", "");
    }
    let mut before = None;
    for Step { about, words, more } in &explanation.steps {
        let name = if before == Some(*about) { "" } else { about.name() };
        before = Some(*about);
        let words =
            if *about == About::Verdict { painted(explanation.outcome, words, paint) } else { words.clone() };
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{name:<INDENT$}{words}");
        for line in more {
            let _ = writeln!(text, "{:INDENT$}{line}", "");
        }
    }
    if with_bytes {
        let _ = write!(text, "as it came in:\n{}", dump(&explanation.frame_in));
        if let Some(frame) = explanation.frame_out.as_ref().filter(|frame| **frame != explanation.frame_in) {
            let _ = write!(text, "as it leaves:\n{}", dump(frame));
        }
    }
    text
}

fn painted(outcome: Outcome, words: &str, paint: Paint) -> String {
    match outcome {
        Outcome::Forwarded | Outcome::Local => paint.ink(Ink::Good, words),
        Outcome::Passed | Outcome::Answered | Outcome::Held | Outcome::Dropped => {
            paint.ink(Ink::Warning, words)
        }
    }
}
