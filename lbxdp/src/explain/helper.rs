//! What the kernel tells programs alone: the time in its ticks, and the way to a client as `bpf_fib_lookup` has it. Asked by
//! programs of a few instructions, that are run once and never attached.

use std::io;

use lbxdp_common::Ticks;
use lbxdp_common::address::Address;
use lbxdp_common::client_hop::WayOut;
use zerocopy::{FromBytes, IntoBytes};

use crate::tables::system::run_once;

/// Helpers, by their numbers (`__BPF_FUNC_MAPPER`).
const FIB_LOOKUP: i32 = 69;
const JIFFIES64: i32 = 118;

/// Cells of a `bpf_fib_lookup`.
const QUESTION: usize = 8;
/// Families of addresses, as Linux numbers them.
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;

/// An instruction: opcode, destination and source register, offset, constant.
const fn instruction(code: u8, to: u8, from: u8, offset: i16, constant: i32) -> u64 {
    let ([low, high], [a, b, c, d]) = (offset.to_le_bytes(), constant.to_le_bytes());
    u64::from_le_bytes([code, from << 4 | to, low, high, a, b, c, d])
}

const fn load32(to: u8, from: u8, offset: i16) -> u64 {
    instruction(0x61, to, from, offset, 0)
}

const fn load64(to: u8, from: u8, offset: i16) -> u64 {
    instruction(0x79, to, from, offset, 0)
}

const fn store64(to: u8, offset: i16, from: u8) -> u64 {
    instruction(0x7b, to, from, offset, 0)
}

const fn copy(to: u8, from: u8) -> u64 {
    instruction(0xbf, to, from, 0, 0)
}

const fn add(to: u8, constant: i32) -> u64 {
    instruction(0x07, to, 0, 0, constant)
}

const fn put(to: u8, constant: i32) -> u64 {
    instruction(0xb7, to, 0, 0, constant)
}

const fn call(helper: i32) -> u64 {
    instruction(0x85, 0, 0, 0, helper)
}

const EXIT: u64 = instruction(0x95, 0, 0, 0, 0);
/// The frame pointer.
const FRAME: u8 = 10;

/// `return bpf_jiffies64();`
const CLOCK: [u64; 2] = [call(JIFFIES64), EXIT];

/// Copies a question from the frame to the stack, asks, copies the answer back, and returns what the helper said.
fn lookup() -> Vec<u64> {
    let bytes = i32::try_from(8 * QUESTION).unwrap_or(0);
    let cells = || (0..QUESTION).filter_map(|cell| i16::try_from(8 * cell).ok());
    let stack = |offset: i16| offset - i16::try_from(8 * QUESTION).unwrap_or(0);
    let asked: Vec<u64> = cells().flat_map(|at| [load64(3, 7, at), store64(FRAME, stack(at), 3)]).collect();
    let answered: Vec<u64> =
        cells().flat_map(|at| [load64(3, FRAME, stack(at)), store64(7, at, 3)]).collect();
    // r6: the context, r7: the frame, r8: its end, r9: the answer.
    let begin = [copy(6, 1), load32(7, 1, 0), load32(8, 1, 4), copy(2, 7), add(2, bytes)];
    let ask =
        [copy(1, 6), copy(2, FRAME), add(2, -bytes), put(3, bytes), put(4, 0), call(FIB_LOOKUP), copy(9, 0)];
    let end = [copy(0, 9), EXIT];
    let middle = [&asked[..], &ask, &answered, &end].concat();
    // if r2 > r8 goto the end, where a frame that is too short would be told from any answer
    let is_short = instruction(0x2d, 2, 8, i16::try_from(middle.len()).unwrap_or(0), 0);
    [&begin[..], &[is_short], &middle, &[put(0, -1), EXIT]].concat()
}

/// The time.
pub(super) fn now() -> io::Result<Ticks> {
    run_once(&CLOCK, &mut [0; 14]).map(Ticks)
}

/// The way of a packet that came in by an interface, from one address to another, and the longest packet that fits; or why
/// there is none (`BPF_FIB_LKUP_RET_…`).
pub(super) fn route<A: Address>(ifindex: u32, from: A, to: A) -> io::Result<Result<(WayOut, u32), u32>> {
    let [[from, from_end], [to, to_end]]: [[u64; 2]; 2] = zerocopy::transmute!([from.wide(), to.wide()]);
    let family = if A::IS_V6 { AF_INET6 } else { AF_INET };
    let mut question = [family, ifindex.into(), from, from_end, to, to_end, 0, 0];
    let failure = run_once(&lookup(), question.as_mut_bytes())?;
    if failure != 0 {
        return Ok(Err(failure));
    }
    // Behind the addresses stand the VLAN's protocol and number, then the MAC addresses, source first.
    let bytes = question.as_bytes();
    let at = |from: usize| bytes.get(from..from + 6).and_then(|mac| <[u8; 6]>::read_from_bytes(mac).ok());
    let [source, destination] = [at(52), at(58)].map(Option::unwrap_or_default);
    let [_, ifindex, ..] = question;
    let [.., mtu] = <[u16; 4]>::read_from_bytes(question[0].as_bytes()).unwrap_or_default();
    let way = WayOut {
        macs: zerocopy::transmute!([destination, source]),
        ifindex: u32::try_from(ifindex & u64::from(u32::MAX)).unwrap_or(0),
    };
    Ok(Ok((way, mtu.into())))
}
