//! The tunnel's own header: where the inner packet begins, and which it is.
//!
//! Checksums of UDP and GRE are not verified. They cover the whole packet, which a program would have to read byte for byte,
//! and what is in it that matters has checksums of its own: the inner IPv4 header, and TCP's, UDP's or SCTP's over addresses
//! and data, which the stack verifies as always.

use zerocopy::big_endian::{U16, U32};

use super::outer::Outer;
use super::refusal::Refusal;
use super::{IPV4_INSIDE, IPV6_INSIDE};
use crate::wire::gre::{self, Gre};
use crate::wire::gue::{Gue, REMOTE_CHECKSUM, RemoteChecksum};
use crate::wire::udp::Udp;
use crate::wire::{Frame, ethernet};

/// An inner packet that was found.
pub(super) struct Opened {
    /// Its offset.
    pub(super) inner: usize,
    /// [`ethernet::IPV4`] or [`ethernet::IPV6`], as a number.
    pub(super) ethertype: u16,
    /// Offset behind the last byte it can have.
    pub(super) end: u32,
    /// 1 if its checksum is to be made.
    pub(super) wants_checksum: u32,
    /// From where on, counted from its beginning.
    pub(super) checksum_start: u32,
    /// Where it stands, counted likewise.
    pub(super) checksum_offset: u32,
}

impl Opened {
    #[inline(always)]
    const fn new(inner: usize, ethertype: U16, end: u32) -> Self {
        let ethertype = ethertype.get();
        Self { inner, ethertype, end, wants_checksum: 0, checksum_start: 0, checksum_offset: 0 }
    }
}

/// The ethertype of an inner packet of this protocol.
#[inline(always)]
fn ethertype(protocol: u8) -> Result<U16, Refusal> {
    match protocol {
        IPV4_INSIDE => Ok(ethernet::IPV4),
        IPV6_INSIDE => Ok(ethernet::IPV6),
        _ => Err(Refusal::OtherPayload),
    }
}

/// No header at all.
#[inline(always)]
pub(super) fn ipip(outer: &Outer) -> Result<Opened, Refusal> {
    Ok(Opened::new(outer.payload, ethertype(outer.protocol)?, outer.end))
}

/// UDP and GUE, with what Linux's `fou` understands of it.
#[inline(always)]
pub(super) fn gue<F: Frame>(frame: &F, outer: &Outer) -> Result<Opened, Refusal> {
    let fixed_bytes = size_of::<Udp>() + size_of::<Gue>();
    let udp: Udp = frame.read(outer.payload).ok_or(Refusal::OuterMalformed)?;
    let end = outer.payload as u32 + u32::from(udp.bytes.get());
    if usize::from(udp.bytes.get()) < fixed_bytes || end > outer.end {
        return Err(Refusal::OuterMalformed);
    }
    let gue: Gue = frame.read(outer.payload + size_of::<Udp>()).ok_or(Refusal::OuterMalformed)?;
    // A field that nobody knows may say that this is a fragment, or encrypted.
    if !gue.is_data() || (gue.flags & !Gue::PRIVATE).get() != 0 {
        return Err(Refusal::GueHeader);
    }
    let fields = outer.payload + fixed_bytes;
    let field_bytes = gue.optional_bytes();
    let mut opened = Opened::new(fields + field_bytes as usize, ethertype(gue.protocol)?, end);
    if gue.flags == Gue::PRIVATE {
        let private: U32 = frame.read(fields).ok_or(Refusal::GueHeader)?;
        if field_bytes < size_of::<U32>() as u32 || private.get() & !REMOTE_CHECKSUM != 0 {
            return Err(Refusal::GueHeader);
        }
        if private.get() == REMOTE_CHECKSUM {
            if (field_bytes as usize) < size_of::<U32>() + size_of::<RemoteChecksum>() {
                return Err(Refusal::GueHeader);
            }
            let remote: RemoteChecksum = frame.read(fields + size_of::<U32>()).ok_or(Refusal::GueHeader)?;
            opened.wants_checksum = 1;
            opened.checksum_start = remote.start.get().into();
            opened.checksum_offset = remote.offset.get().into();
        }
    }
    Ok(opened)
}

/// GRE, with or without its checksum.
#[inline(always)]
pub(super) fn gre<F: Frame>(frame: &F, outer: &Outer) -> Result<Opened, Refusal> {
    let header: Gre = frame.read(outer.payload).ok_or(Refusal::OuterMalformed)?;
    let behind = outer.payload + size_of::<Gre>();
    let inner = if header.flags.get() == 0 {
        behind
    } else if header.flags == Gre::CHECKSUM {
        behind + size_of::<gre::Checksum>()
    } else {
        return Err(Refusal::GreHeader);
    };
    if header.protocol != ethernet::IPV4 && header.protocol != ethernet::IPV6 {
        return Err(Refusal::OtherPayload);
    }
    Ok(Opened::new(inner, header.protocol, outer.end))
}
