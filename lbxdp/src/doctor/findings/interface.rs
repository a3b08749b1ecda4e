//! The interfaces that the packet program is on.

use super::Finding;
use super::director::DAEMON_ENDED;
use crate::doctor::facts::Facts;
use crate::snapshot::PacketPath;

fn on(facts: &Facts, path: PacketPath) -> impl Iterator<Item = &str> {
    let interfaces = facts.status.iter().flat_map(|status| &status.interfaces);
    interfaces.filter(move |found| found.path == path).map(|found| found.name.as_str())
}

fn attached(facts: &Facts) -> impl Iterator<Item = &str> {
    facts.status.iter().flat_map(|status| &status.interfaces).map(|found| found.name.as_str())
}

fn has(facts: &Facts, interface: &str, feature: &str) -> bool {
    facts.features.get(interface).is_some_and(|features| features.contains(feature))
}

/// A page, less what XDP and the kernel need of it: the most that many drivers take in one piece.
const ONE_PAGE_MTU: u32 = 3_498;

pub(super) fn generic(facts: &Facts) -> Vec<Finding> {
    on(facts, PacketPath::Generic)
        .map(|name| {
            let link = facts.there.link(name);
            let driver = facts.drivers.get(name).map_or("unknown", String::as_str);
            let is = |test: fn(&crate::host::surroundings::Link) -> bool| link.is_some_and(test);
            let others = || attached(facts).filter(|other| *other != name);
            // What the driver has refused once is tried again only if somebody says so.
            let again = || facts.run(attached(facts), " --reattach");
            let (why, remedy) = if is(|link| link.is_loopback) {
                ("the loopback has no driver".to_owned(), facts.run(others(), ""))
            } else if is(|link| link.kind == "vlan") {
                let below = facts.there.below(name).map(|link| link.name.as_str());
                let below = below.filter(|below| others().all(|other| other != *below));
                // Tagged frames are balanced there.
                (
                    "it is a VLAN: XDP runs on the interface below".to_owned(),
                    facts.run(others().chain(below), ""),
                )
            } else if has(facts, name, "rx-lro") {
                ("LRO is on".to_owned(), format!("ethtool -K {name} lro off && {}", again()))
            } else if is(|link| link.mtu > ONE_PAGE_MTU) {
                let why = format!("the driver ({driver}) may not take so large an MTU");
                (why, format!("ip link set {name} mtu {ONE_PAGE_MTU} && {}", again()))
            } else {
                let why = "has no XDP, or no room for it now; the daemon's log has its own words";
                (format!("the driver ({driver}) {why}"), again())
            };
            let remedy = format!("{remedy}   # {DAEMON_ENDED}");
            Finding::warning(
                "generic-xdp",
                format!("generic XDP on {name}"),
                &format!("several times slower than in the driver: {why}"),
                remedy,
            )
        })
        .collect()
}

pub(super) fn gone(facts: &Facts) -> Vec<Finding> {
    on(facts, PacketPath::Gone)
        .map(|name| {
            let reason = "no packet comes in by it; the daemon takes it up again once it is back";
            let remedy = format!("ip link show {name}");
            Finding::error("interface-gone", format!("{name} was removed"), reason, remedy)
        })
        .collect()
}

pub(super) fn lro(facts: &Facts) -> Vec<Finding> {
    on(facts, PacketPath::Native)
        .filter(|name| has(facts, name, "rx-lro"))
        .map(|name| {
            let reason =
                "packets that the card has joined are longer than the way to a server: they are refused";
            let remedy = format!("ethtool -K {name} lro off");
            Finding::warning("lro", format!("LRO is on for {name}"), reason, remedy)
        })
        .collect()
}

/// Only where there is a VLAN: many cards have it on, and it does no harm without.
pub(super) fn rx_vlan(facts: &Facts) -> Vec<Finding> {
    let index = |name: &str| facts.there.link(name).map(|link| link.index);
    let has_vlan = |name: &&str| {
        facts
            .there
            .links
            .iter()
            .any(|link| link.kind == "vlan" && link.lower.is_some() && link.lower == index(name))
    };
    let attached = on(facts, PacketPath::Native).chain(on(facts, PacketPath::Generic));
    attached
        .filter(|name| has(facts, name, "rx-vlan-hw-parse"))
        .filter(has_vlan)
        .map(|name| {
            let reason = "the card takes VLAN tags off before XDP sees frames: those of VLANs are taken for untagged ones, \
                          and balanced so";
            let remedy = format!("ethtool -K {name} rxvlan off");
            Finding::warning("rx-vlan", format!("{name} strips VLAN tags, and has VLANs"), reason, remedy)
        })
        .collect()
}
