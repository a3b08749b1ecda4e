//! What the packet path must know beside services and servers: one row, written by the daemon.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::{Address, V4};
use crate::cells::Cells;
use crate::protocol::Protocol;
use crate::server::Method;
use crate::state::{self, State, Timer};
use crate::table::{Seed, Shape};

/// The row. Its first 40 bytes are all that an established TCP connection needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Settings {
    /// [`Seed::offset`] of all tables.
    pub seed_offset: u64,
    /// [`Seed::multiplier`].
    pub seed_multiplier: u64,
    /// [`Shape`] of the connection table. Written by who makes it grow, and by nobody else.
    pub shape: u64,
    /// A connection's due time is written anew only if it moves by at least so many ticks.
    pub refresh: u32,
    /// [`Rules`].
    pub rules: Rules,
    /// How long a connection lives without a packet, in ticks, by [`Timer`].
    pub timeouts: [u32; Timer::COUNT],
    /// Bit n: in this TCP state a connection makes way for a new one with the same ports (`conn_reuse_mode`).
    pub reusable_tcp: u16,
    /// The same of SCTP.
    pub reusable_sctp: u16,
    /// Ticks in a second.
    pub hertz: u32,
    /// How long a set of lblcr may stay as it is before a server leaves it, in ticks.
    pub lblcr_expiration: u32,
    /// Bits of the outer source address that differ from connection to connection, in its last 32 bits; most significant
    /// byte first. 0: tunnels come from the director's own address.
    pub tunnel_spread: u32,
    /// [`Shape`] of the table of IPv6 connections.
    pub shape_v6: u64,
    /// Always zero; see [`Walker::zero`](crate::walk::Walker::zero).
    pub zero: u64,
}

/// Rules that are on or off, a bit each. The lower 16 are named as IPVS's sysctls; the others say what kinds of services
/// there are, so that packets look for no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Rules(pub u32);

impl Rules {
    /// A TCP connection may begin with any packet but RST.
    pub const SLOPPY_TCP: Self = Self(1);
    /// An SCTP association may begin with any chunk but ABORT.
    pub const SLOPPY_SCTP: Self = Self(2);
    /// Connections of a deleted server end at once instead of waiting for it; a new one leaves a server of weight 0.
    pub const EXPIRE_NODEST_CONN: Self = Self(4);
    /// The state machines of `secure_tcp` are in force.
    pub const SECURE_TCP: Self = Self(8);
    /// A template whose server has weight 0 is not used.
    pub const EXPIRE_QUIESCENT_TEMPLATE: Self = Self(16);
    /// Packets of tunnels are not fragmented if the packet inside must not be: its sender is told.
    pub const PMTU_DISC: Self = Self(64);
    /// There are marks to be looked for: a rule, and a service by mark.
    pub const MARKS: Self = Self(1 << 16);
    /// Rules for marks name whole nets: addresses that are no VIP may be a service's too.
    pub const MARKED_NETS: Self = Self(1 << 17);
    /// A service on port 21 of TCP is there: it gets data connections.
    pub const FTP: Self = Self(1 << 18);
    /// A service for all ports of a VIP is there.
    pub const ALL_PORTS: Self = Self(1 << 19);
    /// Some connection may reach its server by VS/NAT: replies have to be looked for.
    pub const MASQUERADE: Self = Self(1 << 20);
    /// Some connection may reach its server by VS/TUN.
    pub const TUNNELS: Self = Self(1 << 21);
    /// There is a service for IPv6 packets.
    pub const IPV6: Self = Self(1 << 22);

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

    /// The bits of rules named as sysctls.
    pub const SYSCTLS: u32 = 0xffff;

    /// The bits of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// With the bits of `other` if a condition holds.
    #[must_use]
    pub const fn with_if(self, other: Self, condition: bool) -> Self {
        if condition { self.and(other) } else { self }
    }
}

/// Cells of the row.
pub const SETTINGS_CELLS: usize = size_of::<Settings>() / 8;
/// The cell that is always zero.
pub const ZERO_CELL: usize = SETTINGS_CELLS - 1;
/// The cell that holds the table's shape.
pub const SHAPE_CELL: usize = 2;
/// The cell that holds that of IPv6's.
pub const SHAPE_V6_CELL: usize = 14;
const REFRESH_CELL: usize = 3;
const TIMEOUTS_CELL: usize = 4;
const REUSABLE_CELL: usize = 12;
const LBLCR_CELL: usize = 13;

impl Settings {
    /// The row as cells.
    pub fn cells(self) -> [u64; SETTINGS_CELLS] {
        zerocopy::transmute!(self)
    }

    /// The row of cells.
    pub fn from_cells(cells: [u64; SETTINGS_CELLS]) -> Self {
        zerocopy::transmute!(cells)
    }
}

/// How the row is read in the packet path.
#[derive(Clone, Copy)]
pub struct SettingsView<C>(pub C);

impl<C: Cells> SettingsView<C> {
    /// The tables' secret.
    #[inline(always)]
    pub fn seed(self) -> Seed {
        Seed { offset: self.0.load(0), multiplier: self.0.load(1) }
    }

    /// Ticks of a timer.
    #[inline(always)]
    pub fn timeout(self, timer: Timer) -> u32 {
        let pair: [u32; 2] = zerocopy::transmute!(self.0.load(TIMEOUTS_CELL + usize::from(timer.0 >> 1 & 7)));
        if timer.0 & 1 == 0 { pair[0] } else { pair[1] }
    }

    /// The least step of a due time, in ticks.
    #[inline(always)]
    pub fn refresh(self) -> u32 {
        self.0.load(REFRESH_CELL) as u32
    }

    /// The rules in force.
    #[inline(always)]
    pub fn rules(self) -> Rules {
        Rules((self.0.load(REFRESH_CELL) >> 32) as u32)
    }

    /// The shape of the table of IPv4 connections.
    #[inline(always)]
    pub fn shape(self) -> Shape {
        self.shape_of::<V4>()
    }

    /// The shape of the connection table of a family.
    #[inline(always)]
    pub fn shape_of<A: Address>(self) -> Shape {
        Shape(self.0.load(A::SHAPE_CELL))
    }

    /// See [`Settings::tunnel_spread`].
    #[inline(always)]
    pub fn tunnel_spread(self) -> u32 {
        (self.0.load(LBLCR_CELL) >> 32) as u32
    }

    /// Ticks in a second.
    #[inline(always)]
    pub fn hertz(self) -> u32 {
        (self.0.load(REUSABLE_CELL) >> 32) as u32
    }

    /// So many seconds in ticks, but at most a quarter of the clock's range: due times compare only within half of it.
    #[inline(always)]
    pub fn ticks_of(self, seconds: u32) -> u32 {
        let ticks = u64::from(self.hertz()) * u64::from(seconds);
        if ticks > 1 << 30 { 1 << 30 } else { ticks as u32 }
    }

    /// Whether connections make way for new ones with the same ports at all.
    #[inline(always)]
    pub fn reuses(self, protocol: Protocol) -> bool {
        self.reusable(protocol) != 0
    }

    /// Whether a connection by a method makes way, in this state, for a new one with the same ports.
    #[inline(always)]
    pub fn is_reusable(self, protocol: Protocol, state: State, method: Method) -> bool {
        let states = self.reusable(protocol);
        let finished = if method == Method::MASQUERADE { state::finished(protocol) } else { u16::MAX };
        state.is_in(states & finished)
    }

    /// How long a set of lblcr may stay as it is, in ticks.
    #[inline(always)]
    pub fn lblcr_expiration(self) -> u32 {
        self.0.load(LBLCR_CELL) as u32
    }

    #[inline(always)]
    fn reusable(self, protocol: Protocol) -> u16 {
        let masks = self.0.load(REUSABLE_CELL);
        match protocol {
            Protocol::Tcp => masks as u16,
            Protocol::Sctp => (masks >> 16) as u16,
            Protocol::Udp => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::V6;
    use core::sync::atomic::AtomicU64;

    #[test]
    fn the_packet_path_reads_what_was_written() {
        let settings = Settings {
            seed_offset: 1,
            seed_multiplier: 3,
            timeouts: core::array::from_fn(|timer| 1000 + timer as u32),
            shape: Shape::new(7, 9).0,
            refresh: 31,
            rules: Rules::default().with_if(Rules::SLOPPY_TCP, true),
            reusable_tcp: 1 << 5,
            reusable_sctp: 1 << 13,
            hertz: 250,
            lblcr_expiration: 77,
            tunnel_spread: 0xff,
            shape_v6: Shape::steady(5).0,
            zero: 0,
        };
        let cells = settings.cells().map(AtomicU64::new);
        let view = SettingsView(&cells[..]);
        assert_eq!(view.seed(), Seed { offset: 1, multiplier: 3 });
        assert_eq!(view.hertz(), 250);
        assert_eq!((view.refresh(), view.shape()), (31, Shape::new(7, 9)));
        assert_eq!((view.lblcr_expiration(), view.tunnel_spread()), (77, 0xff));
        assert_eq!(view.shape_of::<V6>(), Shape::steady(5));
        assert!(view.rules().has(Rules::SLOPPY_TCP) && !view.rules().has(Rules::SECURE_TCP));
        for state in 0..16 {
            let reusable = |protocol| view.is_reusable(protocol, State::from_raw(state), Method::DIRECT);
            assert_eq!(reusable(Protocol::Tcp), state == 5);
            assert_eq!(reusable(Protocol::Sctp), state == 13);
            assert!(!reusable(Protocol::Udp));
        }
        for timer in 0..Timer::COUNT as u8 {
            assert_eq!(view.timeout(Timer(timer)), 1000 + u32::from(timer));
        }
        assert_eq!(Settings::from_cells(settings.cells()), settings);
    }
}
