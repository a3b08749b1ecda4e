//! One walk over a list for all schedulers that look for the best server: who qualifies, and who beats whom, is said in
//! each one's file. To beat is to be better, not as good: the first in the list wins ties.

use core::ops::ControlFlow;

use super::{Pool, Scheduler, fo, lc, member_at, nq, ovf, sed, wlc};
use crate::server::{Load, ServerId};
use crate::service::{List, Member};
use crate::walk::Step;

/// A server that may be picked.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    pub(super) server: ServerId,
    /// Where it stands in the list.
    pub(super) index: u32,
    /// 0: it cannot be used.
    pub(super) weight: u32,
    pub(super) load: Load,
}

impl Candidate {
    #[inline(always)]
    pub(super) fn new<P: Pool>(pool: &P, index: u32, member: Member) -> Self {
        let candidate = Self::remembered(pool, index, member);
        let weight = if candidate.load.is_overloaded() { 0 } else { candidate.weight };
        Self { weight, ..candidate }
    }

    /// One for which its threshold does not count.
    #[inline(always)]
    pub(super) fn remembered<P: Pool>(pool: &P, index: u32, member: Member) -> Self {
        let (server, weight) = (member.server(), member.usable_weight());
        Self { server, index, weight, load: pool.load(server) }
    }

    /// Nobody; `zero` is [`Walker::zero`](crate::walk::Walker::zero).
    #[inline(always)]
    pub(super) fn nobody(zero: u32) -> Self {
        Self { server: ServerId(zero), index: zero, weight: zero, load: Load(zero.into()) }
    }

    /// What its connections cost it: an active one as much as 256 inactive ones (Linux 6.1; from 6.12.107 on the kernel says
    /// 257, which changes the order only between servers with thousands of inactive connections).
    /// Source: Linux `ip_vs_dest_conn_overhead`.
    #[inline(always)]
    pub(super) fn overhead(self) -> u64 {
        (u64::from(self.load.active()) << 8) + u64::from(self.load.inactive())
    }
}

/// Whether a server with a weight may be picked at all.
#[inline(always)]
fn qualifies(by: Scheduler, candidate: Candidate) -> bool {
    match by {
        Scheduler::Overflow => ovf::qualifies(candidate),
        _ => true,
    }
}

#[inline(always)]
fn beats(by: Scheduler, one: Candidate, other: Candidate) -> bool {
    match by {
        Scheduler::LeastConnection => lc::beats(one, other),
        Scheduler::ShortestExpectedDelay => sed::beats(one, other),
        Scheduler::NeverQueue => nq::beats(one, other),
        Scheduler::Failover | Scheduler::Overflow => fo::beats(one, other),
        _ => wlc::beats(one, other),
    }
}

struct Walk {
    list: List,
    by: Scheduler,
    /// Of weight 0 while there is none.
    best: Candidate,
}

impl<P: Pool> Step<P> for Walk {
    #[inline(always)]
    fn step(&mut self, pool: &P, index: u32) -> ControlFlow<()> {
        let Some(member) = member_at(pool, self.list, index) else {
            return ControlFlow::Break(());
        };
        let candidate = Candidate::new(pool, index, member);
        if candidate.weight > 0
            && qualifies(self.by, candidate)
            && (self.best.weight == 0 || beats(self.by, candidate, self.best))
        {
            self.best = candidate;
        }
        ControlFlow::Continue(())
    }
}

/// The best server of a list, as one of the schedulers named above sees it; of weight 0 if there is none.
#[inline(always)]
pub(super) fn best<P: Pool>(pool: &P, list: List, by: Scheduler) -> Candidate {
    let mut walk = Walk { list, by, best: Candidate::nobody(pool.zero()) };
    pool.repeat(list.length.into(), &mut walk);
    walk.best
}

#[inline(always)]
pub(super) fn pick<P: Pool>(pool: &P, list: List, by: Scheduler) -> Option<ServerId> {
    let best = best(pool, list, by);
    (best.weight > 0).then_some(best.server)
}
