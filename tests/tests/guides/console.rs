//! A terminal on a host, as on a machine of its own: what is typed goes to one shell, which sees its own files in /etc, /run and
//! /usr/local/sbin, its own BPF file system, and its own processes alone.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lbxdp_tests::{Namespace, daemon, wait};

use crate::book::has_all;

/// How long a command may take. The verifier reads all programs of a daemon that starts, on a machine that may be busy.
const DEADLINE: Duration = Duration::from_mins(1);

/// Everything below a directory of the host's own; what is mounted is seen in here alone.
const MACHINE: &str = r#"
mount -t sysfs sysfs /sys && mount -t bpf bpf /sys/fs/bpf
cp -a /etc "$1/etc" && mount --bind "$1/etc" /etc
for place in /run/lbxdp /var/lib/lbxdp /usr/local/sbin; do
    mkdir -p "$place" "$1$place" && mount --bind "$1$place" "$place"
done
cd "$1/home" && exec bash --norc --noprofile
"#;

/// The line behind what a command has printed; its exit code follows.
const DONE: &str = "--- done, with";

/// An open terminal. All that was started in it ends with it.
pub(crate) struct Console {
    host: String,
    shell: Child,
    typing: Option<ChildStdin>,
    screen: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    files: PathBuf,
    /// So much of the screen has been looked at.
    looked: usize,
}

impl Console {
    /// Opens one; `lbxdp` and `packaging` lie where it begins.
    pub(crate) fn open(namespace: &Namespace) -> Result<Self> {
        let files = std::env::temp_dir().join(namespace.name());
        let home = files.join("home");
        fs::create_dir_all(&home).context("making a directory for a host")?;
        symlink(daemon::binary()?, home.join("lbxdp"))?;
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging"), home.join("packaging"))?;
        let mut command = namespace.command("unshare");
        command.args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]);
        command.args(["bash", "-e", "-c", MACHINE, "bash"]).arg(&files);
        command.env_remove("LBXDP_INSTANCE").env("HOME", &home);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let mut shell = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("opening a terminal")?;
        let typing = shell.stdin.take();
        let printed = shell.stdout.take().context("a shell without a screen")?;
        let screen = Arc::new(Mutex::new(String::new()));
        let reader = thread::spawn({
            let screen = Arc::clone(&screen);
            move || read_all(printed, &screen)
        });
        let host = namespace.name().to_owned();
        let mut console = Self { host, shell, typing, screen, reader: Some(reader), files, looked: 0 };
        console.enter("exec 2>&1")?;
        Ok(console)
    }

    /// Types a command, waits for its end, and gives what has appeared on the screen.
    pub(crate) fn enter(&mut self, command: &str) -> Result<String> {
        let (printed, code) = self.answer(command)?;
        if code != "0" {
            bail!("`{command}` on {} has ended with {code}:\n{printed}", self.host);
        }
        Ok(printed)
    }

    /// What a command prints, and its exit code.
    pub(crate) fn answer(&mut self, command: &str) -> Result<(String, String)> {
        let typing = self.typing.as_mut().context("the terminal is closed")?;
        // Behind a line of its own: a command may end in a comment, or in the background.
        writeln!(typing, "{command}\nprintf '\\n%s %d\\n' '{DONE}' $?").context("typing")?;
        let mut found = None;
        let waited = wait::until(&format!("`{command}` ends"), DEADLINE, || {
            let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
            let new = screen.get(self.looked..).unwrap_or_default();
            found = new.split_once(DONE).and_then(|(printed, rest)| {
                let (code, _) = rest.split_once('\n')?;
                Some((
                    printed.to_owned(),
                    code.trim().to_owned(),
                    printed.len() + DONE.len() + code.len() + 1,
                ))
            });
            found.is_some()
        });
        waited.with_context(|| format!("on {}:\n{}", self.host, self.unseen()))?;
        let (printed, code, length) = found.unwrap_or_default();
        self.looked += length;
        Ok((printed, code))
    }

    /// Waits until something has appeared behind what was looked at.
    pub(crate) fn wait_for(&self, before: &str, seen: &[String]) -> Result<()> {
        let all = || before.to_owned() + &self.unseen();
        let waited = wait::until("it is seen", DEADLINE, || has_all(&all(), seen).is_ok());
        waited.with_context(|| format!("{seen:?} on {}, where there is:\n{}", self.host, all()))
    }

    fn unseen(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        screen.get(self.looked..).unwrap_or_default().to_owned()
    }

    /// A file as this host sees it, below one of the directories that are its own.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.files.join(path.trim_start_matches('/'))
    }
}

fn read_all(mut printed: impl Read, screen: &Mutex<String>) {
    let mut bytes = [0; 4096];
    let mut pending = Vec::new();
    while let Ok(length @ 1..) = printed.read(&mut bytes) {
        pending.extend_from_slice(bytes.get(..length).unwrap_or_default());
        // A character may come in two pieces.
        let whole = match std::str::from_utf8(&pending) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = pending.split_off(whole);
        let text = String::from_utf8_lossy(&pending).into_owned();
        screen.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
        pending = rest;
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        drop(self.typing.take());
        // The shell is the first process of its own: with it all others end.
        let ends = wait::until("the shell ends", Duration::from_secs(5), || {
            !matches!(self.shell.try_wait(), Ok(None))
        });
        if ends.is_err() {
            let _ = self.shell.kill();
        }
        let _ = self.shell.wait();
        drop(self.reader.take().map(JoinHandle::join));
        let _ = fs::remove_dir_all(&self.files);
    }
}
