//! VS/TUN: the packet travels to the server inside another one. The outer header is as Linux makes it
//! (`ip_vs_tunnel_xmit`, `ip_vs_tunnel_xmit_v6`, 6.1 to 6.12).

use zerocopy::big_endian::{U16, U32};
use zerocopy::{Immutable, IntoBytes, Unaligned};

use super::{ip_bytes, is_v6, one_hop};
use crate::cells::Cells;
use crate::forward::{Tunnel, TunnelChecksum, TunnelKind};
use crate::server::{Server, ServerFlags};
use crate::service::narrowed;
use crate::settings::{Rules, SettingsView};
use crate::steer::World;
use crate::steer::parse::IP_OFFSET;
use crate::table::Hash;
use crate::verdict::Reason;
use crate::wire::ethernet;
use crate::wire::gre::{self, Gre};
use crate::wire::gue::Gue;
use crate::wire::ipv4::{DONT_FRAGMENT, Ipv4, MIN_HEADER_BYTES};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::udp::Udp;
use crate::wire::{Frame, checksum};

/// IANA's numbers of what a tunnel carries.
const IPV4_INSIDE: u8 = 4;
const IPV6_INSIDE: u8 = 41;
const UDP: u8 = 17;

/// The least that must be left of an IPv4 way (`__ip_vs_get_out_rt`; RFC 791's 68).
const MIN_V4_MTU: u32 = 68;

/// Where a flow's outer UDP ports begin, and how many there are (`ip_local_port_range`: 32768 to 60999).
const FIRST_PORT: u32 = 32_768;
const PORTS: u32 = 28_232;

/// The two bits of congestion notification, and what they say.
const ECN_MASK: u8 = 0b11;
const CONGESTED: u8 = 0b11;
const ECN_CAPABLE: u8 = 0b10;

/// What is taken over from the inner packet.
#[derive(Clone, Copy)]
pub(in crate::steer) struct Inner {
    pub(in crate::steer) is_v6: bool,
    /// From its IP header on.
    pub(in crate::steer) bytes: u32,
    /// One hop less already.
    pub(in crate::steer) ttl: u8,
    pub(in crate::steer) traffic_class: u8,
    pub(in crate::steer) must_not_fragment: bool,
}

impl Inner {
    /// `heeds_path`: what says that it must not be fragmented is not (`pmtu_disc`).
    #[inline(always)]
    fn of<F: Frame>(frame: &F, heeds_path: bool) -> Option<Self> {
        let bytes = ip_bytes(frame)?;
        if is_v6(frame)? {
            let ip: Ipv6 = frame.read(IP_OFFSET)?;
            let traffic_class = ip.traffic_class();
            return Some(Self {
                is_v6: true,
                bytes,
                ttl: ip.hop_limit,
                traffic_class,
                must_not_fragment: false,
            });
        }
        let ip: Ipv4 = frame.read(IP_OFFSET)?;
        let must_not_fragment = heeds_path && ip.must_not_fragment();
        Some(Self { is_v6: false, bytes, ttl: ip.ttl, traffic_class: ip.traffic_class, must_not_fragment })
    }

    /// IANA's number of it.
    #[inline(always)]
    const fn protocol(self) -> u8 {
        if self.is_v6 { IPV6_INSIDE } else { IPV4_INSIDE }
    }

    #[inline(always)]
    const fn ethertype(self) -> U16 {
        if self.is_v6 { ethernet::IPV6 } else { ethernet::IPV4 }
    }

    /// Type of service or traffic class of the outer header (`INET_ECN_encapsulate`).
    #[inline(always)]
    const fn outer_class(self) -> u8 {
        let ecn = self.traffic_class & ECN_MASK;
        self.traffic_class & !ECN_MASK | if ecn == CONGESTED { ECN_CAPABLE } else { ecn }
    }
}

/// The header between the outer IP header and the inner packet.
#[derive(Clone, Copy)]
pub(in crate::steer) struct Shim {
    pub(in crate::steer) kind: TunnelKind,
    pub(in crate::steer) has_checksum: bool,
    pub(in crate::steer) port: [u8; 2],
}

impl Shim {
    #[inline(always)]
    pub(in crate::steer) fn of(tunnel: Tunnel) -> Self {
        let kind = TunnelKind::from_raw(tunnel.kind).unwrap_or(TunnelKind::Ipip);
        // A packet from the wire has its checksums, so the receiver has nothing to complete: `remcsum` is `csum` here.
        Self { kind, has_checksum: tunnel.checksum != TunnelChecksum::None.raw(), port: tunnel.port }
    }

    #[inline(always)]
    pub(in crate::steer) const fn bytes(self) -> u32 {
        match self.kind {
            TunnelKind::Ipip => 0,
            TunnelKind::Gue => (size_of::<Udp>() + size_of::<Gue>()) as u32,
            TunnelKind::Gre if self.has_checksum => (size_of::<Gre>() + size_of::<gre::Checksum>()) as u32,
            TunnelKind::Gre => size_of::<Gre>() as u32,
        }
    }

    #[inline(always)]
    const fn protocol(self, inner: Inner) -> u8 {
        match self.kind {
            TunnelKind::Ipip => inner.protocol(),
            TunnelKind::Gue => UDP,
            TunnelKind::Gre => gre::PROTOCOL,
        }
    }
}

/// Bytes that a server's tunnel puts before a packet.
#[inline(always)]
pub(super) fn outer_bytes<C: Cells>(server: Server<C>) -> u32 {
    ip_bytes_of(server.hop().flags.has(ServerFlags::IPV6)) + Shim::of(server.change().tunnel).bytes()
}

/// Bytes of an outer IP header.
#[inline(always)]
pub(in crate::steer) const fn ip_bytes_of(is_v6: bool) -> u32 {
    if is_v6 { ipv6::HEADER_BYTES as u32 } else { MIN_HEADER_BYTES as u32 }
}

/// The least that must be left of the way through a tunnel.
#[inline(always)]
pub(in crate::steer) const fn least_mtu_of(is_v6: bool) -> u32 {
    if is_v6 { ipv6::MIN_MTU } else { MIN_V4_MTU }
}

/// Puts the packet into another one that goes to the server; untouched if no hop is left, or if it is too long.
#[inline(always)]
pub(super) fn rewrite<F: Frame, W: World, C: Cells>(
    frame: &mut F,
    world: &W,
    server: Server<C>,
    hash: Hash,
) -> Result<(), Reason> {
    let (hop, change) = (server.hop(), server.change());
    let shim = Shim::of(change.tunnel);
    let is_outer_v6 = hop.flags.has(ServerFlags::IPV6);
    let more = ip_bytes_of(is_outer_v6) + shim.bytes();
    let mtu = u32::from(change.mtu).saturating_sub(more);
    if mtu < least_mtu_of(is_outer_v6) {
        return Err(Reason::NoTunnel);
    }
    let ip_bytes = ip_bytes(frame).ok_or(Reason::Malformed)?;
    if IP_OFFSET as u32 + ip_bytes > frame.bytes() {
        // Cut off on its way: the stack drops it, untouched (`ip_rcv_core`).
        return Err(Reason::Malformed);
    }
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let (rules, spread) = (settings.rules(), settings.tunnel_spread());
    let heeds_path = rules.has(Rules::PMTU_DISC);
    one_hop(frame, world, ip_bytes, mtu, !heeds_path)?;
    let inner = Inner::of(frame, heeds_path).ok_or(Reason::Malformed)?;
    let may_be_cut = !is_outer_v6 && !inner.must_not_fragment;
    let identification = if may_be_cut { world.random() as u16 } else { 0 };
    frame.grow_front(more).ok_or(Reason::NoTunnel)?;
    wrap(frame, world, server, Outer { is_v6: is_outer_v6, shim, hash, spread, identification }, inner)
}

/// What a packet is put into.
#[derive(Clone, Copy)]
pub(in crate::steer) struct Outer {
    pub(in crate::steer) is_v6: bool,
    pub(in crate::steer) shim: Shim,
    /// The connection's.
    pub(in crate::steer) hash: Hash,
    /// The bits of the source's end that follow the connection ([`SettingsView::tunnel_spread`]).
    pub(in crate::steer) spread: u32,
    /// Of an IPv4 packet that may be fragmented.
    pub(in crate::steer) identification: u16,
}

/// Puts a packet, whose hops are counted and before which there is room now, into another one that goes to the server.
#[inline(always)]
pub(in crate::steer) fn wrap<F: Frame, W: World, C: Cells>(
    frame: &mut F,
    world: &W,
    server: Server<C>,
    Outer { is_v6, shim, hash, spread, identification }: Outer,
    inner: Inner,
) -> Result<(), Reason> {
    let source = spread_source(server.tunnel_source(), is_v6, spread & (hash.0 >> 32) as u32);
    let macs = server.hop().macs;
    let length = shim.bytes() + inner.bytes;
    let done = if is_v6 {
        let ip = Ipv6 {
            version_class_flow: U32::new(6 << 28 | u32::from(inner.outer_class()) << 20),
            payload_bytes: U16::new(length as u16),
            next: shim.protocol(inner),
            hop_limit: inner.ttl,
            source,
            destination: server.address(),
        };
        put_shim::<_, _, { IP_OFFSET + ipv6::HEADER_BYTES }>(frame, world, shim, inner, hash, ip.pseudo_sum())
            .and_then(|()| frame.write(0, Front { macs, ethertype: ethernet::IPV6, ip }))
    } else {
        let ip = Ipv4 {
            version_and_length: 0x45,
            traffic_class: inner.outer_class(),
            total_bytes: U16::new((MIN_HEADER_BYTES as u32 + length) as u16),
            identification: U16::new(if inner.must_not_fragment { 0 } else { identification }),
            fragment: if inner.must_not_fragment { DONT_FRAGMENT } else { U16::new(0) },
            ttl: inner.ttl,
            protocol: shim.protocol(inner),
            checksum: [0; 2],
            source: narrowed(source),
            destination: narrowed(server.address()),
        };
        put_shim::<_, _, { IP_OFFSET + MIN_HEADER_BYTES }>(frame, world, shim, inner, hash, ip.pseudo_sum())
            .and_then(|()| frame.write(0, Front { macs, ethertype: ethernet::IPV4, ip: ip.finished() }))
    };
    done.ok_or(Reason::Malformed)
}

/// What a frame begins with, in one write.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Front<I> {
    macs: [u8; 12],
    ethertype: U16,
    ip: I,
}

/// The outer source: the bits that may differ follow the connection's hash, so that the server's receive queues share the
/// load.
#[inline(always)]
fn spread_source(source: [u8; 16], is_v6: bool, spread: u32) -> [u8; 16] {
    // In cells: made of bytes it would be taken apart and put together again.
    let [first, second]: [[u8; 8]; 2] = zerocopy::transmute!(source);
    let (first, second) = (u64::from_le_bytes(first), u64::from_le_bytes(second));
    let bits = u64::from(spread.swap_bytes());
    let [first, second] = if is_v6 { [first, second ^ bits << 32] } else { [first ^ bits, second] };
    zerocopy::transmute!([first.to_le_bytes(), second.to_le_bytes()])
}

/// Writes the header at `AT` of the grown frame, before the inner packet. `pseudo` is the sum of the pseudo header without
/// UDP's length.
#[inline(always)]
fn put_shim<F: Frame, W: World, const AT: usize>(
    frame: &mut F,
    world: &W,
    shim: Shim,
    inner: Inner,
    hash: Hash,
    pseudo: u64,
) -> Option<()> {
    let bytes = shim.bytes() + inner.bytes;
    match shim.kind {
        TunnelKind::Ipip => Some(()),
        TunnelKind::Gue => {
            let port = FIRST_PORT + (((hash.0 & 0xffff) as u32 * PORTS) >> 16);
            let udp = Udp {
                source: (port as u16).to_be_bytes(),
                destination: shim.port,
                bytes: U16::new(bytes as u16),
                checksum: [0; 2],
            };
            let gue = Gue { version_and_length: 0, protocol: inner.protocol(), flags: U16::new(0) };
            frame.write(AT, udp)?;
            frame.write(AT + size_of::<Udp>(), gue)?;
            if shim.has_checksum {
                let length = u64::from((bytes as u16).to_be());
                let sum = pseudo + length + checksum::sum(world, frame, AT, bytes)?;
                // Zero says that there is none; all ones is the same number (RFC 768).
                let checksum = match checksum::of_sum(sum) {
                    [0, 0] => [0xff; 2],
                    checksum => checksum,
                };
                frame.write(AT, Udp { checksum, ..udp })?;
            }
            Some(())
        }
        TunnelKind::Gre => {
            let flags = if shim.has_checksum { Gre::CHECKSUM } else { U16::new(0) };
            frame.write(AT, Gre { flags, protocol: inner.ethertype() })?;
            if shim.has_checksum {
                let place = AT + size_of::<Gre>();
                frame.write(place, [0u8; 4])?;
                let checksum = checksum::of_sum(checksum::sum(world, frame, AT, bytes)?);
                frame.write(place, gre::Checksum { checksum, reserved: [0; 2] })?;
            }
            Some(())
        }
    }
}
