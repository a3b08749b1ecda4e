//! A capture in pcapng: each packet as it came, with what became of it as its comment, and behind it, if it was forwarded or
//! answered, the frame as it left. Both are what Wireshark shows in its own columns: inbound and outbound.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use lbxdp_common::watch::HEAD_BYTES;
use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgWriteError, PcapNgWriter};

use super::told::Told;

/// Directions of a packet, as its flags say them (pcapng, 4.3.1).
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A capture that is being written.
pub(super) struct Capture<W: Write> {
    writer: PcapNgWriter<W>,
    /// The interfaces that have been described, in order.
    interfaces: Vec<String>,
    /// Whether frames are written as they left, too.
    with_sent: bool,
}

impl<W: Write> Capture<W> {
    /// Begins one.
    pub(super) fn begin(to: W, with_sent: bool) -> io::Result<Self> {
        let application = Cow::Borrowed(concat!("lbxdp watch ", env!("CARGO_PKG_VERSION")));
        let section = SectionHeaderBlock {
            options: vec![SectionHeaderOption::UserApplication(application)],
            ..SectionHeaderBlock::default()
        };
        let writer = PcapNgWriter::with_section_header(to, section).map_err(plain)?;
        Ok(Self { writer, interfaces: Vec::new(), with_sent })
    }

    /// Adds a packet.
    pub(super) fn add(&mut self, told: &Told<'_>) -> io::Result<()> {
        let (watched, ingress) = (&told.sighting.watched, told.sighting.ingress());
        self.frame(&ingress, INBOUND, (watched.bytes, watched.head()), watched.nanos, told.comment())?;
        if self.with_sent && told.after().is_some() {
            let egress = told.sighting.egress();
            let comment = format!("lbxdp: as it was sent, {}", told.happened.word());
            let frame = (watched.bytes_after, watched.head_after());
            // What is sent back to where it came from leaves by the interface it came in by.
            let egress = if egress.is_empty() { &ingress } else { &egress };
            self.frame(egress, OUTBOUND, frame, watched.nanos, comment)?;
        }
        Ok(())
    }

    fn frame(
        &mut self,
        interface: &str,
        direction: u32,
        (bytes, head): (u32, &[u8]),
        unix_nanos: u64,
        comment: String,
    ) -> io::Result<()> {
        let block = EnhancedPacketBlock {
            interface_id: self.interface(interface)?,
            timestamp: Duration::from_nanos(unix_nanos),
            original_len: bytes,
            data: Cow::Borrowed(head),
            options: vec![
                EnhancedPacketOption::Common(CommonOption::Comment(comment.into())),
                EnhancedPacketOption::Flags(direction),
            ],
        };
        self.writer.write_pcapng_block(block).map(drop).map_err(plain)
    }

    /// The number of an interface, which is described when it is first seen.
    fn interface(&mut self, name: &str) -> io::Result<u32> {
        let known = self.interfaces.iter().position(|known| known == name);
        let number = known.unwrap_or(self.interfaces.len());
        if known.is_none() {
            let mut block =
                InterfaceDescriptionBlock::new(DataLink::ETHERNET, u32::try_from(HEAD_BYTES).unwrap_or(0));
            block.options = vec![
                InterfaceDescriptionOption::IfName(name.to_owned().into()),
                InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
            ];
            self.writer.write_pcapng_block(block).map_err(plain)?;
            self.interfaces.push(name.to_owned());
        }
        u32::try_from(number).map_err(io::Error::other)
    }

    /// Hands over what has been written so far.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }
}

/// The error of the one who is written to, if that is what it is.
fn plain(error: PcapNgWriteError) -> io::Error {
    match error {
        PcapNgWriteError::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use lbxdp_common::Reason;
    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::*;
    use crate::watch::sighting::ServerSeen;
    use crate::watch::told::tests::{forwarded, seen};

    /// Of each packet of a capture: the interface, the frame, the comment, the direction.
    fn read(capture: &[u8]) -> Vec<(u32, Vec<u8>, String, u32)> {
        let mut reader = PcapNgReader::new(capture).expect("a capture");
        let mut packets = Vec::new();
        while let Some(block) = reader.next_block() {
            let Block::EnhancedPacket(packet) = block.expect("a block").0.into_owned() else {
                continue;
            };
            assert_eq!(packet.timestamp, Duration::from_nanos(1_767_225_599_123_456_789));
            let (mut comment, mut direction) = (String::new(), 0);
            for option in &packet.options {
                match option {
                    EnhancedPacketOption::Common(CommonOption::Comment(text)) => comment = text.to_string(),
                    EnhancedPacketOption::Flags(flags) => direction = *flags,
                    _ => {}
                }
            }
            packets.push((packet.interface_id, packet.data.into_owned(), comment, direction));
        }
        packets
    }

    #[test]
    fn a_capture_is_read_as_it_was_written() {
        let dropped = seen(Err(Reason::NoServer), None, ServerSeen::default());
        let mut sent = forwarded();
        sent.egress = crate::watch::interface_name("eth1");
        for with_sent in [true, false] {
            let mut bytes = Vec::new();
            let mut capture = Capture::begin(&mut bytes, with_sent).expect("a capture");
            for sighting in [&sent, &dropped] {
                capture.add(&Told::of(sighting).expect("an outcome")).expect("a packet");
            }
            let packets = read(&bytes);
            let (watched, way) = (&sent.watched, "lbxdp: forwarded to 10.0.0.11 by DR via eth1");
            let mut expected = vec![
                (0, watched.head().to_vec(), way.to_owned(), INBOUND),
                (1, watched.head_after().to_vec(), "lbxdp: as it was sent, forwarded".into(), OUTBOUND),
                (0, watched.head().to_vec(), "lbxdp: dropped, no_server".into(), INBOUND),
            ];
            if !with_sent {
                expected.remove(1);
            }
            assert_eq!(packets, expected);
        }
    }
}
