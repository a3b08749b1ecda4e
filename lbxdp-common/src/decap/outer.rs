//! The outer header: where it comes from, and whether the tunnel's header behind it can be trusted to be one.

use super::link::Link;
use super::refusal::Refusal;
use super::source::Source;
use super::{IPV4_INSIDE, IPV6_INSIDE, UDP};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Fragment, Ipv6, extension};
use crate::wire::{Frame, ethernet, gre};

/// What is needed of it, of either family.
pub(super) struct Outer {
    pub(super) source: Source,
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
/// 4.1.1) and padding. It is for those who would put a further tunnel around it.
#[derive(Clone, Copy, zerocopy::FromBytes)]
#[repr(C)]
struct EncapsulationLimit {
    next: u8,
    /// Behind the first eight bytes: 0.
    length: u8,
    /// 4, one byte long.
    option: [u8; 2],
    _limit: u8,
    /// `PadN`, one byte long.
    padding: [u8; 2],
    _zero: u8,
}

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
    let soundness = if ip.is_fragment() {
        Err(Refusal::Fragment)
    } else if header_bytes as usize != ipv4::MIN_HEADER_BYTES {
        Err(Refusal::OuterOptions)
    } else if ip.right_checksum() != [0; 2] {
        // A header with its right checksum sums up to 0 (complemented).
        Err(Refusal::OuterMalformed)
    } else {
        Ok(())
    };
    Ok(Outer {
        source: Source::ipv4(ip.source),
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
        source: Source::ipv6(ip.source),
        protocol: ip.next,
        traffic_class: ip.traffic_class(),
        payload: behind,
        end: behind as u32 + u32::from(ip.payload_bytes.get()),
        is_later_fragment: false,
        soundness: Ok(()),
    };
    if ip.next == extension::DESTINATION {
        let limit: EncapsulationLimit = frame.read(behind).ok_or(Refusal::NotATunnel)?;
        if limit.length != 0 || limit.option != [4, 1] || limit.padding != [1, 1] {
            return Err(Refusal::NotATunnel);
        }
        outer.protocol = limit.next;
        outer.payload = behind + size_of::<EncapsulationLimit>();
    } else if ip.next == extension::FRAGMENT {
        let fragment: Fragment = frame.read(behind).ok_or(Refusal::NotATunnel)?;
        outer.protocol = fragment.next;
        outer.payload = behind + size_of::<Fragment>();
        outer.soundness = Err(Refusal::Fragment);
        outer.is_later_fragment = fragment.offset() != 0;
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
