//! VS/NAT: a request gets the server's address and port, a reply gets the service's back; checksums change by what has
//! changed (RFC 1624).

use super::{client, ip_bytes, is_v6, leave, one_hop, one_hop_of, tag};
use crate::address::{Address, V4, V6};
use crate::cells::Cells;
use crate::connection::{Key, Word};
use crate::protocol::Protocol;
use crate::reply::port_of;
use crate::server::{Server, ServerFlags};
use crate::service::narrowed;
use crate::steer::answer::Answer;
use crate::steer::arrival::Task;
use crate::steer::fragment::remember_reply;
use crate::steer::open::is_no_place;
use crate::steer::parse::{IP_OFFSET, transport_place};
use crate::steer::{Desk, Stages, Ways, World};
use crate::table::Hash;
use crate::time::Ticks;
use crate::verdict::{Reason, Verdict};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::{Frame, checksum, crc32c};

/// Offsets of addresses in an IP header, and of an IPv4 header's checksum.
const SOURCE: usize = 12;
const DESTINATION: usize = 16;
const SOURCE_V6: usize = 8;
const DESTINATION_V6: usize = 24;
const CHECKSUM: usize = 10;

/// Offsets in transport headers.
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;
const SCTP_CHECKSUM: usize = 8;

/// Which end of a packet is given another address and port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::steer) enum End {
    Source,
    Destination,
}

/// Sends a request to its server: the connection is on the desk.
#[inline(always)]
pub(in crate::steer) fn request<A: Address, F: Frame, W: Stages<F> + Ways<A>>(
    world: &W,
    frame: &mut F,
) -> Result<Verdict, Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    let task = desk.task();
    if task != Task::Nothing && desk.word() != Word(0) {
        let is_expected = expect_reply::<A, W>(world, u32::from(task == Task::Begin));
        // A renewal that failed is made up for by the next one.
        if task != Task::Renew {
            is_expected?;
        }
    }
    let server = Server(world.server_row(desk.course().server()).ok_or(Reason::ServerGone)?);
    let (hop, (_, ifindex)) = (server.hop(), server.identity());
    let key = desk.key::<A>();
    let port = port_of(server, key);
    if hop.flags.has(ServerFlags::LOCAL) {
        // The stack's answers do not come by here: they can be right only where nothing has to be changed but addresses that
        // are the director's anyway.
        let is_as_it_is = u16::from_ne_bytes(port) == u16::from_ne_bytes(key.vip_port);
        return if is_as_it_is { Ok(Verdict::Local) } else { Err(Reason::LocalPort) };
    }
    if !hop.is_resolved() {
        return Err(Reason::NextHopUnresolved);
    }
    let place = Place::of::<A, _, _>(frame, world, key, port, key.vip_port)?;
    one_hop_of::<A, _, _>(frame, world, place.ip_bytes, server.change().mtu.into(), false)?;
    let address = A::of_wide(server.address());
    translate(frame, world, place, End::Destination, address, port).ok_or(Reason::Malformed)?;
    frame.write(0, hop.macs).ok_or(Reason::Malformed)?;
    tag(frame, server, hop)?;
    Ok(leave(world, hop, ifindex))
}

/// Makes a later fragment of a request one to its server: it has no ports, and no checksum but the IP header's.
#[inline(always)]
pub(super) fn readdress_request<F: Frame, W: World, C: Cells>(
    frame: &mut F,
    world: &W,
    server: Server<C>,
) -> Result<(), Reason> {
    let ip_bytes = ip_bytes(frame).ok_or(Reason::Malformed)?;
    one_hop(frame, world, ip_bytes, server.change().mtu.into(), false)?;
    let address = server.address();
    let done = if is_v6(frame).ok_or(Reason::Malformed)? {
        readdress::<V6, _>(frame, End::Destination, address)
    } else {
        readdress::<V4, _>(frame, End::Destination, narrowed(address))
    };
    done.and_then(|_| frame.write(0, server.hop().macs)).ok_or(Reason::Malformed)
}

/// The longest reply of a connection that fits the way to its client, in bytes from the IP header on.
#[inline(always)]
pub(in crate::steer) fn reply_mtu<A: Address, F: Frame, W: Stages<F>>(
    world: &W,
    frame: &F,
    key: Key<A>,
    now: Ticks,
) -> Result<u32, Reason> {
    Ok(client::way(world, frame, key, now)?.mtu())
}

/// Sends a later fragment of a reply to its client; of the key only the addresses count.
#[inline(always)]
pub(in crate::steer) fn later_reply<A: Address, F: Frame, W: Stages<F>>(
    world: &W,
    frame: &mut F,
    key: Key<A>,
    now: Ticks,
) -> Result<Verdict, Reason> {
    let row = client::way(world, frame, key, now)?;
    let ip_bytes = ip_bytes(frame).ok_or(Reason::Malformed)?;
    one_hop_of::<A, _, _>(frame, world, ip_bytes, row.mtu(), false)?;
    readdress(frame, End::Source, key.vip).ok_or(Reason::Malformed)?;
    client::send(frame, world, row)
}

/// Sees to it that the connection on the desk has a reply entry, and that it lives as long.
#[inline(always)]
fn expect_reply<A: Address, W: Ways<A>>(world: &W, begins: u32) -> Result<(), Reason> {
    let mut answer = Ways::<A>::expect_reply(world, begins);
    if answer == 0 {
        let hash = world.desk().map_or(Hash(0), |desk| Desk(desk).reply_hash());
        let place = Ways::<A>::claim(world, hash);
        if is_no_place(place) {
            return Err(Reason::TableFull);
        }
        answer = Ways::<A>::publish_reply(world, place);
    }
    if Answer::is_refusal(answer) { Err(Answer::refused(answer)) } else { Ok(()) }
}

/// Sends a reply back to its client: the connection is on the desk, and the course leads to the server it comes from.
#[inline(always)]
pub(in crate::steer) fn reply<A: Address, F: Frame, W: Stages<F> + Ways<A>>(
    world: &W,
    frame: &mut F,
) -> Result<Verdict, Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    if desk.task() != Task::Nothing {
        // One that fails is made up for by the next packet.
        let _ = expect_reply::<A, W>(world, 0);
    }
    let key = desk.key::<A>();
    let server = Server(world.server_row(desk.course().server()).ok_or(Reason::ServerGone)?);
    let row = client::way(world, frame, key, desk.now())?;
    let place = Place::of::<A, _, _>(frame, world, key, key.vip_port, port_of(server, key))?;
    if place.ip_bytes <= row.mtu() {
        remember_reply::<A, _>(world, desk.course());
    }
    one_hop_of::<A, _, _>(frame, world, place.ip_bytes, row.mtu(), false)?;
    translate(frame, world, place, End::Source, key.vip, key.vip_port).ok_or(Reason::Malformed)?;
    client::send(frame, world, row)
}

/// Where the parts of a packet that is translated stand.
#[derive(Clone, Copy)]
pub(in crate::steer) struct Place {
    /// Of the transport header, in the frame.
    transport: usize,
    protocol: Protocol,
    ip_bytes: u32,
    /// Bytes that an SCTP checksum must be made of; 0 if none is to be made.
    sum_bytes: u32,
}

impl Place {
    /// Of a packet without extension headers or options, and of a protocol whose checksum follows.
    #[inline(always)]
    pub(in crate::steer) const fn plain<A: Address>(protocol: Protocol, ip_bytes: u32) -> Self {
        let header = if A::IS_V6 { size_of::<Ipv6>() } else { size_of::<Ipv4>() };
        Self { transport: IP_OFFSET + header, protocol, ip_bytes, sum_bytes: 0 }
    }

    /// Of a packet whose port `from` becomes `to`.
    #[inline(always)]
    fn of<A: Address, F: Frame, W: Stages<F> + Ways<A>>(
        frame: &F,
        world: &W,
        key: Key<A>,
        to: [u8; 2],
        from: [u8; 2],
    ) -> Result<Self, Reason> {
        let (offset, is_fragment) = transport_place::<A, _, _>(frame, world).ok_or(Reason::Malformed)?;
        let protocol = key.protocol().ok_or(Reason::OtherProtocol)?;
        let ip_bytes = ip_bytes(frame).ok_or(Reason::Malformed)?;
        let transport = IP_OFFSET + offset as usize;
        let mut sum_bytes = 0;
        if matches!(protocol, Protocol::Sctp) && u16::from_ne_bytes(to) != u16::from_ne_bytes(from) {
            // It covers ports, but no addresses. What cannot be summed is left alone, before anything is changed.
            sum_bytes = ip_bytes.wrapping_sub(offset);
            if is_fragment || sum_bytes > crc32c::MAX_BYTES {
                return Err(Reason::SctpTooLong);
            }
            crc32c::of(world, frame, transport, sum_bytes).ok_or(Reason::Malformed)?;
        }
        Ok(Self { transport, protocol, ip_bytes, sum_bytes })
    }
}

/// Gives one end of a packet another address and port, and makes its checksums right again, if they were.
#[inline(always)]
pub(in crate::steer) fn translate<A: Address, F: Frame, W: Stages<F> + Ways<A>>(
    frame: &mut F,
    world: &W,
    place: Place,
    end: End,
    address: A,
    port: [u8; 2],
) -> Option<()> {
    translate_plain(frame, place, end, address, port)?;
    if place.sum_bytes != 0 {
        let at = place.transport;
        frame.write(at + SCTP_CHECKSUM, [0u8; 4])?;
        let sum = crc32c::of(world, frame, at, place.sum_bytes)?;
        frame.write(at + SCTP_CHECKSUM, sum)?;
    }
    Some(())
}

/// The same without SCTP's checksum, which must be summed anew.
#[inline(always)]
pub(in crate::steer) fn translate_plain<A: Address, F: Frame>(
    frame: &mut F,
    place: Place,
    end: End,
    address: A,
    port: [u8; 2],
) -> Option<()> {
    let at = place.transport;
    let port_at = if end == End::Source { at } else { at + 2 };
    let from: [u8; 2] = frame.read(port_at)?;
    let ports = checksum::change(u16::from_le_bytes(from).into(), u16::from_le_bytes(port).into());
    let change = ports + readdress(frame, end, address)?;
    frame.write(port_at, port)?;
    match place.protocol {
        Protocol::Tcp => {
            let sum: [u8; 2] = frame.read(at + TCP_CHECKSUM)?;
            frame.write(at + TCP_CHECKSUM, checksum::after(sum, change))
        }
        Protocol::Udp => {
            let sum: [u8; 2] = frame.read(at + UDP_CHECKSUM)?;
            // The sender made none, so there is none.
            if u16::from_ne_bytes(sum) == 0 {
                return Some(());
            }
            let sum = u16::from_ne_bytes(checksum::after(sum, change));
            // Zero would say that there is none; all ones is the same number (RFC 768).
            frame.write(at + UDP_CHECKSUM, if sum == 0 { 0xffff } else { sum })
        }
        Protocol::Sctp => Some(()),
    }
}

/// Writes another address; what the sum of a pseudo header changes by.
#[inline(always)]
fn readdress<A: Address, F: Frame>(frame: &mut F, end: End, to: A) -> Option<u64> {
    if A::IS_V6 {
        let at = IP_OFFSET + if end == End::Source { SOURCE_V6 } else { DESTINATION_V6 };
        let from: [u8; 16] = frame.read(at)?;
        let to = to.wide();
        frame.write(at, to)?;
        let [from, to]: [[zerocopy::little_endian::U32; 4]; 2] = zerocopy::transmute!([from, to]);
        let changes = from.iter().zip(&to).map(|(from, to)| checksum::change(from.get(), to.get()));
        return Some(changes.sum());
    }
    let at = IP_OFFSET + if end == End::Source { SOURCE } else { DESTINATION };
    let from: [u8; 4] = frame.read(at)?;
    let to = narrowed(to.wide());
    let change = checksum::change(u32::from_le_bytes(from), u32::from_le_bytes(to));
    let sum: [u8; 2] = frame.read(IP_OFFSET + CHECKSUM)?;
    frame.write(at, to)?;
    frame.write(IP_OFFSET + CHECKSUM, checksum::after(sum, change))?;
    Some(change)
}
