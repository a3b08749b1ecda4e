//! The inner packet: looked at before the tunnel is taken off, finished afterwards.

use super::link::Link;
use super::open::Opened;
use super::refusal::Refusal;
use super::remote_checksum::Completed;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::{Frame, checksum, ethernet};

/// Where the traffic class stands in an IPv4 header. In an IPv6 header its lower half is the upper half of this byte.
const CLASS_OFFSET: usize = 1;
/// Where the checksum stands in an IPv4 header.
const CHECKSUM_OFFSET: usize = 10;

/// What is needed of its header.
pub(super) struct Inner {
    pub(super) traffic_class: u8,
    is_4: bool,
    /// The byte at [`CLASS_OFFSET`], and the one before it.
    first: [u8; 2],
    /// Of an IPv4 header.
    checksum: [u8; 2],
}

/// Reads it; lengths that contradict each other would be somebody else's bytes in the end. The checksum of an IPv4 header
/// is the stack's to verify, as always.
#[inline(always)]
pub(super) fn read<F: Frame>(frame: &F, opened: &Opened) -> Result<Inner, Refusal> {
    let room = opened.end.saturating_sub(opened.inner as u32);
    if opened.ethertype == ethernet::IPV4.get() {
        let ip: Ipv4 = frame.read(opened.inner).ok_or(Refusal::InnerMalformed)?;
        let (header_bytes, bytes) = (ip.header_bytes(), u32::from(ip.total_bytes.get()));
        if header_bytes == 0 || bytes < header_bytes || bytes > room {
            return Err(Refusal::InnerMalformed);
        }
        let first = [ip.version_and_length, ip.traffic_class];
        return Ok(Inner { traffic_class: ip.traffic_class, is_4: true, first, checksum: ip.checksum });
    }
    let ip: Ipv6 = frame.read(opened.inner).ok_or(Refusal::InnerMalformed)?;
    if !ip.is_version_6() || ipv6::HEADER_BYTES as u32 + u32::from(ip.payload_bytes.get()) > room {
        return Err(Refusal::InnerMalformed);
    }
    let first: [u8; 2] = frame.read(opened.inner).ok_or(Refusal::InnerMalformed)?;
    Ok(Inner { traffic_class: ip.traffic_class(), is_4: false, first, checksum: [0; 2] })
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
        let [before, old] = inner.first;
        if inner.is_4 {
            let checksum = checksum::after_change(inner.checksum, inner.first, [before, class]);
            frame.write(offset + CLASS_OFFSET, class)?;
            frame.write(offset + CHECKSUM_OFFSET, checksum)?;
        } else {
            frame.write(offset + CLASS_OFFSET, class << 4 | old & 0x0f)?;
        }
    }
    completed.write(frame, offset)
}
