//! Many durations, and what can be said of them.

use std::fmt;
use std::time::Duration;

/// Durations that were measured, in the order of their length.
#[derive(Clone, Debug, Default)]
pub struct Durations(Vec<Duration>);

impl Durations {
    pub fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The shortest that is at least as long as `per_mille` thousandths of all; nothing of nothing.
    pub fn quantile(&self, per_mille: usize) -> Duration {
        let rank = (self.0.len() * per_mille).div_ceil(1000).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub fn median(&self) -> Duration {
        self.quantile(500)
    }

    pub fn longest(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

impl fmt::Display for Durations {
    /// `p50 0.2, p99 1.3, max 4.0 ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let (median, p99, longest) = (ms(self.median()), ms(self.quantile(990)), ms(self.longest()));
        write!(f, "p50 {median:.1}, p99 {p99:.1}, max {longest:.1} ms")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Durations;

    #[test]
    fn quantiles_are_durations_that_were_measured() {
        let all = Durations::new((1..=100).rev().map(Duration::from_millis).collect());
        let ms = |duration: Duration| duration.as_millis();
        assert_eq!((ms(all.median()), ms(all.quantile(990)), ms(all.longest())), (50, 99, 100));
        assert_eq!(all.to_string(), "p50 50.0, p99 99.0, max 100.0 ms");
    }

    #[test]
    fn of_one_duration_all_quantiles_are_this_one() {
        let one = Durations::new(vec![Duration::from_millis(7)]);
        assert_eq!([one.quantile(0), one.median(), one.longest()], [Duration::from_millis(7); 3]);
        assert_eq!(Durations::default().median(), Duration::ZERO);
    }
}
