//! `-R` of many lines and many clients at once: each command is carried out whole or not at all, whatever happens.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use lbxdp::tables::pins::Instance;
use lbxdp_tests::{Lab, Plan, daemon, wait};
use nix::sys::signal::Signal;

/// More than one message's commands.
const SERVICES: u32 = 200;
const SERVERS: u32 = 5;
/// As many clients as the daemon's queue has places, and more.
const CLIENTS: u32 = 80;

/// ipvsadm's save format, of services on the VIPs of one net.
fn rules(net: u32, services: u32) -> Vec<String> {
    let service = |number: u32| {
        let vip = format!("10.{net}.{}.{}:80", number / 250, 1 + number % 250);
        let servers =
            (1..=SERVERS).map(|server| format!("-a -t {vip} -r 10.0.0.{}:80 -g -w 1", 150 + server));
        [format!("-A -t {vip} -s wlc")].into_iter().chain(servers).collect::<Vec<_>>()
    };
    (0..services).flat_map(service).collect()
}

fn text(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

fn saved(daemon: &daemon::Daemon) -> Result<BTreeSet<String>> {
    Ok(daemon.must("-S -n")?.lines().map(Into::into).collect())
}

fn set(lines: &[String]) -> BTreeSet<String> {
    lines.iter().cloned().collect()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_is_refused_in_the_midst_is_passed_over_and_what_fails_ends_it() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    let all = rules(1, SERVICES);
    let middle = all.len() / 2;
    let mut lines = all.clone();
    // The first line again.
    lines.insert(middle, all[0].clone());
    let answer = daemon.ipvsadm_reading("-R", &text(&lines))?;
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), "Service already exists\n"));
    assert_eq!(saved(&daemon)?, set(&all));
    daemon.must("-C")?;
    lines[middle] = "-a -t 10.1.0.1:80".into();
    let answer = daemon.ipvsadm_reading("-R", &text(&lines))?;
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert_eq!(answer.stderr.lines().count(), 1, "{answer:?}");
    assert_eq!(saved(&daemon)?, set(&all[..middle]), "all before the line, nothing behind it");
    // The exit code is that of the last line.
    let answer = daemon.ipvsadm_reading("-R", &text(&[all[middle].clone(), all[0].clone()]))?;
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(255), "Service already exists\n"));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_daemon_killed_in_the_midst_leaves_the_lines_it_has_carried_out() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let mut daemon = lab.start_daemon(&daemon::binary()?)?;
    let all = rules(1, 10 * SERVICES);
    let file = std::env::temp_dir().join(format!("{}-rules", lab.instance()));
    fs::write(&file, text(&all))?;
    let input = File::open(&file);
    fs::remove_file(&file)?;
    let mut client = Command::new(daemon::binary()?)
        .arg("-R")
        .env("LBXDP_INSTANCE", daemon.instance())
        .stdin(input?)
        .stderr(Stdio::piped())
        .spawn()?;
    let path = daemon.instance().parse::<Instance>()?.saved();
    wait::until("some lines are carried out", Duration::from_secs(20), || {
        fs::read_to_string(&path).is_ok_and(|text| text.lines().count() > SERVICES as usize)
    })?;
    daemon.end_by(Signal::SIGKILL)?;
    assert_ne!(client.wait()?.code(), Some(0), "nothing is promised that is not done");
    daemon.start_again(&lab.director, lab.interfaces(), &[])?;
    let kept = saved(&daemon)?;
    assert!(kept.len() >= SERVICES as usize && kept.len() < all.len(), "{} lines", kept.len());
    assert_eq!(kept, set(&all[..kept.len()]), "the first lines, and no others");
    let answer = daemon.ipvsadm_reading("-R", &text(&all[kept.len()..]))?;
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
    assert_eq!(saved(&daemon)?, set(&all));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn clients_at_once_lose_nothing() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    let (one, other) = (rules(1, SERVICES), rules(2, SERVICES));
    let single: Vec<String> =
        (0..CLIENTS).map(|number| format!("-A -t 10.3.0.{}:80 -s rr", 1 + number)).collect();
    let restore = |lines: &[String]| daemon.ipvsadm_reading("-R", &text(lines));
    thread::scope(|scope| -> Result<()> {
        let restores = [&one, &other].map(|lines| scope.spawn(|| restore(lines)));
        let clients: Vec<_> = single.iter().map(|line| scope.spawn(|| daemon.ipvsadm(line))).collect();
        for client in restores.into_iter().chain(clients) {
            let answer = client.join().map_err(|_| anyhow!("a client panicked"))??;
            assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
        }
        Ok(())
    })?;
    let all: Vec<String> = [one, other, single].concat();
    assert_eq!(saved(&daemon)?, set(&all));
    let path = daemon.instance().parse::<Instance>()?.saved();
    let on_disk = fs::read_to_string(&path).context("the saved configuration")?;
    let on_disk: BTreeSet<&str> =
        on_disk.lines().filter(|line| line.starts_with("-A") || line.starts_with("-a")).collect();
    assert_eq!(on_disk, all.iter().map(String::as_str).collect(), "and all of it is saved");
    Ok(())
}

/// As many services, and as many servers of one of them, as an instance is to have room for at least.
const MANY: u32 = 10_000;

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn ten_thousand_services_and_as_many_servers_of_one_are_restored_before_the_client_gives_up() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    let server = |number: u32| format!("10.8.{}.{}:80", number / 250, 1 + number % 250);
    let servers = (0..MANY).map(|number| format!("-a -t 10.1.0.1:80 -r {} -g -w 1", server(number)));
    let one: Vec<String> = std::iter::once("-A -t 10.1.0.1:80 -s wlc".to_owned()).chain(servers).collect();
    let many: Vec<String> = (0..MANY)
        .flat_map(|number| {
            let service = format!("10.2.0.{}:{}", 1 + number % 10, 1000 + number / 10);
            [format!("-A -t {service} -s rr"), format!("-a -t {service} -r 10.0.0.151:80 -m -w 1")]
        })
        .collect();
    for lines in [&one, &many] {
        let answer = daemon.ipvsadm_reading("-R", &text(lines))?;
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
    }
    let all: Vec<String> = [one, many].concat();
    assert_eq!(saved(&daemon)?, set(&all));
    Ok(())
}

/// Servers that a service by mh has at most: its table has no more slots.
const MOST: usize = 4093;

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn of_servers_that_come_together_and_do_not_all_fit_those_before_the_first_too_many_stay() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    let server =
        |number: usize| format!("-a -t 10.1.0.1:80 -r 10.8.{}.{}:80 -g -w 1", number / 250, 1 + number % 250);
    let lines: Vec<String> =
        std::iter::once("-A -t 10.1.0.1:80 -s mh".to_owned()).chain((0..MOST + 50).map(server)).collect();
    let answer = daemon.ipvsadm_reading("-R", &text(&lines))?;
    assert_ne!(answer.code, Some(0));
    assert!(answer.stderr.contains("at most 4093 servers"), "{answer:?}");
    assert_eq!(saved(&daemon)?, set(&lines[..=MOST]));
    Ok(())
}
