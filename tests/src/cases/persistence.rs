//! Cases of persistence: a client's connections go where its first one went, by its template.

use lbxdp_common::connection::Key;
use lbxdp_common::mark::MarkRow;
use lbxdp_common::server::{ServerFlags, ServerId};
use lbxdp_common::settings::Rules;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::table::{Hash, Pair, Shape};
use lbxdp_common::wire::sctp::ChunkKind;
use lbxdp_common::{Overflow, Protocol, Reason, Scheduler};

use super::case::{Case, Fact};
use super::frame::{Packet, sctp, tcp, udp};
use super::memory::HERTZ;
use super::setup::{Setup, key, mark_template_key, template_key};
use super::{CLIENT, SEED, VIP};

use Protocol::{Sctp, Tcp, Udp};
use Scheduler::RoundRobin;
use TcpState::{Close, Established, SynReceived, TimeWait};

pub(super) fn all() -> Vec<Case> {
    [templates(), assured(), shared(), servers(), reuse(), renewed(), room()].concat()
}

const SECONDS: u32 = 300;
const LIFETIME: u32 = SECONDS * HERTZ;
/// Of a connection of which only the SYN has been seen.
const OPENING: u32 = 60 * HERTZ;
/// One of one client alone.
const ONE: [u8; 4] = [255; 4];
const OTHER_CLIENT: [u8; 4] = [10, 0, 0, 11];
const PORT: u16 = 40_000;

/// The scheduler begins with server 2; whatever goes by hash goes to server 3.
fn http() -> Setup {
    Setup::new().service(Tcp, 80, RoundRobin, &[(2, 1), (3, 1)]).persistent(SECONDS, ONE)
}

fn template() -> Key {
    template_key(Tcp, 80)
}

/// The client's connection of this number.
fn web(number: u16) -> Packet {
    tcp(PORT + number, 80)
}

fn web_key(number: u16) -> Key {
    key(Tcp, PORT + number, 80)
}

/// A template to server 1, which no scheduler chooses, with connections to come for a minute.
fn known() -> Setup {
    http().template(template(), 1, SECONDS, 60_000)
}

fn templates() -> Vec<Case> {
    vec![
        Case::new("a client's first connection makes a template, and the next ones follow it", http())
            .to(2, web(0).syn())
            .then(Fact::Connection(template(), State::TEMPLATE, 2))
            .then(Fact::HalfOpen(template(), true))
            .then(Fact::Bond(template(), LIFETIME.into()))
            // As long as its connection, for both may be forged.
            .then(Fact::DueIn(template(), OPENING))
            .then(Fact::Bond(web_key(0), Hash::of(template(), SEED).0))
            .then(Fact::Templates(2, 1))
            .then(Fact::Load(2, 1, 0))
            .then(Fact::Counted(2, 1, 1))
            .to(2, web(1).syn())
            .to(2, web(2).syn())
            .then(Fact::Bond(web_key(2), Hash::of(template(), SEED).0))
            .then(Fact::Templates(2, 1))
            .then(Fact::Load(2, 3, 0))
            .then(Fact::Counted(2, 3, 3))
            .to(3, web(0).syn().from_address(OTHER_CLIENT))
            .then(Fact::Templates(3, 1))
            .to(3, web(1).syn().from_address(OTHER_CLIENT))
            .to(2, web(3).syn()),
        Case::new("a client's connections of a service without persistence have no template", {
            Setup::new().service(Tcp, 80, RoundRobin, &[(2, 1), (3, 1)])
        })
        .to(2, web(0).syn())
        .to(3, web(1).syn())
        .then(Fact::Bond(web_key(0), 0))
        .then(Fact::NoConnection(template()))
        .then(Fact::Templates(2, 0)),
        Case::new("what opens no connection makes no template", http())
            .not(Reason::NoConnection, web(0).ack())
            .not(Reason::NoConnection, web(0).rst())
            .then(Fact::NoConnection(template())),
        Case::new("where there is no server, there is no template", {
            Setup::new().service(Tcp, 80, RoundRobin, &[(2, 0)]).persistent(SECONDS, ONE)
        })
        .refused(Reason::NoServer, web(0).syn())
        .then(Fact::NoConnection(template()))
        .then(Fact::NoConnection(web_key(0))),
    ]
}

fn assured() -> Vec<Case> {
    let dns = || Setup::new().service(Udp, 53, RoundRobin, &[(2, 1), (3, 1)]).persistent(SECONDS, ONE);
    let udp_template = template_key(Udp, 53);
    vec![
        Case::new("a template is assured by an established connection", http())
            .to(2, web(0).syn())
            .to(2, web(0).syn())
            .then(Fact::Connection(template(), State::TEMPLATE, 2))
            .then(Fact::HalfOpen(template(), true))
            .to(2, web(0).ack())
            .then(Fact::Connection(template(), State::TEMPLATE_ASSURED, 2))
            .then(Fact::HalfOpen(template(), false))
            .then(Fact::DueIn(template(), LIFETIME))
            .to(2, web(0).rst())
            .to(2, web(1).syn())
            .then(Fact::Connection(template(), State::TEMPLATE_ASSURED, 2))
            .then(Fact::HalfOpen(template(), false)),
        Case::new("a connection that ends before it is established does not assure", http())
            .to(2, web(0).syn())
            .to(2, web(0).fin().ack())
            .then(Fact::Connection(web_key(0), State::tcp(TimeWait), 2))
            .then(Fact::Connection(template(), State::TEMPLATE, 2))
            .then(Fact::HalfOpen(template(), false))
            .to(2, web(1).syn())
            .to(2, web(1).ack())
            .then(Fact::Connection(template(), State::TEMPLATE_ASSURED, 2)),
        Case::new("UDP does not assure", dns())
            .to(2, udp(PORT, 53))
            .then(Fact::Connection(udp_template, State::TEMPLATE, 2))
            .then(Fact::HalfOpen(udp_template, true))
            .to(2, udp(PORT, 53))
            .to(2, udp(PORT, 53))
            .then(Fact::Connection(udp_template, State::TEMPLATE, 2))
            .then(Fact::HalfOpen(udp_template, false)),
        Case::new("SCTP assures when it is established", {
            Setup::new().service(Sctp, 5000, RoundRobin, &[(2, 1), (3, 1)]).persistent(SECONDS, ONE)
        })
        .to(2, sctp(PORT, 5000).chunk(ChunkKind::INIT, &[0; 16]))
        .to(2, sctp(PORT, 5000).chunk(ChunkKind::INIT, &[0; 16]))
        .then(Fact::Connection(template_key(Sctp, 5000), State::TEMPLATE, 2))
        .to(2, sctp(PORT, 5000).chunk(ChunkKind::COOKIE_ECHO, &[0; 16]))
        .then(Fact::Connection(template_key(Sctp, 5000), State::TEMPLATE_ASSURED, 2))
        .then(Fact::HalfOpen(template_key(Sctp, 5000), false)),
        Case::new(
            "sloppy_tcp: a connection that begins established assures with its second packet",
            http().rule(Rules::SLOPPY_TCP),
        )
        .to(2, web(0).ack())
        .then(Fact::Connection(web_key(0), State::tcp(Established), 2))
        .then(Fact::Connection(template(), State::TEMPLATE, 2))
        .to(2, web(0).ack())
        .then(Fact::Connection(template(), State::TEMPLATE_ASSURED, 2)),
    ]
}

fn shared() -> Vec<Case> {
    let net = [255, 255, 255, 0];
    let by_net = Setup::new().service(Tcp, 80, RoundRobin, &[(2, 1), (3, 1)]).persistent(SECONDS, net);
    let of_net = Key { client: [10, 0, 0, 0], ..template() };
    let two = http().service(Tcp, 443, RoundRobin, &[(3, 1), (2, 1)]).persistent(SECONDS, ONE);
    let all_ports = Setup::new()
        .service(Tcp, 0, RoundRobin, &[(2, 1), (3, 1)])
        .persistent(SECONDS, ONE)
        .service(Udp, 0, RoundRobin, &[(3, 1), (2, 1)])
        .persistent(SECONDS, ONE)
        .service(Tcp, 80, RoundRobin, &[(4, 1)])
        .rule(Rules::ALL_PORTS);
    let ftp = Setup::new()
        .service(Tcp, 21, RoundRobin, &[(2, 1), (3, 1)])
        .persistent(SECONDS, ONE)
        .rule(Rules::FTP);
    let every = MarkRow { last_port: u16::MAX, mark: 7, ..MarkRow::default() };
    let by_mark = Setup::new()
        .service_by_mark(7, RoundRobin, &[(2, 1), (3, 1)])
        .persistent(SECONDS, ONE)
        .marks(VIP, 32, &[every])
        .marks([10, 9, 8, 7], 32, &[every])
        .rule(Rules::MARKED_NETS);
    vec![
        Case::new("clients of a net share a template", by_net)
            .to(2, web(0).syn())
            .then(Fact::Connection(of_net, State::TEMPLATE, 2))
            .to(2, web(0).syn().from_address([10, 0, 0, 200]))
            .to(3, web(0).syn().from_address([10, 0, 1, 10]))
            .then(Fact::Templates(2, 1))
            .then(Fact::Templates(3, 1)),
        Case::new("services do not share a template", two)
            .to(2, web(0).syn())
            .to(3, tcp(PORT, 443).syn())
            .to(2, web(1).syn())
            .to(3, tcp(PORT + 1, 443).syn())
            .then(Fact::Connection(template(), State::TEMPLATE, 2))
            .then(Fact::Connection(template_key(Tcp, 443), State::TEMPLATE, 3)),
        Case::new("all ports share a template, but protocols do not", all_ports)
            .to(2, tcp(PORT, 8080).syn())
            .then(Fact::Connection(template_key(Tcp, 0), State::TEMPLATE, 2))
            .to(2, tcp(PORT, 22).syn())
            .to(2, tcp(PORT, 65_535).syn())
            .to(3, udp(PORT, 8080))
            .to(3, udp(PORT, 53))
            .then(Fact::Connection(template_key(Udp, 0), State::TEMPLATE, 3))
            // A service on a port of its own comes first.
            .to(4, tcp(PORT, 80).syn())
            .then(Fact::Templates(2, 1))
            .then(Fact::Templates(3, 1))
            .then(Fact::Templates(4, 0)),
        Case::new("data connections of FTP follow the template, whichever comes first", ftp)
            .to(2, tcp(PORT, 21).syn())
            .then(Fact::Connection(template_key(Tcp, 0), State::TEMPLATE, 2))
            .to(2, tcp(PORT + 1, 20).syn())
            .to(2, tcp(PORT + 2, 1024).syn())
            .to(2, tcp(PORT + 3, 65_535).syn())
            .then(Fact::Bond(key(Tcp, PORT + 3, 65_535), Hash::of(template_key(Tcp, 0), SEED).0))
            .to(3, tcp(PORT, 5000).syn().from_address(OTHER_CLIENT))
            .to(3, tcp(PORT, 21).syn().from_address(OTHER_CLIENT))
            .not(Reason::NoService, tcp(PORT, 1023).syn())
            .not(Reason::NoService, tcp(PORT, 22).syn())
            .not(Reason::NoService, udp(PORT, 5000))
            .then(Fact::Templates(2, 1))
            .then(Fact::Templates(3, 1)),
        Case::new("all that has a mark shares a template", by_mark)
            .to(2, tcp(PORT, 80).syn())
            .then(Fact::Connection(mark_template_key(7), State::TEMPLATE, 2))
            .to(2, tcp(PORT, 443).syn())
            .to(2, udp(PORT, 53))
            .to(2, tcp(PORT, 80).syn().to_address([10, 9, 8, 7]))
            .to(3, udp(PORT, 53).from_address(OTHER_CLIENT))
            .then(Fact::Templates(2, 1))
            .then(Fact::Templates(3, 1)),
    ]
}

fn servers() -> Vec<Case> {
    let quiescent =
        |setup: Setup| setup.server(1, |row| row.flags = ServerFlags::AVAILABLE.with(ServerFlags::QUIESCENT));
    let deleted = |setup: Setup| setup.server(1, |row| row.flags = ServerFlags::default());
    let crowded = Setup::new()
        .service(Tcp, 80, RoundRobin, &[(2, 1), (3, 1)])
        .persistent(SECONDS, ONE)
        .thresholds(2, 1, 0);
    let moved = |name: &str, setup: Setup| {
        Case::new(name, setup)
            .to(2, web(0).syn())
            .then(Fact::Connection(template(), State::TEMPLATE, 2))
            .then(Fact::HalfOpen(template(), true))
            .then(Fact::Bond(template(), LIFETIME.into()))
            .then(Fact::DueIn(template(), OPENING))
            .then(Fact::Templates(1, 0))
            .then(Fact::Templates(2, 1))
            .to(2, web(1).syn())
            .then(Fact::Load(2, 2, 0))
    };
    vec![
        Case::new("a template leads to a server of weight 0 too", quiescent(known()))
            .to(1, web(0).syn())
            .to(1, web(1).syn())
            .then(Fact::Templates(1, 1)),
        moved(
            "expire_quiescent_template: it leaves a server of weight 0",
            quiescent(known()).rule(Rules::EXPIRE_QUIESCENT_TEMPLATE),
        ),
        Case::new(
            "expire_quiescent_template: it stays with a server that has weight",
            known().rule(Rules::EXPIRE_QUIESCENT_TEMPLATE),
        )
        .to(1, web(0).syn()),
        Case::new("a template leads to an overloaded server too", crowded)
            .to(2, web(0).syn())
            .then(Fact::Overloaded(2, true))
            .to(2, web(1).syn())
            .to(3, web(0).syn().from_address(OTHER_CLIENT))
            .to(3, web(0).syn().from_address([10, 0, 0, 12]))
            .to(2, web(2).syn())
            .then(Fact::Load(2, 3, 0))
            .then(Fact::Load(3, 2, 0)),
        moved("a template whose server is deleted gets another one", deleted(known())),
        // One that had to wait for its connections lasts as long as a new one again.
        moved(
            "a template of a deleted server begins anew",
            deleted(http().template(template(), 1, 60, 60_000)),
        ),
        moved(
            "a template does not lead to a server that has its row now",
            known().server(1, |row| row.id = ServerId::new(1, 2).0),
        ),
        Case::new("a template of a deleted server waits for another one", {
            let nobody = Setup::new().service(Tcp, 80, RoundRobin, &[(2, 0)]).persistent(SECONDS, ONE);
            deleted(nobody.template(template(), 1, SECONDS, 60_000))
        })
        .refused(Reason::NoServer, web(0).syn())
        .then(Fact::Connection(template(), State::TEMPLATE_ASSURED, 1))
        .then(Fact::Templates(1, 1))
        .then(Fact::Templates(2, 0)),
    ]
}

/// A connection of server 1 whose template leads to server 2: where a SYN goes says whether it begins anew.
fn reuse() -> Vec<Case> {
    let finished = |state| {
        let setup = http().template(template(), 2, SECONDS, 60_000);
        setup.connection(web_key(0), 1, State::tcp(state), 60_000).bound(template())
    };
    let mut cases: Vec<Case> = [TimeWait, Close]
        .into_iter()
        .map(|state| {
            Case::new("a SYN on a finished connection of a template goes on with its server", finished(state))
                .to(1, web(0).syn())
                .then(Fact::Counted(1, 1, 0))
                .then(Fact::Load(2, 0, 0))
                .to(2, web(1).syn())
        })
        .collect();
    cases.push(
        Case::new("a SYN on a finished connection without a template begins anew", {
            let setup = http().template(template(), 2, SECONDS, 60_000);
            setup.connection(web_key(0), 1, State::tcp(TimeWait), 60_000)
        })
        .to(2, web(0).syn())
        .then(Fact::Connection(web_key(0), State::tcp(SynReceived), 2))
        .then(Fact::Bond(web_key(0), Hash::of(template(), SEED).0))
        .then(Fact::Load(1, 0, 0)),
    );
    cases
}

fn renewed() -> Vec<Case> {
    // Far from both ends of its time, so that it can be seen which way it goes.
    let half = i32::try_from(LIFETIME / 2).expect("a short time");
    let waited = || http().template(template(), 1, 60, 60_000);
    vec![
        Case::new("a template's time begins anew with each new connection, not with each packet", {
            let setup = http().template(template(), 1, SECONDS, half);
            setup.connection(web_key(0), 1, State::tcp(Established), 60_000).bound(template())
        })
        .to(1, web(0).ack())
        .to(1, web(0).syn())
        .then(Fact::DueIn(template(), LIFETIME / 2))
        .to(1, web(1).syn())
        .then(Fact::DueIn(template(), LIFETIME))
        .then(Fact::Bond(template(), LIFETIME.into())),
        Case::new("a template lasts as long as it was made for, whatever its service says now", waited())
            .to(1, web(0).syn())
            .then(Fact::DueIn(template(), 60 * HERTZ))
            .then(Fact::Bond(template(), (60 * HERTZ).into())),
        Case::new("an overdue template is there until it is taken out", {
            http().template(template(), 1, SECONDS, -5000)
        })
        .to(1, web(0).syn())
        .then(Fact::DueIn(template(), LIFETIME))
        .then(Fact::Templates(1, 1)),
    ]
}

/// The buckets of a table so small that half-open connections soon use up their share there.
const SMALL: Shape = Shape::steady(8);

fn pair_of(key: Key) -> Pair {
    SMALL.home_of(Hash::of(key, SEED))
}

fn room() -> Vec<Case> {
    let templates = pair_of(template());
    // Half-open connections of others that use up the share of both buckets of the template.
    let in_the_way = (0..=u16::MAX).map(|port| key(Udp, port, 53)).filter(|key| {
        let pair = pair_of(*key);
        templates.has(pair.first) && templates.has(pair.second) && pair.first != pair.second
    });
    let narrow = in_the_way
        .take(4)
        .fold(http().shape(SMALL), |setup, key| setup.half_open(key, 4, State::UDP, 60_000));
    // Connections of the client whose own buckets are others.
    let mut beside = (0..).filter(|number| {
        let pair = pair_of(web_key(*number));
        !templates.has(pair.first) && !templates.has(pair.second)
    });
    let mut next = || beside.next().expect("a port");
    let [first, second, third] = [next(), next(), next()];
    vec![
        Case::new("in a full table all connections of a client go to one server", http().full())
            .to(3, web(0).syn())
            .to(3, web(1).syn())
            .to(3, web(1).ack())
            .then(Fact::NoConnection(template()))
            .then(Fact::NoConnection(web_key(1)))
            .then(Fact::Noted(Overflow::HashedFull, 2))
            .then(Fact::Noted(Overflow::HashedOn, 1)),
        Case::new("in a full table a template is followed all the same", known().full())
            .to(1, web(0).syn())
            .to(1, web(0).ack())
            .to(1, web(1).syn())
            .then(Fact::NoConnection(web_key(0)))
            .then(Fact::Noted(Overflow::HashedFull, 2)),
        Case::new("where half-open ones have used up their share, a template is followed", {
            http().shape(Shape::steady(1))
        })
        .to(2, web(0).syn())
        .then(Fact::HalfOpen(template(), true))
        .to(2, web(1).syn())
        .then(Fact::NoConnection(web_key(1)))
        .to(2, web(1).ack())
        .then(Fact::Noted(Overflow::HashedHalfOpen, 1))
        .to(3, web(0).syn().from_address(OTHER_CLIENT))
        .to(3, web(1).syn().from_address(OTHER_CLIENT))
        .then(Fact::Templates(3, 0)),
        Case::new("where only the template has no room, all connections of its client go one way", narrow)
            .to(3, web(first).syn())
            .then(Fact::NoConnection(template()))
            .then(Fact::Connection(web_key(first), State::tcp(SynReceived), 3))
            .then(Fact::Bond(web_key(first), 0))
            .to(3, web(second).syn())
            .to(3, web(third).syn())
            .then(Fact::Load(3, 3, 0))
            .then(Fact::Templates(3, 0)),
    ]
}

/// [`CLIENT`] is the one that [`OTHER_CLIENT`] is not.
const _: () = assert!(CLIENT[3] != OTHER_CLIENT[3]);
