//! New connections by each scheduler, among ten servers.

use std::fmt::Write as _;

use lbxdp_common::Scheduler;

use super::{Planned, Step};
use crate::bed::{self, Size, at_port};
use crate::packet::{Family, Protocol};

/// Servers of each service.
const SERVERS: u32 = 10;

/// The least of their weights, which differ: that matters to some schedulers. To ovf it is how many connections a server may
/// have, so there must be room for all of them.
const WEIGHT: u32 = 20_000;

pub(super) fn plan() -> Vec<Planned> {
    let family = Family::V4;
    let mut rules = String::new();
    let mut steps = Vec::new();
    for (number, scheduler) in (0..).zip(Scheduler::ALL) {
        // It is there to choose nobody.
        if scheduler.name() == "none" {
            continue;
        }
        let vip = bed::vip(family, 0, number);
        let service = at_port(vip);
        // Writing to a string does not fail.
        let _ = writeln!(rules, "-A -t {service} -s {}", scheduler.name());
        for server in 0..SERVERS {
            let _ = writeln!(
                rules,
                "-a -t {service} -r {} -g -w {}",
                at_port(bed::server(family, server)),
                WEIGHT * (1 + server % 3)
            );
        }
        steps.push(Step::new(format!("packet/scheduler/{}/new", scheduler.name()), vip, Protocol::Tcp));
    }
    vec![Planned { size: Size { connections: 1 << 21, servers: SERVERS }, rules, steps }]
}
