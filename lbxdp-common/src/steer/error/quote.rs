//! The packet that an ICMP error quotes, as far as it tells its connection.

use crate::address::{V4, V6};
use crate::protocol::Protocol;
use crate::steer::parse::{Extensions, IP_OFFSET, MAX_EXTENSIONS, V6_OFFSET_MASK};
use crate::verdict::Reason;
use crate::walk::Walker;
use crate::wire::Frame;
use crate::wire::icmp::{ICMP_V6, Icmp, kind, kind_v6};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};

/// What every error quotes of a packet behind its IP header (RFC 792): of all protocols the ports are in it.
type Start = [[u8; 2]; 4];

/// A quoted packet. Places count from the IP header of the error.
#[derive(Clone, Copy)]
pub(super) struct Quote<A> {
    /// Where the ICMP header stands.
    pub(super) icmp: u32,
    /// Where the quoted IP header stands.
    pub(super) ip: u32,
    /// Where what it carries begins.
    pub(super) transport: u32,
    /// Bytes of the error's packet.
    pub(super) bytes: u32,
    pub(super) source: A,
    pub(super) destination: A,
    pub(super) source_port: [u8; 2],
    pub(super) destination_port: [u8; 2],
    /// IANA number of what it carries: a transport protocol of [`Protocol`].
    pub(super) protocol: u8,
}

/// What the frame's ICMP error quotes. [`Reason::OtherProtocol`]: it is no error, or none about a packet that is balanced.
#[inline(always)]
pub(super) fn v4<F: Frame>(frame: &F) -> Result<Quote<V4>, Reason> {
    let ip: Ipv4 = frame.read(IP_OFFSET).ok_or(Reason::Malformed)?;
    let icmp_at = ip.header_bytes();
    let icmp: Icmp = frame.read(IP_OFFSET + icmp_at as usize).ok_or(Reason::OtherProtocol)?;
    // Those that IPVS looks at (`ip_vs_in_icmp`).
    if !matches!(icmp.kind, kind::DESTINATION_UNREACHABLE | kind::SOURCE_QUENCH | kind::TIME_EXCEEDED) {
        return Err(Reason::OtherProtocol);
    }
    let ip_at = icmp_at + size_of::<Icmp>() as u32;
    let quoted: Ipv4 = frame.read(IP_OFFSET + ip_at as usize).ok_or(Reason::Malformed)?;
    let (header_bytes, bytes) = (quoted.header_bytes(), u32::from(ip.total_bytes.get()));
    let transport = ip_at + header_bytes;
    if header_bytes == 0 || !is_in(frame, transport, bytes) {
        return Err(Reason::Malformed);
    }
    if Protocol::from_raw(quoted.protocol).is_none() || quoted.is_later_fragment() {
        return Err(Reason::OtherProtocol);
    }
    let [source_port, destination_port, ..]: Start =
        frame.read(IP_OFFSET + transport as usize).ok_or(Reason::Malformed)?;
    Ok(Quote {
        icmp: icmp_at,
        ip: ip_at,
        transport,
        bytes,
        source: quoted.source,
        destination: quoted.destination,
        source_port,
        destination_port,
        protocol: quoted.protocol,
    })
}

/// The same of an `ICMPv6` error.
#[inline(always)]
pub(super) fn v6<F: Frame, W: Walker>(frame: &F, world: &W) -> Result<Quote<V6>, Reason> {
    let ip: Ipv6 = frame.read(IP_OFFSET).ok_or(Reason::Malformed)?;
    let (number, icmp_at) = behind(frame, world, ip.next, 0)?;
    if number != ICMP_V6 {
        return Err(Reason::OtherProtocol);
    }
    let icmp: Icmp = frame.read(IP_OFFSET + icmp_at as usize).ok_or(Reason::OtherProtocol)?;
    if icmp.kind >= kind_v6::FIRST_INFORMATIONAL {
        return Err(Reason::OtherProtocol);
    }
    let ip_at = icmp_at + size_of::<Icmp>() as u32;
    let quoted: Ipv6 = frame.read(IP_OFFSET + ip_at as usize).ok_or(Reason::Malformed)?;
    let (protocol, transport) = behind(frame, world, quoted.next, ip_at)?;
    let bytes = u32::from(ip.payload_bytes.get()) + ipv6::HEADER_BYTES as u32;
    if !quoted.is_version_6() || !is_in(frame, transport, bytes) {
        return Err(Reason::Malformed);
    }
    if Protocol::from_raw(protocol).is_none() {
        return Err(Reason::OtherProtocol);
    }
    let [source_port, destination_port, ..]: Start =
        frame.read(IP_OFFSET + transport as usize).ok_or(Reason::Malformed)?;
    Ok(Quote {
        icmp: icmp_at,
        ip: ip_at,
        transport,
        bytes,
        source: quoted.source,
        destination: quoted.destination,
        source_port,
        destination_port,
        protocol,
    })
}

/// Whether the quote's first bytes are part of the error, of which the frame has all.
#[inline(always)]
fn is_in<F: Frame>(frame: &F, transport: u32, bytes: u32) -> bool {
    transport + size_of::<Start>() as u32 <= bytes && IP_OFFSET as u32 + bytes <= frame.bytes()
}

/// What stands behind the IPv6 header at `ip_at` and its extension headers: IANA's number, and where it begins. A later
/// fragment has nothing there that tells.
#[inline(always)]
pub(super) fn behind<F: Frame, W: Walker>(
    frame: &F,
    world: &W,
    next: u8,
    ip_at: u32,
) -> Result<(u8, u32), Reason> {
    let zero = world.zero();
    let mut extensions = Extensions {
        frame,
        next: u32::from(next) + zero,
        offset: ip_at + ipv6::HEADER_BYTES as u32 + zero,
        fragment: zero,
        is_malformed: zero,
    };
    world.repeat(MAX_EXTENSIONS, &mut extensions);
    let Extensions { next, offset, fragment, is_malformed, .. } = extensions;
    if is_malformed != 0 {
        return Err(Reason::Malformed);
    }
    if fragment != 0 {
        let header: ipv6::Fragment =
            frame.read(IP_OFFSET + (fragment & V6_OFFSET_MASK) as usize).ok_or(Reason::Malformed)?;
        if header.offset() != 0 {
            return Err(Reason::OtherProtocol);
        }
    }
    Ok((next as u8, offset & V6_OFFSET_MASK))
}
