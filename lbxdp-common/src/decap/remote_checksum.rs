//! GUE's remote checksum offload: the sender left the transport checksum to us, with the pseudo header's sum in its place
//! (`skb_remcsum_process` in the kernel). IPVS's director does so with packets whose checksum it has not got complete.

use core::ops::ControlFlow;

use super::Tables;
use super::open::Opened;
use super::refusal::Refusal;
use crate::walk::{Step, Walker};
use crate::wire::{Frame, checksum};

/// The most bytes that are summed: a mask. A program sees a page of a frame at once, less its room in front; some drivers
/// have pages of 16 KiB.
const MAX_BYTES_MASK: u32 = 0x3fff;
/// The least that has a checksum: a UDP header.
const MIN_BYTES: u32 = 8;

/// What cannot be reached has no checksum. It is no 16-bit number.
pub const NO_CHECKSUM: u64 = u64::MAX;

/// A checksum that was made.
#[derive(Clone, Copy)]
pub(super) struct Completed {
    /// 1 if there is one.
    is_there: u32,
    /// Where it goes, counted from the beginning of the inner packet.
    offset: u32,
    /// As it stands in a packet.
    checksum: u16,
}

impl Completed {
    /// Writes it into the inner packet at `inner`.
    #[inline(always)]
    pub(super) fn write<F: Frame>(self, frame: &mut F, inner: usize) -> Option<()> {
        if self.is_there == 0 {
            return Some(());
        }
        frame.write(inner + small(self.offset), self.checksum)
    }
}

/// An offset within the inner packet. Masked, for the verifier must see that it is small.
#[inline(always)]
const fn small(bytes: u32) -> usize {
    (bytes & MAX_BYTES_MASK) as usize
}

/// The checksum that the inner packet wants, if it wants one.
#[inline(always)]
pub(super) fn of<F: Frame, T: Tables<F>>(
    frame: &F,
    tables: &T,
    opened: &Opened,
) -> Result<Completed, Refusal> {
    if opened.wants_checksum == 0 {
        return Ok(Completed { is_there: 0, offset: 0, checksum: 0 });
    }
    let (start, offset) = (opened.checksum_start, opened.checksum_offset);
    let inner_bytes = opened.end.saturating_sub(opened.inner as u32);
    if start + MIN_BYTES > inner_bytes || offset < start || offset + 2 > inner_bytes {
        return Err(Refusal::GueHeader);
    }
    if inner_bytes > MAX_BYTES_MASK {
        return Err(Refusal::ChecksumOutOfReach);
    }
    let checksum = tables.checksum(frame, opened.inner as u32 + start, inner_bytes - start);
    if checksum == NO_CHECKSUM {
        return Err(Refusal::ChecksumOutOfReach);
    }
    Ok(Completed { is_there: 1, offset, checksum: checksum as u16 })
}

/// The checksum of at least four bytes, 0xffff instead of 0, which is the same number but means "none" to UDP.
#[inline(always)]
pub fn checksum<F: Frame, W: Walker>(walker: &W, frame: &F, offset: u32, bytes: u32) -> u64 {
    let offset = small(offset);
    let mut words = Words { frame, offset, sum: u64::from(walker.zero()), missing: walker.zero() };
    walker.repeat((bytes & MAX_BYTES_MASK) / 4, &mut words);
    let Words { sum, missing, .. } = words;
    if missing != 0 {
        return NO_CHECKSUM;
    }
    // The bytes behind the last word, as if zeros followed: what the last four bytes have beside them is shifted out.
    let Some(last) = frame.read::<u32>(offset + small(bytes.wrapping_sub(4))) else {
        return NO_CHECKSUM;
    };
    let rest = match bytes % 4 {
        0 => 0,
        rest => u32::from_le(last) >> (32 - 8 * rest),
    };
    match u16::from_ne_bytes(checksum::of_sum(sum + u64::from(rest))) {
        0 => u16::MAX.into(),
        checksum => checksum.into(),
    }
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
        let Some(word) = self.frame.read::<[u8; 4]>(self.offset + small(index.wrapping_mul(4))) else {
            self.missing = 1;
            return ControlFlow::Break(());
        };
        self.sum += u64::from(u32::from_le_bytes(word));
        ControlFlow::Continue(())
    }
}
