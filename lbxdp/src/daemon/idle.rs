//! Which templates no connection holds: only who sees all of the table can tell.
//!
//! A template whose time is nearly over is asked after. In the next pass through the table every living connection that
//! has one tells which; what nobody has told of by the pass's end is idle, and goes when its time is over. So it goes one
//! pass late at the most, and never while a connection of it lives that was there when the pass began; a newer one has
//! begun its time anew.

use std::collections::{HashMap, HashSet};

/// What is known of templates, by the hash of their keys.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// Asked after since the last pass, or in it.
    new: HashSet<u64>,
    /// Asked after in this pass from its beginning on: whether a connection has told of it.
    asked: HashMap<u64, bool>,
    /// Asked after in all of the last pass: whether a connection has told of it. Its answer is for templates that stand before their
    /// connections in the table, too.
    answered: HashMap<u64, bool>,
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

    /// A pass is over, and the next one begins.
    pub(super) fn next_pass(&mut self) {
        let asked = self.new.drain().map(|template| (template, false)).collect();
        self.answered = std::mem::replace(&mut self.asked, asked);
    }

    /// What is known of a template whose time is over; `None`: not yet anything.
    pub(super) fn is_idle(&self, template: u64) -> Option<bool> {
        if self.asked.get(&template) == Some(&true) {
            return Some(false);
        }
        self.answered.get(&template).map(|is_held| !is_held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_no_connection_tells_of_in_a_whole_pass_is_idle() {
        let mut idle = Idle::default();
        idle.ask(1);
        assert_eq!(idle.is_idle(1), None);
        // Connections of the part that was looked at before have not been asked.
        idle.next_pass();
        assert_eq!(idle.is_idle(1), None);
        idle.next_pass();
        assert_eq!(idle.is_idle(1), Some(true));
        // What is known is known of one pass only.
        idle.next_pass();
        assert_eq!(idle.is_idle(1), None);
    }

    #[test]
    fn a_template_that_a_connection_tells_of_is_held() {
        let mut idle = Idle::default();
        idle.ask(1);
        idle.is_held(1);
        idle.next_pass();
        assert_eq!(idle.is_idle(1), None);
        idle.is_held(1);
        idle.is_held(2);
        assert_eq!((idle.is_idle(1), idle.is_idle(2)), (Some(false), None));
        idle.next_pass();
        assert_eq!(idle.is_idle(1), Some(false));
        idle.next_pass();
        assert_eq!(idle.is_idle(1), None);
    }

    #[test]
    fn it_does_not_matter_whether_a_template_or_its_connection_is_seen_first() {
        for is_template_first in [true, false] {
            let mut idle = Idle::default();
            idle.ask(1);
            idle.next_pass();
            let mut answers = Vec::new();
            for _ in 0..2 {
                if !is_template_first {
                    idle.is_held(1);
                }
                answers.push(idle.is_idle(1));
                if is_template_first {
                    idle.is_held(1);
                }
                idle.next_pass();
            }
            assert!(answers.contains(&Some(false)), "template first: {is_template_first}, {answers:?}");
        }
    }
}
