//! A real server as the packet path sees it: where its packets go, and how many connections it has.

use core::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cells::Cells;
use crate::forward::{Forward, Tunnel};
use crate::service::{ServiceKey, ip};
use crate::wire::ethernet::{Mac, Tag};

/// The most rows of servers there can be.
pub const MAX_SERVERS: u32 = 1 << ROW_BITS;
const ROW_BITS: u32 = 16;
const GENERATION_BITS: u32 = 6;
/// The last generation of a row before the first comes again. A row waits until its last connection is gone, so few are
/// enough.
pub const MAX_GENERATION: u8 = (1 << GENERATION_BITS) - 1;

/// Names one server of one service for its life (22 bits): the row, and above it the row's generation.
///
/// A row that is used again gets a new generation, so a connection of the old server never goes to the new one.
/// 0 names no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ServerId(pub u32);

impl ServerId {
    /// No server.
    pub const NONE: Self = Self(0);

    /// Bits of an id.
    pub const BITS: u32 = ROW_BITS + GENERATION_BITS;
    /// All of them.
    pub const MASK: u32 = (1 << Self::BITS) - 1;

    /// The row's id in its generation (1 to [`MAX_GENERATION`], then 1 again).
    pub const fn new(row: u32, generation: u8) -> Self {
        Self(((generation & MAX_GENERATION) as u32) << ROW_BITS | row & (MAX_SERVERS - 1))
    }

    /// Index of the row.
    #[inline(always)]
    pub const fn row(self) -> u32 {
        self.0 & (MAX_SERVERS - 1)
    }

    /// How often the row has been used.
    pub const fn generation(self) -> u8 {
        (self.0 >> ROW_BITS) as u8
    }
}

/// Flags of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct ServerFlags(pub u16);

impl ServerFlags {
    /// Configured; without it the row waits for the last connection of a deleted server to go.
    pub const AVAILABLE: Self = Self(1);
    /// The address is the director's own: packets go to its stack.
    pub const LOCAL: Self = Self(2);
    /// Its weight is 0.
    pub const QUIESCENT: Self = Self(4);
    /// Its address is an IPv6 one.
    pub const IPV6: Self = Self(8);
    /// Packets to it leave with the VLAN tag [`ServerRow::tags`] begins with.
    pub const TAGGED: Self = Self(0x10);
    /// Behind that one stands a second one.
    pub const TWICE_TAGGED: Self = Self(0x20);
    /// New connections go to it by VS/TUN.
    pub const TUNNEL: Self = Self(1 << METHOD_SHIFT);
    /// New connections go to it by VS/NAT.
    pub const MASQUERADE: Self = Self(2 << METHOD_SHIFT);
    /// New connections do not go to it by VS/TUN, but older ones may. The packet path does not read it.
    pub const OLD_TUNNEL: Self = Self(0x100);
    /// New connections do not go to it by VS/NAT, but older ones may. The packet path does not read it.
    pub const OLD_MASQUERADE: Self = Self(0x200);

    /// Whether all bits of `other` are set.
    #[inline(always)]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether some bits of `other` are set.
    #[inline(always)]
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Those of its bits that `others` has too.
    #[inline(always)]
    #[must_use]
    pub const fn among(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// The bits of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without the bits of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// With the bits of `other` if a condition holds.
    #[must_use]
    pub const fn with_if(self, other: Self, condition: bool) -> Self {
        if condition { self.with(other) } else { self }
    }

    /// With what remains of the flags it had: methods that older connections may use.
    #[must_use]
    pub fn after(self, was: Self) -> Self {
        let old = |method, old| was.method() == method || was.has(old);
        self.with_if(
            Self::OLD_TUNNEL,
            old(Method::TUNNEL, Self::OLD_TUNNEL) && self.method() != Method::TUNNEL,
        )
        .with_if(
            Self::OLD_MASQUERADE,
            old(Method::MASQUERADE, Self::OLD_MASQUERADE) && self.method() != Method::MASQUERADE,
        )
    }

    /// Whether some connection may go to the server by VS/NAT.
    pub fn may_masquerade(self) -> bool {
        self.method() == Method::MASQUERADE || self.has(Self::OLD_MASQUERADE)
    }

    /// Whether some connection may go to the server by VS/TUN.
    pub fn may_tunnel(self) -> bool {
        self.method() == Method::TUNNEL || self.has(Self::OLD_TUNNEL)
    }

    /// Whether older connections may go to the server in another way than new ones.
    pub const fn has_old_methods(self) -> bool {
        self.0 & (Self::OLD_TUNNEL.0 | Self::OLD_MASQUERADE.0) != 0
    }

    /// No connection goes to the server in another way than new ones.
    #[must_use]
    pub const fn without_old_methods(self) -> Self {
        self.without(Self::OLD_TUNNEL).without(Self::OLD_MASQUERADE)
    }

    /// How new connections go to the server.
    #[inline(always)]
    pub const fn method(self) -> Method {
        Method((self.0 >> METHOD_SHIFT) as u32 & Method::MASK)
    }

    /// With the bits of a method.
    #[must_use]
    pub const fn by(self, method: Method) -> Self {
        Self(self.0 & !((Method::MASK as u16) << METHOD_SHIFT) | (method.0 as u16) << METHOD_SHIFT)
    }
}

const METHOD_SHIFT: u32 = 6;

/// A forwarding method in two bits, as connections and servers' rows carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Method(pub(crate) u32);

impl Method {
    /// VS/DR.
    pub const DIRECT: Self = Self(0);
    /// VS/TUN.
    pub const TUNNEL: Self = Self(1);
    /// VS/NAT.
    pub const MASQUERADE: Self = Self(2);
    /// Bits of a method.
    pub const BITS: u32 = 2;
    pub(crate) const MASK: u32 = (1 << Self::BITS) - 1;
}

impl From<Forward> for Method {
    fn from(forward: Forward) -> Self {
        match forward {
            Forward::Direct => Self::DIRECT,
            Forward::Tunnel => Self::TUNNEL,
            Forward::Masquerade => Self::MASQUERADE,
        }
    }
}

/// A row of the server table (128 bytes, two cache lines). The first line is all that forwarding needs; without a tunnel its
/// first half will do.
///
/// The first 12 bytes are the two MAC addresses as they stand in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct ServerRow {
    /// MAC address of the next hop; all zero while it is not known.
    pub next_hop: Mac,
    /// MAC address of the interface the packets leave by.
    pub source: Mac,
    /// Slot of that interface in the device map.
    pub port: u16,
    /// See there.
    pub flags: ServerFlags,
    /// [`ServerId`] of the row.
    pub id: u32,
    /// Index of the interface the packets leave by.
    pub ifindex: u32,
    /// The server's port, as in a packet; 0: the packet's.
    pub port_number: [u8; 2],
    /// The longest packet that fits the way to it, in bytes from the IP header on; [`ServerRow::MTU_UNKNOWN`] if that is
    /// not known.
    pub mtu: u16,
    /// For VS/TUN.
    pub tunnel: Tunnel,
    /// RIP, as in a packet; an IPv4 one with zeros behind it.
    pub address: [u8; 16],
    /// The director's address on the way to it, likewise: what tunnels come from.
    pub tunnel_source: [u8; 16],
    /// The VLAN tags that packets to it leave with, as they stand in a frame, the outer one first.
    pub tags: [Tag; 2],
    /// The service it belongs to, so that a deleted server that waits can be told by its row alone; all zero in a row that
    /// no server has. The packet path does not read it.
    pub service: ServiceKey,
    /// Its last weight that was not 0; 0 only if it was added with weight 0 and has had no other since. For the tables of
    /// `mh`; the packet path does not read it.
    pub last_weight: u32,
    /// [`crate::Forward`], raw. The packet path goes by the flags.
    pub forward: u8,
    /// Always zero.
    pub pad: [u8; 3],
    /// Always zero: the rest of the cache line.
    pub rest: [u64; 3],
}

/// Cells of a [`ServerRow`].
pub const SERVER_CELLS: usize = size_of::<ServerRow>() / 8;
/// The cell of [`ServerRow::service`].
pub const SERVICE_CELL: usize = 9;

impl ServerRow {
    /// The row as cells.
    pub fn cells(self) -> [u64; SERVER_CELLS] {
        zerocopy::transmute!(self)
    }

    /// The row of cells.
    pub fn from_cells(cells: [u64; SERVER_CELLS]) -> Self {
        zerocopy::transmute!(cells)
    }

    /// [`ServerRow::mtu`] while it is not known: every packet fits.
    pub const MTU_UNKNOWN: u16 = u16::MAX;

    /// RIP.
    pub fn ip(&self) -> IpAddr {
        ip(self.address, self.flags.has(ServerFlags::IPV6))
    }
}

/// How a row is read in the packet path: only the cells that are needed, each seen whole.
#[derive(Clone, Copy)]
pub struct Server<C>(pub C);

/// The first two cells of a row: where packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Hop {
    /// Both MAC addresses as they stand at the head of a frame.
    pub macs: [u8; 12],
    /// Slot of the way out in the device map.
    pub port: u16,
    /// See there.
    pub flags: ServerFlags,
}

impl Hop {
    /// Whether the next hop's MAC address is known.
    #[inline(always)]
    pub fn is_resolved(self) -> bool {
        let [cell, _]: [u64; 2] = zerocopy::transmute!(self);
        cell.to_le() << 16 != 0
    }
}

/// The fourth cell of a row: how packets are changed for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Change {
    /// See [`ServerRow::port_number`].
    pub port_number: [u8; 2],
    /// See [`ServerRow::mtu`].
    pub mtu: u16,
    /// See [`ServerRow::tunnel`].
    pub tunnel: Tunnel,
}

/// The third cell of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
struct Identity {
    id: u32,
    ifindex: u32,
}

/// The last cell of [`ServerRow::service`].
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
struct ServiceEnd {
    port: [u8; 2],
    protocol: u8,
    kind: u8,
    pad: [u8; 4],
}

impl<C: Cells> Server<C> {
    /// Where its packets go.
    #[inline(always)]
    pub fn hop(self) -> Hop {
        zerocopy::transmute!([self.0.load(0), self.0.load(1)])
    }

    /// Which server the row belongs to now, and the interface its packets leave by.
    #[inline(always)]
    pub fn identity(self) -> (ServerId, u32) {
        let Identity { id, ifindex } = zerocopy::transmute!(self.0.load(2));
        (ServerId(id), ifindex)
    }

    /// How packets are changed for it.
    #[inline(always)]
    pub fn change(self) -> Change {
        zerocopy::transmute!(self.0.load(3))
    }

    /// Whether its service is one for this port of a VIP, or by mark, whatever the port.
    #[inline(always)]
    pub fn serves(self, port: [u8; 2]) -> bool {
        let ServiceEnd { port: services, kind, .. } = zerocopy::transmute!(self.0.load(SERVICE_CELL + 2));
        kind & ServiceKey::BY_MARK != 0 || u16::from_ne_bytes(services) == u16::from_ne_bytes(port)
    }

    /// RIP, as in a packet; an IPv4 one with zeros behind it.
    #[inline(always)]
    pub fn address(self) -> [u8; 16] {
        zerocopy::transmute!([self.0.load(4), self.0.load(5)])
    }

    /// What tunnels come from, likewise.
    #[inline(always)]
    pub fn tunnel_source(self) -> [u8; 16] {
        zerocopy::transmute!([self.0.load(6), self.0.load(7)])
    }

    /// The VLAN tags that packets to it leave with.
    #[inline(always)]
    pub fn tags(self) -> [Tag; 2] {
        zerocopy::transmute!(self.0.load(8))
    }
}

/// How many connections a server has, active and others, in one cell so that both are read at one moment.
///
/// ```text
///  63           62        32 31         0
/// | overloaded | inactive   | active     |
/// ```
///
/// Changes are sums: each change of a connection's state adds exactly one of the steps, and nothing else does. So whoever
/// sets or clears the mark must add to the cell as well ([`Load::OVERLOADED`]; twice is as good as never).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Load(pub u64);

/// Cells of a row of the load table ([`LoadRow`](crate::overload::LoadRow)): a cache line each, so that servers do not share one.
pub const LOAD_CELLS: usize = 8;

impl Load {
    const ACTIVE: u64 = 1;
    const INACTIVE: u64 = 1 << 32;
    /// The mark of a server that has reached its upper threshold, and has not fallen below its lower one since: no
    /// scheduler picks it.
    pub const OVERLOADED: u64 = 1 << 63;

    /// Connections in an active state.
    #[inline(always)]
    pub const fn active(self) -> u32 {
        self.0 as u32
    }

    /// All other connections.
    #[inline(always)]
    pub const fn inactive(self) -> u32 {
        (self.0 >> 32) as u32 & i32::MAX.cast_unsigned()
    }

    /// All connections.
    #[inline(always)]
    pub const fn total(self) -> u64 {
        self.active() as u64 + self.inactive() as u64
    }

    /// Whether it carries the mark.
    #[inline(always)]
    pub const fn is_overloaded(self) -> bool {
        self.0 & Self::OVERLOADED != 0
    }

    /// The same, overloaded.
    #[inline(always)]
    #[must_use]
    pub const fn overloaded(self) -> Self {
        Self(self.0 | Self::OVERLOADED)
    }

    /// The counts alone.
    #[inline(always)]
    #[must_use]
    pub const fn without_overload(self) -> Self {
        Self(self.0 & !Self::OVERLOADED)
    }

    /// What a new connection adds.
    #[inline(always)]
    pub const fn gained(is_active: bool) -> u64 {
        if is_active { Self::ACTIVE } else { Self::INACTIVE }
    }

    /// What the end of a connection adds.
    #[inline(always)]
    pub const fn lost(is_active: bool) -> u64 {
        Self::gained(is_active).wrapping_neg()
    }

    /// What a connection adds that goes from one kind to the other.
    #[inline(always)]
    pub const fn moved(to_active: bool) -> u64 {
        Self::gained(to_active).wrapping_add(Self::lost(!to_active))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn methods_that_older_connections_use_are_remembered() {
        let by = |forward: Forward| ServerFlags::AVAILABLE.by(forward.into());
        let (direct, tunnel, masquerade) =
            (by(Forward::Direct), by(Forward::Tunnel), by(Forward::Masquerade));
        assert_eq!(tunnel.after(tunnel), tunnel);
        assert!(!direct.after(direct).has_old_methods() && !tunnel.after(direct).has_old_methods());
        let left = direct.after(masquerade);
        assert!(left.may_masquerade() && !left.may_tunnel() && left.has_old_methods());
        let both = direct.after(tunnel.after(masquerade));
        assert!(both.may_masquerade() && both.may_tunnel() && both.method() == Method::DIRECT);
        let back = masquerade.after(both);
        assert!(back.may_tunnel() && !back.has(ServerFlags::OLD_MASQUERADE) && back.may_masquerade());
        assert_eq!(both.without_old_methods(), direct);
        // They do not touch each other's bits.
        let all = ServerFlags(u16::MAX);
        assert_eq!(all.without_old_methods().0 | 0x300, u16::MAX);
    }

    #[test]
    fn a_row_is_two_cache_lines_and_its_cells_are_seen_as_they_stand() {
        assert_eq!(size_of::<ServerRow>(), 128);
        let row = ServerRow {
            next_hop: [2, 0, 0, 0, 0, 0x99],
            source: [2, 0, 0, 0, 0, 1],
            port: 7,
            flags: ServerFlags::AVAILABLE,
            id: ServerId::new(5, 3).0,
            ifindex: 42,
            port_number: [0, 80],
            mtu: 1500,
            tunnel: Tunnel { kind: 1, checksum: 2, port: [3, 4] },
            address: [5; 16],
            tunnel_source: [6; 16],
            service: ServiceKey::address([10, 0, 0, 100], [0, 80], 6),
            ..ServerRow::default()
        };
        let service: [u64; 3] = zerocopy::transmute!(row.service);
        assert_eq!(row.cells()[SERVICE_CELL..SERVICE_CELL + 3], service);
        let cells = row.cells().map(core::sync::atomic::AtomicU64::new);
        let server = Server(&cells[..]);
        assert!(server.hop().is_resolved());
        assert_eq!(server.hop().macs, [2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 1]);
        assert_eq!((server.hop().port, server.hop().flags), (7, ServerFlags::AVAILABLE));
        assert_eq!(server.identity(), (ServerId::new(5, 3), 42));
        assert_eq!(server.change(), Change { port_number: [0, 80], mtu: 1500, tunnel: row.tunnel });
        assert_eq!((server.address(), server.tunnel_source()), ([5; 16], [6; 16]));
        assert_eq!(ServerRow::from_cells(row.cells()), row);
        for method in [Method::DIRECT, Method::TUNNEL, Method::MASQUERADE] {
            assert_eq!(ServerFlags::AVAILABLE.by(Method::MASQUERADE).by(method).method(), method);
        }
        let unknown = ServerRow { next_hop: [0; 6], ..row }.cells().map(core::sync::atomic::AtomicU64::new);
        assert!(!Server(&unknown[..]).hop().is_resolved());
    }

    proptest! {
        #[test]
        fn a_load_counts_both_kinds_beside_its_mark(
            steps in proptest::collection::vec((any::<bool>(), 0..3u8), 0..50),
            is_overloaded in any::<bool>(),
        ) {
            let (mut load, mut active, mut inactive) = (Load(0), 0u32, 0u32);
            if is_overloaded {
                load.0 += Load::OVERLOADED;
            }
            for (kind, step) in steps {
                let (of_kind, other) = if kind { (&mut active, &mut inactive) } else { (&mut inactive, &mut active) };
                let change = match step {
                    0 => { *of_kind += 1; Load::gained(kind) }
                    1 if *of_kind > 0 => { *of_kind -= 1; Load::lost(kind) }
                    2 if *other > 0 => { *of_kind += 1; *other -= 1; Load::moved(kind) }
                    _ => 0,
                };
                load = Load(load.0.wrapping_add(change));
                prop_assert_eq!((load.active(), load.inactive()), (active, inactive));
                prop_assert_eq!(load.total(), u64::from(active) + u64::from(inactive));
                prop_assert_eq!(load.is_overloaded(), is_overloaded);
                prop_assert!(!load.without_overload().is_overloaded());
                prop_assert_eq!(load.without_overload().total(), load.total());
            }
        }
    }
}
