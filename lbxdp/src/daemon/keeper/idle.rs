//! Which templates no connection holds: only who sees all of the table can tell.
//!
//! A template whose time is nearly over is asked after. In the next pass through the table every living connection that
//! has one tells which; what nobody has told of by the pass's end is idle, and goes when its time is over. So it goes one
//! pass late at the most, and never while a connection of it lives that was there when the pass began; a newer one has
//! begun its time anew.

use std::collections::{HashMap, HashSet};

use lbxdp_common::Ticks;

/// What is known of templates, by the hash of their keys.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// Asked after since the last pass, or in it.
    new: HashSet<u64>,
    /// Asked after in this pass from its beginning on: whether a connection has told of it.
    asked: HashMap<u64, bool>,
    /// When this pass began.
    began: Ticks,
    /// In this pass connections were carried, maybe to where it has been already: they have not told.
    is_incomplete: bool,
    /// Asked after in all of the last pass: whether a connection has told of it. Its answer is for templates that stand
    /// before their connections in the table, too.
    answered: HashMap<u64, bool>,
    /// When that pass began.
    answered_since: Ticks,
}

impl Idle {
    /// A template's time is nearly over, or is over.
    pub(super) fn ask(&mut self, template: u64) {
        if !self.asked.contains_key(&template) {
            self.new.insert(template);
        }
    }

    /// A living connection has this template.
    pub(super) fn is_held(&mut self, template: u64) {
        if let Some(is_held) = self.asked.get_mut(&template) {
            *is_held = true;
        }
    }

    /// Connections have changed their places.
    pub(super) fn places_have_changed(&mut self) {
        self.is_incomplete = true;
    }

    /// A pass is over, and the next one begins.
    pub(super) fn next_pass(&mut self, now: Ticks) {
        let since = std::mem::replace(&mut self.began, now);
        let mut asked = std::mem::take(&mut self.asked);
        let mut again = HashSet::new();
        if std::mem::take(&mut self.is_incomplete) {
            // Who has told has told; nothing follows from the others' silence.
            again.extend(asked.iter().filter(|(_, is_held)| !**is_held).map(|(template, _)| *template));
            asked.retain(|_, is_held| *is_held);
        }
        self.asked = self.new.drain().chain(again).map(|template| (template, false)).collect();
        (self.answered, self.answered_since) = (asked, since);
    }

    /// What is known of a template whose time is over, and whose last connection was opened at `last`; `None`: not yet
    /// anything. One that was opened after the pass had begun may stand where it had been already.
    pub(super) fn is_idle(&self, template: u64, last: Ticks) -> Option<bool> {
        if self.asked.get(&template) == Some(&true) {
            return Some(false);
        }
        let is_held = *self.answered.get(&template)?;
        (is_held || last.since(self.answered_since) < 0).then_some(!is_held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Ticks = Ticks(u32::MAX);

    #[test]
    fn a_template_that_no_connection_tells_of_in_a_whole_pass_is_idle() {
        let mut idle = Idle::default();
        idle.ask(1);
        assert_eq!(idle.is_idle(1, BEFORE), None);
        // Connections of the part that was looked at before have not been asked.
        idle.next_pass(Ticks(0));
        assert_eq!(idle.is_idle(1, BEFORE), None);
        idle.next_pass(Ticks(0));
        assert_eq!(idle.is_idle(1, BEFORE), Some(true));
        // What is known is known of one pass only.
        idle.next_pass(Ticks(0));
        assert_eq!(idle.is_idle(1, BEFORE), None);
    }

    #[test]
    fn a_pass_in_which_connections_changed_their_places_tells_nothing() {
        let mut idle = Idle::default();
        idle.ask(1);
        idle.next_pass(Ticks(0));
        // Its connection is carried to a bucket that was looked at before: it is not seen in this pass.
        idle.places_have_changed();
        idle.next_pass(Ticks(0));
        assert_eq!(idle.is_idle(1, BEFORE), None);
        idle.next_pass(Ticks(0));
        assert_eq!(idle.is_idle(1, BEFORE), Some(true));
    }

    #[test]
    fn a_template_that_a_connection_tells_of_is_held() {
        let mut idle = Idle::default();
        idle.ask(1);
        idle.is_held(1);
        idle.next_pass(Ticks(0));
        assert_eq!(idle.is_idle(1, BEFORE), None);
        idle.is_held(1);
        idle.is_held(2);
        assert_eq!((idle.is_idle(1, BEFORE), idle.is_idle(2, BEFORE)), (Some(false), None));
        idle.next_pass(Ticks(0));
        assert_eq!(idle.is_idle(1, BEFORE), Some(false));
        idle.next_pass(Ticks(0));
        assert_eq!(idle.is_idle(1, BEFORE), None);
    }

    #[test]
    fn a_connection_that_was_opened_in_the_pass_may_not_have_been_seen() {
        let mut idle = Idle::default();
        idle.ask(1);
        idle.next_pass(Ticks(100));
        idle.next_pass(Ticks(200));
        assert_eq!([99, 100, 150].map(|last| idle.is_idle(1, Ticks(last))), [Some(true), None, None]);
    }

    #[test]
    fn it_does_not_matter_whether_a_template_or_its_connection_is_seen_first() {
        for is_template_first in [true, false] {
            let mut idle = Idle::default();
            idle.ask(1);
            idle.next_pass(Ticks(0));
            let mut answers = Vec::new();
            for _ in 0..2 {
                if !is_template_first {
                    idle.is_held(1);
                }
                answers.push(idle.is_idle(1, BEFORE));
                if is_template_first {
                    idle.is_held(1);
                }
                idle.next_pass(Ticks(0));
            }
            assert!(answers.contains(&Some(false)), "template first: {is_template_first}, {answers:?}");
        }
    }
}
