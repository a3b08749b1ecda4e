//! Frames that are made of words: the plainest ones that say what was said.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{
    EtherType, Ethernet2Header, IcmpEchoHeader, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber,
    Ipv4Header, Ipv6Header, SingleVlanHeader, TcpHeader, UdpHeader, VlanId,
};
use lbxdp_common::Protocol;
use lbxdp_common::walk::Walker;
use lbxdp_common::wire::sctp::ChunkKind;
use lbxdp_common::wire::{Buffer, crc32c};

use super::words::{Kind, TcpFlags, Words};
use crate::lan::Mac;

/// What is said of a packet beside its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// What it means to its connection.
    pub(super) moment: Moment,
    /// Bytes from the IP header on; `None`: as few as it takes.
    pub(super) ip_bytes: Option<u32>,
    /// Hops that it has left.
    pub(super) ttl: u8,
    /// Of IPv4: whether routers may cut it.
    pub(super) may_be_cut: bool,
    /// Its VLANs, the outer one first.
    pub(super) vlans: Vec<VlanId>,
    /// Who sends the frame.
    pub(super) from: Mac,
    /// Who is to get it.
    pub(super) to: Mac,
}

/// What a packet means to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// It is the first one: a SYN, an INIT.
    Begins,
    /// It is one in its midst: an ACK, DATA.
    GoesOn,
    /// Of TCP: what these flags mean.
    Flags(TcpFlags),
}

/// Why there is no such frame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotCraft {
    #[error("a packet of {wanted} bytes is too short: its headers alone have {least}")]
    TooShort { wanted: u32, least: u32 },
    #[error("a packet of {0} bytes is too long")]
    TooLong(u32),
}

/// Bytes of a transport header, as far as lengths are concerned.
const TCP_BYTES: u32 = 20;
const UDP_BYTES: u32 = 8;
const ICMP_BYTES: u32 = 8;
/// The common header of SCTP, and of a chunk.
const SCTP_BYTES: u32 = 12 + CHUNK_BYTES;
const CHUNK_BYTES: u32 = 4;
/// Bytes of INIT without parameters (RFC 9260, 3.3.2), and of DATA with four bytes of user data (3.3.1), without the chunk's
/// header.
const CHUNK_VALUE: u32 = 16;
const IPV4_BYTES: u32 = 20;
const IPV6_BYTES: u32 = 40;
/// Where the checksum stands in a packet of SCTP.
const SCTP_CHECKSUM: usize = 8;

/// The frame of a packet.
pub(super) fn frame(words: &Words, shape: &Shape) -> Result<Vec<u8>, CannotCraft> {
    let is_v6 = words.from.is_ipv6();
    let ip_bytes = if is_v6 { IPV6_BYTES } else { IPV4_BYTES };
    let (header, least_payload) = match words.kind {
        Kind::Transport(Protocol::Tcp) => (TCP_BYTES, 0),
        Kind::Transport(Protocol::Udp) => (UDP_BYTES, 0),
        Kind::Transport(Protocol::Sctp) => (SCTP_BYTES, CHUNK_VALUE),
        Kind::Echo => (ICMP_BYTES, 0),
    };
    let least = ip_bytes + header + least_payload;
    let wanted = shape.ip_bytes.unwrap_or(least);
    if wanted < least {
        return Err(CannotCraft::TooShort { wanted, least });
    }
    let payload = vec![0; (wanted - ip_bytes - header) as usize];
    let packet = match (words.from.ip(), words.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => v4(words, shape, from, to, &payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => v6(words, shape, from, to, &payload),
        // Words of two families are refused where they are read.
        _ => None,
    };
    let packet = packet.ok_or(CannotCraft::TooLong(wanted))?;
    let ether_type = if is_v6 { EtherType::IPV6 } else { EtherType::IPV4 };
    Ok([link(shape, ether_type), packet].concat())
}

/// The Ethernet header, with tags.
fn link(shape: &Shape, ether_type: EtherType) -> Vec<u8> {
    let first = if shape.vlans.is_empty() { ether_type } else { EtherType::VLAN_TAGGED_FRAME };
    let ethernet = Ethernet2Header { source: shape.from, destination: shape.to, ether_type: first };
    let mut bytes = ethernet.to_bytes().to_vec();
    for (at, vlan) in shape.vlans.iter().enumerate() {
        let is_last = at + 1 == shape.vlans.len();
        let tag = SingleVlanHeader {
            vlan_id: *vlan,
            ether_type: if is_last { ether_type } else { EtherType::VLAN_TAGGED_FRAME },
            ..SingleVlanHeader::default()
        };
        bytes.extend(tag.to_bytes());
    }
    bytes
}

fn v4(words: &Words, shape: &Shape, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Option<Vec<u8>> {
    let number = number(words.kind, IpNumber::ICMP);
    let mut ip = Ipv4Header::new(0, shape.ttl, number, from.octets(), to.octets()).ok()?;
    ip.dont_fragment = !shape.may_be_cut;
    let body = match words.kind {
        Kind::Transport(Protocol::Tcp) => {
            let mut tcp = tcp(words, shape);
            tcp.checksum = tcp.calc_checksum_ipv4(&ip, payload).ok()?;
            [&tcp.to_bytes()[..], payload].concat()
        }
        Kind::Transport(Protocol::Udp) => {
            let udp = UdpHeader::with_ipv4_checksum(words.from.port(), words.to.port(), &ip, payload).ok()?;
            [&udp.to_bytes()[..], payload].concat()
        }
        Kind::Transport(Protocol::Sctp) => sctp(words, shape, payload)?,
        Kind::Echo => {
            let echo = Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 1, seq: 1 });
            [&Icmpv4Header::with_checksum(echo, payload).to_bytes()[..], payload].concat()
        }
    };
    ip.set_payload_len(body.len()).ok()?;
    ip.header_checksum = ip.calc_header_checksum();
    Some([&ip.to_bytes()[..], &body].concat())
}

fn v6(words: &Words, shape: &Shape, from: Ipv6Addr, to: Ipv6Addr, payload: &[u8]) -> Option<Vec<u8>> {
    let mut ip = Ipv6Header {
        hop_limit: shape.ttl,
        next_header: number(words.kind, IpNumber::IPV6_ICMP),
        source: from.octets(),
        destination: to.octets(),
        ..Ipv6Header::default()
    };
    let body = match words.kind {
        Kind::Transport(Protocol::Tcp) => {
            let mut tcp = tcp(words, shape);
            tcp.checksum = tcp.calc_checksum_ipv6(&ip, payload).ok()?;
            [&tcp.to_bytes()[..], payload].concat()
        }
        Kind::Transport(Protocol::Udp) => {
            let udp = UdpHeader::with_ipv6_checksum(words.from.port(), words.to.port(), &ip, payload).ok()?;
            [&udp.to_bytes()[..], payload].concat()
        }
        Kind::Transport(Protocol::Sctp) => sctp(words, shape, payload)?,
        Kind::Echo => {
            let echo = Icmpv6Type::EchoRequest(IcmpEchoHeader { id: 1, seq: 1 });
            let icmp = Icmpv6Header::with_checksum(echo, ip.source, ip.destination, payload).ok()?;
            [&icmp.to_bytes()[..], payload].concat()
        }
    };
    ip.set_payload_length(body.len()).ok()?;
    Some([&ip.to_bytes()[..], &body].concat())
}

fn number(kind: Kind, icmp: IpNumber) -> IpNumber {
    match kind {
        Kind::Transport(protocol) => IpNumber(protocol.raw()),
        Kind::Echo => icmp,
    }
}

fn tcp(words: &Words, shape: &Shape) -> TcpHeader {
    let flags = match shape.moment {
        Moment::Begins => TcpFlags::SYN,
        Moment::GoesOn => TcpFlags::ACK,
        Moment::Flags(flags) => flags,
    };
    let [syn, ack, fin, rst, psh, urg] = flags.set();
    TcpHeader {
        syn,
        ack,
        fin,
        rst,
        psh,
        urg,
        ..TcpHeader::new(words.from.port(), words.to.port(), 1, 65_535)
    }
}

/// One chunk, INIT or DATA, with a checksum.
fn sctp(words: &Words, shape: &Shape, value: &[u8]) -> Option<Vec<u8>> {
    let port = |end: SocketAddr| end.port().to_be_bytes();
    let (kind, tag) = match shape.moment {
        // Who opens knows no tag of the other side yet.
        Moment::Begins => (ChunkKind::INIT, [0; 4]),
        Moment::GoesOn | Moment::Flags(_) => (ChunkKind::DATA, [0, 0, 0, 1]),
    };
    let bytes = u16::try_from(CHUNK_BYTES as usize + value.len()).ok()?.to_be_bytes();
    let head = [port(words.from), port(words.to)].concat();
    let mut packet = [&head[..], &tag, &[0; 4], &[kind.0, 0], &bytes, value].concat();
    let length = u32::try_from(packet.len()).ok()?;
    let sum = crc32c::of(&Alone, &&mut Buffer::new(&mut packet, 0), 0, length)?;
    packet.get_mut(SCTP_CHECKSUM..SCTP_CHECKSUM + sum.len())?.copy_from_slice(&sum);
    Some(packet)
}

/// Who walks by himself.
struct Alone;

impl Walker for Alone {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::read::Contents;

    fn shape(moment: Moment) -> Shape {
        Shape {
            moment,
            ip_bytes: None,
            ttl: 64,
            may_be_cut: false,
            vlans: vec![],
            from: [2, 0, 0, 0, 0, 1],
            to: [2, 0, 0, 0, 0, 2],
        }
    }

    fn lines(words: &str, shape: &Shape) -> Vec<String> {
        let words = Words::of(&[words.to_owned()]).unwrap();
        Contents::of(&frame(&words, shape).unwrap(), None).unwrap().lines()
    }

    #[test]
    fn a_frame_is_what_was_said() {
        let line = |words: &str, moment| lines(words, &shape(moment))[1].clone();
        assert_eq!(
            line("tcp 10.0.0.5:4242 -> 10.0.0.100:80", Moment::Begins),
            "tcp 10.0.0.5:4242 -> 10.0.0.100:80, flags S, 40 bytes, ttl 64"
        );
        assert_eq!(
            line("tcp [fd00::5]:4242 -> [fd00::100]:80", Moment::Flags("FA".parse().unwrap())),
            "tcp [fd00::5]:4242 -> [fd00::100]:80, flags AF, 60 bytes, ttl 64"
        );
        assert_eq!(
            line("udp 10.0.0.5:53 -> 10.0.0.100:53", Moment::Begins),
            "udp 10.0.0.5:53 -> 10.0.0.100:53, 28 bytes, ttl 64"
        );
        assert_eq!(
            line("sctp 10.0.0.5:9 -> 10.0.0.100:9", Moment::Begins),
            "sctp 10.0.0.5:9 -> 10.0.0.100:9, 52 bytes, ttl 64"
        );
        assert_eq!(
            line("icmp 10.0.0.5 -> 10.0.0.100", Moment::Begins),
            "icmp 10.0.0.5 -> 10.0.0.100, type 8 code 0, 28 bytes, ttl 64"
        );
        assert_eq!(
            line("icmp fd00::5 -> fd00::100", Moment::Begins),
            "icmpv6 fd00::5 -> fd00::100, type 128 code 0, 48 bytes, ttl 64"
        );
    }

    #[test]
    fn lengths_and_tags_are_as_wanted() {
        let vlans = [7, 8].map(|vlan| VlanId::try_new(vlan).unwrap()).to_vec();
        let tagged = Shape { vlans, ip_bytes: Some(1500), ttl: 3, ..shape(Moment::GoesOn) };
        assert_eq!(
            lines("tcp 10.0.0.5:4242 -> 10.0.0.100:80", &tagged),
            [
                "02:00:00:00:00:01 -> 02:00:00:00:00:02, VLAN 7, VLAN 8",
                "tcp 10.0.0.5:4242 -> 10.0.0.100:80, flags A, 1500 bytes, ttl 3"
            ]
        );
        let words = Words::of(&["tcp 10.0.0.5:1 -> 10.0.0.100:80".to_owned()]).unwrap();
        let of = |bytes| frame(&words, &Shape { ip_bytes: Some(bytes), ..shape(Moment::GoesOn) });
        assert_eq!(of(39), Err(CannotCraft::TooShort { wanted: 39, least: 40 }));
        assert_eq!(of(65_536), Err(CannotCraft::TooLong(65_536)));
        assert_eq!(of(65_535).map(|frame| frame.len()), Ok(14 + 65_535));
    }
}
