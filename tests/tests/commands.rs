//! The command line against a real daemon: what it is called, saved files, counters, refusals.

use std::ffi::OsStr;
use std::net::UdpSocket;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::service::{serve, status};
use lbxdp_tests::{Lab, Plan, daemon};

const SAVED: &str = "-A -t 10.0.0.100:80 -s wrr
-a -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 3
-a -t 10.0.0.100:80 -r 10.0.0.12:80 -g -w 0
-A -u 10.0.0.100:53 -s rr
-a -u 10.0.0.100:53 -r 10.0.0.11:53 -g -w 1
";

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_saved_configuration_is_restored_as_it_was() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    let answer = daemon.ipvsadm_reading("-R", SAVED)?;
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
    assert_eq!(daemon.must("-S -n")?, SAVED);
    daemon.must("-C")?;
    assert_eq!(daemon.must("-S -n")?, "");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn called_as_ipvsadm_it_is_ipvsadm() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "wlc", HTTP_PORT, &[2, 1])?;
    let link = std::env::temp_dir().join(format!("{}-ipvsadm", lab.instance())).join("ipvsadm");
    std::fs::create_dir_all(link.parent().unwrap_or(&link))?;
    symlink(daemon::binary()?, &link)?;
    let listed = Command::new(&link).arg("-ln").env("LBXDP_INSTANCE", daemon.instance()).output();
    std::fs::remove_dir_all(link.parent().unwrap_or(&link))?;
    let text = String::from_utf8_lossy(&listed?.stdout).into_owned();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "Prot LocalAddress:Port Scheduler Flags",
            "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
            "TCP  10.0.0.100:80 wlc",
            "  -> 10.0.0.11:80                 Route   2      0          0         ",
            "  -> 10.0.0.12:80                 Route   1      0          0         ",
        ]
    );
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_is_refused_changes_nothing() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "wlc", HTTP_PORT, &[2, 1])?;
    let before = daemon.must("-S -n")?;
    let service = lab.service(HTTP_PORT);
    for (line, code, says) in [
        (format!("-A -t {service}"), 255, "Service already exists\n"),
        (format!("-D -u {service}"), 255, "No such service\n"),
        (format!("-a -t {service} -r {}", lab.servers[0].address), 255, "Destination already exists\n"),
        (format!("-e -t {service} -r 10.0.0.77"), 255, "No such destination\n"),
        (
            format!("-a -t {service} -r 224.0.0.1"),
            255,
            "Invalid operation.  Possibly wrong module version, address not unicast, ...\n",
        ),
        (format!("-L -n -u {service}"), 1, "No such service\n"),
        (format!("-E -t {service} -s nosuch"), 255, "Scheduler or persistence engine not found\n"),
        (format!("-a -t {service} -r 10.0.0.77 -w x"), 2, "illegal weight specified\n"),
        (format!("-a -t {service} -r 10.0.0.77 -x 3 -y 4"), 255, "Numerical result out of range\n"),
        (format!("-A -t {}:0", lab.vip()), 2, "Zero port specified for non-persistent service\n"),
    ] {
        let answer = daemon.ipvsadm(&line)?;
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(code), says), "{line}");
    }
    assert_eq!(daemon.must("-S -n")?, before);
    Ok(())
}

/// Arguments that are no text, where text is wanted; `\xff` and the like are never part of UTF-8.
const NO_TEXT: &[&[&[u8]]] = &[
    &[b"\xff"],
    &[b"-\xff"],
    &[b"--\xff"],
    &[b"-A", b"-t", b"\xff"],
    &[b"-A", b"-t", b"10.0.0.100\xff:80"],
    &[b"-A", b"-t", b"10.0.0.100:81\xc3"],
    &[b"-A", b"-t", b"10.0.0.100:81", b"-s", b"rr\xff"],
    &[b"-A", b"-t", b"10.0.0.100:81", b"\xff"],
    &[b"-A", b"-f", b"7\xff"],
    &[b"-A", b"-t", b"10.0.0.100:81", b"-p", b"6\x800"],
    &[b"-E", b"-t", b"10.0.0.100:80", b"-s", b"\xffrr"],
    &[b"-a", b"-t", b"10.0.0.100:80", b"-r", b"10.0.0.13\xff"],
    &[b"-e", b"-t", b"10.0.0.100:80", b"-r", b"10.0.0.11", b"-w", b"\xf0\x9f"],
    &[b"-d", b"-t", b"10.0.0.100:80", b"-r", b"\xff10.0.0.11"],
    &[b"-C", b"\xff"],
    &[b"--set", b"1", b"2", b"\xff"],
];

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn arguments_that_are_no_text_are_complained_of_in_one_line_and_change_nothing() -> Result<()> {
    let (_lab, daemon) = serve(Plan::default(), "wlc", HTTP_PORT, &[2, 1])?;
    let now = || Ok::<_, anyhow::Error>([daemon.must("-S -n")?, daemon.must("-L --timeout")?]);
    let before = now()?;
    for arguments in NO_TEXT {
        let arguments: Vec<&OsStr> = arguments.iter().copied().map(OsStr::from_bytes).collect();
        let output = Command::new(daemon::binary()?)
            .args(&arguments)
            .env("LBXDP_INSTANCE", daemon.instance())
            .output()?;
        // What is no word of ipvsadm's is lbxdp's own command line.
        let is_ours = !arguments[0].as_bytes().starts_with(b"-");
        let complaint = String::from_utf8(output.stderr)?;
        ensure!(
            matches!(output.status.code(), Some(2 | 255)) && output.stdout.is_empty(),
            "{arguments:?}: {}",
            output.status
        );
        ensure!(
            !complaint.is_empty() && (is_ours || complaint.lines().count() == 1),
            "{arguments:?}: {complaint}"
        );
        ensure!(!complaint.contains("panicked"), "{complaint}");
        ensure!(now()? == before, "{arguments:?} has changed something");
    }
    Ok(())
}

/// How long a listing may take whose names never come.
const SOON: Duration = Duration::from_secs(6);

/// Lists by name while the host's only name server takes all questions and answers none.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_name_server_that_never_answers_does_not_hold_a_listing_up() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "wlc", HTTP_PORT, &[2, 1])?;
    let asked = lab.director.inside(|| UdpSocket::bind("127.0.0.77:53"))??;
    asked.set_read_timeout(Some(SOON))?;
    let directory = std::env::temp_dir().join(format!("{}-resolver", lab.instance()));
    std::fs::create_dir_all(&directory)?;
    // Longer by far than anybody waits.
    let resolver = "nameserver 127.0.0.77\noptions timeout:30 attempts:5\n";
    std::fs::write(directory.join("resolv.conf"), resolver)?;
    std::fs::write(directory.join("nsswitch.conf"), "hosts: dns\nservices: files\n")?;
    // In a mount namespace of its own, so that nobody else asks that server.
    let script = "for file in resolv.conf nsswitch.conf; do mount --bind \"$1/$file\" \"$(readlink -f /etc/$file)\"; done
        shift; exec \"$@\"";
    let mut command = lab.director.command("unshare");
    command.args(["--mount", "--", "sh", "-e", "-c", script, "sh"]).arg(&directory);
    command.arg(daemon::binary()?).arg("-L").env("LBXDP_INSTANCE", daemon.instance());
    let start = Instant::now();
    let output = command.output();
    let took = start.elapsed();
    std::fs::remove_dir_all(&directory)?;
    let output = output?;
    ensure!(asked.recv(&mut [0; 512])? > 0, "nobody has asked for a name");
    ensure!(took < SOON, "it took {took:?}");
    let (listed, errors) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success() && errors.is_empty(), "{errors}");
    let [service, one, other] =
        ["10.0.0.100", "10.0.0.11", "10.0.0.12"].map(|address| format!(" {address}:"));
    ensure!(listed.contains(&service) && listed.contains(&one) && listed.contains(&other), "{listed}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn zeroed_counters_begin_again_and_a_servers_outlive_its_deletion() -> Result<()> {
    let (lab, daemon) = serve(Plan { servers: 1, ..Plan::default() }, "rr", HTTP_PORT, &[1])?;
    let (service, server) = (lab.service(HTTP_PORT), lab.servers[0].address);
    let connections = |what: &str| -> Result<Option<String>> {
        let listed = daemon.must("-L -n --stats --exact")?;
        let line = listed.lines().find(|line| line.contains(what)).unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        Ok(words.get(2).map(|word| (*word).to_owned()))
    };
    for _ in 0..3 {
        lab.client().who(service)?;
    }
    assert_eq!(connections("TCP")?.as_deref(), Some("3"));
    assert_eq!(connections(&server.to_string())?.as_deref(), Some("3"));
    daemon.must(&format!("-Z -t {service}"))?;
    assert_eq!(connections("TCP")?.as_deref(), Some("0"));
    lab.client().who(service)?;
    daemon.must(&format!("-d -t {service} -r {server}:{HTTP_PORT}"))?;
    assert_eq!(connections("TCP")?.as_deref(), Some("1"), "the service keeps what the server counted");
    daemon.must(&format!("-a -t {service} -r {server}"))?;
    assert_eq!(
        connections(&server.to_string())?.as_deref(),
        Some("1"),
        "and so does the server, when it is back"
    );
    assert_eq!(connections("TCP")?.as_deref(), Some("1"), "but it is not counted twice");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn every_packet_that_is_not_forwarded_is_counted_by_its_reason() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[0, 0])?;
    let count = |reason: &str| -> Result<u64> {
        let status = status(&daemon)?;
        let line = status.lines().find(|line| line.split_whitespace().next() == Some(reason));
        Ok(line.and_then(|line| line.split_whitespace().nth(1)).map_or(Ok(0), str::parse)?)
    };
    assert!(status(&daemon)?.contains("eth0, native XDP"));
    assert_eq!((count("no_server")?, count("no_service")?), (0, 0));
    let client = lab.client().with_deadline(Duration::from_millis(300));
    assert!(client.open(lab.service(HTTP_PORT)).is_err(), "all weights are 0");
    assert_eq!((count("no_server")?, count("no_service")?), (1, 0));
    assert!(client.open(lab.service(81)).is_err(), "no service there");
    assert_eq!((count("no_server")?, count("no_service")?), (1, 1));
    // One hop: spent at the director.
    daemon.must(&format!("-e -t {} -r {}", lab.service(HTTP_PORT), lab.servers[0].address))?;
    lab.client.set("ipv4/ip_default_ttl", "2")?;
    assert!(client.open(lab.service(HTTP_PORT)).is_err(), "no hop is left");
    assert_eq!(count("ttl_expired")?, 1);
    Ok(())
}
