//! IP packets as bytes: those that no socket would send, and what the answers to them say.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use etherparse::{IpHeaders, IpNumber, Ipv4HeaderSlice, PacketBuilder, PacketBuilderStep};

use super::family::Family;
use super::method::{Checksum, GUE_PORT, Tunnel};
use super::opener::sum;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const FRAGMENT: u8 = 44;
const HOP_BY_HOP: u8 = 0;
const DESTINATION_OPTIONS: u8 = 60;

/// Bytes of an Ethernet header without tags.
const ETHERNET: usize = 14;

/// The usual TTL of what is sent here.
pub const TTL: u8 = 64;

/// A packet from its IP header on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet(pub Vec<u8>);

fn builder(from: IpAddr, to: IpAddr, ttl: u8) -> Result<PacketBuilderStep<IpHeaders>> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ok(PacketBuilder::ipv4(from.octets(), to.octets(), ttl)),
        (IpAddr::V6(from), IpAddr::V6(to)) => Ok(PacketBuilder::ipv6(from.octets(), to.octets(), ttl)),
        _ => bail!("{from} and {to} are of two families"),
    }
}

impl Packet {
    /// A SYN.
    pub fn syn(from: SocketAddr, to: SocketAddr, ttl: u8) -> Result<Self> {
        let mut bytes = Vec::new();
        let step = builder(from.ip(), to.ip(), ttl)?;
        step.tcp(from.port(), to.port(), 1000, 64_000).syn().write(&mut bytes, &[])?;
        Ok(Self(bytes))
    }

    /// A datagram.
    pub fn datagram(from: SocketAddr, to: SocketAddr, ttl: u8, payload: &[u8]) -> Result<Self> {
        let mut bytes = Vec::new();
        builder(from.ip(), to.ip(), ttl)?.udp(from.port(), to.port()).write(&mut bytes, payload)?;
        Ok(Self(bytes))
    }

    /// "Are you there?" of ICMP.
    pub fn echo_request(from: IpAddr, to: IpAddr, id: u16, payload: &[u8]) -> Result<Self> {
        let mut bytes = Vec::new();
        let step = builder(from, to, TTL)?;
        match Family::of(to) {
            Family::V4 => step.icmpv4_echo_request(id, 1).write(&mut bytes, payload)?,
            Family::V6 => step.icmpv6_echo_request(id, 1).write(&mut bytes, payload)?,
        }
        Ok(Self(bytes))
    }

    /// An ICMP error that quotes as much of a packet.
    pub fn error(from: IpAddr, to: IpAddr, kind: IcmpKind, quoted: &[u8]) -> Result<Self> {
        let mut bytes = Vec::new();
        let step = builder(from, to, TTL)?;
        let ([number, code], rest) = kind.on_the_wire(Family::of(to));
        match Family::of(to) {
            Family::V4 => step.icmpv4_raw(number, code, rest).write(&mut bytes, quoted)?,
            Family::V6 => step.icmpv6_raw(number, code, rest).write(&mut bytes, quoted)?,
        }
        Ok(Self(bytes))
    }

    /// It in a tunnel between these hosts. A second way to write what a director writes: it shares no code with lbxdp.
    pub fn wrapped(&self, tunnel: Tunnel, from: IpAddr, to: IpAddr) -> Result<Self> {
        let (number, ether_type): (u8, [u8; 2]) = match self.family() {
            Family::V4 => (4, [0x08, 0x00]),
            Family::V6 => (41, [0x86, 0xdd]),
        };
        let step = builder(from, to, TTL)?;
        let mut bytes = Vec::new();
        match tunnel {
            Tunnel::Ipip => step.write(&mut bytes, IpNumber(number), &self.0)?,
            Tunnel::Gue(checksum) => {
                let gue = [&[0, number, 0, 0], &self.0[..]].concat();
                step.udp(50_000, GUE_PORT).write(&mut bytes, &gue)?;
                if checksum == Checksum::Absent {
                    return Ok(Self(bytes).without_udp_checksum());
                }
            }
            Tunnel::Gre(Checksum::Absent) => {
                let gre = [&[0, 0], &ether_type[..], &self.0].concat();
                step.write(&mut bytes, IpNumber(47), &gre)?;
            }
            Tunnel::Gre(_) => {
                let mut gre = [&[0x80, 0], &ether_type[..], &[0; 4], &self.0].concat();
                let checksum = !sum(&gre);
                gre[4..6].copy_from_slice(&checksum.to_be_bytes());
                step.write(&mut bytes, IpNumber(47), &gre)?;
            }
        }
        Ok(Self(bytes))
    }

    /// The packet of a frame without tags.
    pub fn of_frame(frame: &[u8]) -> Option<Self> {
        let kind = frame.get(12..ETHERNET)?;
        let packet = frame.get(ETHERNET..)?;
        // Short frames are filled up.
        let length = match kind {
            [0x08, 0x00] => usize::from(word(packet, 2)?),
            [0x86, 0xdd] => 40 + usize::from(word(packet, 4)?),
            _ => return None,
        };
        Some(Self(packet.get(..length)?.to_vec()))
    }

    pub fn family(&self) -> Family {
        if self.0.first().is_some_and(|byte| byte >> 4 == 4) { Family::V4 } else { Family::V6 }
    }

    pub fn source(&self) -> IpAddr {
        self.address(12, 8)
    }

    pub fn destination(&self) -> IpAddr {
        self.address(16, 24)
    }

    /// The header's protocol, or next header.
    pub fn protocol(&self) -> u8 {
        let at = match self.family() {
            Family::V4 => 9,
            Family::V6 => 6,
        };
        self.0.get(at).copied().unwrap_or_default()
    }

    /// TTL, or hop limit.
    pub fn ttl(&self) -> u8 {
        let at = match self.family() {
            Family::V4 => 8,
            Family::V6 => 7,
        };
        self.0.get(at).copied().unwrap_or_default()
    }

    /// TOS, or traffic class.
    pub fn traffic_class(&self) -> u8 {
        let word = word(&self.0, 0).unwrap_or_default();
        match self.family() {
            Family::V4 => word.to_be_bytes()[1],
            Family::V6 => (word >> 4).to_be_bytes()[1],
        }
    }

    /// Bytes of the header: of IPv6 without extension headers.
    fn header_bytes(&self) -> usize {
        match self.family() {
            Family::V4 => usize::from(self.0.first().copied().unwrap_or_default() & 0xf) * 4,
            Family::V6 => 40,
        }
    }

    /// What follows the header.
    pub fn payload(&self) -> &[u8] {
        self.0.get(self.header_bytes()..).unwrap_or_default()
    }

    /// Source and destination of TCP or UDP.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let ports = self.payload();
        matches!(self.protocol(), TCP | UDP).then_some(())?;
        let (from, to) = (word(ports, 0)?, word(ports, 2)?);
        Some((SocketAddr::new(self.source(), from), SocketAddr::new(self.destination(), to)))
    }

    /// The same with "don't fragment", or without; of IPv4.
    #[must_use]
    pub fn with_df(mut self, is_set: bool) -> Self {
        if let (Family::V4, Some(flags)) = (self.family(), self.0.get_mut(6)) {
            *flags = if is_set { *flags | 0x40 } else { *flags & !0x40 };
        }
        self.with_header_checksum()
    }

    /// Whether "don't fragment" is set; of IPv4.
    pub fn has_df(&self) -> bool {
        self.family() == Family::V4 && self.0.get(6).is_some_and(|flags| flags & 0x40 != 0)
    }

    /// The same with another TOS, or traffic class.
    #[must_use]
    pub fn with_traffic_class(mut self, class: u8) -> Self {
        match self.family() {
            Family::V4 => self.0[1] = class,
            Family::V6 => {
                self.0[0] = 0x60 | (class >> 4);
                self.0[1] = (class << 4) | (self.0[1] & 0xf);
            }
        }
        self.with_header_checksum()
    }

    /// The same with another identification; of IPv4.
    #[must_use]
    pub fn with_id(mut self, id: u16) -> Self {
        if self.family() == Family::V4 {
            self.0[4..6].copy_from_slice(&id.to_be_bytes());
        }
        self.with_header_checksum()
    }

    /// The same with so many words of options that do nothing; of IPv4.
    #[must_use]
    pub fn with_options(mut self, words: u8) -> Self {
        let length = word(&self.0, 2).unwrap_or_default() + u16::from(words) * 4;
        self.0.splice(20..20, std::iter::repeat_n(1, usize::from(words) * 4));
        self.0[0] += words;
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
        self.with_header_checksum()
    }

    /// The same with extension headers that do nothing, of IPv6: hop-by-hop options and destination options.
    #[must_use]
    pub fn with_extension_headers(mut self) -> Self {
        let next = self.protocol();
        let length = word(&self.0, 4).unwrap_or_default() + 16;
        // Each: the next one, no further eight bytes, an option that pads four bytes.
        let headers = [[DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0], [next, 0, 1, 4, 0, 0, 0, 0]];
        self.0.splice(40..40, headers.concat());
        self.0[4..6].copy_from_slice(&length.to_be_bytes());
        self.0[6] = HOP_BY_HOP;
        self
    }

    /// The same with UDP's checksum 0, which is none.
    #[must_use]
    pub fn without_udp_checksum(mut self) -> Self {
        let at = self.header_bytes() + 6;
        self.0[at..at + 2].fill(0);
        self
    }

    /// The same with a byte of its payload changed, and so with a wrong checksum.
    #[must_use]
    pub fn damaged(mut self) -> Self {
        if let Some(last) = self.0.last_mut() {
            *last ^= 0x55;
        }
        self
    }

    /// Fragments of it: each is the part of the payload in this range, which begins at a multiple of 8. Whoever's range reaches
    /// the end is the last.
    pub fn fragments(&self, id: u32, ranges: &[std::ops::Range<usize>]) -> Result<Vec<Self>> {
        ranges.iter().map(|range| self.fragment(id, range)).collect()
    }

    fn fragment(&self, id: u32, range: &std::ops::Range<usize>) -> Result<Self> {
        ensure!(range.start.is_multiple_of(8), "a fragment begins at a multiple of 8");
        let (header, payload) = self.0.split_at(self.header_bytes());
        let (offset, more) = (u16::try_from(range.start)?, range.end < payload.len());
        let part = payload.get(range.clone()).context("a fragment beyond the packet")?;
        let mut header = header.to_vec();
        match self.family() {
            Family::V4 => {
                let length = u16::try_from(header.len() + part.len())?;
                let place = (offset / 8) | if more { 0x2000 } else { 0 };
                header[2..4].copy_from_slice(&length.to_be_bytes());
                header[4..6].copy_from_slice(&id.to_be_bytes()[2..]);
                header[6..8].copy_from_slice(&place.to_be_bytes());
                Ok(Self([&header, part].concat()).with_header_checksum())
            }
            Family::V6 => {
                let length = u16::try_from(8 + part.len())?;
                header[4..6].copy_from_slice(&length.to_be_bytes());
                let next = std::mem::replace(&mut header[6], FRAGMENT);
                let place = offset | u16::from(more);
                let extension = [&[next, 0][..], &place.to_be_bytes(), &id.to_be_bytes()].concat();
                Ok(Self([&header, &extension[..], part].concat()))
            }
        }
    }

    /// Whether it is a fragment.
    pub fn is_fragment(&self) -> bool {
        match self.family() {
            Family::V4 => word(&self.0, 6).is_some_and(|place| place & 0x3fff != 0),
            Family::V6 => self.protocol() == FRAGMENT,
        }
    }

    fn with_header_checksum(mut self) -> Self {
        if self.family() == Family::V4 {
            self.0[10..12].fill(0);
            let checksum = !sum(&self.0[..self.header_bytes()]);
            self.0[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        self
    }

    fn address(&self, at_v4: usize, at_v6: usize) -> IpAddr {
        let bytes = |at: usize, length: usize| self.0.get(at..at + length).unwrap_or_default().to_vec();
        match self.family() {
            Family::V4 => IpAddr::from(<[u8; 4]>::try_from(bytes(at_v4, 4)).unwrap_or_default()),
            Family::V6 => IpAddr::from(<[u8; 16]>::try_from(bytes(at_v6, 16)).unwrap_or_default()),
        }
    }

    /// Whether the checksum of its ICMP is right.
    fn has_right_icmp(&self) -> bool {
        let payload = self.payload();
        match self.family() {
            Family::V4 => sum(payload) == 0xffff,
            Family::V6 => {
                let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
                let pseudo = [&self.0[8..40], &length, &[0, 0, 0, ICMPV6], payload].concat();
                sum(&pseudo) == 0xffff
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|word| u16::from_be_bytes([word[0], word[1]]))
}

/// The errors of both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpKind {
    PortUnreachable,
    HostUnreachable,
    /// "Frag needed" or "packet too big", with the MTU in bytes.
    TooBig(u32),
    TimeExceeded,
}

impl IcmpKind {
    /// Type and code, and the four bytes behind the checksum.
    fn on_the_wire(self, family: Family) -> ([u8; 2], [u8; 4]) {
        match (self, family) {
            (Self::PortUnreachable, Family::V4) => ([3, 3], [0; 4]),
            (Self::PortUnreachable, Family::V6) => ([1, 4], [0; 4]),
            (Self::HostUnreachable, Family::V4) => ([3, 1], [0; 4]),
            (Self::HostUnreachable, Family::V6) => ([1, 3], [0; 4]),
            (Self::TooBig(mtu), Family::V4) => ([3, 4], mtu.to_be_bytes()),
            (Self::TooBig(mtu), Family::V6) => ([2, 0], mtu.to_be_bytes()),
            (Self::TimeExceeded, Family::V4) => ([11, 0], [0; 4]),
            (Self::TimeExceeded, Family::V6) => ([3, 0], [0; 4]),
        }
    }

    fn of(family: Family, payload: &[u8]) -> Option<Self> {
        let [number, code, _, _, rest @ ..] = payload.get(..8)? else { return None };
        let mtu = u32::from_be_bytes(rest.try_into().ok()?);
        let kinds = [Self::PortUnreachable, Self::HostUnreachable, Self::TooBig(mtu), Self::TimeExceeded];
        kinds.into_iter().find(|kind| kind.on_the_wire(family).0 == [*number, *code])
    }
}

/// An ICMP error that has come, whose checksums are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpError {
    pub from: IpAddr,
    pub to: IpAddr,
    pub kind: IcmpKind,
    /// What it quotes, cut short.
    pub quoted: Packet,
}

impl IcmpError {
    /// The error in a frame, if it is one; a wrong checksum is an error of its own.
    pub fn of_frame(frame: &[u8]) -> Option<Result<Self>> {
        let packet = Packet::of_frame(frame)?;
        matches!((packet.family(), packet.protocol()), (Family::V4, ICMP) | (Family::V6, ICMPV6))
            .then_some(())?;
        let kind = IcmpKind::of(packet.family(), packet.payload())?;
        let error = Self {
            from: packet.source(),
            to: packet.destination(),
            kind,
            quoted: Packet(packet.payload().get(8..)?.to_vec()),
        };
        Some(error.checked(&packet))
    }

    fn checked(self, packet: &Packet) -> Result<Self> {
        ensure!(packet.has_right_icmp(), "an ICMP error with a wrong checksum: {packet:02x?}");
        if packet.family() == Family::V4 {
            let header = Ipv4HeaderSlice::from_slice(&packet.0)?.to_header();
            ensure!(header.header_checksum == header.calc_header_checksum(), "a wrong checksum of a header");
            let quoted = Ipv4HeaderSlice::from_slice(&self.quoted.0)?.to_header();
            ensure!(
                quoted.header_checksum == quoted.calc_header_checksum(),
                "the quoted header has a wrong checksum: {:02x?}",
                self.quoted
            );
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(family: Family) -> (SocketAddr, SocketAddr) {
        (SocketAddr::new(family.address(1, 2), 4000), SocketAddr::new(family.address(0, 100), 9))
    }

    fn frame(packet: &Packet) -> Vec<u8> {
        let kind: [u8; 2] = if packet.family() == Family::V4 { [8, 0] } else { [0x86, 0xdd] };
        [&[0; 12][..], &kind, &packet.0].concat()
    }

    #[test]
    fn what_is_built_is_read_again() {
        for family in Family::BOTH {
            let (from, to) = ends(family);
            let packet = Packet::datagram(from, to, 5, b"payload").unwrap().with_traffic_class(0xb9);
            assert_eq!(packet.ends(), Some((from, to)));
            assert_eq!((packet.ttl(), packet.traffic_class()), (5, 0xb9));
            assert_eq!(Packet::of_frame(&frame(&packet)), Some(packet.clone()));
            for kind in [IcmpKind::PortUnreachable, IcmpKind::TooBig(1300), IcmpKind::TimeExceeded] {
                let error = Packet::error(to.ip(), from.ip(), kind, &packet.0).unwrap();
                let read = IcmpError::of_frame(&frame(&error)).unwrap().unwrap();
                assert_eq!((read.kind, read.quoted.ends()), (kind, Some((from, to))));
                assert!(IcmpError::of_frame(&frame(&error.damaged())).unwrap().is_err());
            }
        }
    }

    #[test]
    fn fragments_together_are_the_packet() {
        for family in Family::BOTH {
            let (from, to) = ends(family);
            let packet = Packet::datagram(from, to, 5, &[7; 101]).unwrap();
            let parts = packet.fragments(77, &[0..48, 48..109]).unwrap();
            assert!(parts.iter().all(Packet::is_fragment) && !packet.is_fragment());
            let skipped = if family == Family::V6 { 8 } else { 0 };
            let payload: Vec<u8> = parts.iter().flat_map(|part| part.payload()[skipped..].to_vec()).collect();
            assert_eq!(payload, packet.payload());
        }
    }

    #[test]
    fn options_keep_the_header_whole() {
        let (from, to) = ends(Family::V4);
        let packet = Packet::datagram(from, to, 5, b"odd").unwrap().with_options(3);
        let header = Ipv4HeaderSlice::from_slice(&packet.0).unwrap().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        assert_eq!((usize::from(header.total_len), packet.ends()), (packet.0.len(), Some((from, to))));
    }
}
