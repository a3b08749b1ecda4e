//! The decapsulator's maps, and what `decap` sees through them.

use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::Key as Prefix;
use aya_ebpf::maps::{Array, LpmTrie, PerCpuArray};
use aya_ebpf::programs::XdpContext;
use lbxdp_common::decap::{MAX_SOURCES, Refusal, Sender, Settings, Source, Tables, Tunnel, parts};
use lbxdp_common::walk::{Step, Walker};

use crate::frame::Packet;

/// The one row of settings.
#[map(name = "decap_settings")]
static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
/// Where tunnel packets may come from.
#[map(name = "decap_sources")]
static SOURCES: LpmTrie<Source, u64> = LpmTrie::with_max_entries(MAX_SOURCES, 0);
/// How many packets were taken out of tunnels, by [`Tunnel`].
#[map(name = "decap_opened")]
static OPENED: PerCpuArray<u64> = PerCpuArray::with_max_entries(Tunnel::COUNT as u32, 0);
/// How many tunnel packets were not, by [`Refusal`].
#[map(name = "decap_refused")]
static REFUSED: PerCpuArray<u64> = PerCpuArray::with_max_entries(Refusal::COUNT as u32, 0);

/// The real tables.
pub(crate) struct Kernel;

/// A prefix that lies on the stack as its stores want it: the verifier of no kernel takes one that is not aligned there.
#[repr(C, align(8))]
struct Key {
    bits: u32,
    /// In network order.
    family: u32,
    address: [u64; 2],
}

impl Walker for Kernel {
    #[inline(always)]
    fn zero(&self) -> u32 {
        // The verifier sees only that it was loaded.
        SETTINGS.get(0).map_or(0, |settings| settings.zero)
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

impl Tables<Packet> for Kernel {
    #[inline(always)]
    fn settings(&self) -> Option<Settings> {
        SETTINGS.get(0).copied()
    }

    #[inline(always)]
    fn is_allowed(&self, sender: Sender) -> bool {
        let bits = Source::FAMILY_BITS + sender.bits();
        let key = Key { bits, family: sender.family.to_be(), address: sender.address };
        // SAFETY: both are the number of bits, the family and the address, without padding, and the bytes of the second
        // may have any value and alignment.
        let prefix = unsafe { &*(&raw const key).cast::<Prefix<Source>>() };
        SOURCES.get(prefix).is_some()
    }

    #[inline(always)]
    fn is_gue_port(&self, port: u32) -> u64 {
        is_gue_port(port)
    }

    #[inline(always)]
    fn checksum(&self, frame: &Packet, offset: u32, bytes: u32) -> u64 {
        checksum(frame.0.as_ptr().cast(), offset, bytes)
    }
}

// Functions with a name of their own are verified once, for all arguments there can be.

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_gue_port(port: u32) -> u64 {
    parts::is_gue_port::<Packet, _>(&Kernel, port)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn checksum(context: *mut xdp_md, offset: u32, bytes: u32) -> u64 {
    parts::checksum(&Kernel, &Packet(XdpContext::new(context)), offset, bytes)
}

/// Counts a packet that was taken out of a tunnel.
#[inline(always)]
pub(crate) fn count_opened(tunnel: Tunnel) {
    count(&OPENED, tunnel.raw());
}

/// Counts a tunnel packet that was not.
#[inline(always)]
pub(crate) fn count_refused(refusal: Refusal) {
    count(&REFUSED, refusal.raw());
}

#[inline(always)]
fn count(counters: &PerCpuArray<u64>, row: u32) {
    if let Some(count) = counters.get_ptr_mut(row) {
        // SAFETY: the row is this CPU's own, and an XDP program is not interrupted by another one.
        unsafe { *count += 1 };
    }
}

/// The kernel asks for the licence of whoever calls its GPL helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
