//! `lbxdp top` in a real terminal, on a real director: what is seen, what keys do, and that the terminal is as it was afterwards.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::http::{ECHO_PORT, HTTP_PORT};
use lbxdp_tests::service::offer;
use lbxdp_tests::{Daemon, Lab, Plan, Terminal, daemon};
use nix::sys::signal::Signal;

/// Where a service without servers is.
const NOBODY: u16 = 9;

/// A director with a service of two web servers, one of two that answer datagrams, and one without any.
fn begin(arguments: &[&str]) -> Result<(Lab, Daemon)> {
    let lab = Lab::build(Plan::default())?;
    let daemon =
        Daemon::start(&daemon::binary()?, &lab.director, &lab.instance(), lab.interfaces(), arguments)?;
    offer(&lab, &daemon, "-t", HTTP_PORT, "rr", &[1, 1])?;
    offer(&lab, &daemon, "-u", ECHO_PORT, "rr", &[1, 1])?;
    daemon.must(&format!("-A -u {} -s rr", lab.service(NOBODY)))?;
    Ok((lab, daemon))
}

fn top(daemon: &Daemon, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(daemon::binary()?);
    command.args(["top", "--instance", daemon.instance()]).args(arguments);
    Ok(command)
}

/// Looks five times a second: tests wait for what is seen.
fn open(daemon: &Daemon) -> Result<Terminal> {
    Terminal::open(&top(daemon, &["--interval", "0.2"])?, 24, 80)
}

/// The words of the first line that has a word, from that word on.
fn row<'a>(screen: &'a str, begin: &str) -> Option<Vec<&'a str>> {
    let row = screen.lines().map(str::split_whitespace).find(|words| words.clone().any(|word| word == begin));
    row.map(|words| words.skip_while(|word| *word != begin).collect())
}

/// The packets a second of a service: connections a second stand before them.
fn rates(screen: &str, service: &str) -> Option<(u64, u64)> {
    let row = row(screen, service)?;
    Some((row.get(6)?.parse().ok()?, row.get(7)?.parse().ok()?))
}

const WEB: &str = "tcp/10.0.0.100:80";
const ECHO: &str = "udp/10.0.0.100:7";

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_happens_is_seen_sorted_and_filtered() -> Result<()> {
    let (lab, daemon) = begin(&[])?;
    let mut terminal = open(&daemon)?;
    terminal.wait_for("services with their servers", |screen| {
        row(screen, WEB).is_some_and(|row| row.get(1) == Some(&"2/2"))
            && row(screen, "10.0.0.12:7").is_some_and(|row| row.get(1) == Some(&"up"))
            && screen.contains("eth0 native")
    })?;
    assert!(terminal.is_put_aside() && terminal.has_no_cursor() && terminal.is_coloured());
    assert!(!terminal.has_modes_as_before()?, "keys come one by one");
    assert_eq!(rates(&terminal.screen(), ECHO), Some((0, 0)));
    // Somebody asks, again and again: rates rise, in both of their kinds.
    let enough = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let asking = scope.spawn(|| -> Result<()> {
            while !enough.load(Ordering::Relaxed) {
                lab.client().datagram(lab.service(ECHO_PORT), b"x")?;
            }
            Ok(())
        });
        let seen = watch(&mut terminal).and_then(|()| picture(&terminal, &daemon));
        enough.store(true, Ordering::Relaxed);
        asking.join().ok().context("who asks panicked")??;
        seen
    })?;
    // What is not forwarded is counted on a screen of its own.
    terminal.press("2")?;
    terminal
        .wait_for("nothing lost yet", |screen| screen.contains("REASON") && !screen.contains("no_server"))?;
    let talk = lab.client().with_deadline(std::time::Duration::from_millis(50)).talk(lab.service(NOBODY))?;
    assert!(talk.ask(b"is anybody there?").is_err());
    terminal.wait_for("a packet for nobody", |screen| {
        row(screen, "dropped").is_some_and(|row| row.get(1..3) == Some(&["no_server", "1"]))
    })?;
    terminal.press("3")?;
    terminal.wait_for("the director", |screen| {
        screen.contains("generation 7") && screen.contains("10.0.0.11: ") && screen.contains("native XDP")
    })?;
    terminal.press("q")?;
    assert_eq!(terminal.wait_for_a_clean_end()?, (Some(0), None));
    Ok(())
}

/// A directory that pictures are left in, for people to look at.
const PICTURES: &str = "LBXDP_PICTURES";

/// Leaves what is seen now, on the screen and as text.
fn picture(terminal: &Terminal, daemon: &Daemon) -> Result<()> {
    let Some(directory) = std::env::var_os(PICTURES).map(PathBuf::from) else { return Ok(()) };
    std::fs::write(directory.join("top-screen.txt"), terminal.screen())?;
    let once = top(daemon, &["--once", "--interval", "2"])?.output()?;
    Ok(std::fs::write(directory.join("top-once.txt"), once.stdout)?)
}

/// While datagrams are sent.
fn watch(terminal: &mut Terminal) -> Result<()> {
    let is_busy = |screen: &str| rates(screen, ECHO).is_some_and(|rates| rates.0 > 0 && rates.1 > 0);
    terminal.wait_for("averages rise", is_busy)?;
    assert_eq!(rates(&terminal.screen(), WEB), Some((0, 0)));
    terminal.press("a")?;
    terminal.wait_for("it goes by the last look", |screen| {
        screen.contains("since the last look") && is_busy(screen)
    })?;
    // By packets a second: the busy one comes first, which is the second one of the listing.
    let is_before = |screen: &str, one: &str, other: &str| {
        screen.find(one).zip(screen.find(other)).is_some_and(|(one, other)| one < other)
    };
    assert!(is_before(&terminal.screen(), WEB, ECHO));
    terminal.press("<<")?;
    terminal.wait_for("sorted by packets", |screen| {
        screen.contains("by pkt/s") && is_before(screen, ECHO, WEB)
    })?;
    terminal.press("r")?;
    terminal.wait_for("turned round", |screen| is_before(screen, WEB, ECHO))?;
    terminal.press("/tcp .12")?;
    terminal.wait_for("one server is left", |screen| {
        screen.contains("10.0.0.12:80") && !screen.contains("10.0.0.11:80") && !screen.contains(ECHO)
    })?;
    terminal.press("\r")?;
    terminal.wait_for("the filter is kept", |screen| screen.contains("Esc takes it away"))?;
    terminal.press("\x1b")?;
    terminal.wait_for("all are back", |screen| screen.contains("10.0.0.11:80") && screen.contains(ECHO))?;
    // Paused, nothing moves; larger, there is more to see.
    terminal.press("p")?;
    terminal.wait_for("a pause", |screen| screen.contains("PAUSED"))?;
    terminal.press("p")?;
    terminal.resize(40, 120)?;
    terminal.wait_for("a larger screen is filled", |screen| {
        screen.lines().nth(39).is_some_and(|line| line.contains("? help")) && !screen.contains("PAUSED")
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_signal_ends_it_and_the_terminal_is_as_it_was() -> Result<()> {
    let (_lab, daemon) = begin(&[])?;
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        let mut terminal = open(&daemon)?;
        terminal.wait_for("services", |screen| screen.contains(WEB))?;
        terminal.signal(signal)?;
        assert_eq!(terminal.wait_for_a_clean_end()?, (None, Some(signal)));
    }
    // Ctrl-C is a key like others.
    let mut terminal = open(&daemon)?;
    terminal.wait_for("services", |screen| screen.contains(WEB))?;
    terminal.press("\x03")?;
    assert_eq!(terminal.wait_for_a_clean_end()?, (Some(0), None));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn it_outlives_the_daemon_and_goes_on_with_the_next_one() -> Result<()> {
    let (lab, mut daemon) = begin(&["--leave"])?;
    let mut terminal = open(&daemon)?;
    terminal.wait_for("services", |screen| screen.contains(WEB))?;
    daemon.end_by(Signal::SIGTERM)?;
    let is_gone = |screen: &str| screen.contains("no daemon answers; trying again");
    terminal.wait_for("nobody answers", |screen| is_gone(screen) && screen.contains(WEB))?;
    daemon.start_again(&lab.director, lab.interfaces(), &["--leave"])?;
    terminal.wait_for("it is back", |screen| !is_gone(screen) && screen.contains("generation 0"))?;
    daemon.must(&format!("-D -u {}", lab.service(NOBODY)))?;
    terminal.wait_for("news of it", |screen| {
        screen.contains("generation 1") && !screen.contains("udp/10.0.0.100:9")
    })?;
    terminal.press("q")?;
    assert_eq!(terminal.wait_for_a_clean_end()?, (Some(0), None));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn without_a_terminal_it_says_what_else_there_is() -> Result<()> {
    let (lab, daemon) = begin(&[])?;
    let output = top(&daemon, &[])?.output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!((output.status.code(), output.stdout.len(), said.lines().count()), (Some(1), 0, 1), "{said}");
    assert!(said.contains("lbxdp top --once") && said.contains("lbxdp service list --json"), "{said}");
    let mut command = top(&daemon, &[])?;
    command.env("TERM", "dumb");
    let mut terminal = Terminal::open(&command, 24, 200)?;
    assert_eq!(terminal.wait_for_a_clean_end()?, (Some(1), None));
    terminal.wait_for("it says so", |screen| screen.contains("lbxdp top --once"))?;
    // No colours where they are not wanted.
    let mut command = top(&daemon, &["--interval", "0.2"])?;
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::open(&command, 24, 80)?;
    terminal.wait_for("services", |screen| screen.contains(WEB))?;
    assert!(!terminal.is_coloured());
    terminal.press("q")?;
    assert_eq!(terminal.wait_for_a_clean_end()?, (Some(0), None));
    // One frame as text, whose rates need two looks or the daemon's averages.
    lab.client().datagram(lab.service(ECHO_PORT), b"x")?;
    let once = |arguments: &[&str]| -> Result<String> {
        let output = top(&daemon, arguments)?.output()?;
        ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let text = once(&["--once"])?;
    assert!(row(&text, ECHO).is_some_and(|row| row.get(4) == Some(&"1")), "one inactive connection: {text}");
    assert!(text.contains("dropped/s -") && !text.contains('\x1b'), "{text}");
    assert!(once(&["--once", "--interval", "0.1"])?.contains("dropped/s 0"));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_daemon_that_never_was_is_named_before_the_terminal_is_touched() -> Result<()> {
    let mut command = Command::new(daemon::binary()?);
    command.args(["top", "--instance", "never-was"]);
    let mut terminal = Terminal::open(&command, 24, 100)?;
    assert_eq!(terminal.wait_for_a_clean_end()?, (Some(1), None));
    terminal
        .wait_for("its name", |screen| screen.contains("the daemon of instance `never-was` is not running"))
}
