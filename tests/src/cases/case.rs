//! A case, and how it is run.

use std::sync::atomic::AtomicU64;

use lbxdp_common::client_hop::Wish;
use lbxdp_common::connection::{Key, Word};
use lbxdp_common::overload::LoadRow;
use lbxdp_common::server::ServerId;
use lbxdp_common::state::State;
use lbxdp_common::{Address, Fate, Notice, Overflow, Reason, V6, Verdict};

use super::OTHER_PORT;
use super::frame::{Error, PORT_UNREACHABLE, Packet, forwarded, refused, settled, untagged};
use super::memory::{self, Outcome, Runner, Snapshot, Table, connection};
use super::setup::{Setup, server_id};

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// To a server, out by the interface it came in by, or by the other one.
    To(u8),
    ToElsewhere(u8),
    /// Up to the stack: its server is the director.
    Local,
    Not(Reason),
    /// Not either, but its sender is told.
    Refused(Reason, Error),
    /// Not either, but the daemon gets it, and is told an MTU.
    Held(Reason, u32),
    /// Through a tunnel; the frame that leaves is the step's, but for an identification of its outer header.
    Tunnelled(Verdict),
    /// Whatever becomes of it, the frame that leaves is the step's.
    As(Result<Verdict, Reason>),
}

/// What the tables hold after a frame.
#[derive(Clone, Copy, Debug)]
pub enum Fact {
    /// A connection in a state, of a server.
    Connection(Key, State, u8),
    NoConnection(Key),
    /// The same of IPv6.
    ConnectionV6(Key<V6>, State, u8),
    NoConnectionV6(Key<V6>),
    BondV6(Key<V6>, u64),
    /// A server's active and inactive connections.
    Load(u8, u32, u32),
    /// Packets and connections that were counted for a server.
    Counted(u8, u64, u64),
    /// Packets that were counted as a server's replies.
    Replied(u8, u64),
    /// How often something was done for want of room.
    Noted(Overflow, u64),
    /// What the daemon is wished to do, and nothing else.
    Wished(Wish),
    /// How often senders were told something.
    Told(Notice, u64),
    /// Whether only its opening packet has been seen.
    HalfOpen(Key, bool),
    /// The bond of an entry: of a connection to its template, or a template's lifetime in ticks.
    Bond(Key, u64),
    /// In how many ticks an entry is due; a second less will do, for a kernel's clock does not stand still.
    DueIn(Key, u32),
    DueInV6(Key<V6>, u32),
    /// How many templates lead to a server.
    Templates(u8, u64),
    /// Whether a server is overloaded.
    Overloaded(u8, bool),
}

/// A frame, what becomes of it, and what the tables hold then.
#[derive(Clone, Debug)]
pub struct Step {
    pub frame: Vec<u8>,
    expected: Expected,
    /// See [`Expected::As`].
    out: Vec<u8>,
    facts: Vec<Fact>,
}

/// Rows, and frames that meet them.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub setup: Setup,
    pub steps: Vec<Step>,
}

impl Case {
    pub fn new(name: &str, setup: Setup) -> Self {
        Self { name: name.into(), setup, steps: Vec::new() }
    }

    fn step(mut self, frame: Vec<u8>, expected: Expected) -> Self {
        self.steps.push(Step { frame, expected, out: Vec::new(), facts: Vec::new() });
        self
    }

    /// A packet that goes to a server.
    #[must_use]
    pub fn to(self, server: u8, packet: Packet) -> Self {
        self.step(packet.bytes(), Expected::To(server))
    }

    /// A frame that goes to a server.
    #[must_use]
    pub fn to_frame(self, server: u8, frame: Vec<u8>) -> Self {
        self.step(frame, Expected::To(server))
    }

    /// A packet that goes to a server by another interface.
    #[must_use]
    pub fn to_elsewhere(self, server: u8, packet: Packet) -> Self {
        self.step(packet.bytes(), Expected::ToElsewhere(server))
    }

    /// A packet whose server is the director.
    #[must_use]
    pub fn local(self, packet: Packet) -> Self {
        self.local_frame(packet.bytes())
    }

    /// A frame whose server is the director.
    #[must_use]
    pub fn local_frame(self, frame: Vec<u8>) -> Self {
        self.step(frame, Expected::Local)
    }

    /// A packet that is not forwarded.
    #[must_use]
    pub fn not(self, reason: Reason, packet: Packet) -> Self {
        self.step(packet.bytes(), Expected::Not(reason))
    }

    /// A frame that is not forwarded.
    #[must_use]
    pub fn not_frame(self, reason: Reason, frame: Vec<u8>) -> Self {
        self.step(frame, Expected::Not(reason))
    }

    /// A frame that is held for the daemon, because an MTU is too small for it or for another reason.
    #[must_use]
    pub fn held(self, reason: Reason, mtu: u32, frame: Vec<u8>) -> Self {
        self.step(frame, Expected::Held(reason, mtu))
    }

    /// A packet whose sender gets "port unreachable".
    #[must_use]
    pub fn refused(self, reason: Reason, packet: Packet) -> Self {
        self.refused_frame(reason, packet.bytes())
    }

    /// A frame whose sender gets "port unreachable".
    #[must_use]
    pub fn refused_frame(self, reason: Reason, frame: Vec<u8>) -> Self {
        self.told(reason, PORT_UNREACHABLE, frame)
    }

    /// A frame whose sender gets this error.
    #[must_use]
    pub fn told(self, reason: Reason, error: Error, frame: Vec<u8>) -> Self {
        self.step(frame, Expected::Refused(reason, error))
    }

    /// A frame that leaves as another one.
    #[must_use]
    pub fn becomes(self, verdict: Verdict, frame: Vec<u8>, out: Vec<u8>) -> Self {
        let mut case = self.step(frame, Expected::As(Ok(verdict)));
        case.steps.last_mut().expect("a step").out = out;
        case
    }

    /// A frame that leaves as another one, or inside another one, whose identification is 0 here.
    #[must_use]
    pub fn tunnelled(self, verdict: Verdict, frame: Vec<u8>, out: Vec<u8>) -> Self {
        let mut case = self.step(frame, Expected::Tunnelled(verdict));
        case.steps.last_mut().expect("a step").out = out;
        case
    }

    /// What the tables hold after the step before.
    #[must_use]
    pub fn then(mut self, fact: Fact) -> Self {
        self.steps.last_mut().expect("a fact follows a frame").facts.push(fact);
        self
    }
}

impl Step {
    /// What the packet path must say of the frame.
    pub fn verdict(&self) -> Result<Verdict, Reason> {
        match self.expected {
            Expected::To(_) => Ok(Verdict::Transmit),
            Expected::ToElsewhere(_) => Ok(Verdict::Redirect(OTHER_PORT.0)),
            Expected::Local => Ok(Verdict::Local),
            Expected::Not(reason) | Expected::Held(reason, _) => Err(reason),
            Expected::Refused(reason, _) => Ok(Verdict::Answered(reason)),
            Expected::Tunnelled(verdict) => Ok(verdict),
            Expected::As(result) => result,
        }
    }

    fn frame_out(&self, setup: &Setup) -> Vec<u8> {
        match self.expected {
            Expected::To(number) | Expected::ToElsewhere(number) => {
                let row = setup.servers[usize::from(number) - 1];
                let mut macs = [0; 12];
                macs[..6].copy_from_slice(&row.next_hop);
                macs[6..].copy_from_slice(&row.source);
                // Tags are one link's.
                forwarded(&untagged(&self.frame).1, macs)
            }
            Expected::Not(reason) if reason.fate() != Fate::Pass => untagged(&self.frame).1,
            Expected::Local | Expected::Not(_) | Expected::Held(..) => self.frame.clone(),
            Expected::Tunnelled(_) | Expected::As(_) => self.out.clone(),
            Expected::Refused(_, error) => {
                let (tags, frame) = untagged(&self.frame);
                let answer = refused(&frame, error);
                [&answer[..12], &tags, &answer[12..]].concat()
            }
        }
    }
}

/// Runs a case; what the tables hold at its end, due times counted from its beginning.
pub fn run<R: Runner>(runner: &mut R, case: &Case) -> Snapshot {
    memory::write(runner, &case.setup);
    let start = runner.now();
    for (number, step) in case.steps.iter().enumerate() {
        if step.frame.len() < R::MIN_FRAME_BYTES {
            continue;
        }
        let at = format!("{}, frame {number}", case.name);
        let mut frame = step.frame.clone();
        let outcome = runner.run(&mut frame);
        if let Some(said) = runner.last() {
            assert_eq!(said, step.verdict(), "{at}");
        }
        assert_eq!(outcome, Outcome::from(step.verdict()), "{at}");
        if let Expected::Refused(..) = step.expected {
            let (tags, plain) = untagged(&frame);
            let plain = settled(plain);
            frame = [&plain[..12], &tags, &plain[12..]].concat();
        }
        if let Expected::Tunnelled(_) = step.expected {
            frame = settled(frame);
        }
        let held: Vec<(u32, u32, Vec<u8>)> =
            runner.held().into_iter().map(|(header, frame)| (header.reason, header.mtu, frame)).collect();
        let expected = match step.expected {
            Expected::Held(reason, mtu) => vec![(reason.raw(), mtu, step.frame.clone())],
            _ => Vec::new(),
        };
        assert_eq!(held, expected, "{at}: what the daemon gets");
        assert_eq!(frame, step.frame_out(&case.setup), "{at}: the frame");
        for fact in &step.facts {
            check(runner, *fact, &at);
        }
    }
    if !case.setup.is_full {
        memory::assert_loads_agree(runner);
    }
    let mut end = memory::snapshot(runner);
    let words: Vec<Word> = end.words().collect();
    for (due, _) in end.dues.iter_mut().zip(words).filter(|(_, word)| word.0 != 0) {
        due.0 = due.0.wrapping_sub(start.0);
    }
    end
}

fn check<R: Runner>(runner: &mut R, fact: Fact, at: &str) {
    match fact {
        Fact::Connection(key, state, server) => {
            let found = connection(runner, key).map(|word| (word.state(), word.server()));
            assert_eq!(found, Some((state, server_id(server))), "{at}");
        }
        Fact::NoConnection(key) => assert_eq!(connection(runner, key), None, "{at}"),
        Fact::ConnectionV6(key, state, server) => {
            let found = connection(runner, key).map(|word| (word.state(), word.server()));
            assert_eq!(found, Some((state, server_id(server))), "{at}");
        }
        Fact::NoConnectionV6(key) => assert_eq!(connection(runner, key), None, "{at}"),
        Fact::BondV6(key, bond) => assert_eq!(memory::bond(runner, key), Some(bond), "{at}"),
        Fact::Bond(key, bond) => assert_eq!(memory::bond(runner, key), Some(bond), "{at}"),
        Fact::DueIn(key, ticks) => is_due_in(runner, key, ticks, at),
        Fact::DueInV6(key, ticks) => is_due_in(runner, key, ticks, at),
        Fact::Replied(server, packets) => {
            let counted = runner.counters(ServerId(server.into())).reply_packets;
            assert_eq!(counted, packets, "{at}: server {server}");
        }
        Fact::Templates(server, number) => {
            assert_eq!(load_row(runner, server).templates(), number, "{at}: server {server}");
        }
        Fact::Overloaded(server, is_overloaded) => {
            assert_eq!(
                load_row(runner, server).load().is_overloaded(),
                is_overloaded,
                "{at}: server {server}"
            );
        }
        Fact::Load(server, active, inactive) => {
            let load = load_row(runner, server).load();
            assert_eq!((load.active(), load.inactive()), (active, inactive), "{at}: server {server}");
        }
        Fact::Noted(overflow, times) => {
            assert_eq!(runner.overflows()[overflow.raw() as usize], times, "{at}: {}", overflow.name());
        }
        Fact::Wished(wish) => assert_eq!(runner.wishes(), [wish], "{at}"),
        Fact::Told(notice, times) => {
            assert_eq!(runner.notices()[notice.raw() as usize], times, "{at}: {}", notice.name());
        }
        Fact::HalfOpen(key, is_half_open) => {
            assert_eq!(connection(runner, key).map(Word::is_half_open), Some(is_half_open), "{at}");
        }
        Fact::Counted(server, packets, connections) => {
            let counted = runner.counters(ServerId(server.into()));
            assert_eq!(
                (counted.packets, counted.connections),
                (packets, connections),
                "{at}: server {server}"
            );
        }
    }
}

fn is_due_in<A: Address, R: Runner>(runner: &mut R, key: Key<A>, ticks: u32, at: &str) {
    let (now, due) = (runner.now(), connection(runner, key).expect("an entry").due());
    let early = i64::from(ticks) - i64::from(due.since(now));
    assert!((0..1000).contains(&early), "{at}: {early} ticks before {ticks}");
}

fn load_row<R: Runner>(runner: &R, server: u8) -> LoadRow<&[AtomicU64]> {
    LoadRow(runner.row(Table::Loads, server.into()).expect("a row"))
}
