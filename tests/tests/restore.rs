//! `-R` of many lines and many clients at once: each command is carried out whole or not at all, whatever happens.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use lbxdp::tables::pins::Instance;
use lbxdp_tests::{Answer, Lab, Plan, daemon, wait};
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

/// Clients that change one and the same.
const RIVALS: u32 = 24;
/// How often each of them goes round.
const ROUNDS: u32 = 12;
/// The service that all rivals change.
const ARENA: &str = "10.4.0.1:80";

/// Options that always come together, by `-A`, `-E` and `-e`: a listing with some of one and some of another has seen half a command.
const SERVICES_OF: [&str; 3] =
    ["-s rr", "-s wlc -p 60 -M 255.255.255.0", "-s sh -p 360 -M 255.255.0.0 -b sh-fallback,sh-port"];
const SERVERS_OF: [&str; 3] = ["-g -w 1", "-m -w 22", "-i -w 333 --tun-type ipip"];

/// Whether a listing is one that whole commands can lead to: services as one command makes them, and each server once, as one
/// command makes it.
fn is_whole(saved: &str) -> bool {
    let mut seen = BTreeSet::new();
    saved.lines().all(|line| {
        let words: Vec<&str> = line.splitn(6, ' ').collect();
        let is_known = match words[..] {
            ["-A", "-t", service, ..] => {
                let options = line.split_once(service).map(|(_, options)| options.trim());
                options.is_some_and(|options| service != ARENA || SERVICES_OF.contains(&options))
            }
            ["-a", "-t", ARENA, "-r", _, options] => SERVERS_OF.contains(&options),
            _ => false,
        };
        let is_about = words.iter().take(if words[0] == "-a" { 5 } else { 3 }).copied().collect::<Vec<_>>();
        is_known && seen.insert(is_about.join(" "))
    })
}

/// What one rival does, round by round: its own server comes, is changed, and goes; it edits the common service, and fights
/// with its neighbour about a server and a service of two. In the end its own server and service stay.
fn rival(number: u32, ask: impl Fn(&str) -> Result<Answer>) -> Result<()> {
    let own = format!("-t {ARENA} -r 10.0.5.{}:80", 1 + number);
    let own_service = format!("-t 10.4.1.{}:80", 1 + number);
    let shared = format!("-t {ARENA} -r 10.0.6.{}:80", 1 + number / 2);
    let must = |line: String| {
        let answer = ask(&line)?;
        ensure!((answer.code, answer.stderr.as_str()) == (Some(0), ""), "`{line}`: {answer:?}");
        Ok(())
    };
    // What somebody else has done already or undone is refused, in words that say so.
    let may = |line: String, refusal: &str| {
        let answer = ask(&line)?;
        let is_told = match answer.code {
            Some(0) => answer.stderr.is_empty(),
            Some(255) => answer.stderr == format!("{refusal}\n"),
            _ => false,
        };
        ensure!(is_told, "`{line}`: {answer:?}");
        Ok(())
    };
    for round in 0..ROUNDS {
        let pick = (number + round) as usize;
        let [one, other] = [SERVERS_OF[pick % 3], SERVERS_OF[(pick + 1) % 3]];
        must(format!("-a {own} {one}"))?;
        may(format!("-a {shared} {one}"), "Destination already exists")?;
        must(format!("-E -t {ARENA} {}", SERVICES_OF[pick % 3]))?;
        must(format!("-A {own_service} -s rr"))?;
        must(format!("-e {own} {other}"))?;
        may(format!("-e {shared} {other}"), "No such destination")?;
        if round + 1 < ROUNDS {
            must(format!("-d {own}"))?;
            must(format!("-D {own_service}"))?;
        }
        may(format!("-d {shared}"), "No such destination")?;
    }
    Ok(())
}

/// Rivals' commands are each carried out whole, one after the other: no listing shows half of one, and none is lost.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn rivals_see_whole_commands_and_lose_none() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    daemon.must(&format!("-A -t {ARENA} -s rr"))?;
    let is_over = AtomicBool::new(false);
    let listings = thread::scope(|scope| -> Result<Vec<String>> {
        let (daemon, is_over) = (&daemon, &is_over);
        let reader = scope.spawn(move || -> Result<Vec<String>> {
            let mut listings = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                listings.push(daemon.must("-S -n")?);
            }
            Ok(listings)
        });
        let rivals: Vec<_> = (0..RIVALS)
            .map(|number| scope.spawn(move || rival(number, |line| daemon.ipvsadm(line))))
            .collect();
        let ends: Vec<Result<()>> = rivals.into_iter().map(joined).collect();
        is_over.store(true, Ordering::Relaxed);
        let listings = joined(reader);
        ends.into_iter().collect::<Result<()>>()?;
        listings
    })?;
    for listing in &listings {
        ensure!(is_whole(listing), "half a command is seen:\n{listing}");
    }
    let different = listings.iter().collect::<BTreeSet<_>>().len();
    println!("{} listings beside {RIVALS} rivals, {different} of them different", listings.len());
    ensure!(different > 10, "the reader has seen {different} states only");
    // What the rivals fought about is gone with the last of them; what each had for itself is as it left it.
    let left = saved(&daemon)?;
    let own = |number: u32| {
        let options = SERVERS_OF[(number + ROUNDS) as usize % 3];
        [
            format!("-a -t {ARENA} -r 10.0.5.{}:80 {options}", 1 + number),
            format!("-A -t 10.4.1.{}:80 -s rr", 1 + number),
        ]
    };
    let expected: BTreeSet<String> = (0..RIVALS).flat_map(own).collect();
    let arena: Vec<&String> = left.difference(&expected).collect();
    ensure!(expected.is_subset(&left), "lost: {:?}", expected.difference(&left));
    ensure!(arena.len() == 1 && arena[0].starts_with(&format!("-A -t {ARENA} -s ")), "{arena:?}");
    Ok(())
}

/// Two servers that one client edits in turn, to the same weight each time: no listing shows the second ahead of the first, or
/// the first ahead by more than one step.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn commands_are_seen_in_the_order_in_which_they_were_given() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    daemon.must(&format!("-A -t {ARENA} -s rr"))?;
    let server = |number: u32| format!("-t {ARENA} -r 10.0.7.{number}:80 -g -w");
    let steps: Vec<String> =
        (1..=2000).flat_map(|step| [1, 2].map(|number| format!("-e {} {step}", server(number)))).collect();
    daemon.must(&format!("-a {} 0", server(1)))?;
    daemon.must(&format!("-a {} 0", server(2)))?;
    let is_over = AtomicBool::new(false);
    let seen = thread::scope(|scope| -> Result<BTreeSet<(u32, u32)>> {
        let reader = scope.spawn(|| -> Result<BTreeSet<(u32, u32)>> {
            let mut seen = BTreeSet::new();
            while !is_over.load(Ordering::Relaxed) {
                let listing = daemon.must("-S -n")?;
                let weight = |number| {
                    let line = listing
                        .lines()
                        .find_map(|line| line.strip_prefix(&format!("-a {} ", server(number))));
                    line.and_then(|weight| weight.parse().ok()).context("a weight")
                };
                seen.insert((weight(1)?, weight(2)?));
            }
            Ok(seen)
        });
        let answer = daemon.ipvsadm_reading("-R", &text(&steps));
        is_over.store(true, Ordering::Relaxed);
        let (seen, answer) = (joined(reader)?, answer?);
        ensure!((answer.code, answer.stderr.as_str()) == (Some(0), ""), "{answer:?}");
        Ok(seen)
    })?;
    ensure!(seen.iter().all(|&(first, second)| first == second || first == second + 1), "{seen:?}");
    println!("{} different states seen", seen.len());
    ensure!(seen.len() > 2, "the reader has come too late: {seen:?}");
    Ok(())
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))?
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
