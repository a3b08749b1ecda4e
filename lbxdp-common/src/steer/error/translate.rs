//! Giving an error another address, and the quoted packet the same one with a port at its other end: VS/NAT.

use super::quote::Quote;
use crate::address::{V4, V6};
use crate::steer::World;
use crate::steer::parse::IP_OFFSET;
use crate::wire::icmp::{ICMP_V6, Icmp};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::{Frame, checksum};

/// Which end of the error is given another address; of the quoted packet, which went the other way, it is the other end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outer {
    Source,
    Destination,
}

/// Translates an IPv4 error. The quoted header's checksum is made anew, that of its transport header is left alone: hosts
/// do not look at it, and not all of what it covers need be there (`ip_vs_nat_icmp`).
#[inline(always)]
pub(super) fn v4<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    quote: &Quote<V4>,
    outer: Outer,
    address: V4,
    port: [u8; 2],
) -> Option<()> {
    let ip: Ipv4 = frame.read(IP_OFFSET)?;
    let from = if outer == Outer::Source { ip.source } else { ip.destination };
    let change = checksum::change(u32::from_le_bytes(from), u32::from_le_bytes(address));
    let ip = Ipv4 { checksum: checksum::after(ip.checksum, change), ..ip };
    let quoted_at = IP_OFFSET + quote.ip as usize;
    let quoted = Ipv4 { checksum: [0; 2], ..frame.read(quoted_at)? };
    let quoted = if outer == Outer::Source {
        frame.write(IP_OFFSET, Ipv4 { source: address, ..ip })?;
        Ipv4 { destination: address, ..quoted }
    } else {
        frame.write(IP_OFFSET, Ipv4 { destination: address, ..ip })?;
        Ipv4 { source: address, ..quoted }
    };
    frame.write(quoted_at, quoted)?;
    let checksum = checksum::of_sum(checksum::sum(world, frame, quoted_at, quoted.header_bytes())?);
    frame.write(quoted_at, Ipv4 { checksum, ..quoted })?;
    set_port(frame, quote, outer, port)?;
    set_checksum(frame, quote, [0; 2])?;
    let checksum = sum_v4(frame, world, quote.icmp, quote.bytes)?;
    set_checksum(frame, quote, checksum)
}

/// The same of IPv6.
#[inline(always)]
pub(super) fn v6<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    quote: &Quote<V6>,
    outer: Outer,
    address: V6,
    port: [u8; 2],
) -> Option<()> {
    let ip: Ipv6 = frame.read(IP_OFFSET)?;
    let quoted_at = IP_OFFSET + quote.ip as usize;
    let quoted: Ipv6 = frame.read(quoted_at)?;
    if outer == Outer::Source {
        frame.write(IP_OFFSET, Ipv6 { source: address, ..ip })?;
        frame.write(quoted_at, Ipv6 { destination: address, ..quoted })?;
    } else {
        frame.write(IP_OFFSET, Ipv6 { destination: address, ..ip })?;
        frame.write(quoted_at, Ipv6 { source: address, ..quoted })?;
    }
    set_port(frame, quote, outer, port)?;
    set_checksum(frame, quote, [0; 2])?;
    let checksum = sum_v6(frame, world, quote.icmp, quote.bytes)?;
    set_checksum(frame, quote, checksum)
}

#[inline(always)]
fn set_port<F: Frame, A>(frame: &mut F, quote: &Quote<A>, outer: Outer, port: [u8; 2]) -> Option<()> {
    let at = IP_OFFSET + quote.transport as usize;
    frame.write(if outer == Outer::Source { at + 2 } else { at }, port)
}

#[inline(always)]
fn set_checksum<F: Frame, A>(frame: &mut F, quote: &Quote<A>, checksum: [u8; 2]) -> Option<()> {
    let at = IP_OFFSET + quote.icmp as usize;
    let icmp: Icmp = frame.read(at)?;
    frame.write(at, Icmp { checksum, ..icmp })
}

/// The checksum of all of an error but its checksum; with that, 0. The ICMP header stands at `icmp` of the packet, which has
/// so many bytes.
#[inline(always)]
pub(super) fn sum_v4<F: Frame, W: World>(frame: &F, world: &W, icmp: u32, bytes: u32) -> Option<[u8; 2]> {
    let sum = checksum::sum(world, frame, IP_OFFSET + icmp as usize, bytes.wrapping_sub(icmp))?;
    Some(checksum::of_sum(sum))
}

/// The same of IPv6, where it covers the addresses too.
#[inline(always)]
pub(super) fn sum_v6<F: Frame, W: World>(frame: &F, world: &W, icmp: u32, bytes: u32) -> Option<[u8; 2]> {
    let bytes = bytes.wrapping_sub(icmp);
    let sum = checksum::sum(world, frame, IP_OFFSET + icmp as usize, bytes)?;
    let ip: Ipv6 = frame.read(IP_OFFSET)?;
    let pseudo = Ipv6 { next: ICMP_V6, ..ip }.pseudo_sum() + u64::from((bytes as u16).to_be());
    Some(checksum::of_sum(sum + pseudo))
}
