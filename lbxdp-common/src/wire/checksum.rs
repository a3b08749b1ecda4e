//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

use core::ops::ControlFlow;

use super::Frame;
use crate::walk::{Step, Walker};

/// The most bytes that a sum may have: a mask.
const MAX_BYTES_MASK: u32 = 0x3fff;

/// The sum of `bytes` bytes of a frame from `offset` on, 8 to 16,383, as little-endian numbers: RFC 1071 shows (section 2B)
/// that the order does not matter as long as the result is written in the same. `None` if the frame ends before.
#[inline(always)]
pub(crate) fn sum<F: Frame, W: Walker>(walker: &W, frame: &F, offset: usize, bytes: u32) -> Option<u64> {
    // So that the compiler does not see how many they are, and keeps the mask below.
    let bytes = bytes ^ walker.zero();
    let mut words = Words { frame, offset, sum: u64::from(walker.zero()), missing: walker.zero() };
    walker.repeat(bytes / 8, &mut words);
    let Words { sum, missing, .. } = words;
    if missing != 0 || bytes > MAX_BYTES_MASK {
        return None;
    }
    // The bytes behind the last word, as if zeros followed: what the last eight bytes have beside them is shifted out.
    let last: [u8; 8] = frame.read(offset + (bytes.wrapping_sub(8) & MAX_BYTES_MASK) as usize)?;
    let rest = match bytes % 8 {
        0 => 0,
        rest => u64::from_le_bytes(last) >> (64 - 8 * rest),
    };
    Some(sum + (rest >> 32) + (rest & 0xffff_ffff))
}

struct Words<'a, F> {
    frame: &'a F,
    offset: usize,
    sum: u64,
    /// 1 if the frame ended before its time.
    missing: u32,
}

impl<F: Frame, W> Step<W> for Words<'_, F> {
    #[inline(always)]
    fn step(&mut self, _: &W, index: u32) -> ControlFlow<()> {
        let at = (index.wrapping_mul(8) & MAX_BYTES_MASK) as usize;
        let Some(word) = self.frame.read::<[u8; 8]>(self.offset + at) else {
            self.missing = 1;
            return ControlFlow::Break(());
        };
        let word = u64::from_le_bytes(word);
        self.sum += (word >> 32) + (word & 0xffff_ffff);
        ControlFlow::Continue(())
    }
}

/// The checksum of what sums up to this, as it stands in a packet.
#[inline(always)]
pub(crate) const fn of_sum(sum: u64) -> [u8; 2] {
    // No branch: each line leaves at most one carry more than the next one takes.
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    (!(sum as u16)).to_le_bytes()
}

/// What a checksum's sum changes by where these 32 bits become those: both as they lie in the packet, little-endian.
#[inline(always)]
pub(crate) const fn change(from: u32, to: u32) -> u64 {
    !from as u64 + to as u64
}

/// A checksum after a change of what it covers (RFC 1624, equation 3).
#[inline(always)]
pub(crate) const fn after(checksum: [u8; 2], change: u64) -> [u8; 2] {
    of_sum(!u16::from_le_bytes(checksum) as u64 + change)
}

/// The IPv4 header checksum after the TTL went down by one, as the kernel's `ip_decrease_ttl` has it.
///
/// TTL is the upper byte of its 16-bit word, so the header's sum falls by 0x0100 and the checksum, its complement, rises
/// by as much, with the carry added at the low end.
#[inline(always)]
pub const fn after_ttl_decrement(checksum: [u8; 2]) -> [u8; 2] {
    // In the order of little-endian machines, as sums do not mind: 0x0100 is 1. No branch: 0xffff and 0 are the same number
    // here, and the kernel turns the first into the second.
    let sum = u16::from_le_bytes(checksum) as u32 + 1;
    ((sum + ((sum + 1) >> 16)) as u16).to_le_bytes()
}

/// The checksum after two bytes at an even offset have become others (RFC 1624, equation 3).
#[inline(always)]
pub const fn after_change(checksum: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    let sum = !u16::from_be_bytes(checksum) as u32
        + !u16::from_be_bytes(old) as u32
        + u16::from_be_bytes(new) as u32;
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    (!(twice as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {

    use crate::wire::ipv4::{Ipv4, TtlAndChecksum};
    use proptest::prelude::*;
    use zerocopy::{FromBytes, IntoBytes};

    /// RFC 1071, section 4.1, the plain way.
    fn of(header: &[u8]) -> u16 {
        let mut sum: u32 = header.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).expect("folded")
    }

    proptest! {
        #[test]
        fn incremental_is_recomputed(mut header: [u8; 20], ttl in 2u8..) {
            header[8] = ttl;
            header[10..12].fill(0);
            let checksum = of(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            let before = TtlAndChecksum::read_from_bytes(&header[8..12]).expect("four bytes");
            let after = before.decremented().expect("hops are left");
            header[8..12].copy_from_slice(after.as_bytes());
            prop_assert_eq!(after.ttl, ttl - 1);
            // A right checksum makes the header sum up to 0 (complemented).
            prop_assert_eq!(of(&header), 0);
        }
    }

    proptest! {
        #[test]
        fn a_changed_word_changes_the_checksum_as_if_it_were_recomputed(mut data: [u8; 38], word in 0usize..9, to: [u8; 4]) {
            data[36..].fill(0);
            // All zeros have no checksum of their own: real packets are never that.
            data[0] |= 1;
            let checksum = of(&data).to_be_bytes();
            let at = if word == 0 { 4 } else { 4 * word };
            let from: [u8; 4] = data[at..at + 4].try_into().expect("four bytes");
            data[at..at + 4].copy_from_slice(&to);
            let changed = super::change(u32::from_le_bytes(from), u32::from_le_bytes(to));
            prop_assert_eq!(u16::from_be_bytes(super::after(checksum, changed)), of(&data));
        }

        #[test]
        fn a_change_is_recomputed(mut header: [u8; 20], new: [u8; 2]) {
            header[0] = 0x45;
            header[10..12].fill(0);
            let checksum = of(&header).to_be_bytes();
            let after = super::after_change(checksum, [header[0], header[1]], new);
            header[0..2].copy_from_slice(&new);
            header[10..12].copy_from_slice(&after);
            prop_assert_eq!(of(&header), 0);
        }
    }

    #[test]
    fn without_hops_left_there_is_no_next_packet() {
        for ttl in [0, 1] {
            assert_eq!(TtlAndChecksum { ttl, protocol: 6, checksum: [0; 2] }.decremented(), None);
        }
    }

    #[test]
    fn a_header_tells_its_length_only_if_it_can_be_one() {
        let mut header = Ipv4::read_from_bytes(&[0u8; 20]).expect("20 bytes");
        for (byte, length) in [(0x45, 20), (0x4f, 60), (0x44, 0), (0x65, 0), (0x40, 0)] {
            header.version_and_length = byte;
            assert_eq!(header.header_bytes(), length);
        }
    }
}
