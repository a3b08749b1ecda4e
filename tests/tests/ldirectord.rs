//! Debian's ldirectord, unmodified, drives the director: it calls `/sbin/ipvsadm` and reads what that lists.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use lbxdp_tests::http::{HTTP_PORT, Host};
use lbxdp_tests::{Daemon, Ipvsadm, Lab, Plan, daemon, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long ldirectord may take to see what has changed: it looks every second.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running ldirectord, and its files.
struct Ldirectord {
    child: Child,
    directory: PathBuf,
    _ipvsadm: Ipvsadm,
}

impl Ldirectord {
    fn start(lab: &Lab, daemon: &Daemon, service: &str) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("{}-ldirectord", lab.instance()));
        fs::create_dir_all(&directory)?;
        let (config, log) = (directory.join("ldirectord.cf"), directory.join("log"));
        let head = format!(
            "checktimeout=1\nnegotiatetimeout=2\ncheckinterval=1\nautoreload=no\nlogfile=\"{}\"\n",
            directory.join("events").display()
        );
        fs::write(&config, head + service)?;
        let ipvsadm = Ipvsadm::of(daemon.instance())?;
        let mut command = ipvsadm.command_in_place(&lab.director, "ldirectord");
        command.arg("-d").arg(&config).arg("start");
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("starting ldirectord")?;
        Ok(Self { child, directory, _ipvsadm: ipvsadm })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Ends it as `ldirectord stop` does: it takes its services along.
    fn end(&mut self) -> Result<()> {
        let process = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(process, Signal::SIGTERM).context("signalling ldirectord")?;
        wait::until("ldirectord ends", DEADLINE, || !matches!(self.child.try_wait(), Ok(None)))
    }
}

impl Drop for Ldirectord {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What the director has under ldirectord's hands: `server method weight`, a line each, in order.
fn servers(daemon: &Daemon) -> Result<Vec<String>> {
    let listed = daemon.must("-L -n")?;
    let lines = listed.lines().skip(3).filter_map(|line| line.strip_prefix("  -> "));
    let words = lines.map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" "));
    Ok(words.collect())
}

/// Waits until exactly these are there.
fn wait_for(what: &str, daemon: &Daemon, ldirectord: &Ldirectord, expected: &[&str]) -> Result<()> {
    let mut last = Vec::new();
    let waited = wait::until(what, DEADLINE, || {
        last = servers(daemon).unwrap_or_default();
        last == expected
    });
    waited
        .with_context(|| format!("it is {last:?}, not {expected:?}; ldirectord says:\n{}", ldirectord.log()))
}

/// The names of those who answer eight clients, each once.
fn who(lab: &Lab) -> Result<Vec<String>> {
    let client = lab.client();
    let mut names = (0..8).map(|_| client.who(lab.service(HTTP_PORT))).collect::<Result<Vec<String>>>()?;
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn begin(service: impl FnOnce(&Lab) -> String) -> Result<(Lab, Daemon, Ldirectord)> {
    let lab = Lab::build(Plan { servers: 3, ..Plan::default() })?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    let service = service(&lab);
    let ldirectord = Ldirectord::start(&lab, &daemon, &service)?;
    Ok((lab, daemon, ldirectord))
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn servers_are_removed_and_put_back_by_what_they_answer() -> Result<()> {
    let (mut lab, daemon, mut ldirectord) = begin(|lab| {
        format!(
            "quiescent=no\n\
             virtual={}\n\
             \treal=10.0.0.11:80 gate 2\n\
             \treal=10.0.0.12:80 gate\n\
             \tfallback=10.0.0.13:80 gate\n\
             \tservice=http\n\
             \tscheduler=wrr\n\
             \tprotocol=tcp\n\
             \tchecktype=negotiate\n\
             \trequest=\"/\"\n\
             \treceive=\"^s[0-9]\"\n",
            lab.service(HTTP_PORT)
        )
    })?;
    let (one, other, fallback) = ("10.0.0.11:80 Route 2", "10.0.0.12:80 Route 1", "10.0.0.13:80 Route 1");
    let vip = lab.vip();
    wait_for("both servers are there", &daemon, &ldirectord, &[one, other])?;
    assert_eq!(who(&lab)?, ["s1", "s2"]);
    lab.servers[0].die();
    wait_for("the one that died is removed", &daemon, &ldirectord, &[other])?;
    assert_eq!(who(&lab)?, ["s2"]);
    lab.servers[0].return_as("s1", vip)?;
    wait_for("it is back", &daemon, &ldirectord, &[one, other])?;
    assert_eq!(who(&lab)?, ["s1", "s2"]);
    lab.servers[1].return_as("ill", vip)?;
    wait_for("one that answers something else is removed", &daemon, &ldirectord, &[one])?;
    lab.servers[0].die();
    wait_for("without any the fallback serves", &daemon, &ldirectord, &[fallback])?;
    assert_eq!(who(&lab)?, ["s3"]);
    lab.servers[1].return_as("s2", vip)?;
    wait_for("the fallback goes when one is back", &daemon, &ldirectord, &[other])?;
    assert_eq!(who(&lab)?, ["s2"]);
    ldirectord.end()?;
    assert_eq!(daemon.must("-S -n")?, "", "its service goes with it");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn servers_are_quiesced_by_their_ports_and_keep_their_connections() -> Result<()> {
    let (mut lab, daemon, mut ldirectord) = begin(|lab| {
        format!(
            "quiescent=yes\n\
             virtual={}\n\
             \treal=10.0.0.11:80 gate 3\n\
             \treal=10.0.0.12:80 gate 3\n\
             \tfallback=127.0.0.1:80 gate\n\
             \tscheduler=rr\n\
             \tprotocol=tcp\n\
             \tchecktype=connect\n",
            lab.service(HTTP_PORT)
        )
    })?;
    let _sorry = Host::start(&lab.director, "sorry", &[lab.vip()])?;
    let lines =
        |one: u32, other: u32| [format!("10.0.0.11:80 Route {one}"), format!("10.0.0.12:80 Route {other}")];
    let vip = lab.vip();
    let expect = |what: &str, ldirectord: &Ldirectord, lines: [String; 2], more: &[&str]| {
        let lines: Vec<&str> = lines.iter().map(String::as_str).chain(more.iter().copied()).collect();
        wait_for(what, &daemon, ldirectord, &lines)
    };
    expect("both servers are there", &ldirectord, lines(3, 3), &[])?;
    let mut held = loop {
        let mut held = lab.client().open(lab.service(HTTP_PORT))?;
        if held.get("/")? == b"s2" {
            break held;
        }
    };
    lab.servers[0].die();
    expect("the one that died has weight 0", &ldirectord, lines(0, 3), &[])?;
    assert_eq!(who(&lab)?, ["s2"]);
    lab.servers[0].return_as("s1", vip)?;
    expect("it has its weight again", &ldirectord, lines(3, 3), &[])?;
    assert_eq!(who(&lab)?, ["s1", "s2"]);
    // Whoever is quiesced by hand keeps its connections; ldirectord leaves that as it is.
    daemon.must(&format!("-e -t {} -r 10.0.0.12 -g -w 0", lab.service(HTTP_PORT)))?;
    assert_eq!(held.get("/")?, b"s2");
    assert_eq!(who(&lab)?, ["s1"]);
    lab.servers[0].die();
    lab.servers[1].die();
    let both = lines(0, 0);
    expect("the director itself serves", &ldirectord, both, &["127.0.0.1:80 Route 1"])?;
    assert_eq!(who(&lab)?, ["sorry"]);
    ldirectord.end()?;
    assert_eq!(daemon.must("-S -n")?, "", "its service goes with it");
    Ok(())
}
