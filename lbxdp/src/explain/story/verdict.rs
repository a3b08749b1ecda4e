//! What becomes of a packet, in words.

use lbxdp_common::{Fate, Reason, Verdict};

use super::reasons::words;
use super::{About, Narrator, Outcome, Step};
use crate::explain::read::Contents;
use crate::explain::rehearsal::{Note, Source};

impl<S: Source> Narrator<'_, S> {
    pub(super) fn outcome(&self) -> (Outcome, Option<Reason>) {
        let is_held = self.performance.notes.iter().any(|note| matches!(note, Note::Held(_)));
        match self.performance.decided {
            Ok(Verdict::Transmit | Verdict::Redirect(_) | Verdict::Leave(_)) => (Outcome::Forwarded, None),
            Ok(Verdict::Local) => (Outcome::Local, None),
            Ok(Verdict::Answered(reason)) => (Outcome::Answered, Some(reason)),
            Err(reason) if is_held => (Outcome::Held, Some(reason)),
            Err(reason) => {
                let outcome = if reason.fate() == Fate::Pass { Outcome::Passed } else { Outcome::Dropped };
                (outcome, Some(reason))
            }
        }
    }

    /// The interface that the frame leaves by.
    pub(super) fn out(&self) -> Option<String> {
        match self.performance.decided {
            Ok(Verdict::Transmit | Verdict::Answered(_)) => Some(self.rehearsal.interface().name.clone()),
            Ok(Verdict::Redirect(slot)) => {
                self.rehearsal.source().port(slot).map(|index| self.interface_name(index))
            }
            Ok(Verdict::Leave(ifindex)) => Some(self.interface_name(ifindex)),
            Ok(Verdict::Local) | Err(_) => None,
        }
    }

    pub(super) fn verdict(&self) -> Vec<Step> {
        let (outcome, reason) = self.outcome();
        let out = self.out().unwrap_or_default();
        let meaning = reason.map_or("", |reason| words(reason).0);
        let name = reason.map_or("", Reason::name);
        let verdict = match outcome {
            Outcome::Forwarded => match self.performance.decided {
                Ok(Verdict::Transmit) => format!("FORWARDED, back out by {out}"),
                _ => format!("FORWARDED, out by {out}"),
            },
            Outcome::Local => {
                "TO THE DIRECTOR ITSELF, which is the server: its stack gets the packet".to_owned()
            }
            Outcome::Passed => format!("PASSED to the director's stack, untouched ({name}): {meaning}"),
            Outcome::Answered => format!("DROPPED, and its sender is told ({name}): {meaning}"),
            Outcome::Held => format!("HELD for the daemon ({name}): {meaning}"),
            Outcome::Dropped => format!("DROPPED ({name}): {meaning}"),
        };
        let mut steps = vec![Step::new(About::Verdict, verdict)];
        steps.extend(reason.map(|reason| Step::new(About::Remedy, words(reason).1)));
        if matches!(outcome, Outcome::Forwarded | Outcome::Answered)
            && let Some(contents) = Contents::of(&self.performance.frame, self.tunnel())
        {
            let mut lines = contents.lines().into_iter();
            let step =
                Step { about: About::Frame, words: lines.next().unwrap_or_default(), more: lines.collect() };
            steps.push(step);
        }
        steps
    }
}
