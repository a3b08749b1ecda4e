//! The tables against the text they were made from, and the rest of what is known about states.

use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::*;

/// IPVS's tables as text.
const TABLES: &str = include_str!("tables.md");

const TCP_STATES: [&str; 11] = ["NO", "ES", "SS", "SR", "FW", "TW", "CL", "CW", "LA", "LI", "SA"];
const SCTP_STATES: [&str; 14] =
    ["NO", "I1", "IN", "CS", "CR", "CW", "CO", "CE", "ES", "SS", "SR", "SA", "RJ", "CL"];

/// The rows of one chapter, cell by cell, without the two lines of the head.
fn rows(chapter: &str) -> Vec<Vec<&'static str>> {
    let mut chapters = TABLES.split("\n## ").filter(|text| text.lines().next() == Some(chapter));
    let lines = chapters.next().expect("a chapter of this name").lines();
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    lines.filter(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

fn tcp_event(packet: &str) -> Event {
    Event::tcp(match packet {
        "syn" => Flags::SYN,
        "fin" => Flags::FIN,
        "ack" => Flags::ACK,
        "rst" => Flags::RST,
        other => panic!("no packet {other}"),
    })
}

fn tcp_view(table: &str) -> View {
    match table {
        "INPUT" => View::Client,
        "OUTPUT" => View::Server,
        "INPUT_ONLY" => View::ClientOnly,
        other => panic!("no table {other}"),
    }
}

/// The next states of a protocol, by the current one, as the text prints them.
fn next(protocol: Protocol, view: View, is_guarded: bool, event: Event) -> Vec<&'static str> {
    let names: &[&str] = if protocol == Protocol::Tcp { &TCP_STATES } else { &SCTP_STATES };
    let next = |state| after(protocol, view, is_guarded, State::from_raw(state), event).raw();
    (0..names.len() as u8).map(|state| names[usize::from(next(state))]).collect()
}

#[test]
fn every_transition_of_tcp() {
    let rows = rows("TCP");
    assert_eq!(rows.len(), 12);
    for row in rows {
        let [table, packet, states @ ..] = &row[..] else { panic!("{row:?}") };
        let (view, event) = (tcp_view(table), tcp_event(packet));
        assert_eq!(next(Protocol::Tcp, view, false, event), states, "{table} {packet}");
    }
}

#[test]
fn every_transition_of_tcp_under_attack() {
    let mut tables: BTreeMap<(&str, &str), Vec<&str>> =
        rows("TCP").into_iter().map(|row| ((row[0], row[1]), row[2..].to_vec())).collect();
    let mut changed = 0;
    for row in rows("TCP under attack (`secure_tcp`): the cells that differ") {
        let [table, packets, cells] = row[..] else { panic!("{row:?}") };
        if cells == "none" {
            continue;
        }
        // "SR: ES -> SR; SA: ES -> SA", and several current states may stand before a colon.
        let states = tables.get_mut(&(table, packets)).expect("a row of the normal tables");
        for change in cells.split("; ") {
            let (current, change) = change.split_once(": ").expect("a change");
            let (normal, guarded) = change.split_once(" -> ").expect("from what to what");
            for current in current.split(", ") {
                let at = TCP_STATES.iter().position(|name| *name == current).expect("a state");
                assert_eq!(states[at], normal, "{row:?}");
                states[at] = guarded;
                changed += 1;
            }
        }
    }
    assert_eq!(changed, 15);
    for ((table, packet), states) in tables {
        let (view, event) = (tcp_view(table), tcp_event(packet));
        assert_eq!(next(Protocol::Tcp, view, true, event), states, "{table} {packet}");
    }
}

#[test]
fn every_transition_of_sctp() {
    let rows = rows("SCTP");
    assert_eq!(rows.len(), 30);
    for row in rows {
        let [table, chunk, states @ ..] = &row[..] else { panic!("{row:?}") };
        let view = match *table {
            "IN" => View::Client,
            "OUT" => View::Server,
            "IN_ONLY" => View::ClientOnly,
            other => panic!("no table {other}"),
        };
        let event = Event(SctpEvent::from_name(chunk).expect("a chunk's name").raw());
        for is_guarded in [false, true] {
            assert_eq!(next(Protocol::Sctp, view, is_guarded, event), states, "{table} {chunk}");
        }
    }
}

#[test]
fn flags_have_an_order_and_none_closes() {
    let established = State::tcp(TcpState::Established);
    let after = |flags| after(Protocol::Tcp, View::ClientOnly, false, established, Event::tcp(flags));
    let all = Flags::RST.with(Flags::SYN).with(Flags::FIN).with(Flags::ACK);
    assert_eq!(after(all), State::tcp(TcpState::Close));
    assert_eq!(after(Flags::SYN.with(Flags::FIN).with(Flags::ACK)), established);
    assert_eq!(after(Flags::FIN.with(Flags::ACK)), State::tcp(TcpState::FinWait));
    assert_eq!(after(Flags(0)), State::tcp(TcpState::Close));
}

/// RFC 9260, 3.2, and what was assigned later: the numbers of the chunks, and what each is to IPVS.
#[test]
fn chunks_are_what_ipvs_takes_them_for() {
    let name = |kind| Event::sctp(ChunkKind(kind)).of_sctp().name();
    let events: Vec<&str> = (0..=16).map(name).collect();
    let expected = "data* INIT INIT-ACK data* data* data* ABORT SHUTDOWN SHUTDOWN-ACK ERROR COOKIE-ECHO COOKIE-ACK \
                    data* data* SHUTDOWN-COMPLETE data* data*";
    assert_eq!(events.join(" "), expected);
    assert!((17..=255).all(|kind| Event::sctp(ChunkKind(kind)) == Event(0)));
}

#[test]
fn what_opens_and_what_begins() {
    let syn_rst = Flags::SYN.with(Flags::RST);
    let syn_ack = Flags::SYN.with(Flags::ACK);
    // Opens, opens where that is done sloppily, begins.
    for (protocol, event, expected) in [
        (Protocol::Tcp, Event::tcp(Flags::SYN), [true, true, true]),
        (Protocol::Tcp, Event::tcp(syn_ack), [true, true, true]),
        (Protocol::Tcp, Event::tcp(syn_rst), [false, false, true]),
        (Protocol::Tcp, Event::tcp(Flags::ACK), [false, true, false]),
        (Protocol::Tcp, Event::tcp(Flags::FIN), [false, true, false]),
        (Protocol::Tcp, Event::tcp(Flags(0)), [false, true, false]),
        (Protocol::Tcp, Event::tcp(Flags::RST), [false, false, false]),
        (Protocol::Udp, Event::UDP, [true, true, false]),
        (Protocol::Sctp, Event::sctp(ChunkKind::INIT), [true, true, true]),
        (Protocol::Sctp, Event::sctp(ChunkKind::COOKIE_ECHO), [false, true, false]),
        (Protocol::Sctp, Event::sctp(ChunkKind::DATA), [false, true, false]),
        (Protocol::Sctp, Event::sctp(ChunkKind::ABORT), [false, false, false]),
    ] {
        let said = [opens(protocol, event, false), opens(protocol, event, true), begins(protocol, event)];
        assert_eq!(said, expected, "{protocol} {event:?}");
    }
}

#[test]
fn the_states_of_which_a_port_may_be_used_again() {
    let names = |protocol, mode| {
        let states = (0..16).map(State::from_raw);
        let reusable = states.filter(|state| state.is_in(reusable_states(protocol, mode)));
        reusable.map(|state| state.name(protocol)).collect::<Vec<_>>()
    };
    for (mode, tcp, sctp) in [
        (0, &[][..], &[][..]),
        (1, &["TIME_WAIT", "CLOSE"], &["CLOSED"]),
        (2, &["FIN_WAIT", "TIME_WAIT", "CLOSE"], &["CLOSED"]),
        (3, &["FIN_WAIT", "TIME_WAIT", "CLOSE"], &["CLOSED"]),
        (4, &["TIME_WAIT", "CLOSE"], &["CLOSED"]),
    ] {
        assert_eq!(names(Protocol::Tcp, mode), tcp, "mode {mode}");
        assert_eq!(names(Protocol::Sctp, mode), sctp, "mode {mode}");
        assert_eq!(reusable_states(Protocol::Udp, mode), 0);
    }
}

#[test]
fn four_tcp_states_are_active_one_of_sctp_and_udp_never() {
    let active = |protocol: Protocol| {
        let states = (0..16).map(State::from_raw).filter(|state| state.is_active(protocol));
        states.map(|state| state.name(protocol)).collect::<Vec<_>>()
    };
    assert_eq!(active(Protocol::Tcp), ["ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"]);
    assert_eq!(active(Protocol::Sctp), ["ESTABLISHED"]);
    assert!(active(Protocol::Udp).is_empty());
}

/// Name and seconds of each state, in the order of the numbers.
fn lives(protocol: Protocol, states: u8) -> Vec<String> {
    let seconds = |state: State| DEFAULT_TIMEOUTS_S[usize::from(state.timer(protocol).0)];
    let life = |state: State| format!("{} {}", state.name(protocol), seconds(state));
    (0..states).map(|state| life(State::from_raw(state))).collect()
}

#[test]
fn names_and_timers_are_those_of_ipvs() {
    let tcp = "NONE 2, ESTABLISHED 900, SYN_SENT 120, SYN_RECV 60, FIN_WAIT 120, TIME_WAIT 120, CLOSE 10, \
               CLOSE_WAIT 60, LAST_ACK 30, LISTEN 120, SYNACK 120";
    assert_eq!(lives(Protocol::Tcp, 11).join(", "), tcp);
    assert_eq!(lives(Protocol::Udp, 1), ["UDP 300".to_string()]);
    let sctp = "NONE 2, INIT1 4, INIT 61, C-SENT 61, C-REPLIED 61, C-WAIT 61, COOKIE 61, C-ECHOED 61, \
                ESTABLISHED 900, S-SENT 61, S-RECEIVED 61, S-ACK-SENT 61, REJECTED 4, CLOSED 61";
    assert_eq!(lives(Protocol::Sctp, 14).join(", "), sctp);
}

#[test]
fn each_timer_has_its_own_cell() {
    assert!((0..11).all(|state| State::from_raw(state).timer(Protocol::Tcp) == Timer(state)));
    assert_eq!(State::UDP.timer(Protocol::Udp), Timer(11));
    let sctp = (0..14).map(|state| State::from_raw(state).timer(Protocol::Sctp).0);
    assert_eq!(sctp.collect::<Vec<_>>(), [12, 13, 15, 15, 15, 15, 15, 15, 14, 15, 15, 15, 13, 15]);
    assert_eq!(Timer::COUNT, 16);
}

#[test]
fn plain_packets_leave_a_settled_connection_as_it_is() {
    let is_plain = |flags: &u8| Settled::is_plain_tcp(Flags(*flags));
    // ACK with whatever else does not matter: PSH, URG, ECE, CWR.
    assert_eq!((0..=u8::MAX).filter(is_plain).count(), 16);
    for flags in (0..=u8::MAX).filter(is_plain) {
        let event = Event::tcp(Flags(flags));
        assert!(!begins(Protocol::Tcp, event) && confirms(Protocol::Tcp, event));
        for view in [View::ClientOnly, View::Client, View::Server] {
            for is_guarded in [false, true] {
                let next = after(Protocol::Tcp, view, is_guarded, Settled::TCP.state, event);
                assert_eq!(next, Settled::TCP.state, "{flags:#x} {view:?} {is_guarded}");
            }
        }
    }
    assert_eq!(Settled::TCP.timer, Settled::TCP.state.timer(Protocol::Tcp));
    assert_eq!(
        after(Protocol::Udp, View::ClientOnly, true, Settled::UDP.state, Event::UDP),
        Settled::UDP.state
    );
    assert_eq!(Settled::UDP.timer, Timer::UDP);
}
