//! Marks with real connections: which rule counts, whole networks as destinations, and what happens when a rule or the daemon goes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Result, ensure};
use lbxdp_tests::client::is_refused;
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::recorded::{CLIENT, Net, further_clients, vip};
use lbxdp_tests::service::{connections, numbers, status};
use lbxdp_tests::topology::{INNER, OUTER};
use lbxdp_tests::{Lab, Legs, Plan, daemon, wait};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(10);

/// A network none of whose addresses anybody has.
const NETWORK: &str = "198.51.100.0/24";
const OTHER_VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 120);
const OTHER_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);

const fn in_network(last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, last), port)
}

/// How many connections each of the services by mark, 1 and so on, has had.
fn had(net: &Net, marks: u32) -> Result<Vec<u64>> {
    let of = |mark: u32| {
        numbers(&net.daemon, "-L -n --stats --exact", &mark.to_string()).map(|numbers| numbers[0])
    };
    (1..=marks).map(of).collect()
}

/// The mark of the service that takes something; 0 if none of them does.
fn taken_by(net: &Net, marks: u32, come: impl FnOnce() -> Result<char>) -> Result<u32> {
    let before = had(net, marks)?;
    let served = come();
    let after = had(net, marks)?;
    let more: Vec<u32> = (1..)
        .zip(before.iter().zip(&after))
        .filter(|(_, (before, after))| after > before)
        .map(|(mark, _)| mark)
        .collect();
    match (served, &more[..]) {
        (Ok(_), [mark]) => Ok(*mark),
        // Nobody listens on the director.
        (Err(error), []) if is_refused(&error) => Ok(0),
        (served, _) => anyhow::bail!("{served:?}, taken by {more:?}"),
    }
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_most_specific_rule_that_fits_marks_a_packet() -> Result<()> {
    // Each more specific than those before it.
    const RULES: [&str; 10] = [
        "--destination 0.0.0.0/0",
        "--destination 10.0.0.0/24",
        "--destination 10.0.0.100",
        "--destination 10.0.0.100 --port 5000-5001",
        "--destination 10.0.0.100 --protocol tcp",
        "--destination 10.0.0.100 --protocol tcp --port 5000-9899",
        "--destination 10.0.0.100 --protocol tcp --port 5001",
        "--destination 10.0.0.100 --interface eth0 --port 5001",
        "--destination 10.0.0.100 --source 10.0.0.16/28",
        "--destination 10.0.0.100 --source 10.0.0.20",
    ];
    let net = Net::build()?;
    let marks = u32::try_from(RULES.len())?;
    // In an order that is not theirs.
    for at in [4, 9, 0, 6, 2, 8, 1, 7, 3, 5] {
        net.must(&format!(
            "mark add {} --destination {}",
            at + 1,
            RULES[at].trim_start_matches("--destination ")
        ))?;
    }
    for mark in 1..=marks {
        net.offer(&format!("-f {mark}"), "-s rr", &[1])?;
    }
    let tcp = |client, to| taken_by(&net, marks, || net.who(client, to));
    let client_29 = Ipv4Addr::new(10, 0, 0, 29);
    let other_net = Ipv4Addr::new(10, 0, 0, 40);
    assert_eq!(tcp(OTHER_CLIENT, vip(5001))?, 10);
    assert_eq!(tcp(client_29, vip(5001))?, 9);
    assert_eq!(tcp(other_net, vip(5001))?, 8);
    assert_eq!(tcp(other_net, vip(5000))?, 6);
    assert_eq!(tcp(other_net, vip(80))?, 5);
    assert_eq!(taken_by(&net, marks, || net.who_answers(other_net, vip(9999)))?, 3);
    assert_eq!(tcp(OTHER_CLIENT, SocketAddrV4::new(OTHER_VIP, 5001))?, 2);
    // As rules go, less specific ones take over.
    for (mark, then) in [(8, 7), (7, 6), (6, 5), (5, 4), (4, 3), (3, 2), (2, 1)] {
        net.must(&format!("mark delete {mark} {}", RULES[mark - 1]))?;
        assert_eq!(tcp(other_net, vip(5001))?, then, "after the rule of mark {mark}");
    }
    net.must(&format!("mark delete 1 {}", RULES[0]))?;
    assert_eq!(tcp(other_net, vip(5001))?, 0);
    assert_eq!(tcp(OTHER_CLIENT, vip(5001))?, 10, "the other clients' rules are still there");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_mark_comes_before_an_address_and_one_without_a_service_does_not_count() -> Result<()> {
    let net = Net::build()?;
    let to = vip(80);
    net.offer(&format!("-t {to}"), "-s rr", &[1])?;
    net.must("mark add 1 --destination 10.0.0.100 --protocol tcp --port 80")?;
    assert_eq!(net.who(CLIENT, to)?, '1', "no service has the mark");
    net.must("-A -f 1 -s rr")?;
    net.must("-a -f 1 -r 10.0.0.102 -g")?;
    net.wait_for_servers()?;
    assert_eq!(net.who(CLIENT, to)?, '2');
    net.must("-D -f 1")?;
    assert_eq!(net.who(CLIENT, to)?, '1');
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_network_that_is_led_to_the_director_is_balanced_until_its_rule_goes() -> Result<()> {
    let net = Net::build()?;
    net.lead_here(NETWORK)?;
    let rule = format!("1 --destination {NETWORK} --protocol tcp");
    net.must(&format!("mark add {rule}"))?;
    net.offer("-f 1", "-s rr", &[1, 1, 1])?;
    let places = [in_network(1, 80), in_network(200, 443), in_network(1, 5000), in_network(255, 80)];
    let went = places.map(|to| net.who(CLIENT, to)).into_iter().collect::<Result<String>>()?;
    assert_eq!(went, "3213");
    let (mut held, _) = net.open(places[0])?;
    let listed = connections(&net.daemon)?;
    ensure!(places.iter().all(|to| listed.iter().any(|one| one.service == *to)), "{listed:?}");
    net.must(&format!("mark delete {rule}"))?;
    // Nobody has these addresses any more, and nobody says so: the director does not forward.
    let hasty = || net.client(CLIENT).with_deadline(Duration::from_millis(300));
    for to in places {
        ensure!(hasty().open(to).is_err(), "{to} is still balanced");
    }
    assert_eq!(numbers(&net.daemon, "-L -n --stats --exact", "1")?[0], 5);
    net.must(&format!("mark add {rule}"))?;
    assert_eq!(net.run(CLIENT, places[0], 2)?, "13");
    assert_eq!(held.echo("a connection from before")?, "a connection from before");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn rules_hold_when_the_daemon_is_killed_and_when_the_next_takes_over() -> Result<()> {
    let mut net = Net::build()?;
    net.lead_here(NETWORK)?;
    for rule in [format!("1 --destination {NETWORK}"), "2 --destination 10.0.0.100 --port 5000-5001".into()] {
        net.must(&format!("mark add {rule}"))?;
    }
    for mark in [1, 2] {
        net.offer(&format!("-f {mark}"), "-s rr", &[1, 1, 1])?;
    }
    let before = net.must("mark list")?;
    let places = [in_network(7, 80), vip(5001)];
    let run = |net: &Net, wanted: &str| -> Result<()> {
        for to in places {
            assert_eq!(net.run(CLIENT, to, 2)?, wanted, "{to}");
        }
        ensure!(net.who(CLIENT, vip(80)).is_err_and(|error| is_refused(&error)));
        Ok(())
    };
    run(&net, "32")?;
    net.daemon.end_by(Signal::SIGKILL)?;
    run(&net, "13")?;
    net.start_again()?;
    run(&net, "21")?;
    assert_eq!(net.must("mark list")?, before);
    ensure!(!status(&net.daemon)?.contains("repaired"), "{}", status(&net.daemon)?);
    assert!(further_clients().all(|client| net.who(client, places[0]).is_ok()));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_rule_of_the_directors_other_interface_does_not_count() -> Result<()> {
    let lab = Lab::build(Plan { legs: Legs::Two, ..Plan::default() })?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    let to = lab.service(HTTP_PORT);
    for (mark, interface, server) in [(1, INNER, &lab.servers[0]), (2, OUTER, &lab.servers[1])] {
        daemon.must(&format!("mark add {mark} --destination {} --interface {interface}", to.ip()))?;
        daemon.must(&format!("-A -f {mark} -s rr"))?;
        daemon.must(&format!("-a -f {mark} -r {} -g", server.address))?;
    }
    wait::until("all servers are found", SOON, || {
        status(&daemon).is_ok_and(|text| !text.contains("UNKNOWN"))
    })?;
    assert_eq!([lab.client().who(to)?, lab.client().who(to)?], ["s2", "s2"]);
    daemon.must(&format!("mark delete 2 --destination {} --interface {OUTER}", to.ip()))?;
    ensure!(lab.client().who(to).is_err_and(|error| is_refused(&error)));
    Ok(())
}
