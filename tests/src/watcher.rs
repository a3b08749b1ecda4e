//! `lbxdp watch` at work.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::{self, Daemon};
use crate::wait;

/// How long the kernel's verifier may take, and how long a packet may be on its way to a line.
const DEADLINE: Duration = Duration::from_secs(20);

/// A watcher. It is killed when this is dropped.
#[derive(Debug)]
pub struct Watcher {
    child: Child,
    lines: Text,
    said: Text,
    readers: Vec<JoinHandle<()>>,
}

/// What a watcher left when it ended.
#[derive(Debug)]
pub struct Ended {
    /// What it showed.
    pub lines: Vec<String>,
    /// What it said on standard error.
    pub said: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
}

/// Lines that somebody reads, as far as they have come.
type Text = Arc<Mutex<Vec<String>>>;

fn read(from: impl Read + Send + 'static) -> (Text, JoinHandle<()>) {
    let text = Text::default();
    let heard = Arc::clone(&text);
    let reader = thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    (text, reader)
}

fn lines(text: &Text) -> Vec<String> {
    text.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Watcher {
    /// Starts one with these words, and waits until it watches.
    pub fn start(daemon: &Daemon, words: &[&str]) -> Result<Self> {
        let mut child = Command::new(daemon::binary()?)
            .args(["watch", "--instance", daemon.instance()])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting lbxdp watch")?;
        let (shown, shown_reader) = read(child.stdout.take().context("no standard output")?);
        let (said, said_reader) = read(child.stderr.take().context("no standard error")?);
        let mut watcher = Self { child, lines: shown, said, readers: vec![shown_reader, said_reader] };
        let mut has_ended = false;
        wait::until("somebody watches", DEADLINE, || {
            has_ended = !matches!(watcher.child.try_wait(), Ok(None));
            has_ended || !lines(&watcher.said).is_empty()
        })?;
        if !lines(&watcher.said).iter().any(|line| line.starts_with("watching ")) {
            let said = watcher.end_by(None)?.said;
            bail!("lbxdp watch does not watch: {said}");
        }
        Ok(watcher)
    }

    /// What it has shown so far.
    pub fn lines(&self) -> Vec<String> {
        lines(&self.lines)
    }

    /// What it has said on standard error so far.
    pub fn said(&self) -> String {
        lines(&self.said).join("\n")
    }

    /// Waits for a line that has all of these in it.
    pub fn wait_for(&self, parts: &[&str]) -> Result<String> {
        let found = wait::until_some(&format!("a line with {parts:?}"), DEADLINE, || {
            self.lines().into_iter().find(|line| parts.iter().all(|part| line.contains(part)))
        });
        found.with_context(|| format!("shown were: {:#?}", self.lines()))
    }

    /// The id of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as Ctrl-C does.
    pub fn stop(self) -> Result<Ended> {
        self.end(Some(Signal::SIGINT))
    }

    /// Kills it, as nothing can be cleaned up after.
    pub fn kill(self) -> Result<Ended> {
        self.end(Some(Signal::SIGKILL))
    }

    /// Waits until it ends by itself.
    pub fn wait(self) -> Result<Ended> {
        self.end(None)
    }

    fn end(mut self, signal: Option<Signal>) -> Result<Ended> {
        self.end_by(signal)
    }

    fn end_by(&mut self, signal: Option<Signal>) -> Result<Ended> {
        if let Some(signal) = signal {
            kill(Pid::from_raw(i32::try_from(self.child.id())?), signal).context("signalling a watcher")?;
        }
        wait::until("the watcher ends", DEADLINE, || !matches!(self.child.try_wait(), Ok(None)))?;
        let status = self.child.wait()?;
        for reader in self.readers.drain(..) {
            if reader.join().is_err() {
                bail!("a reader of the watcher's output panicked");
            }
        }
        Ok(Ended { lines: lines(&self.lines), said: lines(&self.said).join("\n"), code: status.code() })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // One that has ended already needs nothing.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
