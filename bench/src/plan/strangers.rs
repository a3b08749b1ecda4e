//! Packets that open nothing: those that are not for the director, and those of a flood.

use std::fmt::Write as _;

use super::{Planned, Step, case, requests};
use crate::bed::{self, Size, at_port};
use crate::meter::Action;
use crate::packet::{Family, Flows, Protocol};

pub(super) fn plan() -> Vec<Planned> {
    Family::ALL.into_iter().flat_map(|family| [not_ours(family), flood(family)]).collect()
}

/// Packets for an address that is no VIP; once without and once with services by VS/NAT, whose replies must be looked for.
fn not_ours(family: Family) -> Planned {
    let name = |what: &str| format!("packet/not-ours/{}/{what}", family.name());
    let elsewhere = bed::vip(family, 3, 0);
    let step = |what: &str| {
        let case = case(name(what), requests(elsewhere, Protocol::Tcp, Flows::Bits(10)));
        Step { case, opened_by: None, filled: None }.with(|case| case.action = Action::Pass)
    };
    Planned {
        size: Size { connections: 1 << 16, servers: 1 },
        rules: rules(family, "-g"),
        steps: vec![step("another-address")],
    }
}

/// SYNs that nobody confirms, into a small table: their share of it is used up, and they go by hash.
fn flood(family: Family) -> Planned {
    let name = format!("packet/dr/{}/tcp/syn-flood", family.name());
    let step = Step::new(name, bed::vip(family, 0, 0), Protocol::Tcp).with(|case| {
        case.confirmed_by = None;
        case.may_overflow = true;
    });
    Planned { size: Size { connections: 1 << 16, servers: 1 }, rules: rules(family, "-g"), steps: vec![step] }
}

/// A service with one server.
fn rules(family: Family, flags: &str) -> String {
    let (service, server) = (at_port(bed::vip(family, 0, 0)), at_port(bed::server(family, 0)));
    let mut rules = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(rules, "-A -t {service} -s rr\n-a -t {service} -r {server} {flags}");
    rules
}
