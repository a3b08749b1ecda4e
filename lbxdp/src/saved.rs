//! The wanted configuration on disk: a list of commands, a line each, that make it.
//!
//! Each command that was carried out is appended by one write; now and then the file is written anew, with no more lines
//! than are needed, and takes the old one's place in one step. So the file can be read at any moment, wherever the daemon
//! was killed; only its last line may be torn.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::cli::grammar::{Invocation, parse, print};
use crate::cli::marks;
use crate::cli::names::{Naming, Numbers};
use crate::cli::restore::arguments;
use crate::command::{Command, CommandError};
use crate::state::State;
use crate::sysctl::Setting;

/// The file is looked at anew when it has so many lines more than when it was last looked at, or twice as many.
const LINES_BETWEEN: usize = 1000;

/// Why a saved configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    #[error("cannot read the saved configuration {0}")]
    Read(PathBuf, #[source] io::Error),
    #[error(
        "{path}:{line}: {why}. Mend or delete this line of the saved configuration, or move the file away"
    )]
    Line { path: PathBuf, line: usize, why: String },
}

/// The file of one instance.
#[derive(Debug)]
pub struct Saved {
    path: PathBuf,
    /// `None` if what is on disk is not all: it is to be written anew.
    file: Option<File>,
    lines: usize,
    /// When so many lines are there, it is to be found out whether they are too many.
    look_at: usize,
    has_unsynced: bool,
    trouble: Option<String>,
}

/// The configuration that a file describes; `None` if there is no file.
pub fn read(path: &Path) -> Result<Option<State>, SavedError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SavedError::Read(path.into(), error)),
    };
    let mut state = State::default();
    // What stands behind the last newline was being written when the daemon, or the machine, died.
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if end < bytes.len() {
        tracing::warn!(file = %path.display(), "the last line of the saved configuration is torn: it does not count");
    }
    for (number, line) in bytes[..end].split(|byte| *byte == b'\n').enumerate() {
        let failed = |why| SavedError::Line { path: path.into(), line: number + 1, why };
        let line = std::str::from_utf8(line).map_err(|_| failed("not text".to_owned()))?;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let command = command(line).map_err(failed)?;
        command.carry_out(&mut state).map_err(|refusal: CommandError| failed(refusal.to_string()))?;
    }
    Ok(Some(state))
}

/// Deletes the file, if there is one.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The line of a command; `None` if it is not about the configuration.
fn line(command: &Command) -> Option<String> {
    match command {
        Command::Zero { .. } => None,
        _ => Some(print(command, &mut Naming::numeric()) + "\n"),
    }
}

/// The command of a line: ipvsadm's, or `set NAME=VALUE …` or `mark add …` as `lbxdp` takes them.
fn command(line: &str) -> Result<Command, String> {
    if let ["mark", rest @ ..] = &line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
        return marks::command(rest);
    }
    let words = arguments(line.as_bytes());
    if let [first, settings @ ..] = &words[..]
        && first == "set"
    {
        let settings = settings.iter().map(|words| words.parse::<Setting>());
        let settings = settings.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        return Ok(Command::Set { settings });
    }
    match parse(&words, "lbxdp", &Numbers) {
        Ok(Invocation::Change(command)) => Ok(command),
        Ok(_) => Err(format!("`{line}` changes no configuration")),
        Err(error) => Err(error.to_string().trim_end().to_owned()),
    }
}

/// The least commands that make a state, in an order that gives the same lists: a new server is put at the head.
fn commands(state: &State) -> impl Iterator<Item = Command> {
    let timeouts = state.timeouts;
    let timeouts = Command::SetTimeouts { tcp: timeouts.tcp, tcp_fin: timeouts.tcp_fin, udp: timeouts.udp };
    let settings: Vec<Setting> = state.sysctls.changed().collect();
    let settings = (!settings.is_empty()).then_some(Command::Set { settings });
    let daemons = state.daemons.all();
    let daemons = daemons.map(|(role, daemon)| Command::StartDaemon { role, daemon: daemon.clone() });
    let services = state.services.iter().flat_map(|(key, service)| {
        let key = *key;
        let servers = service.servers.iter().rev();
        let servers = servers.map(move |server| Command::AddServer { service: key, server: *server });
        std::iter::once(Command::AddService { service: key, options: service.options }).chain(servers)
    });
    let marks = state.marks.iter().map(|rule| Command::AddMark { rule: rule.clone() });
    std::iter::once(timeouts).chain(settings).chain(marks).chain(daemons).chain(services)
}

impl Saved {
    /// A file that is still to be written by [`Saved::rewrite`].
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, lines: 0, look_at: 0, has_unsynced: false, trouble: None }
    }

    /// Why the configuration cannot be saved; `None` if it is.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Saves a command that has just led to `state`. Nothing is said against the command if that fails: what forwards is
    /// more than what would, and a full disk is a bad reason to be unable to take a server out.
    pub fn append(&mut self, command: &Command, state: &State) {
        let Some(line) = line(command) else {
            return;
        };
        let appended = self.file.as_mut().map(|file| file.write_all(line.as_bytes()));
        match appended {
            Some(Ok(())) => {
                self.has_unsynced = true;
                self.lines += 1;
                if self.lines >= self.look_at {
                    self.look(state);
                }
            }
            Some(Err(error)) => self.fail(&error),
            // It is tried again every second.
            None => {}
        }
    }

    /// Writes the file anew if half of its lines are not needed.
    fn look(&mut self, state: &State) {
        let needed = commands(state).count();
        if self.lines > 2 * needed + LINES_BETWEEN {
            self.rewrite(state);
        } else {
            self.look_at = self.lines + LINES_BETWEEN.max(self.lines);
        }
    }

    /// Tries again what failed; and hands out a file whose last lines are not on the disk yet.
    pub fn catch_up(&mut self, state: &State) -> Option<File> {
        if self.file.is_none() {
            self.rewrite(state);
        }
        std::mem::take(&mut self.has_unsynced).then(|| self.file.as_ref()?.try_clone().ok()).flatten()
    }

    /// Writes the file anew: `state` and no more.
    pub fn rewrite(&mut self, state: &State) {
        self.file = None;
        match self.try_rewrite(state) {
            Ok((file, lines)) => {
                if self.trouble.take().is_some() {
                    tracing::info!(file = %self.path.display(), "the configuration is saved again");
                }
                (self.file, self.lines, self.has_unsynced) = (Some(file), lines, false);
                self.look_at = lines + LINES_BETWEEN.max(lines);
            }
            Err(error) => self.fail(&error),
        }
    }

    fn try_rewrite(&self, state: &State) -> io::Result<(File, usize)> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
        let mut text = String::from(
            "# The configuration that lbxdp is to have, as commands. `lbxdp run` writes this file, and reads it at its start.\n",
        );
        let mut lines = 0;
        for line in commands(state).filter_map(|command| line(&command)) {
            text += &line;
            lines += 1;
        }
        let new = self.path.with_extension("state.new");
        remove(&new)?;
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        File::open(directory)?.sync_all()?;
        Ok((file, lines))
    }

    fn fail(&mut self, error: &io::Error) {
        self.file = None;
        let trouble = error.to_string();
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::error!(
                file = %self.path.display(),
                error = trouble,
                "the configuration is NOT SAVED; it is in force, and saving it is tried again every second"
            );
        }
        self.trouble = Some(trouble);
    }
}

#[cfg(test)]
mod tests;
