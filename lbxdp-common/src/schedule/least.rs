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
    /// 0: it cannot be used.
    pub(super) weight: u32,
    pub(super) load: Load,
}

impl Candidate {
    #[inline(always)]
    pub(super) fn new<P: Pool>(pool: &P, member: Member) -> Self {
        let load = pool.load(member.server());
        let weight = if load.is_overloaded() { 0 } else { member.usable_weight() };
        Self { server: member.server(), weight, load }
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
        let candidate = Candidate::new(pool, member);
        if candidate.weight > 0
            && qualifies(self.by, candidate)
            && (self.best.weight == 0 || beats(self.by, candidate, self.best))
        {
            self.best = candidate;
        }
        ControlFlow::Continue(())
    }
}

/// The best server of a list, as one of the schedulers named above sees it.
#[inline(always)]
pub(super) fn pick<P: Pool>(pool: &P, list: List, by: Scheduler) -> Option<ServerId> {
    let zero = pool.zero();
    let best = Candidate { server: ServerId(zero), weight: zero, load: Load(zero.into()) };
    let mut walk = Walk { list, by, best };
    pool.repeat(list.length.into(), &mut walk);
    (walk.best.weight > 0).then_some(walk.best.server)
}
