//! ICMP errors about IPv4 packets.

use zerocopy::big_endian::U16;

use super::{TTL, admit};
use crate::notice::Notice;
use crate::steer::World;
use crate::steer::parse::IP_OFFSET;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::icmp::{ICMP, Icmp, MAX_ERROR_BYTES, kind};
use crate::wire::ipv4::{Ipv4, MIN_HEADER_BYTES};
use crate::wire::{Frame, checksum};

/// What an error takes over of a packet's type of service (`IPTOS_TOS_MASK`) …
const TOS_MASK: u8 = 0x1e;
/// … and what it adds (`IPTOS_PREC_INTERNETCONTROL`).
const INTERNET_CONTROL: u8 = 0xc0;

/// Bytes that stand before the quoted packet, Ethernet's not counted.
const HEADER_BYTES: u32 = (MIN_HEADER_BYTES + size_of::<Icmp>()) as u32;
/// The most bytes of a packet that are quoted.
pub(in crate::steer) const MOST_QUOTED: u32 = MAX_ERROR_BYTES - HEADER_BYTES;
/// Where the ICMP header stands in the frame.
const ICMP_OFFSET: usize = IP_OFFSET + MIN_HEADER_BYTES;
/// Where the quoted packet's Ethernet header stands after the frame has grown: it moves to the front.
const OLD_FRAME: usize = HEADER_BYTES as usize;
/// Where the quoted packet stands.
const QUOTE_OFFSET: usize = IP_OFFSET + HEADER_BYTES as usize;

/// Makes the error of the frame, unless nobody answers such a packet or the limits forbid it.
#[inline(always)]
pub(super) fn tell<F: Frame, W: World>(world: &W, frame: &mut F, error: Icmp) -> Result<(), Notice> {
    let quoted = to_be_quoted(frame, world).ok_or(Notice::Unanswerable)?;
    if error.is_limited() {
        let ip: Ipv4 = frame.read(IP_OFFSET).ok_or(Notice::Unanswerable)?;
        admit(world, ip.source)?;
    }
    turn_into(frame, world, error, quoted).ok_or(Notice::Unanswerable)
}

/// How many bytes of the packet are to be quoted; `None` if nobody answers such a packet. That it came to this machine's
/// own MAC address has been seen before ([`classify`](crate::steer::classify)).
#[inline(always)]
fn to_be_quoted<F: Frame, W: World>(frame: &F, world: &W) -> Option<u32> {
    let ethernet: Ethernet = frame.read(0)?;
    let ip: Ipv4 = frame.read(IP_OFFSET)?;
    let header_bytes = ip.header_bytes();
    let total_bytes = u32::from(ip.total_bytes.get());
    let is_whole = header_bytes != 0
        && header_bytes <= total_bytes
        && IP_OFFSET as u32 + total_bytes <= frame.bytes()
        // The stack looks at this before it looks at anything else, so nobody is told of a packet that lost its way.
        && checksum::of_sum(checksum::sum(world, frame, IP_OFFSET, header_bytes)?) == [0; 2];
    let is_from_one =
        !ethernet::is_group(ethernet.source) && is_one_host(ip.source) && ip.source != ip.destination;
    if !is_whole || !is_from_one || ip.is_later_fragment() {
        return None;
    }
    if ip.protocol == ICMP {
        let icmp: Icmp = frame.read(IP_OFFSET + header_bytes as usize)?;
        if kind::is_error(icmp.kind) {
            return None;
        }
    }
    Some(total_bytes.min(MOST_QUOTED))
}

/// Whether an address may be one host's, elsewhere: not 0.0.0.0/8, loopback, multicast, class E or broadcast.
#[inline(always)]
const fn is_one_host(address: [u8; 4]) -> bool {
    !matches!(address[0], 0 | 127 | 224..)
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
    let quote: Ipv4 = frame.read(QUOTE_OFFSET)?;
    frame.write(0, Ethernet { destination: ethernet.source, source: ethernet.destination, ..ethernet })?;

    frame.write(ICMP_OFFSET, error)?;
    let sum = checksum::sum(world, frame, ICMP_OFFSET, size_of::<Icmp>() as u32 + quoted)?;
    frame.write(ICMP_OFFSET, Icmp { checksum: checksum::of_sum(sum), ..error })?;

    let ip = Ipv4 {
        version_and_length: 0x45,
        traffic_class: quote.traffic_class & TOS_MASK | INTERNET_CONTROL,
        total_bytes: U16::new((HEADER_BYTES + quoted) as u16),
        identification: U16::new(world.random() as u16),
        fragment: U16::new(0),
        ttl: TTL,
        protocol: ICMP,
        checksum: [0; 2],
        source: quote.destination,
        destination: quote.source,
    };
    frame.write(IP_OFFSET, ip.finished())
}
