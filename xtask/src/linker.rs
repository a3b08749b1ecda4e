//! bpf-linker, which makes one BPF object of what the compiler writes. It reads LLVM's bitcode, and an older LLVM cannot
//! read a newer one's: so its LLVM must be at least as new as the compiler's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::compiler::Compiler;
use crate::{packages, project, step};

const VERSION: &str = "0.13.0";

/// The newest LLVM that this bpf-linker can be built with.
pub(crate) const NEWEST_LLVM: u32 = 23;

/// The linker for a compiler: the project's own, or one on PATH that is new enough; else it is installed.
pub(crate) fn require(compiler: &Compiler) -> Result<PathBuf> {
    let own = project::tools()?.join("bin/bpf-linker");
    let known = [Some(own.clone()), packages::find_program("bpf-linker")];
    let fits = |file: &PathBuf| llvm_of(file).is_some_and(|llvm| llvm >= compiler.llvm);
    if let Some(linker) = known.into_iter().flatten().find(fits) {
        return Ok(linker);
    }
    install(compiler)?;
    if !fits(&own) {
        bail!("{} was built, but not with LLVM {}", own.display(), compiler.llvm);
    }
    Ok(own)
}

/// Major version of the LLVM in a linker, if it can be told: `bpf-linker --version` does not say.
fn llvm_of(linker: &Path) -> Option<u32> {
    if !linker.exists() {
        return None;
    }
    let libraries = step::read(Command::new("ldd").arg(linker)).unwrap_or_default();
    if let Some(line) = libraries.lines().find(|line| line.contains("libLLVM")) {
        // Its LLVM may have gone since, with the toolchain it belonged to.
        return if line.contains("not found") { None } else { number_after(line, "libLLVM") };
    }
    // A static one has LLVM inside, and there the words by which LLVM signs bitcode.
    let pattern = r"LLVM[0-9]+\.[0-9]+\.[0-9]+";
    let signature = step::read(Command::new("grep").args(["-aoE", "-m1", pattern]).arg(linker)).ok()?;
    number_after(&signature, "LLVM")
}

/// The first number after a word.
fn number_after(text: &str, word: &str) -> Option<u32> {
    let rest = &text[text.find(word)? + word.len()..];
    let digits = rest.trim_start_matches(|character: char| !character.is_ascii_digit());
    digits.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

fn install(compiler: &Compiler) -> Result<()> {
    let llvm = compiler.llvm;
    let prefix = match compiler.own_llvm() {
        Some(library) => prefix_of(&library)?,
        None => distribution_llvm(llvm)?,
    };
    step::say(format_args!(
        "building bpf-linker {VERSION} with LLVM {llvm} into target/tools, once: it links the packet program (about a minute)"
    ));
    let mut cargo = project::cargo();
    cargo.args(["install", "bpf-linker", "--locked", "--force", "--quiet", "--version", VERSION]);
    cargo.args(["--no-default-features", "--features", &format!("llvm-{llvm}")]);
    cargo.arg("--root").arg(project::tools()?).env("LLVM_PREFIX", prefix);
    step::run(&mut cargo)
}

/// A directory in which the compiler's own LLVM has the name that bpf-linker's build looks for. It must stay: the linker
/// loads its LLVM from there.
fn prefix_of(library: &Path) -> Result<PathBuf> {
    let prefix = project::tools()?.join("llvm-of-rustc");
    let directory = prefix.join("lib");
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("clearing {}", directory.display()))?;
    }
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    for name in [library.file_name().unwrap_or_default(), "libLLVM.so".as_ref()] {
        let link = directory.join(name);
        symlink(library, &link).with_context(|| format!("linking {}", link.display()))?;
    }
    Ok(prefix)
}

/// The distribution's LLVM with what is needed to build against it, installed if it is not there.
fn distribution_llvm(llvm: u32) -> Result<PathBuf> {
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    let is_there = || prefix.join("bin/llvm-config").exists() && prefix.join("lib/libLLVM.so").exists();
    if !is_there() {
        let [dev, polly] = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
        packages::install(
            &[&dev, &polly, "libzstd-dev", "zlib1g-dev", "libxml2-dev"],
            "bpf-linker is built with the compiler's LLVM",
        )?;
    }
    if !is_there() {
        bail!("{dev} left no LLVM at {}", prefix.display(), dev = format_args!("llvm-{llvm}-dev"));
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests {
    use super::number_after;

    #[test]
    fn the_llvm_of_a_library_is_read_from_its_name() {
        for (line, llvm) in [
            ("\tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib/libLLVM.so.22.1 (0x00007f33f2200000)", Some(22)),
            ("\tlibLLVM-22.so.1 => /usr/lib/x86_64-linux-gnu/libLLVM-22.so.1", Some(22)),
            (
                "\tlibLLVM.so.21.1-rust-1.90.0-stable => /root/lib/libLLVM.so.21.1-rust-1.90.0-stable",
                Some(21),
            ),
            ("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6", None),
        ] {
            assert_eq!(number_after(line, "libLLVM"), llvm, "{line}");
        }
        assert_eq!(number_after("LLVM22.1.8", "LLVM"), Some(22));
    }
}
