//! `ICMPv6` errors about IPv6 packets.

use zerocopy::big_endian::{U16, U32};

use super::{TTL, admit};
use crate::notice::Notice;
use crate::steer::World;
use crate::steer::parse::{Extensions, IP_OFFSET, MAX_EXTENSIONS, V6_OFFSET_MASK};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::icmp::{ICMP_V6, Icmp, MAX_V6_ERROR_BYTES, kind_v6};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::{Frame, checksum};

/// Bytes that stand before the quoted packet, Ethernet's not counted.
const HEADER_BYTES: u32 = (ipv6::HEADER_BYTES + size_of::<Icmp>()) as u32;
/// The most bytes of a packet that are quoted.
pub(in crate::steer) const MOST_QUOTED: u32 = MAX_V6_ERROR_BYTES - HEADER_BYTES;
/// Where the ICMP header stands in the frame.
const ICMP_OFFSET: usize = IP_OFFSET + ipv6::HEADER_BYTES;
/// Where the quoted packet's Ethernet header stands after the frame has grown: it moves to the front.
const OLD_FRAME: usize = HEADER_BYTES as usize;
/// Where the quoted packet stands.
const QUOTE_OFFSET: usize = IP_OFFSET + HEADER_BYTES as usize;

/// Makes the error of the frame, unless nobody answers such a packet or the limits forbid it.
#[inline(always)]
pub(super) fn tell<F: Frame, W: World>(world: &W, frame: &mut F, error: Icmp) -> Result<(), Notice> {
    let quoted = to_be_quoted(frame, world).ok_or(Notice::Unanswerable)?;
    if error.is_limited_v6() {
        let ip: Ipv6 = frame.read(IP_OFFSET).ok_or(Notice::Unanswerable)?;
        admit(world, ip.source)?;
    }
    turn_into(frame, world, error, quoted).ok_or(Notice::Unanswerable)
}

/// How many bytes of the packet are to be quoted; `None` if nobody answers such a packet (RFC 4443, 2.4 (e)). Fragments are
/// answered, also later ones, as Linux does.
#[inline(always)]
fn to_be_quoted<F: Frame, W: World>(frame: &F, world: &W) -> Option<u32> {
    let ethernet: Ethernet = frame.read(0)?;
    let ip: Ipv6 = frame.read(IP_OFFSET)?;
    let total_bytes = u32::from(ip.payload_bytes.get()) + ipv6::HEADER_BYTES as u32;
    let is_whole = ip.is_version_6() && IP_OFFSET as u32 + total_bytes <= frame.bytes();
    let is_from_one =
        !ethernet::is_group(ethernet.source) && is_one_host(ip.source) && ip.source != ip.destination;
    if !is_whole || !is_from_one || is_multicast(ip.destination) || is_about_error(frame, world, &ip) {
        return None;
    }
    Some(total_bytes.min(MOST_QUOTED))
}

#[inline(always)]
const fn is_multicast(address: [u8; 16]) -> bool {
    address[0] == 0xff
}

/// Whether an address may be one host's, elsewhere: neither multicast nor unspecified nor loopback.
#[inline(always)]
fn is_one_host(address: [u8; 16]) -> bool {
    let [first, second]: [u64; 2] = zerocopy::transmute!(address);
    !is_multicast(address) && (first != 0 || u64::from_be(second) > 1)
}

/// Whether the packet is an `ICMPv6` error, or one that ends before it says what it is (`is_ineligible`).
#[inline(always)]
fn is_about_error<F: Frame, W: World>(frame: &F, world: &W, ip: &Ipv6) -> bool {
    let zero = world.zero();
    let mut extensions = Extensions {
        frame,
        next: u32::from(ip.next) + zero,
        offset: ipv6::HEADER_BYTES as u32 + zero,
        fragment: zero,
        is_malformed: zero,
    };
    world.repeat(MAX_EXTENSIONS, &mut extensions);
    let Extensions { next, offset, is_malformed, .. } = extensions;
    if is_malformed != 0 || next != u32::from(ICMP_V6) {
        return false;
    }
    let icmp = frame.read::<Icmp>(IP_OFFSET + (offset & V6_OFFSET_MASK) as usize);
    icmp.is_none_or(|icmp| icmp.kind < kind_v6::FIRST_INFORMATIONAL)
}

/// Makes the error of the frame: `quoted` bytes of its packet stay, as they are.
#[inline(always)]
pub(in crate::steer) fn turn_into<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    error: Icmp,
    quoted: u32,
) -> Option<()> {
    frame.cut(IP_OFFSET as u32 + quoted)?;
    frame.grow_front(HEADER_BYTES)?;
    let ethernet: Ethernet = frame.read(OLD_FRAME)?;
    let quote: Ipv6 = frame.read(QUOTE_OFFSET)?;
    frame.write(0, Ethernet { destination: ethernet.source, source: ethernet.destination, ..ethernet })?;

    let icmp_bytes = size_of::<Icmp>() as u32 + quoted;
    let ip = Ipv6 {
        // Traffic class and flow label 0.
        version_class_flow: U32::new(6 << 28),
        payload_bytes: U16::new(icmp_bytes as u16),
        next: ICMP_V6,
        hop_limit: TTL,
        source: quote.destination,
        destination: quote.source,
    };
    frame.write(IP_OFFSET, ip)?;
    frame.write(ICMP_OFFSET, error)?;
    let length = u64::from((icmp_bytes as u16).to_be());
    let sum = ip.pseudo_sum() + length + checksum::sum(world, frame, ICMP_OFFSET, icmp_bytes)?;
    frame.write(ICMP_OFFSET, Icmp { checksum: checksum::of_sum(sum), ..error })
}
