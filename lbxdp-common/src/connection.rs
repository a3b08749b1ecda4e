//! A connection: its key, and the one cell that holds all that changes about it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::{Address, V4};
use crate::protocol::Protocol;
use crate::server::{Method, ServerId};
use crate::state::State;
use crate::time::Ticks;

/// What identifies a connection: the 5-tuple of a client's packet, as it stands in the packet (network order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C, align(8))]
pub struct Key<A = V4> {
    /// CIP.
    pub client: A,
    /// VIP; of a [reply](kind::REPLY) RIP.
    pub vip: A,
    /// The client's port.
    pub client_port: [u8; 2],
    /// The port of the VIP; of a reply the server's.
    pub vip_port: [u8; 2],
    /// IANA number, as in the IP header.
    pub protocol: u8,
    /// What the entry is: see [`kind`].
    pub kind: u8,
    /// Always zero.
    pub pad: [u8; 2],
}

/// What an entry of the connection table is.
pub mod kind {
    /// A connection.
    pub const CONNECTION: u8 = 0;
    /// A template; see [`crate::template`].
    pub const TEMPLATE: u8 = 1;
    /// How the replies of a connection by VS/NAT find it; see [`crate::reply`].
    pub const REPLY: u8 = 2;
}

/// A key without its addresses: its last cell.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
struct Rest {
    client_port: [u8; 2],
    vip_port: [u8; 2],
    protocol: u8,
    kind: u8,
    pad: [u8; 2],
}

impl<A: Address> Key<A> {
    /// The key as cells.
    #[inline(always)]
    pub fn cells(self) -> A::Cells {
        let Self { client, vip, client_port, vip_port, protocol, kind, pad } = self;
        A::cells(client, vip, zerocopy::transmute!(Rest { client_port, vip_port, protocol, kind, pad }))
    }

    /// The key of such cells.
    #[inline(always)]
    pub fn from_cells(cells: A::Cells) -> Self {
        let (client, vip, rest) = A::parts(cells);
        let Rest { client_port, vip_port, protocol, kind, pad } = zerocopy::transmute!(rest);
        Self { client, vip, client_port, vip_port, protocol, kind, pad }
    }

    /// What the entry of such cells is.
    #[inline(always)]
    pub fn kind_of(cells: A::Cells) -> u8 {
        Self::byte_of_rest(cells, core::mem::offset_of!(Rest, kind))
    }

    /// The protocol of such cells; `None` if they never were a key's.
    #[inline(always)]
    pub fn protocol_of(cells: A::Cells) -> Option<Protocol> {
        Protocol::from_raw(Self::byte_of_rest(cells, core::mem::offset_of!(Rest, protocol)))
    }

    /// By a shift: bytes that are taken from the key would be carried apart, and the kernel's stack has words.
    #[inline(always)]
    fn byte_of_rest(cells: A::Cells, offset: usize) -> u8 {
        let rest = cells.as_ref().last().copied().unwrap_or_default();
        (rest.to_le() >> (8 * offset)) as u8
    }

    /// The protocol; `None` for bytes that never were a key.
    #[inline(always)]
    pub fn protocol(self) -> Option<Protocol> {
        Protocol::from_raw(self.protocol)
    }
}

impl Key {
    /// See [`kind::CONNECTION`].
    pub const CONNECTION: u8 = kind::CONNECTION;
    /// See [`kind::TEMPLATE`].
    pub const TEMPLATE: u8 = kind::TEMPLATE;
}

/// Where packets go: to which server, and by which forwarding method (24 bits: the method above the server's id).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course(pub u32);

impl Course {
    /// All bits of a course.
    pub const MASK: u32 = (1 << (ServerId::BITS + Method::BITS)) - 1;

    /// To a server by a method.
    #[inline(always)]
    pub const fn new(server: ServerId, method: Method) -> Self {
        Self(method.0 << ServerId::BITS | server.0)
    }

    /// The server.
    #[inline(always)]
    pub const fn server(self) -> ServerId {
        ServerId(self.0 & ServerId::MASK)
    }

    /// The forwarding method.
    #[inline(always)]
    pub const fn method(self) -> Method {
        Method(self.0 >> ServerId::BITS & Method::MASK)
    }
}

/// How far an entry of the table is on its way into it (two bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody's.
    Empty,
    /// One CPU's own, and nobody else reads it.
    Claimed,
    /// Complete, but another CPU may be inserting the same key.
    Announced,
    /// A connection.
    Live,
}

/// Everything about a connection that changes, in one cell: it is seen whole, and changed by compare-and-swap.
///
/// ```text
///  63            32 31    30 29          8 7        6           5    2 1   0
/// | due (ticks)    | method | server id   | moving | half open | state|phase|
/// ```
///
/// *Method*: how its packets go to the server; a connection keeps the one it began with (`ip_vs_conn_new` copies it).
///
/// *Half open*: nothing but its opening packet has been seen, so its client may be forged; such entries get a bounded
/// share of the table. *Moving*: the entry is being carried to the bucket where it belongs after the table has grown;
/// what is to change about it must change there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(pub u64);

const PHASE_BITS: u64 = 0b11;
pub(crate) const STATE_SHIFT: u32 = 2;
const STATE_BITS: u64 = 0b1111;
const HALF_OPEN: u64 = 1 << HALF_OPEN_SHIFT;
pub(crate) const HALF_OPEN_SHIFT: u32 = 6;
const MOVING: u64 = 1 << MOVING_SHIFT;
pub(crate) const MOVING_SHIFT: u32 = 7;
const SERVER_SHIFT: u32 = 8;
const SERVER_BITS: u64 = (1 << ServerId::BITS) - 1;
const METHOD_SHIFT: u32 = SERVER_SHIFT + ServerId::BITS;
/// What a connection keeps for its life.
const KEPT_BITS: u64 = (Method::MASK as u64) << METHOD_SHIFT | SERVER_BITS << SERVER_SHIFT;
const DUE_SHIFT: u32 = 32;

impl Word {
    /// A live connection to `server` by VS/DR, in `state`, that expires at `due`.
    #[inline(always)]
    pub const fn live(server: ServerId, state: State, due: Ticks) -> Self {
        Self(
            (due.0 as u64) << DUE_SHIFT
                | (server.0 as u64) << SERVER_SHIFT
                | (state.raw() as u64) << STATE_SHIFT
                | Phase::Live as u64,
        )
    }

    /// The same connection, by another forwarding method.
    #[inline(always)]
    #[must_use]
    pub const fn by(self, method: Method) -> Self {
        Self(self.0 & !((Method::MASK as u64) << METHOD_SHIFT) | (method.0 as u64) << METHOD_SHIFT)
    }

    /// How its packets go to the server.
    #[inline(always)]
    pub const fn method(self) -> Method {
        Method((self.0 >> METHOD_SHIFT) as u32 & Method::MASK)
    }

    /// The same connection in another phase.
    #[inline(always)]
    #[must_use]
    pub const fn in_phase(self, phase: Phase) -> Self {
        Self(self.0 & !PHASE_BITS | phase as u64)
    }

    /// Whether it is a template's: its state says so. Seen from bits alone, for [`crate::table`] asks four words at once.
    #[inline(always)]
    pub const fn is_template(self) -> bool {
        self.0 >> (STATE_SHIFT + 1) & 0b111 == 0b111
    }

    /// The same template, with a state and a due time of its own; still half open if it was.
    #[inline(always)]
    #[must_use]
    pub const fn renewed(self, state: State, due: Ticks) -> Self {
        Self::live(self.server(), state, due).half_open_as(self)
    }

    /// The same one, half open no more.
    #[inline(always)]
    #[must_use]
    pub const fn confirmed(self) -> Self {
        Self(self.0 & !HALF_OPEN)
    }

    /// How far it is.
    #[inline(always)]
    pub const fn phase(self) -> Phase {
        match self.0 & PHASE_BITS {
            0 => Phase::Empty,
            1 => Phase::Claimed,
            2 => Phase::Announced,
            _ => Phase::Live,
        }
    }

    /// Whether it is a connection.
    #[inline(always)]
    pub const fn is_live(self) -> bool {
        self.0 & PHASE_BITS == Phase::Live as u64
    }

    /// The state its protocol is in.
    #[inline(always)]
    pub const fn state(self) -> State {
        State::from_raw((self.0 >> STATE_SHIFT & STATE_BITS) as u8)
    }

    /// Which server it goes to.
    #[inline(always)]
    pub const fn server(self) -> ServerId {
        ServerId((self.0 >> SERVER_SHIFT & SERVER_BITS) as u32)
    }

    /// Where its packets go.
    #[inline(always)]
    pub const fn course(self) -> Course {
        Course((self.0 >> SERVER_SHIFT) as u32 & Course::MASK)
    }

    /// When it expires unless a packet comes.
    #[inline(always)]
    pub const fn due(self) -> Ticks {
        Ticks((self.0 >> DUE_SHIFT) as u32)
    }

    /// The same connection after a packet that its opening one was not: no longer half open.
    #[inline(always)]
    #[must_use]
    pub const fn after(self, state: State, due: Ticks) -> Self {
        Self(
            (due.0 as u64) << DUE_SHIFT
                | self.0 & KEPT_BITS
                | (state.raw() as u64) << STATE_SHIFT
                | Phase::Live as u64,
        )
    }

    /// Whether all but the due time is the same.
    #[inline(always)]
    pub const fn is_like(self, other: Self) -> bool {
        self.0 as u32 == other.0 as u32
    }

    /// The same connection, half open.
    #[inline(always)]
    #[must_use]
    pub const fn half_open(self) -> Self {
        Self(self.0 | HALF_OPEN)
    }

    /// The same connection, half open if `other` is.
    #[inline(always)]
    #[must_use]
    pub const fn half_open_as(self, other: Self) -> Self {
        Self(self.0 | other.0 & HALF_OPEN)
    }

    /// Whether only its opening packet has been seen.
    #[inline(always)]
    pub const fn is_half_open(self) -> bool {
        self.0 & HALF_OPEN != 0
    }

    /// The same connection on its way to another bucket.
    #[inline(always)]
    #[must_use]
    pub const fn moving(self) -> Self {
        Self(self.0 | MOVING)
    }

    /// The same connection where it belongs.
    #[inline(always)]
    #[must_use]
    pub const fn arrived(self) -> Self {
        Self(self.0 & !MOVING)
    }

    /// Whether it is a live connection in this state, where it belongs, and not half open.
    #[inline(always)]
    pub const fn is_settled_in(self, state: State) -> bool {
        self.0 as u8 as u64 == (state.raw() as u64) << STATE_SHIFT | Phase::Live as u64
    }

    /// The same connection, that expires at another time.
    #[inline(always)]
    #[must_use]
    pub const fn until(self, due: Ticks) -> Self {
        Self(self.0 as u32 as u64 | (due.0 as u64) << DUE_SHIFT)
    }

    /// Whether it is on its way to another bucket.
    #[inline(always)]
    pub const fn is_moving(self) -> bool {
        self.0 & MOVING != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::V6;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_word_gives_back_what_it_was_made_of(server in 0u32..1 << ServerId::BITS, method in 0u32..3, state in 0u8..16, due: u32) {
            let word = Word::live(ServerId(server), State::from_raw(state), Ticks(due));
            prop_assert_eq!(word.method(), Method::DIRECT);
            let word = word.by(Method(method));
            prop_assert_eq!((word.method(), word.after(State::UDP, Ticks(0)).method()), (Method(method), Method(method)));
            prop_assert!(word.is_live());
            prop_assert_eq!(word.server(), ServerId(server));
            prop_assert_eq!(word.state(), State::from_raw(state));
            prop_assert_eq!(word.due(), Ticks(due));
            prop_assert!(!word.is_half_open() && word.half_open().is_half_open());
            prop_assert!(!word.is_moving() && word.moving().is_moving() && word.moving().arrived() == word);
            prop_assert_eq!(word.is_template(), word.state().is_template());
            prop_assert_eq!(word.half_open().confirmed(), word);
            prop_assert!(!word.half_open().after(word.state(), word.due()).is_half_open());
            prop_assert!(word.is_like(word.after(word.state(), Ticks(due.wrapping_add(1)))));
            prop_assert!(!word.is_like(word.half_open()));
            prop_assert!(word.is_settled_in(word.state()));
            for other in [word.half_open(), word.moving(), word.in_phase(Phase::Announced), word.after(State::from_raw(state ^ 1), word.due())] {
                prop_assert!(!other.is_settled_in(word.state()));
            }
            prop_assert_eq!(word.half_open().until(Ticks(7)), Word::live(ServerId(server), word.state(), Ticks(7)).by(Method(method)).half_open());
            for phase in [Phase::Empty, Phase::Claimed, Phase::Announced, Phase::Live] {
                prop_assert_eq!(word.in_phase(phase).phase(), phase);
                prop_assert_eq!(word.in_phase(phase).in_phase(Phase::Live), word);
            }
        }

        #[test]
        fn a_key_is_its_two_cells(cells: [u64; 2]) {
            let key = Key::<V4>::from_cells(cells);
            prop_assert_eq!(key.cells(), cells);
            prop_assert_eq!((Key::<V4>::kind_of(cells), Key::<V4>::protocol_of(cells)), (key.kind, key.protocol()));
        }

        #[test]
        fn a_wide_key_is_its_five_cells(cells: [u64; 5]) {
            prop_assert_eq!(Key::<V6>::from_cells(cells).cells(), cells);
        }
    }
}
