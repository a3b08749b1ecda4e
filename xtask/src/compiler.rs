//! The compiler of the packet program: one that has the sources of `core`, as no BPF target ships it compiled.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::linker::NEWEST_LLVM;
use crate::{machine, packages, step};

/// The oldest compiler that has the atomics the packet program uses, in the shape it uses them.
const OLDEST: (u32, u32) = (1, 95);

/// What to type where nothing could be installed.
const RUSTUP_HELPS: &str = "no compiler for the packet program: run `rustup toolchain install stable --profile minimal --component rust-src` (rustup is at https://rustup.rs; Debian 12 and later also have `apt-get install rustc-web cargo-web rust-web-src`)";

/// Variables that would bend the packet program's build: set by the cargo that runs us, or meant for the host's code.
const OF_HOST: [&str; 6] = [
    "CARGO",
    "CARGO_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "LD_LIBRARY_PATH",
    "RUSTFLAGS",
];
const OF_HOST_PREFIXES: [&str; 7] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BUILD_RUST",
    "CARGO_BUILD_TARGET",
    "CARGO_PROFILE_",
    "RUSTC",
    "RUSTUP_TOOLCHAIN",
];

/// A toolchain that can build for BPF.
pub(crate) struct Compiler {
    /// The directory that has `bin/cargo` and `bin/rustc`.
    sysroot: PathBuf,
    /// What `rustc --version` calls itself, such as `1.96.0`.
    release: String,
    /// Major version of the LLVM it writes for: the linker's must not be older.
    pub(crate) llvm: u32,
}

impl Compiler {
    /// The first that will do of what is on this machine; if there is none, one is installed.
    pub(crate) fn require() -> Result<Self> {
        if let Some(name) = env::var_os("LBXDP_BPF_TOOLCHAIN") {
            let chosen = Self::of_rustup(&name).and_then(Self::check);
            return chosen.with_context(|| format!("LBXDP_BPF_TOOLCHAIN={}", name.display()));
        }
        let mut refused = Vec::new();
        for (name, candidate) in Self::candidates() {
            match candidate.and_then(Self::check) {
                Ok(compiler) => return Ok(compiler),
                Err(reason) => refused.push(format!("{name}: {reason:#}")),
            }
        }
        Self::install(&refused)
    }

    /// What may be on this machine, best first: a release before a nightly, whose unstable parts move. Each is looked at
    /// only when those before it will not do.
    fn candidates() -> impl Iterator<Item = (&'static str, Result<Self>)> {
        ["rustup's stable", "rustc on PATH", "rustup's nightly", "/usr/bin/rustc"].into_iter().map(|name| {
            let candidate = match name {
                "rustup's stable" => Self::of_rustup("stable".as_ref()),
                "rustup's nightly" => Self::of_rustup("nightly".as_ref()),
                "rustc on PATH" => Self::of_path(),
                path => Self::of_rustc(path.as_ref()),
            };
            (name, candidate)
        })
    }

    fn of_rustup(toolchain: &OsStr) -> Result<Self> {
        let mut command = Command::new("rustup");
        // A toolchain that is not there is not wanted: nothing is downloaded behind the operator's back.
        command.env("RUSTUP_AUTO_INSTALL", "0").arg("run").arg(toolchain).arg("rustc");
        // What rustup runs has a directory of its own: asking that is quicker than asking through rustup again.
        Self::of_rustc(&Self::sysroot(command)?.join("bin/rustc"))
    }

    fn of_path() -> Result<Self> {
        Self::of_rustc(&Self::sysroot(Command::new("rustc"))?.join("bin/rustc"))
    }

    fn sysroot(mut rustc: Command) -> Result<PathBuf> {
        let answer = step::read(rustc.env_remove("LD_LIBRARY_PATH").args(["--print", "sysroot"]))?;
        Ok(answer.trim().into())
    }

    fn of_rustc(rustc: &Path) -> Result<Self> {
        let sysroot = Self::sysroot(Command::new(rustc))?;
        Self::read(sysroot, &step::read(Command::new(rustc).env_remove("LD_LIBRARY_PATH").arg("-vV"))?)
    }

    /// Reads what a compiler says of itself.
    fn read(sysroot: PathBuf, answer: &str) -> Result<Self> {
        let field = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let release = field("release:").context("it names no release")?;
        let llvm = field("LLVM version:").and_then(|version| version.split('.').next());
        let llvm = llvm.and_then(|major| major.parse().ok()).context("it names no LLVM version")?;
        Ok(Self { sysroot, release: release.into(), llvm })
    }

    /// Only what can build the packet program passes.
    fn check(self) -> Result<Self> {
        let mut numbers = self.release.split('.').map_while(|number| number.parse::<u32>().ok());
        if let (Some(major), Some(minor)) = (numbers.next(), numbers.next())
            && (major, minor) < OLDEST
        {
            bail!("{} is older than {}.{}", self.release, OLDEST.0, OLDEST.1);
        }
        // The file by which cargo itself tells whether it can build `core`.
        if !self.sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").exists() {
            bail!("{} has no rust-src", self.release);
        }
        if self.llvm > NEWEST_LLVM {
            bail!("{} has LLVM {}, newer than bpf-linker knows", self.release, self.llvm);
        }
        if !self.cargo().exists() {
            bail!("{} has no cargo beside it", self.release);
        }
        Ok(self)
    }

    /// Gets one: Debian's newest compiler where there is apt, else the sources for rustup's; or says how to.
    fn install(refused: &[String]) -> Result<Self> {
        let why = "the packet program is built by a Rust compiler with the sources of core";
        step::say(format_args!("no compiler for the packet program yet; looked at {}", refused.join("; ")));
        if machine::is_root() && packages::is_offered("rustc-web") {
            packages::install(&["rustc-web", "cargo-web", "rust-web-src"], why)?;
            return Self::of_rustc("/usr/bin/rustc".as_ref()).and_then(Self::check).context(RUSTUP_HELPS);
        }
        if packages::find_program("rustup").is_some() {
            step::say(format_args!("adding rust-src to rustup's stable: {why}"));
            let mut rustup = Command::new("rustup");
            step::run(rustup.args(["component", "add", "rust-src", "--toolchain", "stable"]))
                .context(RUSTUP_HELPS)?;
            return Self::of_rustup("stable".as_ref()).and_then(Self::check).context(RUSTUP_HELPS);
        }
        Err(anyhow!("{why}, and there is none")).context(RUSTUP_HELPS)
    }

    pub(crate) fn cargo(&self) -> PathBuf {
        self.sysroot.join("bin/cargo")
    }

    pub(crate) fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    /// The compiler's own LLVM as a shared library: rustup's toolchains carry one, the distribution's do not.
    pub(crate) fn own_llvm(&self) -> Option<PathBuf> {
        let files = self.sysroot.join("lib").read_dir().ok()?.flatten().map(|entry| entry.path());
        files.into_iter().find(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libLLVM.so.") && name.contains("-rust-")
        })
    }

    /// The compiler's cargo, in the packet program's workspace, free of all that cargo or its user set for the host's.
    pub(crate) fn packet_cargo(&self, directory: &Path) -> Command {
        let mut command = Command::new(self.cargo());
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if OF_HOST.contains(&&*text) || OF_HOST_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command.current_dir(directory).env("RUSTC", self.rustc()).env("RUSTC_BOOTSTRAP", "1");
        command
    }
}

#[cfg(test)]
mod tests {
    use super::Compiler;

    #[test]
    fn a_compiler_is_read_from_its_own_words() {
        let answer =
            "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        let compiler = Compiler::read("/usr".into(), answer).unwrap();
        assert_eq!(compiler.rustc().to_str(), Some("/usr/bin/rustc"));
        assert_eq!((compiler.release.as_str(), compiler.llvm), ("1.96.0", 22));
    }

    #[test]
    fn a_compiler_that_is_too_old_or_too_new_is_refused() {
        for (release, llvm, reason) in [("1.63.0", 14, "older than"), ("1.96.0", 22, "rust-src")] {
            let compiler = Compiler { sysroot: "/nonexistent".into(), release: release.into(), llvm };
            let refusal = compiler.check().err().map(|error| error.to_string()).unwrap_or_default();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }
}
