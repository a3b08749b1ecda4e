//! The packet program as a BPF object: built here, or given.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::compiler::Compiler;
use crate::{linker, project, step};

/// The variable that names the object for `lbxdp/build.rs` and the tests, and by which a ready one is given to us.
pub(crate) const VARIABLE: &str = "LBXDP_BPF_OBJECT";

pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// The object's absolute path; it is built first unless one is given.
pub(crate) fn require() -> Result<PathBuf> {
    if let Some(given) = env::var_os(VARIABLE) {
        let path = PathBuf::from(given);
        return path.canonicalize().with_context(|| format!("{VARIABLE}={}", path.display()));
    }
    let compiler = Compiler::require()?;
    let linker = linker::require(&compiler)?;
    let directory = project::packet_crate();
    let target = directory.join("target");
    let flags = [
        format!("-Clinker={}", linker.display()),
        // Types and lines: maps are declared by them, and the verifier's complaints name our source.
        "-Clink-arg=--btf".into(),
        "-Cdebuginfo=2".into(),
        // The first with compare-and-swap; every kernel we run on knows it.
        "-Ctarget-cpu=v3".into(),
        // Packets are not aligned, and the machine does not mind: words instead of bytes and shifts.
        "-Ctarget-feature=+allows-misaligned-mem-access".into(),
    ];
    let mut cargo = compiler.packet_cargo(&directory);
    // Always in release: an unoptimised program keeps its panics, and the verifier refuses it.
    cargo.args(["build", "--release", "-Zbuild-std=core", "--target", TARGET, "--target-dir"]);
    cargo.arg(&target).env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    step::say("building the packet program");
    build(&mut cargo)?;
    Ok(target.join(TARGET).join("release/lbxdp"))
}

/// Runs the build and shows what it says, except the warning about a flag that is meant and has no other spelling.
fn build(cargo: &mut Command) -> Result<()> {
    let mut child = cargo.stderr(Stdio::piped()).spawn().context("starting the packet program's cargo")?;
    let mut is_known_warning = false;
    for line in child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).lines()) {
        let line = line.context("reading what cargo says")?;
        if line.starts_with("warning: ") && line.contains("feature specified for `-Ctarget-feature`") {
            is_known_warning = true;
        }
        // Every crate has that warning, so one that counts a single warning has no other.
        let is_its_count = line.starts_with("warning: `") && line.contains("generated 1 warning");
        if !is_known_warning && !is_its_count {
            eprintln!("{line}");
        }
        if line.is_empty() {
            is_known_warning = false;
        }
    }
    if !child.wait().context("waiting for cargo")?.success() {
        bail!("the packet program was not built: the reason is above");
    }
    Ok(())
}
