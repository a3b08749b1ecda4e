//! What a frame holds, as far as balancing needs it. VLAN tags, IPv6 and the packets quoted in ICMP errors belong here.

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::kind::Kind;
use crate::connection::Key;
use crate::protocol::Protocol;
use crate::state::Event;
use crate::verdict::Reason;
use crate::wire::Frame;
use crate::wire::ethernet;
use crate::wire::ipv4::Ipv4;
use crate::wire::sctp::{Chunk, ChunkKind, Sctp};
use crate::wire::tcp::Tcp;
use crate::wire::udp::Udp;

/// The two headers every packet of ours begins with, in one read. Ethernet's is cut as it is compared.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Front {
    /// Destination, and the first two bytes of the source.
    start: [u8; 8],
    source: [u8; 4],
    ethertype: U16,
    ip: Ipv4,
}

/// What every SCTP packet begins with, in one read: a packet without a chunk is none.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SctpFront {
    sctp: Sctp,
    first: Chunk,
}

/// Where the second chunk of an SCTP packet is looked for, counted from the first one: at multiples of four bytes below
/// 32,768 (a cookie is a few hundred bytes). A mask, for the kernel's verifier must see that offsets stay below 65,536.
const SECOND_CHUNK_MASK: u32 = 0x7ffc;

/// What is needed of them. Numbers, not bytes: what the compiler keeps on the kernel's stack must be aligned.
pub(super) struct Headers {
    /// The frame's destination; see [`ethernet::number`].
    pub(super) destination_mac: u64,
    /// The addresses as in the packet, in memory order.
    source: u32,
    pub(super) destination: u32,
    protocol: u8,
    /// Bytes of the IP header; 0 if it cannot be one.
    ip_header_bytes: u32,
    is_fragment: bool,
    /// Bytes from the IP header on.
    ip_bytes: u32,
}

/// Offset of the IP header in the frame.
pub(super) const IP_OFFSET: usize = ethernet::HEADER_BYTES;

/// A client's packet.
pub(super) struct Packet {
    pub(super) key: Key,
    pub(super) kind: Kind,
    /// Bytes from the IP header on.
    pub(super) ip_bytes: u32,
}

/// Ethernet and IPv4; anything else is not ours.
#[inline(always)]
pub(super) fn headers<F: Frame>(frame: &F) -> Result<Headers, Reason> {
    let Some(Front { start, ethertype, ip, .. }) = frame.read(0) else {
        return Err(Reason::NotOurs);
    };
    if ethertype != ethernet::IPV4 {
        return Err(Reason::NotOurs);
    }
    Ok(Headers {
        destination_mac: ethernet::destination_number(start),
        source: u32::from_ne_bytes(ip.source),
        destination: u32::from_ne_bytes(ip.destination),
        protocol: ip.protocol,
        ip_header_bytes: ip.header_bytes(),
        is_fragment: ip.is_fragment(),
        ip_bytes: u32::from(ip.total_bytes.get()),
    })
}

/// The packet in the frame.
#[inline(always)]
pub(super) fn packet<F: Frame>(frame: &F, headers: &Headers) -> Result<Packet, Reason> {
    if headers.ip_header_bytes == 0 {
        return Err(Reason::Malformed);
    }
    if headers.is_fragment {
        return Err(Reason::Fragment);
    }
    let protocol = Protocol::from_raw(headers.protocol).ok_or(Reason::OtherProtocol)?;
    let offset = IP_OFFSET + headers.ip_header_bytes as usize;
    // Numbers in the packet's order, made of their bytes at once: bytes that are carried apart are loaded apart.
    let (client_port, vip_port, event) = match protocol {
        Protocol::Tcp => {
            let tcp: Tcp = frame.read(offset).ok_or(Reason::Malformed)?;
            (u16::from_ne_bytes(tcp.source), u16::from_ne_bytes(tcp.destination), Event::tcp(tcp.flags))
        }
        Protocol::Udp => {
            let udp: Udp = frame.read(offset).ok_or(Reason::Malformed)?;
            (u16::from_ne_bytes(udp.source), u16::from_ne_bytes(udp.destination), Event::UDP)
        }
        Protocol::Sctp => {
            let SctpFront { sctp, first } = frame.read(offset).ok_or(Reason::Malformed)?;
            let event = sctp_event(frame, headers, first).ok_or(Reason::Malformed)?;
            (u16::from_ne_bytes(sctp.source), u16::from_ne_bytes(sctp.destination), event)
        }
    };
    let key = Key {
        client: headers.source.to_ne_bytes(),
        vip: headers.destination.to_ne_bytes(),
        client_port: client_port.to_ne_bytes(),
        vip_port: vip_port.to_ne_bytes(),
        protocol: headers.protocol,
        kind: Key::CONNECTION,
        pad: [0; 2],
    };
    Ok(Packet { key, kind: Kind { protocol, event }, ip_bytes: headers.ip_bytes })
}

/// What an SCTP packet means: its first chunk, but an ABORT that is bundled with a cookie or its answer counts as such
/// (as in `set_sctp_state`). `None` if the IP packet, which may be shorter than the frame, has no whole chunk header.
#[inline(always)]
fn sctp_event<F: Frame>(frame: &F, headers: &Headers, first: Chunk) -> Option<Event> {
    let first_chunk = headers.ip_header_bytes + size_of::<Sctp>() as u32;
    let ends_before = |chunk: u32| headers.ip_bytes < first_chunk + chunk + size_of::<Chunk>() as u32;
    if ends_before(0) {
        return None;
    }
    let is_cookie = matches!(first.kind, ChunkKind::COOKIE_ECHO | ChunkKind::COOKIE_ACK);
    let chunk_bytes = u32::from(first.bytes.get());
    let second_chunk = (chunk_bytes + 3) & SECOND_CHUNK_MASK;
    // A second chunk below the end of the first one is what the mask makes of one that is too far away.
    let has_second = chunk_bytes >= size_of::<Chunk>() as u32 && second_chunk >= chunk_bytes;
    if is_cookie
        && has_second
        && !ends_before(second_chunk)
        && let Some(Chunk { kind: ChunkKind::ABORT, .. }) =
            frame.read(IP_OFFSET + first_chunk as usize + second_chunk as usize)
    {
        return Some(Event::sctp(ChunkKind::ABORT));
    }
    Some(Event::sctp(first.kind))
}
