//! Many services, and many servers.

use std::fmt::Write as _;

use super::{Planned, Step};
use crate::bed::{self, Size, at_port};
use crate::packet::{Family, Protocol};

const SERVICES: [u32; 3] = [1, 100, 10_000];
const SERVERS: [u32; 3] = [1, 100, 10_000];

/// Connections over which all of them are spread, as a power of two.
const BITS: u32 = 16;

const FAMILY: Family = Family::V4;

pub(super) fn plan(is_quick: bool) -> Vec<Planned> {
    let is_wanted = |number: &u32| !is_quick || *number <= 100;
    let services = SERVICES.into_iter().filter(is_wanted).map(services);
    services.chain(SERVERS.into_iter().filter(is_wanted).map(servers)).collect()
}

/// So many services with a server each.
fn services(count: u32) -> Planned {
    let mut rules = String::new();
    for number in 0..count {
        let service = at_port(bed::vip(FAMILY, 0, number));
        let server = at_port(bed::server(FAMILY, number));
        // Writing to a string does not fail.
        let _ = writeln!(rules, "-A -t {service} -s rr\n-a -t {service} -r {server} -g");
    }
    let vip = bed::vip(FAMILY, 0, 0);
    let spread = |step: Step| {
        let mut step = step;
        step.case.packets.services = count;
        let others = step.opened_by.iter_mut().flatten().chain(&mut step.case.confirmed_by);
        others.for_each(|packets| packets.services = count);
        step
    };
    let steps = vec![
        spread(Step::established(format!("packet/services/{count}/established"), vip, Protocol::Tcp, BITS)),
        spread(Step::new(format!("packet/services/{count}/new"), vip, Protocol::Tcp)),
    ];
    Planned { size: Size { connections: 1 << 20, servers: count }, rules, steps }
}

/// One service with so many servers; a second one with the same, by a scheduler that looks at all of them.
fn servers(count: u32) -> Planned {
    let vips = ["rr", "wlc"].map(|scheduler| (scheduler, bed::vip(FAMILY, 0, u32::from(scheduler == "wlc"))));
    let mut rules = String::new();
    for (scheduler, vip) in vips {
        let service = at_port(vip);
        let _ = writeln!(rules, "-A -t {service} -s {scheduler}");
        for number in 0..count {
            let server = at_port(bed::server(FAMILY, number));
            let _ = writeln!(rules, "-a -t {service} -r {server} -g");
        }
    }
    let [(_, first), (_, second)] = vips;
    let steps = vec![
        Step::established(format!("packet/servers/{count}/established"), first, Protocol::Tcp, BITS),
        Step::new(format!("packet/servers/{count}/new-rr"), first, Protocol::Tcp),
        Step::new(format!("packet/servers/{count}/new-wlc"), second, Protocol::Tcp),
    ];
    Planned { size: Size { connections: 1 << 20, servers: count }, rules, steps }
}
