//! Replies of VS/NAT on the host, where the way back to a client can be said: each is the packet that would have come from
//! the VIP, to the byte.

use lbxdp_common::client_hop::WayOut;
use lbxdp_common::server::ServerId;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::wire::sctp::ChunkKind;
use lbxdp_common::{Protocol, Reason, Verdict};
use lbxdp_tests::cases::frame::{Packet, sctp, tcp, udp};
use lbxdp_tests::cases::masquerade::{self, reply_key, service};
use lbxdp_tests::cases::setup::key;
use lbxdp_tests::cases::{self, CLIENT, CLIENT_MAC, DIRECTOR_MAC, Host, IFINDEX, Runner, VIP, memory};

const PORT: u16 = 40_000;
const RIP: [u8; 4] = [10, 0, 0, 102];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];

fn macs(destination: [u8; 6], source: [u8; 6]) -> [u8; 12] {
    let mut macs = [0; 12];
    macs[..6].copy_from_slice(&destination);
    macs[6..].copy_from_slice(&source);
    macs
}

/// A host with a service, and a way to the client.
fn host(protocol: Protocol, port: u16, inside: u16, ifindex: u32) -> Host {
    let mut host = Host::default();
    memory::write(&mut host, &service(protocol, port, inside));
    host.remember_way(CLIENT, VIP, WayOut { macs: macs(CLIENT_MAC, DIRECTOR_MAC), ifindex });
    host
}

fn said(host: &mut Host, packet: Packet) -> (Result<Verdict, Reason>, Vec<u8>) {
    let mut frame = packet.bytes();
    host.run(&mut frame);
    (host.last().expect("the host says it"), frame)
}

/// A packet that is forwarded, however it looks.
fn sent(host: &mut Host, packet: Packet) {
    assert_eq!(said(host, packet).0, Ok(Verdict::Transmit));
}

fn from_server(packet: Packet) -> Packet {
    packet.from_address(RIP).to_address(CLIENT).from_mac(SERVER_MAC)
}

fn at_client(packet: Packet) -> Vec<u8> {
    packet.from_address(VIP).to_address(CLIENT).ttl(63).from_mac(DIRECTOR_MAC).to_mac(CLIENT_MAC).bytes()
}

fn state(host: &Host) -> Option<State> {
    memory::connection(host, key(Protocol::Tcp, PORT, 80)).map(lbxdp_common::connection::Word::state)
}

#[test]
fn every_case_of_requests() {
    let mut host = Host::default();
    for case in masquerade::all() {
        cases::run(&mut host, &case);
    }
}

#[test]
fn both_sides_move_a_connection_on() {
    let mut host = host(Protocol::Tcp, 80, 8080, IFINDEX);
    let client = |flags: fn(Packet) -> Packet| flags(tcp(PORT, 80));
    let server = |flags: fn(Packet) -> Packet| flags(tcp(8080, PORT));
    let syn_ack = |packet: Packet| packet.syn().ack();
    let fin_ack = |packet: Packet| packet.fin().ack();
    assert_eq!(said(&mut host, client(Packet::syn)).0, Ok(Verdict::Transmit));
    assert_eq!(state(&host), Some(State::tcp(TcpState::SynReceived)));
    for (flags, after) in [
        (syn_ack as fn(Packet) -> Packet, TcpState::SynReceived),
        (Packet::ack, TcpState::Established),
        (fin_ack, TcpState::FinWait),
    ] {
        let (verdict, frame) = said(&mut host, from_server(server(flags)));
        assert_eq!(verdict, Ok(Verdict::Transmit));
        assert_eq!(frame, at_client(flags(tcp(80, PORT))));
        assert_eq!(state(&host), Some(State::tcp(after)));
    }
    assert_eq!(said(&mut host, client(fin_ack)).0, Ok(Verdict::Transmit));
    assert_eq!(state(&host), Some(State::tcp(TcpState::TimeWait)));
    let counted = host.counters(ServerId(2));
    assert_eq!((counted.packets, counted.connections, counted.reply_packets), (2, 1, 3));
    assert_eq!(counted.reply_bytes, 3 * 45);
    // The connection and its reply entry live as long as each other.
    let [connection, reply] = [key(Protocol::Tcp, PORT, 80), reply_key(Protocol::Tcp, PORT, 8080)]
        .map(|key| memory::connection(&host, key).expect("an entry"));
    assert_eq!((connection.due(), connection.is_half_open()), (reply.due(), reply.is_half_open()));
}

#[test]
fn replies_of_every_protocol_and_shape_come_from_the_vip() {
    for ifindex in [IFINDEX, 9] {
        let out = if ifindex == IFINDEX { Verdict::Transmit } else { Verdict::Leave(9) };
        for bytes in [0, 1, 2, 999, 1400] {
            let mut udp_host = host(Protocol::Udp, 53, 5353, ifindex);
            sent(&mut udp_host, udp(PORT, 53));
            let answer = |from| udp(from, PORT).payload(bytes).ip_options(&[1; 4]);
            let (verdict, frame) = said(&mut udp_host, from_server(answer(5353)));
            assert_eq!((verdict, frame), (Ok(out), at_client(answer(53))));
        }
        let mut sctp_host = host(Protocol::Sctp, 7000, 7001, ifindex);
        sent(&mut sctp_host, sctp(PORT, 7000).chunk(ChunkKind::INIT, &[1; 16]));
        let answer = |from| sctp(from, PORT).chunk(ChunkKind::INIT_ACK, &[3; 250]);
        let (verdict, frame) = said(&mut sctp_host, from_server(answer(7001)));
        assert_eq!((verdict, frame), (Ok(out), at_client(answer(7000))));
    }
}

#[test]
fn a_servers_answer_does_not_prove_its_client() {
    let mut host = host(Protocol::Udp, 53, 5353, IFINDEX);
    let connection = key(Protocol::Udp, PORT, 53);
    let is_half_open = |host: &Host| memory::connection(host, connection).expect("an entry").is_half_open();
    sent(&mut host, udp(PORT, 53));
    sent(&mut host, from_server(udp(5353, PORT)));
    assert!(is_half_open(&host));
    sent(&mut host, udp(PORT, 53));
    assert!(!is_half_open(&host));
}

#[test]
fn a_reply_without_a_way_or_a_connection_is_left_as_it_is() {
    let mut host = host(Protocol::Tcp, 80, 8080, IFINDEX);
    let strange = || from_server(tcp(8080, PORT + 1).ack());
    assert_eq!(said(&mut host, strange()), (Err(Reason::NotOurs), strange().bytes()));
    sent(&mut host, tcp(PORT, 80).syn());
    let other_port = || from_server(tcp(8081, PORT).ack());
    assert_eq!(said(&mut host, other_port()), (Err(Reason::NotOurs), other_port().bytes()));
    let last_hop = || from_server(tcp(8080, PORT).syn().ack().ttl(1));
    let verdict = said(&mut host, last_hop()).0;
    let is_told = matches!(verdict, Ok(Verdict::Answered(Reason::TtlExpired)) | Err(Reason::TtlExpired));
    assert!(is_told, "{verdict:?}");
    // What is remembered of a way is believed for a while only, and there is no kernel here to be asked.
    host.pass(memory::HERTZ);
    let reply = || from_server(tcp(8080, PORT).syn().ack());
    assert_eq!(said(&mut host, reply()), (Err(Reason::ClientUnresolved), reply().bytes()));
}
