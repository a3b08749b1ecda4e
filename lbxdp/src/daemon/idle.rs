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
    /// Those that no connection told of in the last pass.
    untold: HashSet<u64>,
    /// When that pass began.
    told_since: Ticks,
    /// When this one began.
    began: Ticks,
    /// In this pass connections were carried, maybe to where it has been already: they have not told.
    is_incomplete: bool,
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
        let asked = std::mem::take(&mut self.asked);
        let told_since = std::mem::replace(&mut self.began, now);
        if std::mem::take(&mut self.is_incomplete) {
            self.untold.clear();
            self.asked =
                asked.into_keys().chain(self.new.drain()).map(|template| (template, false)).collect();
            return;
        }
        self.told_since = told_since;
        self.untold =
            asked.into_iter().filter(|(_, is_held)| !is_held).map(|(template, _)| template).collect();
        self.asked = self.new.drain().map(|template| (template, false)).collect();
    }

    /// What is known of a template whose time is over, and whose last connection was opened at `last`; `None`: not yet
    /// anything. One that was opened after the pass had begun may stand where it had been already.
    pub(super) fn is_idle(&self, template: u64, last: Ticks) -> Option<bool> {
        if self.untold.contains(&template) && last.since(self.told_since) < 0 {
            return Some(true);
        }
        match self.asked.get(&template) {
            Some(true) => Some(false),
            _ => None,
        }
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
}
