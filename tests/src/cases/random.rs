//! Frames and services by chance, but the same ones each time: noise, and packets of a few connections with a few bytes
//! changed; services of all kinds.

use super::frame::{Packet, sctp, tcp, udp};
use super::memory::{MEMBERS, SERVICES};
use super::setup::{Setup, key, template_key};
use super::tunnels::{TUNNELS, through};
use super::v6;
use super::{CLIENT, CLIENT_V6, IFINDEX, VIP, VIP_V6};
use etherparse::IpNumber;
use lbxdp_common::mark::MarkRow;
use lbxdp_common::server::ServerFlags;
use lbxdp_common::service::{List, ServiceFlags, widened};
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
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u16) -> u16 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let [.., high, low] = (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).to_be_bytes();
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
