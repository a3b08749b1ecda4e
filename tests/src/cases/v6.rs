//! Cases of IPv6: what is parsed, which connection it belongs to, and what becomes of it.

use std::ops::Range;

use etherparse::{EtherType, Ethernet2Header, IpNumber, Ipv6Header, TcpHeader, UdpHeader};
use lbxdp_common::address::V6;
use lbxdp_common::connection::{Key, kind};
use lbxdp_common::mark::MarkRow;
use lbxdp_common::server::{Method, ServerFlags};
use lbxdp_common::settings::Rules;
use lbxdp_common::state::{SctpState, State, TcpState};
use lbxdp_common::table::{Hash, Shape};
use lbxdp_common::wire::sctp::ChunkKind;
use lbxdp_common::{Address, Protocol, Reason, Scheduler, Verdict};

use super::case::{Case, Fact};
use super::frame::{IP, crc32c, forwarded};
use super::memory::{BUCKETS, HERTZ};
use super::setup::{Setup, key, key_v6, server_row};
use super::{CLIENT_MAC, CLIENT_V6, DIRECTOR_MAC, OTHER_PORT, SEED, VIP_V6};

use Protocol::{Sctp, Tcp, Udp};
use Reason::{Malformed, NoService, NotOurs, OtherProtocol};
use Scheduler::RoundRobin;

pub(super) fn all() -> Vec<Case> {
    [scheduled(), ways(), extensions(), not_ours(), broken(), persistent(), marked(), growing()].concat()
}

/// An IPv6 packet on its way to the VIP.
#[derive(Clone, Debug)]
pub struct Packet {
    ethernet: Ethernet2Header,
    ip: Ipv6Header,
    /// Extension headers, by their numbers, without the first byte.
    extensions: Vec<(IpNumber, Vec<u8>)>,
    transport: Transport,
    payload: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Transport {
    Tcp(TcpHeader),
    Udp(u16, u16),
    /// One chunk.
    Sctp(u16, u16, ChunkKind),
    Other,
}

fn packet(protocol: IpNumber, transport: Transport) -> Packet {
    let ethernet =
        Ethernet2Header { source: CLIENT_MAC, destination: DIRECTOR_MAC, ether_type: EtherType::IPV6 };
    let (source, destination) = (CLIENT_V6, VIP_V6);
    let ip =
        Ipv6Header { source, destination, hop_limit: 64, next_header: protocol, ..Ipv6Header::default() };
    Packet { ethernet, ip, extensions: Vec::new(), transport, payload: b"lbxdp6".to_vec() }
}

/// A TCP packet without flags.
pub fn tcp(from: u16, to: u16) -> Packet {
    packet(IpNumber::TCP, Transport::Tcp(TcpHeader::new(from, to, 1000, 64_000)))
}

/// A UDP packet.
pub fn udp(from: u16, to: u16) -> Packet {
    packet(IpNumber::UDP, Transport::Udp(from, to))
}

/// An SCTP packet with one chunk.
pub fn sctp(from: u16, to: u16, chunk: ChunkKind) -> Packet {
    packet(IpNumber::SCTP, Transport::Sctp(from, to, chunk))
}

/// A packet of another protocol.
fn other(protocol: IpNumber) -> Packet {
    packet(protocol, Transport::Other)
}

impl Packet {
    #[must_use]
    pub fn syn(self) -> Self {
        self.flags(|tcp| tcp.syn = true)
    }

    #[must_use]
    pub fn ack(self) -> Self {
        self.flags(|tcp| tcp.ack = true)
    }

    #[must_use]
    pub fn fin(self) -> Self {
        self.flags(|tcp| tcp.fin = true)
    }

    fn flags(mut self, set: impl Fn(&mut TcpHeader)) -> Self {
        if let Transport::Tcp(tcp) = &mut self.transport {
            set(tcp);
        }
        self
    }

    #[must_use]
    pub fn from_address(mut self, address: V6) -> Self {
        self.ip.source = address;
        self
    }

    #[must_use]
    pub fn to_address(mut self, address: V6) -> Self {
        self.ip.destination = address;
        self
    }

    #[must_use]
    pub fn from_mac(mut self, mac: [u8; 6]) -> Self {
        self.ethernet.source = mac;
        self
    }

    #[must_use]
    pub fn to_mac(mut self, mac: [u8; 6]) -> Self {
        self.ethernet.destination = mac;
        self
    }

    #[must_use]
    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.ip.hop_limit = hop_limit;
        self
    }

    #[must_use]
    pub fn traffic_class(mut self, class: u8) -> Self {
        self.ip.traffic_class = class;
        self
    }

    /// So many bytes of payload.
    #[must_use]
    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = (0..=u8::MAX).cycle().take(bytes).collect();
        self
    }

    /// One more extension header: its number, and its bytes behind the first one.
    #[must_use]
    pub fn extension(mut self, number: IpNumber, bytes: &[u8]) -> Self {
        self.extensions.push((number, bytes.to_vec()));
        self
    }

    /// One more extension header of so many times eight bytes.
    #[must_use]
    pub fn options(self, number: IpNumber, eights: u8) -> Self {
        let mut bytes = vec![eights - 1];
        bytes.resize(usize::from(eights) * 8 - 1, 0);
        self.extension(number, &bytes)
    }

    /// The frame, with lengths and checksums.
    pub fn bytes(mut self) -> Vec<u8> {
        let mut body = Vec::new();
        match &mut self.transport {
            Transport::Tcp(tcp) => {
                tcp.checksum = tcp.calc_checksum_ipv6(&self.ip, &self.payload).expect("a short payload");
                body.extend(tcp.to_bytes());
            }
            Transport::Udp(from, to) => {
                let header = UdpHeader::with_ipv6_checksum(*from, *to, &self.ip, &self.payload);
                body.extend(header.expect("a short payload").to_bytes());
            }
            Transport::Sctp(from, to, chunk) => {
                body.extend([from.to_be_bytes(), to.to_be_bytes()].concat());
                body.extend([0, 0, 0, 7, 0, 0, 0, 0, chunk.0, 0, 0, 4]);
                self.payload.clear();
                let checksum = crc32c(&body).to_le_bytes();
                body[8..12].copy_from_slice(&checksum);
            }
            Transport::Other => {}
        }
        let mut next = self.ip.next_header;
        let mut extensions = Vec::new();
        for (number, bytes) in self.extensions.iter().rev() {
            extensions.splice(0..0, [&[next.0], &bytes[..]].concat());
            next = *number;
        }
        self.ip.next_header = next;
        let body = [extensions, body, self.payload].concat();
        self.ip.payload_length = u16::try_from(body.len()).expect("a short packet");
        [&self.ethernet.to_bytes()[..], &self.ip.to_bytes(), &body].concat()
    }
}

/// The fragment of a frame's packet, which has no extension headers, that holds these bytes of its payload.
pub fn fragment(frame: &[u8], identification: u32, part: Range<usize>) -> Vec<u8> {
    let (mut ip, payload) = Ipv6Header::from_slice(&frame[IP..]).expect("an IPv6 header");
    let more = u16::from(part.end < payload.len());
    let offset = u16::try_from(part.start).expect("a short packet") | more;
    let header = [&[ip.next_header.0, 0][..], &offset.to_be_bytes(), &identification.to_be_bytes()].concat();
    ip.next_header = IpNumber::IPV6_FRAGMENTATION_HEADER;
    ip.payload_length = u16::try_from(header.len() + part.len()).expect("a short packet");
    [&frame[..IP], &ip.to_bytes(), &header, &payload[part]].concat()
}

const PORT: u16 = 40_000;

fn address(last: u16) -> V6 {
    let mut address = CLIENT_V6;
    address[14..].copy_from_slice(&last.to_be_bytes());
    address
}

fn http() -> Setup {
    Setup::new().service_v6(Tcp, 80, RoundRobin, &[(2, 1), (1, 1)])
}

fn web() -> Packet {
    tcp(PORT, 80).syn()
}

/// The frame as a plain server gets it.
fn at_server(number: u8, frame: &[u8]) -> Vec<u8> {
    let row = server_row(number);
    let macs = [row.next_hop, row.source].concat();
    forwarded(frame, macs.try_into().expect("two addresses"))
}

impl Case {
    /// An IPv6 packet that goes to a server.
    fn v6_to(self, server: u8, packet: Packet) -> Self {
        self.to_frame(server, packet.bytes())
    }

    /// An IPv6 packet that is not forwarded.
    fn not_v6(self, reason: Reason, packet: Packet) -> Self {
        self.not_frame(reason, packet.bytes())
    }
}

fn scheduled() -> Vec<Case> {
    let all = http().service_v6(Udp, 53, RoundRobin, &[(4, 1), (3, 1)]).service_v6(
        Sctp,
        5000,
        RoundRobin,
        &[(1, 1), (4, 1)],
    );
    let tcp_state = |state| State::tcp(state);
    let known =
        || http().connection_v6(key_v6(Tcp, PORT, 80), 4, tcp_state(TcpState::Established), Method::DIRECT);
    vec![
        Case::new("connections of IPv6 are scheduled one by one, and stay", all)
            .v6_to(2, web())
            .then(Fact::ConnectionV6(key_v6(Tcp, PORT, 80), tcp_state(TcpState::SynReceived), 2))
            .then(Fact::Load(2, 1, 0))
            .v6_to(1, tcp(PORT + 1, 80).syn())
            .v6_to(2, tcp(PORT, 80).ack())
            .then(Fact::ConnectionV6(key_v6(Tcp, PORT, 80), tcp_state(TcpState::Established), 2))
            .v6_to(2, tcp(PORT, 80).fin().ack())
            .then(Fact::ConnectionV6(key_v6(Tcp, PORT, 80), tcp_state(TcpState::FinWait), 2))
            .then(Fact::Load(2, 0, 1))
            .then(Fact::Counted(2, 3, 1))
            .v6_to(4, udp(PORT, 53))
            .then(Fact::ConnectionV6(key_v6(Udp, PORT, 53), State::UDP, 4))
            .v6_to(4, udp(PORT, 53))
            .v6_to(3, udp(PORT + 1, 53))
            .v6_to(1, sctp(PORT, 5000, ChunkKind::INIT))
            .then(Fact::ConnectionV6(key_v6(Sctp, PORT, 5000), State::sctp(SctpState::Init1), 1))
            .v6_to(1, sctp(PORT, 5000, ChunkKind::COOKIE_ECHO)),
        Case::new("a known connection of IPv6 goes on", known())
            .v6_to(4, tcp(PORT, 80).ack())
            .v6_to(4, tcp(PORT, 80).ack().payload(1400))
            .then(Fact::Counted(4, 2, 0)),
        Case::new("an overdue connection of IPv6 is none", known().that_lives(-1))
            .not_v6(Reason::NoConnection, tcp(PORT, 80).ack())
            .then(Fact::NoConnectionV6(key_v6(Tcp, PORT, 80)))
            .then(Fact::Load(4, 0, 0))
            .v6_to(2, web()),
        Case::new("addresses that differ in one bit have connections of their own", http())
            .v6_to(2, web())
            .v6_to(1, web().from_address(address(0x11)))
            .v6_to(2, tcp(PORT, 80).ack())
            .v6_to(1, tcp(PORT, 80).ack().from_address(address(0x11))),
        Case::new("families do not meet", {
            let v4 = Setup::new().service(Tcp, 80, RoundRobin, &[(3, 1)]);
            v4.service_v6(Tcp, 80, RoundRobin, &[(4, 1)])
        })
        .v6_to(4, web())
        .then(Fact::NoConnection(key(Tcp, PORT, 80)))
        .to(3, super::frame::tcp(PORT, 80).syn())
        .then(Fact::Load(3, 1, 0))
        .then(Fact::Load(4, 1, 0)),
    ]
}

fn ways() -> Vec<Case> {
    let one = || Setup::new().service_v6(Tcp, 80, RoundRobin, &[(1, 1)]);
    let frame = web().traffic_class(0xb8).bytes();
    let local = one().server(1, |row| row.flags = row.flags.with(ServerFlags::LOCAL));
    vec![
        Case::new("an IPv6 server behind another interface", one().server_elsewhere(1)).becomes(
            Verdict::Redirect(OTHER_PORT.0),
            frame.clone(),
            at_server(1, &frame),
        ),
        Case::new("an IPv6 server that is the director", local).becomes(Verdict::Local, frame.clone(), frame),
        Case::new("the last hop is the server's", one()).v6_to(1, web().hop_limit(2)),
        Case::new("an unknown next hop of IPv6", one().server(1, |row| row.next_hop = [0; 6]))
            .not_v6(Reason::NextHopUnresolved, web()),
    ]
}

fn extensions() -> Vec<Case> {
    let hop_by_hop = IpNumber::IPV6_HEADER_HOP_BY_HOP;
    let (routing, destination) = (IpNumber::IPV6_ROUTE_HEADER, IpNumber::IPV6_DESTINATION_OPTIONS);
    let authentication = [4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let eight = (0..8).fold(web(), |packet, _| packet.options(destination, 1));
    let behind = |number| tcp(PORT, 80).ack().options(number, 2);
    vec![
        Case::new("the transport header is found behind extension headers", http())
            .v6_to(2, web().options(hop_by_hop, 1))
            .v6_to(2, behind(routing))
            .v6_to(2, behind(destination))
            .v6_to(2, tcp(PORT, 80).ack().extension(IpNumber::AUTHENTICATION_HEADER, &authentication))
            .v6_to(2, tcp(PORT, 80).ack().options(hop_by_hop, 3).options(routing, 1).options(destination, 9))
            .then(Fact::Counted(2, 5, 1)),
        Case::new("as far as eight of them", http())
            .v6_to(2, eight.clone())
            .not_v6(OtherProtocol, eight.options(destination, 1)),
        Case::new("an extension header that reaches beyond its packet", http())
            .not_v6(Malformed, web().extension(destination, &[255, 0, 0, 0, 0, 0, 0]))
            .not_v6(Malformed, web().extension(hop_by_hop, &[20, 0, 0, 0, 0, 0, 0])),
        Case::new("no next header, and what is not balanced", http())
            .not_v6(OtherProtocol, other(IpNumber::IPV6_NO_NEXT_HEADER))
            .not_v6(OtherProtocol, other(IpNumber::ENCAPSULATING_SECURITY_PAYLOAD))
            .not_v6(OtherProtocol, other(IpNumber::GRE).options(destination, 1)),
    ]
}

fn not_ours() -> Vec<Case> {
    let mut without = http();
    without.rules = Rules::default();
    vec![
        Case::new("other destinations and services of IPv6", http())
            .not_v6(NotOurs, web().to_address(address(0x0101)))
            .not_v6(NotOurs, web().to_mac([2, 0, 0, 0, 0, 2]))
            .not_v6(NotOurs, web().to_mac([0x33, 0x33, 0, 0, 0, 1]))
            .not_v6(NoService, tcp(PORT, 81).syn())
            .not_v6(NoService, udp(PORT, 80))
            .not_v6(Reason::NoConnection, tcp(PORT, 80).ack()),
        Case::new("without services of IPv6 nothing is looked at", without).not_v6(NotOurs, web()),
    ]
}

fn broken() -> Vec<Case> {
    let whole = web().bytes();
    let at = |version: u8| {
        let mut frame = whole.clone();
        frame[14] = version << 4;
        frame
    };
    let cut = [14usize, 15, 30, 53]
        .into_iter()
        .fold(Case::new("cut off in its IPv6 header", http()), |case, bytes| {
            case.not_frame(NotOurs, whole[..bytes].to_vec())
        });
    let in_transport = [54usize, 58, 66, 73]
        .into_iter()
        .fold(Case::new("cut off in its transport header, behind IPv6's", http()), |case, bytes| {
            case.not_frame(Malformed, whole[..bytes].to_vec())
        });
    vec![
        Case::new("a version that is not 6", http())
            .not_frame(Malformed, at(4))
            .not_frame(Malformed, at(0))
            .not_frame(Malformed, at(7)),
        cut,
        in_transport,
        Case::new("an SCTP packet of IPv6 without its chunk", {
            Setup::new().service_v6(Sctp, 5000, RoundRobin, &[(1, 1)])
        })
        .not_frame(Malformed, sctp(PORT, 5000, ChunkKind::INIT).bytes()[..66].to_vec()),
    ]
}

/// The key of a client's template, of a prefix of so many bits.
fn template(client: V6, bits: u32, port: u16) -> Key<V6> {
    let client = client.masked(bits.to_be_bytes());
    Key { client, client_port: [0; 2], kind: kind::TEMPLATE, ..key_v6(Tcp, 0, port) }
}

fn persistent() -> Vec<Case> {
    let setup = |bits: u32| http().persistent(300, bits.to_be_bytes());
    let mut neighbour = CLIENT_V6;
    neighbour[8..].copy_from_slice(&[9; 8]);
    let mut stranger = neighbour;
    stranger[7] = 1;
    let bond = |bits| Hash::of(template(CLIENT_V6, bits, 80), SEED).0;
    vec![
        Case::new("clients of a prefix of IPv6 go to one server", setup(64))
            .v6_to(2, web())
            .then(Fact::ConnectionV6(template(CLIENT_V6, 64, 80), State::TEMPLATE, 2))
            .then(Fact::BondV6(template(CLIENT_V6, 64, 80), u64::from(300 * HERTZ)))
            .then(Fact::BondV6(key_v6(Tcp, PORT, 80), bond(64)))
            .v6_to(2, tcp(PORT, 80).ack())
            .then(Fact::ConnectionV6(template(CLIENT_V6, 64, 80), State::TEMPLATE_ASSURED, 2))
            .v6_to(2, tcp(PORT + 1, 80).syn())
            .v6_to(2, web().from_address(neighbour))
            .then(Fact::Templates(2, 1))
            .v6_to(1, web().from_address(stranger))
            .then(Fact::ConnectionV6(template(stranger, 64, 80), State::TEMPLATE, 1)),
        Case::new("each address of IPv6 by itself", setup(128))
            .v6_to(2, web())
            .v6_to(1, web().from_address(neighbour))
            .v6_to(2, tcp(PORT + 1, 80).syn())
            .then(Fact::BondV6(key_v6(Tcp, PORT + 1, 80), bond(128)))
            .v6_to(1, tcp(PORT + 1, 80).syn().from_address(neighbour))
            .then(Fact::Templates(1, 1))
            .then(Fact::Templates(2, 1)),
    ]
}

fn marked() -> Vec<Case> {
    let every = |mark| MarkRow { last_port: u16::MAX, mark, ..MarkRow::default() };
    let services = || http().service_by_mark_v6(7, RoundRobin, &[(3, 1)]);
    let mut net = VIP_V6;
    net[8..].fill(0);
    let mut mask = [0; 16];
    mask[..15].fill(0xff);
    let of_clients = MarkRow { source: address(0x0200), source_mask: mask, ..every(7) };
    let elsewhere = address(0x0999);
    vec![
        Case::new("a mark of IPv6 leads to its service", services().marks(VIP_V6, 128, &[every(7)]))
            .v6_to(3, web())
            .then(Fact::ConnectionV6(key_v6(Tcp, PORT, 80), State::tcp(TcpState::SynReceived), 3))
            .v6_to(3, udp(PORT, 1)),
        Case::new("a rule names a net of IPv6 clients", services().marks(VIP_V6, 128, &[of_clients]))
            .v6_to(2, web())
            .v6_to(3, web().from_address(address(0x02ff)))
            .v6_to(1, web().from_address(address(0x0300))),
        Case::new("a rule for a net of IPv6 makes its addresses ours", {
            services().marks(net, 64, &[every(7)]).rule(Rules::MARKED_NETS)
        })
        .v6_to(3, web().to_address(elsewhere))
        .then(Fact::ConnectionV6(
            Key { vip: elsewhere, ..key_v6(Tcp, PORT, 80) },
            State::tcp(TcpState::SynReceived),
            3,
        ))
        .not_v6(NotOurs, web().to_address([0x20; 16])),
        Case::new("a mark's service of IPv4 is none of IPv6", {
            let setup = http().service_by_mark(7, RoundRobin, &[(4, 1)]);
            setup.marks(VIP_V6, 128, &[every(7)])
        })
        .v6_to(2, web()),
    ]
}

/// While the table grows, connections are found by both sizes.
fn growing() -> Vec<Case> {
    let established = State::tcp(TcpState::Established);
    let shapes = [Shape::new(BUCKETS / 4, BUCKETS / 2), Shape::new(BUCKETS / 2, BUCKETS / 4)];
    let case = |(number, shape)| {
        let connections = (0..20).fold(http(), |setup, more| {
            setup.connection_v6(key_v6(Tcp, PORT + more, 80), 3, established, Method::DIRECT)
        });
        let setup = Setup { shape_v6: shape, ..connections };
        let case = Case::new(&format!("while the table of IPv6 grows, step {number}"), setup);
        (0..20)
            .fold(case, |case, more| case.v6_to(3, tcp(PORT + more, 80).ack()))
            .v6_to(2, tcp(PORT + 99, 80).syn())
    };
    (1..).zip(shapes).map(case).collect()
}
