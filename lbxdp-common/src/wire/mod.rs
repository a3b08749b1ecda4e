//! Wire formats, and `Frame`, the only way to touch a packet.

use zerocopy::{FromBytes, Immutable, IntoBytes};

pub mod checksum;
pub mod crc32c;
pub mod ethernet;
pub mod gre;
pub mod gue;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod sctp;
pub mod tcp;
pub mod udp;

/// The raw bytes of a packet from the Ethernet header on: always checked, always by copy.
pub trait Frame {
    /// What is known of a frame's first bytes.
    type Window<'a, const BYTES: usize>: Window
    where
        Self: 'a;

    /// The frame, if its first `BYTES` lie in one piece.
    fn window<const BYTES: usize>(&mut self) -> Option<Self::Window<'_, BYTES>>;
    /// The value at `offset`; `None` if the frame ends before it does.
    fn read<T: FromBytes + Copy>(&self, offset: usize) -> Option<T>;
    /// Overwrites the bytes at `offset`; `None`, and nothing is written, if the frame ends before.
    fn write<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Option<()>;
    /// Whether the frame, as far as it lies in one piece, has so many bytes: less than that says nothing.
    fn reaches(&self, bytes: u32) -> bool;
    /// Bytes of the whole frame.
    fn bytes(&self) -> u32;
    /// Cuts the frame off after so many bytes; `None` if it has fewer, or its place does not allow it.
    fn cut(&mut self, bytes: u32) -> Option<()>;
    /// Puts so many bytes in front, of any content: all offsets grow. `None` if there is no room.
    fn grow_front(&mut self, bytes: u32) -> Option<()>;
    /// Cuts so many bytes off the front: all offsets shrink. `None`, and nothing is changed, if there are fewer.
    fn cut_front(&mut self, bytes: u32) -> Option<()>;
}

/// A frame whose first bytes are known to be there: they are not asked for again. It neither grows nor shrinks.
pub trait Window: Frame {
    /// The frame.
    type Whole: Frame;

    /// The frame itself, of which nothing is known.
    fn whole(&mut self) -> &mut Self::Whole;
}

/// A frame in ordinary memory, with room in front of it as a driver leaves it.
#[derive(Debug)]
pub struct Buffer<'a> {
    memory: &'a mut [u8],
    start: usize,
}

impl<'a> Buffer<'a> {
    /// The frame that begins at `start` and ends with the memory.
    pub fn new(memory: &'a mut [u8], start: usize) -> Self {
        Self { memory, start }
    }

    /// The frame as it is.
    pub fn frame(&self) -> &[u8] {
        self.memory.get(self.start..).unwrap_or_default()
    }
}

impl Window for &mut Buffer<'_> {
    type Whole = Self;

    fn whole(&mut self) -> &mut Self {
        self
    }
}

impl<'m> Frame for &mut Buffer<'m> {
    type Window<'a, const BYTES: usize>
        = &'a mut Buffer<'m>
    where
        Self: 'a;

    fn window<const BYTES: usize>(&mut self) -> Option<&mut Buffer<'m>> {
        (BYTES <= self.frame().len()).then_some(&mut **self)
    }

    fn read<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        T::read_from_prefix(self.frame().get(offset..)?).ok().map(|(value, _)| value)
    }

    fn write<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Option<()> {
        let start = self.start.checked_add(offset)?;
        let end = start.checked_add(size_of::<T>())?;
        self.memory.get_mut(start..end)?.copy_from_slice(value.as_bytes());
        Some(())
    }

    fn reaches(&self, bytes: u32) -> bool {
        bytes as usize <= self.frame().len()
    }

    fn bytes(&self) -> u32 {
        self.frame().len() as u32
    }

    fn cut(&mut self, bytes: u32) -> Option<()> {
        let end = self.start.checked_add(bytes as usize)?;
        if self.memory.len() < end {
            return None;
        }
        self.memory = core::mem::take(&mut self.memory).get_mut(..end)?;
        Some(())
    }

    fn grow_front(&mut self, bytes: u32) -> Option<()> {
        self.start = self.start.checked_sub(bytes as usize)?;
        Some(())
    }

    fn cut_front(&mut self, bytes: u32) -> Option<()> {
        let start = self.start.checked_add(bytes as usize)?;
        if self.memory.len() < start {
            return None;
        }
        self.start = start;
        Some(())
    }
}
