//! The checksum of SCTP: `CRC32c` (RFC 9260, appendix A), reflected, as it stands in a packet.

use core::ops::ControlFlow;

use super::Frame;
use crate::walk::{Step, Walker};

/// The polynomial, its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// The longest packet of which a checksum is made: a mask, and a bound for the time it takes.
pub const MAX_BYTES: u32 = 2047;
const MASK: u32 = MAX_BYTES;

static TABLE: [u32; 256] = table();

#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The checksum one byte on, which has been added to it. (Added before, for 6.1's verifier does not see that a sum of two
/// bytes is one.)
#[inline(always)]
fn on(crc: u32) -> u32 {
    crc >> 8 ^ TABLE.get((crc & 0xff) as usize).copied().unwrap_or(0)
}

/// Four bytes a step, then what is left of them, a byte a step.
struct Sum<'a, F> {
    frame: &'a F,
    start: usize,
    crc: u32,
    /// Of the sum, and how many words of four they are.
    bytes: u32,
    words: u32,
    /// 1 if the frame ended before its time.
    is_short: u32,
}

impl<F: Frame, W> Step<W> for Sum<'_, F> {
    #[inline(always)]
    fn step(&mut self, _: &W, index: u32) -> ControlFlow<()> {
        if index < self.words {
            let Some(word) = self.frame.read::<[u8; 4]>(self.start + ((index * 4) & MASK) as usize) else {
                self.is_short = 1;
                return ControlFlow::Break(());
            };
            self.crc = on(on(on(on(self.crc ^ u32::from_le_bytes(word)))));
        } else {
            // Out of the last four bytes: of the end of a single one the compiler makes a comparison that the verifier does not
            // understand.
            let last = self.start + (self.bytes.wrapping_sub(4) & MASK) as usize;
            let Some(last) = self.frame.read::<[u8; 4]>(last) else {
                self.is_short = 1;
                return ControlFlow::Break(());
            };
            let left = self.words + self.bytes % 4 - index;
            let byte = (u32::from_le_bytes(last) >> (32 - 8 * (left & 3))) & 0xff;
            self.crc = on(self.crc ^ byte);
        }
        ControlFlow::Continue(())
    }
}

/// The checksum of 4 to [`MAX_BYTES`] bytes of a frame from `start` on, as it stands in a packet; `None` if they are more, or the
/// frame ends before.
#[inline(always)]
pub fn of<F: Frame, W: Walker>(walker: &W, frame: &F, start: usize, bytes: u32) -> Option<[u8; 4]> {
    if !(4..=MAX_BYTES).contains(&bytes) {
        return None;
    }
    let zero = walker.zero();
    let mut sum = Sum {
        frame,
        start,
        crc: u32::MAX ^ zero,
        bytes: bytes ^ zero,
        words: (bytes / 4) ^ zero,
        is_short: zero,
    };
    walker.repeat(bytes / 4 + bytes % 4, &mut sum);
    (sum.is_short == 0).then_some((!sum.crc).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Buffer;

    struct Host;

    impl Walker for Host {}

    fn crc(data: &[u8]) -> Option<[u8; 4]> {
        let mut memory = [&[0xee; 3], data].concat();
        let frame = Buffer::new(&mut memory, 0);
        let mut frame = frame;
        of(&Host, &&mut frame, 3, data.len() as u32)
    }

    #[test]
    fn known_sums_come_out() {
        // The check value of the catalogue of CRCs, and those of RFC 3720, B.4.
        assert_eq!(crc(b"123456789"), Some(0xe306_9283u32.to_le_bytes()));
        assert_eq!(crc(&[0; 32]), Some([0xaa, 0x36, 0x91, 0x8a]));
        assert_eq!(crc(&[0xff; 32]), Some([0x43, 0xab, 0xa8, 0x62]));
        let rising: std::vec::Vec<u8> = (0..32).collect();
        assert_eq!(crc(&rising), Some([0x4e, 0x79, 0xdd, 0x46]));
    }

    #[test]
    fn what_is_too_long_has_none() {
        assert!(crc(&[7; 2047]).is_some() && crc(&[7; 2048]).is_none());
    }
}
