//! What `lbxdp verify` says of the programs: how much the kernel's verifier looked at, and what became of them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command;

/// One program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub name: String,
    /// Instructions that the verifier went through, on all paths.
    pub verified: u32,
    /// Bytes of instructions that the kernel has after verifying.
    pub translated: u32,
    /// Bytes of machine code made of them; 0 without a compiler in the kernel.
    pub jited: u32,
    /// Bytes of stack, as the object has them.
    pub stack: u32,
}

/// Has the kernel verify a binary's programs; sorted by name.
pub fn of(binary: &Path) -> Result<Vec<Program>> {
    let answer = command::read(Command::new(binary).arg("verify"))?;
    let mut programs = answer.lines().map(read).collect::<Result<Vec<_>>>()?;
    ensure!(!programs.is_empty(), "`lbxdp verify` says nothing");
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(programs)
}

/// Reads a line.
fn read(line: &str) -> Result<Program> {
    let parse = || {
        let (name, figures) = line.strip_prefix("packet program ")?.split_once(": ")?;
        let figure = |what: &str| -> Option<u32> {
            figures.split(", ").find_map(|figure| figure.strip_suffix(what))?.trim().parse().ok()
        };
        Some(Program {
            name: name.into(),
            verified: figure("instructions verified")?,
            translated: figure("bytes translated")?,
            jited: figure("bytes of machine code")?,
            stack: figure("bytes of stack")?,
        })
    };
    parse().with_context(|| format!("`lbxdp verify` says what cannot be read: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_by_its_words() {
        let line = "packet program v6: 204671 instructions verified, 16744 bytes translated, 9123 bytes of machine code, 296 bytes of stack";
        let program =
            Program { name: "v6".into(), verified: 204_671, translated: 16_744, jited: 9123, stack: 296 };
        assert_eq!(read(line).unwrap(), program);
        assert!(read("packet program v6: 204671 instructions verified").is_err());
    }
}
