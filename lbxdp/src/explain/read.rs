//! What stands in a frame, for people to read. Nothing is decided by it.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use etherparse::{
    EtherType, IpNumber, LaxPacketHeaders, LaxPayloadSlice, LinkExtHeader, LinkHeader, NetHeaders,
    TransportHeader,
};
use lbxdp_common::TunnelKind;

use crate::lan::{Mac, written};

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
    pub(crate) must_not_fragment: bool,
    /// What is inside: of a tunnel, or the packet that an ICMP error is about.
    pub(crate) inner: Option<Box<Contained>>,
}

impl Contents {
    /// What is in a frame; of UDP to a tunnel's port, that is a packet too if `tunnel` says so.
    pub(crate) fn of(frame: &[u8], tunnel: Option<TunnelKind>) -> Option<Self> {
        let headers = LaxPacketHeaders::from_ethernet(frame).ok()?;
        let Some(LinkHeader::Ethernet2(ethernet)) = &headers.link else {
            return None;
        };
        let mut ether_type = ethernet.ether_type;
        let mut vlans = Vec::new();
        for header in &headers.link_exts {
            if let LinkExtHeader::Vlan(tag) = header {
                vlans.push(tag.vlan_id.value());
                ether_type = tag.ether_type;
            }
        }
        let packet = Contained::of(&headers, tunnel);
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
    fn of(headers: &LaxPacketHeaders<'_>, tunnel: Option<TunnelKind>) -> Option<Self> {
        let (mut packet, payload_number) = match headers.net.as_ref()? {
            NetHeaders::Ipv4(ip, _) => {
                let offset = u32::from(ip.fragment_offset.value()) * 8;
                let is_piece = offset != 0 || ip.more_fragments;
                let packet = Self {
                    fragment: is_piece.then_some((offset, ip.more_fragments)),
                    must_not_fragment: ip.dont_fragment,
                    ..Self::between(
                        ip.source.into(),
                        ip.destination.into(),
                        ip.time_to_live,
                        ip.total_len.into(),
                    )
                };
                (packet, ip.protocol)
            }
            NetHeaders::Ipv6(ip, extensions) => {
                let bytes = 40 + u32::from(ip.payload_length);
                let piece = extensions.fragment.as_ref().filter(|header| header.is_fragmenting_payload());
                let packet = Self {
                    fragment: piece
                        .map(|header| (u32::from(header.fragment_offset.value()) * 8, header.more_fragments)),
                    must_not_fragment: true,
                    ..Self::between(ip.source.into(), ip.destination.into(), ip.hop_limit, bytes)
                };
                (packet, ip.next_header)
            }
            NetHeaders::Arp(_) => return None,
        };
        packet.protocol = match &headers.payload {
            LaxPayloadSlice::Ip(payload) => payload.ip_number.0,
            LaxPayloadSlice::Udp { .. } => IpNumber::UDP.0,
            LaxPayloadSlice::Tcp { .. } => IpNumber::TCP.0,
            LaxPayloadSlice::Icmpv4 { .. } => IpNumber::ICMP.0,
            LaxPayloadSlice::Icmpv6 { .. } => IpNumber::IPV6_ICMP.0,
            _ => payload_number.0,
        };
        packet.read_transport(headers.transport.as_ref());
        packet.read_payload(&headers.payload, tunnel);
        Some(packet)
    }

    fn between(source: IpAddr, destination: IpAddr, ttl: u8, bytes: u32) -> Self {
        Self {
            source,
            destination,
            protocol: 0,
            ports: None,
            flags: None,
            icmp: None,
            ttl,
            bytes,
            fragment: None,
            must_not_fragment: false,
            inner: None,
        }
    }

    fn read_transport(&mut self, header: Option<&TransportHeader>) {
        match header {
            Some(TransportHeader::Tcp(tcp)) => {
                self.ports = Some((tcp.source_port, tcp.destination_port));
                let flags = [
                    ('S', tcp.syn),
                    ('A', tcp.ack),
                    ('F', tcp.fin),
                    ('R', tcp.rst),
                    ('P', tcp.psh),
                    ('U', tcp.urg),
                ];
                self.flags =
                    Some(flags.iter().filter(|(_, is_set)| *is_set).map(|(letter, _)| letter).collect());
            }
            Some(TransportHeader::Udp(udp)) => self.ports = Some((udp.source_port, udp.destination_port)),
            Some(TransportHeader::Icmpv4(icmp)) => {
                let bytes = icmp.to_bytes();
                self.icmp = bytes.first().copied().zip(bytes.get(1).copied());
            }
            Some(TransportHeader::Icmpv6(icmp)) => {
                self.icmp = Some((icmp.icmp_type.type_u8(), icmp.icmp_type.code_u8()));
            }
            None => {}
        }
    }

    fn read_payload(&mut self, payload: &LaxPayloadSlice<'_>, tunnel: Option<TunnelKind>) {
        let inner = match payload {
            LaxPayloadSlice::Ip(slice) => {
                let is_first = self.fragment.is_none_or(|(offset, _)| offset == 0);
                if self.has_ports()
                    && is_first
                    && let [a, b, c, d, ..] = *slice.payload
                {
                    self.ports = Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])));
                }
                match slice.ip_number {
                    IpNumber::IPV4 | IpNumber::IPV6 => Some(slice.payload),
                    IpNumber::GRE => behind_gre(slice.payload),
                    _ => None,
                }
            }
            LaxPayloadSlice::Icmpv4 { payload, .. } if self.icmp.is_some_and(is_error) => Some(*payload),
            LaxPayloadSlice::Icmpv6 { payload, .. } if self.icmp.is_some_and(|(kind, _)| kind < 128) => {
                Some(*payload)
            }
            LaxPayloadSlice::Udp { payload, .. } if tunnel == Some(TunnelKind::Gue) => behind_gue(payload),
            _ => None,
        };
        let headers = inner.and_then(|packet| LaxPacketHeaders::from_ip(packet).ok());
        self.inner = headers.and_then(|headers| Self::of(&headers, None)).map(Box::new);
    }

    /// Whether its protocol has ports where TCP has them.
    fn has_ports(&self) -> bool {
        matches!(IpNumber(self.protocol), IpNumber::TCP | IpNumber::UDP | IpNumber::SCTP)
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
