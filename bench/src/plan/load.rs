//! A table that cannot grow any more, with a tenth, half, and nine tenths of its places taken.

use super::{Planned, Step};
use crate::bed::{self, Size, at_port};
use crate::packet::{Family, Protocol};

/// Connections that are measured with: fewer than a tenth of the places.
const BITS: u32 = 15;

pub(super) fn plan() -> Vec<Planned> {
    let (vip, server) = (bed::vip(Family::V4, 0, 0), bed::server(Family::V4, 0));
    let rules = format!("-A -t {0} -s rr\n-a -t {0} -r {1} -g\n", at_port(vip), at_port(server));
    let steps = [10, 50, 90].into_iter().map(|percent| {
        let established =
            Step::established(format!("packet/load/{percent}/established"), vip, Protocol::Tcp, BITS);
        Step { filled: Some(percent), ..established }
    });
    vec![Planned { size: Size { connections: 300_000, servers: 1 }, rules, steps: steps.collect() }]
}
