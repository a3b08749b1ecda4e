//! A frame that was never any socket's: built once, then given another source, other flags and numbers in place, with its
//! checksums brought up to date by RFC 1624, equation 3. So a million of them cost next to nothing.

use std::net::SocketAddrV4;

use anyhow::{Context, Result};
use etherparse::{Ethernet2Header, Ipv4Header, PacketBuilder};

/// Both ends of an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Macs {
    pub from: [u8; 6],
    pub to: [u8; 6],
}

/// The byte of TCP's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    pub const FIN: Self = Self(0x01);
    pub const SYN: Self = Self(0x02);
    pub const RST: Self = Self(0x04);
    pub const ACK: Self = Self(0x10);
}

// Where things stand: no VLAN tag, no IP options.
const IP: usize = Ethernet2Header::LEN;
const IP_CHECKSUM: usize = IP + 10;
const IP_SOURCE: usize = IP + 12;
const TRANSPORT: usize = IP + Ipv4Header::MIN_LEN;
const TCP_SEQUENCE: usize = TRANSPORT + 4;
const TCP_FLAGS: usize = TRANSPORT + 12;
const TCP_CHECKSUM: usize = TRANSPORT + 16;
const UDP_CHECKSUM: usize = TRANSPORT + 6;

/// What a UDP datagram of this kind carries; a TCP segment carries nothing.
const DATAGRAM: &[u8] = b"lbxdp";

/// A TCP segment or a UDP datagram in its frame.
#[derive(Clone, Debug)]
pub struct Frame {
    bytes: Vec<u8>,
    /// Where the checksum of TCP or UDP stands.
    checksum: usize,
}

impl Frame {
    /// A SYN from nowhere, to be given its source.
    pub fn tcp(macs: Macs, to: SocketAddrV4) -> Result<Self> {
        let source = [0, 0, 0, 0];
        let builder = PacketBuilder::ethernet2(macs.from, macs.to).ipv4(source, to.ip().octets(), 64);
        let mut bytes = Vec::new();
        builder.tcp(0, to.port(), 1000, 64_000).syn().write(&mut bytes, &[]).context("building a SYN")?;
        Ok(Self { bytes, checksum: TCP_CHECKSUM })
    }

    /// A datagram from nowhere, to be given its source.
    pub fn udp(macs: Macs, to: SocketAddrV4) -> Result<Self> {
        let source = [0, 0, 0, 0];
        let builder = PacketBuilder::ethernet2(macs.from, macs.to).ipv4(source, to.ip().octets(), 64);
        let mut bytes = Vec::new();
        builder.udp(0, to.port()).write(&mut bytes, DATAGRAM).context("building a datagram")?;
        Ok(Self { bytes, checksum: UDP_CHECKSUM })
    }

    /// Who it claims to be from.
    pub fn set_source(&mut self, source: SocketAddrV4) {
        let [a, b, c, d] = source.ip().octets();
        for (at, word) in [(IP_SOURCE, [a, b]), (IP_SOURCE + 2, [c, d])] {
            let old = self.replace(at, word);
            self.mend(IP_CHECKSUM, old, word);
            // The pseudo header of TCP and UDP has the addresses too.
            self.mend(self.checksum, old, word);
        }
        self.replace_in_transport(TRANSPORT, source.port().to_be_bytes());
    }

    /// The flags of a TCP segment, and no others.
    pub fn set_flags(&mut self, flags: Flags) {
        let offset = self.bytes[TCP_FLAGS];
        self.replace_in_transport(TCP_FLAGS, [offset, flags.0]);
    }

    /// The sequence number of a TCP segment.
    pub fn set_sequence(&mut self, sequence: u32) {
        let [a, b, c, d] = sequence.to_be_bytes();
        self.replace_in_transport(TCP_SEQUENCE, [a, b]);
        self.replace_in_transport(TCP_SEQUENCE + 2, [c, d]);
    }

    fn replace_in_transport(&mut self, at: usize, word: [u8; 2]) {
        let old = self.replace(at, word);
        self.mend(self.checksum, old, word);
    }

    fn replace(&mut self, at: usize, word: [u8; 2]) -> [u8; 2] {
        let old = [self.bytes[at], self.bytes[at + 1]];
        self.bytes[at..at + 2].copy_from_slice(&word);
        old
    }

    /// `HC' = ~(~HC + ~m + m')`, in one's complement.
    fn mend(&mut self, checksum: usize, old: [u8; 2], new: [u8; 2]) {
        let before = u16::from_be_bytes([self.bytes[checksum], self.bytes[checksum + 1]]);
        let sum =
            u32::from(!before) + u32::from(!u16::from_be_bytes(old)) + u32::from(u16::from_be_bytes(new));
        let once = (sum & 0xffff) + (sum >> 16);
        let twice = (once & 0xffff) + (once >> 16);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "two folds of three 16-bit numbers leave 16 bits"
        )]
        let after = !(twice as u16);
        self.bytes[checksum..checksum + 2].copy_from_slice(&after.to_be_bytes());
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use etherparse::{Ipv4Header, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    use super::{DATAGRAM, Flags, Frame, IP, Macs};

    const MACS: Macs = Macs { from: [2, 0, 0, 0, 0, 1], to: [2, 0, 0, 0, 0, 2] };
    const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 100), 80);

    /// Its IP header, whose checksum must be right.
    fn ip(frame: &Frame) -> Ipv4Header {
        let header = Ipv4Header::from_slice(&frame.as_ref()[IP..]).expect("an IP header").0;
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        header
    }

    proptest! {
        #[test]
        fn a_segment_given_another_source_is_one_built_for_it(
            sources in proptest::collection::vec((any::<u32>(), any::<u16>(), any::<u32>()), 1..5),
            is_syn: bool,
        ) {
            let mut frame = Frame::tcp(MACS, VIP).expect("a frame");
            for (address, port, sequence) in sources {
                frame.set_source(SocketAddrV4::new(Ipv4Addr::from_bits(address), port));
                frame.set_flags(if is_syn { Flags::SYN } else { Flags::ACK });
                frame.set_sequence(sequence);
                let ip = ip(&frame);
                let sliced = SlicedPacket::from_ethernet(frame.as_ref()).expect("a packet");
                let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
                prop_assert_eq!(Ipv4Addr::from(ip.source).to_bits(), address);
                prop_assert_eq!((tcp.source_port(), tcp.destination_port()), (port, 80));
                prop_assert_eq!((tcp.syn(), tcp.ack(), tcp.sequence_number()), (is_syn, !is_syn, sequence));
                let right = tcp.to_header().calc_checksum_ipv4(&ip, &[]).expect("short");
                prop_assert_eq!(tcp.checksum(), right);
            }
        }

        #[test]
        fn a_datagram_given_another_source_is_one_built_for_it(address: u32, port: u16) {
            let mut frame = Frame::udp(MACS, VIP).expect("a frame");
            frame.set_source(SocketAddrV4::new(Ipv4Addr::from_bits(address), port));
            let ip = ip(&frame);
            let sliced = SlicedPacket::from_ethernet(frame.as_ref()).expect("a packet");
            let Some(TransportSlice::Udp(udp)) = sliced.transport else { panic!("no UDP") };
            let header = udp.to_header();
            prop_assert_eq!((header.source_port, udp.payload()), (port, DATAGRAM));
            // 0 and 0xffff are the same number; over UDP a 0 would mean that there is none.
            let right = header.calc_checksum_ipv4(&ip, DATAGRAM).expect("short");
            prop_assert_eq!(header.checksum % 0xffff, right % 0xffff);
        }
    }
}
