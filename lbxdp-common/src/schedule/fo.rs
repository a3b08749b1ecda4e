//! fo: the server of the greatest weight; the others stand by.
//!
//! Source: Linux `ip_vs_fo.c`.

use super::least::Candidate;

#[inline(always)]
pub(super) fn beats(one: Candidate, other: Candidate) -> bool {
    one.weight > other.weight
}
