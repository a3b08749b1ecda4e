//! The lab itself: what it promises to the tests that stand on it.

use std::net::SocketAddrV4;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use anyhow::Result;
use lbxdp_tests::http::{ECHO_PORT, HTTP_PORT};
use lbxdp_tests::{Lab, Label, Legs, Namespace, Plan, body, leftovers};

fn namespaces_of(instance: &str) -> Vec<String> {
    let mine = Label::of(instance);
    leftovers::namespaces().into_iter().filter(|name| Label::of(name) == mine).collect()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_client_reaches_every_server_through_the_router() -> Result<()> {
    for legs in [Legs::One, Legs::Two] {
        let lab = Lab::build(Plan { legs, servers: 3, ..Plan::default() })?;
        let client = lab.client();
        let body = body::pattern(1 << 20);
        for server in &lab.servers {
            let http = SocketAddrV4::new(server.address, HTTP_PORT);
            assert_eq!(client.who(http)?, server.name);
            assert_eq!(client.get(http, "/bytes/1048576")?, body);
            assert_eq!(client.post(http, "/sink", &body)?, body::receipt(&body).as_bytes());

            let echo = SocketAddrV4::new(server.address, ECHO_PORT);
            let mut held = client.from_port(4711).open(echo)?;
            assert_eq!(held.source_port()?, 4711);
            assert_eq!(held.echo("one")?, format!("{} one", server.name));
            assert_eq!(held.echo("two")?, format!("{} two", server.name));
            assert_eq!(client.datagram(echo, b"three")?, format!("{} three", server.name).as_bytes());
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn only_the_director_answers_for_the_vip() -> Result<()> {
    for legs in [Legs::One, Legs::Two] {
        let lab = Lab::build(Plan { legs, ..Plan::default() })?;
        // Whoever has the VIP refuses the connection; by then the router has asked for its address.
        assert!(lab.client().open(lab.service(9)).is_err());
        let neighbour = lab.router.ip(&format!("neigh show {}", lab.vip()))?;
        let link = lab.director.ip("-brief link show eth0")?;
        let mac = link.split_whitespace().nth(2).unwrap_or("no address");
        assert!(neighbour.contains(mac), "the router learnt {neighbour}, the director is {mac}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_lab_is_gone_when_it_is_dropped() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let instance = lab.instance();
    assert_eq!(namespaces_of(&instance).len(), 6);
    drop(lab);
    assert_eq!(namespaces_of(&instance), [""; 0]);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_lab_is_gone_when_its_test_panics() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let instance = lab.instance();
    let outcome = catch_unwind(AssertUnwindSafe(move || {
        let lab = lab;
        assert_eq!(lab.servers.len(), 3, "this failure is part of the test");
    }));
    assert!(outcome.is_err());
    assert_eq!(namespaces_of(&instance), [""; 0]);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_a_killed_process_left_is_removed() -> Result<()> {
    let mut process = Command::new("true").spawn()?;
    let dead = format!("lbxdp-{}-0-client", process.id());
    process.wait()?;
    // Forgotten, not dropped: so would a killed process leave it.
    std::mem::forget(Namespace::create(&dead)?);
    let alive = Namespace::create(format!("{}-client", Label::unique()))?;

    leftovers::remove()?;
    let left = leftovers::namespaces();
    assert!(!left.contains(&dead));
    assert!(left.iter().any(|name| name == alive.name()));
    Ok(())
}
