//! The schedulers: which server gets a new connection. One file each.
//!
//! A list has the newest server first, as in IPVS, so every tie goes to the server that was added last. A server is
//! usable if its weight is above 0 and it is not to be avoided.

use core::ops::ControlFlow;

use crate::cells::Cells;
use crate::named_enum;
use crate::server::{Load, ServerId};
use crate::service::{List, Member, Service};

pub mod rr;
#[cfg(test)]
mod tests;
mod wlc;
pub mod wrr;

named_enum! {
    /// A scheduler, by the name IPVS gives it.
    pub enum Scheduler: u8 {
        /// Round robin.
        RoundRobin = 1 => "rr",
        /// Weighted round robin.
        WeightedRoundRobin = 2 => "wrr",
        /// Weighted least connection; ipvsadm's default.
        WeightedLeastConnection = 3 => "wlc",
    }
}

/// What schedulers may ask.
pub trait Pool {
    /// The cell in which a service's scheduler keeps its turn.
    type Turn: Cells;

    /// A row of the member table.
    fn member(&self, index: u32) -> Option<Member>;
    /// How many connections a server has.
    fn load(&self, server: ServerId) -> Load;
    /// The turn of a service.
    fn turn(&self, service: u32) -> Option<Self::Turn>;

    /// 0, but not for the verifier to know. Whatever a walk compares and changes begins with this.
    ///
    /// Kernels before 6.7 look at the first step of a walk only, with the values it begins with: if those are constants,
    /// they take comparisons that come out otherwise in later steps for dead code, and remove it.
    fn zero(&self) -> u32 {
        0
    }

    /// Does the steps 0, 1, 2 … until one breaks off, at most `times`. In the kernel this is `bpf_loop`: the verifier
    /// looks at a step once, however many servers there are.
    fn repeat<S: Step<Self>>(&self, times: u32, steps: &mut S)
    where
        Self: Sized,
    {
        for index in 0..times {
            if steps.step(self, index).is_break() {
                break;
            }
        }
    }
}

/// A walk, with what it has found so far.
pub trait Step<P> {
    /// One step of it.
    fn step(&mut self, pool: &P, index: u32) -> ControlFlow<()>;
}

/// How often a scheduler tries to take its turn against other CPUs before it goes without.
///
/// Each failure means that another CPU's turn succeeded, so this is reached only if as many CPUs are at it at once.
const MAX_ATTEMPTS: u32 = 16;

/// The server for a new connection of a service, by its index and row; `None` if none is usable.
#[inline(always)]
pub fn pick<P: Pool, C: Cells>(pool: &P, index: u32, service: Service<C>) -> Option<ServerId> {
    let list = service.list();
    match service.scheduler()? {
        Scheduler::RoundRobin => rr::pick(pool, index, list),
        Scheduler::WeightedRoundRobin => wrr::pick(pool, index, list, service.shares()),
        Scheduler::WeightedLeastConnection => wlc::pick(pool, list),
    }
}

#[inline(always)]
fn member_at<P: Pool>(pool: &P, list: List, index: u32) -> Option<Member> {
    pool.member(list.start.wrapping_add(index))
}
