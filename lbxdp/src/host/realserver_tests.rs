use super::super::plan::plan;
use super::super::tests::{after, lines, server};
use super::*;

fn tunnel(kind: TunnelKind) -> Tunnel {
    Tunnel {
        kind,
        directors: vec!["10.0.0.10/32".parse().unwrap()],
        opener: Opener::Xdp,
        interface: None,
        gue_ports: vec![6080],
        advmss: AdvertisedMss::Auto,
    }
}

fn steps(wish: &RealServer, there: &Surroundings) -> Vec<String> {
    lines(&plan(there, &[], |origin| wish.wanted(origin).unwrap()).steps)
}

fn direct(vips: &[&str]) -> RealServer {
    RealServer { vips: vips.iter().map(|vip| vip.parse().unwrap()).collect(), tunnel: None }
}

#[test]
fn direct_routing_wants_silence_before_the_vip() {
    assert_eq!(
        steps(&direct(&["10.0.0.100", "fd00::100"]), &server()),
        [
            "sysctl -w net.ipv4.conf.all.arp_ignore=1",
            "sysctl -w net.ipv4.conf.all.arp_announce=2",
            "ip addr add 10.0.0.100/32 dev lo scope host",
            "ip addr add fd00::100/128 dev lo nodad preferred_lft 0",
        ]
    );
    // IPv6 has nothing like ARP's settings, and needs none: an address on lo is not answered for elsewhere.
    assert_eq!(
        steps(&direct(&["fd00::100"]), &server()),
        ["ip addr add fd00::100/128 dev lo nodad preferred_lft 0"]
    );
}

#[test]
fn a_setting_of_an_interface_that_is_greater_and_worse_is_mended() {
    let mut there = server();
    for (which, value, wanted) in [("all", "8", "8"), ("all", "2", "2"), ("all", "3", "1"), ("all", "5", "1")]
    {
        there.sysctls.insert(format!("net/ipv4/conf/{which}/arp_ignore"), value.to_owned());
        let first = &direct(&["10.0.0.100"]).wanted(&there).unwrap()[0].step;
        assert_eq!(first.to_string(), format!("sysctl -w net.ipv4.conf.all.arp_ignore={wanted}"), "{value}");
    }
    for (value, is_mended) in
        [("0", false), ("1", false), ("2", false), ("3", true), ("4", true), ("7", true), ("8", false)]
    {
        there.sysctls.insert("net/ipv4/conf/eth0/arp_ignore".to_owned(), value.to_owned());
        let steps = steps(&direct(&["10.0.0.100"]), &there);
        let mended = "sysctl -w net.ipv4.conf.eth0.arp_ignore=1".to_owned();
        assert_eq!(steps.contains(&mended), is_mended, "{value}: {steps:?}");
    }
}

#[test]
fn a_tunnel_is_opened_before_the_vip_is_there() {
    let mut there = server();
    there.sysctls.insert("net/ipv4/conf/all/rp_filter".to_owned(), "1".to_owned());
    let wish = RealServer { tunnel: Some(tunnel(TunnelKind::Ipip)), ..direct(&["10.0.0.100"]) };
    let expected = [
        "sysctl -w net.ipv4.conf.all.arp_ignore=1",
        "sysctl -w net.ipv4.conf.all.arp_announce=2",
        "sysctl -w net.ipv4.conf.eth0.rp_filter=2",
        "lbxdp decap start --interface eth0 --from 10.0.0.10/32 --gue-port 6080",
        "ip route change default via 10.0.0.1 dev eth0 proto 3 advmss 1440",
        "ip addr add 10.0.0.100/32 dev lo scope host",
    ];
    assert_eq!(steps(&wish, &there), expected);
    let plan = plan(&there, &[], |origin| wish.wanted(origin).unwrap());
    let back = super::super::plan::unwound(&after(&there, &plan.steps), &plan.remembered);
    assert_eq!(
        lines(&back.steps),
        [
            "ip addr del 10.0.0.100/32 dev lo",
            "ip route change default via 10.0.0.1 dev eth0 proto 3",
            "lbxdp decap stop --interface eth0",
            "sysctl -w net.ipv4.conf.eth0.rp_filter=0",
            "sysctl -w net.ipv4.conf.all.arp_announce=0",
            "sysctl -w net.ipv4.conf.all.arp_ignore=0",
        ]
    );
}

#[test]
fn segments_fit_into_every_tunnel() {
    for (kind, director, v4, v6) in [
        (TunnelKind::Ipip, "10.0.0.10", 1440, 1420),
        (TunnelKind::Gue, "10.0.0.10", 1428, 1408),
        (TunnelKind::Gre, "10.0.0.10", 1432, 1412),
        (TunnelKind::Ipip, "fd00::10", 1412, 1392),
    ] {
        let tunnel = Tunnel { directors: vec![director.parse::<IpAddr>().unwrap().into()], ..tunnel(kind) };
        let wish = RealServer { tunnel: Some(tunnel), ..direct(&["10.0.0.100", "fd00::100"]) };
        let steps = steps(&wish, &server());
        let advertised: Vec<_> = steps.iter().filter_map(|step| step.split_once(" advmss ")).collect();
        let numbers: Vec<_> = advertised.iter().map(|(_, bytes)| bytes.parse::<u32>().unwrap()).collect();
        assert_eq!(numbers, [v4, v6], "{kind:?} {director}");
    }
}

#[test]
fn routes_that_are_the_operators_stay() {
    let route = |change: fn(&mut Route)| {
        let mut there = server();
        change(&mut there.routes[0]);
        let wish = RealServer { tunnel: Some(tunnel(TunnelKind::Ipip)), ..direct(&["10.0.0.100"]) };
        steps(&wish, &there).into_iter().find(|step| step.contains("route"))
    };
    assert!(route(|_| {}).is_some());
    assert_eq!(route(|route| route.advmss = Some(1200)), None);
    assert_eq!(route(|route| route.is_beyond_us = true), None);
    // Without a gateway clients are neighbours.
    let mut there = server();
    there.routes.remove(0);
    let wish = RealServer { tunnel: Some(tunnel(TunnelKind::Ipip)), ..direct(&["10.0.0.100"]) };
    let steps = steps(&wish, &there);
    assert!(steps.iter().any(|step| step.starts_with("ip route change 10.0.0.0/24 dev eth0")), "{steps:?}");
}

#[test]
fn the_kernels_devices_are_used_if_wanted_and_there() {
    let kernel = |kind, there: &Surroundings| {
        let tunnel = Tunnel { opener: Opener::Kernel, advmss: AdvertisedMss::Off, ..tunnel(kind) };
        RealServer { tunnel: Some(tunnel), ..direct(&["10.0.0.100"]) }.wanted(there)
    };
    let mut there = server();
    let refusal = kernel(TunnelKind::Ipip, &there).unwrap_err().to_string();
    assert!(refusal.starts_with("there is no device tunl0"), "{refusal}");
    assert!(matches!(kernel(TunnelKind::Gue, &there), Err(HostError::KernelGue)));
    let device =
        super::super::surroundings::Link { name: "tunl0".to_owned(), mtu: 1480, ..Default::default() };
    there.links.push(device);
    there.sysctls.insert("net/ipv4/conf/all/rp_filter".to_owned(), "1".to_owned());
    let steps: Vec<_> =
        kernel(TunnelKind::Ipip, &there).unwrap().into_iter().map(|change| change.step.to_string()).collect();
    // The greater counts, and 2 lets in what 1 drops: all's may stay.
    assert_eq!(
        steps[2..],
        [
            "sysctl -w net.ipv4.conf.tunl0.rp_filter=2",
            "ip link set tunl0 up",
            // On a device without an address it would drop all the same.
            "ip addr add 10.0.0.100/32 dev tunl0 scope host",
        ]
    );
}

#[test]
fn no_client_is_behind_what_opens_tunnels() {
    use super::super::surroundings::Link;
    let mut there = server();
    there.routes.retain(|route| route.gateway.is_none());
    let interfaces = |there: &Surroundings| -> Vec<String> {
        there.routes_to_clients(true).into_iter().map(|route| route.interface.clone()).collect()
    };
    assert_eq!(interfaces(&there), ["eth0"]);
    there.links.push(Link { index: 3, name: "sit0".to_owned(), ..Link::default() });
    let own = there.routes.iter().find(|route| route.destination.addr().is_ipv6()).cloned().unwrap();
    there.routes.push(Route { destination: "::/96".parse().unwrap(), interface: "sit0".to_owned(), ..own });
    assert_eq!(interfaces(&there), ["eth0"]);
}

#[test]
fn directors_of_both_families_need_the_devices_for_both() {
    let devices = |directors: &[&str], vips: &[&str]| {
        let directors = directors.iter().map(|director| director.parse().unwrap()).collect();
        let vips: Vec<IpAddr> = vips.iter().map(|vip| vip.parse().unwrap()).collect();
        Tunnel { directors, ..tunnel(TunnelKind::Ipip) }.devices(&vips).unwrap()
    };
    let both = ["10.0.0.100", "fd00::100"];
    assert_eq!(devices(&["10.0.0.10/32", "fd00::10/128"], &both), ["ip6tnl0", "sit0", "tunl0"]);
    assert_eq!(devices(&["fd00::10/128"], &both), ["ip6tnl0"]);
    assert_eq!(devices(&["10.0.0.10/32"], &both), ["sit0", "tunl0"]);
    assert_eq!(devices(&[], &both[..1]), ["tunl0"]);
}

#[test]
fn a_vip_that_is_there_stays_as_it_is_if_nobody_can_ask_for_it() {
    let mut there = server();
    let mut put = |interface: &str| {
        let address = Address {
            interface: interface.to_owned(),
            address: "10.0.0.100/32".parse().unwrap(),
            scope: Scope::Global,
            is_deprecated: false,
        };
        there.addresses.push(address);
        there.clone()
    };
    let on_card = put("eth0");
    assert!(steps(&direct(&["10.0.0.100"]), &on_card).iter().any(|step| step.contains("addr add")));
    let on_both = put("lo");
    assert!(!steps(&direct(&["10.0.0.100"]), &on_both).iter().any(|step| step.contains("addr add")));
}

#[test]
fn what_is_missing_is_named() {
    let there = server();
    let refusal = |change: fn(&mut Tunnel)| {
        let mut tunnel = tunnel(TunnelKind::Ipip);
        change(&mut tunnel);
        RealServer { tunnel: Some(tunnel), ..direct(&["10.0.0.100"]) }.wanted(&there).unwrap_err()
    };
    assert!(matches!(refusal(|tunnel| tunnel.directors.clear()), HostError::NoDirector));
    assert!(matches!(refusal(|tunnel| tunnel.interface = Some("eth9".into())), HostError::NoInterface(_)));
    let mut nowhere = server();
    nowhere.routes.clear();
    let wish = RealServer { tunnel: Some(tunnel(TunnelKind::Ipip)), ..direct(&["10.0.0.100"]) };
    assert!(matches!(wish.wanted(&nowhere), Err(HostError::NoRoute(_))));
}
