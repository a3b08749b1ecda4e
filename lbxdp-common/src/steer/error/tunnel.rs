//! Errors about the packets of our own tunnels. They are for the director, but who has to know is the client whose packet
//! was inside: it gets the error that it would have got, had there been no tunnel (`ip_vs_in_icmp`, RFC 2003, 5).
//!
//! Two stages: one for each family of the outer packet finds the inner one in the quote, one for each family of that finds
//! its connection, whose server must be the one the tunnel led to.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::translate;
use crate::address::Address;
use crate::client_hop::{WANTED, Wanted};
use crate::connection::{Key, kind as entry};
use crate::forward::TunnelKind;
use crate::notice::Notice;
use crate::protocol::Protocol;
use crate::server::{Method, Server, ServerFlags};
use crate::service::widened;
use crate::settings::SettingsView;
use crate::steer::forward::client;
use crate::steer::parse::{IP_OFFSET, V6_OFFSET_MASK};
use crate::steer::refuse::{self, admit};
use crate::steer::{Desk, Stage, Stages, Ways, World};
use crate::table::{self, Found, Hash};
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::gre::{self, Gre};
use crate::wire::gue::Gue;
use crate::wire::icmp::{FRAGMENTATION_NEEDED, ICMP_V6, Icmp, kind, kind_v6};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::udp::Udp;

/// IANA's numbers of what a tunnel carries.
const IPV4_INSIDE: u8 = 4;
const IPV6_INSIDE: u8 = 41;
const UDP: u8 = 17;

/// What an error is about, where both families have a word for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    TooBig,
    Unreachable,
    TimeExceeded,
}

/// An inner packet in the quote of an error, on the desk. Places count from the IP header of the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub(in crate::steer) struct Tunnelled {
    /// Where the quoted outer IP header stands.
    outer: u16,
    /// Where the inner one stands.
    inner: u16,
    /// Of the error's packet.
    bytes: u16,
    /// UDP's destination; 0 without UDP.
    port: [u8; 2],
    /// What fits, as the error says.
    mtu: u32,
    /// [`TunnelKind`].
    tunnel: u8,
    /// 1 if the outer packet is an IPv6 one.
    is_outer_v6: u8,
    /// [`About`].
    about: u8,
    /// Of the error.
    code: u8,
}

/// The stage for IPv4 errors. What is about no tunnel is the stack's.
#[inline(always)]
pub(in crate::steer) fn arrive_v4<F: Frame, W: Stages<F>>(
    world: &W,
    frame: &mut F,
) -> Result<Verdict, Reason> {
    let ip: Ipv4 = frame.read(IP_OFFSET).ok_or(Reason::NotOurs)?;
    let icmp: Icmp = frame.read(IP_OFFSET + ip.header_bytes() as usize).ok_or(Reason::NotOurs)?;
    let about = match icmp.kind {
        kind::DESTINATION_UNREACHABLE if icmp.code == FRAGMENTATION_NEEDED => About::TooBig,
        kind::DESTINATION_UNREACHABLE => About::Unreachable,
        kind::TIME_EXCEEDED => About::TimeExceeded,
        _ => return Err(Reason::NotOurs),
    };
    let outer = ip.header_bytes() + size_of::<Icmp>() as u32;
    let quoted: Ipv4 = frame.read(IP_OFFSET + outer as usize).ok_or(Reason::NotOurs)?;
    let header_bytes = quoted.header_bytes();
    if header_bytes == 0 || quoted.is_later_fragment() || quoted.source != ip.destination {
        return Err(Reason::NotOurs);
    }
    let bytes = ip.total_bytes.get();
    if translate::sum_v4(frame, world, ip.header_bytes(), bytes.into()) != Some([0; 2]) {
        return Err(Reason::NotOurs);
    }
    let [_, _, high, low] = icmp.rest;
    let told = Told {
        outer,
        bytes,
        about,
        code: icmp.code,
        mtu: u16::from_be_bytes([high, low]).into(),
        is_v6: false,
        sender: widened(ip.source),
        destination: widened(quoted.destination),
    };
    unwrap(world, frame, told, quoted.protocol, outer + header_bytes)
}

/// The same of IPv6.
#[inline(always)]
pub(in crate::steer) fn arrive_v6<F: Frame, W: Stages<F>>(
    world: &W,
    frame: &mut F,
) -> Result<Verdict, Reason> {
    let ip: Ipv6 = frame.read(IP_OFFSET).ok_or(Reason::NotOurs)?;
    let icmp: Icmp = frame.read(IP_OFFSET + ipv6::HEADER_BYTES).ok_or(Reason::NotOurs)?;
    let about = match icmp.kind {
        kind_v6::PACKET_TOO_BIG => About::TooBig,
        kind_v6::DESTINATION_UNREACHABLE => About::Unreachable,
        kind_v6::TIME_EXCEEDED => About::TimeExceeded,
        _ => return Err(Reason::NotOurs),
    };
    let outer = (ipv6::HEADER_BYTES + size_of::<Icmp>()) as u32;
    let quoted: Ipv6 = frame.read(IP_OFFSET + outer as usize).ok_or(Reason::NotOurs)?;
    // Our tunnels have no extension headers.
    if ip.next != ICMP_V6 || !quoted.is_version_6() || quoted.source != ip.destination {
        return Err(Reason::NotOurs);
    }
    let bytes = ip.payload_bytes.get().saturating_add(ipv6::HEADER_BYTES as u16);
    if translate::sum_v6(frame, world, ipv6::HEADER_BYTES as u32, bytes.into()) != Some([0; 2]) {
        return Err(Reason::NotOurs);
    }
    let told = Told {
        outer,
        bytes,
        about,
        code: icmp.code,
        mtu: u32::from_be_bytes(icmp.rest),
        is_v6: true,
        sender: ip.source,
        destination: quoted.destination,
    };
    unwrap(world, frame, told, quoted.next, outer + ipv6::HEADER_BYTES as u32)
}

/// An error, and the outer packet that it quotes.
#[derive(Clone, Copy)]
struct Told {
    outer: u32,
    bytes: u16,
    about: About,
    code: u8,
    mtu: u32,
    is_v6: bool,
    sender: [u8; 16],
    destination: [u8; 16],
}

/// Looks what the outer packet carries `at` a place, and gives that over to the stage for it.
#[inline(always)]
fn unwrap<F: Frame, W: Stages<F>>(
    world: &W,
    frame: &mut F,
    told: Told,
    protocol: u8,
    at: u32,
) -> Result<Verdict, Reason> {
    let place = IP_OFFSET + at as usize;
    let (tunnel, inside, more, port) = match protocol {
        IPV4_INSIDE | IPV6_INSIDE => (TunnelKind::Ipip, protocol, 0, [0; 2]),
        UDP => {
            let udp: Udp = frame.read(place).ok_or(Reason::NotOurs)?;
            let Some(gue) = frame.read::<Gue>(place + size_of::<Udp>()) else {
                return Err(learn_alone(world, told));
            };
            if !gue.is_data() {
                return Err(Reason::NotOurs);
            }
            let more = (size_of::<Udp>() + size_of::<Gue>()) as u32 + gue.optional_bytes();
            (TunnelKind::Gue, gue.protocol, more, udp.destination)
        }
        gre::PROTOCOL => {
            let gre: Gre = frame.read(place).ok_or(Reason::NotOurs)?;
            let more = if gre.flags == Gre::CHECKSUM { size_of::<gre::Checksum>() } else { 0 };
            let inside = match gre.protocol {
                ethernet::IPV4 => IPV4_INSIDE,
                ethernet::IPV6 => IPV6_INSIDE,
                _ => return Err(Reason::NotOurs),
            };
            (TunnelKind::Gre, inside, (size_of::<Gre>() + more) as u32, [0; 2])
        }
        _ => return Err(Reason::NotOurs),
    };
    let stage = match inside {
        IPV4_INSIDE => Stage::TunnelledV4,
        IPV6_INSIDE => Stage::TunnelledV6,
        _ => return Err(Reason::NotOurs),
    };
    // Addresses and ports of the inner packet must be there.
    let least = if inside == IPV4_INSIDE { size_of::<Ipv4>() } else { ipv6::HEADER_BYTES } as u32 + 8;
    let inner = at + more;
    if inner + least > u32::from(told.bytes) || IP_OFFSET as u32 + u32::from(told.bytes) > frame.bytes() {
        return Err(learn_alone(world, told));
    }
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    desk.put_tunnelled(Tunnelled {
        outer: told.outer as u16,
        inner: inner as u16,
        bytes: told.bytes,
        port,
        mtu: told.mtu,
        tunnel: tunnel.raw(),
        is_outer_v6: told.is_v6.into(),
        about: told.about as u8,
        code: told.code,
    });
    world.enter(stage, frame)
}

/// An error that quotes too little to find out whom to tell says at least what fits. Nothing of it can be verified, so the
/// stack has it too, and its limits hold.
#[inline(always)]
fn learn_alone<W: World>(world: &W, told: Told) -> Reason {
    if told.about == About::TooBig && admit(world, told.sender).is_ok() {
        learn(world, told.destination, told.is_v6, told.mtu);
    }
    Reason::NotOurs
}

/// Has the daemon know what fits the way to an address.
#[inline(always)]
fn learn<W: World>(world: &W, address: [u8; 16], is_v6: bool, mtu: u32) {
    if let Some(place) = world.wanted(address.folded() % WANTED) {
        Wanted(place).put_mtu(address, is_v6, mtu.min(u16::MAX.into()) as u16);
    }
}

/// What Linux takes for the MTU of an IPv4 path if an error says less (`ip_rt_min_pmtu`).
const LEAST_V4: u32 = 552;

/// The stage for an inner packet of IPv4.
#[inline(always)]
pub(in crate::steer) fn tell_v4<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    let tunnelled = desk.tunnelled();
    let inner_at = u32::from(tunnelled.inner) & V6_OFFSET_MASK;
    let inner: Ipv4 = frame.read(IP_OFFSET + inner_at as usize).ok_or(Reason::NotOurs)?;
    let header_bytes = inner.header_bytes();
    if header_bytes == 0 || inner.is_later_fragment() {
        return Err(Reason::NotOurs);
    }
    let ports_at = IP_OFFSET + (inner_at + header_bytes) as usize;
    let key = key_of(frame, inner.source, inner.destination, inner.protocol, ports_at)?;
    let mtu = served(world, frame, tunnelled, key)?;
    let is_v6 = tunnelled.is_outer_v6 != 0;
    let error = match about(tunnelled) {
        // Who lets routers fragment is not told by them.
        About::TooBig if mtu == 0 || !inner.must_not_fragment() => return Err(Reason::TunnelError),
        About::TooBig => Icmp::fragmentation_needed(mtu),
        // "Host unreachable" is what the other family's reasons have in common.
        About::Unreachable => {
            Icmp::error(kind::DESTINATION_UNREACHABLE, if is_v6 { 1 } else { tunnelled.code }, [0; 4])
        }
        About::TimeExceeded => Icmp::error(kind::TIME_EXCEEDED, tunnelled.code, [0; 4]),
    };
    if error.is_limited() {
        admit(world, inner.source).map_err(|notice| limited(world, notice))?;
    }
    let way = client::way(world, frame, key, world.now())?;
    let quoted = uncover(frame, tunnelled, ethernet::IPV4).ok_or(Reason::TunnelError)?;
    refuse::v4::turn_into(frame, world, error, quoted.min(refuse::v4::MOST_QUOTED))
        .ok_or(Reason::TunnelError)?;
    world.count_notice(Notice::Relayed);
    client::send(frame, world, way)
}

/// The stage for an inner packet of IPv6.
#[inline(always)]
pub(in crate::steer) fn tell_v6<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    let tunnelled = desk.tunnelled();
    let inner_at = u32::from(tunnelled.inner) & V6_OFFSET_MASK;
    let inner: Ipv6 = frame.read(IP_OFFSET + inner_at as usize).ok_or(Reason::NotOurs)?;
    if !inner.is_version_6() {
        return Err(Reason::NotOurs);
    }
    let (protocol, ports) = super::quote::behind(frame, world, inner.next, inner_at)?;
    let key = key_of(frame, inner.source, inner.destination, protocol, IP_OFFSET + ports as usize)?;
    let mtu = served(world, frame, tunnelled, key)?;
    let is_v6 = tunnelled.is_outer_v6 != 0;
    let error = match about(tunnelled) {
        About::TooBig if mtu == 0 => return Err(Reason::TunnelError),
        About::TooBig => Icmp::packet_too_big(mtu),
        // "Address unreachable" is what the other family's reasons have in common (RFC 2473, 8.3).
        About::Unreachable => {
            Icmp::error(kind_v6::DESTINATION_UNREACHABLE, if is_v6 { tunnelled.code } else { 3 }, [0; 4])
        }
        About::TimeExceeded => Icmp::error(kind_v6::TIME_EXCEEDED, tunnelled.code, [0; 4]),
    };
    if error.is_limited_v6() {
        admit(world, inner.source).map_err(|notice| limited(world, notice))?;
    }
    let way = client::way(world, frame, key, world.now())?;
    let quoted = uncover(frame, tunnelled, ethernet::IPV6).ok_or(Reason::TunnelError)?;
    refuse::v6::turn_into(frame, world, error, quoted.min(refuse::v6::MOST_QUOTED))
        .ok_or(Reason::TunnelError)?;
    world.count_notice(Notice::Relayed);
    client::send(frame, world, way)
}

#[inline(always)]
fn limited<W: World>(world: &W, notice: Notice) -> Reason {
    world.count_notice(notice);
    Reason::TunnelError
}

#[inline(always)]
fn about(tunnelled: Tunnelled) -> About {
    match tunnelled.about {
        0 => About::TooBig,
        1 => About::Unreachable,
        _ => About::TimeExceeded,
    }
}

/// The key of the inner packet's connection: it is as the client sent it.
#[inline(always)]
fn key_of<A, F: Frame>(frame: &F, client: A, vip: A, protocol: u8, at: usize) -> Result<Key<A>, Reason> {
    let [client_port, vip_port]: [[u8; 2]; 2] = frame.read(at).ok_or(Reason::NotOurs)?;
    Protocol::from_raw(protocol).ok_or(Reason::NotOurs)?;
    Ok(Key { client, vip, client_port, vip_port, protocol, kind: entry::CONNECTION, pad: [0; 2] })
}

/// Whether the connection goes to the server to which the outer packet went, by such a tunnel; what of an inner packet fits
/// there, which the daemon is told: 0 if that is not known, or cannot be.
#[inline(always)]
fn served<A: Address, F: Frame, W: Ways<A>>(
    world: &W,
    frame: &F,
    tunnelled: Tunnelled,
    key: Key<A>,
) -> Result<u32, Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let hash = Hash::of(key, settings.seed());
    let found = table::find(world, settings.shape_of::<A>(), hash, key).ok_or(Reason::NotOurs)?;
    let (Found::Here(_, word) | Found::OnItsWay(word)) = found;
    let server = Server(world.server_row(word.server()).ok_or(Reason::NotOurs)?);
    let (hop, change, is_v6) = (server.hop(), server.change(), tunnelled.is_outer_v6 != 0);
    let is_the_same = server.identity().0 == word.server()
        && word.method() == Method::TUNNEL
        && hop.flags.has(ServerFlags::IPV6) == is_v6
        && change.tunnel.kind == tunnelled.tunnel
        && u16::from_ne_bytes(change.tunnel.port) == u16::from_ne_bytes(tunnelled.port);
    let address = destination(frame, tunnelled).ok_or(Reason::NotOurs)?;
    if !is_the_same || !is_same(address, server.address()) {
        return Err(Reason::NotOurs);
    }
    if about(tunnelled) != About::TooBig {
        return Ok(0);
    }
    let least = if is_v6 { ipv6::MIN_MTU } else { LEAST_V4 };
    // Less than every link takes is not believed (RFC 8201, 4); of IPv4 it is taken for the least that is.
    let mtu = if is_v6 { tunnelled.mtu } else { tunnelled.mtu.max(least) };
    let known = u32::from(change.mtu);
    if mtu < least || mtu > known {
        return Ok(0);
    }
    learn(world, address, is_v6, mtu);
    let overhead = u32::from(tunnelled.inner).wrapping_sub(u32::from(tunnelled.outer));
    let fits = mtu.saturating_sub(overhead);
    Ok(if A::IS_V6 && fits < ipv6::MIN_MTU { 0 } else { fits })
}

#[inline(always)]
fn is_same(one: [u8; 16], other: [u8; 16]) -> bool {
    let [one, other]: [[u64; 2]; 2] = zerocopy::transmute!([one, other]);
    one[0] == other[0] && one[1] == other[1]
}

/// Where the outer packet went.
#[inline(always)]
fn destination<F: Frame>(frame: &F, tunnelled: Tunnelled) -> Option<[u8; 16]> {
    let at = IP_OFFSET + (u32::from(tunnelled.outer) & V6_OFFSET_MASK) as usize;
    if tunnelled.is_outer_v6 != 0 {
        let ip: Ipv6 = frame.read(at)?;
        return Some(ip.destination);
    }
    let ip: Ipv4 = frame.read(at)?;
    Some(widened(ip.destination))
}

/// Takes off everything before the inner packet but an Ethernet header; how many bytes of it there are.
#[inline(always)]
fn uncover<F: Frame>(
    frame: &mut F,
    tunnelled: Tunnelled,
    ethertype: zerocopy::big_endian::U16,
) -> Option<u32> {
    let inner = u32::from(tunnelled.inner) & V6_OFFSET_MASK;
    frame.cut_front(inner)?;
    // Its addresses are the client's next hop's in the end.
    frame.write(0, Ethernet { destination: [0; 6], source: [0; 6], ethertype })?;
    Some(u32::from(tunnelled.bytes).wrapping_sub(inner))
}
