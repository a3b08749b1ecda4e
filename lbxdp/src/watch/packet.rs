//! A frame in few words, as tcpdump has them: `tcp 192.0.2.7:4242 > 10.0.0.100:80 S`.

use std::fmt;
use std::net::SocketAddr;

use lbxdp_common::Protocol;
use lbxdp_common::service::ip;
use lbxdp_common::watch::Seen;
use lbxdp_common::wire::Buffer;

/// What the words are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// No IP packet, or too short for one: its bytes at the place of the Ethernet type.
    Other(u16),
    Ip {
        source: SocketAddr,
        destination: SocketAddr,
        /// IANA number.
        protocol: u8,
        /// TCP's flags, ICMP's type and code, the fragment's place: what there is to say beside.
        rest: String,
    },
}

impl Packet {
    /// Of the beginning of a frame.
    pub(super) fn of(head: &[u8]) -> Self {
        let mut copy = head.to_vec();
        let seen = Seen::of(&&mut Buffer::new(&mut copy, 0));
        if seen.family == 0 {
            let ethertype = head.get(12..14).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
            return Self::Other(u16::from_be_bytes(ethertype));
        }
        let is_v6 = seen.family == 6;
        let end = |address: [u64; 2], port: u32| {
            SocketAddr::new(ip(zerocopy::transmute!(address), is_v6), u16::try_from(port).unwrap_or(0))
        };
        let protocol = u8::try_from(seen.protocol).unwrap_or(0);
        Self::Ip {
            source: end(seen.source, seen.source_port),
            destination: end(seen.destination, seen.port),
            protocol,
            rest: rest(head.get(seen.ip_offset as usize..).unwrap_or_default(), is_v6, protocol),
        }
    }

    /// Both ends; ports are 0 where there are none.
    pub(super) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::Ip { source, destination, .. } => Some((*source, *destination)),
            Self::Other(_) => None,
        }
    }

    /// The protocol's name.
    pub(super) fn protocol(&self) -> String {
        match self {
            Self::Other(ethertype) => format!("ethertype 0x{ethertype:04x}"),
            Self::Ip { protocol: 1, .. } => "icmp".into(),
            Self::Ip { protocol: 58, .. } => "icmp6".into(),
            Self::Ip { protocol: 44, .. } => "ip6-frag".into(),
            Self::Ip { protocol, .. } => Protocol::from_raw(*protocol)
                .map_or_else(|| format!("proto-{protocol}"), |known| known.name().to_lowercase()),
        }
    }

    /// TCP's flags and whatever else there is to say.
    pub(super) fn rest(&self) -> &str {
        match self {
            Self::Ip { rest, .. } => rest,
            Self::Other(_) => "",
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.protocol())?;
        if let Some((source, destination)) = self.ends() {
            write!(f, " {} > {}", End(source), End(destination))?;
        }
        if !self.rest().is_empty() {
            write!(f, " {}", self.rest())?;
        }
        Ok(())
    }
}

/// An address, with its port if there is one.
pub(super) struct End(pub(super) SocketAddr);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.port() == 0 { write!(f, "{}", self.0.ip()) } else { write!(f, "{}", self.0) }
    }
}

/// What else there is to say of a packet that begins with its IP header.
fn rest(packet: &[u8], is_v6: bool, protocol: u8) -> String {
    let byte = |at: usize| packet.get(at).copied().unwrap_or(0);
    let header = if is_v6 { 40 } else { usize::from(byte(0) & 15) * 4 };
    let (offset, has_more) = if is_v6 {
        (0, false)
    } else {
        let field = u16::from_be_bytes([byte(6), byte(7)]);
        (usize::from(field & 0x1fff) * 8, field & 0x2000 != 0)
    };
    let mut words = Vec::new();
    if offset == 0 {
        match protocol {
            6 => words.push(flags(byte(header + 13))),
            1 | 58 if packet.len() > header + 1 => {
                words.push(format!("type {} code {}", byte(header), byte(header + 1)));
            }
            _ => {}
        }
    }
    if offset != 0 || has_more {
        words.push(format!("frag {offset}{}", if has_more { "+" } else { "" }));
    }
    words.join(" ")
}

/// TCP's flags, as tcpdump writes them.
fn flags(flags: u8) -> String {
    let letters = [(2, 'S'), (1, 'F'), (4, 'R'), (8, 'P'), (32, 'U'), (16, '.')];
    let set: String = letters.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, letter)| *letter).collect();
    if set.is_empty() { "none".into() } else { set }
}

/// The two IP addresses of two frames, of which the second one is the first as it was forwarded: the addresses that
/// differ.
pub(super) fn rewritten(before: &Packet, after: &Packet) -> Option<(SocketAddr, SocketAddr)> {
    let ((old_source, old_destination), (source, destination)) = (before.ends()?, after.ends()?);
    (source != old_source || destination != old_destination).then_some((source, destination))
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    const MACS: [[u8; 6]; 2] = [[2; 6], [4; 6]];

    fn words(builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>) -> String {
        let mut frame = Vec::new();
        builder.write(&mut frame, b"hello").expect("a frame");
        Packet::of(&frame).to_string()
    }

    #[test]
    fn packets_are_told_as_tcpdump_does() {
        let v4 = || PacketBuilder::ethernet2(MACS[0], MACS[1]).ipv4([192, 0, 2, 7], [10, 0, 0, 100], 64);
        let tcp = || v4().tcp(4242, 80, 1, 1000);
        assert_eq!(words(tcp().syn()), "tcp 192.0.2.7:4242 > 10.0.0.100:80 S");
        assert_eq!(words(tcp().syn().ack(7)), "tcp 192.0.2.7:4242 > 10.0.0.100:80 S.");
        assert_eq!(words(tcp().psh().fin().ack(7)), "tcp 192.0.2.7:4242 > 10.0.0.100:80 FP.");
        assert_eq!(words(tcp().rst()), "tcp 192.0.2.7:4242 > 10.0.0.100:80 R");
        assert_eq!(words(tcp()), "tcp 192.0.2.7:4242 > 10.0.0.100:80 none");
        let mut frame = Vec::new();
        v4().udp(4242, 53).write(&mut frame, b"x").expect("a frame");
        assert_eq!(Packet::of(&frame).to_string(), "udp 192.0.2.7:4242 > 10.0.0.100:53");
        frame[20] |= 0x20;
        assert_eq!(Packet::of(&frame).to_string(), "udp 192.0.2.7:4242 > 10.0.0.100:53 frag 0+");
        (frame[20], frame[21]) = (0, 4);
        assert_eq!(Packet::of(&frame).to_string(), "udp 192.0.2.7 > 10.0.0.100 frag 32");
        frame[23] = 47;
        assert_eq!(Packet::of(&frame).to_string(), "proto-47 192.0.2.7 > 10.0.0.100 frag 32");
        frame.clear();
        v4().icmpv4_echo_request(1, 2).write(&mut frame, b"x").expect("a frame");
        assert_eq!(Packet::of(&frame).to_string(), "icmp 192.0.2.7 > 10.0.0.100 type 8 code 0");
        frame.clear();
        let v6 = PacketBuilder::ethernet2(MACS[0], MACS[1]).ipv6([0x20; 16], [0x30; 16], 64);
        v6.udp(1, 2).write(&mut frame, b"x").expect("a frame");
        let address = |byte: u8| std::net::Ipv6Addr::from([byte; 16]);
        assert_eq!(
            Packet::of(&frame).to_string(),
            format!("udp [{}]:1 > [{}]:2", address(0x20), address(0x30))
        );
        assert_eq!(Packet::of(&[0; 12]).to_string(), "ethertype 0x0000");
        assert_eq!(Packet::of(&[6; 60]).to_string(), "ethertype 0x0606");
    }

    #[test]
    fn no_bytes_are_too_strange_to_be_told() {
        let mut frame = vec![0; 14];
        (frame[12], frame[13]) = (8, 0);
        frame.extend([0x4f, 0, 0, 60, 0, 0, 0, 0, 64, 6]);
        frame.extend([9; 10]);
        for length in 0..=frame.len() {
            assert!(!Packet::of(&frame[..length]).to_string().is_empty());
        }
    }
}
