//! The frame's Ethernet header, with at most one VLAN tag: read, and put before the inner packet.

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::open::Opened;
use super::refusal::Refusal;
use crate::wire::Frame;
use crate::wire::ethernet::{self, Tag};

/// The header, its addresses cut as they are compared.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Front {
    /// Destination, and the first two bytes of the source.
    start: [u8; 8],
    source: [u8; 4],
    ethertype: U16,
}

/// Both addresses, cut where the kernel's stack has words.
type Addresses = (u64, u32);
/// Offset of the second part.
const REST_OFFSET: usize = size_of::<u64>();
/// Offset of the ethertype, or of a tag before it.
const ETHERTYPE_OFFSET: usize = 12;

/// What is needed of it.
pub(super) struct Link {
    /// The frame's destination; see [`ethernet::number`].
    pub(super) destination_mac: u64,
    /// What follows, as a number.
    pub(super) ethertype: u16,
    /// Offset of what follows.
    pub(super) payload: usize,
}

/// Reads it.
#[inline(always)]
pub(super) fn read<F: Frame>(frame: &F) -> Result<Link, Refusal> {
    let Front { start, ethertype, .. } = frame.read(0).ok_or(Refusal::NotATunnel)?;
    let destination_mac = ethernet::destination_number(start);
    if ethertype != ethernet::VLAN && ethertype != ethernet::SERVICE_VLAN {
        return Ok(Link { destination_mac, ethertype: ethertype.get(), payload: ethernet::HEADER_BYTES });
    }
    let behind_tag = ethernet::HEADER_BYTES + size_of::<Tag>();
    let ethertype: U16 = frame.read(behind_tag - size_of::<U16>()).ok_or(Refusal::NotATunnel)?;
    Ok(Link { destination_mac, ethertype: ethertype.get(), payload: behind_tag })
}

/// Cuts off what is before the inner packet, and puts the Ethernet header there again.
#[inline(always)]
pub(super) fn bare<F: Frame>(frame: &mut F, link: &Link, opened: &Opened) -> Result<(), Refusal> {
    let addresses = addresses(frame).ok_or(Refusal::NotCut)?;
    let has_tag = link.payload > ethernet::HEADER_BYTES;
    let tag: u32 = if has_tag { frame.read(ETHERTYPE_OFFSET).ok_or(Refusal::NotCut)? } else { 0 };
    let cut = (opened.inner - link.payload) as u32;
    frame.cut_front(cut).ok_or(Refusal::NotCut)?;
    let ethertype = opened.ethertype.to_be();
    // The frame has all of the inner header behind it: none of this fails.
    let written = if has_tag {
        write(frame, addresses)
            .and_then(|()| frame.write(ETHERTYPE_OFFSET, tag))
            .and_then(|()| frame.write(ETHERTYPE_OFFSET + size_of::<Tag>(), ethertype))
    } else {
        write(frame, addresses).and_then(|()| frame.write(ETHERTYPE_OFFSET, ethertype))
    };
    written.ok_or(Refusal::InnerMalformed)
}

#[inline(always)]
fn addresses<F: Frame>(frame: &F) -> Option<Addresses> {
    Some((frame.read(0)?, frame.read(REST_OFFSET)?))
}

#[inline(always)]
fn write<F: Frame>(frame: &mut F, (start, rest): Addresses) -> Option<()> {
    frame.write(0, start)?;
    frame.write(REST_OFFSET, rest)
}
