//! Where the VIP is, and who says to have it.

use std::net::IpAddr;

use super::Finding;
use crate::doctor::facts::{Facts, Role};
use crate::host::is_silent;
use crate::lan::written;

fn length(vip: IpAddr) -> u8 {
    if vip.is_ipv4() { 32 } else { 128 }
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
    let reason = match facts.role {
        Role::Director => "nobody answers ARP or neighbour discovery for it: clients do not find it",
        Role::Server => "packets that the director forwards are nobody's here, and are dropped",
    };
    missing
        .map(|vip| {
            let symptom = format!("the VIP {vip} is on no interface");
            Finding::error("vip-missing", symptom, reason, put(facts, *vip))
        })
        .collect()
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
    let status = facts.status.as_ref();
    status.is_some_and(|status| !status.interfaces.iter().any(|attached| attached.name == interface))
}

pub(super) fn answered_twice(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (interface, vip) in
        facts.heard.keys().flat_map(|interface| facts.vips.iter().map(move |vip| (interface, *vip)))
    {
        let mut macs = facts.claimants(interface, vip);
        let has_it_here = facts.role == Role::Director && facts.is_local(vip);
        if macs.len() + usize::from(has_it_here) < 2 {
            continue;
        }
        macs.sort_unstable();
        let macs: Vec<String> = macs.into_iter().map(written).collect();
        let (also, one) = if has_it_here { ("also ", macs.first()) } else { ("", macs.last()) };
        findings.push(Finding::error(
            "vip-answered-twice",
            format!("{vip} is {also}answered for on {interface} by {}", macs.join(", ")),
            "which of them a client reaches is chance: one is a real server that is not silent, or another director",
            format!(
                "lbxdp realserver start --vip {vip}   # on the machine that has {}",
                one.map_or("it", String::as_str)
            ),
        ));
    }
    findings
}
