//! Cases of SCTP: associations as a client's packets open, move and end them, and packets that are cut short.

use lbxdp_common::connection::Key;
use lbxdp_common::settings::Rules;
use lbxdp_common::state::{SctpState, State};
use lbxdp_common::wire::sctp::ChunkKind;
use lbxdp_common::{Protocol, Reason, Scheduler};

use super::case::{Case, Fact};
use super::frame::{IP, Packet, sctp};
use super::setup::{Setup, key};

use SctpState::{Closed, CookieWait, Established, Init, Init1, Rejected, ShutdownReceived};

const PORTS: (u16, u16) = (40_000, 5000);
/// Bytes of a packet up to the end of its first chunk's header: IP, common header, chunk.
const SHORTEST: usize = 20 + 12 + 4;

pub(super) fn all() -> Vec<Case> {
    [lives(), endings(), bundles(), openings(), cut_short()].concat()
}

fn service() -> Setup {
    Setup::new().service(Protocol::Sctp, PORTS.1, Scheduler::RoundRobin, &[(2, 1), (1, 1)])
}

fn association() -> Key {
    key(Protocol::Sctp, PORTS.0, PORTS.1)
}

fn known(state: SctpState) -> Setup {
    service().connection(association(), 1, State::sctp(state), 600_000)
}

/// A packet of one chunk.
fn chunk(kind: ChunkKind) -> Packet {
    sctp(PORTS.0, PORTS.1).chunk(kind, b"value")
}

fn is(state: SctpState, server: u8) -> Fact {
    Fact::Connection(association(), State::sctp(state), server)
}

/// RFC 9260, 3.3.5.
const HEARTBEAT: ChunkKind = ChunkKind(4);
const SACK: ChunkKind = ChunkKind(3);

fn lives() -> Vec<Case> {
    vec![
        Case::new("an SCTP association goes through its states, active only when established", service())
            .to(2, chunk(ChunkKind::INIT))
            .then(is(Init1, 2))
            .then(Fact::Load(2, 0, 1))
            .to(2, chunk(ChunkKind::INIT))
            .then(is(Init, 2))
            .to(2, chunk(ChunkKind::COOKIE_ECHO))
            .then(is(Established, 2))
            .then(Fact::Load(2, 1, 0))
            .to(2, chunk(ChunkKind::DATA))
            .to(2, chunk(SACK))
            .to(2, chunk(HEARTBEAT))
            .to(2, chunk(ChunkKind(0xc1)))
            .to(2, chunk(ChunkKind::ERROR))
            .then(is(Established, 2))
            .to(2, chunk(ChunkKind::SHUTDOWN))
            .then(is(ShutdownReceived, 2))
            .then(Fact::Load(2, 0, 1))
            .to(2, chunk(ChunkKind::DATA))
            .then(is(ShutdownReceived, 2))
            .to(2, chunk(ChunkKind::SHUTDOWN_COMPLETE))
            .then(is(Closed, 2))
            .then(Fact::Load(2, 0, 1))
            .then(Fact::Counted(2, 11, 1)),
        Case::new("the first cookie establishes", service())
            .to(2, chunk(ChunkKind::INIT))
            .to(2, chunk(ChunkKind::COOKIE_ECHO))
            .then(is(Established, 2)),
        Case::new("an INIT after the end of an association opens a new one", known(Closed))
            .to(1, chunk(ChunkKind::DATA))
            .then(is(Closed, 1))
            .to(2, chunk(ChunkKind::INIT))
            .then(is(Init1, 2))
            .then(Fact::Load(1, 0, 0))
            .then(Fact::Load(2, 0, 1)),
        Case::new("an INIT in an association stays with its server", known(Established))
            .to(1, chunk(ChunkKind::INIT))
            .then(is(Established, 1)),
        Case::new("an INIT in REJECTED goes to the same server", known(Rejected))
            .to(1, chunk(ChunkKind::INIT))
            .then(is(Init, 1)),
        Case::new(
            "an overdue association is scheduled again",
            service().connection(association(), 1, State::sctp(Established), -1),
        )
        .to(2, chunk(ChunkKind::INIT))
        .then(is(Init1, 2))
        .then(Fact::Load(1, 0, 0)),
    ]
}

fn endings() -> Vec<Case> {
    let mut cases = Vec::new();
    for (before, kind, after) in [
        (Init1, ChunkKind::ABORT, Closed),
        (Init1, ChunkKind::SHUTDOWN_COMPLETE, Closed),
        (CookieWait, ChunkKind::ABORT, Rejected),
        (Established, ChunkKind::ABORT, Closed),
        (Established, ChunkKind::SHUTDOWN_ACK, Closed),
        (Established, ChunkKind::SHUTDOWN_COMPLETE, Established),
        (ShutdownReceived, ChunkKind::ABORT, Closed),
        (Closed, ChunkKind::COOKIE_ECHO, Closed),
    ] {
        let is_active = after == Established;
        let case = Case::new(&format!("SCTP chunk {} in {before}", kind.0), known(before));
        cases.push(case.to(1, chunk(kind)).then(is(after, 1)).then(Fact::Load(
            1,
            u32::from(is_active),
            u32::from(!is_active),
        )));
    }
    cases
}

/// The second chunk counts only if it is an ABORT behind a cookie or its answer.
fn bundles() -> Vec<Case> {
    let cookie = |bytes: usize| sctp(PORTS.0, PORTS.1).chunk(ChunkKind::COOKIE_ECHO, &vec![b'x'; bytes]);
    let mut cases = Vec::new();
    for bytes in [0, 1, 2, 3, 4, 5, 300] {
        cases.push(
            Case::new("an ABORT behind a cookie counts", known(Init1))
                .to(1, cookie(bytes).chunk(ChunkKind::ABORT, &[]))
                .then(is(Closed, 1)),
        );
    }
    let answer = || sctp(PORTS.0, PORTS.1).chunk(ChunkKind::COOKIE_ACK, &[]);
    let data = || chunk(ChunkKind::DATA).chunk(ChunkKind::ABORT, &[]);
    // The frame goes on with an ABORT where the packet has ended.
    let mut padded = cookie(0).bytes();
    padded.extend([ChunkKind::ABORT.0, 0, 0, 4]);
    let lie = |bytes| {
        sctp(PORTS.0, PORTS.1).chunk_of(ChunkKind::COOKIE_ECHO, bytes, &[0; 4]).chunk(ChunkKind::ABORT, &[])
    };
    let opening = |name: &str| Case::new(name, known(Init1));
    let mut padding = opening("what follows the packet in its frame is no chunk of it").to_frame(1, padded);
    padding = padding.then(is(Established, 1));
    cases.extend([
        padding,
        opening("an ABORT behind a cookie's answer counts")
            .to(1, answer().chunk(ChunkKind::ABORT, &[]))
            .then(is(Closed, 1)),
        opening("data behind a cookie is just that")
            .to(1, cookie(8).chunk(ChunkKind::DATA, b"hello"))
            .then(is(Established, 1)),
        opening("a third chunk does not count")
            .to(1, cookie(8).chunk(ChunkKind::DATA, b"hello").chunk(ChunkKind::ABORT, &[]))
            .then(is(Established, 1)),
        Case::new("an ABORT behind data does not count", known(Established))
            .to(1, data())
            .then(is(Established, 1)),
    ]);
    // Too short to be a chunk; beyond the end; beyond all that is looked at, which the mask would bring back to the ABORT.
    for bytes in [0, 3, 13, 60, 0x8008, 0xfffe, 0xffff] {
        cases.push(
            opening("a cookie with a length that is not true is just a cookie")
                .to(1, lie(bytes))
                .then(is(Established, 1)),
        );
    }
    cases
}

fn openings() -> Vec<Case> {
    let mut case = Case::new("only an INIT opens an association", service());
    for kind in (0..=20).chain([0x80, 0xc0, 0xff]).filter(|kind| ChunkKind(*kind) != ChunkKind::INIT) {
        case = case.not(Reason::NoConnection, chunk(ChunkKind(kind)));
    }
    let sloppy = |rule| service().rules(Rules::default().with_if(rule, true));
    vec![
        case.then(Fact::NoConnection(association())),
        Case::new("sloppy_sctp: any chunk but ABORT opens an association", sloppy(Rules::SLOPPY_SCTP))
            .not(Reason::NoConnection, chunk(ChunkKind::ABORT))
            .not(Reason::NoConnection, chunk(ChunkKind::COOKIE_ECHO).chunk(ChunkKind::ABORT, &[]))
            .to(2, chunk(ChunkKind::DATA))
            .then(is(Established, 2))
            .then(Fact::Load(2, 1, 0))
            .then(Fact::Counted(2, 1, 1)),
        Case::new("sloppy_tcp opens no association", sloppy(Rules::SLOPPY_TCP))
            .not(Reason::NoConnection, chunk(ChunkKind::DATA)),
        Case::new("an SCTP port without a service passes", service())
            .not(Reason::NoService, sctp(PORTS.0, 5001).chunk(ChunkKind::INIT, &[])),
        Case::new("an association is not a TCP connection of the same ports", service())
            .to(2, chunk(ChunkKind::INIT))
            .not(Reason::NoService, super::frame::tcp(PORTS.0, PORTS.1).syn()),
    ]
}

fn cut_short() -> Vec<Case> {
    let frame = chunk(ChunkKind::INIT).bytes();
    let mut frames = Case::new("an SCTP frame that ends before its first chunk does passes", service());
    for length in IP + 20..IP + SHORTEST {
        frames = frames.not_frame(Reason::Malformed, frame[..length].to_vec());
    }
    // The frame is whole, but the IP packet in it is not.
    let mut packets = Case::new("an SCTP packet that ends before its first chunk does passes", service());
    for length in 20..SHORTEST {
        let mut short = frame.clone();
        short[IP + 2..IP + 4].copy_from_slice(&u16::try_from(length).expect("a short length").to_be_bytes());
        packets = packets.not_frame(Reason::Malformed, short);
    }
    let options = sctp(PORTS.0, PORTS.1).chunk(ChunkKind::INIT, &[]).ip_options(&[1; 40]);
    vec![
        frames.to(2, chunk(ChunkKind::INIT)),
        packets.to(2, sctp(PORTS.0, PORTS.1).chunk(ChunkKind::INIT, &[])),
        Case::new("options are stepped over before SCTP", service()).to(2, options).then(is(Init1, 2)),
    ]
}
