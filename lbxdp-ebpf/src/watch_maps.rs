//! The maps of watching, and the helpers that fill them.

use core::arch::asm;
use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::{
    bpf_get_prandom_u32, bpf_jiffies64, bpf_ktime_get_ns, bpf_loop, bpf_ringbuf_output, bpf_xdp_load_bytes,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray, RingBuf};
use aya_ebpf::programs::XdpContext;
use lbxdp_common::Ticks;
use lbxdp_common::steer::{Desk, World};
use lbxdp_common::walk::{Step, Walker};
use lbxdp_common::watch::{
    self, HEAD_BYTES, Mark, Outcome, Seen, TALLIES, Tally, WATCHED_RING_BYTES, WATCHERS, WISH_CELLS, Watched,
    Watches, tally_all,
};
use lbxdp_common::wire::Frame;

use crate::atomic::Row;
use crate::frame::Packet;
use crate::maps;

/// What the watchers want ([`lbxdp_common::watch::Wish`]).
#[map(name = "wishes")]
static WISHES: Array<[u64; WISH_CELLS]> = Array::with_max_entries(WATCHERS, 0);
/// What became of the packets that a watcher's filter fits.
#[map(name = "tallies")]
static COUNTS: PerCpuArray<[u64; TALLIES]> = PerCpuArray::with_max_entries(WATCHERS, 0);
/// The record that a CPU is making.
#[map(name = "record")]
static RECORD: PerCpuArray<Watched> = PerCpuArray::with_max_entries(1, 0);
/// Records for the daemon.
#[map(name = "watched")]
static WATCHED: RingBuf = RingBuf::with_byte_size(WATCHED_RING_BYTES, 0);

/// The real tables.
pub(crate) struct Kernel;

impl Walker for Kernel {
    #[inline(always)]
    fn zero(&self) -> u32 {
        maps::Kernel::<true>.zero()
    }

    #[inline(always)]
    fn repeat<S: Step<Self>>(&self, times: u32, steps: &mut S) {
        // SAFETY: `steps` outlives the call, which is the only user of it meanwhile, and `step` takes it for what it is.
        unsafe { bpf_loop(times, step::<S> as *mut c_void, (&raw mut *steps).cast(), 0) };
    }
}

/// One step of a walk, as `bpf_loop` wants it: 0 to go on, 1 to stop.
unsafe extern "C" fn step<S: Step<Kernel>>(index: u32, steps: *mut c_void) -> i64 {
    // SAFETY: `repeat` passes the walk it got, and calls nobody else.
    let steps = unsafe { &mut *steps.cast::<S>() };
    i64::from(steps.step(&Kernel, index).is_break())
}

impl Watches for Kernel {
    type Row = Row;

    #[inline(always)]
    fn wish(&self, slot: u32) -> Option<Row> {
        // SAFETY: the map's values are rows of `WISH_CELLS` cells.
        WISHES.get_ptr_mut(slot).map(|cells| unsafe { Row::new(cells.cast()) })
    }

    #[inline(always)]
    fn tally(&self, slot: u32, tally: Tally) {
        if let Some(counts) = COUNTS.get_ptr_mut(slot) {
            let mut place = u64::from(tally.raw());
            // SAFETY: nothing but the number is touched; it stays as it is. Where it comes from memory the verifier does not know
            // that it is small, and the compiler would leave out what it knows to change nothing.
            unsafe {
                asm!("{place} &= {mask}", place = inlateout(reg) place, mask = const TALLIES - 1,
                    options(pure, nomem, nostack, preserves_flags));
            }
            // SAFETY: the row is this CPU's own, has a place for each `Tally`, and an XDP program is not interrupted by another one.
            unsafe { *counts.cast::<u64>().add(place as usize) += 1 };
        }
    }

    #[inline(always)]
    fn now(&self) -> Ticks {
        // SAFETY: a helper without arguments.
        Ticks(unsafe { bpf_jiffies64() } as u32)
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_prandom_u32() }
    }
}

/// Copies the beginning of a frame as it is; how many bytes the frame has, 0 if nothing could be copied.
///
/// # Safety
/// `to` points to `HEAD_BYTES` bytes of a map's value.
#[inline(always)]
unsafe fn copy(frame: &Packet, to: *mut u8) -> u32 {
    let bytes = frame.bytes();
    if bytes == 0 {
        return 0;
    }
    let mut last = u64::from(bytes.min(HEAD_BYTES as u32) - 1);
    // SAFETY: nothing but the number is touched; it stays as it is. The verifier sees now that it is small, which the
    // comparison above does not tell it: the compiler compares another number than the one it uses.
    unsafe {
        asm!("{last} &= {mask}", last = inlateout(reg) last, mask = const HEAD_BYTES - 1,
            options(pure, nomem, nostack, preserves_flags));
    }
    // SAFETY: the context is the program's own, and there is room for so many bytes.
    let copied = unsafe { bpf_xdp_load_bytes(frame.0.as_ptr().cast(), 0, to.cast(), last as u32 + 1) };
    if copied == 0 { bytes } else { 0 }
}

/// Copies the head of a packet that was chosen, before anything of it is changed.
#[inline(always)]
pub(crate) fn copy_head(frame: &Packet, mark: Mark) -> Mark {
    let Some(record) = RECORD.get_ptr_mut(0) else {
        return mark;
    };
    // SAFETY: the row is this CPU's own, as in `tally`.
    unsafe {
        (*record).bytes = copy(frame, (&raw mut (*record).head).cast());
    }
    mark.copied()
}

/// Chooses, for each watcher, whether a packet that has just come is one to be watched, and notes it on the desk: what stood
/// there before was another packet's.
///
/// A function that the verifier looks at by itself: what it chooses is then but a number for the entry, which it would look at
/// anew for every way through here.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn choose(context: *mut xdp_md) -> u64 {
    let frame = Packet(XdpContext::new(context));
    let Some(desk) = World::desk(&maps::Kernel::<true>).map(Desk) else {
        return 0;
    };
    let ifindex = World::ingress_ifindex(&maps::Kernel::<true>);
    let mark = watch::choose(&Kernel, Seen::of(&frame), ifindex);
    desk.set_mark(if mark.is_at_once() { copy_head(&frame, mark) } else { mark });
    0
}

/// Gives the daemon the record of a packet.
#[inline(always)]
pub(crate) fn record(frame: &Packet, slots: u32, outcome: Outcome) {
    let Some(record) = RECORD.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the row is this CPU's own, as in `tally`; the context is the program's own.
    let is_full = unsafe {
        if !outcome.mark().is_copied() {
            // The entry has decided: it did not send the frame, or nobody wants to see what it sends. So it is as it came.
            (*record).bytes = copy(frame, (&raw mut (*record).head).cast());
        }
        (*record).bytes_after =
            if outcome.is_changed() { copy(frame, (&raw mut (*record).head_after).cast()) } else { 0 };
        (*record).nanos = bpf_ktime_get_ns();
        (*record).outcome = outcome.0;
        (*record).slots = slots;
        (*record).ifindex = (*frame.0.ctx).ingress_ifindex;
        bpf_ringbuf_output(
            (&raw const WATCHED).cast_mut().cast::<c_void>(),
            record.cast(),
            size_of::<Watched>() as u64,
            0,
        ) != 0
    };
    tally_all(&Kernel, slots, if is_full { Tally::Lost } else { Tally::Shown });
}
