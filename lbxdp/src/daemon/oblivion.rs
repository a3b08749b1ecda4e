//! What the schedulers lblc and lblcr remember is forgotten in time, by IPVS's rules: every minute a look, every half an
//! hour a thorough one, and in between only if there is too much of it.
//!
//! Source: Linux `ip_vs_lblc.c`, `ip_vs_lblc_full_check` and `ip_vs_lblc_check_expire`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lbxdp_common::schedule::CacheKey;
use lbxdp_common::{Scheduler, Ticks};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Every so many looks, what has not been used for the time of the setting goes.
const THOROUGH_EVERY: u32 = 30;
/// A service may remember so many addresses; beyond, those go early that have not been used for some time.
const MANY: usize = 16_384;
/// In seconds.
pub(super) const IDLE_S: u32 = 6 * 60;

/// When it is time to forget.
pub(super) struct Oblivion {
    last: Instant,
    looks: u32,
}

/// After how many ticks without use a row goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expirations {
    pub lblc: u32,
    pub lblcr: u32,
    /// If there are too many.
    pub idle: u32,
}

impl Oblivion {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: now, looks: 0 }
    }

    /// Whether it is time for a look; and if so, whether for a thorough one.
    pub(super) fn is_due(&mut self, now: Instant) -> Option<bool> {
        if now.duration_since(self.last) < LOOK_EVERY {
            return None;
        }
        self.last = now;
        self.looks += 1;
        Some(self.looks.is_multiple_of(THOROUGH_EVERY))
    }
}

/// Which rows go now. `schedulers` are those of the services that there are, by their rows' indices.
pub(super) fn forgotten(
    rows: &[(CacheKey, Ticks)],
    schedulers: &BTreeMap<u32, Scheduler>,
    expirations: Expirations,
    now: Ticks,
    is_thorough: bool,
) -> Vec<CacheKey> {
    let mut of_service: BTreeMap<u32, Vec<(CacheKey, i32)>> = BTreeMap::new();
    let mut forgotten = Vec::new();
    for (key, used) in rows {
        let (index, scheduler) = key.owner();
        // Packets may be a tick ahead.
        let idle = now.since(*used).max(0);
        let expiration = match scheduler {
            Some(Scheduler::LocalityBasedReplicated) => expirations.lblcr,
            _ => expirations.lblc,
        };
        let is_strange = scheduler.is_none() || schedulers.get(&index) != scheduler.as_ref();
        if is_strange || is_thorough && i64::from(idle) > i64::from(expiration) {
            forgotten.push(*key);
        } else {
            of_service.entry(index).or_default().push((*key, idle));
        }
    }
    if !is_thorough {
        for rows in of_service.values_mut() {
            let goal = (rows.len().saturating_sub(MANY) * 4 / 3).min(MANY / 2);
            rows.retain(|(_, idle)| i64::from(*idle) > i64::from(expirations.idle));
            rows.sort_unstable_by_key(|(_, idle)| std::cmp::Reverse(*idle));
            forgotten.extend(rows.iter().take(goal).map(|(key, _)| *key));
        }
    }
    forgotten
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRATIONS: Expirations = Expirations { lblc: 1000, lblcr: 2000, idle: 360 };
    const NOW: Ticks = Ticks(500);

    fn row(index: u32, scheduler: Scheduler, address: u32, idle: u32) -> (CacheKey, Ticks) {
        (CacheKey::new(index, scheduler, address), Ticks(NOW.0.wrapping_sub(idle)))
    }

    fn forget(rows: &[(CacheKey, Ticks)], is_thorough: bool) -> Vec<CacheKey> {
        let schedulers = [(1, Scheduler::LocalityBased), (2, Scheduler::LocalityBasedReplicated)];
        forgotten(rows, &schedulers.into(), EXPIRATIONS, NOW, is_thorough)
    }

    #[test]
    fn a_thorough_look_forgets_what_was_not_used_for_the_time_of_the_setting() {
        let rows = [
            row(1, Scheduler::LocalityBased, 1, 1000),
            row(1, Scheduler::LocalityBased, 2, 1001),
            row(2, Scheduler::LocalityBasedReplicated, 3, 2000),
            row(2, Scheduler::LocalityBasedReplicated, 4, 2001),
        ];
        assert_eq!(forget(&rows, true), [rows[1].0, rows[3].0]);
        assert_eq!(forget(&rows, false), []);
    }

    #[test]
    fn every_look_forgets_what_no_service_has_remembered() {
        let rows = [
            row(1, Scheduler::LocalityBasedReplicated, 1, 0),
            row(3, Scheduler::LocalityBased, 1, 0),
            row(1, Scheduler::LocalityBased, 1, 0),
        ];
        for is_thorough in [false, true] {
            assert_eq!(forget(&rows, is_thorough), [rows[0].0, rows[1].0]);
        }
    }

    #[test]
    fn beyond_what_a_service_may_remember_the_idlest_go() {
        let rows = |count: u32, idle: fn(u32) -> u32| -> Vec<_> {
            (0..count).map(|address| row(1, Scheduler::LocalityBased, address, idle(address))).collect()
        };
        let many = u32::try_from(MANY).expect("not that many");
        assert_eq!(forget(&rows(many, |_| 900), false), []);
        assert_eq!(forget(&rows(many + 300, |_| 360), false), []);
        let gone = forget(&rows(many + 300, |address| if address < 1000 { 400 + address } else { 1 }), false);
        assert_eq!(gone.len(), 400);
        assert_eq!(gone[0], CacheKey::new(1, Scheduler::LocalityBased, 999));
        assert_eq!(forget(&rows(3 * many, |_| 900), false).len(), MANY / 2);
    }

    #[test]
    fn there_is_a_look_a_minute_and_every_thirtieth_is_thorough() {
        let begin = Instant::now();
        let mut oblivion = Oblivion::new(begin);
        let mut thorough = 0;
        for second in 1..=3600 {
            let due = oblivion.is_due(begin + Duration::from_secs(second));
            assert_eq!(due.is_some(), second % 60 == 0);
            thorough += u32::from(due == Some(true));
        }
        assert_eq!(thorough, 2);
    }
}
