//! So much in a second, and no more.

use std::time::{Duration, Instant};

/// What may still be done in this second.
#[derive(Debug)]
pub(super) struct Ration {
    a_second: u32,
    since: Option<Instant>,
    taken: u32,
}

impl Ration {
    pub(super) const fn of(a_second: u32) -> Self {
        Self { a_second, since: None, taken: 0 }
    }

    /// Whether once more is allowed.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let is_over =
            self.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1));
        if is_over {
            (self.since, self.taken) = (Some(now), 0);
        }
        let is_allowed = self.taken < self.a_second;
        self.taken += u32::from(is_allowed);
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_ration() {
        let begin = Instant::now();
        let mut ration = Ration::of(2);
        let taken = |ration: &mut Ration, ms| ration.take(begin + Duration::from_millis(ms));
        assert_eq!([0, 10, 20, 999].map(|ms| taken(&mut ration, ms)), [true, true, false, false]);
        assert_eq!([1000, 1500, 1999].map(|ms| taken(&mut ration, ms)), [true, true, false]);
        assert!(taken(&mut ration, 9000));
    }
}
