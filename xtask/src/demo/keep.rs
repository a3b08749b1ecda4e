//! A demo that stays: its servers and its director live in a process of their own, in the background.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::{Read, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lbxdp_tests::{Label, Legs, leftovers, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, dup2_stderr, dup2_stdout, setsid};

use super::interrupt::{Interrupt, on_signal};
use super::paint::Paint;
use super::story::Story;

/// The hidden verb of the process in the background. `remove` knows it by this word.
const HOST_VERB: &str = "demo-host";

/// How long a demo may take to put itself away.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub(crate) struct HostOptions {
    /// The binary to show
    #[arg(long)]
    binary: PathBuf,
    #[arg(long)]
    two_legs: bool,
    #[arg(long)]
    colours: bool,
}

/// Runs the demo in a process that outlives this one, and shows what it tells.
pub(crate) fn start(binary: &Path, legs: Legs, paint: Paint) -> Result<()> {
    let mut command = Command::new(env::current_exe().context("finding this program's own file")?);
    command.arg(HOST_VERB).arg("--binary").arg(binary);
    if legs == Legs::Two {
        command.arg("--two-legs");
    }
    if paint.has_colours() {
        command.arg("--colours");
    }
    let mut host =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting the demo's host")?;
    let process = Pid::from_raw(i32::try_from(host.id())?);
    // It has a session of its own, which Ctrl-C here does not reach.
    on_signal(move || {
        if let Err(error) = kill(process, Signal::SIGTERM) {
            eprintln!("ending the demo's host: {error}");
        }
    })?;
    if let Some(told) = host.stdout.take() {
        relay(told).context("showing what the demo tells")?;
    }
    // It has let go of its output: the demo stands, or has failed, and then its end is near.
    let ended = host.try_wait().context("looking after the demo's host")?;
    let standing = labels().iter().any(|label| label.process() == host.id());
    match ended {
        None if standing => Ok(()),
        _ => bail!("the demo does not stand ({})", host.wait().context("waiting for the demo's host")?),
    }
}

/// Copies as it comes: steps are to be seen when they are taken.
fn relay(mut told: impl Read) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = told.read(&mut buffer)?;
        let Some(text) = buffer.get(..length).filter(|text| !text.is_empty()) else { return Ok(()) };
        stdout().write_all(text)?;
        stdout().flush()?;
    }
}

/// The process in the background: tells the story, lets go of the terminal, and stands until it is told to end.
pub(crate) fn host(options: &HostOptions) -> Result<()> {
    setsid().context("leaving the terminal's session")?;
    let interrupt = Interrupt::catch()?;
    let legs = if options.two_legs { Legs::Two } else { Legs::One };
    let story = Story::begin(&options.binary, legs, Paint::new(options.colours), interrupt)?;
    story.tell()?;
    story.say_how_to_enter(&options.binary);
    let nowhere = File::options().write(true).open("/dev/null").context("opening /dev/null")?;
    stdout().flush()?;
    dup2_stdout(&nowhere).context("letting go of the output")?;
    dup2_stderr(&nowhere).context("letting go of the output")?;
    story.stand()
}

/// Ends every demo that stands.
pub(crate) fn remove() -> Result<()> {
    let processes: BTreeSet<u32> =
        labels().iter().map(Label::process).filter(|process| is_host(*process)).collect();
    if processes.is_empty() {
        println!("No demo is standing.");
    }
    for process in processes {
        kill(Pid::from_raw(i32::try_from(process)?), Signal::SIGTERM).context("ending the demo's host")?;
        wait::until("the demo is removed", DEADLINE, || {
            labels().iter().all(|label| label.process() != process)
        })?;
        println!("Removed the demo of process {process}.");
    }
    leftovers::remove()
}

/// The labels of all namespaces there are.
fn labels() -> Vec<Label> {
    leftovers::namespaces().iter().filter_map(|name| Label::of(name)).collect()
}

/// Whether a process is a demo's host: its number may have gone to another since.
fn is_host(process: u32) -> bool {
    let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).nth(1) == Some(HOST_VERB.as_bytes())
}
