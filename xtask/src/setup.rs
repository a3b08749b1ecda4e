//! `cargo xtask setup`: finds or installs all that any verb needs, and says what was found.

use anyhow::Result;

use crate::compiler::Compiler;
use crate::{linker, machine, step};

pub(crate) fn run() -> Result<()> {
    let compiler = Compiler::require()?;
    step::say(format_args!(
        "compiler of the packet program: {} (LLVM {})",
        compiler.rustc().display(),
        compiler.llvm
    ));
    let linker = linker::require(&compiler)?;
    step::say(format_args!("its linker: {}", linker.display()));
    if machine::is_root() {
        machine::require_lab("setup")?;
        machine::require_test_programs()?;
        step::say(
            "tests and demo: kernel, bpffs, ip, ethtool, curl, ldirectord, ifconfig and prometheus are there",
        );
    } else {
        machine::find_browser()?;
        step::say("tests and demo need root, so what they need was not looked at");
    }
    Ok(())
}
