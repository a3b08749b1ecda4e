//! What happens in a second, by what counters have grown by between two looks.

use std::time::Duration;

use crate::snapshot::{Counters, Rates};

/// Per second, rounded. A counter that is less than it was has begun anew: what it has counted since is all there is to know.
pub(super) fn rate(now: u64, before: u64, elapsed: Duration) -> u64 {
    let grown = now.checked_sub(before).unwrap_or(now);
    per_second(grown, elapsed)
}

/// The same of all that is counted of one thing: if one counter has begun anew, all have.
pub(super) fn rates(now: Counters, before: Counters, elapsed: Duration) -> Rates {
    let pairs = |counters: Counters| {
        let Counters { connections, in_packets, out_packets, in_bytes, out_bytes } = counters;
        [connections, in_packets, out_packets, in_bytes, out_bytes]
    };
    let is_new = pairs(now).iter().zip(pairs(before)).any(|(now, before)| *now < before);
    let before = if is_new { Counters::default() } else { before };
    Rates {
        connections: rate(now.connections, before.connections, elapsed),
        in_packets: rate(now.in_packets, before.in_packets, elapsed),
        out_packets: rate(now.out_packets, before.out_packets, elapsed),
        in_bytes: rate(now.in_bytes, before.in_bytes, elapsed),
        out_bytes: rate(now.out_bytes, before.out_bytes, elapsed),
    }
}

/// In no time nothing happens.
fn per_second(grown: u64, elapsed: Duration) -> u64 {
    let micros = elapsed.as_micros();
    if micros == 0 {
        return 0;
    }
    u64::try_from((u128::from(grown) * 1_000_000 + micros / 2) / micros).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_by_the_time_that_has_really_passed() {
        for (now, before, millis, expected) in [
            (300, 100, 1000, 200),
            (300, 100, 2000, 100),
            (300, 100, 2500, 80),
            (300, 300, 1000, 0),
            (1, 0, 3000, 0),
            (2, 0, 3000, 1),
            (u64::MAX, 0, 1, u64::MAX),
            (7, 0, 0, 0),
        ] {
            assert_eq!(rate(now, before, Duration::from_millis(millis)), expected, "{now} {before} {millis}");
        }
    }

    #[test]
    fn counters_that_begin_anew_count_from_nothing() {
        assert_eq!(rate(10, 1_000_000, Duration::from_secs(2)), 5);
        let counted =
            |packets| Counters { in_packets: packets, in_bytes: 100 * packets, ..Counters::default() };
        let anew = Counters { in_bytes: 4, ..counted(2000) };
        let rates = rates(anew, counted(1000), Duration::from_secs(1));
        // More packets than before, but fewer bytes: these packets are all new.
        assert_eq!((rates.in_packets, rates.in_bytes), (2000, 4));
    }
}
