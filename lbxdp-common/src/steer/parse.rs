//! What a frame holds, as far as balancing needs it.

use core::marker::PhantomData;
use core::ops::ControlFlow;

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::kind::Kind;
use crate::address::{Address, V4, V6};
use crate::connection::Key;
use crate::fragment::Units;
use crate::protocol::Protocol;
use crate::state::Event;
use crate::verdict::Reason;
use crate::walk::{Step, Walker};
use crate::wire::Frame;
use crate::wire::ethernet;
use crate::wire::icmp::ICMP;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{Extension, Fragment, HEADER_BYTES, extension};
use crate::wire::sctp::{Chunk, ChunkKind, Sctp};
use crate::wire::tcp::Tcp;
use crate::wire::udp::Udp;

/// The two headers every packet of ours begins with, in one read. Ethernet's is cut as it is compared.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Front {
    /// Destination, and the first two bytes of the source.
    start: [u8; 8],
    source: [u8; 4],
    pub(super) ethertype: U16,
    pub(super) ip: Ipv4,
}

/// What nearly every packet of ours begins with, in one read. Of a datagram the ports stand at the same place.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Head {
    pub(super) front: Front,
    pub(super) tcp: Tcp,
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

/// The same of IPv6; the header is cut as it is compared, too.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct FrontV6 {
    start: [u8; 8],
    source: [u8; 4],
    ethertype: U16,
    pub(super) ip: V6Front,
}

/// What nearly every packet of IPv6 begins with.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub(super) struct HeadV6 {
    pub(super) front: FrontV6,
    /// Of source and destination.
    pub(super) addresses: [[u64; 2]; 2],
    pub(super) tcp: Tcp,
}

/// What is needed of them. Numbers, not bytes: what the compiler keeps on the kernel's stack must be aligned.
pub(super) struct Headers {
    /// The frame's destination; see [`ethernet::number`].
    pub(super) destination_mac: u64,
    /// The addresses as in the packet, in memory order.
    pub(super) source: u32,
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
pub(super) struct Packet<A: Address = V4> {
    /// Of its key. Not the key itself: bytes that are carried apart are loaded apart.
    pub(super) key: A::Cells,
    pub(super) kind: Kind,
    /// Bytes from the IP header on.
    pub(super) ip_bytes: u32,
}

impl Headers {
    #[inline(always)]
    pub(super) const fn is_icmp(&self) -> bool {
        self.protocol == ICMP
    }
}

/// Ethernet and IPv4; else what else it is (0: it is too short for anything).
#[inline(always)]
pub(super) fn headers<F: Frame>(frame: &F) -> Result<Headers, U16> {
    match frame.read::<Front>(0) {
        Some(front) if front.ethertype == ethernet::IPV4 => Ok(front.headers()),
        Some(front) => Err(front.ethertype),
        None => Err(U16::new(0)),
    }
}

impl Front {
    /// What is needed of it, if it is IPv4.
    #[inline(always)]
    pub(super) fn headers(self) -> Headers {
        let Self { start, ip, .. } = self;
        Headers {
            destination_mac: ethernet::destination_number(start),
            source: u32::from_ne_bytes(ip.source),
            destination: u32::from_ne_bytes(ip.destination),
            protocol: ip.protocol,
            ip_header_bytes: ip.header_bytes(),
            is_fragment: ip.is_fragment(),
            ip_bytes: u32::from(ip.total_bytes.get()),
        }
    }
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
    let end = headers.ip_bytes;
    is_whole(frame, end)?;
    let Transport { ports: [client_port, vip_port], kind } =
        transport(frame, headers.protocol, headers.ip_header_bytes, end)?;
    let key = Key {
        client: headers.source.to_ne_bytes(),
        vip: headers.destination.to_ne_bytes(),
        client_port: client_port.to_ne_bytes(),
        vip_port: vip_port.to_ne_bytes(),
        protocol: headers.protocol,
        kind: Key::CONNECTION,
        pad: [0; 2],
    };
    Ok(Packet { key: key.cells(), kind, ip_bytes: headers.ip_bytes })
}

/// Refuses a packet that says it has more bytes than have come: it was cut off on its way, and the stack drops it
/// (`ip_rcv_core`, `ip6_rcv_core`), so IPVS never sees it.
#[inline(always)]
pub(super) fn is_whole<F: Frame>(frame: &F, ip_bytes: u32) -> Result<(), Reason> {
    let bytes = IP_OFFSET as u32 + ip_bytes;
    if frame.reaches(bytes) || bytes <= frame.bytes() { Ok(()) } else { Err(Reason::Malformed) }
}

/// What a transport header says.
pub(super) struct Transport {
    /// Source and destination, as numbers in the packet's order.
    pub(super) ports: [u16; 2],
    pub(super) kind: Kind,
}

/// The transport header of a packet of which `end` bytes are IP's; offsets count from the IP header.
#[inline(always)]
pub(super) fn transport<F: Frame>(
    frame: &F,
    protocol: u8,
    start: u32,
    end: u32,
) -> Result<Transport, Reason> {
    let least = least_bytes(protocol).ok_or(Reason::OtherProtocol)?;
    let protocol = Protocol::from_raw(protocol).ok_or(Reason::OtherProtocol)?;
    let offset = IP_OFFSET + start as usize;
    // What stands behind the packet's end is what Ethernet's shortest frame is filled up with.
    if end < start + least {
        return Err(Reason::Malformed);
    }
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
            let event = sctp_event(frame, start, end, first).ok_or(Reason::Malformed)?;
            (u16::from_ne_bytes(sctp.source), u16::from_ne_bytes(sctp.destination), event)
        }
    };
    Ok(Transport { ports: [client_port, vip_port], kind: Kind { protocol, event } })
}

/// The least bytes of a transport header, as far as it is read here; `None` of a protocol that is not balanced.
#[inline(always)]
pub(super) const fn least_bytes(protocol: u8) -> Option<u32> {
    match Protocol::from_raw(protocol) {
        Some(Protocol::Tcp) => Some(size_of::<Tcp>() as u32),
        Some(Protocol::Udp) => Some(size_of::<Udp>() as u32),
        Some(Protocol::Sctp) => Some(size_of::<SctpFront>() as u32),
        None => None,
    }
}

/// A fragment of a datagram.
pub(super) struct Piece<A> {
    /// Source and destination, as [`Address::wide`] has them; numbers, as all of [`Headers`] are.
    pub(super) addresses: [[u64; 2]; 2],
    /// Of the transport header, where there is one.
    pub(super) protocol: u8,
    pub(super) identification: u32,
    /// Which part of the datagram it is.
    pub(super) units: Units,
    pub(super) has_more: bool,
    /// Where the transport header stands in the first fragment, counted from the IP header.
    pub(super) transport: u32,
    /// Bytes from the IP header on.
    pub(super) ip_bytes: u32,
    width: PhantomData<A>,
}

impl<A> Piece<A> {
    /// Whether a later one may belong to a datagram that is balanced: where extension headers stand before the transport
    /// header, they do not tell.
    #[inline(always)]
    pub(super) const fn may_be_ours(&self) -> bool {
        Protocol::from_raw(self.protocol).is_some() || is_extension(self.protocol)
    }
}

/// The fragment in an IPv4 frame.
#[inline(always)]
pub(super) fn v4_piece<F: Frame>(frame: &F) -> Result<Piece<V4>, Reason> {
    let ip: Ipv4 = frame.read(IP_OFFSET).ok_or(Reason::Malformed)?;
    let (start, ip_bytes) = (ip.header_bytes(), u32::from(ip.total_bytes.get()));
    if start == 0 || ip_bytes < start || IP_OFFSET as u32 + ip_bytes > frame.bytes() {
        return Err(Reason::Malformed);
    }
    let has_more = ip.has_more_fragments();
    Ok(Piece {
        addresses: [ip.source, ip.destination].map(|address| [u32::from_ne_bytes(address).into(), 0]),
        protocol: ip.protocol,
        identification: ip.identification.get().into(),
        units: Piece::<V4>::units(ip.fragment_offset().into(), ip_bytes - start, has_more)?,
        has_more,
        transport: start,
        ip_bytes,
        width: PhantomData,
    })
}

/// The fragment in an IPv6 frame.
#[inline(always)]
pub(super) fn v6_piece<F: Frame, W: Walker>(frame: &F, walker: &W) -> Result<Piece<V6>, Reason> {
    let front: V6Front = frame.read(IP_OFFSET).ok_or(Reason::Malformed)?;
    let addresses = frame.read(IP_OFFSET + ADDRESSES).ok_or(Reason::Malformed)?;
    let zero = walker.zero();
    let mut extensions = Extensions {
        frame,
        next: u32::from(front.next) + zero,
        offset: HEADER_BYTES as u32 + zero,
        fragment: zero,
        is_malformed: zero,
    };
    walker.repeat(MAX_EXTENSIONS, &mut extensions);
    let Extensions { next, offset, fragment, is_malformed, .. } = extensions;
    let ip_bytes = u32::from(front.payload_bytes.get()) + HEADER_BYTES as u32;
    let start = (fragment & V6_OFFSET_MASK) + size_of::<Fragment>() as u32;
    if is_malformed != 0 || fragment == 0 || ip_bytes < start || IP_OFFSET as u32 + ip_bytes > frame.bytes() {
        return Err(Reason::Malformed);
    }
    let header: Fragment =
        frame.read(IP_OFFSET + (fragment & V6_OFFSET_MASK) as usize).ok_or(Reason::Malformed)?;
    let has_more = header.has_more();
    Ok(Piece {
        addresses,
        protocol: next as u8,
        identification: header.identification.get(),
        units: Piece::<V6>::units(header.offset().into(), ip_bytes - start, has_more)?,
        has_more,
        transport: offset & V6_OFFSET_MASK,
        ip_bytes,
        width: PhantomData,
    })
}

/// How many extension headers a packet may have. Nobody sends as many; a bound is needed.
pub(super) const MAX_EXTENSIONS: u32 = 8;

/// Whether a number is an extension header's.
#[inline(always)]
const fn is_extension(number: u8) -> bool {
    matches!(
        number,
        extension::HOP_BY_HOP
            | extension::ROUTING
            | extension::FRAGMENT
            | extension::AUTHENTICATION
            | extension::DESTINATION
    )
}

/// The walk over extension headers to the transport header.
pub(super) struct Extensions<'a, F> {
    pub(super) frame: &'a F,
    /// IANA number of the header at `offset`.
    pub(super) next: u32,
    /// Counted from the IP header.
    pub(super) offset: u32,
    /// The number's fragment header stands here, counted from the IP header; 0: it is no fragment.
    pub(super) fragment: u32,
    /// 1 if the packet ends before its headers do.
    pub(super) is_malformed: u32,
}

/// What stands before the addresses in an IPv6 header.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct V6Front {
    pub(super) version_class_flow: U32,
    pub(super) payload_bytes: U16,
    pub(super) next: u8,
    pub(super) hop_limit: u8,
}

/// Where the addresses stand in an IPv6 header.
pub(super) const ADDRESSES: usize = 8;

/// Offsets of transport headers in IPv6 packets: a mask, for the verifier must see that they are small.
pub(super) const V6_OFFSET_MASK: u32 = 0xfff;

impl<F: Frame, W> Step<W> for Extensions<'_, F> {
    #[inline(always)]
    fn step(&mut self, _: &W, _: u32) -> ControlFlow<()> {
        let number = self.next as u8;
        if !is_extension(number) {
            return ControlFlow::Break(());
        }
        let at = self.offset & V6_OFFSET_MASK;
        let Some(header) = self.frame.read::<Extension>(IP_OFFSET + at as usize) else {
            self.is_malformed = 1;
            return ControlFlow::Break(());
        };
        self.next = header.next.into();
        if number == extension::FRAGMENT {
            self.fragment = at;
            self.offset = at + size_of::<Fragment>() as u32;
            // Behind a later fragment's header there is no other one.
            let later = self.frame.read::<Fragment>(IP_OFFSET + at as usize);
            if later.is_none_or(|fragment| fragment.offset() != 0) {
                return ControlFlow::Break(());
            }
        } else {
            self.offset = at + header.bytes(number);
        }
        ControlFlow::Continue(())
    }
}

/// The IPv6 packet in a frame.
#[inline(always)]
pub(super) fn v6_packet<F: Frame, W: Walker>(frame: &F, world: &W) -> Result<Packet<V6>, Reason> {
    let front: V6Front = frame.read(IP_OFFSET).ok_or(Reason::Malformed)?;
    if front.version_class_flow.get() >> 28 != 6 {
        return Err(Reason::Malformed);
    }
    let (protocol, offset, is_fragment) = v6_transport(frame, world, front.next)?;
    if is_fragment {
        return Err(Reason::Fragment);
    }
    let ip_bytes = u32::from(front.payload_bytes.get()) + HEADER_BYTES as u32;
    is_whole(frame, ip_bytes)?;
    let Transport { ports: [client_port, vip_port], kind } = transport(frame, protocol, offset, ip_bytes)?;
    let key = Key {
        client: [0; 4],
        vip: [0; 4],
        client_port: client_port.to_ne_bytes(),
        vip_port: vip_port.to_ne_bytes(),
        protocol,
        kind: Key::CONNECTION,
        pad: [0; 2],
    };
    let [_, rest] = key.cells();
    let [client, vip]: [[u64; 2]; 2] = frame.read(IP_OFFSET + ADDRESSES).ok_or(Reason::Malformed)?;
    Ok(Packet { key: [client[0], client[1], vip[0], vip[1], rest], kind, ip_bytes })
}

/// Protocol and place, counted from the IP header, of an IPv6 packet's transport header; and whether it is a fragment.
#[inline(always)]
fn v6_transport<F: Frame, W: Walker>(frame: &F, world: &W, protocol: u8) -> Result<(u8, u32, bool), Reason> {
    let offset = HEADER_BYTES as u32;
    if Protocol::from_raw(protocol).is_some() {
        return Ok((protocol, offset, false));
    }
    let zero = world.zero();
    let mut extensions = Extensions {
        frame,
        next: u32::from(protocol) + zero,
        offset: offset + zero,
        fragment: zero,
        is_malformed: zero,
    };
    world.repeat(MAX_EXTENSIONS, &mut extensions);
    if extensions.is_malformed != 0 {
        return Err(Reason::Malformed);
    }
    Ok((extensions.next as u8, extensions.offset & V6_OFFSET_MASK, extensions.fragment != 0))
}

/// Where the transport header of a packet, or of a first fragment, stands, counted from the IP header; and whether it is a
/// fragment.
#[inline(always)]
pub(super) fn transport_place<A: Address, F: Frame, W: Walker>(frame: &F, world: &W) -> Option<(u32, bool)> {
    if A::IS_V6 {
        let V6Front { next, .. } = frame.read(IP_OFFSET)?;
        return v6_transport(frame, world, next).ok().map(|(_, offset, is_fragment)| (offset, is_fragment));
    }
    let ip: Ipv4 = frame.read(IP_OFFSET)?;
    let bytes = ip.header_bytes();
    (bytes != 0).then_some((bytes, ip.is_fragment()))
}

/// What an SCTP packet means: its first chunk, but an ABORT that is bundled with a cookie or its answer counts as such
/// (as in `set_sctp_state`). `None` if the IP packet, which may be shorter than the frame, has no whole chunk header.
#[inline(always)]
fn sctp_event<F: Frame>(frame: &F, start: u32, end: u32, first: Chunk) -> Option<Event> {
    let first_chunk = start + size_of::<Sctp>() as u32;
    let ends_before = |chunk: u32| end < first_chunk + chunk + size_of::<Chunk>() as u32;
    if ends_before(0) {
        return None;
    }
    let is_cookie = matches!(first.kind, ChunkKind::COOKIE_ECHO | ChunkKind::COOKIE_ACK);
    let chunk_bytes = u32::from(first.bytes.get());
    let second_chunk = (chunk_bytes + 3) & SECOND_CHUNK_MASK;
    // A second chunk below the end of the first one is what the mask makes of one that is too far away.
    let has_second = chunk_bytes >= size_of::<Chunk>() as u32 && second_chunk >= chunk_bytes;
    if is_cookie && has_second && !ends_before(second_chunk) {
        // Two bytes, as a number: of one byte the compiler makes a comparison that the verifier does not understand, and a
        // chunk that may be missing is none to carry along.
        let second: u16 = frame
            .read(IP_OFFSET + first_chunk as usize + second_chunk as usize)
            .map_or(u16::MAX, u16::from_le_bytes);
        if second as u8 == ChunkKind::ABORT.0 {
            return Some(Event::sctp(ChunkKind::ABORT));
        }
    }
    Some(Event::sctp(first.kind))
}
