//! Every line that was recorded from ipvsadm, given to the real command and the real daemon: what `lbxdp/tests/ipvsadm/recorded.rs`
//! compares in one process, here with all that lies between.

use std::io::Write;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::{Answer, Daemon, Ipvsadm, Lab, Namespace, Plan, daemon};
use serde::Deserialize;

const RECORDED: &str = include_str!("../../lbxdp/tests/data/ipvsadm.jsonl");
const MADE: &str = include_str!("../../lbxdp/tests/data/ipvsadm-made.jsonl");

/// Room for so many connections makes as many buckets as the recorded machine's table has.
const CONNECTIONS: &str = "10158";

/// As in `lbxdp/tests/ipvsadm/recorded.rs`.
#[derive(Deserialize)]
struct Line {
    group: String,
    args: Option<String>,
    argv: Option<Vec<String>>,
    input: Option<String>,
    rc: i32,
    stdout: String,
    stderr: String,
    state: String,
    daemons: Option<String>,
    #[serde(default)]
    is_in_circle: bool,
}

impl Line {
    fn arguments(&self) -> Vec<String> {
        if let Some(argv) = &self.argv {
            return argv.clone();
        }
        let words = self.args.as_deref().unwrap_or_default().split(" <<< ").next().unwrap_or_default();
        let words = words.split_whitespace().filter(|word| *word != "<none>");
        words.map(|word| word.replace("\"\"", "")).collect()
    }

    fn input(&self) -> &str {
        let behind = self.args.as_deref().and_then(|args| args.split_once(" <<< "));
        self.input.as_deref().or(behind.map(|(_, input)| input)).unwrap_or_default()
    }

    fn answer(&self) -> Answer {
        Answer { stdout: self.stdout.clone(), stderr: self.stderr.clone(), code: Some(self.rc) }
    }
}

fn in_any_order(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// The command, in a namespace without any network: nobody is asked for names.
struct Front<'a> {
    ipvsadm: Ipvsadm,
    place: &'a Namespace,
}

impl Front<'_> {
    fn run(&self, arguments: &[String], input: &str) -> Result<Answer> {
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
        Ok(Answer { stdout: text(&output.stdout), stderr: text(&output.stderr), code: output.status.code() })
    }

    fn compare(&self, daemon: &Daemon, line: &Line) -> Result<Option<String>> {
        let arguments = line.arguments();
        let (mut ours, mut theirs) = (self.run(&arguments, line.input())?, line.answer());
        if line.stdout.contains("\nUsage:") {
            for answer in [&mut ours, &mut theirs] {
                answer.stdout = answer.stdout.lines().take(1).collect();
            }
        }
        if line.is_in_circle || arguments.iter().any(|argument| argument == "--nosort") {
            for answer in [&mut ours, &mut theirs] {
                answer.stdout = in_any_order(&answer.stdout);
            }
        }
        if ours != theirs {
            return Ok(Some(format!("ours {ours:#?}\ntheirs {theirs:#?}")));
        }
        let state = daemon.must("-S -n")?;
        if state != line.state && !(line.is_in_circle && in_any_order(&state) == in_any_order(&line.state)) {
            return Ok(Some(format!("state {state}\ntheirs {}", line.state)));
        }
        if let Some(theirs) = &line.daemons {
            let ours = daemon.must("-L --daemon")?;
            if ours != *theirs {
                return Ok(Some(format!("daemons {ours}\ntheirs {theirs}")));
            }
        }
        Ok(None)
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
    let (mut equal, mut different, mut group) = (0, Vec::new(), String::new());
    for line in recorded.lines().skip(1) {
        let line: Line = serde_json::from_str(line)?;
        if line.group != group {
            reset(&daemon)?;
            group.clone_from(&line.group);
        }
        match front.compare(&daemon, &line)? {
            None => equal += 1,
            Some(difference) => {
                different.push(format!("{group}: {:?} {:?}\n{difference}", line.arguments(), line.input()));
            }
        }
    }
    println!("{what}: {} lines compared, {equal} equal", equal + different.len());
    ensure!(different.is_empty(), "{}\n\n{} differ", different.join("\n\n"), different.len());
    Ok(())
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
