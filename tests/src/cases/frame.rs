//! Frames of clients, built header by header. A new packet is the plainest there is; each test says what is special.

use std::ops::Range;

use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpFragOffset, IpNumber,
    Ipv4Header, Ipv4Options, Ipv6Header, TcpHeader, UdpHeader,
};

use lbxdp_common::wire::sctp::ChunkKind;

use super::{CLIENT, CLIENT_MAC, DIRECTOR_MAC, VIP};

/// Bytes of an Ethernet header, after which the IP header stands.
pub const IP: usize = Ethernet2Header::LEN;

/// A packet on its way to a VIP.
#[derive(Clone, Debug)]
pub struct Packet {
    ethernet: Ethernet2Header,
    ip: Ipv4Header,
    transport: Transport,
    payload: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Transport {
    Tcp(TcpHeader),
    Udp {
        from: u16,
        to: u16,
    },
    /// The common header and its chunks, without a checksum.
    Sctp(Vec<u8>),
    Other,
}

const PAYLOAD: &[u8] = b"lbxdp";

fn packet(protocol: IpNumber, transport: Transport) -> Packet {
    Packet {
        ethernet: Ethernet2Header {
            source: CLIENT_MAC,
            destination: DIRECTOR_MAC,
            ether_type: EtherType::IPV4,
        },
        ip: Ipv4Header::new(0, 64, protocol, CLIENT, VIP).expect("an empty payload is not too long"),
        transport,
        payload: PAYLOAD.to_vec(),
    }
}

/// A TCP packet without flags, from a client's port to a port of the VIP.
pub fn tcp(from: u16, to: u16) -> Packet {
    packet(IpNumber::TCP, Transport::Tcp(TcpHeader::new(from, to, 1000, 64_000)))
}

/// A UDP packet.
pub fn udp(from: u16, to: u16) -> Packet {
    packet(IpNumber::UDP, Transport::Udp { from, to })
}

/// An SCTP packet without chunks.
pub fn sctp(from: u16, to: u16) -> Packet {
    let tag_and_checksum = [0, 0, 0, 7, 0, 0, 0, 0];
    let header = [&from.to_be_bytes()[..], &to.to_be_bytes(), &tag_and_checksum].concat();
    packet(IpNumber::SCTP, Transport::Sctp(header))
}

/// A packet of another protocol.
pub fn other(protocol: IpNumber) -> Packet {
    packet(protocol, Transport::Other)
}

impl Packet {
    #[must_use]
    pub fn ether_type(mut self, ether_type: EtherType) -> Self {
        self.ethernet.ether_type = ether_type;
        self
    }

    #[must_use]
    pub fn to_mac(mut self, mac: [u8; 6]) -> Self {
        self.ethernet.destination = mac;
        self
    }

    #[must_use]
    pub fn to_address(mut self, address: [u8; 4]) -> Self {
        self.ip.destination = address;
        self
    }

    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ip.time_to_live = ttl;
        self
    }

    #[must_use]
    pub fn from_address(mut self, address: [u8; 4]) -> Self {
        self.ip.source = address;
        self
    }

    #[must_use]
    pub fn from_mac(mut self, mac: [u8; 6]) -> Self {
        self.ethernet.source = mac;
        self
    }

    /// So many bytes of payload.
    #[must_use]
    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = (0..=u8::MAX).cycle().take(bytes).collect();
        self
    }

    /// Type of service and ECN.
    #[must_use]
    pub fn traffic_class(mut self, class: u8) -> Self {
        self.ip.dscp = (class >> 2).try_into().expect("six bits");
        self.ip.ecn = (class & 3).try_into().expect("two bits");
        self
    }

    /// Options of the IP header: a multiple of four bytes, at most 40.
    #[must_use]
    pub fn ip_options(mut self, options: &[u8]) -> Self {
        self.ip.options = Ipv4Options::try_from(options).expect("options of a length that can be");
        self
    }

    /// The number by which its fragments are known, if it may be fragmented.
    #[must_use]
    pub fn identification(mut self, identification: u16) -> Self {
        self.ip.identification = identification;
        self.ip.dont_fragment = false;
        self
    }

    #[must_use]
    pub fn syn(self) -> Self {
        self.flag(|tcp| tcp.syn = true)
    }

    #[must_use]
    pub fn ack(self) -> Self {
        self.flag(|tcp| tcp.ack = true)
    }

    #[must_use]
    pub fn fin(self) -> Self {
        self.flag(|tcp| tcp.fin = true)
    }

    #[must_use]
    pub fn rst(self) -> Self {
        self.flag(|tcp| tcp.rst = true)
    }

    /// One more chunk of an SCTP packet: header, value, padding.
    #[must_use]
    pub fn chunk(self, kind: ChunkKind, value: &[u8]) -> Self {
        let bytes = u16::try_from(4 + value.len()).expect("a short value");
        self.chunk_of(kind, bytes, value)
    }

    /// A chunk that says that it has so many bytes.
    #[must_use]
    pub fn chunk_of(mut self, kind: ChunkKind, bytes: u16, value: &[u8]) -> Self {
        if let Transport::Sctp(packet) = &mut self.transport {
            let [high, low] = bytes.to_be_bytes();
            packet.extend([kind.0, 0, high, low]);
            packet.extend(value);
            packet.resize(packet.len().next_multiple_of(4), 0);
        }
        self
    }

    fn flag(mut self, set: impl Fn(&mut TcpHeader)) -> Self {
        if let Transport::Tcp(tcp) = &mut self.transport {
            set(tcp);
        }
        self
    }

    /// The frame, with lengths and checksums.
    pub fn bytes(mut self) -> Vec<u8> {
        let mut body = Vec::new();
        match &mut self.transport {
            Transport::Tcp(tcp) => {
                tcp.checksum = tcp.calc_checksum_ipv4(&self.ip, &self.payload).expect("a short payload");
                tcp.write(&mut body).expect("memory takes all");
            }
            Transport::Udp { from, to } => {
                let header = UdpHeader::with_ipv4_checksum(*from, *to, &self.ip, &self.payload);
                header.expect("a short payload").write(&mut body).expect("memory takes all");
            }
            Transport::Sctp(packet) => {
                body.extend_from_slice(packet);
                let checksum = crc32c(&body).to_le_bytes();
                body[SCTP_CHECKSUM..SCTP_CHECKSUM + checksum.len()].copy_from_slice(&checksum);
            }
            Transport::Other => {}
        }
        if !matches!(self.transport, Transport::Sctp(_)) {
            body.extend_from_slice(&self.payload);
        }
        self.ip.set_payload_len(body.len()).expect("a short payload");
        let mut frame = Vec::new();
        self.ethernet.write(&mut frame).expect("memory takes all");
        self.ip.write(&mut frame).expect("memory takes all");
        frame.extend(body);
        frame
    }
}

/// The fragment of a frame's packet that holds these bytes of its payload.
pub fn fragment(frame: &[u8], part: Range<usize>) -> Vec<u8> {
    let (mut ip, payload) = Ipv4Header::from_slice(&frame[IP..]).expect("an IP header");
    let first = usize::from(ip.fragment_offset.value());
    let offset = u16::try_from(first + part.start / 8).expect("an offset");
    ip.fragment_offset = IpFragOffset::try_new(offset).expect("an offset of 13 bits");
    ip.more_fragments |= part.end < payload.len();
    ip.set_payload_len(part.len()).expect("a short payload");
    ip.header_checksum = ip.calc_header_checksum();
    [&frame[..IP], &ip.to_bytes(), &payload[part]].concat()
}

/// The frame with VLAN tags: ethertype and number of each.
pub fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let tags: Vec<u8> =
        tags.iter().flat_map(|(kind, vlan)| [kind.to_be_bytes(), vlan.to_be_bytes()]).flatten().collect();
    [&frame[..MACS], &tags, &frame[MACS..]].concat()
}

/// A frame's tags, and the frame without them.
pub fn untagged(frame: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut tags = MACS;
    while matches!(frame.get(tags..tags + 2), Some([0x81, 0x00] | [0x88, 0xa8])) && tags < MACS + 8 {
        tags += 4;
    }
    let macs = MACS.min(frame.len());
    (frame[macs..tags.max(macs)].to_vec(), [&frame[..macs], &frame[tags.max(macs)..]].concat())
}

/// Bytes of a frame's MAC addresses.
const MACS: usize = 12;

/// Where the checksum stands in an SCTP packet.
const SCTP_CHECKSUM: usize = 8;

/// The checksum of an SCTP packet whose checksum is zero (RFC 9260, appendix A), bit by bit; least significant byte first.
pub fn crc32c(packet: &[u8]) -> u32 {
    let shifted = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    let crc = packet.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shifted));
    !crc
}

/// The frame as its server must get it: one hop less, to other MAC addresses, and nothing else changed.
pub fn forwarded(frame: &[u8], macs: [u8; 12]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[..macs.len()].copy_from_slice(&macs);
    if frame[IP] >> 4 == 6 {
        frame[IP + HOP_LIMIT] -= 1;
        return frame;
    }
    let (mut ip, _) = Ipv4Header::from_slice(&frame[IP..]).expect("an IP header");
    ip.time_to_live -= 1;
    ip.header_checksum = ip.calc_header_checksum();
    frame[IP..IP + ip.header_len()].copy_from_slice(&ip.to_bytes());
    frame
}

/// Where the hop limit stands in an IPv6 header.
const HOP_LIMIT: usize = 7;

/// What an ICMP error says: type, code, and the four bytes behind the checksum.
pub type Error = (u8, u8, [u8; 4]);

/// IPv4's "port unreachable".
pub const PORT_UNREACHABLE: Error = (3, 3, [0; 4]);
/// IPv4's "time exceeded".
pub const TIME_EXCEEDED: Error = (11, 0, [0; 4]);

/// The frame its sender gets back, if it is told an error; see [`settled`].
pub fn refused(frame: &[u8], (type_u8, code_u8, bytes5to8): Error) -> Vec<u8> {
    let (ethernet, _) = Ethernet2Header::from_slice(frame).expect("an Ethernet header");
    let (source, destination) = (ethernet.destination, ethernet.source);
    let ethernet = Ethernet2Header { source, destination, ..ethernet }.to_bytes();
    if ethernet[12..] == EtherType::IPV6.0.to_be_bytes() {
        let (ip, _) = Ipv6Header::from_slice(&frame[IP..]).expect("an IP header");
        let whole = Ipv6Header::LEN + usize::from(ip.payload_length);
        let quote = &frame[IP..IP + whole.min(MOST_QUOTED_V6)];
        let error = Icmpv6Type::Unknown { type_u8, code_u8, bytes5to8 };
        let icmp =
            Icmpv6Header::with_checksum(error, ip.destination, ip.source, quote).expect("a short packet");
        let answer = Ipv6Header {
            payload_length: u16::try_from(icmp.header_len() + quote.len()).expect("a short packet"),
            next_header: IpNumber::IPV6_ICMP,
            hop_limit: 64,
            source: ip.destination,
            destination: ip.source,
            ..Ipv6Header::default()
        };
        return [&ethernet[..], &answer.to_bytes(), &icmp.to_bytes(), quote].concat();
    }
    let (ip, _) = Ipv4Header::from_slice(&frame[IP..]).expect("an IP header");
    let quote = &frame[IP..IP + usize::from(ip.total_len).min(MOST_QUOTED)];
    let icmp = Icmpv4Header::with_checksum(Icmpv4Type::Unknown { type_u8, code_u8, bytes5to8 }, quote);
    let bytes = u16::try_from(icmp.header_len() + quote.len()).expect("a short packet");
    let mut answer =
        Ipv4Header::new(bytes, 64, IpNumber::ICMP, ip.destination, ip.source).expect("a short packet");
    // Without the cost bit and ECN; precedence: internetwork control.
    answer.dscp = (((ip.dscp.value() << 2) & 0x1c | 0xc0) >> 2).try_into().expect("six bits");
    answer.ecn = (ip.ecn.value() & 2).try_into().expect("two bits");
    answer.dont_fragment = false;
    answer.identification = 0;
    answer.header_checksum = answer.calc_header_checksum();
    [&ethernet[..], &answer.to_bytes(), &icmp.to_bytes(), quote].concat()
}

/// The most bytes of a packet that an ICMP error quotes: with its own headers it has 576, or 1,280 of IPv6.
const MOST_QUOTED: usize = 548;
const MOST_QUOTED_V6: usize = 1232;

/// The frame with identification 0, which may be any number, in its IP header, whose checksum must be right.
///
/// An IPv6 packet has none.
pub fn settled(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[IP] >> 4 == 6 {
        return frame;
    }
    let (mut ip, _) = Ipv4Header::from_slice(&frame[IP..]).expect("an IP header");
    assert_eq!(ip.header_checksum, ip.calc_header_checksum(), "the checksum of {ip:?}");
    ip.identification = 0;
    ip.header_checksum = ip.calc_header_checksum();
    frame[IP..IP + ip.header_len()].copy_from_slice(&ip.to_bytes());
    frame
}

#[cfg(test)]
mod tests {
    /// RFC 3720, appendix B.4.
    #[test]
    fn the_checksum_of_sctp_is_crc32c() {
        assert_eq!(super::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(super::crc32c(&[0xff; 32]), 0x62a8_ab43);
    }
}
