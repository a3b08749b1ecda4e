//! The state machines of IPVS: what state a packet brings its connection to, and how long it lives then.
//!
//! Each protocol's tables stand in its file; UDP, with one state, needs none. All of it is numbers and shifts: with a
//! constant [`View`] a transition in the packet path costs no look into memory.

mod sctp;
mod tcp;
#[cfg(test)]
mod tests;

pub use sctp::{SctpEvent, SctpState};
pub use tcp::TcpState;

use crate::protocol::Protocol;
use crate::wire::sctp::ChunkKind;
use crate::wire::tcp::Flags;

/// The number of a state in its protocol's machine (four bits): a [`TcpState`], a [`SctpState`], or 0 for UDP, which
/// has one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(u8);

impl State {
    /// Every machine begins here, before the first packet.
    pub const NONE: Self = Self(0);
    /// UDP's only state.
    pub const UDP: Self = Self(0);
    /// A template ([`crate::template`]); no protocol has so many states.
    pub const TEMPLATE: Self = Self(14);
    /// A template of which a connection has been established (`IP_VS_CTPL_S_ASSURED`).
    pub const TEMPLATE_ASSURED: Self = Self(15);

    /// The state of a record's number.
    #[inline(always)]
    pub const fn from_raw(raw: u8) -> Self {
        Self(raw & 0xf)
    }

    /// The number in records.
    #[inline(always)]
    pub const fn raw(self) -> u8 {
        self.0
    }

    /// The TCP state of this number.
    #[inline(always)]
    pub const fn tcp(state: TcpState) -> Self {
        Self(state.raw())
    }

    /// The SCTP state of this number.
    #[inline(always)]
    pub const fn sctp(state: SctpState) -> Self {
        Self(state.raw())
    }

    /// Whether it is a template's, not a connection's.
    #[inline(always)]
    pub const fn is_template(self) -> bool {
        self.0 >= Self::TEMPLATE.0
    }

    /// Whether a connection in this state shows that its client is a real one, so that its template is assured
    /// (`ip_vs_control_assure_ct`): established. For UDP that takes a server's packet, which is not seen here.
    #[inline(always)]
    pub const fn assures(self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Tcp => self.0 == TcpState::Established.raw(),
            Protocol::Udp => false,
            Protocol::Sctp => self.0 == SctpState::Established.raw(),
        }
    }

    /// Whether the connection counts as active; a UDP one never does.
    #[inline(always)]
    pub const fn is_active(self, protocol: Protocol) -> bool {
        let active = match protocol {
            Protocol::Tcp => tcp::ACTIVE,
            Protocol::Udp => return false,
            Protocol::Sctp => sctp::ACTIVE,
        };
        self.is_in(active)
    }

    /// Whether it is one of a set: bit n stands for the state of number n.
    #[inline(always)]
    pub const fn is_in(self, states: u16) -> bool {
        states >> self.0 & 1 == 1
    }

    /// The word of the listings. Only templates are there without a protocol.
    pub fn name(self, protocol: impl Into<Option<Protocol>>) -> &'static str {
        let Some(protocol) = protocol.into().filter(|_| !self.is_template()) else {
            return if self == Self::TEMPLATE_ASSURED { "ASSURED" } else { "NONE" };
        };
        match protocol {
            Protocol::Tcp => TcpState::from_raw(self.0).map_or("ERR!", TcpState::name),
            Protocol::Udp => "UDP",
            Protocol::Sctp => SctpState::from_raw(self.0).map_or("ERR!", SctpState::name),
        }
    }

    /// Which timer the connection runs on.
    #[inline(always)]
    pub const fn timer(self, protocol: Protocol) -> Timer {
        match protocol {
            Protocol::Tcp => Timer(self.0),
            Protocol::Udp => Timer::UDP,
            Protocol::Sctp => Timer(Timer::SCTP.0 + self.next_in(sctp::TIMERS).0),
        }
    }

    /// What a [`packed`] row has for this state.
    #[inline(always)]
    const fn next_in(self, row: u64) -> Self {
        Self::from_raw((row >> (self.0 * 4)) as u8)
    }
}

/// A row of numbers by state as one number, four bits a state: a transition is a shift, not a load.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const fn packed<const STATES: usize>(row: [u8; STATES]) -> u64 {
    let mut nibbles = 0;
    let mut state = 0;
    while state < STATES {
        nibbles |= (row[state] as u64) << (state * 4);
        state += 1;
    }
    nibbles
}

/// Who has sent a packet, and whether both sides' packets are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The client, and only the client's packets are seen (VS/DR, VS/TUN).
    ClientOnly,
    /// The client, and the server's are seen too (VS/NAT).
    Client,
    /// The server.
    Server,
}

/// What a packet means to its connection, as a number of its protocol: TCP's control bits, the kind of SCTP's first
/// chunk, nothing for UDP. Only this module looks inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event(u8);

impl Event {
    /// The event of a number that [`Event::raw`] gave.
    #[inline(always)]
    pub const fn from_raw(raw: u8) -> Self {
        Self(raw)
    }

    /// As a number.
    #[inline(always)]
    pub const fn raw(self) -> u8 {
        self.0
    }

    /// Any packet of UDP.
    pub const UDP: Self = Self(0);

    /// A TCP packet with these control bits.
    #[inline(always)]
    pub const fn tcp(flags: Flags) -> Self {
        Self(flags.0)
    }

    /// An SCTP packet whose first chunk is of this kind; one that is to count as an ABORT is given as that.
    #[inline(always)]
    pub const fn sctp(kind: ChunkKind) -> Self {
        Self(sctp::event(kind))
    }

    #[inline(always)]
    const fn of_tcp(self) -> Flags {
        Flags(self.0)
    }

    #[inline(always)]
    const fn of_sctp(self) -> SctpEvent {
        match SctpEvent::from_raw(self.0) {
            Some(chunk) => chunk,
            None => SctpEvent::Data,
        }
    }
}

/// Whether a packet may open a connection. `is_sloppy`: one that is already going on elsewhere may be taken over
/// (`sloppy_tcp`, `sloppy_sctp`).
#[inline(always)]
pub const fn opens(protocol: Protocol, event: Event, is_sloppy: bool) -> bool {
    match protocol {
        Protocol::Tcp => (is_sloppy || event.of_tcp().has(Flags::SYN)) && !event.of_tcp().has(Flags::RST),
        Protocol::Udp => true,
        Protocol::Sctp => match event.of_sctp() {
            SctpEvent::Init => true,
            SctpEvent::Abort => false,
            _ => is_sloppy,
        },
    }
}

/// Whether a packet begins a connection, whatever there was before (`is_new_conn`): a SYN, even one that acknowledges
/// or resets; an INIT. UDP knows no beginning.
#[inline(always)]
pub const fn begins(protocol: Protocol, event: Event) -> bool {
    match protocol {
        Protocol::Tcp => event.of_tcp().has(Flags::SYN),
        Protocol::Udp => false,
        Protocol::Sctp => matches!(event.of_sctp(), SctpEvent::Init),
    }
}

/// Whether a packet shows that the client means the connection: not one that begins it, and not one that a host sends
/// which knows nothing of it (RST, ABORT).
#[inline(always)]
pub const fn confirms(protocol: Protocol, event: Event) -> bool {
    match protocol {
        Protocol::Tcp => event.of_tcp().0 & (Flags::SYN.0 | Flags::RST.0) == 0,
        Protocol::Udp => true,
        Protocol::Sctp => !matches!(event.of_sctp(), SctpEvent::Init | SctpEvent::Abort),
    }
}

/// The state after a packet. `is_guarded`: TCP's tables for a director under attack are in force (`secure_tcp`).
#[inline(always)]
pub const fn after(protocol: Protocol, view: View, is_guarded: bool, state: State, event: Event) -> State {
    match protocol {
        Protocol::Tcp => tcp::after(view, is_guarded, state, event.of_tcp()),
        Protocol::Udp => State::UDP,
        Protocol::Sctp => sctp::after(view, state, event.of_sctp()),
    }
}

/// A state that the plain packets of both sides leave as it is, whatever the [`View`]: that of nearly every connection at
/// nearly every packet. Such packets need not ask the machine.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// The state.
    pub state: State,
    /// Which timer a connection runs on in this state.
    pub timer: Timer,
}

impl Settled {
    /// TCP's, for packets that [are plain](Settled::is_plain_tcp).
    pub const TCP: Self = Self::of(State::tcp(TcpState::Established), Protocol::Tcp);
    /// UDP's, for all packets.
    pub const UDP: Self = Self::of(State::UDP, Protocol::Udp);

    const fn of(state: State, protocol: Protocol) -> Self {
        Self { state, timer: state.timer(protocol) }
    }

    /// Whether a TCP packet neither begins anything nor ends it.
    #[inline(always)]
    pub const fn is_plain_tcp(flags: Flags) -> bool {
        const ENDS: u8 = Flags::SYN.0 | Flags::FIN.0 | Flags::RST.0;
        flags.0 & (ENDS | Flags::ACK.0) == Flags::ACK.0
    }
}

/// The states in which a packet that [`begins`] is scheduled anew, as a set for [`State::is_in`], of a connection of
/// which only the client's packets are seen. `conn_reuse_mode` is IPVS's: 0 never, bit 1 after a client's FIN too.
pub const fn reusable_states(protocol: Protocol, conn_reuse_mode: u32) -> u16 {
    match (protocol, conn_reuse_mode) {
        (_, 0) | (Protocol::Udp, _) => 0,
        (Protocol::Tcp, mode) if mode & 2 != 0 => tcp::FINISHED | tcp::CLOSED_BY_CLIENT,
        (Protocol::Tcp, _) => tcp::FINISHED,
        (Protocol::Sctp, _) => sctp::FINISHED,
    }
}

/// The states in which a connection is over whose server's packets are seen too.
#[inline(always)]
pub const fn finished(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tcp => tcp::FINISHED,
        Protocol::Udp => 0,
        Protocol::Sctp => sctp::FINISHED,
    }
}

/// Index of a timer in the settings: one a TCP state, one for UDP, four for SCTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer(pub u8);

impl Timer {
    /// UDP's.
    pub const UDP: Self = Self(TcpState::COUNT as u8);
    /// Of a TCP connection of which only the opening packet has been seen.
    pub const OPENING: Self = Self(TcpState::SynReceived.raw());
    /// The first of SCTP's: none, opening (INIT1, REJECTED), established, all other states.
    pub const SCTP: Self = Self(Self::UDP.0 + 1);
    /// How many there are.
    pub const COUNT: usize = Self::SCTP.0 as usize + 4;
}

/// IPVS's timers in seconds (`tcp_timeouts`, `udp_timeouts`, `sctp_timeouts`); `--set` changes TCP's ESTABLISHED and
/// `FIN_WAIT`, and UDP.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
pub const DEFAULT_TIMEOUTS_S: [u32; Timer::COUNT] = {
    let mut seconds = [0; Timer::COUNT];
    seconds[TcpState::None.raw() as usize] = 2;
    seconds[TcpState::Established.raw() as usize] = 15 * 60;
    seconds[TcpState::SynSent.raw() as usize] = 2 * 60;
    seconds[TcpState::SynReceived.raw() as usize] = 60;
    seconds[TcpState::FinWait.raw() as usize] = 2 * 60;
    seconds[TcpState::TimeWait.raw() as usize] = 2 * 60;
    seconds[TcpState::Close.raw() as usize] = 10;
    seconds[TcpState::CloseWait.raw() as usize] = 60;
    seconds[TcpState::LastAck.raw() as usize] = 30;
    seconds[TcpState::Listen.raw() as usize] = 2 * 60;
    seconds[TcpState::SynAck.raw() as usize] = 2 * 60;
    seconds[Timer::UDP.0 as usize] = 5 * 60;
    seconds[State::sctp(SctpState::None).timer(Protocol::Sctp).0 as usize] = 2;
    seconds[State::sctp(SctpState::Init1).timer(Protocol::Sctp).0 as usize] = 4;
    seconds[State::sctp(SctpState::Established).timer(Protocol::Sctp).0 as usize] = 15 * 60;
    seconds[State::sctp(SctpState::Closed).timer(Protocol::Sctp).0 as usize] = 61;
    seconds
};
