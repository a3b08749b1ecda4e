//! A real terminal, with a program at its other end: what stands on its screen, keys that are pressed, its size and its modes.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use vt100::Parser;

use crate::wait;

/// How long a program may take to draw what it has to.
const DEADLINE: Duration = Duration::from_secs(30);

/// A terminal that has nothing else but a program in it. The program is ended when this is dropped.
pub struct Terminal {
    child: Child,
    keys: File,
    screen: Arc<Mutex<Parser>>,
    reader: Option<JoinHandle<()>>,
    /// The end that the program has: kept open, so that its modes can be seen after the program's end.
    far: Option<File>,
    device: PathBuf,
    before: Termios,
}

impl Terminal {
    /// A terminal of a size, and a program that has it as its own. What the command says of its input and output is not heeded.
    pub fn open(program: &Command, lines: u16, columns: u16) -> Result<Self> {
        // Not openpty(3): whatever is started meanwhile would inherit both ends, and keep the terminal open.
        let near = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
        grantpt(&near).and_then(|()| unlockpt(&near)).context("opening a terminal")?;
        let device = PathBuf::from(ptsname_r(&near)?);
        let far = File::options().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(&device);
        let far = far.with_context(|| format!("opening {}", device.display()))?;
        stty(&device, lines, columns)?;
        let before = tcgetattr(&far).context("the modes of a terminal")?;
        // A session of its own, whose terminal this is: so it gets the signals of it, and no other terminal is its own.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program.get_program()).args(program.get_args());
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let end = || far.try_clone().map(Stdio::from);
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        let child = command.spawn().context("starting a program in a terminal")?;
        let screen = Arc::new(Mutex::new(Parser::new(lines, columns, 0)));
        let mut near = File::from(OwnedFd::from(near));
        let keys = near.try_clone()?;
        let shown = Arc::clone(&screen);
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The end is an error here: nobody has the other end any more.
            while let Ok(length @ 1..) = near.read(&mut bytes) {
                lock(&shown).process(&bytes[..length]);
            }
        });
        Ok(Self { child, keys, screen, reader: Some(reader), far: Some(far), device, before })
    }

    /// What stands on the screen: its lines.
    pub fn screen(&self) -> String {
        lock(&self.screen).screen().contents()
    }

    /// The program has put aside what was on the screen before.
    pub fn is_put_aside(&self) -> bool {
        lock(&self.screen).screen().alternate_screen()
    }

    /// The cursor is not to be seen.
    pub fn has_no_cursor(&self) -> bool {
        lock(&self.screen).screen().hide_cursor()
    }

    /// Whether anything has a colour.
    pub fn is_coloured(&self) -> bool {
        let parser = lock(&self.screen);
        let (lines, columns) = parser.screen().size();
        let mut cells = (0..lines).flat_map(|line| (0..columns).map(move |column| (line, column)));
        cells.any(|(line, column)| {
            let cell = parser.screen().cell(line, column);
            cell.is_some_and(|cell| cell.fgcolor() != vt100::Color::Default)
        })
    }

    /// Waits until the screen is as it is to be.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&str) -> bool) -> Result<()> {
        wait::until(what, DEADLINE, || is_so(&self.screen()))
            .with_context(|| format!("on the screen stands:\n{}", self.screen()))
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes()).context("pressing keys")
    }

    /// Makes it larger or smaller.
    pub fn resize(&self, lines: u16, columns: u16) -> Result<()> {
        lock(&self.screen).screen_mut().set_size(lines, columns);
        stty(&self.device, lines, columns)
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal).context("signalling a program")
    }

    /// Waits until the program has ended.
    pub fn wait_for_end(&mut self) -> Result<ExitStatus> {
        wait::until_some("the program ends", DEADLINE, || self.child.try_wait().ok().flatten())
            .with_context(|| format!("on the screen stands:\n{}", self.screen()))
    }

    /// The same, and what was before is as it was: modes, screen, cursor.
    pub fn wait_for_a_clean_end(&mut self) -> Result<(Option<i32>, Option<Signal>)> {
        let status = self.wait_for_end()?;
        ensure!(self.has_modes_as_before()?, "the terminal's modes are not as they were");
        self.wait_for("what was before is back", |_| !self.is_put_aside() && !self.has_no_cursor())?;
        let signal = status.signal().map(Signal::try_from).transpose()?;
        Ok((status.code(), signal))
    }

    /// The modes are those that it had before the program.
    pub fn has_modes_as_before(&self) -> Result<bool> {
        let far = self.far.as_ref().context("a terminal that is open")?;
        let now = tcgetattr(far.as_fd()).context("the modes of a terminal")?;
        let modes = |modes: &Termios| {
            let Termios { input_flags, output_flags, control_flags, local_flags, control_chars, .. } =
                modes.clone();
            (input_flags, output_flags, control_flags, local_flags, control_chars)
        };
        Ok(modes(&now) == modes(&self.before))
    }
}

/// Gives a terminal its size; who has it is told.
fn stty(device: &Path, lines: u16, columns: u16) -> Result<()> {
    let (lines, columns) = (lines.to_string(), columns.to_string());
    let mut stty = Command::new("stty");
    stty.arg("-F").arg(device).args(["rows", &lines, "cols", &columns]);
    ensure!(stty.status().context("starting stty")?.success(), "stty cannot give a terminal its size");
    Ok(())
}

fn lock(screen: &Mutex<Parser>) -> MutexGuard<'_, Parser> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.far.take());
        if self.reader.take().is_some_and(|reader| reader.join().is_err()) {
            eprintln!("the reader of a terminal panicked");
        }
    }
}
