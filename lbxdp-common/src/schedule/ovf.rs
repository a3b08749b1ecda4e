//! ovf: the server of the greatest weight, until it has more active connections than that; then the next one. If all
//! have, none.
//!
//! UDP connections are never active, so they never fill a server. Source: Linux `ip_vs_ovf.c`.

use super::least::Candidate;

/// Who beats whom is as in fo.
#[inline(always)]
pub(super) fn qualifies(candidate: Candidate) -> bool {
    candidate.load.active() <= candidate.weight
}
