//! A real server's silence about the VIP.

use super::Finding;
use crate::doctor::facts::{Facts, Forwarding, Role};
use crate::host::surroundings::Scope;
use crate::host::{is_ignoring, sysctl_name};
use crate::lan::written;

/// Whether there is something to be silent about.
fn has_vip_v4(facts: &Facts) -> bool {
    let has = facts.vips.iter().any(|vip| vip.is_ipv4() && facts.is_local(*vip));
    facts.role == Role::Server && facts.forwarding != Forwarding::Nat && has
}

/// The setting that has to be changed for an interface: its own, if that is the greater one.
fn decisive(facts: &Facts, interface: &str, setting: &str) -> String {
    let name = |which: &str| format!("net/ipv4/conf/{which}/{setting}");
    let (all, own) = (name("all"), name(interface));
    if facts.there.number(&own) > facts.there.number(&all) { own } else { all }
}

pub(super) fn ignore(facts: &Facts) -> Vec<Finding> {
    if !has_vip_v4(facts) {
        return Vec::new();
    }
    let is_wide = facts
        .vips
        .iter()
        .flat_map(|vip| facts.there.places(*vip))
        .any(|place| place.scope != Scope::Host && place.address.addr().is_ipv4());
    let talks = facts.there.asked().filter_map(|link| {
        let value = facts.there.greater(&link.name, "arp_ignore");
        (!is_ignoring(value) || value == 3 && is_wide).then_some((link, value))
    });
    let findings = talks.map(|(link, value)| {
        Finding::error(
            "arp-ignore",
            format!("arp_ignore is {value} for {}", link.name),
            "this server answers ARP for the VIP: clients come to it past the director",
            format!("sysctl -w {}=1", sysctl_name(&decisive(facts, &link.name, "arp_ignore"))),
        )
    });
    findings.collect()
}

pub(super) fn announce(facts: &Facts) -> Vec<Finding> {
    if !has_vip_v4(facts) {
        return Vec::new();
    }
    let talks = facts.there.asked().filter(|link| facts.there.greater(&link.name, "arp_announce") < 2);
    let findings = talks.map(|link| {
        Finding::error(
            "arp-announce",
            format!("arp_announce is {} for {}", facts.there.greater(&link.name, "arp_announce"), link.name),
            "this server asks for its neighbours in the VIP's name, and they learn that the VIP is here",
            "sysctl -w net.ipv4.conf.all.arp_announce=2".to_owned(),
        )
    });
    findings.collect()
}

/// Settings that came too late: somebody has learnt that the VIP is here, and still sends to it. What the director forwards has
/// the hardware address of the one that answers for the VIP.
pub(super) fn stale(facts: &Facts) -> Vec<Finding> {
    if facts.role != Role::Server || facts.forwarding != Forwarding::Direct {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (interface, heard) in &facts.heard {
        for (vip, sender) in heard.packets.iter().filter(|(vip, _)| facts.vips.contains(vip)) {
            let claimants = facts.claimants(interface, *vip);
            let [director] = claimants.as_slice() else { continue };
            if director == sender || facts.is_own(*sender) {
                continue;
            }
            findings.push(Finding::error(
                "arp-stale",
                format!(
                    "{} sends packets for {vip} here, on {interface}, but the director has {}",
                    written(*sender),
                    written(*director)
                ),
                "it learnt that the VIP is here before this server was silent, and has not forgotten it",
                format!(
                    "lbxdp director announce --vip {vip}   # on the director; or `ip neigh flush to {vip}` where {} is",
                    written(*sender)
                ),
            ));
        }
    }
    findings
}
