//! `cargo xtask lint`: layout, lints and docs, with warnings denied, of both workspaces.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::compiler::Compiler;
use crate::{object, project, step};

/// What does not land. Each is put together here, or this file would be the first to be found.
const FORBIDDEN: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("dbg", "!(")];

/// A check, and what it is called.
type Check = (&'static str, fn() -> Result<()>);

pub(crate) fn run() -> Result<()> {
    let checks: [Check; 5] = [
        ("layout, by rustfmt", layout),
        ("words that do not land", forbidden_words),
        ("lints, by clippy", lints),
        ("lints of the packet program, by clippy", packet_lints),
        ("docs, by rustdoc", docs),
    ];
    // All of them are made, whatever the first finds: one round of mending is enough.
    let mut failed = Vec::new();
    for (name, check) in checks {
        step::say(name);
        if let Err(error) = check() {
            eprintln!("{error:#}");
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "not clean: {}", failed.join("; "));
    Ok(())
}

fn layout() -> Result<()> {
    let host = step::run(project::cargo().args(["fmt", "--check"]));
    let manifest = project::packet_crate().join("Cargo.toml");
    let packet = step::run(project::cargo().args(["fmt", "--check", "--manifest-path"]).arg(manifest));
    host.and(packet)
}

fn lints() -> Result<()> {
    step::run(project::cargo().args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-Dwarnings",
    ]))
}

/// The docs are for those who work here, so they are of private items too, and may point to them.
fn docs() -> Result<()> {
    let mut cargo = project::cargo();
    cargo.args(["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
    step::run(cargo.env("RUSTDOCFLAGS", "-Dwarnings -Arustdoc::private_intra_doc_links"))
}

/// Clippy over the packet program, if the compiler that builds it has one.
fn packet_lints() -> Result<()> {
    let compiler = Compiler::require()?;
    if !compiler.cargo().with_file_name("cargo-clippy").exists() {
        step::say("left out: the packet program's compiler has no clippy");
        return Ok(());
    }
    let directory = project::packet_crate();
    let mut cargo = compiler.packet_cargo(&directory);
    cargo.args([
        "clippy",
        "--quiet",
        "--release",
        "-Zbuild-std=core",
        "--target",
        object::TARGET,
        "--target-dir",
    ]);
    cargo.arg(directory.join("target")).args(["--", "-Dwarnings"]);
    step::run(&mut cargo)
}

fn forbidden_words() -> Result<()> {
    let mut files = Vec::new();
    collect(&project::root(), &mut files)?;
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        for (number, line) in text.lines().enumerate() {
            if FORBIDDEN.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    if !found.is_empty() {
        bail!("these do not land; an issue is their place:\n{}", found.join("\n"));
    }
    Ok(())
}

/// All Rust files below a directory, but not what cargo or git keep there.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in directory.read_dir().with_context(|| format!("reading {}", directory.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !path.is_symlink() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
