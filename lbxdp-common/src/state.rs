//! The state machines of IPVS for connections of which only the client's side is seen (VS/DR, VS/TUN).
//!
//! ```text
//!              SYN            ACK                FIN            ACK, FIN
//!   (none) ──────────► SYN_RECV ──► ESTABLISHED ──► FIN_WAIT ──────┐
//!                        │ ▲            │             │ ▲──────────┘
//!                    RST │ │ SYN        │ RST         │ RST
//!                        ▼ │            ▼             ▼
//!                       CLOSE ◄─────────┴─────────────┘
//! ```
//!
//! Source: Linux `net/netfilter/ipvs/ip_vs_proto_tcp.c` (`tcp_states`, `tcp_timeouts`), 6.1 to 6.12.

use crate::named_enum;
use crate::protocol::Protocol;
use crate::wire::tcp::Flags;

/// The number of a state in its protocol's machine (four bits): a [`TcpState`], or 0 for UDP, which has one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(u8);

impl State {
    /// UDP's only state.
    pub const UDP: Self = Self(0);

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

    /// Whether the connection counts as active; a UDP one never does.
    #[inline(always)]
    pub const fn is_active(self, protocol: Protocol) -> bool {
        matches!(protocol, Protocol::Tcp) && ACTIVE >> self.0 & 1 == 1
    }

    /// The word of the listings.
    pub fn name(self, protocol: Protocol) -> &'static str {
        match protocol {
            Protocol::Tcp => TcpState::from_raw(self.0).map_or("ERR!", TcpState::name),
            Protocol::Udp => "UDP",
        }
    }

    /// Which timer the connection runs on.
    #[inline(always)]
    pub const fn timer(self, protocol: Protocol) -> Timer {
        match protocol {
            Protocol::Tcp => Timer(self.0),
            Protocol::Udp => Timer::UDP,
        }
    }
}

named_enum! {
    /// The TCP states of IPVS, with its numbers and words.
    pub enum TcpState: u8 {
        /// Not a state of any connection that a packet has been seen of.
        None = 0 => "NONE",
        /// The client has acknowledged.
        Established = 1 => "ESTABLISHED",
        /// The server opens (only ever from its side).
        SynSent = 2 => "SYN_SENT",
        /// The client opens.
        SynReceived = 3 => "SYN_RECV",
        /// One side has closed.
        FinWait = 4 => "FIN_WAIT",
        /// Both sides have closed.
        TimeWait = 5 => "TIME_WAIT",
        /// Reset, or nonsense.
        Close = 6 => "CLOSE",
        /// The client has closed (two-sided view).
        CloseWait = 7 => "CLOSE_WAIT",
        /// The server closes last (two-sided view).
        LastAck = 8 => "LAST_ACK",
        /// Waits for a data connection.
        Listen = 9 => "LISTEN",
        /// Under attack: the server has answered the SYN.
        SynAck = 10 => "SYNACK",
    }
}

use TcpState::{
    Close, CloseWait, Established, FinWait, LastAck, Listen, None as Fresh, SynAck, SynReceived, SynSent,
    TimeWait,
};

/// Bit n: TCP state n counts as active (`tcp_state_active_table`).
const ACTIVE: u16 = 1 << Established.raw() | 1 << SynSent.raw() | 1 << SynReceived.raw() | 1 << SynAck.raw();

/// One row of a transition table: the next state by the current one, in the order of [`TcpState`].
type Row = [TcpState; TcpState::COUNT];

/// `INPUT_ONLY` of `tcp_states`: what a packet of the client does when the server's packets are not seen.
const INPUT_ONLY_SYN: Row = [
    SynReceived,
    Established,
    Established,
    SynReceived,
    SynReceived,
    SynReceived,
    SynReceived,
    SynReceived,
    SynReceived,
    SynReceived,
    SynReceived,
];
const INPUT_ONLY_FIN: Row =
    [Close, FinWait, SynSent, TimeWait, FinWait, TimeWait, Close, CloseWait, LastAck, Listen, TimeWait];
const INPUT_ONLY_ACK: Row = [
    Established,
    Established,
    SynSent,
    Established,
    FinWait,
    TimeWait,
    Close,
    CloseWait,
    Close,
    Listen,
    Established,
];
const INPUT_ONLY_RST: Row =
    [Close, Close, Close, SynReceived, Close, Close, Close, Close, LastAck, Listen, Close];

/// A row as one number, four bits a state: a transition is a shift, not a load.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const fn packed(row: Row) -> u64 {
    let mut nibbles = 0;
    let mut state = 0;
    while state < row.len() {
        nibbles |= (row[state].raw() as u64) << (state * 4);
        state += 1;
    }
    nibbles
}

/// The TCP state after a client's packet with these flags: RST counts before SYN before FIN before ACK, and a packet
/// with none of them closes the connection.
#[inline(always)]
pub const fn after_client_packet(state: State, flags: Flags) -> State {
    let row = if flags.has(Flags::RST) {
        const { packed(INPUT_ONLY_RST) }
    } else if flags.has(Flags::SYN) {
        const { packed(INPUT_ONLY_SYN) }
    } else if flags.has(Flags::FIN) {
        const { packed(INPUT_ONLY_FIN) }
    } else if flags.has(Flags::ACK) {
        const { packed(INPUT_ONLY_ACK) }
    } else {
        return State::tcp(Close);
    };
    State::from_raw((row >> (state.raw() * 4)) as u8)
}

/// Index of a timer in the settings: one a TCP state, and one for UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer(pub u8);

impl Timer {
    /// UDP's.
    pub const UDP: Self = Self(TcpState::COUNT as u8);
    /// How many there are.
    pub const COUNT: usize = TcpState::COUNT + 1;
}

/// IPVS's timers in seconds (`tcp_timeouts`, `udp_timeouts`); `--set` changes ESTABLISHED, `FIN_WAIT` and UDP.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
pub const DEFAULT_TIMEOUTS_S: [u32; Timer::COUNT] = {
    let mut seconds = [0; Timer::COUNT];
    seconds[Fresh.raw() as usize] = 2;
    seconds[Established.raw() as usize] = 15 * 60;
    seconds[SynSent.raw() as usize] = 2 * 60;
    seconds[SynReceived.raw() as usize] = 60;
    seconds[FinWait.raw() as usize] = 2 * 60;
    seconds[TimeWait.raw() as usize] = 2 * 60;
    seconds[Close.raw() as usize] = 10;
    seconds[CloseWait.raw() as usize] = 60;
    seconds[LastAck.raw() as usize] = 30;
    seconds[Listen.raw() as usize] = 2 * 60;
    seconds[SynAck.raw() as usize] = 2 * 60;
    seconds[Timer::UDP.0 as usize] = 5 * 60;
    seconds
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    /// The table as the reference prints it: a column a state, in the order of their numbers.
    const INPUT_ONLY: &[(&str, &str)] = &[
        ("syn", "SR ES ES SR SR SR SR SR SR SR SR"),
        ("fin", "CL FW SS TW FW TW CL CW LA LI TW"),
        ("ack", "ES ES SS ES FW TW CL CW CL LI ES"),
        ("rst", "CL CL CL SR CL CL CL CL LA LI CL"),
    ];
    const SHORT: [&str; 11] = ["NO", "ES", "SS", "SR", "FW", "TW", "CL", "CW", "LA", "LI", "SA"];

    fn flags(event: &str) -> Flags {
        match event {
            "syn" => Flags::SYN,
            "fin" => Flags::FIN,
            "ack" => Flags::ACK,
            "rst" => Flags::RST,
            other => panic!("no event {other}"),
        }
    }

    #[test]
    fn every_transition_of_the_one_sided_table() {
        for (event, row) in INPUT_ONLY {
            let states: Vec<u8> = (0..11).collect();
            let after: Vec<&str> = states
                .iter()
                .map(|&s| SHORT[usize::from(after_client_packet(State::from_raw(s), flags(event)).raw())])
                .collect();
            assert_eq!(after.join(" "), String::from(*row), "{event}");
        }
    }

    #[test]
    fn flags_have_an_order_and_none_closes() {
        let established = State::tcp(Established);
        let all = Flags::RST.with(Flags::SYN).with(Flags::FIN).with(Flags::ACK);
        assert_eq!(after_client_packet(established, all), State::tcp(Close));
        let syn_fin = Flags::SYN.with(Flags::FIN).with(Flags::ACK);
        assert_eq!(after_client_packet(established, syn_fin), established);
        let fin_ack = Flags::FIN.with(Flags::ACK);
        assert_eq!(after_client_packet(established, fin_ack), State::tcp(FinWait));
        assert_eq!(after_client_packet(established, Flags(0)), State::tcp(Close));
    }

    #[test]
    fn four_tcp_states_are_active_and_udp_never() {
        let active: Vec<&str> = TcpState::ALL
            .iter()
            .filter(|s| State::tcp(**s).is_active(Protocol::Tcp))
            .map(|s| s.name())
            .collect();
        assert_eq!(active, ["ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"]);
        assert!((0..16).all(|raw| !State::from_raw(raw).is_active(Protocol::Udp)));
    }

    #[test]
    fn timers_are_those_of_ipvs() {
        assert_eq!(DEFAULT_TIMEOUTS_S, [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120, 300]);
        assert_eq!(State::tcp(FinWait).timer(Protocol::Tcp), Timer(4));
        assert_eq!(State::UDP.timer(Protocol::Udp), Timer::UDP);
    }
}
