//! Connections as an operator of IPVS knows them: states, timers, counts, and what edits do to them.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::Result;
use lbxdp_tests::http::{ECHO_PORT, HTTP_PORT};
use lbxdp_tests::service::{Listed, connections, load, serve};
use lbxdp_tests::{Daemon, Plan, wait};

const SOON: Duration = Duration::from_secs(10);

fn only(daemon: &Daemon) -> Result<Listed> {
    let mut all = connections(daemon)?;
    anyhow::ensure!(all.len() == 1, "one connection was expected: {all:?}");
    Ok(all.remove(0))
}

/// Waits until the only connection is in a state.
fn until(daemon: &Daemon, state: &str) -> Result<Listed> {
    wait::until_some(&format!("the connection is in {state}"), SOON, || {
        only(daemon).ok().filter(|listed| listed.state == state)
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_connection_goes_through_the_states_of_ipvs_with_falling_timers() -> Result<()> {
    let (lab, daemon) = serve(Plan { servers: 1, ..Plan::default() }, "wlc", ECHO_PORT, &[1])?;
    let server = SocketAddrV4::new(lab.servers[0].address, ECHO_PORT);
    let mut held = lab.client().from_port(40_001).open(lab.service(ECHO_PORT))?;
    assert_eq!(held.echo("hello")?, "s1 hello");
    let established = until(&daemon, "ESTABLISHED")?;
    assert!((897..=900).contains(&established.expires_s), "{established:?}");
    assert_eq!(established.client, SocketAddrV4::new(lbxdp_tests::topology::CLIENT, 40_001));
    assert_eq!((established.service, established.server), (lab.service(ECHO_PORT), server));
    assert_eq!(load(&daemon, server)?, (1, 0));
    // Without a packet its time runs; with one it begins again.
    wait::until("the timer falls", SOON, || only(&daemon).is_ok_and(|now| now.expires_s < 894))?;
    held.echo("again")?;
    assert!(only(&daemon)?.expires_s >= 895);
    drop(held);
    let closing = until(&daemon, "FIN_WAIT")?;
    assert!((115..=120).contains(&closing.expires_s), "{closing:?}");
    assert_eq!(load(&daemon, server)?, (0, 1));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_mute_server_leaves_a_connection_in_syn_recv() -> Result<()> {
    let (lab, daemon) = serve(Plan { servers: 1, ..Plan::default() }, "wlc", ECHO_PORT, &[1])?;
    // The oldest fault of LVS: the VIP is missing on the real server.
    lab.servers[0].namespace.ip(&format!("addr del {}/32 dev lo", lab.vip()))?;
    let refused = lab.client().with_deadline(Duration::from_millis(300)).open(lab.service(ECHO_PORT));
    assert!(refused.is_err());
    let opening = only(&daemon)?;
    assert_eq!(opening.state, "SYN_RECV");
    assert!((55..=60).contains(&opening.expires_s), "{opening:?}");
    assert_eq!(load(&daemon, opening.server)?, (1, 0));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn timeouts_that_were_set_are_those_of_the_next_packet() -> Result<()> {
    let (lab, daemon) = serve(Plan { servers: 1, ..Plan::default() }, "wlc", ECHO_PORT, &[1])?;
    let server = SocketAddrV4::new(lab.servers[0].address, ECHO_PORT);
    let mut held = lab.client().open(lab.service(ECHO_PORT))?;
    held.echo("before")?;
    daemon.must("--set 2 1 0")?;
    assert_eq!(daemon.must("-L --timeout")?, "Timeout (tcp tcpfin udp): 2 1 300\n");
    assert!(only(&daemon)?.expires_s > 800, "an existing connection keeps its time until its next packet");
    held.echo("after")?;
    assert!(only(&daemon)?.expires_s <= 2);
    // It expires: out of the listing, off the counts, and to traffic it is gone.
    wait::until("the connection expires", SOON, || connections(&daemon).is_ok_and(|all| all.is_empty()))?;
    wait::until("the server's count falls", SOON, || load(&daemon, server).is_ok_and(|load| load == (0, 0)))?;
    assert!(held.echo("too late").is_err(), "the director's stack resets what it does not know");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn with_weight_0_new_connections_move_and_old_ones_stay() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", ECHO_PORT, &[1, 1])?;
    let service = lab.service(ECHO_PORT);
    let mut held = [lab.client().open(service)?, lab.client().open(service)?];
    assert_eq!([held[0].echo("a")?, held[1].echo("b")?], ["s2 a", "s1 b"]);
    daemon.must(&format!("-e -t {service} -r {} -w 0", lab.servers[1].address))?;
    assert_eq!([held[0].echo("c")?, held[1].echo("d")?], ["s2 c", "s1 d"]);
    for _ in 0..4 {
        assert_eq!(lab.client().open(service)?.echo("new")?, "s1 new");
    }
    daemon.must(&format!("-e -t {service} -r {} -w 0", lab.servers[0].address))?;
    let refused = lab.client().with_deadline(Duration::from_millis(300)).open(service);
    assert!(refused.is_err(), "no server may get it");
    assert_eq!([held[0].echo("e")?, held[1].echo("f")?], ["s2 e", "s1 f"]);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn connections_of_a_deleted_server_wait_for_it() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", ECHO_PORT, &[1, 1])?;
    let service = lab.service(ECHO_PORT);
    let mut held = lab.client().with_deadline(Duration::from_millis(500)).open(service)?;
    assert_eq!(held.echo("here")?, "s2 here");
    let gone = SocketAddrV4::new(lab.servers[1].address, ECHO_PORT);
    daemon.must(&format!("-d -t {service} -r {gone}"))?;
    // Silence, not a reset: what is sent now arrives when the server is back.
    let unanswered = held.echo("into the dark").expect_err("nobody answers");
    assert!(!format!("{unanswered:#}").contains("reset"), "{unanswered:#}");
    assert_eq!(connections(&daemon)?.len(), 1);
    daemon.must(&format!("-a -t {service} -r {gone} -g -w 1"))?;
    assert_eq!(load(&daemon, gone)?, (1, 0), "its counts go on where they were");
    wait::until("the server's answer arrives", SOON, || {
        held.echo("are you back?").is_ok_and(|answer| answer.starts_with("s2 "))
    })?;
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn an_edited_service_keeps_its_connections() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", ECHO_PORT, &[1, 1])?;
    let service = lab.service(ECHO_PORT);
    let mut held = lab.client().open(service)?;
    let answer = held.echo("x")?;
    for scheduler in ["wrr", "wlc", "rr"] {
        daemon.must(&format!("-E -t {service} -s {scheduler}"))?;
        assert_eq!(held.echo("x")?, answer);
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_finished_connections_port_can_be_used_again_at_once() -> Result<()> {
    let (lab, daemon) = serve(Plan { servers: 1, ..Plan::default() }, "rr", HTTP_PORT, &[1])?;
    let mut answered = 0;
    for _ in 0..20 {
        match lab.client().from_port(40_002).who(lab.service(HTTP_PORT)) {
            Ok(name) => answered += usize::from(name == "s1"),
            // The client's own TIME_WAIT may forbid it; the director never does.
            Err(error) => {
                assert!(format!("{error:#}").contains("Cannot assign requested address"), "{error:#}");
            }
        }
    }
    assert!(answered >= 2, "the port was used again {answered} times");
    assert_eq!(connections(&daemon)?.len(), 1);
    Ok(())
}
