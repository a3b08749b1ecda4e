//! `lbxdp explain` on a real director, with real clients behind it. That what it foretells is what the program does, frame by
//! frame, is tested in `packet_path/foreseen.rs`.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::cases::frame;
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::network::lore::gateway;
use lbxdp_tests::network::{Family, Method, Network, Offer};
use lbxdp_tests::service::{connections, serve};
use lbxdp_tests::{Daemon, Lab, Namespace, Plan, daemon};
use nix::sys::signal::Signal;
use serde_json::Value;

/// What `lbxdp explain` has said, and its exit code.
#[derive(Debug)]
struct Said {
    text: String,
    errors: String,
    code: Option<i32>,
}

fn explain(director: &Namespace, daemon: &Daemon, words: &[&str]) -> Result<Said> {
    said(
        director
            .command(daemon::binary()?)
            .arg("explain")
            .args(words)
            .env("LBXDP_INSTANCE", daemon.instance()),
    )
}

fn said(command: &mut Command) -> Result<Said> {
    let output = command.output().context("starting lbxdp explain")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said { text: text(&output.stdout), errors: text(&output.stderr), code: output.status.code() })
}

/// The packets of the JSON document.
fn packets(director: &Namespace, daemon: &Daemon, words: &[&str]) -> Result<Vec<Value>> {
    let said = explain(director, daemon, &[&["--json"], words].concat())?;
    ensure!(said.errors.is_empty() && said.code.is_some(), "{said:?}");
    let document: Value = serde_json::from_str(&said.text)?;
    ensure!(document["version"] == 1 && document["instance"] == daemon.instance(), "{document}");
    Ok(document["packets"].as_array().context("packets")?.clone())
}

fn packet(director: &Namespace, daemon: &Daemon, words: &[&str]) -> Result<Value> {
    packets(director, daemon, words)?.into_iter().next().context("a packet")
}

/// The name of the server at an address, as it answers.
fn name_of(lab: &Lab, packet: &Value) -> Option<String> {
    let address = packet["server"].as_str()?;
    let server = lab.servers.iter().find(|server| address == format!("{}:{HTTP_PORT}", server.address))?;
    Some(server.name.clone())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_client_gets_the_server_that_was_foretold() -> Result<()> {
    for scheduler in ["rr", "wrr", "wlc", "sh", "mh", "lblc"] {
        let (lab, daemon) = serve(Plan::default(), scheduler, HTTP_PORT, &[1, 2])?;
        let service = lab.service(HTTP_PORT);
        for port in 42_001..=42_006 {
            let words = format!("tcp 192.168.0.2:{port} -> {service}");
            // Asked twice: nobody's turn has come by that.
            let foretold = packet(&lab.director, &daemon, &[&words])?;
            ensure!(packet(&lab.director, &daemon, &[&words])? == foretold, "{scheduler}: {foretold}");
            ensure!(foretold["verdict"] == "forwarded" && foretold["out"] == "eth0", "{foretold}");
            let mut held = lab.client().from_port(port).open(service)?;
            let who = String::from_utf8(held.get("/")?)?;
            ensure!(name_of(&lab, &foretold) == Some(who.clone()), "{scheduler}: {who} answered: {foretold}");
            // It is known now, and what the client sends next goes to the same server.
            let next = packet(
                &lab.director,
                &daemon,
                &["tcp", &format!("192.168.0.2:{port}"), "to", &service.to_string()],
            )?;
            ensure!(next["server"] == foretold["server"], "{next}");
            ensure!(next["assumed"] == "(there is such a connection: taken for an ACK)", "{next}");
        }
        // What is explained opens nothing.
        let known = connections(&daemon)?.len();
        packet(&lab.director, &daemon, &[&format!("tcp 192.168.0.2:42099 -> {service}")])?;
        ensure!(connections(&daemon)?.len() == known, "{scheduler}: a connection has come");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn each_step_is_told_with_or_without_a_daemon() -> Result<()> {
    let (lab, mut daemon) = serve(Plan::default(), "wlc", HTTP_PORT, &[1, 0])?;
    let new = ["tcp 192.168.0.2:4242 -> 10.0.0.100:80"];
    let with = explain(&lab.director, &daemon, &new)?;
    for line in [
        "tcp 192.168.0.2:4242 -> 10.0.0.100:80, flags S, 40 bytes, ttl 64",
        "             (no such connection is known: taken for a SYN)",
        "vip          10.0.0.100 is a VIP",
        "connection   none of these addresses and ports is known",
        "service      tcp/10.0.0.100:80: wlc, 2 servers",
        "             10.0.0.12:80  weight 0, 0 active, 0 inactive, cannot be chosen: weight 0",
        "             10.0.0.11:80  weight 1, 0 active, 0 inactive <- chosen",
        "server       10.0.0.11:80 by VS/DR, a new connection",
        "connection   begins: SYN_RECV, expires in 60 s",
        "verdict      FORWARDED, back out by eth0",
    ] {
        ensure!(with.text.lines().any(|said| said == line), "no line `{line}` in\n{}", with.text);
    }
    ensure!(with.code == Some(0) && with.errors.is_empty(), "{with:?}");
    daemon.end_by(Signal::SIGKILL)?;
    let without = explain(&lab.director, &daemon, &new)?;
    ensure!(without.text == with.text, "{}", without.text);
    // What is not forwarded has an exit code of its own, a reason, and a remedy.
    let passed = explain(&lab.director, &daemon, &["tcp 192.168.0.2:4242 -> 10.0.0.100:81"])?;
    ensure!(
        passed.code == Some(3)
            && passed.text.contains("verdict      PASSED to the director's stack, untouched (no_service)"),
        "{passed:?}"
    );
    ensure!(passed.text.contains("\nremedy       add the service (ipvsadm -A)"), "{passed:?}");
    let dropped = explain(&lab.director, &daemon, &["tcp 192.168.0.2:4242 -> 10.0.0.100:80", "--ttl", "1"])?;
    ensure!(
        dropped.code == Some(4) && dropped.text.contains("DROPPED, and its sender is told (ttl_expired)"),
        "{dropped:?}"
    );
    let echo = packet(&lab.director, &daemon, &["icmp 192.168.0.2 -> 10.0.0.100"])?;
    ensure!(echo["reason"] == "other_protocol" && echo["fate"] == "pass", "{echo}");
    let other = packet(&lab.director, &daemon, &["udp 192.168.0.2:1 -> 10.0.0.77:80"])?;
    ensure!(other["reason"] == "not_ours" && other["verdict"] == "passed", "{other}");
    Ok(())
}

/// The kernel itself says the way to the client.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_reply_by_nat_is_foretold_with_its_way() -> Result<()> {
    let network = Network::build(gateway())?;
    let daemon = network.start_daemon()?;
    let director = &network.site("director").namespace;
    for family in Family::BOTH {
        let offer = Offer::make_at(&network, &daemon, Method::Masquerade, network.site("s1"), family)?;
        let service = offer.service(HTTP_PORT);
        let client = lbxdp_tests::Client::new(&network.site("client").namespace);
        let mut held = client.open(service)?;
        held.get("/")?;
        let source = SocketAddr::new(network.address(network.site("client"), family), held.source_port()?);
        let server = SocketAddr::new(network.address(network.site("s1"), family), HTTP_PORT);
        let request = packet(director, &daemon, &[&format!("tcp {source} -> {service}"), "-i", "eth0"])?;
        ensure!(request["verdict"] == "forwarded" && request["server"] == server.to_string(), "{request}");
        ensure!(
            steps(&request)
                .iter()
                .any(|line| line.starts_with(&format!("tcp {source} -> {server}, flags A"))),
            "{request}"
        );
        let reply = packet(director, &daemon, &[&format!("tcp {server} -> {source}"), "-i", "eth1"])?;
        ensure!(reply["verdict"] == "forwarded" && reply["out"] == "eth0", "{reply}");
        let lines = steps(&reply);
        ensure!(
            lines.iter().any(|line| line.starts_with(&format!("tcp {service} -> {source}, flags A"))),
            "{reply}"
        );
        // The frame goes to the router's MAC address, as the kernel has it.
        let neighbours = network
            .site("director")
            .namespace
            .ip(&format!("{} neigh show dev eth0", family_option(family)))?;
        let macs = reply["frame_out"].as_str().context("a frame")?.get(..12).context("a MAC address")?;
        let hop = (0..6).map(|byte| &macs[2 * byte..2 * byte + 2]).collect::<Vec<_>>().join(":");
        ensure!(neighbours.contains(&hop), "{hop} is none of {neighbours}");
        drop(held);
        offer.end(&daemon)?;
    }
    Ok(())
}

fn family_option(family: Family) -> &'static str {
    if family == Family::BOTH[0] { "-4" } else { "-6" }
}

/// All lines of all steps.
fn steps(packet: &Value) -> Vec<String> {
    let steps = packet["steps"].as_array().cloned().unwrap_or_default();
    let lines = steps.iter().flat_map(|step| {
        let more = step["more"].as_array().cloned().unwrap_or_default();
        [step["words"].clone()].into_iter().chain(more)
    });
    lines.filter_map(|line| line.as_str().map(str::to_owned)).collect()
}

/// A capture that goes away with it.
struct Capture(PathBuf);

impl Capture {
    fn of(frames: &[Vec<u8>]) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("lbxdp-explain-{}.pcap", std::process::id()));
        let mut file = File::create(&path)?;
        let header = [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 1];
        file.write_all(&header.map(u32::to_le_bytes).concat())?;
        for frame in frames {
            let length = u32::try_from(frame.len())?;
            file.write_all(&[0, 0, length, length].map(u32::to_le_bytes).concat())?;
            file.write_all(frame)?;
        }
        Ok(Self(path))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_frames_of_a_capture_follow_each_other() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    let web = || frame::tcp(40_000, HTTP_PORT).from_address([192, 168, 0, 2]);
    let frames = [web().syn().bytes(), web().ack().bytes(), web().fin().ack().bytes()];
    let capture = Capture::of(&frames)?;
    let file = capture.0.to_string_lossy().into_owned();
    let mac = own_mac(&lab)?;
    let all = packets(&lab.director, &daemon, &["--pcap", &file, "--all", "--to-mac", &mac])?;
    let verdicts: Vec<_> = all.iter().map(|packet| packet["verdict"].as_str().unwrap_or_default()).collect();
    ensure!(verdicts == ["forwarded"; 3], "{all:?}");
    ensure!(all.iter().all(|packet| packet["server"] == all[0]["server"]), "{all:?}");
    let told = |number: usize, words: &str| steps(&all[number]).iter().any(|line| line == words);
    ensure!(told(0, "begins: SYN_RECV, expires in 60 s"), "{:?}", all[0]);
    ensure!(told(1, "goes from SYN_RECV to ESTABLISHED, expires in 900 s"), "{:?}", all[1]);
    ensure!(told(2, "goes from ESTABLISHED to FIN_WAIT, expires in 120 s"), "{:?}", all[2]);
    // By itself the second one belongs to nothing.
    let alone = packet(&lab.director, &daemon, &["--pcap", &file, "--frame", "2", "--to-mac", &mac])?;
    ensure!(alone["reason"] == "no_connection" && alone["frame"] == 2, "{alone}");
    // To another machine, as they were made.
    let elsewhere = packet(&lab.director, &daemon, &["--pcap", &file])?;
    ensure!(elsewhere["reason"] == "other_host", "{elsewhere}");
    Ok(())
}

/// The MAC address of the director's interface.
fn own_mac(lab: &Lab) -> Result<String> {
    let link = lab.director.ip("-o link show eth0")?;
    let words: Vec<&str> = link.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "link/ether").context("an Ethernet")?;
    Ok(words.get(at + 1).context("its address")?.to_string())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_cannot_be_explained_is_said_in_one_line() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    let good = "tcp 192.168.0.2:4242 -> 10.0.0.100:80";
    let refused = |words: &[&str], code: i32, line: &str| -> Result<()> {
        let said = explain(&lab.director, &daemon, words)?;
        ensure!(said.code == Some(code) && said.text.is_empty(), "{words:?}: {said:?}");
        ensure!(said.errors.lines().count() == 1 && said.errors.contains(line), "{words:?}: {}", said.errors);
        Ok(())
    };
    refused(&["tcp 192.168.0.2:4242 10.0.0.100:80"], 2, "a packet is said as")?;
    refused(&["tcp", "192.168.0.2:4242", "-"], 2, "the shell takes `>` for itself")?;
    refused(&["gre 192.168.0.2:1 -> 10.0.0.100:80"], 2, "`gre` is no protocol")?;
    refused(&[good, "--length", "39"], 2, "its headers alone have 40")?;
    refused(&["--pcap", "/nonexistent"], 1, "cannot read /nonexistent: No such file or directory")?;
    refused(&["--pcap", "/proc/self/status"], 1, "is no capture in the format of pcap or pcapng")?;
    refused(&[good, "-i", "eth9"], 1, "the packet path is not on eth9; it is on: eth0")?;
    refused(&[good, "--instance", "nobodys"], 1, "instance `nobodys` has no packet path in the kernel")?;
    let outside = said(
        Command::new(daemon::binary()?).args(["explain", good]).env("LBXDP_INSTANCE", daemon.instance()),
    )?;
    ensure!(
        outside.code == Some(1) && outside.errors.contains("no interface of this network namespace"),
        "{outside:?}"
    );
    let nobody = said(
        Command::new(daemon::binary()?)
            .args(["explain", good])
            .env("LBXDP_INSTANCE", daemon.instance())
            .uid(65_534),
    )?;
    ensure!(nobody.code == Some(1) && nobody.errors.contains("needs root"), "{nobody:?}");
    // Clap's own complaints have more lines, and the same code.
    for words in [
        &["--flags", "X", good][..],
        &["--flags", "S", "udp 192.168.0.2:4242 -> 10.0.0.100:80"],
        &[],
        &[good, "--pcap", "x"],
        &[good, "--vlan", "0"],
        &["--pcap", "x", "--frame", "0"],
    ] {
        let said = explain(&lab.director, &daemon, words)?;
        ensure!(said.code == Some(2) && said.text.is_empty(), "{words:?}: {said:?}");
    }
    // An arrow by itself is understood.
    let arrow = explain(&lab.director, &daemon, &["tcp", "192.168.0.2:4242", "->", "10.0.0.100:80"])?;
    ensure!(arrow.code == Some(0), "{arrow:?}");
    Ok(())
}
