//! Plans, for machines that are only described.

use proptest::prelude::*;

use super::plan::{Change, origin, plan, together, unwound};
use super::realserver::RealServer;
use super::step::Step;
use super::surroundings::{Address, Link, Route, Scope, Surroundings};
use crate::tables::pins::Instance;

/// A server with one network card, at 10.0.0.11, and a default route.
pub(super) fn server() -> Surroundings {
    let mut there = Surroundings::default();
    let link = |index, name: &str, is_loopback, mtu| Link {
        index,
        name: name.to_owned(),
        is_up: true,
        is_loopback,
        has_arp: !is_loopback,
        mtu,
        ..Link::default()
    };
    there.links = vec![link(1, "lo", true, 65_536), link(2, "eth0", false, 1500)];
    let address = |interface: &str, address: &str, scope| Address {
        interface: interface.to_owned(),
        address: address.parse().unwrap(),
        scope,
        is_deprecated: false,
    };
    there.addresses = vec![
        address("lo", "127.0.0.1/8", Scope::Host),
        address("eth0", "10.0.0.11/24", Scope::Global),
        address("eth0", "fd00::11/64", Scope::Global),
    ];
    let route = |destination: &str, gateway: Option<&str>, scope| Route {
        destination: destination.parse().unwrap(),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        interface: "eth0".to_owned(),
        source: None,
        metric: 0,
        protocol: 3,
        scope,
        mtu: None,
        advmss: None,
        is_beyond_us: false,
    };
    there.routes = vec![
        route("0.0.0.0/0", Some("10.0.0.1"), 0),
        route("10.0.0.0/24", None, 253),
        route("::/0", Some("fd00::1"), 0),
        route("fd00::/64", None, 0),
    ];
    for which in ["all", "default", "lo", "eth0"] {
        for setting in
            ["arp_ignore", "arp_announce", "rp_filter", "forwarding", "accept_redirects", "send_redirects"]
        {
            there.sysctls.insert(format!("net/ipv4/conf/{which}/{setting}"), "0".to_owned());
        }
        there.sysctls.insert(format!("net/ipv6/conf/{which}/forwarding"), "0".to_owned());
    }
    there.sysctls.insert("net/ipv4/ip_forward".to_owned(), "0".to_owned());
    there
}

pub(super) fn lines(steps: &[Step]) -> Vec<String> {
    steps.iter().map(Step::to_string).collect()
}

pub(super) fn after(there: &Surroundings, steps: &[Step]) -> Surroundings {
    let mut after = there.clone();
    for step in steps {
        step.apply(&mut after);
    }
    after
}

fn wish(vips: &[&str]) -> RealServer {
    RealServer { vips: vips.iter().map(|vip| vip.parse().unwrap()).collect(), tunnel: None }
}

fn planned(there: &Surroundings, remembered: &[Change], wish: &RealServer) -> super::plan::Plan {
    plan(there, remembered, |origin| wish.wanted(origin).unwrap())
}

#[test]
fn the_second_start_has_nothing_to_do_and_forgets_nothing() {
    let there = server();
    let wish = wish(&["10.0.0.100", "fd00::100"]);
    let first = planned(&there, &[], &wish);
    let after_first = after(&there, &first.steps);
    let second = planned(&after_first, &first.remembered, &wish);
    assert_eq!(lines(&second.steps), Vec::<String>::new());
    assert_eq!(second.remembered, first.remembered);
}

#[test]
fn another_wish_takes_back_what_is_not_wanted_any_more() {
    let there = server();
    let first = planned(&there, &[], &wish(&["10.0.0.100", "10.0.0.101"]));
    let now = after(&there, &first.steps);
    let second = planned(&now, &first.remembered, &wish(&["10.0.0.101", "10.0.0.102"]));
    assert_eq!(
        lines(&second.steps),
        ["ip addr del 10.0.0.100/32 dev lo", "ip addr add 10.0.0.102/32 dev lo scope host"]
    );
    // The last VIP of IPv4 goes before the silence about it ends.
    let third = planned(&after(&now, &second.steps), &second.remembered, &wish(&["fd00::100"]));
    assert_eq!(
        lines(&third.steps),
        [
            "ip addr del 10.0.0.102/32 dev lo",
            "ip addr del 10.0.0.101/32 dev lo",
            "ip addr add fd00::100/128 dev lo nodad preferred_lft 0",
            "sysctl -w net.ipv4.conf.all.arp_announce=0",
            "sysctl -w net.ipv4.conf.all.arp_ignore=0",
        ]
    );
}

#[test]
fn what_somebody_else_has_changed_since_stays() {
    let there = server();
    let first = planned(&there, &[], &wish(&["10.0.0.100"]));
    let mut now = after(&there, &first.steps);
    now.sysctls.insert("net/ipv4/conf/all/arp_ignore".to_owned(), "2".to_owned());
    assert_eq!(
        lines(&unwound(&now, &first.remembered).steps),
        ["ip addr del 10.0.0.100/32 dev lo", "sysctl -w net.ipv4.conf.all.arp_announce=0"]
    );
    // A VIP that somebody took away is put back by the next start, and taken away by the stop after it.
    let mut without = after(&there, &first.steps);
    without.addresses.pop();
    let again = planned(&without, &first.remembered, &wish(&["10.0.0.100"]));
    assert_eq!(lines(&again.steps), ["ip addr add 10.0.0.100/32 dev lo scope host"]);
    assert_eq!(again.remembered, first.remembered);
}

prop_compose! {
    /// A server on which somebody has set this and that already.
    fn any_server()(
        values in proptest::collection::vec(0u8..9, 24),
        vips in proptest::collection::vec((0u8..3, any::<bool>()), 0..3),
    ) -> Surroundings {
        let mut there = server();
        for (value, found) in values.iter().zip(there.sysctls.values_mut()) {
            *found = value.to_string();
        }
        for (number, is_on_lo) in vips {
            let interface = if is_on_lo { "lo" } else { "eth0" }.to_owned();
            let address = format!("10.0.0.10{number}/32").parse().unwrap();
            let address = Address { interface, address, scope: Scope::Global, is_deprecated: false };
            if !there.addresses.contains(&address) {
                there.addresses.push(address);
            }
        }
        there
    }
}

fn any_wish() -> impl Strategy<Value = RealServer> {
    let vips = ["10.0.0.100", "10.0.0.101", "10.0.0.102", "fd00::100", "fd00::101"];
    proptest::sample::subsequence(vips.to_vec(), 1..5).prop_map(|vips| wish(&vips))
}

proptest! {
    #[test]
    fn after_a_start_all_is_as_wanted_and_a_stop_leaves_what_was(there in any_server(), wishes in proptest::collection::vec(any_wish(), 1..4)) {
        let (mut now, mut remembered) = (there.clone(), Vec::new());
        for wish in &wishes {
            let plan = planned(&now, &remembered, wish);
            let vip = plan.steps.iter().position(|step| matches!(step, Step::AddAddress(_)));
            let silence = plan.steps.iter().rposition(|step| {
                matches!(step, Step::Sysctl { name, value } if name.contains("arp_") && value != "0")
            });
            if let (Some(vip), Some(silence)) = (vip, silence) {
                let is_back = plan.steps[silence..].iter().all(|step| step.subject().contains("arp_"));
                prop_assert!(silence < vip || is_back, "{:?}", lines(&plan.steps));
            }
            now = after(&now, &plan.steps);
            remembered = plan.remembered;
            for change in wish.wanted(&now).unwrap() {
                prop_assert!(change.step.is_so(&now), "{}", change.step);
            }
            prop_assert_eq!(&sorted(origin(&now, &remembered)), &sorted(there.clone()));
        }
        let stop = unwound(&now, &remembered);
        prop_assert_eq!(&sorted(after(&now, &stop.steps)), &sorted(there));
    }
}

/// A start that is killed anywhere.
#[test]
fn what_was_begun_is_taken_back_wherever_it_ended() {
    let there = server();
    for (first, second) in [
        (wish(&["10.0.0.100", "10.0.0.101"]), wish(&["10.0.0.101", "fd00::100"])),
        (wish(&["10.0.0.100"]), wish(&["fd00::100"])),
        (wish(&["fd00::100"]), wish(&["10.0.0.100"])),
    ] {
        let begun = planned(&there, &[], &first);
        let now = after(&there, &begun.steps);
        let next = planned(&now, &begun.remembered, &second);
        let both = together(&begun.remembered, &next.remembered);
        for done in 0..=next.steps.len() {
            let broken = after(&now, &next.steps[..done]);
            let stop = unwound(&broken, &both);
            assert_eq!(sorted(after(&broken, &stop.steps)), sorted(there.clone()), "{done}");
        }
    }
}

/// A device of the kernel's that has gone can be taken down no more, and need not be.
#[test]
fn a_device_that_has_gone_is_down() {
    let mut there = server();
    let up = |is_up| Step::SetLink { name: "tunl0".to_owned(), is_up };
    there.links.push(Link { index: 3, name: "tunl0".to_owned(), ..Link::default() });
    let change = Change::new(up(true), &there);
    assert_eq!(change.undo, Some(up(false)));
    let now = after(&there, &[up(true)]);
    assert_eq!(unwound(&now, std::slice::from_ref(&change)).steps, [up(false)]);
    let gone = server();
    assert_eq!(unwound(&gone, &[change]).steps, []);
    assert!(up(false).is_so(&gone) && !up(true).is_so(&gone));
}

#[test]
fn root_is_asked_for_where_it_would_help() {
    let failed = |number: i32| {
        let error = std::io::Error::from_raw_os_error(number);
        super::HostError::Step("do it".to_owned(), error.into()).to_string()
    };
    assert_eq!(failed(1), "cannot do it (root is needed)");
    assert_eq!(failed(13), "cannot do it (root is needed)");
    assert_eq!(failed(2), "cannot do it");
}

fn sorted(mut there: Surroundings) -> Surroundings {
    there.addresses.sort_by_key(|place| (place.address, place.interface.clone()));
    there
}

#[test]
fn what_lasts_over_reboots_is_printed_in_full() {
    let mut there = server();
    let wish = wish(&["10.0.0.100", "fd00::100"]);
    // Also what is so already.
    there.sysctls.insert("net/ipv4/conf/all/arp_ignore".to_owned(), "1".to_owned());
    let wanted = wish.wanted(&there).unwrap();
    assert_eq!(
        super::render::sysctl(&wanted),
        "net.ipv4.conf.all.arp_ignore = 1\nnet.ipv4.conf.all.arp_announce = 2\n"
    );
    assert_eq!(
        super::render::networkd(&wanted),
        "\
# /etc/systemd/network/lo.network.d/vip.conf
# (needs an lo.network with [Match] Name=lo)
[Address]
Address=10.0.0.100/32
Scope=host
[Address]
Address=fd00::100/128
PreferredLifetime=0
DuplicateAddressDetection=none
# Before it, and not networkd's: the settings of --print=sysctl
"
    );
}

#[test]
fn commands_are_printed_with_their_reasons() {
    let plan = planned(&server(), &[], &wish(&["10.0.0.100"]));
    let text = super::render::commands(&plan.steps, &server(), &Instance::default());
    let commands: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(commands, lines(&plan.steps));
    assert_eq!(text.lines().filter(|line| line.starts_with("# else ")).count(), 3);
}

/// An interface of a VLAN has a dot in its name, which sysctl(8) would take for a slash.
#[test]
fn a_dot_in_an_interfaces_name_is_no_slash() {
    let step = |name: &str| Step::Sysctl { name: name.to_owned(), value: "1".to_owned() }.to_string();
    assert_eq!(step("net/ipv4/conf/eth0/arp_ignore"), "sysctl -w net.ipv4.conf.eth0.arp_ignore=1");
    assert_eq!(step("net/ipv4/conf/eth0.10/arp_ignore"), "sysctl -w net/ipv4/conf/eth0.10/arp_ignore=1");
}
