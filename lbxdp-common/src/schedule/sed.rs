//! sed: the server on which the next connection would wait the least: (active + 1) / weight.
//!
//! UDP connections are never active, so with UDP alone the greatest weight always wins.
//! Source: Linux `ip_vs_sed.c`.

use super::least::Candidate;

#[inline(always)]
pub(super) fn beats(one: Candidate, other: Candidate) -> bool {
    let delay = |candidate: Candidate| u64::from(candidate.load.active()) + 1;
    delay(one).wrapping_mul(other.weight.into()) < delay(other).wrapping_mul(one.weight.into())
}
