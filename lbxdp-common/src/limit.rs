//! How often ICMP errors may be sent: to each client, and in all. The limits are those of Linux's own errors, as it sets
//! them at its start (`icmp_ratelimit`, `icmp_msgs_per_sec`, `icmp_msgs_burst`).
//!
//! Buckets of tokens that fill up with time. A bucket is one cell, so it changes in one step, and no two packets take the
//! same token.

use crate::address::Address;
use crate::cells::Cells;
use crate::table::Seed;
use crate::time::Ticks;

/// Rows of clients. Two clients may share one: they get fewer errors then, never more.
const CLIENT_ROWS: u32 = 1 << CLIENT_ROW_BITS;
const CLIENT_ROW_BITS: u32 = 10;
/// The row of all clients together, behind theirs.
pub const TOTAL_ROW: u32 = CLIENT_ROWS;
/// All rows.
pub const LIMIT_ROWS: u32 = TOTAL_ROW + 1;
/// Cells of a row.
pub const LIMIT_CELLS: usize = 1;

/// A client may get so many errors at once; then one a second (`XRLIM_BURST_FACTOR`).
const CLIENT_BURST: u32 = 6;
/// All clients together may get so many errors a second …
const TOTAL_PER_SECOND: u32 = 1000;
/// … and so many at once.
const TOTAL_BURST: i32 = 50;
/// The total is filled up so many times a second, and only when it is used up.
const TOTAL_FILLS_PER_SECOND: u32 = 50;

/// How often a change is tried again after another CPU changed the same bucket.
const MAX_ATTEMPTS: u32 = 4;

/// The row of a client.
#[inline(always)]
pub fn client_row<A: Address>(client: A, seed: Seed) -> u32 {
    let [first, second]: [u64; 2] = zerocopy::transmute!(client.wide());
    let mut hash = (first ^ seed.offset).wrapping_mul(seed.multiplier);
    if A::IS_V6 {
        hash = (hash ^ hash >> 32 ^ second).wrapping_mul(seed.multiplier);
    }
    (hash >> (u64::BITS - CLIENT_ROW_BITS)) as u32
}

/// The bucket of a client: the moment it was last looked at (lower half), and the tokens it had then, a tick each
/// (`inet_peer_xrlim_allow`). An error takes a second's.
#[derive(Clone, Copy)]
pub struct ClientLimit<C>(pub C);

/// Set in a bucket that has been used; another one is full.
const USED: u64 = 1 << 63;

impl<C: Cells> ClientLimit<C> {
    /// Takes what an error costs; false if there is not enough. `second`: in ticks.
    #[inline(always)]
    pub fn take(self, clock: impl Fn() -> Ticks, second: u32) -> bool {
        let full = second.saturating_mul(CLIENT_BURST);
        for _ in 0..MAX_ATTEMPTS {
            let cell = self.0.load(0);
            // Asked after the cell was read, so it is never the earlier moment. What looks like one is days ago.
            let now = clock();
            let tokens = if cell & USED == 0 {
                full
            } else {
                let passed = now.since(Ticks(cell as u32)).cast_unsigned();
                (((cell & !USED) >> 32) as u32).saturating_add(passed).min(full)
            };
            if second == 0 || tokens < second {
                return false;
            }
            if self.0.replace(0, cell, USED | u64::from(tokens - second) << 32 | u64::from(now.0)) {
                return true;
            }
        }
        false
    }
}

/// The bucket of all clients: when it was last filled (lower half), and the errors it has left, less than none at times
/// (`icmp_global_allow`).
#[derive(Clone, Copy)]
pub struct TotalLimit<C>(pub C);

impl<C: Cells> TotalLimit<C> {
    /// Whether an error may be sent; it is not taken yet. `second`: in ticks.
    #[inline(always)]
    pub fn allows(self, clock: impl Fn() -> Ticks, second: u32) -> bool {
        let cell = self.0.load(0);
        let left = left(cell);
        if left > 0 {
            return true;
        }
        let now = clock();
        let passed = now.since(Ticks(cell as u32)).cast_unsigned().min(second);
        if passed < second / TOTAL_FILLS_PER_SECOND {
            return false;
        }
        let gained = TOTAL_PER_SECOND.wrapping_mul(passed).checked_div(second).unwrap_or(0);
        let filled = left.saturating_add(gained.cast_signed()).min(TOTAL_BURST);
        // Who comes too late finds it filled by another.
        gained != 0
            && (self.0.replace(0, cell, u64::from(filled.cast_unsigned()) << 32 | u64::from(now.0))
                && filled > 0)
    }

    /// Takes an error: none, one or two, so that nobody can find out by counting his own what others get (`CVE-2020-25705`).
    #[inline(always)]
    pub fn take(self, random: u32) {
        self.0.add(0, u64::from(random % 3).wrapping_neg() << 32);
    }
}

#[inline(always)]
const fn left(cell: u64) -> i32 {
    ((cell >> 32) as u32).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;
    use proptest::prelude::*;
    use std::vec::Vec;

    const HERTZ: u32 = 250;

    /// How many of `asked` errors a client gets at a moment.
    fn client_gets(row: &[AtomicU64], now: Ticks, asked: usize) -> usize {
        (0..asked).filter(|_| ClientLimit(row).take(|| now, HERTZ)).count()
    }

    /// How many of `asked` errors all clients get at a moment, if each costs as much as `random` says.
    fn all_get(row: &[AtomicU64], now: Ticks, asked: usize, random: u32) -> usize {
        let total = TotalLimit(row);
        (0..asked).filter(|_| total.allows(|| now, HERTZ)).inspect(|_| total.take(random)).count()
    }

    fn row() -> [AtomicU64; 1] {
        [AtomicU64::new(0)]
    }

    #[test]
    fn a_client_gets_six_errors_at_once_and_then_one_a_second() {
        // The second start is just before the tick counter wraps around, the third just after.
        for start in [Ticks(70_000), Ticks(u32::MAX - HERTZ), Ticks(0)] {
            let row = row();
            assert_eq!(client_gets(&row, start, 100), 6);
            assert_eq!(client_gets(&row, start + (HERTZ - 1), 100), 0);
            assert_eq!(client_gets(&row, start + HERTZ, 100), 1);
            assert_eq!(client_gets(&row, start + 4 * HERTZ, 100), 3);
            assert_eq!(client_gets(&row, start + 1000 * HERTZ, 100), 6);
        }
    }

    #[test]
    fn nobody_gets_an_error_before_the_daemon_has_said_how_long_a_second_is() {
        assert!(!ClientLimit(&row()[..]).take(|| Ticks(70_000), 0));
        assert!(!TotalLimit(&row()[..]).allows(|| Ticks(70_000), 0));
    }

    #[test]
    fn all_clients_get_fifty_errors_at_once_and_then_a_thousand_a_second() {
        for start in [Ticks(70_000), Ticks(u32::MAX - 3)] {
            let row = row();
            assert_eq!(all_get(&row, start, 1000, 1), 50);
            assert_eq!(all_get(&row, start + (HERTZ / 50 - 1), 1000, 1), 0);
            let fills = (1..=50).map(|fill| all_get(&row, start + fill * (HERTZ / 50), 1000, 1));
            assert_eq!(fills.collect::<Vec<_>>(), [20; 50]);
        }
    }

    #[test]
    fn an_error_costs_none_one_or_two() {
        let row = row();
        assert_eq!(all_get(&row, Ticks(70_000), 1000, 2), 25);
        assert_eq!(all_get(&row, Ticks(70_005), 1000, 5), 10);
        assert_eq!(all_get(&row, Ticks(70_010), 1000, 0), 1000);
    }

    #[test]
    fn the_last_error_may_cost_what_is_not_there_yet() {
        let row = row();
        assert_eq!(all_get(&row, Ticks(70_000), 49, 1), 49);
        assert!(all_get(&row, Ticks(70_000), 1, 2) == 1 && left((&row[..]).load(0)) == -1);
        assert_eq!(all_get(&row, Ticks(70_005), 1000, 1), 19);
    }

    #[test]
    fn clients_are_spread_over_all_rows() {
        let seed = Seed { offset: 0x0123_4567_89ab_cdef, multiplier: 0x9e37_79b9_7f4a_7c15 };
        let are_spread = |rows: std::collections::BTreeSet<u32>| {
            assert!(rows.iter().all(|row| *row < TOTAL_ROW));
            assert!(rows.len() > 900, "only {}", rows.len());
        };
        are_spread(
            (0u32..10_000).map(|client| client_row((0x0a00_0000 + client).to_be_bytes(), seed)).collect(),
        );
        let v6 = |client: u128| (0x2001_0db8_u128 << 96 | client).to_be_bytes();
        // Hosts of one net, and nets.
        are_spread((0..10_000).map(|client| client_row(v6(client), seed)).collect());
        are_spread((0..10_000).map(|net| client_row(v6(net << 64 | 1), seed)).collect());
    }

    proptest! {
        /// Linux's `inet_peer_xrlim_allow`, with its words.
        #[test]
        fn a_client_gets_what_the_kernel_would_give_it(
            start in prop_oneof![Just(u32::MAX - 1000), 100_000u32..200_000],
            pauses in proptest::collection::vec(0..3 * HERTZ, 1..200),
        ) {
            let row = row();
            let (mut now, mut rate_last, mut rate_tokens) = (u64::from(start), 0, 0);
            for pause in pauses {
                now += u64::from(pause);
                let timeout = u64::from(HERTZ);
                rate_tokens = (rate_tokens + (now - rate_last)).min(6 * timeout);
                rate_last = now;
                let allowed = rate_tokens >= timeout;
                if allowed {
                    rate_tokens -= timeout;
                }
                prop_assert_eq!(ClientLimit(&row[..]).take(|| Ticks(now as u32), HERTZ), allowed);
            }
        }
    }
}
