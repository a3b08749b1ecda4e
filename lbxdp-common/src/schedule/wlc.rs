//! wlc: the server with the fewest connections for its weight.
//!
//! An active connection weighs as much as 256 inactive ones (Linux 6.1; from 6.12.107 on the kernel says 257, which
//! changes the order only between servers with thousands of inactive connections). Compared without division.
//! Source: Linux `ip_vs_wlc.c`, `ip_vs_dest_conn_overhead`.

use core::ops::ControlFlow;

use super::{Pool, member_at};
use crate::server::{Load, ServerId};
use crate::service::List;
use crate::walk::Step;

/// What a server's connections cost it.
#[inline(always)]
fn overhead(load: Load) -> u64 {
    (u64::from(load.active()) << 8) + u64::from(load.inactive())
}

struct Walk {
    list: List,
    server: ServerId,
    overhead: u64,
    weight: u64,
}

impl<P: Pool> Step<P> for Walk {
    #[inline(always)]
    fn step(&mut self, pool: &P, index: u32) -> ControlFlow<()> {
        let Some(member) = member_at(pool, self.list, index) else {
            return ControlFlow::Break(());
        };
        let weight = u64::from(member.usable_weight());
        if weight > 0 {
            let overhead = overhead(pool.load(member.server()));
            if self.weight == 0 || self.overhead.wrapping_mul(weight) > overhead.wrapping_mul(self.weight) {
                (self.server, self.overhead, self.weight) = (member.server(), overhead, weight);
            }
        }
        ControlFlow::Continue(())
    }
}

#[inline(always)]
pub(super) fn pick<P: Pool>(pool: &P, list: List) -> Option<ServerId> {
    let zero = pool.zero();
    let mut walk = Walk { list, server: ServerId(zero), overhead: zero.into(), weight: zero.into() };
    pool.repeat(list.length.into(), &mut walk);
    (walk.weight > 0).then_some(walk.server)
}
