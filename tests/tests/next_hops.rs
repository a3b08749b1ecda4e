//! The way to a server is followed as it changes, and a server without one gets nothing while others can.

use std::time::Duration;

use anyhow::Result;
use lbxdp_tests::http::{ECHO_PORT, HTTP_PORT};
use lbxdp_tests::service::serve;
use lbxdp_tests::{Plan, wait};

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn traffic_follows_a_servers_new_mac_address_within_a_second() -> Result<()> {
    let (lab, _daemon) = serve(Plan { servers: 1, ..Plan::default() }, "rr", ECHO_PORT, &[1])?;
    let mut held = lab.client().open(lab.service(ECHO_PORT))?;
    assert_eq!(held.echo("before")?, "s1 before");
    let server = &lab.servers[0].namespace;
    // As a replaced network card does, and a take-over: it tells its neighbours.
    server.set("ipv4/conf/eth0/arp_notify", "1")?;
    server.ip("link set dev eth0 address 02:00:00:00:77:77")?;
    let client = lab.client().with_deadline(Duration::from_millis(200));
    wait::until("traffic follows", Duration::from_secs(1), || {
        client.open(lab.service(ECHO_PORT)).and_then(|mut new| new.echo("after")).is_ok()
    })?;
    assert_eq!(held.echo("still")?, "s1 still");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn traffic_follows_the_directors_own_new_mac_address() -> Result<()> {
    let (lab, _daemon) = serve(Plan { servers: 1, ..Plan::default() }, "rr", HTTP_PORT, &[1])?;
    lab.director.set("ipv4/conf/eth0/arp_notify", "1")?;
    lab.director.ip("link set dev eth0 address 02:00:00:00:66:66")?;
    let client = lab.client().with_deadline(Duration::from_millis(200));
    wait::until("traffic follows", Duration::from_secs(5), || {
        client.who(lab.service(HTTP_PORT)).is_ok_and(|name| name == "s1")
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_server_that_cannot_be_found_is_avoided_while_others_can() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    daemon.must(&format!("-a -t {} -r 10.0.0.99", lab.service(HTTP_PORT)))?;
    let names: Vec<String> =
        (0..6).map(|_| lab.client().who(lab.service(HTTP_PORT))).collect::<Result<_>>()?;
    assert_eq!(names.iter().filter(|name| *name == "s1").count(), 3, "{names:?}");
    // When it comes, it gets its share.
    lab.servers[0].namespace.ip("addr add 10.0.0.99/24 dev eth0")?;
    daemon.must(&format!("-e -t {} -r {} -w 0", lab.service(HTTP_PORT), lab.servers[0].address))?;
    wait::until("the new server answers", Duration::from_secs(10), || {
        lab.client().who(lab.service(HTTP_PORT)).is_ok_and(|name| name == "s1")
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_neighbour_that_the_operator_has_fixed_stays_fixed() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    lab.director.ip("neigh replace 10.0.0.98 lladdr 02:00:00:00:55:55 nud permanent dev eth0")?;
    daemon.must(&format!("-a -t {} -r 10.0.0.98", lab.service(HTTP_PORT)))?;
    wait::until("the daemon has seen to its neighbours", Duration::from_secs(10), || {
        daemon.log().contains("02:00:00:00:55:55")
    })?;
    let neighbours = lab.director.ip("neigh show 10.0.0.98")?;
    assert!(neighbours.contains("PERMANENT"), "{neighbours}");
    Ok(())
}
