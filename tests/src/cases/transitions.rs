//! Cases of TCP's states, as a client's packets move them: every state a client can bring a connection to, and each kind
//! of packet in it. The tables themselves are tested where they stand, in `lbxdp-common`.

use lbxdp_common::settings::Rules;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::{Protocol, Scheduler};

use super::case::{Case, Fact};
use super::frame::{Packet, tcp};
use super::setup::{Setup, key};

use TcpState::{Close, Established, FinWait, SynAck, SynReceived, TimeWait};

const PORTS: (u16, u16) = (40_000, 80);

/// A client's packet, and the state after it in each of [`BEFORE`]; none where it begins a new connection.
type Row = (&'static str, fn(Packet) -> Packet, [Option<TcpState>; 5]);

const BEFORE: [TcpState; 5] = [SynReceived, Established, FinWait, TimeWait, Close];

const ROWS: [Row; 6] = [
    ("SYN", Packet::syn, [Some(SynReceived), Some(Established), Some(SynReceived), None, None]),
    ("ACK", Packet::ack, [Some(Established), Some(Established), Some(FinWait), Some(TimeWait), Some(Close)]),
    ("FIN", Packet::fin, [Some(TimeWait), Some(FinWait), Some(FinWait), Some(TimeWait), Some(Close)]),
    // A reset in SYN_RECV changes nothing: anybody could send it.
    ("RST", Packet::rst, [Some(SynReceived), Some(Close), Some(Close), Some(Close), Some(Close)]),
    (
        "RST, ACK",
        |packet| packet.rst().ack(),
        [Some(SynReceived), Some(Close), Some(Close), Some(Close), Some(Close)],
    ),
    ("nothing", |packet| packet, [Some(Close); 5]),
];

pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, change, after) in ROWS {
        for (before, after) in BEFORE.into_iter().zip(after) {
            let packet = change(tcp(PORTS.0, PORTS.1));
            cases.push(case(name, before, packet, after));
        }
    }
    cases.extend(guarded());
    cases
}

fn service() -> Setup {
    Setup::new().service(Protocol::Tcp, PORTS.1, Scheduler::RoundRobin, &[(2, 1), (1, 1)])
}

/// With `secure_tcp` in force a client that opens is in SYNACK, unless it was in `SYN_RECV` before.
fn guarded() -> Vec<Case> {
    let key = key(Protocol::Tcp, PORTS.0, PORTS.1);
    let guarded = || service().rules(Rules::default().with_if(Rules::SECURE_TCP, true));
    let known = |state| guarded().connection(key, 1, State::tcp(state), 60_000);
    let is = |state, server| Fact::Connection(key, State::tcp(state), server);
    let packet = || tcp(PORTS.0, PORTS.1);
    vec![
        Case::new("secure_tcp: a connection opens by SYNACK, and is active there", guarded())
            .to(2, packet().syn())
            .then(is(SynAck, 2))
            .then(Fact::Load(2, 1, 0))
            .to(2, packet().syn())
            .then(is(SynAck, 2))
            .to(2, packet().ack())
            .then(is(Established, 2))
            .to(2, packet().fin().ack())
            .then(is(FinWait, 2))
            .to(2, packet().syn())
            .then(is(SynAck, 2))
            .to(2, packet().rst())
            .then(is(Close, 2)),
        Case::new("secure_tcp: what was opening before goes on", known(SynReceived))
            .to(1, packet().syn())
            .then(is(SynReceived, 1))
            .to(1, packet().ack())
            .then(is(Established, 1)),
    ]
}

/// The connection is server 1's; a new one would be server 2's.
fn case(packet_name: &str, before: TcpState, packet: Packet, after: Option<TcpState>) -> Case {
    let key = key(Protocol::Tcp, PORTS.0, PORTS.1);
    let setup = service().connection(key, 1, State::tcp(before), 60_000);
    let (server, state) = after.map_or((2, SynReceived), |state| (1, state));
    let is_active = State::tcp(state).is_active(Protocol::Tcp);
    Case::new(&format!("{packet_name} in {before}"), setup)
        .to(server, packet)
        .then(Fact::Connection(key, State::tcp(state), server))
        .then(Fact::Load(server, u32::from(is_active), u32::from(!is_active)))
        .then(Fact::Load(3 - server, 0, 0))
}
