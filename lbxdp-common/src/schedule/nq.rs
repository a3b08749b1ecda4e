//! nq: the first server without active connections; if all have some, as sed.
//!
//! Source: Linux `ip_vs_nq.c`.

use super::least::Candidate;
use super::sed;

#[inline(always)]
pub(super) fn beats(one: Candidate, other: Candidate) -> bool {
    let is_idle = |candidate: Candidate| candidate.load.active() == 0;
    !is_idle(other) && (is_idle(one) || sed::beats(one, other))
}
