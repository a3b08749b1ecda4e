//! What the verifier says of the packet program, of watching and of the decapsulator: how much it had to look at, and how deep the stack goes.

use std::collections::BTreeMap;

use aya::Ebpf;
use aya::programs::ProgramError;
use aya_obj::Object;
use aya_obj::generated::bpf_insn;

use super::load;
use crate::decap;

/// Register 10 is the frame pointer (`Documentation/bpf/standardization/instruction-set.rst`).
const FRAME_POINTER: u8 = 10;
/// `dst = src` and `dst += constant`, 64 bits wide.
const MOVE: u8 = 0xbf;
const ADD_CONSTANT: u8 = 0x07;

/// Loads the programs, prints their figures, and leaves nothing behind.
pub fn print() -> Result<(), Box<dyn std::error::Error>> {
    print_of(&load::verify()?, load::object()?)?;
    // A packet program that was given may have come without the others.
    if let Ok(object) = load::watch_object() {
        print_of(&load::verify_watched()?, object)?;
    }
    if let Ok(object) = decap::object() {
        print_of(&decap::verify()?, object)?;
    }
    Ok(())
}

fn print_of(ebpf: &Ebpf, object: &[u8]) -> Result<(), ProgramError> {
    let stacks = stack_bytes(object);
    for (name, program) in ebpf.programs() {
        let info = program.info()?;
        println!(
            "packet program {name}: {} instructions verified, {} bytes translated, {} bytes of machine code, {} bytes of stack",
            info.verified_instruction_count().unwrap_or(0),
            info.size_translated().unwrap_or(0),
            info.size_jitted(),
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
