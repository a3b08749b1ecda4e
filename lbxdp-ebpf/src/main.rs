//! lbxdp's packet path in the kernel. Nothing is decided here: `steer` gets a real packet and the real maps, and its
//! answer becomes an action.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(internal_features, reason = "the BPF target has no atomics but these")]

mod act;
#[expect(unsafe_code, reason = "the atomics the target lacks")]
mod atomic;
#[expect(unsafe_code, reason = "all packet pointers are here")]
mod frame;
#[expect(unsafe_code, reason = "all map pointers and kernel helpers are here")]
mod maps;
#[expect(unsafe_code, reason = "the verifier knows functions by their exported names")]
mod parts;

use act::{act, leave, stay};
use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lbxdp_common::schedule::Pool;
use lbxdp_common::Verdict;
use lbxdp_common::steer::{self, Desk, Stage, World};
use lbxdp_common::table::WAYS;
use lbxdp_common::tend::{Errands, MAX_ERRANDS};
use lbxdp_common::walk::Walker;
use lbxdp_common::wire::Frame;

/// What an entry ends with when a packet leaves: its action, at once.
type Sent = u32;

#[inline(always)]
fn sent(verdict: Verdict) -> Sent {
    leave(verdict)
}

/// The entry. `frags`: frames of several buffers (jumbo) are welcome; all headers are in the first.
#[xdp(frags)]
#[inline(always)]
fn lbxdp(context: XdpContext) -> u32 {
    steer::steer(&mut frame::Packet(context), &maps::Kernel::<true>).unwrap_or_else(stay)
}

macro_rules! stages {
    ($( $name:ident = $stage:ident; )*) => {
        $(
            #[xdp(frags)]
            fn $name(context: XdpContext) -> u32 {
                maps::begin(&context);
                let (world, frame) = (maps::Kernel::<false>, &mut frame::Packet(context));
                let decided = Stage::$stage.run(&world, frame);
                let Some(desk) = World::desk(&world) else {
                    return act(decided);
                };
                let decided = steer::retagged(frame, Desk(desk), decided);
                maps::end(desk, frame, decided)
            }
        )*
    };
}

// Each is called as its stage; the daemon puts it into that one's slot.
stages! {
    v4 = V4;
    fresh_v4 = FreshV4;
    fresh_v6 = FreshV6;
    rare_v4 = RareV4;
    v6 = V6;
    rare_v6 = RareV6;
    carry = Carry;
    answer = Answer;
    fragment_v4 = FragmentV4;
    fragment_v6 = FragmentV6;
    tagged = Tagged;
    hold = Hold;
    error_v4 = ErrorV4;
    error_v6 = ErrorV6;
    error_back_v4 = ErrorBackV4;
    error_back_v6 = ErrorBackV6;
    tunnel_error_v4 = TunnelErrorV4;
    tunnel_error_v6 = TunnelErrorV6;
    tunnelled_v4 = TunnelledV4;
    tunnelled_v6 = TunnelledV6;
    request_v4 = RequestV4;
    request_v6 = RequestV6;
    back_v4 = BackV4;
    back_v6 = BackV6;
    reply_v4 = ReplyV4;
    reply_v6 = ReplyV6;
    back_piece_v4 = BackPieceV4;
    back_piece_v6 = BackPieceV6;
}

/// What time it is for [`lbxdp`]: the daemon runs this at its start to set its own clock. Never attached.
#[xdp(frags)]
fn clock(_: XdpContext) -> u32 {
    Pool::now(&maps::Kernel::<false>).0
}

/// Tends buckets of the connection table: the daemon lists them in `errands`, and the frame begins with how many. Never
/// attached. What is done here the daemon cannot leave half done, however it ends.
#[xdp(frags)]
fn tend(context: XdpContext) -> u32 {
    let buckets: u32 = Frame::read(&frame::Packet(context), 0).unwrap_or(0);
    maps::Kernel::<false>.repeat(buckets.min(MAX_ERRANDS) * WAYS as u32, &mut Errands);
    xdp_action::XDP_PASS
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Never reached: a program in which it could be does not load.
    loop {}
}
