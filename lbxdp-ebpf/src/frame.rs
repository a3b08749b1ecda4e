//! The packet under an XDP context.

use core::arch::asm;

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use aya_ebpf::programs::XdpContext;
use lbxdp_common::wire::{self, Frame};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A packet in the driver's buffer. One pointer, so a function that is not inlined can take it.
pub(crate) struct Packet(pub(crate) XdpContext);

impl Packet {
    /// Where the packet begins.
    ///
    /// The context has pointers in fields of 32 bits, which the verifier makes whole. Where the compiler reads them itself it
    /// takes them for numbers of 32 bits and moves them as such, which the verifier refuses.
    #[inline(always)]
    fn start(&self) -> usize {
        let start;
        // SAFETY: the context is the program's own; `data` is its first field.
        unsafe {
            asm!("{start} = *(u32 *)({context} + 0)", start = lateout(reg) start, context = in(reg) self.0.ctx,
                options(pure, readonly, nostack, preserves_flags));
        }
        start
    }

    /// Where its first buffer ends.
    #[inline(always)]
    fn end(&self) -> usize {
        let end;
        // SAFETY: as in `start`; `data_end` is the second field.
        unsafe {
            asm!("{end} = *(u32 *)({context} + 4)", end = lateout(reg) end, context = in(reg) self.0.ctx,
                options(pure, readonly, nostack, preserves_flags));
        }
        end
    }

    /// Where `T` stands at `offset`, if the frame's first buffer reaches that far.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let (start, end) = (self.start(), self.end());
        if start + offset + size_of::<T>() > end {
            return None;
        }
        Some((start + offset) as *mut T)
    }
}

impl Frame for Packet {
    type Window<'a, const BYTES: usize> = Window<'a, BYTES>;

    #[inline(always)]
    fn window<const BYTES: usize>(&mut self) -> Option<Window<'_, BYTES>> {
        let start = self.at::<[u8; BYTES]>(0)?;
        Some(Window { start, packet: self })
    }

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

    #[inline(always)]
    fn reaches(&self, bytes: u32) -> bool {
        self.start() + bytes as usize <= self.end()
    }

    #[inline(always)]
    fn bytes(&self) -> u32 {
        // SAFETY: the context is the program's own, as in all calls here.
        unsafe { bpf_xdp_get_buff_len(self.0.as_ptr().cast()) as u32 }
    }

    #[inline(always)]
    fn cut(&mut self, bytes: u32) -> Option<()> {
        let more = bytes.wrapping_sub(self.bytes()).cast_signed();
        // Nothing to be cut is nothing to be asked: not every driver lets its frames be changed.
        // SAFETY: as above. Pointers into the packet end here, and nobody keeps one: `at` gives them to `read` and `write` alone.
        (more == 0 || more < 0 && unsafe { bpf_xdp_adjust_tail(self.0.as_ptr().cast(), more) } == 0)
            .then_some(())
    }

    #[inline(always)]
    fn grow_front(&mut self, bytes: u32) -> Option<()> {
        // SAFETY: as in `cut`.
        (unsafe { bpf_xdp_adjust_head(self.0.as_ptr().cast(), bytes.wrapping_neg().cast_signed()) } == 0)
            .then_some(())
    }

    #[inline(always)]
    fn cut_front(&mut self, bytes: u32) -> Option<()> {
        // SAFETY: as in `cut`.
        (unsafe { bpf_xdp_adjust_head(self.0.as_ptr().cast(), bytes.cast_signed()) } == 0).then_some(())
    }
}

/// A packet whose first `BYTES` have been compared with its end. The verifier has seen it too, and keeps it in mind.
pub(crate) struct Window<'a, const BYTES: usize> {
    /// Where the packet begins.
    start: *mut [u8; BYTES],
    packet: &'a mut Packet,
}

impl<const BYTES: usize> Window<'_, BYTES> {
    /// Where `T` stands at `offset`.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        if offset + size_of::<T>() > BYTES {
            return self.packet.at(offset);
        }
        Some(self.start.wrapping_byte_add(offset).cast())
    }
}

impl<const BYTES: usize> Frame for Window<'_, BYTES> {
    type Window<'a, const MORE: usize>
        = Window<'a, MORE>
    where
        Self: 'a;

    #[inline(always)]
    fn window<const MORE: usize>(&mut self) -> Option<Window<'_, MORE>> {
        self.packet.window()
    }

    #[inline(always)]
    fn read<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        // SAFETY: `at` gives places within the packet alone, any bytes are a `T`, and an unaligned read asks for no alignment.
        self.at::<T>(offset).map(|place| unsafe { place.read_unaligned() })
    }

    #[inline(always)]
    fn write<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Option<()> {
        // SAFETY: as above; the packet is this program's alone while it runs.
        self.at::<T>(offset).map(|place| unsafe { place.write_unaligned(value) })
    }

    #[inline(always)]
    fn reaches(&self, bytes: u32) -> bool {
        self.start.addr() + bytes as usize <= self.packet.end()
    }

    #[inline(always)]
    fn bytes(&self) -> u32 {
        self.packet.bytes()
    }

    // These would leave it without a place.
    #[inline(always)]
    fn cut(&mut self, _: u32) -> Option<()> {
        None
    }

    #[inline(always)]
    fn grow_front(&mut self, _: u32) -> Option<()> {
        None
    }

    #[inline(always)]
    fn cut_front(&mut self, _: u32) -> Option<()> {
        None
    }
}

impl<const BYTES: usize> wire::Window for Window<'_, BYTES> {
    type Whole = Packet;

    #[inline(always)]
    fn whole(&mut self) -> &mut Packet {
        self.packet
    }
}
