//! lbxdp at work on the director: the daemon as a process, and its CLI.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::leftovers::{PINS, SOCKETS, STATES};
use crate::namespace::Namespace;
use crate::wait;

/// How long the daemon may take to start or to end. The verifier reads all of its programs, on a machine that may be busy.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running daemon. It is stopped, and all it pinned is gone, when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    binary: PathBuf,
    instance: String,
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// What a command line was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub stdout: String,
    pub stderr: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
}

/// The binary under test, as `cargo xtask test` names it.
pub fn binary() -> Result<PathBuf> {
    let path =
        env::var_os("LBXDP_BIN").context("LBXDP_BIN is not set: run these tests by `cargo xtask test`")?;
    Ok(path.into())
}

/// What the daemon logs last before it answers.
const READY: &str = " ready instance=";

impl Daemon {
    /// Starts `lbxdp run` on interfaces of a namespace, with more arguments if wanted, and waits until it answers.
    pub fn start(
        binary: &Path,
        namespace: &Namespace,
        instance: &str,
        interfaces: &[&str],
        arguments: &[&str],
    ) -> Result<Self> {
        let (child, log, reader) = spawn(binary, namespace, instance, interfaces, arguments)?;
        let mut daemon = Self { binary: binary.into(), instance: instance.into(), child, log, reader };
        daemon.wait_until_it_answers()?;
        Ok(daemon)
    }

    /// Starts the daemon of the same instance again, after [`Daemon::end_by`], and waits until it answers. Its log begins
    /// anew.
    pub fn start_again(
        &mut self,
        namespace: &Namespace,
        interfaces: &[&str],
        arguments: &[&str],
    ) -> Result<()> {
        (self.child, self.log, self.reader) =
            spawn(&self.binary, namespace, &self.instance, interfaces, arguments)?;
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let socket = Path::new(SOCKETS).join(format!("{}.sock", self.instance));
        let mut ended = None;
        let waited = wait::until("the daemon answers", DEADLINE, || {
            ended = self.child.try_wait().ok().flatten();
            // What it has logged before it answers may still be on its way here.
            ended.is_some() || UnixStream::connect(&socket).is_ok() && self.log().contains(READY)
        });
        if let Some(status) = ended {
            self.finish_log();
            bail!("the daemon ended at once ({status}):\n{}", self.log());
        }
        waited.with_context(|| format!("its log:\n{}", self.log()))
    }

    /// The name of the instance it serves.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The id of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives ipvsadm's command line, split at blanks, to the instance.
    pub fn ipvsadm(&self, line: &str) -> Result<Answer> {
        self.ipvsadm_reading(line, "")
    }

    /// As [`Daemon::ipvsadm`], with something to read on its standard input.
    pub fn ipvsadm_reading(&self, line: &str, input: &str) -> Result<Answer> {
        let mut child = Command::new(&self.binary)
            .args(line.split_whitespace())
            .env("LBXDP_INSTANCE", &self.instance)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        let stdin = child.stdin.take();
        let output = thread::scope(|scope| {
            // Beside the reading: a command that has much to say waits until somebody listens, and reads on only then.
            scope.spawn(move || {
                // One that does not read its input has closed it: that is its right.
                stdin.map(|mut stdin| stdin.write_all(input.as_bytes()))
            });
            child.wait_with_output().context("waiting for the command's end")
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Answer { stdout: text(&output.stdout), stderr: text(&output.stderr), code: output.status.code() })
    }

    /// Gives a command line that must succeed; what it printed.
    pub fn must(&self, line: &str) -> Result<String> {
        let answer = self.ipvsadm(line)?;
        if answer.code != Some(0) {
            bail!("`ipvsadm {line}` failed ({:?}): {}", answer.code, answer.stderr.trim());
        }
        Ok(answer.stdout)
    }

    /// Sends it a signal, and waits until it has ended. What it pinned is left as it is.
    pub fn end_by(&mut self, signal: Signal) -> Result<()> {
        if self.child.try_wait().context("looking after the daemon")?.is_none() {
            kill(Pid::from_raw(i32::try_from(self.child.id())?), signal).context("signalling the daemon")?;
            wait::until("the daemon ends", DEADLINE, || !matches!(self.child.try_wait(), Ok(None)))?;
        }
        self.finish_log();
        Ok(())
    }

    /// Waits for the last lines of a daemon that has ended.
    fn finish_log(&mut self) {
        if self.reader.take().is_some_and(|reader| reader.join().is_err()) {
            eprintln!("the reader of the daemon's log panicked");
        }
    }
}

type Spawned = (Child, Arc<Mutex<String>>, Option<JoinHandle<()>>);

/// Starts the process, and somebody who reads its log.
fn spawn(
    binary: &Path,
    namespace: &Namespace,
    instance: &str,
    interfaces: &[&str],
    arguments: &[&str],
) -> Result<Spawned> {
    let mut command = namespace.command(binary);
    command.args(["run", "--instance", instance]).args(arguments);
    for interface in interfaces {
        command.args(["-i", interface]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {}", binary.display()))?;
    let log = Arc::new(Mutex::new(String::new()));
    let reader = child.stderr.take().map(|stderr| {
        let log = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        })
    });
    Ok((child, log, reader))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.end_by(Signal::SIGTERM) {
            eprintln!("{error:#}; it is killed. Its log:\n{}", self.log());
            // What is left to do if even this fails is done by the next lab.
            let _ = self.child.kill().and_then(|()| self.child.wait());
        }
        // A daemon that was killed, or told to leave its data path running, has left these.
        let _ = fs::remove_dir_all(Path::new(PINS).join(&self.instance));
        for kind in ["sock", "lock"] {
            let _ = fs::remove_file(Path::new(SOCKETS).join(format!("{}.{kind}", self.instance)));
        }
        let _ = fs::remove_file(Path::new(STATES).join(format!("{}.state", self.instance)));
    }
}
