//! What the verifier says of the packet program: how much it had to look at, and how deep the stack goes.

use std::collections::BTreeMap;

use aya_obj::Object;
use aya_obj::generated::bpf_insn;

use super::load::{self, LoadError};

/// Register 10 is the frame pointer (`Documentation/bpf/standardization/instruction-set.rst`).
const FRAME_POINTER: u8 = 10;
/// `dst = src` and `dst += constant`, 64 bits wide.
const MOVE: u8 = 0xbf;
const ADD_CONSTANT: u8 = 0x07;

/// Loads the program, prints its figures, and leaves nothing behind.
pub fn print() -> Result<(), LoadError> {
    let ebpf = load::verify()?;
    let stacks = stack_bytes(load::object()?);
    for (name, program) in ebpf.programs() {
        let info = program.info().map_err(LoadError::Verifier)?;
        println!(
            "packet program {name}: {} instructions verified, {} bytes translated, {} bytes of stack",
            info.verified_instruction_count().unwrap_or(0),
            info.size_translated().unwrap_or(0),
            stacks.get(name).copied().unwrap_or(0),
        );
    }
    Ok(())
}

/// The deepest place below the frame pointer that each function names. Subprograms have frames of their own.
fn stack_bytes(object: &[u8]) -> BTreeMap<String, i32> {
    let Ok(object) = Object::parse(object) else {
        return BTreeMap::new();
    };
    object
        .functions
        .values()
        .map(|function| (function.name.clone(), deepest(&function.instructions)))
        .collect()
}

fn deepest(instructions: &[bpf_insn]) -> i32 {
    let direct = instructions
        .iter()
        .filter(|insn| insn.dst_reg() == FRAME_POINTER || insn.src_reg() == FRAME_POINTER)
        .map(|insn| i32::from(insn.off));
    let computed = instructions.windows(2).filter_map(|pair| match pair {
        [copy, add] if copy.code == MOVE && copy.src_reg() == FRAME_POINTER && add.code == ADD_CONSTANT => {
            Some(add.imm)
        }
        _ => None,
    });
    direct.chain(computed).min().unwrap_or(0).min(0).abs()
}
