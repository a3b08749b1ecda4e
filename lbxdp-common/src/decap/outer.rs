//! The outer header: where it comes from, and whether the tunnel's header behind it can be trusted to be one.

use super::link::Link;
use super::refusal::Refusal;
use super::source::Sender;
use super::{IPV4_INSIDE, IPV6_INSIDE, UDP};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6, extension};
use crate::wire::{Frame, checksum, ethernet, gre};

/// Where the source address stands in an IPv6 header.
const SOURCE_OFFSET: usize = 8;

/// What is needed of it, of either family.
pub(super) struct Outer {
    pub(super) sender: Sender,
    /// IANA number of what follows.
    pub(super) protocol: u8,
    pub(super) traffic_class: u8,
    /// Offset of what follows.
    pub(super) payload: usize,
    /// Offset behind the packet's last byte, as its header says.
    pub(super) end: u32,
    pub(super) is_later_fragment: bool,
    /// Whether it may be opened here.
    soundness: Result<(), Refusal>,
}

/// The destination options that Linux's `ip6_tunnel` puts before the inner packet: a tunnel encapsulation limit (RFC 2473,
/// 4.1.1; kind 4, one byte) and padding (kind 1, one byte), eight bytes with the header. It is for those who would put a
/// further tunnel around it. As a number in network order, without what follows and the limit itself.
const ENCAPSULATION_LIMIT: u64 = 0x00_00_04_01_00_01_01_00;
const ENCAPSULATION_LIMIT_MASK: u64 = 0x00_ff_ff_ff_00_ff_ff_ff;
/// The offset in a fragment header, as a number in network order.
const FRAGMENT_OFFSET_MASK: u64 = 0xfff8 << 32;
/// Bytes of either header.
const EXTENSION_BYTES: usize = size_of::<u64>();

/// Reads it; what cannot be a tunnel's is refused at once.
#[inline(always)]
pub(super) fn read<F: Frame>(frame: &F, link: &Link) -> Result<Outer, Refusal> {
    if link.ethertype == ethernet::IPV4.get() {
        read_4(frame, link.payload)
    } else if link.ethertype == ethernet::IPV6.get() {
        read_6(frame, link.payload)
    } else {
        Err(Refusal::NotATunnel)
    }
}

const fn may_be_a_tunnel(protocol: u8) -> bool {
    matches!(protocol, IPV4_INSIDE | IPV6_INSIDE | UDP | gre::PROTOCOL)
}

#[inline(always)]
fn read_4<F: Frame>(frame: &F, offset: usize) -> Result<Outer, Refusal> {
    let ip: Ipv4 = frame.read(offset).ok_or(Refusal::NotATunnel)?;
    let header_bytes = ip.header_bytes();
    if header_bytes == 0 || !may_be_a_tunnel(ip.protocol) {
        return Err(Refusal::NotATunnel);
    }
    let words: [u32; 5] = frame.read(offset).ok_or(Refusal::NotATunnel)?;
    let soundness = if ip.is_fragment() {
        Err(Refusal::Fragment)
    } else if header_bytes as usize != ipv4::MIN_HEADER_BYTES {
        Err(Refusal::OuterOptions)
    } else if checksum::of_sum(words.iter().map(|word| u64::from(u32::from_le(*word))).sum()) != [0; 2] {
        // A header with its right checksum sums up to 0 (complemented).
        Err(Refusal::OuterMalformed)
    } else {
        Ok(())
    };
    Ok(Outer {
        sender: Sender { family: 4, address: [u32::from_ne_bytes(ip.source).into(), 0] },
        protocol: ip.protocol,
        traffic_class: ip.traffic_class,
        payload: offset + header_bytes as usize,
        end: offset as u32 + u32::from(ip.total_bytes.get()),
        is_later_fragment: ip.is_later_fragment(),
        soundness,
    })
}

#[inline(always)]
fn read_6<F: Frame>(frame: &F, offset: usize) -> Result<Outer, Refusal> {
    let ip: Ipv6 = frame.read(offset).ok_or(Refusal::NotATunnel)?;
    let behind = offset + ipv6::HEADER_BYTES;
    let mut outer = Outer {
        sender: Sender { family: 6, address: frame.read(offset + SOURCE_OFFSET).ok_or(Refusal::NotATunnel)? },
        protocol: ip.next,
        traffic_class: ip.traffic_class(),
        payload: behind,
        end: behind as u32 + u32::from(ip.payload_bytes.get()),
        is_later_fragment: false,
        soundness: Ok(()),
    };
    let is_fragment = ip.next == extension::FRAGMENT;
    if is_fragment || ip.next == extension::DESTINATION {
        // One number: what the compiler keeps on the kernel's stack must be aligned.
        let header = frame.read::<u64>(behind).ok_or(Refusal::NotATunnel)?;
        let header = u64::from_be(header);
        if !is_fragment && header & ENCAPSULATION_LIMIT_MASK != ENCAPSULATION_LIMIT {
            return Err(Refusal::NotATunnel);
        }
        outer.protocol = (header >> 56) as u8;
        outer.payload = behind + EXTENSION_BYTES;
        outer.is_later_fragment = is_fragment && header & FRAGMENT_OFFSET_MASK != 0;
        if is_fragment {
            outer.soundness = Err(Refusal::Fragment);
        }
    }
    if !ip.is_version_6() || !may_be_a_tunnel(outer.protocol) {
        return Err(Refusal::NotATunnel);
    }
    Ok(outer)
}

/// What the stack would look at before it opens a tunnel: it does not see this header any more.
#[inline(always)]
pub(super) fn check<F: Frame>(frame: &F, outer: &Outer) -> Result<(), Refusal> {
    outer.soundness?;
    if outer.end < outer.payload as u32 || outer.end > frame.bytes() {
        return Err(Refusal::OuterMalformed);
    }
    Ok(())
}
