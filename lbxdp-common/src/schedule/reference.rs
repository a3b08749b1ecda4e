//! Weighted round robin as `ip_vs_wrr.c` has it, pass by pass: what `wrr` must agree with.

use std::vec::Vec;

use super::Entry;

/// The mark of a service; -1 for the head of the list, which stands before its first server.
pub(super) struct Reference {
    entries: Vec<Entry>,
    at: isize,
    /// `cw`, `mw` and `di`.
    bar: i64,
    most: i64,
    step: i64,
}

const HEAD: isize = -1;

impl Reference {
    pub(super) fn new(entries: &[Entry]) -> Self {
        let mut new = Self { entries: Vec::new(), at: HEAD, bar: 0, most: 0, step: 0 };
        new.edit(entries);
        new.bar = new.most;
        new
    }

    /// `ip_vs_wrr_dest_changed`.
    pub(super) fn edit(&mut self, entries: &[Entry]) {
        self.entries = entries.to_vec();
        let weights = || entries.iter().map(|(_, weight, _)| i64::from(*weight)).filter(|weight| *weight > 0);
        let most = weights().max().unwrap_or(0);
        let divides_all = |step: &i64| weights().all(|weight| weight % step == 0);
        self.step = (1..=most).rev().find(divides_all).unwrap_or(1);
        self.most = most - (self.step - 1);
        self.at = HEAD;
        if self.bar > self.most || self.bar == 0 {
            self.bar = self.most;
        } else if self.step > 1 {
            self.bar = self.bar / self.step * self.step + 1;
        }
    }

    /// `ip_vs_wrr_schedule`.
    pub(super) fn pick(&mut self) -> Option<u32> {
        if self.most == 0 {
            return None;
        }
        let last = self.at;
        let (mut last_pass, mut restarted, mut stop) = (false, false, None);
        loop {
            while self.at + 1 < self.entries.len().cast_signed() {
                self.at += 1;
                let (id, weight, is_avoided) = self.entries[self.at.cast_unsigned()];
                if !is_avoided && i64::from(weight) >= self.bar {
                    return Some(id);
                }
                if stop == Some(self.at) {
                    return None;
                }
            }
            self.at = HEAD;
            self.bar -= self.step;
            if self.bar <= 0 {
                self.bar = self.most;
                if last_pass || last == HEAD {
                    return None;
                }
                restarted = true;
            }
            last_pass = self.bar <= self.step;
            if last_pass && restarted && last != HEAD {
                stop = Some(last);
            }
        }
    }
}
