//! The real server's decapsulator in the kernel. As in the packet path nothing is decided here: `decap` gets a real packet
//! and the real tables, and its answer becomes an action.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

#[expect(unsafe_code, reason = "all map pointers and kernel helpers are here")]
mod decap_maps;
#[expect(unsafe_code, reason = "all packet pointers are here")]
mod frame;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lbxdp_common::Fate;
use lbxdp_common::decap::{Refusal, decapsulate};

/// The entry. `frags`: frames of several buffers (jumbo) are welcome; all headers are in the first.
#[xdp(frags)]
fn decap(context: XdpContext) -> u32 {
    match decapsulate(frame::Packet(context), &decap_maps::Kernel) {
        Ok(tunnel) => {
            decap_maps::count_opened(tunnel);
            xdp_action::XDP_PASS
        }
        Err(Refusal::NotATunnel) => xdp_action::XDP_PASS,
        Err(refusal) => {
            decap_maps::count_refused(refusal);
            match refusal.fate() {
                Fate::Pass => xdp_action::XDP_PASS,
                Fate::Drop | Fate::Hold => xdp_action::XDP_DROP,
            }
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Never reached: a program in which it could be does not load.
    loop {}
}
