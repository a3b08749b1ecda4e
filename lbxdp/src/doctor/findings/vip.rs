//! Where the VIP is, and who says to have it.

use std::net::IpAddr;

use super::Finding;
use crate::doctor::facts::{Facts, Role};
use crate::host::{DirectorWish, RealServer, Step, Surroundings, is_silent};
use crate::lan::{Mac, written};

/// Whether another machine answers for a VIP: this director stands by (VRRP), and the VIP is not to be taken from the other one.
fn is_elsewhere(facts: &Facts, vip: IpAddr) -> bool {
    facts.heard.keys().any(|interface| !facts.claimants(interface, vip).is_empty())
}

/// The commands that put a VIP where it belongs. A `start` for it would take back what was started for others.
fn put(facts: &Facts, vip: IpAddr, there: &Surroundings) -> String {
    let wanted = match facts.role {
        Role::Director => {
            let on = |interface| DirectorWish::new(vec![vip], interface, &[]).wanted(there);
            let is_attached = |step: &Step| match step {
                Step::AddAddress(address) => facts.attached.contains(&address.interface),
                _ => true,
            };
            let place = on(None).ok();
            let place = place.filter(|changes| changes.iter().all(|change| is_attached(&change.step)));
            place.map_or_else(|| on(facts.attached.first().cloned()), Ok)
        }
        Role::Server => RealServer { vips: vec![vip], tunnel: None }.wanted(there),
    };
    let steps = wanted.into_iter().flatten().map(|change| change.step).filter(|step| !step.is_so(there));
    let commands: Vec<String> = steps.map(|step| step.typed(there, &facts.instance)).collect();
    commands.join(" && ")
}

pub(super) fn missing(facts: &Facts) -> Vec<Finding> {
    let missing = facts.vips.iter().filter(|vip| facts.there.places(**vip).next().is_none());
    let mut findings = Vec::new();
    for vip in missing {
        let symptom = format!("the VIP {vip} is on no interface");
        match facts.role {
            Role::Director if is_elsewhere(facts, *vip) => {}
            Role::Director => findings.push(Finding::warning(
                "vip-missing",
                symptom,
                "nobody answers ARP or neighbour discovery for it: clients find it only if their router sends it here",
                put(facts, *vip, &facts.there),
            )),
            Role::Server => findings.push(Finding::error(
                "vip-missing",
                symptom,
                "packets that the director forwards are nobody's here, and are dropped",
                put(facts, *vip, &facts.there),
            )),
        }
    }
    findings
}

pub(super) fn misplaced(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for vip in &facts.vips {
        for place in facts.there.places(*vip) {
            let interface = &place.interface;
            let symptom = format!("the VIP {vip} is on {interface}");
            let remedy = || {
                let mut without = facts.there.clone();
                without.addresses.retain(|found| found != place);
                format!("ip addr del {} dev {interface} && {}", place.address, put(facts, *vip, &without))
            };
            match facts.role {
                Role::Server if !is_silent(&facts.there, interface) => findings.push(Finding::error(
                    "vip-wrong-interface",
                    symptom,
                    "a real server answers for an address on an interface that others ask by: it belongs on lo",
                    remedy(),
                )),
                Role::Director if is_without_program(facts, interface) => findings.push(Finding::warning(
                    "vip-wrong-interface",
                    symptom,
                    "lbxdp is not on that interface: clients that find the VIP there reach nobody",
                    remedy(),
                )),
                _ => {}
            }
        }
    }
    findings
}

fn is_without_program(facts: &Facts, interface: &str) -> bool {
    let Some(status) = &facts.status else { return false };
    let is_attached = |name: &str| status.interfaces.iter().any(|attached| attached.name == name);
    let mut below = vec![interface];
    // A VLAN on a bond, on its cards: no machine has so many layers, but two may be each other's (veth).
    for _ in 0..=facts.there.links.len() {
        if below.iter().any(|name| is_attached(name)) {
            return false;
        }
        below =
            below.iter().flat_map(|name| facts.there.below(name)).map(|link| link.name.as_str()).collect();
    }
    true
}

pub(super) fn answered_twice(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (interface, vip) in
        facts.heard.keys().flat_map(|interface| facts.vips.iter().map(move |vip| (interface, *vip)))
    {
        let mut macs = facts.claimants(interface, vip);
        let directors = facts.directors.iter().flat_map(|director| facts.claimants(interface, *director));
        let directors: Vec<Mac> = directors.collect();
        let has_it_here = facts.role == Role::Director && facts.is_local(vip);
        if macs.len() + usize::from(has_it_here) < 2 {
            continue;
        }
        macs.sort_unstable();
        let (known, others): (Vec<Mac>, Vec<Mac>) = macs.iter().partition(|mac| directors.contains(mac));
        let machine = match others.as_slice() {
            [] => "on the one that is not to have it".to_owned(),
            // Without one that is known to be the director, one of them is.
            others if has_it_here || !known.is_empty() => {
                format!("on the machine that has {}", joined(others))
            }
            _ => "on the one that is not the director".to_owned(),
        };
        let also = if has_it_here { "also " } else { "" };
        findings.push(Finding::error(
            "vip-answered-twice",
            format!("{vip} is {also}answered for on {interface} by {}", joined(&macs)),
            "which of them a client reaches is chance: one is a real server that is not silent, or another director",
            // Not a `start` for it, which would take back what was started there for others.
            match vip {
                IpAddr::V4(_) => format!(
                    "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2   # if it is a real server: {machine}"
                ),
                IpAddr::V6(_) => format!("lbxdp doctor --role server --vip {vip}   # if it is a real server: {machine}"),
            },
        ));
    }
    findings
}

fn joined(macs: &[Mac]) -> String {
    macs.iter().map(|mac| written(*mac)).collect::<Vec<_>>().join(", ")
}
