//! Frames out of a capture: pcap and pcapng, of Ethernet.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

/// The longest block that is read, in bytes: longer than tcpdump's longest frame.
const MOST_BYTES: usize = 1 << 20;

/// A frame of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Captured {
    /// Which one it is, from 1 on.
    pub(super) number: u64,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// It was longer: not all of it is there.
    pub(super) is_cut: bool,
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("cannot read {0}")]
    File(PathBuf, #[source] io::Error),
    #[error("{0} is no capture in the format of pcap or pcapng")]
    Format(PathBuf),
    #[error("{0} ends in the midst of frame {1}, or has been damaged there")]
    Damaged(PathBuf, u64),
    #[error(
        "frame {1} of {0} is no Ethernet frame (link type {2}); capture on the interface itself, not on `any`"
    )]
    NoEthernet(PathBuf, u64, i32),
    #[error("{0} has {1} frames, and no frame {2}")]
    NoSuchFrame(PathBuf, u64, u64),
}

/// Frames that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The one of this number, from 1 on.
    One(u64),
    All,
}

/// Reads the frames that are wanted.
pub(super) fn read(path: &Path, wanted: Wanted) -> Result<Vec<Captured>, CaptureError> {
    let file = File::open(path).map_err(|error| CaptureError::File(path.into(), error))?;
    let mut reader = create_reader(MOST_BYTES, file).map_err(|_| CaptureError::Format(path.into()))?;
    let (mut frames, mut number, mut links) = (Vec::new(), 0, Vec::new());
    loop {
        let taken = match reader.next() {
            Ok((taken, block)) => {
                if let Some((link, bytes, whole_bytes)) = packet(&block, &mut links) {
                    number += 1;
                    let is_wanted = match wanted {
                        Wanted::One(one) => one == number,
                        Wanted::All => true,
                    };
                    if is_wanted {
                        if link != Linktype::ETHERNET {
                            return Err(CaptureError::NoEthernet(path.into(), number, link.0));
                        }
                        let is_cut = (bytes.len() as u64) < u64::from(whole_bytes);
                        frames.push(Captured { number, bytes: bytes.to_vec(), is_cut });
                        if wanted != Wanted::All {
                            return Ok(frames);
                        }
                    }
                }
                taken
            }
            Err(PcapError::Eof) => break,
            Err(PcapError::Incomplete(_)) => {
                reader.refill().map_err(|_| CaptureError::Damaged(path.into(), number + 1))?;
                continue;
            }
            Err(_) => return Err(CaptureError::Damaged(path.into(), number + 1)),
        };
        reader.consume(taken);
    }
    match wanted {
        Wanted::One(one) => Err(CaptureError::NoSuchFrame(path.into(), number, one)),
        Wanted::All if number == 0 => Err(CaptureError::NoSuchFrame(path.into(), 0, 1)),
        Wanted::All => Ok(frames),
    }
}

/// The link type, bytes and whole length of a block's packet, if it is one's; `links` are those of the interfaces so far.
fn packet<'a>(block: &'a PcapBlockOwned<'_>, links: &mut Vec<Linktype>) -> Option<(Linktype, &'a [u8], u32)> {
    let link = |links: &[Linktype], at: u32| links.get(at as usize).copied().unwrap_or(Linktype::NULL);
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            *links = vec![header.network];
            None
        }
        PcapBlockOwned::Legacy(packet) => Some((link(links, 0), packet.data, packet.origlen)),
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            links.clear();
            None
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            links.push(interface.linktype);
            None
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            Some((link(links, packet.if_id), packet.packet_data(), packet.origlen))
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            Some((link(links, 0), packet.packet_data(), packet.origlen))
        }
        PcapBlockOwned::NG(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str, bytes: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("lbxdp-capture-{}-{name}", std::process::id()));
            File::create(&path).and_then(|mut file| file.write_all(bytes)).unwrap();
            Self(path)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    /// A file of pcap (draft-ietf-opsawg-pcap), with frames and their whole lengths.
    fn pcap(magic: u32, link: u32, frames: &[(&[u8], u32)]) -> Vec<u8> {
        let mut file = [magic, 0x0004_0002, 0, 0, 65_535, link].map(u32::to_le_bytes).concat();
        for (bytes, whole) in frames {
            let length = u32::try_from(bytes.len()).unwrap();
            file.extend([1, 2, length, *whole].map(u32::to_le_bytes).concat());
            file.extend(*bytes);
        }
        file
    }

    /// A block of pcapng (draft-ietf-opsawg-pcapng).
    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
        let length = u32::try_from(12 + body.len() + padding.len()).unwrap().to_le_bytes();
        [&kind.to_le_bytes()[..], &length, body, &padding, &length].concat()
    }

    fn pcapng(link: u16, frames: &[&[u8]]) -> Vec<u8> {
        let section = [&0x1a2b_3c4du32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
        let interface = [&link.to_le_bytes()[..], &[0; 6]].concat();
        let mut file = [block(0x0a0d_0d0a, &section), block(1, &interface)].concat();
        for bytes in frames {
            let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
            file.extend(block(6, &[&[0; 12][..], &length, &length, bytes].concat()));
        }
        file
    }

    const MICROSECONDS: u32 = 0xa1b2_c3d4;
    const NANOSECONDS: u32 = 0xa1b2_3c4d;

    #[test]
    fn frames_are_read_from_either_format() {
        let (one, two) = (&[1u8; 60][..], &[2u8; 61][..]);
        let captures = [
            pcap(MICROSECONDS, 1, &[(one, 60), (two, 61)]),
            pcap(NANOSECONDS, 1, &[(one, 60), (two, 61)]),
            pcapng(1, &[one, two]),
        ];
        for (at, capture) in captures.iter().enumerate() {
            let file = Temporary::new(&format!("good-{at}"), capture);
            let frames = read(&file.0, Wanted::All).unwrap();
            let expected = |number, bytes: &[u8]| Captured { number, bytes: bytes.to_vec(), is_cut: false };
            assert_eq!(frames, [expected(1, one), expected(2, two)]);
            assert_eq!(read(&file.0, Wanted::One(2)).unwrap(), [expected(2, two)]);
            let missing = read(&file.0, Wanted::One(3)).unwrap_err().to_string();
            assert!(missing.ends_with("has 2 frames, and no frame 3"), "{missing}");
        }
    }

    #[test]
    fn what_is_no_whole_frame_is_told() {
        let cut = Temporary::new("cut", &pcap(MICROSECONDS, 1, &[(&[1; 60], 1514)]));
        assert!(read(&cut.0, Wanted::One(1)).unwrap()[0].is_cut);
        let damaged = pcap(MICROSECONDS, 1, &[(&[1; 60], 60), (&[2; 60], 60)]);
        let damaged = Temporary::new("damaged", &damaged[..damaged.len() - 5]);
        assert!(matches!(read(&damaged.0, Wanted::All), Err(CaptureError::Damaged(_, 2))));
        for capture in [pcap(MICROSECONDS, 113, &[(&[1; 60], 60)]), pcapng(113, &[&[1; 60]])] {
            let cooked = Temporary::new("cooked", &capture);
            assert!(matches!(read(&cooked.0, Wanted::One(1)), Err(CaptureError::NoEthernet(_, 1, 113))));
        }
        for bytes in [&b""[..], b"x", b"this is a text, and no capture at all"] {
            let other = Temporary::new("other", bytes);
            assert!(matches!(read(&other.0, Wanted::All), Err(CaptureError::Format(_))));
        }
        let empty = Temporary::new("empty", &pcap(MICROSECONDS, 1, &[]));
        assert!(matches!(read(&empty.0, Wanted::All), Err(CaptureError::NoSuchFrame(_, 0, 1))));
        assert!(matches!(read(Path::new("/nonexistent"), Wanted::All), Err(CaptureError::File(..))));
    }
}
