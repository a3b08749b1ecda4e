//! lc: the server with the fewest connections. Weights say only who may be picked.
//!
//! Source: Linux `ip_vs_lc.c`.

use super::least::Candidate;

#[inline(always)]
pub(super) fn beats(one: Candidate, other: Candidate) -> bool {
    one.overhead() < other.overhead()
}
