//! The next packet of a settled connection: what nearly every packet is, and what all of this exists for. All that it may
//! change of its connection is when that ends. Whatever is not so simple leaves untouched, to be looked at in full.
//!
//! Each instruction here needs a reason: measure before and after you touch it.

use super::follow::counted;
use super::forward::client;
use super::forward::masquerade::{self, End, Place};
use super::forward::tunnel::{self, Inner, Outer, Shim};
use super::forward::{Hops, ODD, leave};
use super::kind::Kind;
use super::parse::{Front, FrontV6, Head, HeadV6, is_whole};
use super::{Stage, Ways};
use crate::address::{Address, V4, V6};
use crate::cells::Cells;
use crate::connection::{Key, Word};
use crate::counters::ServerCounters;
use crate::forward::TunnelKind;
use crate::protocol::Protocol;
use crate::reply::{self, Owner, port_of};
use crate::server::{Method, Server, ServerFlags};
use crate::settings::{Rules, SettingsView};
use crate::state::{Event, Settled};
use crate::table::{self, Buckets, Hash, Slot};
use crate::time::Ticks;
use crate::wire::ethernet::Tag;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::tcp::{Flags, Tcp};
use crate::wire::udp::Udp;
use crate::wire::{Frame, Window};

/// A packet of TCP or UDP whose transport header stands where it does in nearly all packets.
#[derive(Clone, Copy)]
pub(super) struct Plain<A: Address> {
    pub(super) key: A::Cells,
    protocol: Protocol,
    /// Of TCP.
    flags: Flags,
    /// Bytes from the IP header on, all of which are there.
    pub(super) ip_bytes: u32,
    traffic_class: u8,
    must_not_fragment: bool,
}

impl Plain<V4> {
    /// Of what a frame begins with.
    #[inline(always)]
    pub(super) fn of<F: Frame>(frame: &F) -> Option<Self> {
        /// The first byte of an IPv4 header without options.
        const PLAIN: u8 = 0x45;
        let Head { front: Front { ip, .. }, tcp } = frame.read(0)?;
        let ip_bytes = u32::from(ip.total_bytes.get());
        if ip.version_and_length != PLAIN || ip.is_fragment() || is_whole(frame, ip_bytes).is_err() {
            return None;
        }
        let protocol = balanced::<Ipv4>(ip.protocol, ip_bytes)?;
        let key = Key::<V4> {
            client: ip.source,
            vip: ip.destination,
            client_port: tcp.source,
            vip_port: tcp.destination,
            protocol: ip.protocol,
            kind: Key::CONNECTION,
            pad: [0; 2],
        };
        Some(Self {
            key: key.cells(),
            protocol,
            flags: tcp.flags,
            ip_bytes,
            traffic_class: ip.traffic_class,
            must_not_fragment: ip.must_not_fragment(),
        })
    }
}

impl Plain<V6> {
    /// Of what a frame begins with.
    #[inline(always)]
    pub(super) fn of<F: Frame>(frame: &F) -> Option<Self> {
        let HeadV6 { front: FrontV6 { ip, .. }, addresses: [client, vip], tcp } = frame.read(0)?;
        let ip_bytes = u32::from(ip.payload_bytes.get()) + size_of::<Ipv6>() as u32;
        if ip.version_class_flow.get() >> 28 != 6 || is_whole(frame, ip_bytes).is_err() {
            return None;
        }
        let protocol = balanced::<Ipv6>(ip.next, ip_bytes)?;
        // In cells, see `parse::v6_packet`.
        let rest = Key::<V4> {
            client: [0; 4],
            vip: [0; 4],
            client_port: tcp.source,
            vip_port: tcp.destination,
            protocol: ip.next,
            kind: Key::CONNECTION,
            pad: [0; 2],
        };
        let [_, rest] = rest.cells();
        Some(Self {
            key: [client[0], client[1], vip[0], vip[1], rest],
            protocol,
            flags: tcp.flags,
            ip_bytes,
            traffic_class: (ip.version_class_flow.get() >> 20) as u8,
            must_not_fragment: false,
        })
    }
}

impl<A: Address> Plain<A> {
    /// What it is to its connection.
    #[inline(always)]
    pub(super) const fn kind(&self) -> Kind {
        let event = match self.protocol {
            Protocol::Tcp => Event::tcp(self.flags),
            _ => Event::UDP,
        };
        Kind { protocol: self.protocol, event }
    }

    /// The hash of its key.
    #[inline(always)]
    pub(super) fn hash<C: Cells>(&self, settings: SettingsView<C>) -> Hash {
        Hash::of_cells::<A>(self.key, settings.seed())
    }

    /// The state that it leaves as it is; `None` if it begins or ends something.
    #[inline(always)]
    const fn settled(&self) -> Option<Settled> {
        match self.protocol {
            Protocol::Tcp if Settled::is_plain_tcp(self.flags) => Some(Settled::TCP),
            Protocol::Udp => Some(Settled::UDP),
            _ => None,
        }
    }
}

/// TCP or UDP, if so many bytes from an IP header of type `I` on are enough for its header.
#[inline(always)]
fn balanced<I>(protocol: u8, ip_bytes: u32) -> Option<Protocol> {
    let (protocol, least) = match Protocol::from_raw(protocol)? {
        Protocol::Tcp => (Protocol::Tcp, size_of::<I>() + size_of::<Tcp>()),
        Protocol::Udp => (Protocol::Udp, size_of::<I>() + size_of::<Udp>()),
        Protocol::Sctp => return None,
    };
    (ip_bytes >= least as u32).then_some(protocol)
}

/// Sends a packet for a VIP at once if its connection is settled.
///
/// # Errors
/// The stage that is to take it over: `fresh` if it may be the first one of its connection, else `other`.
#[inline(always)]
pub(super) fn go_on<A: Address, F: Window, W: Ways<A>>(
    frame: &mut F,
    world: &W,
    settings: SettingsView<W::Row>,
    plain: Plain<A>,
    fresh: Stage,
    other: Stage,
) -> Result<W::Sent, Stage> {
    let Some(settled) = plain.settled() else {
        return Err(if plain.kind().begins() { fresh } else { other });
    };
    let hash = plain.hash(settings);
    let Some((slot, word)) = table::find_at_home::<A, _>(world, settings.shape_of::<A>(), hash, plain.key)
    else {
        return Err(if matches!(plain.protocol, Protocol::Udp) { fresh } else { other });
    };
    send(frame, world, settings, plain, settled, Known { hash, slot, word }).ok_or(other)
}

/// A packet's connection.
struct Known<C, A> {
    hash: Hash,
    slot: Slot<C, A>,
    word: Word,
}

/// Sends a packet to its server if its connection is settled, and the server's way is known and fits; else the packet is as it
/// was, and all that may have changed is when its connection ends.
#[inline(always)]
#[expect(clippy::needless_pass_by_value, reason = "it is inlined: its parts are what is passed")]
fn send<A: Address, F: Window, W: Ways<A>>(
    frame: &mut F,
    world: &W,
    settings: SettingsView<W::Row>,
    plain: Plain<A>,
    settled: Settled,
    known: Known<<W as Buckets<A>>::Bucket, A>,
) -> Option<W::Sent> {
    let Plain { key, ip_bytes, .. } = plain;
    let Known { hash, slot, word } = known;
    let now = world.now();
    if !word.is_settled_in(settled.state) || table::is_overdue(word, now) {
        return None;
    }
    let server = Server(world.server_row(word.server())?);
    let ((row_id, ifindex), hop) = (server.identity(), server.hop());
    if row_id != word.server()
        || hop.flags.among(ServerFlags::AVAILABLE.with(ODD)) != ServerFlags::AVAILABLE
        || !hop.is_resolved()
    {
        return None;
    }
    let due = now + settings.timeout(settled.timer);
    let moves = due.since(word.due()).unsigned_abs() >= settings.refresh();
    let mtu = u32::from(server.change().mtu);
    match word.method() {
        Method::DIRECT => {
            let hops = Hops::<A>::of(frame).ok()?;
            if ip_bytes > mtu || moves && !slot.change(word, word.until(due)) {
                return None;
            }
            hops.write(frame)?;
            frame.write(0, hop.macs)?;
        }
        Method::TUNNEL => {
            let shim = Shim::of(server.change().tunnel);
            if shim.has_checksum || !settings.rules().has(Rules::PMTU_DISC) {
                return None;
            }
            let trip = Trip { plain, hash, slot, word, due, moves, server, mtu };
            let is_v6 = hop.flags.has(ServerFlags::IPV6);
            // Each kind by itself: how long its header is (of GUE and GRE, of two lengths which), and what stands in it, are numbers then.
            match (shim.kind, is_v6) {
                (TunnelKind::Ipip, false) => {
                    trip.through(frame, world, settings, Shim { kind: TunnelKind::Ipip, ..shim }, false)
                }
                (TunnelKind::Ipip, true) => {
                    trip.through(frame, world, settings, Shim { kind: TunnelKind::Ipip, ..shim }, true)
                }
                (TunnelKind::Gue, _) => {
                    trip.through(frame, world, settings, Shim { kind: TunnelKind::Gue, ..shim }, is_v6)
                }
                (TunnelKind::Gre, _) => {
                    trip.through(frame, world, settings, Shim { kind: TunnelKind::Gre, ..shim }, is_v6)
                }
            }?;
            return Some(world.sent(leave(world, hop, ifindex)));
        }
        _ => {
            // What is due later is the reply entry's time too: that is for the stage.
            if moves {
                return None;
            }
            let hops = Hops::<A>::of(frame).ok()?;
            if ip_bytes > mtu {
                return None;
            }
            hops.write(frame)?;
            let place = Place::plain::<A>(plain.protocol, ip_bytes);
            let port = port_of(server, Key::<A>::from_cells(key));
            masquerade::translate_plain(frame, place, End::Destination, A::of_wide(server.address()), port)?;
            frame.write(0, hop.macs)?;
        }
    }
    world.count(word.server(), counted(ip_bytes, 0));
    Some(world.sent(leave(world, hop, ifindex)))
}

/// A packet on its way into a tunnel.
struct Trip<A: Address, C, R> {
    plain: Plain<A>,
    hash: Hash,
    slot: Slot<C, A>,
    word: Word,
    /// When its connection ends by this packet, and whether that is written.
    due: Ticks,
    moves: bool,
    server: Server<R>,
    mtu: u32,
}

impl<A: Address, C: Cells, R: Cells> Trip<A, C, R> {
    /// Puts the packet into one that goes to the server; else it is as it was.
    #[inline(always)]
    fn through<F: Window, W: Ways<A, Bucket = C>>(
        self,
        frame: &mut F,
        world: &W,
        settings: SettingsView<W::Row>,
        shim: Shim,
        is_v6: bool,
    ) -> Option<()> {
        let Self { plain, hash, slot, word, due, moves, server, mtu } = self;
        let shim = Shim { has_checksum: false, ..shim };
        let more = tunnel::ip_bytes_of(is_v6) + shim.bytes();
        let hops = Hops::<A>::of(frame).ok()?;
        if plain.ip_bytes + more > mtu
            || mtu < more + tunnel::least_mtu_of(is_v6)
            || moves && !slot.change(word, word.until(due))
        {
            return None;
        }
        // Where the packet stands is known now, behind the new header it would have to be asked for.
        hops.write(frame)?;
        let frame = frame.whole();
        if frame.grow_front(more).is_none() {
            hops.take_back(frame)?;
            return None;
        }
        // Nothing of what follows can fail.
        let inner = Inner {
            is_v6: A::IS_V6,
            bytes: plain.ip_bytes,
            ttl: hops.left(),
            traffic_class: plain.traffic_class,
            must_not_fragment: plain.must_not_fragment,
        };
        let packets = world.count(word.server(), counted(plain.ip_bytes, 0));
        // Numbers in a row: packets that may be cut must not be taken for each other while their parts are on their way.
        let identification = (packets as u16).wrapping_add(settings.seed().offset as u16);
        let outer = Outer { is_v6, shim, hash, spread: settings.tunnel_spread(), identification };
        tunnel::wrap(frame, world, server, outer, inner).ok()
    }
}

/// Sends a packet of a server that is reached by VS/NAT back to its client, if the same can be said of it, nothing about its
/// connection has to be written, and this CPU remembers the way to the client; else nothing has happened. The key is that of
/// a packet from a client.
#[inline(always)]
pub(super) fn send_back<A: Address, F: Frame, W: Ways<A>>(
    frame: &mut F,
    world: &W,
    settings: SettingsView<W::Row>,
    plain: Plain<A>,
) -> Option<W::Sent> {
    let Plain { key, ip_bytes, protocol, .. } = plain;
    let settled = plain.settled()?;
    let now = world.now();
    let reply = reply::cells_from::<A>(key);
    let hash = Hash::of_cells::<A>(reply, settings.seed());
    let (slot, word) = table::find_at_home::<A, _>(world, settings.shape_of::<A>(), hash, reply)?;
    let (bond, server) = (slot.bond(), word.server());
    let Owner { key, word, .. } =
        reply::owner_at_home::<A, _>(world, settings, reply::told::<A>(reply), bond, server)?;
    if !word.is_settled_in(settled.state) || table::is_overdue(word, now) {
        return None;
    }
    let due = now + settings.timeout(settled.timer);
    if due.since(word.due()).unsigned_abs() >= settings.refresh() {
        return None;
    }
    let key = Key::<A>::from_cells(key);
    let row = client::remembered(world, key, now)?;
    let hops = Hops::<A>::of(frame).ok()?;
    if ip_bytes > row.mtu() || row.tags() != [Tag::default(); 2] {
        return None;
    }
    hops.write(frame)?;
    masquerade::translate_plain(
        frame,
        Place::plain::<A>(protocol, ip_bytes),
        End::Source,
        key.vip,
        key.vip_port,
    )?;
    let verdict = client::send(frame, world, row).ok()?;
    let reply_bytes = ip_bytes.into();
    world.count(server, ServerCounters { reply_packets: 1, reply_bytes, ..ServerCounters::default() });
    Some(world.sent(verdict))
}
