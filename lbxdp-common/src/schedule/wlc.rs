//! wlc: the server with the fewest connections for its weight; ipvsadm's default. Compared without division.
//!
//! Source: Linux `ip_vs_wlc.c`.

use super::least::Candidate;

#[inline(always)]
pub(super) fn beats(one: Candidate, other: Candidate) -> bool {
    let one_scaled = one.overhead().wrapping_mul(other.weight.into());
    one_scaled < other.overhead().wrapping_mul(one.weight.into())
}
