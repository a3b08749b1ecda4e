//! A virtual machine that runs one command as root under another kernel, and counts instructions as time.
//!
//! It sees the host's files, read-only, with a layer of memory over them: whatever is installed here can be run there, and
//! nothing that is written there comes back, but what lies in [`SHARE`]. Hardware's virtualization is not needed: qemu
//! translates the instructions, one processor's, and counts them. Its clocks go by that count, a nanosecond each.

mod archive;
mod kernel;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lbxdp_tests::{Label, wait};

use archive::Archive;
pub(crate) use kernel::Kernel;

/// Where the guest has the one directory that it shares with the host.
pub(crate) const SHARE: &str = "/run/share";

/// What the guest does first, in the kernel's initial file system: it makes its root from the host's.
const INIT: &str = include_str!("init.sh");
/// What it does then, there.
const START: &str = include_str!("start.sh");

/// What it needs before it can load modules from a file system.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"];

/// A `rep` counts once a repetition: without these two features the kernel copies by eight bytes and not by one, which is
/// nearer to what a processor does.
const PROCESSOR: &str = "max,-erms,-fsrm";

/// As on any Debian; and no time is lost on clocks that are not there.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable random.trust_cpu=on";

const MEMORY_MIB: u32 = 2048;

/// What a program that needs libraries asks for.
const LINKER: &[u8] = b"/lib64/ld-linux-x86-64.so.2";

/// How long the guest may be at work. Translated instructions are some hundred times slower than the processor's.
const DEADLINE: Duration = Duration::from_hours(1);

/// How much of its console is shown when it has died.
const LAST_LINES: usize = 25;

/// The files that serve one run, gone when this is dropped.
pub(crate) struct Guest {
    directory: PathBuf,
}

impl Guest {
    pub(crate) fn new() -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("{}-guest", Label::unique()));
        fs::create_dir_all(directory.join("share"))
            .with_context(|| format!("making {}", directory.display()))?;
        Ok(Self { directory })
    }

    /// What the guest has as [`SHARE`].
    pub(crate) fn share(&self) -> PathBuf {
        self.directory.join("share")
    }

    /// Starts the machine, runs a command there with its arguments and variables, and waits until both have ended. What the
    /// command prints is printed here.
    pub(crate) fn run(&self, kernel: &Kernel, command: &Command) -> Result<()> {
        let share = self.share();
        let write = |name: &str, text: &str| {
            let file = share.join(name);
            fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
        };
        write("start", START)?;
        write("command", &script(command)?)?;
        let initial = self.directory.join("initial");
        fs::write(&initial, initial_files(kernel)?).context("writing the guest's first files")?;
        let status = Machine::start(&self.qemu(kernel, &initial))?.wait()?;
        match fs::read_to_string(share.join("code")) {
            Ok(code) => ensure!(code.trim() == "0", "the command in the guest failed ({})", code.trim()),
            Err(_) => bail!("the guest died ({status}); its console ends:\n{}", self.console()),
        }
        Ok(())
    }

    fn qemu(&self, kernel: &Kernel, initial: &Path) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-smp", "1"]);
        qemu.args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-rtc", "clock=vm"]);
        qemu.args(["-cpu", PROCESSOR, "-m", &MEMORY_MIB.to_string()]);
        qemu.arg("-kernel")
            .arg(kernel.image())
            .arg("-initrd")
            .arg(initial)
            .args(["-append", KERNEL_ARGUMENTS]);
        qemu.arg("-serial").arg(format!("file:{}", self.directory.join("console").display()));
        qemu.args(["-device", "virtio-serial-pci", "-chardev", "stdio,id=output"]);
        qemu.args(["-device", "virtserialport,chardev=output,name=output"]);
        for (tag, directory, more) in [
            ("host", Path::new("/"), ",readonly=on"),
            ("modules", &kernel.modules(), ",readonly=on"),
            ("share", &self.share(), ""),
        ] {
            let shared = directory.display();
            qemu.arg("-virtfs").arg(format!(
                "local,path={shared},mount_tag={tag},id={tag},security_model=none,multidevs=remap{more}"
            ));
        }
        qemu
    }

    /// The end of what its kernel has said.
    fn console(&self) -> String {
        let said = fs::read(self.directory.join("console")).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        lines.split_at(lines.len().saturating_sub(LAST_LINES)).1.join("\n")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("removing {}: {error}", self.directory.display());
        }
    }
}

/// qemu, ended when this is dropped.
struct Machine(Child);

impl Machine {
    fn start(qemu: &Command) -> Result<Self> {
        let mut command = Command::new(qemu.get_program());
        // Its input stays open, and empty: at an end of it qemu would close the port that the guest writes to.
        let child = command.args(qemu.get_args()).stdin(Stdio::piped()).spawn().context("starting qemu")?;
        Ok(Self(child))
    }

    fn wait(mut self) -> Result<ExitStatus> {
        wait::until_some("the guest's work ends", DEADLINE, || self.0.try_wait().transpose())?
            .context("waiting for qemu")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // One that has ended is no failure.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The initial file system: busybox, the modules, and the script.
fn initial_files(kernel: &Kernel) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["bin", "modules", "proc", "dev", "sys", "host", "layer", "root"] {
        archive.directory(directory);
    }
    let busybox = fs::read("/bin/busybox").context("reading /bin/busybox (Debian: busybox-static)")?;
    ensure!(
        !names(&busybox, LINKER),
        "/bin/busybox needs libraries, which are not there yet: install busybox-static"
    );
    archive.program("bin/busybox", &busybox);
    archive.program("init", INIT.as_bytes());
    let modules = kernel.with_dependencies(&MODULES)?;
    // The order in which they are loaded is that of their names.
    for (number, module) in modules.iter().enumerate() {
        archive.program(&format!("modules/{number:02}"), &kernel::module(module)?);
    }
    Ok(archive.finish())
}

/// Whether some bytes are in a file.
fn names(file: &[u8], text: &[u8]) -> bool {
    file.windows(text.len()).any(|window| window == text)
}

/// The script that runs a command.
fn script(command: &Command) -> Result<String> {
    let mut script = String::new();
    for (name, value) in command.get_envs() {
        let (name, value) =
            (name.to_str().context("a variable with a strange name")?, value.unwrap_or_default());
        writeln!(script, "export {name}={}", quoted(value)?)?;
    }
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted);
    writeln!(script, "exec {}", words.collect::<Result<Vec<_>>>()?.join(" "))?;
    Ok(script)
}

/// As the shell takes it for one word.
fn quoted(word: &OsStr) -> Result<String> {
    let word = word.to_str().with_context(|| format!("{} is not UTF-8", word.display()))?;
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_is_given_words_as_they_are() {
        let mut command = Command::new("/bin/printf");
        command.args(["[%s]", "it's", "$HOME *"]).env("SOME", "a b");
        let script = script(&command).unwrap();
        assert!(script.starts_with("export SOME='a b'\n"), "{script}");
        let said = Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
        assert_eq!(String::from_utf8(said).unwrap(), "[it's][$HOME *]");
    }

    #[test]
    fn the_files_of_a_run_are_gone_with_it() {
        let guest = Guest::new().unwrap();
        let share = guest.share();
        assert!(share.is_dir());
        drop(guest);
        assert!(!share.exists());
    }
}
