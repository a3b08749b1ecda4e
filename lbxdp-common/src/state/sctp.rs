//! SCTP's states, and what a packet's first chunk makes of them.
//!
//! ```text
//!  seen from the client's side alone (VS/DR, VS/TUN):
//!
//!            INIT          INIT           COOKIE-ECHO                 SHUTDOWN
//!   (none) ────────► INIT1 ────► INIT ─────────────────► ESTABLISHED ──────────► S-RECEIVED
//!                      │  COOKIE-ECHO           ▲             │ ABORT,               │ ABORT,
//!                      └────────────────────────┘             ▼ SHUTDOWN-ACK         ▼ SHUTDOWN-COMPLETE
//!                                                           CLOSED                 CLOSED
//! ```
//!
//! Source: Linux `net/netfilter/ipvs/ip_vs_proto_sctp.c` (`sctp_states`, `sctp_events`), 6.1 to 6.12.

use super::{State, View, packed};
use crate::named_enum;
use crate::wire::sctp::ChunkKind;

named_enum! {
    /// The SCTP states of IPVS, with its numbers and words.
    pub enum SctpState: u8 {
        /// Not a state of any association that a packet has been seen of.
        None = 0 => "NONE",
        /// The client opens.
        Init1 = 1 => "INIT1",
        /// It has asked again.
        Init = 2 => "INIT",
        /// The server has sent its cookie.
        CookieSent = 3 => "C-SENT",
        /// The client has returned it.
        CookieReplied = 4 => "C-REPLIED",
        /// The server opens, and waits for the client's cookie.
        CookieWait = 5 => "C-WAIT",
        /// The client has sent it.
        Cookie = 6 => "COOKIE",
        /// The server has returned it.
        CookieEchoed = 7 => "C-ECHOED",
        /// Both have agreed.
        Established = 8 => "ESTABLISHED",
        /// The server closes.
        ShutdownSent = 9 => "S-SENT",
        /// The client closes.
        ShutdownReceived = 10 => "S-RECEIVED",
        /// The server has agreed to that.
        ShutdownAckSent = 11 => "S-ACK-SENT",
        /// Aborted while it was opened.
        Rejected = 12 => "REJECTED",
        /// Over.
        Closed = 13 => "CLOSED",
    }
}

named_enum! {
    /// What a packet means by its first chunk, with the kernel's numbers (`enum ipvs_sctp_event_t`).
    pub enum SctpEvent: u8 {
        /// Everything else: data, its acknowledgement, a heartbeat; kinds nobody knows.
        Data = 0 => "data*",
        /// The client opens.
        Init = 1 => "INIT",
        /// The answer to that.
        InitAck = 2 => "INIT-ACK",
        /// The cookie of that answer comes back.
        CookieEcho = 3 => "COOKIE-ECHO",
        /// The association stands.
        CookieAck = 4 => "COOKIE-ACK",
        /// No more data from the sender.
        Shutdown = 5 => "SHUTDOWN",
        /// The answer to that.
        ShutdownAck = 6 => "SHUTDOWN-ACK",
        /// The association is over.
        ShutdownComplete = 7 => "SHUTDOWN-COMPLETE",
        /// Something was wrong.
        Error = 8 => "ERROR",
        /// The end, at once.
        Abort = 9 => "ABORT",
    }
}

/// How many kinds of chunks have a number below the last one that means something of its own.
const KINDS: usize = ChunkKind::SHUTDOWN_COMPLETE.0 as usize + 1;

/// The number of each kind's event, [`packed`] (`sctp_events`).
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const EVENTS: u64 = {
    let mut events = [SctpEvent::Data.raw(); KINDS];
    events[ChunkKind::INIT.0 as usize] = SctpEvent::Init.raw();
    events[ChunkKind::INIT_ACK.0 as usize] = SctpEvent::InitAck.raw();
    events[ChunkKind::COOKIE_ECHO.0 as usize] = SctpEvent::CookieEcho.raw();
    events[ChunkKind::COOKIE_ACK.0 as usize] = SctpEvent::CookieAck.raw();
    events[ChunkKind::SHUTDOWN.0 as usize] = SctpEvent::Shutdown.raw();
    events[ChunkKind::SHUTDOWN_ACK.0 as usize] = SctpEvent::ShutdownAck.raw();
    events[ChunkKind::SHUTDOWN_COMPLETE.0 as usize] = SctpEvent::ShutdownComplete.raw();
    events[ChunkKind::ERROR.0 as usize] = SctpEvent::Error.raw();
    events[ChunkKind::ABORT.0 as usize] = SctpEvent::Abort.raw();
    packed(events)
};

/// The number of a kind's event; a kind nobody knows is as good as data. A shift instead of a choice: the kernel's
/// verifier would follow each outcome of a choice through all that comes after.
#[inline(always)]
pub(super) const fn event(kind: ChunkKind) -> u8 {
    if kind.0 < KINDS as u8 { (EVENTS >> (kind.0 * 4)) as u8 & 0xf } else { SctpEvent::Data.raw() }
}

const NO: u8 = SctpState::None.raw();
const I1: u8 = SctpState::Init1.raw();
const IN: u8 = SctpState::Init.raw();
const CS: u8 = SctpState::CookieSent.raw();
const CR: u8 = SctpState::CookieReplied.raw();
const CW: u8 = SctpState::CookieWait.raw();
const CO: u8 = SctpState::Cookie.raw();
const CE: u8 = SctpState::CookieEchoed.raw();
const ES: u8 = SctpState::Established.raw();
const SS: u8 = SctpState::ShutdownSent.raw();
const SR: u8 = SctpState::ShutdownReceived.raw();
const SA: u8 = SctpState::ShutdownAckSent.raw();
const RJ: u8 = SctpState::Rejected.raw();
const CL: u8 = SctpState::Closed.raw();

/// Bit n: state n counts as active.
pub(super) const ACTIVE: u16 = 1 << ES;
/// Bit n: a client that begins anew finds the old association finished in state n.
pub(super) const FINISHED: u16 = 1 << CL;

/// Which of SCTP's four timers each state runs on (`sctp_timeouts`): none, opening, established, all others.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
pub(super) const TIMERS: u64 = {
    const OPENING: u8 = 1;
    const ESTABLISHED: u8 = 2;
    const OTHER: u8 = 3;
    let mut timers = [OTHER; SctpState::COUNT];
    timers[NO as usize] = 0;
    timers[I1 as usize] = OPENING;
    timers[RJ as usize] = OPENING;
    timers[ES as usize] = ESTABLISHED;
    packed(timers)
};

/// Rows of next states by the current one, [`packed`], in the order of [`SctpEvent`].
type Table = [u64; SctpEvent::COUNT];

/// The client's packets, where the server's are seen too.
#[rustfmt::skip]
const INPUT: Table = [
    //      NO  I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL
    packed([ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]), // data*
    packed([I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN]), // INIT
    packed([CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL]), // INIT-ACK
    packed([CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]), // COOKIE-ECHO
    packed([ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL]), // COOKIE-ACK
    packed([SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL]), // SHUTDOWN
    packed([CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL]), // SHUTDOWN-ACK
    packed([CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL]), // SHUTDOWN-COMPLETE
    packed([CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL]), // ERROR
    packed([CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL]), // ABORT
];

/// The server's packets.
#[rustfmt::skip]
const OUTPUT: Table = [
    //      NO  I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL
    packed([ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]), // data*
    packed([CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW]), // INIT
    packed([CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]), // INIT-ACK
    packed([CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL]), // COOKIE-ECHO
    packed([ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL]), // COOKIE-ACK
    packed([SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL]), // SHUTDOWN
    packed([SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL]), // SHUTDOWN-ACK
    packed([CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]), // SHUTDOWN-COMPLETE
    packed([CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL]), // ERROR
    packed([CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL]), // ABORT
];

/// The client's packets, where the server's are not seen.
#[rustfmt::skip]
const INPUT_ONLY: Table = [
    //      NO  I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL
    packed([ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL]), // data*
    packed([I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN]), // INIT
    packed([CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL]), // INIT-ACK
    packed([ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL]), // COOKIE-ECHO
    packed([ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL]), // COOKIE-ACK
    packed([SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL]), // SHUTDOWN
    packed([CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL]), // SHUTDOWN-ACK
    packed([CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL]), // SHUTDOWN-COMPLETE
    packed([CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]), // ERROR
    packed([CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL]), // ABORT
];

/// The state after a packet with this event.
#[inline(always)]
pub(super) const fn after(view: View, state: State, event: SctpEvent) -> State {
    let table = match view {
        View::ClientOnly => INPUT_ONLY,
        View::Client => INPUT,
        View::Server => OUTPUT,
    };
    let [
        data,
        init,
        init_ack,
        cookie_echo,
        cookie_ack,
        shutdown,
        shutdown_ack,
        shutdown_complete,
        error,
        abort,
    ] = table;
    state.next_in(match event {
        SctpEvent::Data => data,
        SctpEvent::Init => init,
        SctpEvent::InitAck => init_ack,
        SctpEvent::CookieEcho => cookie_echo,
        SctpEvent::CookieAck => cookie_ack,
        SctpEvent::Shutdown => shutdown,
        SctpEvent::ShutdownAck => shutdown_ack,
        SctpEvent::ShutdownComplete => shutdown_complete,
        SctpEvent::Error => error,
        SctpEvent::Abort => abort,
    })
}
