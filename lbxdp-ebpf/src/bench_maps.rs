//! The maps of the bench's programs, and the helpers they call.

use aya_ebpf::helpers::generated::bpf_redirect;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;
use lbxdp_common::drive::Orders;

/// The one row of orders.
#[map(name = "orders")]
static ORDERS: Array<Orders> = Array::with_max_entries(1, 0);
/// How many packets were driven.
#[map(name = "driven")]
static DRIVEN: Array<u32> = Array::with_max_entries(1, 0);
/// The program under test.
#[map(name = "target")]
static TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// How many frames the sink got, and how many bytes these had.
#[map(name = "arrived")]
static ARRIVED: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
pub(crate) fn orders() -> Option<&'static Orders> {
    ORDERS.get(0)
}

/// The number of this packet. An object is driven by one CPU at a time: a second one loads the object again.
#[inline(always)]
pub(crate) fn packet_number() -> Option<u32> {
    let next = DRIVEN.get_ptr_mut(0)?;
    // SAFETY: the pointer is to a live map value, and nobody else writes to it meanwhile.
    unsafe {
        let number = next.read();
        next.write(number.wrapping_add(1));
        Some(number)
    }
}

/// Goes on as the program under test; comes back only if there is none.
#[inline(always)]
pub(crate) fn run_target(context: &XdpContext) {
    // SAFETY: the context is the program's own, and nothing here waits to be dropped.
    unsafe { TARGET.tail_call(context, 0) };
}

/// Sends the frame out by an interface.
#[inline(always)]
pub(crate) fn out_by(ifindex: u32) -> u32 {
    // SAFETY: a helper of numbers.
    unsafe { bpf_redirect(ifindex, 0) as u32 }
}

/// Counts a frame that has arrived.
#[inline(always)]
pub(crate) fn count(bytes: u32) {
    if let Some(counted) = ARRIVED.get_ptr_mut(0) {
        // SAFETY: the pointer is to this CPU's own value, and XDP programs do not interrupt each other.
        let [frames, all_bytes] = unsafe { &mut *counted };
        *frames += 1;
        *all_bytes += u64::from(bytes);
    }
}
