//! What `cargo xtask bench` needs in the kernel: drivers, which make a frame new and hand it to the program under test; null
//! programs, which do the least that a director could do; a source of live frames and a sink that counts them.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

#[expect(unsafe_code, reason = "all map pointers and kernel helpers are here")]
mod bench_maps;
#[expect(unsafe_code, reason = "all packet pointers are here")]
mod frame;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use bench_maps::{count, orders, out_by, packet_number, run_target};
use frame::Packet;
use lbxdp_common::drive::{self, Layout, RepliesV4, RepliesV6, RequestsV4, RequestsV6};
use lbxdp_common::wire::Frame;

/// MAC addresses that are written into a frame: to a server, from a director.
const MACS: [u8; 12] = [2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 1];

/// The types of frames, as they stand there.
const IPV4: [u8; 2] = [8, 0];
const IPV6: [u8; 2] = [0x86, 0xdd];

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Makes the frame the next flow's; `None` if the bench gave orders that cannot be carried out.
#[inline(always)]
fn renew<L: Layout>(frame: &mut Packet) -> Option<()> {
    let orders = orders()?;
    let bytes = frame.bytes();
    drive::restore::<L, _>(frame, bytes)?;
    drive::write::<L, _>(frame, orders, orders.flow(packet_number()?))
}

/// Makes the frame the next flow's, and goes on as the program under test.
#[inline(always)]
fn drive<L: Layout>(context: XdpContext) -> u32 {
    let mut frame = Packet(context);
    if renew::<L>(&mut frame).is_some() {
        run_target(&frame.0);
    }
    // No program under test goes on here: if there were one, nobody would come back.
    xdp_action::XDP_ABORTED
}

#[xdp(frags)]
fn requests_v4(context: XdpContext) -> u32 {
    drive::<RequestsV4>(context)
}

#[xdp(frags)]
fn replies_v4(context: XdpContext) -> u32 {
    drive::<RepliesV4>(context)
}

#[xdp(frags)]
fn requests_v6(context: XdpContext) -> u32 {
    drive::<RequestsV6>(context)
}

#[xdp(frags)]
fn replies_v6(context: XdpContext) -> u32 {
    drive::<RepliesV6>(context)
}

/// Makes the frame the next flow's, and sends it.
#[inline(always)]
fn send<L: Layout>(context: XdpContext) -> u32 {
    match (renew::<L>(&mut Packet(context)), orders()) {
        (Some(()), Some(orders)) => out_by(orders.ifindex),
        _ => xdp_action::XDP_ABORTED,
    }
}

#[xdp(frags)]
fn source_v4(context: XdpContext) -> u32 {
    send::<RequestsV4>(context)
}

#[xdp(frags)]
fn source_v6(context: XdpContext) -> u32 {
    send::<RequestsV6>(context)
}

#[xdp(frags)]
fn source_replies_v4(context: XdpContext) -> u32 {
    send::<RepliesV4>(context)
}

#[xdp(frags)]
fn source_replies_v6(context: XdpContext) -> u32 {
    send::<RepliesV6>(context)
}

/// Counts what comes in, and drops it.
#[xdp(frags)]
fn sink(context: XdpContext) -> u32 {
    count(Packet(context).bytes());
    xdp_action::XDP_DROP
}

/// Lets the kernel's own network stack have the frame.
#[xdp(frags)]
fn null_pass(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Nothing but the answer: run by a driver, it costs what the driver costs.
#[xdp(frags)]
fn null_tx(_: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// What is least: a look at the headers up to the ports, and new MAC addresses.
#[xdp(frags)]
fn null_rewrite(context: XdpContext) -> u32 {
    let mut frame = Packet(context);
    match looked_at(&frame).and_then(|()| frame.write(0, MACS)) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_PASS,
    }
}

/// `None` if the packet is not one of TCP or UDP, without IPv4 options.
#[inline(always)]
fn looked_at(frame: &Packet) -> Option<()> {
    let (header, protocol) = match frame.read::<[u8; 2]>(12)? {
        IPV4 if frame.read::<u8>(14)? == 0x45 => (20, frame.read::<u8>(23)?),
        IPV6 => (40, frame.read::<u8>(20)?),
        _ => return None,
    };
    frame.read::<u32>(14 + header)?;
    (protocol == TCP || protocol == UDP).then_some(())
}

/// What is least for a tunnel: an outer header of IPv4 with constant addresses.
#[xdp(frags)]
fn null_tunnel_v4(context: XdpContext) -> u32 {
    let mut frame = Packet(context);
    match wrapped_v4(&mut frame) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_DROP,
    }
}

#[inline(always)]
fn wrapped_v4(frame: &mut Packet) -> Option<()> {
    const INNER_LENGTH: usize = 14 + 20 + 2;
    /// All of the header but its length, as little-endian numbers: version and so on, DF, hops and IPIP, both addresses.
    const SUM: u32 = 0x0045 + 0x0040 + 0x0440 + 0x000a + 0x0100 + 0x000a + 0x0200;
    frame.grow_front(20)?;
    let length = u16::from_be_bytes(frame.read(INNER_LENGTH)?).wrapping_add(20).to_be_bytes();
    let sum = SUM + u32::from(u16::from_le_bytes(length));
    let sum = (sum >> 16) + (sum & 0xffff);
    let [low, high] = (!(sum as u16)).to_le_bytes();
    frame.write(0, MACS)?;
    frame.write(12, [IPV4, [0x45, 0], length, [0, 0], [0x40, 0], [64, 4], [low, high]])?;
    frame.write(26, [10_u8, 0, 0, 1, 10, 0, 0, 2])
}

/// As [`null_tunnel_v4`], of IPv6 in IPv6.
#[xdp(frags)]
fn null_tunnel_v6(context: XdpContext) -> u32 {
    let mut frame = Packet(context);
    match wrapped_v6(&mut frame) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_DROP,
    }
}

#[inline(always)]
fn wrapped_v6(frame: &mut Packet) -> Option<()> {
    const INNER_LENGTH: usize = 14 + 40 + 4;
    /// Addresses of both ends, in a net for documents (RFC 3849), by their halves.
    const ENDS: [u64; 4] = [0xb80d_0120, 0x0100 << 48, 0xb80d_0120, 0x0200 << 48];
    frame.grow_front(40)?;
    let length = u16::from_be_bytes(frame.read(INNER_LENGTH)?).wrapping_add(40).to_be_bytes();
    frame.write(0, MACS)?;
    frame.write(12, [IPV6, [0x60, 0], [0, 0], length, [41, 64]])?;
    frame.write(22, ENDS)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Never reached: a program in which it could be does not load.
    loop {}
}
