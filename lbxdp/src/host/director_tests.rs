use super::super::plan::{plan, unwound};
use super::super::tests::{after, lines, server};
use super::*;

const FILE: &str = "# the shop\n-A -t 10.0.0.100:80 -s wrr\n-a -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 2\n";

fn director(file: &str) -> Director {
    Director::new(Vec::new(), None, &parse(Path::new("rules"), file.as_bytes()).unwrap())
}

fn planned(wish: &Director, there: &Surroundings) -> super::super::plan::Plan {
    plan(there, &[], |origin| wish.wanted(origin).unwrap())
}

#[test]
fn services_come_before_the_vip_and_neighbours_are_told_last() {
    let there = server();
    let wish = director(FILE);
    let plan = planned(&wish, &there);
    assert_eq!(
        lines(&plan.steps),
        [
            "lbxdp -A -t 10.0.0.100:80 -s wrr",
            "lbxdp -a -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 2",
            "ip addr add 10.0.0.100/32 dev eth0",
            "lbxdp director announce --vip 10.0.0.100",
        ]
    );
    let now = after(&there, &plan.steps);
    assert_eq!(
        lines(&super::super::plan::plan(&now, &plan.remembered, |origin| wish.wanted(origin).unwrap()).steps),
        [""; 0]
    );
    assert_eq!(
        lines(&unwound(&now, &plan.remembered).steps),
        [
            "ip addr del 10.0.0.100/32 dev eth0",
            "lbxdp -d -t 10.0.0.100:80 -r 10.0.0.11:80",
            "lbxdp -D -t 10.0.0.100:80",
        ]
    );
}

#[test]
fn forwarding_is_for_nat_alone_and_goes_back_interface_by_interface() {
    let mut there = server();
    there.sysctls.insert("net/ipv4/conf/eth0/forwarding".to_owned(), "1".to_owned());
    there.sysctls.insert("net/ipv4/conf/all/accept_redirects".to_owned(), "1".to_owned());
    let wish = director(&FILE.replace("-g", "-m"));
    let plan = planned(&wish, &there);
    assert_eq!(
        lines(&plan.steps)[..4],
        [
            "sysctl -w net.ipv4.conf.default.forwarding=1",
            "sysctl -w net.ipv4.conf.lo.forwarding=1",
            "sysctl -w net.ipv4.conf.all.accept_redirects=0",
            "sysctl -w net.ipv4.ip_forward=1",
        ]
    );
    let back = unwound(&after(&there, &plan.steps), &plan.remembered);
    let back = lines(&back.steps);
    // Also what was so before: the switch writes to all.
    assert_eq!(
        back[back.len() - 5..],
        [
            "sysctl -w net.ipv4.ip_forward=0",
            "sysctl -w net.ipv4.conf.all.accept_redirects=1",
            "sysctl -w net.ipv4.conf.lo.forwarding=0",
            "sysctl -w net.ipv4.conf.eth0.forwarding=1",
            "sysctl -w net.ipv4.conf.default.forwarding=0",
        ]
    );
    assert!(!lines(&planned(&director(FILE), &there).steps).iter().any(|line| line.contains("forward")));
}

#[test]
fn routers_are_still_listened_to_where_there_is_one() {
    let mut there = server();
    let setting = |interface: &str| format!("net/ipv6/conf/{interface}/accept_ra");
    for interface in ["all", "eth0", "eth1"] {
        there.sysctls.insert(setting(interface), "1".to_owned());
    }
    let file = "-A -t [fd00::100]:80 -s rr\n-a -t [fd00::100]:80 -r [fd00::11]:80 -m -w 1\n";
    let starts = |there: &Surroundings| {
        let plan = planned(&director(file), there);
        let back = lines(&unwound(&after(there, &plan.steps), &plan.remembered).steps);
        (lines(&plan.steps), back)
    };
    // Nobody advertises: the route is the operator's.
    assert!(!starts(&there).0.iter().any(|line| line.contains("accept_ra")));
    let default = there.routes.iter_mut().find(|route| route.destination.to_string() == "::/0").unwrap();
    default.protocol = 9;
    let (steps, back) = starts(&there);
    // Before the switch, which would forget the route.
    assert_eq!(steps[0], "sysctl -w net.ipv6.conf.eth0.accept_ra=2");
    assert_eq!(back.last().unwrap(), "sysctl -w net.ipv6.conf.eth0.accept_ra=1");
}

#[test]
fn redirects_are_off_where_a_nat_server_shares_the_clients_network() {
    let mut there = server();
    for which in ["all", "eth0"] {
        there.sysctls.insert(format!("net/ipv4/conf/{which}/send_redirects"), "1".to_owned());
    }
    let steps = lines(&planned(&director(&FILE.replace("-g", "-m")), &there).steps);
    for which in ["all", "eth0"] {
        assert!(steps.contains(&format!("sysctl -w net.ipv4.conf.{which}.send_redirects=0")), "{steps:?}");
    }
}

#[test]
fn the_vip_goes_to_its_network_or_to_where_the_world_is() {
    let there = server();
    let place = |vip: &str, interface: Option<&str>| {
        let wish = Director::new(vec![vip.parse().unwrap()], interface.map(str::to_owned), &[]);
        planned(&wish, &there).steps.first().map(ToString::to_string)
    };
    assert_eq!(place("10.0.0.100", None).as_deref(), Some("ip addr add 10.0.0.100/32 dev eth0"));
    assert_eq!(place("192.0.2.1", None).as_deref(), Some("ip addr add 192.0.2.1/32 dev eth0"));
    assert_eq!(place("192.0.2.1", Some("lo")).as_deref(), Some("ip addr add 192.0.2.1/32 dev lo"));
    assert_eq!(
        place("fd00::100", None).as_deref(),
        Some("ip addr add fd00::100/128 dev eth0 nodad preferred_lft 0")
    );
    let mut nowhere = there.clone();
    nowhere.routes.clear();
    let wish = Director::new(vec!["192.0.2.1".parse().unwrap()], None, &[]);
    assert!(matches!(wish.wanted(&nowhere), Err(HostError::NoPlace(_))));
}

#[test]
fn a_service_that_was_there_comes_back_as_it_was() {
    let mut there = server();
    there.services = vec!["-A -t 10.0.0.100:80 -s rr".to_owned()];
    let plan = planned(&director(FILE), &there);
    assert_eq!(lines(&plan.steps)[0], "lbxdp -A -t 10.0.0.100:80 -s wrr");
    let back = lines(&unwound(&after(&there, &plan.steps), &plan.remembered).steps);
    assert_eq!(back.last().unwrap(), "lbxdp -A -t 10.0.0.100:80 -s rr");
}

#[test]
fn a_line_that_adds_nothing_is_refused_with_its_number() {
    for (file, line) in [("-A -t 10.0.0.100:80 -s wrr\n-L -n\n", 2), ("-A -t nonsense\n", 1)] {
        match parse(Path::new("rules"), file.as_bytes()) {
            Err(HostError::Line { line: found, .. }) => assert_eq!(found, line),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_server_with_another_weight_stays_where_it_is() {
    let there = server();
    let first = planned(&director(FILE), &there);
    let now = after(&there, &first.steps);
    let heavier = director(&FILE.replace("-w 2", "-w 3"));
    let second = plan(&now, &first.remembered, |origin| heavier.wanted(origin).unwrap());
    let line = "-a -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 3";
    assert_eq!(lines(&second.steps), [format!("lbxdp {line}")]);
    let now = after(&now, &second.steps);
    assert!(now.services.iter().any(|found| found == line), "{:?}", now.services);
    assert_eq!(after(&now, &unwound(&now, &second.remembered).steps).services, there.services);
}
