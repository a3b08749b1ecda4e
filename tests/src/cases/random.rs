//! Frames and services by chance, but the same ones each time: noise, and packets of a few connections with a few bytes
//! changed; services of all kinds.

use super::echo;
use super::frame::{Error, IP, Packet, fragment, sctp, tagged, tcp, udp};
use super::memory::{MEMBERS, SERVICES};
use super::setup::{Setup, key, template_key};
use super::tunnels::{TUNNELS, through};
use super::v6;
use super::{CLIENT, CLIENT_MAC, CLIENT_V6, DIRECTOR_MAC, IFINDEX, VIP, VIP_V6};
use etherparse::{IpNumber, Ipv4Header, Ipv6Header};
use lbxdp_common::client_hop::WayOut;
use lbxdp_common::mark::MarkRow;
use lbxdp_common::server::{Method, ServerFlags};
use lbxdp_common::service::{List, ServiceFlags, ServiceKey, widened};
use lbxdp_common::settings::Rules;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::table::Shape;
use lbxdp_common::wire::sctp::ChunkKind;
use lbxdp_common::{Address, Protocol, Scheduler};

/// Ports that services have, and others that FTP or services for all ports get.
const PORTS: [u16; 8] = [80, 53, 443, 22, 21, 20, 1023, 5000];
/// Where packets go: most of them to the VIP.
const ADDRESSES: [[u8; 4]; 8] = [VIP, VIP, VIP, VIP, VIP, VIP, [10, 7, 1, 2], [10, 7, 200, 1]];

/// A source of numbers (xorshift64*).
pub struct Dice {
    state: u64,
    /// Frames that have left.
    left: Vec<Vec<u8>>,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self { state: seed | 1, left: Vec::new() }
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u16) -> u16 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let [.., high, low] = (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).to_be_bytes();
        u16::from_be_bytes([high, low]) % bound
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_be_bytes()[1]
    }

    fn tcp(&mut self, from: u16, to: u16) -> Packet {
        let tcp = tcp(from, to);
        match self.below(8) {
            0..=2 => tcp.syn(),
            3 | 4 => tcp.ack(),
            5 => tcp.fin().ack(),
            6 => tcp.rst(),
            _ => tcp.syn().ack(),
        }
    }

    /// One or two chunks, most of them of kinds that mean something; a few associations, so that they go on.
    fn sctp(&mut self, from: u16) -> Packet {
        let mut packet = sctp(40_000 + from % 20, 5000);
        for _ in 0..=self.below(2) {
            let kind = if self.below(3) == 0 { 1 } else { self.byte() % 16 };
            let value = vec![self.byte(); usize::from(self.below(6))];
            packet = packet.chunk(ChunkKind(kind), &value);
        }
        packet
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.below(u16::try_from(all.len()).expect("a short list")))]
    }

    /// Once in so many times.
    fn once_in(&mut self, times: u16) -> bool {
        self.below(times) == 0
    }

    /// A packet of IPv6, as [`Dice::frame`] has them of IPv4.
    fn v6(&mut self, from: u16, to: u16) -> Vec<u8> {
        let packet = match self.below(6) {
            0 | 1 => v6::udp(from, to),
            2 => v6::sctp(40_000 + from % 20, 5000, ChunkKind(self.byte() % 16)),
            _ => match self.below(6) {
                0..=2 => v6::tcp(from, to).syn(),
                3 | 4 => v6::tcp(from, to).ack(),
                _ => v6::tcp(from, to).fin().ack(),
            },
        };
        let mut client = CLIENT_V6;
        client[self.one_of(&[7, 15, 15, 15])] = 10 + self.byte() % 8;
        let mut elsewhere = VIP_V6;
        elsewhere[8] = self.byte();
        let mut packet = packet
            .from_address(client)
            .to_address(self.one_of(&[VIP_V6, VIP_V6, VIP_V6, elsewhere]))
            .traffic_class(self.byte())
            .payload(usize::from(self.below(40)));
        if self.once_in(3) {
            for _ in 0..=self.below(3) {
                let number = self.one_of(&[0, 43, 60, 60, 51, 59]);
                packet = packet.options(IpNumber(number), 1 + self.byte() % 3);
            }
        }
        packet.bytes()
    }

    /// A frame.
    pub fn frame(&mut self) -> Vec<u8> {
        let from = if self.once_in(50) { 20 } else { 40_000 + self.below(50) };
        let to = self.one_of(&PORTS);
        let packet = match self.below(6) {
            0 | 1 => udp(from, to),
            2 => self.sctp(from),
            _ => self.tcp(from, to),
        };
        let [one, two, three, _] = CLIENT;
        let client = [one, two, three, 10 + self.byte() % 8];
        let packet = packet.from_address(client).to_address(self.one_of(&ADDRESSES));
        let packet = if self.once_in(20) { packet.ttl(self.byte() % 3) } else { packet };
        let mut frame = if self.once_in(3) { self.v6(from, to) } else { packet.bytes() };
        match self.below(10) {
            0 => frame.iter_mut().for_each(|byte| *byte = self.byte()),
            1 => frame.truncate(14 + usize::from(self.below(46))),
            // From the ethertype on, where changes do more than lead to another machine.
            2..=4 => {
                for _ in 0..=self.below(3) {
                    let at = 12 + usize::from(self.below(42));
                    if let Some(byte) = frame.get_mut(at) {
                        *byte = self.byte();
                    }
                }
            }
            _ => {}
        }
        frame
    }
}

impl Dice {
    /// A packet of one of so many connections of each protocol and family to services that nearly all setups have: it begins the
    /// connection, or goes on with it.
    pub fn frame_of_one_in(&mut self, connections: u16) -> Vec<u8> {
        let from = 41_000 + self.below(connections);
        match self.below(6) {
            0 => tcp(from, 80).syn().bytes(),
            1 => tcp(from, 80).ack().bytes(),
            2 => udp(from, 53).bytes(),
            3 => v6::tcp(from, 80).syn().bytes(),
            4 => v6::tcp(from, 80).ack().bytes(),
            _ => v6::udp(from, 53).bytes(),
        }
    }
}

/// How many frames that left are remembered, for what comes back of them.
const REMEMBERED: usize = 24;

impl Dice {
    /// Shows a frame that left: answers to it, and errors about it, may come.
    pub fn show(&mut self, left: &[u8]) {
        if self.left.len() == REMEMBERED {
            self.left.remove(0);
        }
        self.left.push(left.to_vec());
    }

    /// A frame of any kind: beside those of [`Dice::frame`] long ones, fragments, what comes back of the frames that were
    /// shown; with VLAN tags or without.
    pub fn any_frame(&mut self) -> Vec<u8> {
        let mut frame = match self.below(8) {
            0..=2 => self.come_back().unwrap_or_else(|| self.frame()),
            3 => self.long(),
            _ => self.frame(),
        };
        if self.once_in(4) {
            frame = self.piece(&frame).unwrap_or(frame);
        }
        if self.once_in(40) {
            // To another machine.
            frame[5] ^= 1;
        }
        if self.once_in(6) && frame.len() >= IP {
            let one = (0x8100, self.below(4096));
            let two = [(self.one_of(&[0x88a8, 0x8100]), self.below(4096)), one];
            frame = if self.once_in(2) { tagged(&frame, &[one]) } else { tagged(&frame, &two) };
        }
        frame
    }

    /// What the server answers to the frame that was shown last.
    pub fn answer(&self) -> Option<Vec<u8>> {
        echo::answer(self.left.last()?)
    }

    /// A packet that may be too long for its way.
    fn long(&mut self) -> Vec<u8> {
        let (from, bytes) =
            (40_000 + self.below(8), usize::from(self.one_of(&[120u16, 600, 600, 1400, 2050])));
        let to = self.one_of(&PORTS);
        match self.below(5) {
            0 => sctp(from, 5000).chunk(ChunkKind(1), &vec![7; bytes]).identification(from).bytes(),
            1 => self.tcp(from, to).payload(bytes).identification(from).bytes(),
            2 => udp(from, to).payload(bytes).identification(from).bytes(),
            3 => v6::tcp(from, 80).syn().payload(bytes).bytes(),
            _ => v6::udp(from, 53).payload(bytes).bytes(),
        }
    }

    /// What comes back of a frame that left.
    fn come_back(&mut self) -> Option<Vec<u8>> {
        let number = u16::try_from(self.left.len()).expect("a few");
        if number == 0 {
            return None;
        }
        let which = usize::from(self.below(number));
        let left = self.left.get(which)?.clone();
        let answer = echo::answer(&left)?;
        // Servers are told of answers, clients of requests, directors of what tunnels carry.
        let about = if self.once_in(2) { &answer } else { &left };
        let is_v6 = left.get(12..14) == Some(&[0x86, 0xdd]);
        let mtu = self.one_of(&[300u16, 1280, 1400]).to_be_bytes();
        let errors: [Error; 4] = if is_v6 {
            [(1, 4, [0; 4]), (2, 0, [0, 0, mtu[0], mtu[1]]), (3, 0, [0; 4]), (4, 1, [0; 4])]
        } else {
            [(3, 3, [0; 4]), (3, 4, [0, 0, mtu[0], mtu[1]]), (11, 0, [0; 4]), (12, 0, [0; 4])]
        };
        let quoted = usize::from(self.one_of(&[28u16, 48, 56, 76, 100, 1000]));
        let mut frame = match self.below(3) {
            0 => echo::error(about, self.one_of(&errors), quoted)?,
            _ => answer,
        };
        if self.once_in(6) {
            let at = IP + usize::from(self.below(60));
            if let Some(byte) = frame.get_mut(at) {
                *byte = self.byte();
            }
        }
        Some(frame)
    }

    /// One of two fragments that a packet may be cut into.
    fn piece(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let is_v6 = match frame.get(12..14)? {
            [0x08, 0x00] => false,
            [0x86, 0xdd] => true,
            _ => return None,
        };
        let payload = if is_v6 {
            Ipv6Header::from_slice(&frame[IP..]).ok()?.1.len()
        } else {
            Ipv4Header::from_slice(&frame[IP..]).ok()?.1.len()
        };
        let cut = usize::from(self.one_of(&[8u16, 24, 40, 104]));
        if payload <= cut {
            return None;
        }
        let part = if self.once_in(2) { 0..cut } else { cut..payload };
        let identification = u32::from(self.below(2));
        Some(if is_v6 { v6::fragment(frame, identification, part) } else { fragment(frame, part) })
    }

    /// As [`Dice::setup`], and some servers are reached by VS/NAT, some ways are narrow, and the way to the client may be
    /// known.
    pub fn any_setup(&mut self, schedulers: &[Scheduler]) -> Setup {
        let mut setup = self.setup(schedulers).rule(Rules::MASQUERADE);
        for number in 1..=4 {
            if self.once_in(2) {
                let is_v6 = self.once_in(3);
                let (port, at) = self.one_of(&[(8080u16, 80u16), (5353, 53), (5001, 5000), (0, 80)]);
                let protocol = self.one_of(Protocol::ALL);
                setup = setup.server(number, |row| {
                    row.flags = row.flags.by(Method::MASQUERADE).with_if(ServerFlags::IPV6, is_v6);
                    row.address = if is_v6 { v6_server(number) } else { widened([10, 0, 0, 100 + number]) };
                    row.port_number = port.to_be_bytes();
                    row.service = if is_v6 {
                        ServiceKey::address_v6(VIP_V6, at.to_be_bytes(), protocol.raw())
                    } else {
                        ServiceKey::address(VIP, at.to_be_bytes(), protocol.raw())
                    };
                });
            }
            if self.once_in(3) {
                let mtu = self.one_of(&[600, 1280, 1400]);
                setup = setup.server(number, |row| row.mtu = mtu);
            }
        }
        if self.once_in(2) {
            setup = setup.client_way(self.client_way());
        }
        setup
    }

    pub fn client_way(&mut self) -> WayOut {
        let mut macs = [0; 12];
        macs[..6].copy_from_slice(&CLIENT_MAC);
        macs[6..].copy_from_slice(&DIRECTOR_MAC);
        WayOut { macs, ifindex: self.one_of(&[IFINDEX, IFINDEX + 8]) }
    }
}

/// The IPv6 address of a server that is reached by VS/NAT.
pub(super) fn v6_server(number: u8) -> [u8; 16] {
    let mut address = VIP_V6;
    (address[14], address[15]) = (2, number);
    address
}

/// What a service by chance is at.
#[derive(Clone, Copy)]
enum At {
    Port(Protocol, u16),
    Mark(u32),
    PortV6(Protocol, u16),
    MarkV6(u32),
}

/// As many as there is room for.
const PLACES: [At; 12] = [
    At::Port(Protocol::Tcp, 80),
    At::Port(Protocol::Udp, 53),
    At::Port(Protocol::Sctp, 5000),
    At::Port(Protocol::Tcp, 21),
    At::Port(Protocol::Tcp, 0),
    At::Port(Protocol::Udp, 0),
    At::Mark(7),
    At::PortV6(Protocol::Tcp, 80),
    At::PortV6(Protocol::Udp, 53),
    At::PortV6(Protocol::Sctp, 5000),
    At::PortV6(Protocol::Tcp, 0),
    At::MarkV6(7),
];
const _: () = assert!(PLACES.len() < SERVICES as usize);

impl Dice {
    /// Services with schedulers out of `schedulers`, of which each may be persistent, have servers with thresholds, or
    /// schedule single packets; a table with room, or with little.
    pub fn setup(&mut self, schedulers: &[Scheduler]) -> Setup {
        let mut setup = Setup::new().server_elsewhere(2).server(3, |row| row.next_hop = [0; 6]);
        let flags = [
            ServerFlags::AVAILABLE,
            ServerFlags::AVAILABLE,
            ServerFlags::AVAILABLE.with(ServerFlags::QUIESCENT),
            ServerFlags::AVAILABLE.with(ServerFlags::LOCAL),
            ServerFlags::default(),
        ];
        for number in 1..=4 {
            let flags = self.one_of(&flags);
            setup = setup.server(number, |row| row.flags = flags);
            if self.once_in(3) {
                let ((kind, checksum), is_v6) = (self.one_of(&TUNNELS), self.once_in(2));
                setup = setup.server(number, |row| through(row, kind, checksum, is_v6));
            }
        }
        let mut room = MEMBERS / 2;
        for at in PLACES {
            if !self.once_in(4) {
                setup = self.service(setup, at, schedulers, &mut room);
            }
        }
        for number in 1..=4 {
            if self.once_in(2) {
                let upper = u32::from(self.below(12));
                let lower = u32::from(self.below(12)).min(upper);
                setup = setup.thresholds(number, upper, lower);
            }
        }
        for service in &mut setup.services {
            service.flags = service.flags.with_if(ServiceFlags::HAS_THRESHOLDS, true);
        }
        if self.once_in(2) {
            let (bits, number) = ([32, 24, 16], self.below(3));
            for bits in bits.into_iter().take(usize::from(number) + 1) {
                let destination = if bits == 32 { VIP } else { [10, 7, u8::from(bits == 24), 0] };
                let rules: Vec<MarkRow> = (0..=self.below(3)).map(|_| self.mark_rule()).collect();
                setup = setup.marks(destination, bits, &rules);
            }
            for bits in [128, 64].into_iter().take(usize::from(number)) {
                let net = if bits == 128 { VIP_V6 } else { VIP_V6.masked(64u32.to_be_bytes()) };
                let rules: Vec<MarkRow> = (0..=self.below(3)).map(|_| self.mark_rule()).collect();
                setup = setup.marks(net, bits, &rules);
            }
        }
        if self.once_in(2) {
            setup = setup.template(template_key(Protocol::Tcp, 80), 1, 300, 600_000);
        }
        let small = Shape::steady(u32::from(self.below(16)) + 1);
        let shape = if self.once_in(3) { small } else { setup.shape };
        let mut setup = self.rules(setup).shape(shape);
        if self.once_in(3) {
            setup.shape_v6 = Shape::steady(u32::from(self.below(16)) + 1);
        }
        setup
    }

    fn service(&mut self, setup: Setup, at: At, schedulers: &[Scheduler], room: &mut u32) -> Setup {
        let mut servers = Vec::new();
        for number in 1..=4 {
            if !self.once_in(4) {
                servers.push((number, u32::from(self.below(4))));
            }
        }
        let mut by = self.one_of(schedulers);
        let rows = List::new(0, u16::try_from(servers.len()).expect("few"), by).rows();
        if rows > *room {
            by = Scheduler::RoundRobin;
        } else {
            *room -= rows;
        }
        let mut setup = match at {
            At::Port(protocol, port) => setup.service(protocol, port, by, &servers),
            At::Mark(mark) => setup.service_by_mark(mark, by, &servers),
            At::PortV6(protocol, port) => setup.service_v6(protocol, port, by, &servers),
            At::MarkV6(mark) => setup.service_by_mark_v6(mark, by, &servers),
        };
        if self.once_in(2) {
            let bits: u32 = self.one_of(&[128, 64, 48, 61]);
            let is_v6 = matches!(at, At::PortV6(..) | At::MarkV6(_));
            let netmask = self.one_of(&[[255; 4], [255, 255, 255, 252], [255, 255, 255, 0]]);
            let netmask = if is_v6 { bits.to_be_bytes() } else { netmask };
            setup = setup.persistent(300, netmask);
        }
        if self.once_in(3) {
            setup = setup.one_packet();
        }
        let flags = self.one_of(&[ServiceFlags::default(), ServiceFlags::FALLBACK, ServiceFlags::PORT]);
        setup.flagged(flags)
    }

    fn mark_rule(&mut self) -> MarkRow {
        let [one, two, three, _] = CLIENT;
        let mut rule = MarkRow { last_port: u16::MAX, mark: self.one_of(&[7, 7, 8]), ..MarkRow::default() };
        if self.once_in(3) {
            rule.source = widened([one, two, three, 12]);
            rule.source_mask = widened([255, 255, 255, 252]);
        }
        if self.once_in(3) {
            (rule.first_port, rule.last_port) = (50, 500);
        }
        if self.once_in(3) {
            rule.protocol = self.one_of(Protocol::ALL).raw();
        }
        if self.once_in(3) {
            rule.ifindex = IFINDEX + u32::from(self.below(2));
        }
        rule
    }

    fn rules(&mut self, setup: Setup) -> Setup {
        let all = [
            Rules::SLOPPY_TCP,
            Rules::SLOPPY_SCTP,
            Rules::EXPIRE_NODEST_CONN,
            Rules::SECURE_TCP,
            Rules::EXPIRE_QUIESCENT_TEMPLATE,
            Rules::PMTU_DISC,
        ];
        let setup =
            all.into_iter().fold(setup, |setup, rule| if self.once_in(4) { setup.rule(rule) } else { setup });
        let kinds = [Rules::FTP, Rules::ALL_PORTS, Rules::MARKED_NETS, Rules::IPV6, Rules::TUNNELS];
        kinds.into_iter().fold(setup, Setup::rule)
    }
}

/// Services of every scheduler, servers of every kind, and connections of some.
pub fn setup() -> Setup {
    Setup::new()
        .server_elsewhere(2)
        .server(3, |row| row.next_hop = [0; 6])
        .server(4, |row| row.flags = ServerFlags::AVAILABLE.with(ServerFlags::LOCAL))
        .service(Protocol::Tcp, 80, Scheduler::WeightedRoundRobin, &[(4, 1), (3, 2), (2, 4), (1, 3)])
        .service(Protocol::Udp, 53, Scheduler::RoundRobin, &[(3, 1), (2, 1), (1, 0), (4, 7)])
        .service(Protocol::Tcp, 443, Scheduler::WeightedLeastConnection, &[(1, 5), (2, 3)])
        .service(Protocol::Udp, 22, Scheduler::RoundRobin, &[(1, 0)])
        .service(Protocol::Sctp, 5000, Scheduler::RoundRobin, &[(1, 1), (2, 1)])
        .service_v6(Protocol::Tcp, 80, Scheduler::WeightedLeastConnection, &[(2, 1), (1, 2)])
        .service_v6(Protocol::Udp, 53, Scheduler::RoundRobin, &[(1, 1), (2, 1)])
        .connection(key(Protocol::Tcp, 40_001, 80), 1, State::tcp(TcpState::TimeWait), 600_000)
        .connection(key(Protocol::Tcp, 40_002, 443), 2, State::tcp(TcpState::Established), -1)
}
