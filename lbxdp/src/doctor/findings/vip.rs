//! Where the VIP is, and who says to have it.

use std::net::IpAddr;

use super::Finding;
use crate::doctor::facts::{Facts, Role};
use crate::host::is_silent;
use crate::lan::{Mac, written};

fn length(vip: IpAddr) -> u8 {
    if vip.is_ipv4() { 32 } else { 128 }
}

/// Whether another machine answers for a VIP: this director stands by (VRRP), and the VIP is not to be taken from the other one.
fn is_elsewhere(facts: &Facts, vip: IpAddr) -> bool {
    facts.heard.keys().any(|interface| !facts.claimants(interface, vip).is_empty())
}

/// The command that puts a VIP where it belongs.
fn put(facts: &Facts, vip: IpAddr) -> String {
    match facts.role {
        Role::Director => format!("lbxdp director start --vip {vip}"),
        Role::Server => format!("lbxdp realserver start --vip {vip}"),
    }
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
                put(facts, *vip),
            )),
            Role::Server => findings.push(Finding::error(
                "vip-missing",
                symptom,
                "packets that the director forwards are nobody's here, and are dropped",
                put(facts, *vip),
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
            let take = format!("ip addr del {} dev {interface}", place.address);
            match facts.role {
                Role::Server if !is_silent(&facts.there, interface) => findings.push(Finding::error(
                    "vip-wrong-interface",
                    symptom,
                    "a real server answers for an address on an interface that others ask by: it belongs on lo",
                    format!("{take} && {}", put(facts, *vip)),
                )),
                Role::Director if is_without_program(facts, interface) => findings.push(Finding::warning(
                    "vip-wrong-interface",
                    symptom,
                    "lbxdp is not on that interface: clients that find the VIP there reach nobody",
                    format!("{take} && ip addr add {vip}/{} dev IF", length(*vip)),
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
            format!("lbxdp realserver start --vip {vip}   # {machine}"),
        ));
    }
    findings
}

fn joined(macs: &[Mac]) -> String {
    macs.iter().map(|mac| written(*mac)).collect::<Vec<_>>().join(", ")
}
