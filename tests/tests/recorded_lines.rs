//! Every line that was recorded from ipvsadm, given to the real command and the real daemon: what `lbxdp/tests/ipvsadm/recorded.rs`
//! compares in one process, here with all that lies between.

#[path = "../../lbxdp/tests/data/line.rs"]
mod line;

use std::io::Write;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result};
use lbxdp_tests::{Daemon, Ipvsadm, Lab, Namespace, Plan, daemon};
use line::{Line, MADE, RECORDED, Said};

/// Room for so many connections makes as many buckets as the recorded machine's table has.
const CONNECTIONS: &str = "6553";

/// The command, in a namespace without any network: nobody is asked for names.
struct Front<'a> {
    ipvsadm: Ipvsadm,
    place: &'a Namespace,
}

impl Front<'_> {
    fn run(&self, arguments: &[String], input: &str) -> Result<Said> {
        let mut command = self.ipvsadm.command(self.place, "ipvsadm");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting ipvsadm")?;
        let stdin = child.stdin.take();
        let output = thread::scope(|scope| {
            // One that does not read its input has closed it: that is its right.
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
            child.wait_with_output()
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Said { stdout: text(&output.stdout), stderr: text(&output.stderr), code: output.status.code() })
    }

    fn compare(&self, daemon: &Daemon, line: &Line) -> Result<Option<String>> {
        let ours = self.run(&line.arguments(), line.input())?;
        let state = daemon.must("-S -n")?;
        let daemons = line.daemons.as_ref().map(|_| daemon.must("-L --daemon")).transpose()?;
        Ok(line.difference(ours, &state, daemons.as_deref()))
    }
}

fn reset(daemon: &Daemon) -> Result<()> {
    for role in ["master", "backup"] {
        daemon.ipvsadm(&format!("--stop-daemon {role}"))?;
    }
    daemon.must("-C")?;
    daemon.must("--set 900 120 300").map(drop)
}

fn replay(what: &str, recorded: &str) -> Result<()> {
    let lab = Lab::build(Plan { servers: 1, ..Plan::default() })?;
    for (number, mtu) in [(1, 9000), (2, 1280)] {
        lab.director.ip(&format!("link add eth{number} mtu {mtu} type veth peer name peer{number}"))?;
    }
    let arguments = ["--connections", CONNECTIONS];
    let daemon =
        Daemon::start(&daemon::binary()?, &lab.director, &lab.instance(), lab.interfaces(), &arguments)?;
    let place = Namespace::create(format!("{}-nowhere", lab.instance()))?;
    let front = Front { ipvsadm: Ipvsadm::of(daemon.instance())?, place: &place };
    line::compare(what, recorded, |line, is_first| {
        if is_first {
            reset(&daemon)?;
        }
        front.compare(&daemon, line)
    })
    .map(drop)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn every_recorded_line_has_the_same_answer_from_the_real_daemon() -> Result<()> {
    replay("recorded by topic", RECORDED)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn every_line_that_was_made_has_the_same_answer_from_the_real_daemon() -> Result<()> {
    replay("made and recorded", MADE)
}
