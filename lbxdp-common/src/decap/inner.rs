//! The inner packet: looked at before the tunnel is taken off, finished afterwards.

use zerocopy::FromBytes;
use zerocopy::big_endian::U16;

use super::link::Link;
use super::open::Opened;
use super::refusal::Refusal;
use super::remote_checksum::Completed;
use crate::wire::{Frame, checksum, ethernet, ipv4, ipv6};

/// Where the traffic class stands in an IPv4 header. In an IPv6 header its lower half is the upper half of this byte.
const CLASS_OFFSET: usize = 1;
/// Where the checksum stands in an IPv4 header.
const CHECKSUM_OFFSET: usize = 10;

/// The first twelve bytes of a header of either family. They are read in one place for both: the verifier does not follow
/// a packet's address from before a fork into both of its ways.
#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct Front {
    /// The version, and in IPv4 the length of the header in words.
    version: u8,
    class: u8,
    /// IPv4: bytes of header and payload.
    total_bytes: U16,
    /// IPv6: bytes behind the header.
    payload_bytes: U16,
    between: [u8; 4],
    /// IPv4: of the header.
    checksum: u16,
}

/// What is needed of its header.
pub(super) struct Inner {
    pub(super) traffic_class: u8,
    is_4: bool,
    front: Front,
}
/// Reads it; lengths that contradict each other would be somebody else's bytes in the end. The checksum of an IPv4 header
/// is the stack's to verify, as always.
#[inline(always)]
pub(super) fn read<F: Frame>(frame: &F, opened: &Opened) -> Result<Inner, Refusal> {
    let room = opened.end.saturating_sub(opened.inner as u32);
    let front: Front = frame.read(opened.inner).ok_or(Refusal::InnerMalformed)?;
    let is_4 = opened.ethertype == ethernet::IPV4.get();
    let (traffic_class, header_bytes, bytes) = if is_4 {
        (front.class, ipv4::header_bytes(front.version), u32::from(front.total_bytes.get()))
    } else {
        let header_bytes = if front.version >> 4 == 6 { ipv6::HEADER_BYTES as u32 } else { 0 };
        let traffic_class = front.version << 4 | front.class >> 4;
        (traffic_class, header_bytes, header_bytes + u32::from(front.payload_bytes.get()))
    };
    if header_bytes == 0 || bytes < header_bytes || bytes > room {
        return Err(Refusal::InnerMalformed);
    }
    Ok(Inner { traffic_class, is_4, front })
}

/// Writes what the way has changed: congestion seen on it, and a checksum that was left to us.
#[inline(always)]
pub(super) fn finish<F: Frame>(
    frame: &mut F,
    link: &Link,
    inner: &Inner,
    class: u8,
    completed: Completed,
) -> Option<()> {
    let offset = link.payload;
    if class != inner.traffic_class {
        let Front { version, class: old, checksum, .. } = inner.front;
        if inner.is_4 {
            let checksum = checksum::after_change(checksum.to_ne_bytes(), [version, old], [version, class]);
            frame.write(offset + CLASS_OFFSET, class)?;
            frame.write(offset + CHECKSUM_OFFSET, checksum)?;
        } else {
            frame.write(offset + CLASS_OFFSET, class << 4 | old & 0x0f)?;
        }
    }
    completed.write(frame, offset)
}
