//! Wire formats, and `Frame`, the only way to touch a packet.

use zerocopy::{FromBytes, Immutable, IntoBytes};

pub mod checksum;
pub mod ethernet;
pub mod ipv4;
pub mod sctp;
pub mod tcp;
pub mod udp;

/// The raw bytes of a packet from the Ethernet header on: always checked, always by copy.
pub trait Frame {
    /// The value at `offset`; `None` if the frame ends before it does.
    fn read<T: FromBytes + Copy>(&self, offset: usize) -> Option<T>;
    /// Overwrites the bytes at `offset`; `None`, and nothing is written, if the frame ends before.
    fn write<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Option<()>;
}

/// A frame in ordinary memory.
impl Frame for &mut [u8] {
    fn read<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        T::read_from_prefix(self.get(offset..)?).ok().map(|(value, _)| value)
    }

    fn write<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Option<()> {
        let end = offset.checked_add(size_of::<T>())?;
        self.get_mut(offset..end)?.copy_from_slice(value.as_bytes());
        Some(())
    }
}
