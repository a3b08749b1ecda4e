//! Cases of the rules of life: how connections begin anew, wait, end, and go on when there is no room for them.

use lbxdp_common::connection::Key;
use lbxdp_common::server::ServerFlags;
use lbxdp_common::settings::Rules;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::table::Shape;
use lbxdp_common::{Overflow, Protocol, Reason, Scheduler};

use super::case::{Case, Fact};
use super::frame::{Packet, tcp, udp};
use super::memory::BUCKETS;
use super::setup::{Setup, key};

use Overflow::{HashedFull, HashedHalfOpen, HashedOn, TakenUp};
use Protocol::{Tcp, Udp};
use Scheduler::RoundRobin;
use TcpState::{Close, Established, FinWait, SynReceived, TimeWait};

pub(super) fn all() -> Vec<Case> {
    [reuse(), deleted(), sloppy(), pressure(), growth()].concat()
}

/// The scheduler begins with server 2; whatever goes by hash goes to server 3.
fn http() -> Setup {
    Setup::new().service(Tcp, 80, RoundRobin, &[(2, 1), (3, 1)])
}

const PORT: u16 = 40_000;

fn web() -> Packet {
    tcp(PORT, 80)
}

fn web_key() -> Key {
    key(Tcp, PORT, 80)
}

fn is(state: TcpState, server: u8) -> Fact {
    Fact::Connection(web_key(), State::tcp(state), server)
}

/// A connection to server 1, which is no server of the service any more, but still there.
fn known(state: TcpState) -> Setup {
    http().connection(web_key(), 1, State::tcp(state), 60_000)
}

fn without_server(setup: Setup) -> Setup {
    setup.server(1, |row| row.flags = ServerFlags::default())
}

fn reuse() -> Vec<Case> {
    let again = |state, reusable: &[TcpState]| known(state).reusable(reusable);
    let mut cases = vec![
        Case::new(
            "conn_reuse_mode 2: a SYN begins anew in FIN_WAIT too",
            again(FinWait, &[TimeWait, Close, FinWait]),
        )
        .to(2, web().syn())
        .then(is(SynReceived, 2))
        .then(Fact::Load(1, 0, 0))
        .then(Fact::Load(2, 1, 0)),
        Case::new("conn_reuse_mode 0: a SYN goes to the server it had", again(Close, &[]))
            .to(1, web().syn())
            .then(is(SynReceived, 1)),
        Case::new("conn_reuse_mode 0: a SYN waits for a deleted server", without_server(again(Close, &[])))
            .not(Reason::ServerGone, web().syn())
            .then(is(Close, 1)),
    ];
    for state in [TimeWait, Close] {
        cases.push(
            Case::new("a SYN on a finished connection is scheduled at once", known(state))
                .to(2, web().syn())
                .then(is(SynReceived, 2))
                .then(Fact::Counted(2, 1, 1)),
        );
    }
    for state in [Established, FinWait, SynReceived] {
        cases.push(
            Case::new("a SYN on a connection that is not finished stays with its server", known(state))
                .to(1, web().syn())
                .then(Fact::Counted(1, 1, 0)),
        );
    }
    cases
}

fn deleted() -> Vec<Case> {
    let expires = Rules::default().with_if(Rules::EXPIRE_NODEST_CONN, true);
    let quiescent =
        |setup: Setup| setup.server(1, |row| row.flags = ServerFlags::AVAILABLE.with(ServerFlags::QUIESCENT));
    vec![
        Case::new(
            "packets wait for a deleted server, but a SYN begins anew",
            without_server(known(Established)),
        )
        .not(Reason::ServerGone, web().ack())
        .then(is(Established, 1))
        .then(Fact::Load(1, 1, 0))
        .to(2, web().syn())
        .then(is(SynReceived, 2))
        .then(Fact::Load(1, 0, 0)),
        Case::new(
            "expire_nodest_conn: a deleted server's connection ends with its next packet",
            without_server(known(Established)).rules(expires),
        )
        .not(Reason::NoConnection, web().ack())
        .then(Fact::NoConnection(web_key()))
        .then(Fact::Load(1, 0, 0)),
        Case::new(
            "expire_nodest_conn: a SYN on a deleted server's connection is scheduled",
            without_server(known(Established)).rules(expires),
        )
        .to(2, web().syn())
        .then(is(SynReceived, 2)),
        Case::new(
            "a server of weight 0 keeps its connections, and their SYNs",
            quiescent(known(Established)),
        )
        .to(1, web().ack())
        .to(1, web().syn()),
        Case::new(
            "expire_nodest_conn: a SYN leaves a server of weight 0",
            quiescent(known(Established)).rules(expires),
        )
        .to(1, web().ack())
        .to(2, web().syn())
        .then(is(SynReceived, 2)),
    ]
}

fn sloppy() -> Vec<Case> {
    let sloppy = Rules::default().with_if(Rules::SLOPPY_TCP, true);
    vec![
        Case::new("sloppy_tcp: any packet but RST opens a connection", http().rules(sloppy))
            .not(Reason::NoConnection, web().rst())
            .to(2, web().ack())
            .then(is(Established, 2))
            .then(Fact::Counted(2, 1, 1))
            .to(3, tcp(PORT + 1, 80).fin())
            .then(Fact::Connection(key(Tcp, PORT + 1, 80), State::tcp(Close), 3)),
    ]
}

fn pressure() -> Vec<Case> {
    let both = Setup::new()
        .service(Tcp, 80, RoundRobin, &[(2, 1), (3, 1)])
        .service(Udp, 53, RoundRobin, &[(2, 1), (3, 1)])
        .connection(web_key(), 1, State::tcp(Established), 60_000);
    // One bucket: four places.
    let small = http().shape(Shape::steady(1));
    let other = |number: u16| tcp(PORT + number, 80);
    let other_key = |number: u16| key(Tcp, PORT + number, 80);
    vec![
        Case::new("in a full table new connections go by hash, and those it has go on", both.clone().full())
            .to(3, other(1).syn())
            .then(Fact::NoConnection(other_key(1)))
            .then(Fact::Noted(HashedFull, 1))
            .then(Fact::Counted(3, 1, 1))
            .then(Fact::Load(3, 0, 0))
            .to(3, other(1).ack())
            .then(Fact::Noted(HashedOn, 1))
            .to(3, other(1).fin())
            .to(3, udp(PORT, 53))
            .then(Fact::Noted(HashedFull, 2))
            .to(3, udp(PORT, 53))
            .then(Fact::Noted(HashedOn, 3))
            .not(Reason::NoConnection, other(2).ack())
            .to(1, web().ack())
            .then(Fact::Load(1, 1, 0)),
        Case::new("without pressure a packet of no connection passes, in a full table too", both.full())
            .not(Reason::NoConnection, other(1).ack()),
        Case::new(
            "half-open connections get half of a bucket; others go by hash until they are confirmed",
            small,
        )
        .to(2, other(1).syn())
        .then(Fact::HalfOpen(other_key(1), true))
        .to(3, other(2).syn())
        .to(3, other(3).syn())
        .then(Fact::Noted(HashedHalfOpen, 1))
        .then(Fact::NoConnection(other_key(3)))
        .to(3, other(3).ack())
        .then(Fact::NoConnection(other_key(3)))
        .to(2, other(1).syn())
        .then(Fact::HalfOpen(other_key(1), true))
        .to(2, other(1).ack())
        .then(Fact::HalfOpen(other_key(1), false))
        // There is room again: the next packet gets the entry, and the one after that confirms it.
        .to(3, other(3).ack())
        .then(Fact::Noted(TakenUp, 1))
        .then(Fact::Connection(other_key(3), State::tcp(Established), 3))
        .then(Fact::HalfOpen(other_key(3), true))
        .then(Fact::Load(3, 2, 0))
        .to(3, other(3).ack())
        .then(Fact::HalfOpen(other_key(3), false)),
        Case::new(
            "a connection that ends gets no entry any more",
            http()
                .shape(Shape::steady(1))
                .half_open(other_key(7), 1, State::tcp(SynReceived), 60_000)
                .half_open(other_key(8), 1, State::tcp(SynReceived), 60_000),
        )
        .to(3, other(1).syn())
        .to(1, other(7).ack())
        .to(3, other(1).fin())
        .to(3, other(1).rst())
        .then(Fact::NoConnection(other_key(1)))
        .then(Fact::Noted(TakenUp, 0)),
        Case::new("servers without weight get nothing by hash either", {
            Setup::new().service(Tcp, 80, RoundRobin, &[(2, 0), (3, 0)]).full()
        })
        .refused(Reason::NoServer, web().syn()),
        Case::new("a UDP connection is half open until its second packet", {
            Setup::new().service(Udp, 53, RoundRobin, &[(2, 1)])
        })
        .to(2, udp(PORT, 53))
        .then(Fact::HalfOpen(key(Udp, PORT, 53), true))
        .to(2, udp(PORT, 53))
        .then(Fact::HalfOpen(key(Udp, PORT, 53), false)),
    ]
}

fn growth() -> Vec<Case> {
    let (old, new) = (BUCKETS / 3, BUCKETS);
    [("about to grow", Shape::new(old, new)), ("growing", Shape::new(new, old))]
        .into_iter()
        .flat_map(|(_, shape)| {
            // Enough of them that some belong elsewhere by the new size.
            let mut setup = http().shape(shape);
            for port in 0..20 {
                setup = setup.connection(key(Tcp, PORT + port, 80), 1, State::tcp(Established), 60_000);
            }
            let mut follows =
                Case::new("while the table grows, connections are found and go on", setup.clone());
            let mut reopens = Case::new("while the table grows, connections begin and end", setup);
            for port in 0..20 {
                follows = follows
                    .to(1, tcp(PORT + port, 80).ack())
                    .to(1, tcp(PORT + port, 80).fin())
                    .then(Fact::Connection(key(Tcp, PORT + port, 80), State::tcp(FinWait), 1))
                    .then(Fact::Load(1, 19 - u32::from(port), u32::from(port) + 1));
                let server = if port % 2 == 0 { 2 } else { 3 };
                reopens = reopens
                    .to(1, tcp(PORT + port, 80).rst())
                    .to(server, tcp(PORT + port, 80).syn())
                    .then(Fact::Connection(key(Tcp, PORT + port, 80), State::tcp(SynReceived), server));
            }
            [follows, reopens.then(Fact::Load(1, 0, 0)).then(Fact::Load(2, 10, 0))]
        })
        .collect()
}
