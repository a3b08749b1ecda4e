//! VS/DR end to end: who gets a connection, and whether what is sent arrives.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddrV4, TcpListener};
use std::thread;

use anyhow::{Result, ensure};
use lbxdp_common::Scheduler;
use lbxdp_tests::http::{ECHO_PORT, HTTP_PORT};
use lbxdp_tests::service::{Listed, connections, load, serve};
use lbxdp_tests::topology::DIRECTOR;
use lbxdp_tests::{Lab, Legs, Plan, body, daemon};

const EIGHT_MEGABYTES: usize = 8 << 20;

/// Who answers to so many short connections, one after the other: a digit each. Each comes from a port of its own: a port
/// used again within two minutes is the old connection, and goes where that went.
fn answers(lab: &Lab, connections: u16) -> Result<String> {
    let names = (0..connections).map(|at| lab.client().from_port(10_000 + at).who(lab.service(HTTP_PORT)));
    names.map(|name| Ok(name?.trim_start_matches('s').to_owned())).collect()
}

fn counted(answers: &str) -> BTreeMap<char, usize> {
    answers.chars().fold(BTreeMap::new(), |mut counts, server| {
        *counts.entry(server).or_default() += 1;
        counts
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn rr_gives_each_server_its_turn_the_newest_first() -> Result<()> {
    let plan = Plan { servers: 3, ..Plan::default() };
    let (lab, _daemon) = serve(plan, "rr", HTTP_PORT, &[1, 1, 1])?;
    assert_eq!(answers(&lab, 600)?, "321".repeat(200));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn wrr_gives_what_the_weights_say_in_the_order_of_ipvs() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "wrr", HTTP_PORT, &[2, 3])?;
    let answers = answers(&lab, 600)?;
    assert_eq!(counted(&answers), BTreeMap::from([('1', 240), ('2', 360)]));
    // One period: the bar stands at 1 after the second server was added, then at 3 and 2.
    assert_eq!(answers, "21221".repeat(120));
    let listed = daemon.must("-L -n --stats --exact")?;
    let service = listed.lines().find(|line| line.starts_with("TCP")).unwrap_or_default();
    let connections = service.split_whitespace().nth(2);
    assert_eq!(connections, Some("600"), "{listed}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn wlc_gives_what_the_weights_say() -> Result<()> {
    let (lab, daemon) = serve(Plan { legs: Legs::Two, ..Plan::default() }, "wlc", HTTP_PORT, &[2, 1])?;
    let answers = answers(&lab, 600)?;
    assert_eq!(counted(&answers), BTreeMap::from([('1', 400), ('2', 200)]));
    // They are all in FIN_WAIT now, and counted as such.
    let of = |server: usize| load(&daemon, SocketAddrV4::new(lab.servers[server].address, HTTP_PORT));
    assert_eq!((of(0)?, of(1)?), ((0, 400), (0, 200)));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_service_goes_from_scheduler_to_scheduler_while_it_serves() -> Result<()> {
    const EACH: u16 = 12;
    let plan = Plan { servers: 3, ..Plan::default() };
    let (lab, daemon) = serve(plan, "rr", HTTP_PORT, &[1, 2, 3])?;
    let service = lab.service(HTTP_PORT);
    for (turn, scheduler) in (0..).zip(Scheduler::ALL) {
        daemon.must(&format!("-E -t {service} -s {scheduler}"))?;
        let answers: Result<String> = (0..EACH)
            .map(|at| Ok(lab.client().from_port(10_000 + turn * EACH + at).who(service)?.replace('s', "")))
            .collect();
        if *scheduler == Scheduler::Nobody {
            ensure!(answers.is_err(), "none picks nobody: {answers:?}");
            continue;
        }
        let counts = counted(&answers?);
        // One client and one address go one way by hash; what is remembered is not busy, and the best of fo and ovf is not
        // full.
        let goes_one_way = matches!(scheduler.name(), "sh" | "dh" | "mh" | "lblc" | "lblcr" | "fo" | "ovf");
        assert_eq!(counts.values().sum::<usize>(), usize::from(EACH), "{scheduler}: {counts:?}");
        match scheduler.name() {
            "rr" => assert_eq!(counts, BTreeMap::from([('1', 4), ('2', 4), ('3', 4)])),
            "wrr" => assert_eq!(counts, BTreeMap::from([('1', 2), ('2', 4), ('3', 6)])),
            _ if goes_one_way => assert_eq!(counts.len(), 1, "{scheduler}: {counts:?}"),
            _ => {}
        }
    }
    Ok(())
}

fn transfer_each_way(legs: Legs) -> Result<()> {
    let (lab, _daemon) = serve(Plan { legs, ..Plan::default() }, "wlc", HTTP_PORT, &[1, 1])?;
    let client = lab.client();
    let wanted = body::pattern(EIGHT_MEGABYTES);
    let got = client.get(lab.service(HTTP_PORT), &format!("/bytes/{EIGHT_MEGABYTES}"))?;
    ensure!(got == wanted, "the download is not what was asked for");
    let receipt = client.post(lab.service(HTTP_PORT), "/sink", &wanted)?;
    assert_eq!(String::from_utf8_lossy(&receipt), body::receipt(&wanted));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn eight_megabytes_arrive_each_way_over_one_leg() -> Result<()> {
    transfer_each_way(Legs::One)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn eight_megabytes_arrive_each_way_over_two_legs() -> Result<()> {
    transfer_each_way(Legs::Two)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn jumbo_frames_pass_where_the_driver_takes_them() -> Result<()> {
    let (lab, _daemon) = serve(Plan { mtu: 9000, ..Plan::default() }, "rr", HTTP_PORT, &[1, 1])?;
    let sent = body::pattern(1 << 20);
    let receipt = lab.client().post(lab.service(HTTP_PORT), "/sink", &sent)?;
    assert_eq!(String::from_utf8_lossy(&receipt), body::receipt(&sent));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn datagrams_of_one_client_stay_with_their_server() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    let service = lab.service(ECHO_PORT);
    daemon.must(&format!("-A -u {service} -s rr"))?;
    for server in &lab.servers {
        daemon.must(&format!("-a -u {service} -r {}", server.address))?;
    }
    let client = lab.client();
    let sockets = [5001, 5002, 5003]
        .map(|port| client.from_port(port).talk(service))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let ask = |number: usize| -> Result<String> {
        Ok(String::from_utf8_lossy(&sockets[number].ask(b"hello")?).into_owned())
    };
    assert_eq!([ask(0)?, ask(1)?, ask(0)?, ask(2)?], ["s2 hello", "s1 hello", "s2 hello", "s2 hello"]);
    let listed = connections(&daemon)?;
    let is_fresh_udp = |c: &&Listed| {
        (c.protocol.as_str(), c.state.as_str()) == ("UDP", "UDP") && (295..=300).contains(&c.expires_s)
    };
    assert_eq!((listed.len(), listed.iter().filter(is_fresh_udp).count()), (3, 3), "{listed:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn other_ports_and_addresses_of_the_director_reach_its_stack() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    for own in [SocketAddrV4::new(lab.vip(), 2222), SocketAddrV4::new(DIRECTOR, HTTP_PORT)] {
        let listener = lab.director.inside(|| TcpListener::bind(own))??;
        let answering = thread::spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ndirector")?;
            Ok(())
        });
        assert_eq!(lab.client().who(own)?, "director");
        assert!(answering.join().is_ok_and(|answered| answered.is_ok()));
    }
    // Nobody listens there, and it is the director's stack that says so.
    let refused = lab.client().datagram(SocketAddrV4::new(lab.vip(), 3333), b"anybody?");
    assert!(refused.is_err_and(|error| format!("{error:#}").contains("Connection refused")));
    let listed = daemon.must("-L -n --stats --exact")?;
    assert!(
        listed.lines().any(|line| line.split_whitespace().skip(1).collect::<Vec<_>>()
            == [&lab.service(HTTP_PORT).to_string(), "0", "0", "0", "0", "0"]),
        "nothing was balanced: {listed}"
    );
    Ok(())
}
