//! `cargo xtask size`: how large the programs are, against a file that is committed. Nothing here is timed, so it means the
//! same on every machine.
//!
//! The stack is in the object and is compared everywhere. What the verifier goes through and what the kernel makes of the
//! instructions differs from kernel to kernel: that is compared where the file has figures of this line of kernels.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use lbxdp_tests::programs::{self, Program};

use crate::{build, machine, project, step};

/// By how many parts of a hundred a figure may grow.
const TOLERANCE: u32 = 10;

const HEAD: &str = "\
# How large the programs in the kernel are. `cargo xtask test` fails if one grows by more than a tenth; then
# `cargo xtask size --update REASON` writes this file. All but the stack is of one line of kernels.
";

/// Compare the sizes of the programs with the committed ones
#[derive(Args)]
pub(crate) struct Options {
    /// Commit to the sizes of today, for a reason that will be read
    #[arg(long, value_name = "REASON")]
    update: Option<String>,
}

/// The committed figures.
#[derive(Debug, Default, PartialEq)]
struct Committed {
    /// Why they are as they are, the latest first.
    reasons: Vec<String>,
    /// Of each line of kernels.
    kernels: Vec<(String, Vec<Program>)>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    machine::require_lab("size")?;
    let built = build::build()?;
    let programs = programs::of(&built.binary)?;
    let kernel = machine::kernel_line()?;
    match &options.update {
        Some(reason) => {
            // The first time there is none yet.
            let is_there = file().exists();
            let mut committed = if is_there { Committed::of_this_tree()? } else { Committed::default() };
            committed.update(&kernel, programs, reason);
            fs::write(file(), committed.to_string())
                .with_context(|| format!("writing {}", file().display()))?;
            step::say(format_args!("{} has the sizes of today", file().display()));
            Ok(())
        }
        None => compare(&Committed::of_this_tree()?, &kernel, &programs),
    }
}

/// Compares the programs of a binary with the committed figures.
pub(crate) fn check(binary: &Path) -> Result<()> {
    compare(&Committed::of_this_tree()?, &machine::kernel_line()?, &programs::of(binary)?)
}

fn compare(committed: &Committed, kernel: &str, programs: &[Program]) -> Result<()> {
    if committed.of_kernel(kernel).is_none() {
        step::say(format_args!(
            "only the stack is compared: there are no sizes for {kernel} (`cargo xtask size --update REASON` adds them)"
        ));
    }
    let complaints = committed.complaints(kernel, programs);
    if !complaints.is_empty() {
        bail!(
            "the programs are not as large as {} says:\n  {}\nIf that must be, say why: cargo xtask size --update \"REASON\", and commit the file",
            file().display(),
            complaints.join("\n  ")
        );
    }
    step::say(format_args!("{} programs are no larger than committed", programs.len()));
    Ok(())
}

fn file() -> PathBuf {
    project::packet_crate().join("size.txt")
}

impl Committed {
    fn of_this_tree() -> Result<Self> {
        let text = fs::read_to_string(file()).with_context(|| format!("reading {}", file().display()))?;
        Self::read(&text).with_context(|| format!("{} cannot be read", file().display()))
    }

    fn read(text: &str) -> Result<Self> {
        let mut committed = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (&words[..], committed.kernels.last_mut()) {
                (["reason", ..], _) => committed.reasons.push(words.get(1..).unwrap_or_default().join(" ")),
                (["kernel", kernel, ..], _) => committed.kernels.push(((*kernel).into(), Vec::new())),
                ([name, verified, translated, jited, stack], Some((_, programs))) => programs.push(Program {
                    name: (*name).into(),
                    verified: verified.parse().with_context(|| line.to_owned())?,
                    translated: translated.parse().with_context(|| line.to_owned())?,
                    jited: jited.parse().with_context(|| line.to_owned())?,
                    stack: stack.parse().with_context(|| line.to_owned())?,
                }),
                _ => bail!("what is this line: {line}"),
            }
        }
        Ok(committed)
    }

    fn of_kernel(&self, kernel: &str) -> Option<&[Program]> {
        self.kernels.iter().find(|(name, _)| name == kernel).map(|(_, programs)| programs.as_slice())
    }

    fn update(&mut self, kernel: &str, programs: Vec<Program>, reason: &str) {
        self.reasons.insert(0, reason.split_whitespace().collect::<Vec<_>>().join(" "));
        self.kernels.retain(|(name, _)| name != kernel);
        self.kernels.insert(0, (kernel.into(), programs));
    }

    /// What is not as committed: programs that have grown too much, are new, or are gone.
    fn complaints(&self, kernel: &str, programs: &[Program]) -> Vec<String> {
        // The stack is the same everywhere, so any kernel's figures will do, and the latest are the first.
        let of_kernel = self.of_kernel(kernel);
        let Some(known) = of_kernel.or_else(|| self.kernels.first().map(|(_, programs)| programs.as_slice()))
        else {
            return vec!["there are no sizes at all".into()];
        };
        let mut complaints = Vec::new();
        for program in programs {
            let Some(before) = known.iter().find(|known| known.name == program.name) else {
                complaints.push(format!("{} is new", program.name));
                continue;
            };
            let figures = [
                ("instructions verified", before.verified, program.verified, of_kernel.is_some()),
                ("bytes translated", before.translated, program.translated, of_kernel.is_some()),
                ("bytes of machine code", before.jited, program.jited, of_kernel.is_some()),
                ("bytes of stack", before.stack, program.stack, true),
            ];
            for (what, before, now, _) in
                figures.into_iter().filter(|(_, before, now, is_meant)| *is_meant && has_grown(*before, *now))
            {
                complaints.push(format!("{}: {now} {what}, {before} committed", program.name));
            }
        }
        let gone = known.iter().filter(|known| programs.iter().all(|program| program.name != known.name));
        complaints.extend(gone.map(|program| format!("{} is gone", program.name)));
        complaints
    }
}

/// Whether a figure has grown by more than the tolerance.
fn has_grown(before: u32, now: u32) -> bool {
    u64::from(now) * 100 > u64::from(before) * u64::from(100 + TOLERANCE)
}

impl fmt::Display for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        f.write_char('\n')?;
        for reason in &self.reasons {
            writeln!(f, "reason {reason}")?;
        }
        for (kernel, programs) in &self.kernels {
            writeln!(f, "\nkernel {kernel}")?;
            writeln!(
                f,
                "# {:<18} {:>10} {:>12} {:>14} {:>8}",
                "program", "verified", "translated", "machine code", "stack"
            )?;
            for Program { name, verified, translated, jited, stack } in programs {
                writeln!(f, "{name:<20} {verified:>10} {translated:>12} {jited:>14} {stack:>8}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, verified: u32, stack: u32) -> Program {
        Program { name: name.into(), verified, translated: 2000, jited: 1000, stack }
    }

    fn committed() -> Committed {
        let mut committed = Committed::default();
        committed.update("6.18", vec![program("v6", 1000, 100), program("tend", 10, 0)], "the first ones");
        committed
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let mut committed = committed();
        committed.update("6.1", vec![program("v6", 1500, 100)], "an older kernel too");
        assert_eq!(Committed::read(&committed.to_string()).unwrap(), committed);
        assert!(Committed::read("v6 1 2 3 4").is_err());
    }

    #[test]
    fn growth_by_more_than_a_tenth_is_refused_and_less_is_not() {
        let complaints = |verified, stack| {
            committed().complaints("6.18", &[program("v6", verified, stack), program("tend", 10, 0)])
        };
        assert_eq!(complaints(1100, 110), Vec::<String>::new());
        assert_eq!(complaints(500, 8), Vec::<String>::new());
        assert_eq!(complaints(1101, 100), ["v6: 1101 instructions verified, 1000 committed"]);
        assert_eq!(complaints(1000, 111), ["v6: 111 bytes of stack, 100 committed"]);
    }

    #[test]
    fn on_another_kernel_only_the_stack_is_compared() {
        let complaints = committed().complaints("6.1", &[program("v6", 9999, 111), program("tend", 10, 0)]);
        assert_eq!(complaints, ["v6: 111 bytes of stack, 100 committed"]);
    }

    #[test]
    fn programs_that_come_or_go_are_named() {
        let complaints = committed().complaints("6.18", &[program("v6", 1000, 100), program("other", 1, 0)]);
        assert_eq!(complaints, ["other is new", "tend is gone"]);
    }
}
