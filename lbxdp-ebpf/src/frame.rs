//! The packet under an XDP context.

use aya_ebpf::programs::XdpContext;
use lbxdp_common::wire::Frame;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A packet in the driver's buffer.
pub(crate) struct Packet<'a>(pub(crate) &'a XdpContext);

impl Packet<'_> {
    /// Where `T` stands at `offset`, if the frame's first buffer reaches that far.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let (start, end) = (self.0.data(), self.0.data_end());
        if start + offset + size_of::<T>() > end {
            return None;
        }
        Some((start + offset) as *mut T)
    }
}

impl Frame for Packet<'_> {
    #[inline(always)]
    fn read<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        // SAFETY: `at` has compared with the end of the packet (the verifier insists), any bytes are a `T`, and an
        // unaligned read asks for no alignment.
        self.at::<T>(offset).map(|place| unsafe { place.read_unaligned() })
    }

    #[inline(always)]
    fn write<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Option<()> {
        // SAFETY: as above; the packet is this program's alone while it runs.
        self.at::<T>(offset).map(|place| unsafe { place.write_unaligned(value) })
    }
}
