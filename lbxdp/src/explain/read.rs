//! What stands in a frame, for people to read. Nothing is decided by it.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use etherparse::{EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, SingleVlanHeader, TcpHeader};
use lbxdp_common::TunnelKind;

use crate::lan::{Mac, written};

/// Bytes of headers of which no more is read than how long they are.
const UDP_BYTES: usize = 8;
const ICMP_BYTES: usize = 8;
/// ICMP of IPv6 of lower types is about another packet (RFC 4443, section 2.1).
const FIRST_INFORMATIONAL: u8 = 128;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) to: Mac,
    pub(crate) from: Mac,
    /// The numbers of its VLANs, the outer one first.
    pub(crate) vlans: Vec<u16>,
    pub(crate) ether_type: u16,
    /// The IP packet, if it is one.
    pub(crate) packet: Option<Contained>,
}

/// An IP packet, as far as it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contained {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// IANA number, behind extension headers.
    pub(crate) protocol: u8,
    /// Source and destination, of what has ports and begins here.
    pub(crate) ports: Option<(u16, u16)>,
    /// Letters of TCP's flags.
    pub(crate) flags: Option<String>,
    /// Type and code.
    pub(crate) icmp: Option<(u8, u8)>,
    pub(crate) ttl: u8,
    /// Bytes of the packet, as its header says.
    pub(crate) bytes: u32,
    /// Where it begins in its datagram, and whether more follows.
    pub(crate) fragment: Option<(u32, bool)>,
    /// What is inside: of a tunnel, or the packet that an ICMP error is about.
    pub(crate) inner: Option<Box<Contained>>,
}

impl Contents {
    /// What is in a frame; of UDP to a tunnel's port, that is a packet too if `tunnel` says so.
    pub(crate) fn of(frame: &[u8], tunnel: Option<TunnelKind>) -> Option<Self> {
        let (ethernet, mut rest) = Ethernet2Header::from_slice(frame).ok()?;
        let (mut ether_type, mut vlans) = (ethernet.ether_type, Vec::new());
        while let EtherType::VLAN_TAGGED_FRAME | EtherType::PROVIDER_BRIDGING = ether_type
            && let Ok((tag, behind)) = SingleVlanHeader::from_slice(rest)
        {
            vlans.push(tag.vlan_id.value());
            (ether_type, rest) = (tag.ether_type, behind);
        }
        let packet = match ether_type {
            EtherType::IPV4 | EtherType::IPV6 => Contained::of(rest, tunnel),
            _ => None,
        };
        Some(Self {
            to: ethernet.destination,
            from: ethernet.source,
            vlans,
            ether_type: ether_type.0,
            packet,
        })
    }
}

impl Contained {
    /// The packet that begins here.
    fn of(bytes: &[u8], tunnel: Option<TunnelKind>) -> Option<Self> {
        let (mut packet, payload) = match bytes.first()? >> 4 {
            4 => Self::of_v4(bytes)?,
            6 => Self::of_v6(bytes)?,
            _ => return None,
        };
        if packet.fragment.is_none_or(|(offset, _)| offset == 0) {
            packet.read_transport(payload, tunnel);
        }
        Some(packet)
    }

    fn of_v4(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (ip, payload) = Ipv4Header::from_slice(bytes).ok()?;
        let offset = u32::from(ip.fragment_offset.value()) * 8;
        let is_piece = offset != 0 || ip.more_fragments;
        let packet = Self {
            source: ip.source.into(),
            destination: ip.destination.into(),
            protocol: ip.protocol.0,
            ports: None,
            flags: None,
            icmp: None,
            ttl: ip.time_to_live,
            bytes: ip.total_len.into(),
            fragment: is_piece.then_some((offset, ip.more_fragments)),
            inner: None,
        };
        Some((packet, payload))
    }

    fn of_v6(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (ip, mut payload) = Ipv6Header::from_slice(bytes).ok()?;
        let (mut next, mut fragment) = (ip.next_header, None);
        // Extension headers (RFC 8200, section 4): the next one's number, and the length in units of eight bytes but the first.
        while let [number, length, ..] = *payload {
            let header_bytes = match next {
                IpNumber::IPV6_HEADER_HOP_BY_HOP
                | IpNumber::IPV6_ROUTE_HEADER
                | IpNumber::IPV6_DESTINATION_OPTIONS => 8 * (usize::from(length) + 1),
                // RFC 4302, section 2.2: units of four bytes, but the first two.
                IpNumber::AUTHENTICATION_HEADER => 4 * (usize::from(length) + 2),
                IpNumber::IPV6_FRAGMENTATION_HEADER => {
                    let [high, low] = *payload.get(2..4)?.first_chunk()?;
                    let field = u16::from_be_bytes([high, low]);
                    let (offset, more) = (u32::from(field & !7), field & 1 != 0);
                    fragment = (offset != 0 || more).then_some((offset, more));
                    8
                }
                _ => break,
            };
            (next, payload) = (IpNumber(number), payload.get(header_bytes..).unwrap_or_default());
            if fragment.is_some_and(|(offset, _)| offset != 0) {
                break;
            }
        }
        let packet = Self {
            source: ip.source.into(),
            destination: ip.destination.into(),
            protocol: next.0,
            ports: None,
            flags: None,
            icmp: None,
            ttl: ip.hop_limit,
            bytes: 40 + u32::from(ip.payload_length),
            fragment,
            inner: None,
        };
        Some((packet, payload))
    }

    fn read_transport(&mut self, payload: &[u8], tunnel: Option<TunnelKind>) {
        let number = IpNumber(self.protocol);
        if let IpNumber::TCP | IpNumber::UDP | IpNumber::SCTP = number
            && let [a, b, c, d, ..] = *payload
        {
            self.ports = Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])));
        }
        if let IpNumber::ICMP | IpNumber::IPV6_ICMP = number
            && let [kind, code, ..] = *payload
        {
            self.icmp = Some((kind, code));
        }
        let inner = match number {
            IpNumber::TCP => {
                self.flags = TcpHeader::from_slice(payload).ok().map(|(tcp, _)| letters(&tcp));
                None
            }
            IpNumber::IPV4 | IpNumber::IPV6 => Some(payload),
            IpNumber::GRE => behind_gre(payload),
            IpNumber::UDP if tunnel == Some(TunnelKind::Gue) => payload.get(UDP_BYTES..).and_then(behind_gue),
            IpNumber::ICMP if self.icmp.is_some_and(is_error) => payload.get(ICMP_BYTES..),
            IpNumber::IPV6_ICMP if self.icmp.is_some_and(|(kind, _)| kind < FIRST_INFORMATIONAL) => {
                payload.get(ICMP_BYTES..)
            }
            _ => None,
        };
        self.inner = inner.and_then(|packet| Self::of(packet, None)).map(Box::new);
    }

    /// Its protocol in a word.
    pub(crate) fn protocol_word(&self) -> String {
        match IpNumber(self.protocol) {
            IpNumber::TCP => "tcp".into(),
            IpNumber::UDP => "udp".into(),
            IpNumber::SCTP => "sctp".into(),
            IpNumber::ICMP => "icmp".into(),
            IpNumber::IPV6_ICMP => "icmpv6".into(),
            IpNumber::IPV4 | IpNumber::IPV6 => "ipip".into(),
            IpNumber::GRE => "gre".into(),
            IpNumber(number) => format!("protocol {number}"),
        }
    }

    /// Who sends it.
    pub(crate) fn sender(&self) -> String {
        end(self.source, self.ports.map(|(from, _)| from))
    }

    /// Who is to get it.
    pub(crate) fn receiver(&self) -> String {
        end(self.destination, self.ports.map(|(_, to)| to))
    }
}

/// `protocol sender -> receiver`, and what is special.
impl fmt::Display for Contained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.protocol_word(), self.sender(), self.receiver())?;
        if let Some(flags) = &self.flags {
            write!(f, ", flags {}", if flags.is_empty() { "none" } else { flags })?;
        }
        if let Some((kind, code)) = self.icmp {
            write!(f, ", type {kind} code {code}")?;
        }
        if let Some((offset, more)) = self.fragment {
            write!(f, ", fragment from byte {offset} on{}", if more { "" } else { ", the last one" })?;
        }
        write!(f, ", {} bytes, ttl {}", self.bytes, self.ttl)
    }
}

/// The letters of TCP's flags.
fn letters(tcp: &TcpHeader) -> String {
    let flags =
        [('S', tcp.syn), ('A', tcp.ack), ('F', tcp.fin), ('R', tcp.rst), ('P', tcp.psh), ('U', tcp.urg)];
    flags.iter().filter(|(_, is_set)| *is_set).map(|(letter, _)| letter).collect()
}

/// Whether ICMP of IPv4 of this type is about another packet.
fn is_error((kind, _): (u8, u8)) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// What stands behind a header of GRE (RFC 2784).
fn behind_gre(payload: &[u8]) -> Option<&[u8]> {
    const CHECKSUM: u8 = 0x80;
    let has_checksum = payload.first()? & CHECKSUM != 0;
    payload.get(if has_checksum { 8 } else { 4 }..)
}

/// What stands behind a header of GUE, whose length it says itself (in units of four bytes, without its first four).
fn behind_gue(payload: &[u8]) -> Option<&[u8]> {
    const UNITS: u8 = 0x1f;
    payload.get(4 + 4 * usize::from(payload.first()? & UNITS)..)
}

fn end(address: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| SocketAddr::new(address, port).to_string())
}

impl Contents {
    /// The frame in lines: MAC addresses, VLANs, the packets from the outermost in.
    pub(crate) fn lines(&self) -> Vec<String> {
        let vlans = self.vlans.iter().fold(String::new(), |mut words, vlan| {
            let _ = write!(words, ", VLAN {vlan}");
            words
        });
        let mut lines = vec![format!("{} -> {}{vlans}", written(self.from), written(self.to))];
        let mut next = self.packet.as_ref();
        while let Some(packet) = next {
            let relation = match (lines.len(), packet_is_error(&lines)) {
                (1, _) => "",
                (_, true) => "about ",
                (_, false) => "inside ",
            };
            lines.push(format!("{relation}{packet}"));
            next = packet.inner.as_deref();
        }
        if self.packet.is_none() {
            lines.push(match EtherType(self.ether_type) {
                EtherType::ARP => "ARP".into(),
                EtherType(number) => format!("no IP packet that can be read (ethertype {number:#06x})"),
            });
        }
        lines
    }
}

/// Whether the line before was an ICMP packet: what follows is what it is about.
fn packet_is_error(lines: &[String]) -> bool {
    lines.last().is_some_and(|line| line.starts_with("icmp"))
}

/// The bytes of a frame, sixteen a line, with their offsets.
pub(crate) fn dump(frame: &[u8]) -> String {
    frame.chunks(16).enumerate().fold(String::new(), |mut text, (line, bytes)| {
        let _ = write!(text, "  {:04x} ", 16 * line);
        for byte in bytes {
            let _ = write!(text, " {byte:02x}");
        }
        text + "\n"
    })
}
