//! Daemons: several beside each other, one that is started twice, and what one leaves behind.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::Result;
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::service::{serve, status};
use lbxdp_tests::topology::OUTER;
use lbxdp_tests::{Lab, Plan, daemon, wait};
use nix::sys::signal::Signal;

/// Runs lbxdp on the director with these words.
fn lbxdp(lab: &Lab, words: &str) -> Result<Output> {
    Ok(lab.director.command(daemon::binary()?).args(words.split_whitespace()).output()?)
}

/// It must fail, with one line on standard error that says this.
fn must_refuse(output: &Output, says: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.lines().filter(|line| line.starts_with("lbxdp: ")).collect();
    assert!(!output.status.success());
    assert!(lines.len() == 1 && lines[0].contains(says), "`{says}` was expected: {stderr}");
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn two_instances_do_not_see_each_other() -> Result<()> {
    let (one, one_daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    let (other, other_daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    for _ in 0..4 {
        one.client().who(one.service(HTTP_PORT))?;
    }
    other_daemon.must(&format!("-e -t {} -r {} -w 0", other.service(HTTP_PORT), other.servers[1].address))?;
    let connections = |daemon: &daemon::Daemon| -> Result<Option<String>> {
        let listed = daemon.must("-L -n --stats --exact")?;
        let service = listed.lines().find(|line| line.starts_with("TCP")).unwrap_or_default();
        Ok(service.split_whitespace().nth(2).map(str::to_owned))
    };
    assert_eq!(connections(&one_daemon)?.as_deref(), Some("4"));
    assert_eq!(connections(&other_daemon)?.as_deref(), Some("0"));
    assert!(!one_daemon.must("-S -n")?.contains("-w 0"));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_cannot_be_started_says_so_in_one_line() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    let name = daemon.instance();
    must_refuse(&lbxdp(&lab, &format!("run -i {OUTER} --instance {name}"))?, "is running already");
    must_refuse(
        &lbxdp(&lab, &format!("run -i {OUTER} --instance {name}-2"))?,
        "already carries another XDP program",
    );
    must_refuse(&lbxdp(&lab, &format!("run -i eth9 --instance {name}-3"))?, "there is no interface eth9");
    must_refuse(&lbxdp(&lab, &format!("unload --instance {name}"))?, "is running already");
    // A refused start leaves nothing.
    for number in [2, 3] {
        assert!(!std::path::Path::new(&format!("/sys/fs/bpf/lbxdp/{name}-{number}")).exists());
        let _ = std::fs::remove_file(format!("/run/lbxdp/{name}-{number}.lock"));
    }
    let nobody = Command::new("setpriv")
        .args(["--bounding-set=-all", "--inh-caps=-all"])
        .arg(daemon::binary()?)
        .args(["run", "-i", "lo", "--instance", "nobody"])
        .output()?;
    must_refuse(&nobody, "root");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_stopped_daemon_leaves_the_interface_as_it_was() -> Result<()> {
    let (lab, mut daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    assert!(lab.director.ip(&format!("link show dev {OUTER}"))?.contains("prog/xdp"));
    daemon.end_by(Signal::SIGTERM)?;
    assert!(!lab.director.ip(&format!("link show dev {OUTER}"))?.contains("prog/xdp"));
    assert!(!std::path::Path::new(&format!("/sys/fs/bpf/lbxdp/{}", daemon.instance())).exists());
    let answer = daemon.ipvsadm("-L -n")?;
    assert_eq!(answer.code, Some(255));
    assert!(answer.stdout.is_empty() && answer.stderr.lines().count() == 1, "{answer:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_killed_daemons_packet_path_forwards_until_it_is_unloaded() -> Result<()> {
    let (lab, mut daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    daemon.end_by(Signal::SIGKILL)?;
    let names: Vec<String> =
        (0..4).map(|_| lab.client().who(lab.service(HTTP_PORT))).collect::<Result<_>>()?;
    assert_eq!(names, ["s2", "s1", "s2", "s1"]);
    let name = daemon.instance();
    assert!(lbxdp(&lab, &format!("unload --instance {name}"))?.status.success());
    assert!(!lab.director.ip(&format!("link show dev {OUTER}"))?.contains("prog/xdp"));
    let again = lab.start_daemon(&daemon::binary()?)?;
    assert_eq!(again.must("-S -n")?, "");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_daemon_that_leaves_keeps_the_packet_path_running() -> Result<()> {
    let lab = Lab::build(Plan { servers: 1, ..Plan::default() })?;
    let instance = lab.instance();
    let mut daemon =
        daemon::Daemon::start(&daemon::binary()?, &lab.director, &instance, lab.interfaces(), &["--leave"])?;
    let service = lab.service(HTTP_PORT);
    daemon.must(&format!("-A -t {service} -s rr"))?;
    daemon.must(&format!("-a -t {service} -r {}", lab.servers[0].address))?;
    daemon.end_by(Signal::SIGTERM)?;
    assert_eq!(lab.client().who(service)?, "s1");
    assert!(lbxdp(&lab, &format!("unload --instance {instance}"))?.status.success());
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn an_interface_without_native_xdp_gets_the_generic_one_with_a_warning() -> Result<()> {
    let lab = Lab::build(Plan { servers: 1, ..Plan::default() })?;
    let daemon = daemon::Daemon::start(&daemon::binary()?, &lab.director, &lab.instance(), &["lo"], &[])?;
    assert!(daemon.log().contains("GENERIC XDP"), "{}", daemon.log());
    assert!(status(&daemon)?.contains("lo, GENERIC XDP"));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_socket_is_roots_alone() -> Result<()> {
    let lab = Lab::build(Plan { servers: 1, ..Plan::default() })?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    let socket = std::fs::metadata(format!("/run/lbxdp/{}.sock", daemon.instance()))?;
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn an_interface_that_is_removed_is_missed() -> Result<()> {
    let lab = Lab::build(Plan { servers: 1, ..Plan::default() })?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    lab.director.ip(&format!("link del {OUTER}"))?;
    wait::until("status misses the interface", Duration::from_secs(10), || {
        status(&daemon).is_ok_and(|text| text.contains("eth0, GONE"))
    })?;
    assert!(daemon.log().contains("the interface is gone"));
    Ok(())
}
