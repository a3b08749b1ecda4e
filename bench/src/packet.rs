//! The packets that are measured with.

use std::net::IpAddr;

use lbxdp_common::drive::{FRAME_WORDS, ORDERS_WORDS, Orders, V4_BYTES, V6_BYTES};

/// MAC address of the director's interface.
pub(crate) const DIRECTOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// MAC address of everybody else.
pub(crate) const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// The port of all services.
pub(crate) const PORT: u16 = 80;
/// The first port of a client.
pub(crate) const FIRST_PORT: u16 = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }

    const fn frame_bytes(self) -> usize {
        match self {
            Self::V4 => V4_BYTES as usize,
            Self::V6 => V6_BYTES as usize,
        }
    }

    const fn address_bytes(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }
}

/// What a packet is of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first segment of TCP.
    Syn,
    /// Any later one.
    Ack,
    /// A datagram of UDP.
    Datagram,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub(crate) const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// The packet that opens a connection.
    pub(crate) const fn first(self) -> Kind {
        match self {
            Self::Tcp => Kind::Syn,
            Self::Udp => Kind::Datagram,
        }
    }

    /// All packets after it.
    pub(crate) const fn later(self) -> Kind {
        match self {
            Self::Tcp => Kind::Ack,
            Self::Udp => Kind::Datagram,
        }
    }
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// A client.
    Request,
    /// A server, by VS/NAT.
    Reply,
}

/// How many flows the packets belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flows {
    /// A power of two, by its exponent.
    Bits(u32),
    /// Each packet is a new one.
    New,
}

impl Flows {
    const fn bits(self) -> u32 {
        match self {
            Self::Bits(bits) => bits,
            Self::New => u32::BITS,
        }
    }
}

/// The packets of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packets {
    pub(crate) kind: Kind,
    pub(crate) direction: Direction,
    /// The first client's address.
    pub(crate) client: IpAddr,
    /// The first service's address; of replies the server's.
    pub(crate) service: IpAddr,
    /// How many services there are, one address after the other.
    pub(crate) services: u32,
    pub(crate) flows: Flows,
}

impl Packets {
    pub(crate) const fn family(&self) -> Family {
        match self.service {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    pub(crate) const fn with_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The frame of the first flow.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let family = self.family();
        let (from, to) = match self.direction {
            Direction::Request => (self.client, self.service),
            Direction::Reply => (self.service, self.client),
        };
        let ports = match self.direction {
            Direction::Request => [FIRST_PORT, PORT],
            Direction::Reply => [PORT, FIRST_PORT],
        };
        let transport = transport(self.kind, ports, family.frame_bytes() - header_end(family));
        let mut frame = Vec::with_capacity(family.frame_bytes());
        frame.extend(DIRECTOR_MAC);
        frame.extend(OTHER_MAC);
        frame.extend(network(family, protocol_number(self.kind), transport.len()));
        for address in [from, to] {
            match address {
                IpAddr::V4(address) => frame.extend(address.octets()),
                IpAddr::V6(address) => frame.extend(address.octets()),
            }
        }
        frame.extend(transport);
        if family == Family::V4 {
            let sum = sum(frame.iter().skip(14).take(20));
            let folded = (sum >> 16) + (sum & 0xffff);
            let checksum = !u16::try_from((folded >> 16) + (folded & 0xffff)).unwrap_or_default();
            frame.splice(24..26, checksum.to_le_bytes());
        }
        frame
    }

    /// The driver's orders; `ifindex` is for a source of live frames.
    pub(crate) fn orders(&self, ifindex: u32) -> [u64; ORDERS_WORDS] {
        let frame = self.frame();
        let mut bytes = [0; FRAME_WORDS * 8];
        for (place, byte) in bytes.iter_mut().zip(&frame) {
            *place = *byte;
        }
        let bits = self.flows.bits();
        let (client, service) = (low(self.client), low(self.service));
        // Version, length, hops and protocol; addresses are put to it flow by flow.
        let sum = if self.family() == Family::V4 { sum(frame.iter().skip(14).take(10)) } else { 0 };
        zerocopy::transmute!(Orders {
            frame: zerocopy::transmute!(bytes),
            client,
            service,
            mask: u32::try_from((1_u64 << bits) - 1).unwrap_or(u32::MAX),
            services: self.services,
            half: bits.div_ceil(2),
            sum,
            port: FIRST_PORT.into(),
            ifindex,
        })
    }
}

/// The last four bytes of an address.
fn low(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => (address.to_bits() & u128::from(u32::MAX)).try_into().unwrap_or_default(),
    }
}

/// The sum of 16-bit numbers, little-endian.
fn sum<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    bytes.zip([0, 8].into_iter().cycle()).map(|(byte, shift)| u32::from(*byte) << shift).sum()
}

const fn header_end(family: Family) -> usize {
    match family {
        Family::V4 => 14 + 20,
        Family::V6 => 14 + 40,
    }
}

const fn protocol_number(kind: Kind) -> u8 {
    match kind {
        Kind::Syn | Kind::Ack => 6,
        Kind::Datagram => 17,
    }
}

/// The type of the frame, and the header of IP up to its addresses; the checksum is still zero.
fn network(family: Family, protocol: u8, transport_bytes: usize) -> Vec<u8> {
    let length = |more: usize| u16::try_from(transport_bytes + more).unwrap_or_default().to_be_bytes();
    let mut header = Vec::with_capacity(2 + family.address_bytes());
    match family {
        Family::V4 => {
            header.extend([8, 0, 0x45, 0]);
            header.extend(length(20));
            header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
        }
        Family::V6 => {
            header.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            header.extend(length(0));
            header.extend([protocol, 64]);
        }
    }
    header
}

/// The header of TCP or UDP, and what fills the frame up. The checksum is some number: a director does not check it.
fn transport(kind: Kind, [from, to]: [u16; 2], bytes: usize) -> Vec<u8> {
    const CHECKSUM: [u8; 2] = [0x12, 0x34];
    let mut header = Vec::with_capacity(bytes);
    header.extend(from.to_be_bytes());
    header.extend(to.to_be_bytes());
    let flags = match kind {
        Kind::Syn => 0x02,
        Kind::Ack => 0x10,
        Kind::Datagram => {
            header.extend(u16::try_from(bytes).unwrap_or_default().to_be_bytes());
            header.extend(CHECKSUM);
            header.resize(bytes, 0);
            return header;
        }
    };
    header.extend([0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, flags, 0xff, 0xff]);
    header.extend(CHECKSUM);
    header.resize(bytes, 0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(kind: Kind, client: &str, service: &str) -> Packets {
        Packets {
            kind,
            direction: Direction::Request,
            client: client.parse().unwrap(),
            service: service.parse().unwrap(),
            services: 1,
            flows: Flows::Bits(0),
        }
    }

    #[test]
    fn a_frame_of_ipv4_is_one_that_ethernet_takes_and_its_checksum_is_right() {
        for kind in [Kind::Syn, Kind::Ack, Kind::Datagram] {
            let frame = packets(kind, "100.64.0.1", "10.1.0.1").frame();
            assert_eq!(frame.len(), 60);
            assert_eq!(frame[16..18], 46_u16.to_be_bytes());
            let sum = sum(frame.iter().skip(14).take(20));
            assert_eq!((sum >> 16) + (sum & 0xffff), 0xffff);
        }
    }

    #[test]
    fn the_driver_writes_the_frame_of_the_first_flow_as_it_is_here() {
        let packets = packets(Kind::Ack, "100.64.0.1", "10.1.0.1");
        let orders: Orders = zerocopy::transmute!(packets.orders(7));
        let mut memory = [0; 60];
        let mut buffer = lbxdp_common::wire::Buffer::new(&mut memory, 0);
        lbxdp_common::drive::write::<lbxdp_common::drive::RequestsV4, _>(&mut &mut buffer, &orders, 0)
            .unwrap();
        assert_eq!(memory.to_vec(), packets.frame());
        assert_eq!(orders.ifindex, 7);
    }

    #[test]
    fn a_frame_of_ipv6_has_its_ports_behind_both_addresses() {
        let frame = packets(Kind::Datagram, "2001:db8:c::1", "2001:db8::1").frame();
        assert_eq!(frame.len(), 80);
        assert_eq!(frame[54..58], [4, 0, 0, 80]);
        assert_eq!(frame[18..20], 26_u16.to_be_bytes());
    }
}
