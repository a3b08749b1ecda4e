//! A director's tunnels, built by another hand than lbxdp's: header by header, with etherparse.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, SingleVlanHeader, UdpHeader, VlanId};

use crate::traffic::Macs;

/// The UDP port of GUE.
pub const GUE_PORT: u16 = 6080;

/// What is put around a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ipip,
    /// GUE with the inner packet as it is.
    Gue,
    /// GUE with the inner packet's transport checksum left to the receiver.
    GueRemote,
    Gre,
    /// GRE with its own checksum.
    GreChecksum,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Ipip, Self::Gue, Self::GueRemote, Self::Gre, Self::GreChecksum];
}

/// A tunnel of a director to a server.
#[derive(Clone, Copy, Debug)]
pub struct Tunnel {
    pub kind: Kind,
    pub macs: Macs,
    pub vlan: Option<u16>,
    /// The director. Both ends are of one family.
    pub from: IpAddr,
    /// The server.
    pub to: IpAddr,
    /// The outer header's traffic class.
    pub class: u8,
}

/// A UDP datagram from the IP header on.
pub fn datagram(from: SocketAddr, to: SocketAddr, class: u8, payload: &[u8]) -> Vec<u8> {
    let ip = ip_header(from.ip(), to.ip(), IpNumber::UDP, class, 8 + payload.len());
    let transport = match (from, to) {
        (SocketAddr::V4(a), SocketAddr::V4(b)) => {
            let header = Ipv4Header::new(0, 64, IpNumber::UDP, a.ip().octets(), b.ip().octets());
            let header = header.expect("a datagram that fits");
            UdpHeader::with_ipv4_checksum(a.port(), b.port(), &header, payload)
        }
        (SocketAddr::V6(a), SocketAddr::V6(b)) => {
            let header = Ipv6Header {
                source: a.ip().octets(),
                destination: b.ip().octets(),
                next_header: IpNumber::UDP,
                ..Ipv6Header::default()
            };
            UdpHeader::with_ipv6_checksum(a.port(), b.port(), &header, payload)
        }
        _ => panic!("{from} and {to} are of two families"),
    };
    [ip.as_slice(), &transport.expect("a datagram that fits").to_bytes(), payload].concat()
}

/// An IP header for so many bytes.
fn ip_header(from: IpAddr, to: IpAddr, protocol: IpNumber, class: u8, bytes: usize) -> Vec<u8> {
    let bytes = u16::try_from(bytes).expect("a packet that fits");
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut header =
                Ipv4Header::new(bytes, 64, protocol, from.octets(), to.octets()).expect("a packet that fits");
            header.dscp = (class >> 2).try_into().expect("six bits");
            header.ecn = (class & 3).try_into().expect("two bits");
            header.header_checksum = header.calc_header_checksum();
            header.to_bytes().to_vec()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let header = Ipv6Header {
                traffic_class: class,
                payload_length: bytes,
                next_header: protocol,
                hop_limit: 64,
                source: from.octets(),
                destination: to.octets(),
                ..Ipv6Header::default()
            };
            header.to_bytes().to_vec()
        }
        _ => panic!("{from} and {to} are of two families"),
    }
}

impl Tunnel {
    /// The frame that carries a packet (from its IP header on) through the tunnel.
    pub fn wrap(&self, packet: &[u8]) -> Vec<u8> {
        self.around(&self.shell(packet), self.protocol(packet))
    }

    /// The frame that the server's stack is to see.
    pub fn bare(&self, packet: &[u8]) -> Vec<u8> {
        [self.ethernet(ethertype(packet)).as_slice(), packet].concat()
    }

    /// Anything behind this tunnel's outer header.
    pub fn around(&self, shell: &[u8], protocol: IpNumber) -> Vec<u8> {
        let ip = ip_header(self.from, self.to, protocol, self.class, shell.len());
        [self.ethernet(ethertype(&ip)).as_slice(), &ip, shell].concat()
    }

    /// IANA number of what follows the outer header.
    pub fn protocol(&self, packet: &[u8]) -> IpNumber {
        match self.kind {
            Kind::Ipip => inside(packet),
            Kind::Gue | Kind::GueRemote => IpNumber::UDP,
            Kind::Gre | Kind::GreChecksum => IpNumber::GRE,
        }
    }

    /// The packet with all that stands between the outer header and it.
    pub fn shell(&self, packet: &[u8]) -> Vec<u8> {
        let ethertype = ethertype(packet).to_be_bytes();
        match self.kind {
            Kind::Ipip => packet.to_vec(),
            Kind::Gue => gue(GUE_PORT, &[[0, inside(packet).0, 0, 0].as_slice(), packet].concat()),
            Kind::GueRemote => {
                let (packet, start, offset) = without_checksum(packet);
                let [start, offset] = [start, offset].map(u16::to_be_bytes);
                let header = [2, inside(&packet).0, 0, 1, 0x80, 0, 0, 0];
                gue(GUE_PORT, &[header.as_slice(), &start, &offset, &packet].concat())
            }
            Kind::Gre => [&[0, 0], ethertype.as_slice(), packet].concat(),
            Kind::GreChecksum => {
                let mut shell = [&[0x80, 0], ethertype.as_slice(), &[0; 4], packet].concat();
                let checksum = !folded(sum(&shell));
                shell[4..6].copy_from_slice(&checksum.to_be_bytes());
                shell
            }
        }
    }

    fn ethernet(&self, ethertype: u16) -> Vec<u8> {
        let mut header = [self.macs.to, self.macs.from].concat();
        if let Some(vlan) = self.vlan {
            let vlan = SingleVlanHeader {
                vlan_id: VlanId::try_new(vlan).expect("twelve bits"),
                ether_type: ethertype.into(),
                ..SingleVlanHeader::default()
            };
            header.extend([0x81, 0]);
            header.extend(vlan.to_bytes());
        } else {
            header.extend(ethertype.to_be_bytes());
        }
        header
    }
}

/// UDP without a checksum around something.
pub fn gue(port: u16, payload: &[u8]) -> Vec<u8> {
    let header = UdpHeader::without_ipv4_checksum(40_000, port, payload.len()).expect("a packet that fits");
    [header.to_bytes().as_slice(), payload].concat()
}

fn is_6(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == 6)
}

fn ethertype(packet: &[u8]) -> u16 {
    if is_6(packet) { 0x86dd } else { 0x0800 }
}

fn inside(packet: &[u8]) -> IpNumber {
    if is_6(packet) { IpNumber::IPV6 } else { IpNumber::IPV4 }
}

/// A TCP or UDP packet with the pseudo header's sum in the place of its checksum, as Linux keeps one whose checksum is
/// still to be made; where the transport header begins, and where its checksum is.
fn without_checksum(packet: &[u8]) -> (Vec<u8>, u16, u16) {
    let (start, protocol, addresses) =
        if is_6(packet) { (40, packet[6], 8..40) } else { (20, packet[9], 12..20) };
    let offset = start + if protocol == 17 { 6 } else { 16 };
    let length = u32::try_from(packet.len() - start).expect("a packet that fits");
    let pseudo = folded(sum(&packet[addresses]) + u32::from(protocol) + length);
    let mut packet = packet.to_vec();
    packet[offset..offset + 2].copy_from_slice(&pseudo.to_be_bytes());
    let short = |number: usize| u16::try_from(number).expect("a short header");
    (packet, short(start), short(offset))
}

/// The sum of RFC 1071, the plain way.
pub(crate) fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum()
}

pub(crate) fn folded(mut sum: u32) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}

/// A TCP segment from the IP header on, for those who need a checksum elsewhere than UDP's.
pub fn segment(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let written = match (from, to) {
        (SocketAddr::V4(a), SocketAddr::V4(b)) => PacketBuilder::ipv4(a.ip().octets(), b.ip().octets(), 64)
            .tcp(a.port(), b.port(), 1000, 64_000)
            .write(&mut packet, payload),
        (SocketAddr::V6(a), SocketAddr::V6(b)) => PacketBuilder::ipv6(a.ip().octets(), b.ip().octets(), 64)
            .tcp(a.port(), b.port(), 1000, 64_000)
            .write(&mut packet, payload),
        _ => panic!("{from} and {to} are of two families"),
    };
    written.expect("a vector takes all");
    packet
}
