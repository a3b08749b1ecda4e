//! Frames by chance, but the same ones each time: noise, and packets of a few connections with a few bytes changed.

use super::frame::{Packet, sctp, tcp, udp};
use super::setup::{Setup, key};
use lbxdp_common::server::ServerFlags;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::wire::sctp::ChunkKind;
use lbxdp_common::{Protocol, Scheduler};

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

    /// A frame.
    pub fn frame(&mut self) -> Vec<u8> {
        let (from, to) = (40_000 + self.below(200), [80, 53, 443, 22][usize::from(self.below(4))]);
        let packet = match self.below(6) {
            0 | 1 => udp(from, to),
            2 => self.sctp(from),
            _ => self.tcp(from, to),
        };
        let mut frame = packet.bytes();
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
        .connection(key(Protocol::Tcp, 40_001, 80), 1, State::tcp(TcpState::TimeWait), 600_000)
        .connection(key(Protocol::Tcp, 40_002, 443), 2, State::tcp(TcpState::Established), -1)
}
