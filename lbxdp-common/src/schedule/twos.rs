//! twos: the power of two choices. Two servers are drawn by their weights; the one with the fewer connections for its
//! weight is picked.
//!
//! Source: Linux `ip_vs_twos.c`; Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001).

use core::ops::ControlFlow;

use super::least::Candidate;
use super::{Pool, Scheduled, member_at, number, wlc};
use crate::service::List;
use crate::walk::Step;

/// Adds up the weights.
struct Sum {
    list: List,
    weights: u64,
}

impl<P: Pool> Step<P> for Sum {
    #[inline(always)]
    fn step(&mut self, pool: &P, index: u32) -> ControlFlow<()> {
        let Some(member) = member_at(pool, self.list, index) else {
            return ControlFlow::Break(());
        };
        self.weights = self.weights.wrapping_add(Candidate::new(pool, index, member).weight.into());
        ControlFlow::Continue(())
    }
}

/// Goes along the list until the weights add up to two numbers: there stand the two servers.
struct Draw {
    list: List,
    weights: u64,
    numbers: [u64; 2],
    drawn: [Candidate; 2],
}

impl<P: Pool> Step<P> for Draw {
    #[inline(always)]
    fn step(&mut self, pool: &P, index: u32) -> ControlFlow<()> {
        let Some(member) = member_at(pool, self.list, index) else {
            return ControlFlow::Break(());
        };
        let candidate = Candidate::new(pool, index, member);
        if candidate.weight == 0 {
            return ControlFlow::Continue(());
        }
        let ([first, second], [one, other]) = (self.numbers, &mut self.drawn);
        // If a server has become unusable since the sum was made, the last usable one stands for it.
        if one.weight == 0 || self.weights < first {
            *one = candidate;
        }
        if other.weight == 0 || self.weights < second {
            *other = candidate;
        }
        self.weights = self.weights.wrapping_add(candidate.weight.into());
        ControlFlow::Continue(())
    }
}

/// The server, as a number; 0 if there is none.
#[inline(never)]
pub(super) fn pick<P: Pool>(pool: &P, index: u32) -> u64 {
    let Some(Scheduled { list, .. }) = Scheduled::of(pool, index) else {
        return 0;
    };
    let zero = pool.zero();
    // All 64 bits unknown to the kernel's verifier: of a number with bounds it would follow each sum's.
    let nothing = u64::from(zero) << 32 | u64::from(zero);
    let mut sum = Sum { list, weights: nothing };
    pool.repeat(list.length.into(), &mut sum);
    // 0 and the sum itself may be drawn too, as in IPVS.
    let drawn = || {
        let random = u64::from(pool.random()) << 32 | u64::from(pool.random());
        random.checked_rem(sum.weights.wrapping_add(1)).unwrap_or(0)
    };
    let nobody = Candidate::nobody(zero);
    let mut draw = Draw { list, weights: nothing, numbers: [drawn(), drawn()], drawn: [nobody; 2] };
    pool.repeat(list.length.into(), &mut draw);
    let [one, other] = draw.drawn;
    let picked = if wlc::beats(other, one) { other } else { one };
    number((picked.weight > 0).then_some(picked.server))
}
