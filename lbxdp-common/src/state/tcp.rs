//! TCP's states, and what a packet makes of them.
//!
//! ```text
//!  seen from the client's side alone (VS/DR, VS/TUN):
//!
//!              SYN            ACK                FIN            ACK, FIN
//!   (none) ──────────► SYN_RECV ──► ESTABLISHED ──► FIN_WAIT ──────┐
//!                       ▲ ▲  │          │             │ ▲──────────┘
//!                   SYN │ └──┘ RST      │ RST         │ RST
//!                       │               ▼             │
//!                       └──────────── CLOSE ◄─────────┘
//! ```
//!
//! Source: Linux `net/netfilter/ipvs/ip_vs_proto_tcp.c` (`tcp_states`, `tcp_states_dos`), 6.1 to 6.12.

use super::{State, View, packed};
use crate::named_enum;
use crate::wire::tcp::Flags;

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

const ES: u8 = TcpState::Established.raw();
const SS: u8 = TcpState::SynSent.raw();
const SR: u8 = TcpState::SynReceived.raw();
const FW: u8 = TcpState::FinWait.raw();
const TW: u8 = TcpState::TimeWait.raw();
const CL: u8 = TcpState::Close.raw();
const CW: u8 = TcpState::CloseWait.raw();
const LA: u8 = TcpState::LastAck.raw();
const LI: u8 = TcpState::Listen.raw();
const SA: u8 = TcpState::SynAck.raw();

/// Bit n: state n counts as active (`tcp_state_active_table`).
pub(super) const ACTIVE: u16 = 1 << ES | 1 << SS | 1 << SR | 1 << SA;
/// Bit n: a client that begins anew finds the old connection finished in state n.
pub(super) const FINISHED: u16 = 1 << TW | 1 << CL;
/// The same for the state in which a client's close ends where replies are not seen.
pub(super) const CLOSED_BY_CLIENT: u16 = 1 << FW;

/// What each kind of packet does: rows of next states by the current one, [`packed`].
#[derive(Clone, Copy)]
struct Table {
    syn: u64,
    fin: u64,
    ack: u64,
    rst: u64,
}

/// The client's packets, where the server's are seen too.
const INPUT: Table = Table {
    //           NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    syn: packed([SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR]),
    fin: packed([CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW]),
    ack: packed([ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES]),
    rst: packed([CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR]),
};

/// The server's packets.
const OUTPUT: Table = Table {
    //           NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    syn: packed([SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR]),
    fin: packed([TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW]),
    ack: packed([ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES]),
    rst: packed([CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL]),
};

/// The client's packets, where the server's are not seen.
const INPUT_ONLY: Table = Table {
    //           NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    syn: packed([SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR]),
    fin: packed([CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW]),
    ack: packed([ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES]),
    rst: packed([CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL]),
};

/// The tables under attack (`tcp_states_dos`): a client's word alone no longer establishes.
const GUARDED_INPUT: Table = Table {
    //           NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    syn: packed([SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA]),
    fin: packed([CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA]),
    ack: packed([ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA]),
    rst: packed([CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL]),
};

const GUARDED_OUTPUT: Table = Table {
    //           NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    syn: packed([SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA]),
    ..OUTPUT
};

const GUARDED_INPUT_ONLY: Table = Table {
    //           NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    syn: packed([SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA]),
    ..INPUT_ONLY
};

impl Table {
    /// The normal table of a view, and the one under attack.
    #[inline(always)]
    const fn both_of(view: View) -> [Self; 2] {
        match view {
            View::ClientOnly => [INPUT_ONLY, GUARDED_INPUT_ONLY],
            View::Client => [INPUT, GUARDED_INPUT],
            View::Server => [OUTPUT, GUARDED_OUTPUT],
        }
    }
}

/// The state after a packet with these flags: RST counts before SYN before FIN before ACK, and a packet with none of
/// them closes the connection.
#[inline(always)]
pub(super) const fn after(view: View, is_guarded: bool, state: State, flags: Flags) -> State {
    // Where both rows are the same number, as most are, the compiler asks no question.
    let [normal, guarded] = Table::both_of(view);
    let row = if flags.has(Flags::RST) {
        if is_guarded { guarded.rst } else { normal.rst }
    } else if flags.has(Flags::SYN) {
        if is_guarded { guarded.syn } else { normal.syn }
    } else if flags.has(Flags::FIN) {
        if is_guarded { guarded.fin } else { normal.fin }
    } else if flags.has(Flags::ACK) {
        if is_guarded { guarded.ack } else { normal.ack }
    } else {
        return State::tcp(TcpState::Close);
    };
    state.next_in(row)
}
