//! The packet path while somebody watches: an entry that is put onto interfaces in the place of `lbxdp`, and what makes the
//! records. What is decided about a packet, and counted, is the same: both entries are `steer::steer`.
//!
//! An object of its own, beside the packet path's, whose stages and tables it uses: it is loaded when the first watcher comes.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(internal_features, reason = "the BPF target has no atomics but these")]

mod act;
#[expect(unsafe_code, reason = "the atomics the target lacks")]
mod atomic;
#[expect(unsafe_code, reason = "all packet pointers are here")]
mod frame;
#[expect(
    unsafe_code,
    dead_code,
    reason = "all map pointers and kernel helpers are here, those of stages too"
)]
mod maps;
#[expect(unsafe_code, reason = "the verifier knows functions by their exported names")]
mod parts;
#[expect(unsafe_code, reason = "the map pointers and kernel helpers of watching are here")]
mod watch_maps;
mod watched_frame;

use act::act;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lbxdp_common::{Reason, Verdict};
use lbxdp_common::steer::{self, World};
use lbxdp_common::watch;
use watched_frame::WatchedFrame;

/// What the entry ends with when a packet leaves: what was decided, which may have to be told before it is done.
type Sent = Verdict;

#[inline(always)]
fn sent(verdict: Verdict) -> Sent {
    verdict
}

/// The entry while somebody watches.
#[xdp(frags)]
#[inline(always)]
fn lbxdp_watched(context: XdpContext) -> u32 {
    let world = maps::Kernel::<true>;
    let Some(desk) = World::desk(&world) else {
        return act(Err(Reason::NotReady));
    };
    watch_maps::choose(context.ctx);
    let mut frame = WatchedFrame(frame::Packet(context));
    let decided = steer::steer(&mut frame, &world);
    maps::end(desk, &frame.0, decided)
}

/// Makes the record of a packet that is watched, and ends it as whoever decided about it has said.
#[xdp(frags)]
#[inline(always)]
fn report(context: XdpContext) -> u32 {
    let Some(outcome) = World::desk(&maps::Kernel::<false>).map(|desk| steer::Desk(desk).outcome()) else {
        return aya_ebpf::bindings::xdp_action::XDP_ABORTED;
    };
    let slots = watch::admit(&watch_maps::Kernel, outcome.mark().slots(), outcome);
    if slots != 0 {
        watch_maps::record(&frame::Packet(context), slots, outcome);
    }
    outcome.action()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Never reached: a program in which it could be does not load.
    loop {}
}
