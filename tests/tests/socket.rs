//! The socket: who may speak, and what comes of messages that make no sense.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use lbxdp::tables::pins::Instance;
use lbxdp_tests::{Daemon, Lab, Plan, daemon};
use nix::sys::signal::Signal;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// Somebody who is not root.
const NOBODY: &str = "65534";

fn socket(daemon: &Daemon) -> Result<PathBuf> {
    Ok(daemon.instance().parse::<Instance>()?.socket())
}

fn as_nobody(daemon: &Daemon, program: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"]);
    command.arg(program).args(arguments).env("LBXDP_INSTANCE", daemon.instance());
    command.output().context("starting a program as nobody")
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn make(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path)?;
        let made = Self(path);
        fs::set_permissions(&made.0, fs::Permissions::from_mode(0o755))?;
        Ok(made)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_caller_without_the_right_is_told_so() -> Result<()> {
    let lab = Lab::build(Plan { servers: 1, ..Plan::default() })?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    daemon.must("-A -t 10.0.0.100:80")?;
    let before = daemon.must("-S -n")?;
    // Where the binary was built nobody may look.
    let directory = Directory::make(env::temp_dir().join(format!("{}-socket", lab.instance())))?;
    let program = directory.0.join("lbxdp");
    fs::copy(daemon::binary()?, &program)?;
    for line in [&["-L", "-n"][..], &["-C"], &["-A", "-t", "10.0.0.100:81"], &["--start-daemon", "master"]] {
        let answer = as_nobody(&daemon, &program, line)?;
        assert_eq!(answer.status.code(), Some(255), "{line:?}: {answer:?}");
        assert_eq!(String::from_utf8_lossy(&answer.stderr), "Permission denied (you must be root)\n");
        assert!(answer.stdout.is_empty());
    }
    let status = as_nobody(&daemon, &program, &["status"])?;
    assert_eq!(String::from_utf8_lossy(&status.stderr), "lbxdp: Permission denied (you must be root)\n");
    assert_eq!(daemon.must("-S -n")?, before);
    Ok(())
}

/// By another way to the socket, with permissions that let everybody in.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn who_gets_to_the_socket_without_the_right_is_refused_there() -> Result<()> {
    let lab = Lab::build(Plan { servers: 1, ..Plan::default() })?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    let socket = socket(&daemon)?;
    // On the same file system as the socket: a second name for it.
    let directory = Directory::make(Path::new("/run").join(format!("{}-open", lab.instance())))?;
    let open = directory.0.join("sock");
    fs::hard_link(&socket, &open)?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666))?;
    let script = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die $!; \
                  print $s qq(\"Services\"\\n); $s->flush; print <$s>;";
    let asked = |who: &str| -> Result<String> {
        let arguments = ["-e", script, who];
        let output = as_nobody(&daemon, Path::new("perl"), &arguments)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    let path = open.display().to_string();
    assert_eq!(asked(&path)?, "\"Forbidden\"\n");
    assert!(daemon.log().contains("a client that is not root was refused uid=65534"), "{}", daemon.log());
    daemon.must("-L -n")?;
    Ok(())
}

/// All answers to a message that is all its client has to say.
fn answers(daemon: &Daemon, message: &[u8]) -> Result<Vec<String>> {
    let mut stream = UnixStream::connect(socket(daemon)?)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // A daemon that has heard enough may have closed already.
    let _ = stream.write_all(message).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => return Err(error.into()),
        _ => {}
    }
    Ok(BufReader::new(&bytes[..]).lines().collect::<Result<_, _>>()?)
}

/// All that is configured.
fn state(daemon: &Daemon) -> Result<Vec<String>> {
    answers(daemon, b"\"Services\"\n\"Timeouts\"\n\"Daemons\"\n\"Marks\"\n\"Settings\"\n")
}

/// Right messages, to be spoiled.
const MESSAGES: [&str; 8] = [
    r#"{"Change":{"AddService":{"service":{"Address":{"protocol":"TCP","address":"10.0.0.100","port":81}},"options":{"scheduler":"rr","sched_flags":0,"one_packet":false,"persistence":{"timeout_s":60,"netmask":4294967295},"engine":"sip"}}}}"#,
    r#"{"Change":{"AddServer":{"service":{"Address":{"protocol":"TCP","address":"10.0.0.100","port":80}},"server":{"address":"10.0.0.77","port":80,"forward":"Route","tunnel":{"kind":"ipip","port":0,"checksum":"nocsum"},"weight":1,"upper":0,"lower":0}}}}"#,
    r#"{"Change":{"AddService":{"service":{"Mark":{"family":"V4","mark":7}},"options":{"scheduler":"wlc","sched_flags":8,"one_packet":true,"persistence":null}}}}"#,
    r#"{"Changes":["Flush",{"SetTimeouts":{"tcp":1,"tcp_fin":2,"udp":3}}]}"#,
    r#"{"Change":{"StartDaemon":{"role":"master","daemon":{"interface":"eth0","sync_id":7,"max_length":0,"group":null,"port":0,"ttl":0}}}}"#,
    r#"{"Change":{"AddMark":{"rule":{"mark":7,"destination":"10.0.0.100/32","source":null,"protocol":"TCP","ports":[80,81],"interface":"eth0"}}}}"#,
    r#"{"Change":{"Set":{"settings":["sloppy_tcp=1"]}}}"#,
    r#""Status""#,
];

/// A piece of a message is replaced.
fn spoiled() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..8),
        select(vec![
            "0",
            "-1",
            "4294967296",
            "1e9",
            "null",
            "\"\"",
            "[]",
            "{}",
            "\"10.0.0.1\"",
            "65536",
            "\\n",
            "\n"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    (select(MESSAGES.to_vec()), any::<Index>(), 0..12_usize, piece).prop_map(|(text, at, length, piece)| {
        let mut bytes = text.as_bytes().to_vec();
        let at = at.index(bytes.len());
        let end = (at + length).min(bytes.len());
        bytes.splice(at..end, piece);
        bytes
    })
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => proptest::collection::vec(any::<u8>(), 0..200),
        6 => spoiled(),
        1 => (1..5000_usize, select(vec!["[", "{\"a\":", "\"", "9"])).prop_map(|(times, text)| text.repeat(times).into_bytes()),
        1 => select(MESSAGES.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
    ]
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn messages_that_make_no_sense_change_nothing_and_harm_nobody() -> Result<()> {
    let lab = Lab::build(Plan { servers: 1, ..Plan::default() })?;
    let mut daemon = lab.start_daemon(&daemon::binary()?)?;
    daemon.must("-A -t 10.0.0.100:80 -s rr")?;
    daemon.must("-a -t 10.0.0.100:80 -r 10.0.0.11 -w 3")?;
    let process = daemon.process();
    let mut runner = TestRunner::new(Config { cases: 1000, failure_persistence: None, ..Config::default() });
    let (mut refused, mut done) = (0, 0);
    let counted = std::cell::RefCell::new((&mut refused, &mut done));
    runner.run(&message(), |message| {
        let failed = |error: anyhow::Error| TestCaseError::fail(format!("{error:#}"));
        let before = state(&daemon).map_err(failed)?;
        let answers = answers(&daemon, &[&message, &b"\n"[..]].concat()).map_err(failed)?;
        let after = state(&daemon).map_err(failed)?;
        let mut counted = counted.borrow_mut();
        if answers.iter().any(|answer| answer.contains("\"Done\"")) {
            *counted.1 += 1;
        } else {
            *counted.0 += 1;
            prop_assert_eq!(before, after, "nothing was done, they say: {:?}", answers);
        }
        for answer in answers {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&answer).is_ok(), "{}", answer);
        }
        Ok(())
    })?;
    println!("{refused} messages were refused, {done} were done");
    ensure!(refused > 300 && done > 5, "{refused} refused, {done} done: not much was tried");
    // Longer than any message may be.
    let answer = answers(&daemon, &vec![b' '; 600 * 1024])?;
    ensure!(answer.iter().all(|line| line.contains("at most 524288 bytes")), "{answer:?}");
    ensure!(daemon.process() == process, "the daemon is another one");
    let before = state(&daemon)?;
    // What was accepted can be read again.
    daemon.end_by(Signal::SIGKILL)?;
    daemon.start_again(&lab.director, lab.interfaces(), &[])?;
    ensure!(state(&daemon)? == before, "the next daemon has another configuration");
    Ok(())
}
