//! A service that has no server for a client: the packet path itself tells the client, by ICMP.

use std::fmt::Debug;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lbxdp_tests::client::is_refused;
use lbxdp_tests::http::{ECHO_PORT, HTTP_PORT};
use lbxdp_tests::service::{offer, serve, status};
use lbxdp_tests::traffic::{Flood, flood};
use lbxdp_tests::{Daemon, Lab, Legs, Namespace, Plan, daemon, wait};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(10);
/// Nobody serves here.
const EMPTY_PORT: u16 = 7777;

/// The client was told at once that nobody listens: it has not waited for an answer in vain.
fn must_be_refused<T: Debug>(outcome: Result<T>) -> Result<()> {
    let error = outcome.map_or_else(Ok, |answer| Err(anyhow::anyhow!("it was answered: {answer:?}")))?;
    ensure!(is_refused(&error), "it was not refused: {error:#}");
    Ok(())
}

/// Offers TCP and UDP on a port, with all servers of the lab at weight 0, or without any.
fn offer_nothing(lab: &Lab, daemon: &Daemon, port: u16, weights: &[u32]) -> Result<()> {
    offer(lab, daemon, "-t", port, "wlc", weights)?;
    offer(lab, daemon, "-u", port, "rr", weights)
}

fn client_is_refused(legs: Legs) -> Result<()> {
    let lab = Lab::build(Plan { legs, ..Plan::default() })?;
    let mut daemon = lab.start_daemon(&daemon::binary()?)?;
    offer_nothing(&lab, &daemon, EMPTY_PORT, &[])?;
    offer_nothing(&lab, &daemon, ECHO_PORT, &[0, 0])?;
    for port in [EMPTY_PORT, ECHO_PORT] {
        must_be_refused(lab.client().open(lab.service(port)))?;
        must_be_refused(lab.client().datagram(lab.service(port), b"?"))?;
    }
    let status = status(&daemon)?;
    ensure!(counted(&status, "port_unreachable")? >= 4, "{status}");
    ensure!(counted(&status, "no_server")? >= 4, "{status}");
    // The packet path needs no daemon for that.
    daemon.end_by(Signal::SIGKILL)?;
    must_be_refused(lab.client().datagram(lab.service(EMPTY_PORT), b"?"))
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_client_without_a_server_is_refused_over_one_leg() -> Result<()> {
    client_is_refused(Legs::One)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_client_without_a_server_is_refused_over_two_legs() -> Result<()> {
    client_is_refused(Legs::Two)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_service_is_there_again_when_a_server_gets_weight() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "wlc", HTTP_PORT, &[0, 0])?;
    let service = lab.service(HTTP_PORT);
    must_be_refused(lab.client().who(service))?;
    daemon.must(&format!("-e -t {service} -r {} -g -w 1", lab.servers[1].address))?;
    assert_eq!(lab.client().who(service)?, "s2");
    Ok(())
}

/// What `lbxdp status` counts under a name; 0 if it does not show it.
fn counted(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find(|line| line.split_whitespace().next() == Some(name));
    line.and_then(|line| line.split_whitespace().nth(1)).map_or(Ok(0), |number| Ok(number.parse()?))
}

/// How many "destination unreachable" a host has got.
fn unreachables(host: &Namespace) -> Result<u64> {
    let counters = host.inside(|| fs::read_to_string("/proc/thread-self/net/snmp"))??;
    let mut lines = counters.lines().filter_map(|line| line.strip_prefix("Icmp: "));
    let (names, numbers) = (lines.next().context("no names")?, lines.next().context("no numbers")?);
    let named = names.split(' ').zip(numbers.split(' ')).find(|(name, _)| *name == "InDestUnreachs");
    Ok(named.context("no such counter")?.1.parse()?)
}

/// Waits until as many packets found no server.
fn wait_for_all(daemon: &Daemon, packets: u64) -> Result<String> {
    wait::until_some("all packets have come", SOON, || {
        status(daemon).ok().filter(|status| counted(status, "no_server").is_ok_and(|count| count == packets))
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_client_that_floods_gets_six_errors_and_one_a_second() -> Result<()> {
    const PACKETS: u64 = 2000;
    let (lab, daemon) = serve(Plan { servers: 1, ..Plan::default() }, "wlc", HTTP_PORT, &[1])?;
    offer(&lab, &daemon, "-u", EMPTY_PORT, "rr", &[])?;
    let (before, start) = (unreachables(&lab.client)?, Instant::now());
    let socket = lab.client.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    for _ in 0..PACKETS {
        socket.send_to(b"?", lab.service(EMPTY_PORT))?;
    }
    let status = wait_for_all(&daemon, PACKETS)?;
    let sent = counted(&status, "port_unreachable")?;
    let most = 6 + start.elapsed().as_secs() + 1;
    ensure!((6..=most).contains(&sent), "{sent} errors in {:?}:\n{status}", start.elapsed());
    assert_eq!(sent + counted(&status, "client_limit")?, PACKETS, "{status}");
    wait::until("the client has got what was sent", SOON, || {
        unreachables(&lab.client).is_ok_and(|now| now - before == sent)
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_flood_from_everywhere_gets_a_thousand_errors_a_second() -> Result<()> {
    const PACKETS: u64 = 100_000;
    let (lab, daemon) = serve(Plan { servers: 1, ..Plan::default() }, "wlc", HTTP_PORT, &[0])?;
    let start = Instant::now();
    Flood::start(&lab, flood::Kind::Syn, lab.service(HTTP_PORT), PACKETS)?.wait()?;
    let status = status(&daemon)?;
    let took = start.elapsed();
    let sent = counted(&status, "port_unreachable")?;
    // An error costs one on average: none, one or two. A quarter more than the limit is far beyond chance.
    let limit = 50 + u64::try_from(took.as_millis())?;
    ensure!(sent >= 25 && sent <= limit + limit / 4 + 50, "{sent} errors in {took:?}:\n{status}");
    ensure!(counted(&status, "total_limit")? > 0, "{status}");
    Ok(())
}
