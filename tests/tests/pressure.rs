//! What time does to pressure: packets of unknown connections, seconds after one went by hash for want of room.

use std::ops::RangeInclusive;

use lbxdp_common::connection::Word;
use lbxdp_common::settings::SHAPE_CELL;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::table::{Hash, Shape};
use lbxdp_common::{Cells, Protocol, Reason, Scheduler, Verdict};
use lbxdp_tests::cases::frame::{Packet, tcp};
use lbxdp_tests::cases::memory::{BUCKETS, HERTZ, connection, write};
use lbxdp_tests::cases::setup::{Setup, key, server_id, template_key};
use lbxdp_tests::cases::{Host, Runner, SEED, Table};

fn host(setup: &Setup) -> Host {
    let mut host = Host::default();
    write(&mut host, setup);
    host
}

fn http() -> Setup {
    Setup::new().service(Protocol::Tcp, 80, Scheduler::RoundRobin, &[(2, 1), (3, 1)])
}

/// What becomes of a packet.
fn said(host: &mut Host, packet: &Packet) -> Result<Verdict, Reason> {
    host.run(&mut packet.clone().bytes());
    host.last().expect("a host says what it did")
}

#[test]
fn packets_of_unknown_connections_follow_the_hash_for_as_long_as_a_connection_may_live() {
    for (seconds, follows) in [(0, true), (20, true), (890, true), (910, false)] {
        for packet in [tcp(5, 80).ack(), tcp(6, 80).fin().ack(), tcp(7, 80).rst()] {
            let mut host = host(&http());
            host.feel_pressure(seconds);
            let said = said(&mut host, &packet);
            assert_eq!(said.is_ok(), follows, "{seconds} s later: {said:?}");
        }
    }
}

#[test]
fn packets_that_end_unknown_connections_are_no_sign_of_pressure() {
    let mut host = host(&http());
    host.feel_pressure(9);
    let before = host.last_pressure();
    for packet in [tcp(5, 80).rst(), tcp(6, 80).fin().ack(), tcp(7, 80).ack()] {
        assert_eq!(said(&mut host, &packet), Ok(Verdict::Transmit));
    }
    assert_eq!(host.last_pressure(), before);
}

#[test]
fn an_answer_to_what_nobody_asked_leaves_a_connection_half_open() {
    let mut host = host(&http().shape(Shape::steady(1)));
    for port in 1..=4 {
        // A forged client that exists resets what the server answers it.
        let _ = (said(&mut host, &tcp(port, 80).syn()), said(&mut host, &tcp(port, 80).rst()));
    }
    let words: Vec<_> = (1..=4).filter_map(|port| connection(&host, key(Protocol::Tcp, port, 80))).collect();
    assert_eq!(words.len(), 2, "half-open ones have half of the bucket");
    assert!(words.iter().all(|word| word.is_half_open()));
}

#[test]
fn a_syn_that_is_sent_again_goes_where_the_first_one_went() {
    let half_open = |setup: Setup, port| {
        setup.half_open(key(Protocol::Tcp, port, 80), 1, State::tcp(TcpState::SynReceived), 60_000)
    };
    let mut host = host(&half_open(half_open(http().shape(Shape::steady(1)), 70), 71));
    let syn = |host: &mut Host| {
        let mut frame = tcp(9, 80).syn().bytes();
        host.run(&mut frame);
        frame[..6].to_vec()
    };
    let first = syn(&mut host);
    // There is room for it now.
    assert_eq!(said(&mut host, &tcp(70, 80).ack()), Ok(Verdict::Transmit));
    assert_eq!(syn(&mut host), first);
    assert!(connection(&host, key(Protocol::Tcp, 9, 80)).is_some());
}

#[test]
fn that_one_connection_went_by_hash_is_no_concern_of_others() {
    let half_open = |setup: Setup, port| {
        setup.half_open(key(Protocol::Tcp, port, 80), 1, State::tcp(TcpState::SynReceived), 60_000)
    };
    let mut host = host(&half_open(half_open(http().shape(Shape::steady(1)), 70), 71));
    let first = server_of_syn(&mut host, 9);
    assert_eq!(connection(&host, key(Protocol::Tcp, 9, 80)), None, "it went by hash");
    empty(&mut host);
    host.row(Table::Settings, 0).expect("the settings").store(SHAPE_CELL, Shape::steady(BUCKETS).0);
    let others: Vec<u8> = (100..120).map(|port| server_of_syn(&mut host, port)).collect();
    assert!(others.windows(2).all(|two| two[0] != two[1]), "by turns: {others:?}");
    // Minutes later its next packet still follows the hash, and no other one does.
    host.pass(100 * HERTZ);
    let strays = (200..220).map(|port| said(&mut host, &tcp(port, 80).ack()));
    assert!(strays.collect::<Vec<_>>().iter().all(|said| *said == Err(Reason::NoConnection)));
    assert_eq!(said(&mut host, &tcp(9, 80).ack()), Ok(Verdict::Transmit));
    let word = connection(&host, key(Protocol::Tcp, 9, 80)).expect("it is taken up");
    assert_eq!(word.server(), server_id(first), "it keeps its server");
}

/// Takes all connections away.
fn empty(host: &mut Host) {
    empty_buckets(host, 0..=BUCKETS - 1);
}

fn empty_buckets(host: &mut Host, buckets: RangeInclusive<u32>) {
    for bucket in buckets {
        let row = host.row(Table::Connections, bucket).expect("a row");
        (0..row.len()).for_each(|cell| row.store(cell, 0));
    }
}

/// The last byte of the MAC address that an opening packet from a port goes to: the server's number.
fn server_of_syn(host: &mut Host, port: u16) -> u8 {
    let mut frame = tcp(port, 80).syn().bytes();
    host.run(&mut frame);
    frame[5]
}

#[test]
fn a_client_whose_connections_went_by_hash_gets_a_template_that_leads_there_too() {
    let template = template_key(Protocol::Tcp, 80);
    let mut host = host(&http().persistent(300, [255; 4]).full());
    assert_eq!([1, 2].map(|port| server_of_syn(&mut host, port)), [3, 3], "by hash");
    assert_eq!(connection(&host, template), None);
    empty(&mut host);
    // There is room now. Minutes later the first two may still be there.
    host.pass(100 * HERTZ);
    assert_eq!([3, 4].map(|port| server_of_syn(&mut host, port)), [3, 3], "by hash, then by template");
    assert_eq!(connection(&host, template).map(Word::state), Some(State::TEMPLATE));
    // Of other clients none did: they are scheduled.
    let others: Vec<u8> = (1..=6)
        .map(|client| {
            let mut frame = tcp(5, 80).from_address([10, 9, 9, client]).syn().bytes();
            host.run(&mut frame);
            frame[5]
        })
        .collect();
    assert!(others.windows(2).all(|two| two[0] != two[1]), "by turns: {others:?}");
    assert_eq!(said(&mut host, &tcp(1, 80).ack()), Ok(Verdict::Transmit));
    let word = connection(&host, key(Protocol::Tcp, 1, 80)).expect("it is taken up");
    assert_eq!(word.server(), server_id(3), "it keeps its server");
}

#[test]
fn a_client_whose_template_got_no_place_keeps_its_server() {
    let mut host = host(&http().persistent(300, [255; 4]).full());
    let first = key(Protocol::Tcp, 1, 80);
    let home = Shape::steady(BUCKETS).home_of(Hash::of(first, SEED));
    empty_buckets(&mut host, home.first..=home.first);
    assert_eq!(server_of_syn(&mut host, 1), 3, "by the client's hash");
    assert!(
        connection(&host, first).is_some() && connection(&host, template_key(Protocol::Tcp, 80)).is_none()
    );
    // There is room now, and the first one may still be there.
    empty(&mut host);
    host.pass(100 * HERTZ);
    assert_eq!(server_of_syn(&mut host, 2), 3, "by the client's hash");
}

#[test]
fn new_clients_are_scheduled_again_when_no_connection_can_have_gone_by_hash() {
    for (seconds, servers) in [(0, [3, 3]), (890, [3, 3]), (910, [2, 2])] {
        let mut host = host(&http().persistent(300, [255; 4]));
        host.feel_pressure(seconds);
        assert_eq!([1, 2].map(|port| server_of_syn(&mut host, port)), servers, "{seconds} s later");
    }
}
