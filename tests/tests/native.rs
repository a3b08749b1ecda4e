//! lbxdp's own words against a real daemon: lists as JSON, drain, what /proc/net would say, daemons of synchronization.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::service::{serve, status};
use lbxdp_tests::{Connection, Daemon, Lab, Plan, daemon, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(20);

fn lbxdp(daemon: &Daemon, line: &str) -> Result<Command> {
    let mut command = Command::new(daemon::binary()?);
    command.args(line.split_whitespace()).env("LBXDP_INSTANCE", daemon.instance());
    Ok(command)
}

fn run(daemon: &Daemon, line: &str) -> Result<Output> {
    lbxdp(daemon, line)?.output().context("starting lbxdp")
}

fn text(daemon: &Daemon, line: &str) -> Result<String> {
    let output = run(daemon, line)?;
    ensure!(output.status.success(), "`lbxdp {line}`: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn json(daemon: &Daemon, line: &str) -> Result<Value> {
    Ok(serde_json::from_str(&text(daemon, line)?)?)
}

/// A connection that a server of this name serves.
fn held_by(lab: &Lab, name: &str) -> Result<Connection> {
    loop {
        let mut held = lab.client().open(lab.service(HTTP_PORT))?;
        if held.get("/")? == name.as_bytes() {
            return Ok(held);
        }
    }
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_server_is_drained_when_its_last_connection_has_ended() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 5])?;
    // What is closed is gone after a second.
    daemon.must("--set 900 1 300")?;
    let service = format!("tcp/{}", lab.service(HTTP_PORT));
    let held = held_by(&lab, "s2")?;
    let timed_out = run(&daemon, &format!("drain {service} 10.0.0.12 --timeout 1"))?;
    let errors = String::from_utf8_lossy(&timed_out.stderr).into_owned();
    assert_eq!(timed_out.status.code(), Some(1), "{errors}");
    assert!(errors.contains("the weight was 5, is 0\n"), "{errors}");
    assert!(errors.ends_with("left after 1 s; the weight stays 0\n"), "{errors}");
    assert!(daemon.must("-S -n")?.contains("-r 10.0.0.12:80 -g -w 0"));
    daemon.must(&format!("-e -t {} -r 10.0.0.12 -w 5", lab.service(HTTP_PORT)))?;
    let mut drain = lbxdp(&daemon, &format!("drain {service} 10.0.0.12:80"))?
        .stderr(Stdio::piped())
        .spawn()
        .context("starting drain")?;
    wait::until("its weight is 0", DEADLINE, || {
        daemon.must("-S -n").is_ok_and(|saved| saved.contains("-r 10.0.0.12:80 -g -w 0"))
    })?;
    for _ in 0..4 {
        assert_eq!(lab.client().who(lab.service(HTTP_PORT))?, "s1");
    }
    assert!(drain.try_wait()?.is_none(), "a connection is held");
    drop(held);
    let output = drain.wait_with_output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.contains("drained after"), "{errors}");
    let listed = json(&daemon, &format!("server list --json {service}"))?;
    let drained =
        &listed["servers"].as_array().context("servers")?.iter().find(|one| one["address"] == "10.0.0.12");
    let drained = drained.context("the server")?;
    assert_eq!((&drained["active_connections"], &drained["inactive_connections"]), (&0.into(), &0.into()));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn lists_and_files_say_what_is_there() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    let service = lab.service(HTTP_PORT);
    let held = held_by(&lab, "s1")?;
    let port = held.source_port()?;
    let services = json(&daemon, "service list --json")?;
    assert_eq!((&services["version"], &services["instance"]), (&1.into(), &daemon.instance().into()));
    let listed = &services["services"][0];
    assert_eq!(listed["service"], format!("tcp/{service}"));
    assert_eq!(listed["servers"].as_array().map(Vec::len), Some(2));
    let connections = json(&daemon, "connection list --json")?;
    let connections = connections["connections"].as_array().context("connections")?;
    let ours = connections.iter().find(|connection| connection["client"]["port"] == port).context("ours")?;
    assert_eq!((&ours["state"], &ours["server"]["address"]), (&"ESTABLISHED".into(), &"10.0.0.11".into()));
    let table = text(&daemon, "connection list")?;
    assert!(table.contains(&format!("192.168.0.2:{port}")) && !table.contains('\x1b'), "{table}");
    let unknown = run(&daemon, "server list tcp/10.0.0.100:81")?;
    assert_eq!(unknown.status.code(), Some(1));
    // The files.
    let services = text(&daemon, "proc ip_vs")?;
    assert!(
        services.contains("\nTCP  0A000064:0050 rr  \n  -> 0A00000C:0050      Route   1      "),
        "{services}"
    );
    let connections = text(&daemon, "proc ip_vs_conn")?;
    let begin = format!("TCP C0A80002 {port:04X} 0A000064 0050 0A00000B 0050 ESTABLISHED     ");
    assert!(connections.lines().any(|line| line.starts_with(&begin)), "{connections}");
    let counted = |file: &str, line: usize| -> Result<u64> {
        let text = text(&daemon, &format!("proc {file}"))?;
        let words: Vec<&str> = text.lines().nth(line).context("a line")?.split_whitespace().collect();
        let word = if file == "ip_vs_stats" { words.first() } else { words.get(1) };
        Ok(u64::from_str_radix(word.context("a number")?, 16)?)
    };
    let all = counted("ip_vs_stats", 2)?;
    assert!(all >= 1, "{all}");
    let percpu = text(&daemon, "proc ip_vs_stats_percpu")?;
    let cpus = percpu.lines().position(|line| line.starts_with("  ~")).context("a sum")? - 2;
    assert_eq!(counted("ip_vs_stats_percpu", 2 + cpus)?, all);
    let sum = (0..cpus).map(|cpu| counted("ip_vs_stats_percpu", 2 + cpu)).sum::<Result<u64>>()?;
    assert_eq!(sum, all);
    // What is deleted was counted all the same, also when others take its place.
    daemon.must("-C")?;
    assert_eq!(counted("ip_vs_stats", 2)?, all);
    daemon.must("-Z")?;
    assert_eq!(counted("ip_vs_stats", 2)?, 0);
    assert_eq!(counted("ip_vs_stats_percpu", 2 + cpus)?, 0);
    let sum = (0..cpus).map(|cpu| counted("ip_vs_stats_percpu", 2 + cpu)).sum::<Result<u64>>()?;
    assert_eq!(sum, all, "what CPUs have counted stays");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn daemons_of_synchronization_are_kept_over_restarts() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let mut daemon = lab.start_daemon(&daemon::binary()?)?;
    let missing = daemon.ipvsadm("--start-daemon master --mcast-interface eth9")?;
    assert_eq!((missing.code, missing.stderr.as_str()), (Some(255), "No such device\n"));
    daemon.must("--start-daemon master --syncid 7")?;
    daemon.must("--start-daemon backup --mcast-group ff02::81 --mcast-ttl 3")?;
    let listed = "master sync daemon (mcast=eth0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n\
                  backup sync daemon (mcast=eth0, syncid=0, maxlen=1452, group=ff02::81, port=8848, ttl=3)\n";
    assert_eq!(daemon.must("-L --daemon")?, listed);
    let said = |daemon: &Daemon| daemon.log().matches("connections are not synchronized yet").count();
    assert_eq!(said(&daemon), 1, "once: {}", daemon.log());
    assert!(status(&daemon)?.contains("only kept    connections are not synchronized yet"));
    let again = daemon.ipvsadm("--start-daemon master")?;
    assert_eq!((again.code, again.stderr.as_str()), (Some(255), "Daemon has already run\n"));
    daemon.end_by(Signal::SIGKILL)?;
    daemon.start_again(&lab.director, lab.interfaces(), &[])?;
    assert_eq!(daemon.must("-L --daemon")?, listed);
    assert_eq!(said(&daemon), 1, "once again: {}", daemon.log());
    daemon.must("--stop-daemon master")?;
    daemon.must("--stop-daemon backup")?;
    let none = daemon.ipvsadm("--stop-daemon backup")?;
    assert_eq!((none.code, none.stderr.as_str()), (Some(255), "No daemon is running\n"));
    assert_eq!(daemon.must("-L --daemon")?, "");
    assert!(!status(&daemon)?.contains("only kept"));
    Ok(())
}
