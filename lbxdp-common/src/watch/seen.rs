//! What a filter may ask of a packet: read as simply as can be, and as good as `parse` for all that is whole and in order.

use crate::address::{Address, V4, V6};
use crate::protocol::Protocol;
use crate::wire::Frame;
use crate::wire::ethernet::{self, HEADER_BYTES, Tag};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a filter compares beside addresses: one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct What {
    /// Index of the interface it came in by.
    pub ifindex: u32,
    /// 4 or 6.
    pub family: u8,
    /// IANA number; `ICMPv6` counts as ICMP.
    pub protocol: u8,
    /// The port that it goes to.
    pub port: u16,
}

/// `ICMP` and `ICMPv6`.
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// What is seen of a packet. What it does not have is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Seen {
    /// 4 or 6; 0 if it is no IP packet.
    pub family: u32,
    /// IANA number of what follows the IP header; of IPv6 of what follows the first one.
    pub protocol: u32,
    /// Source address, as two cells of [`Address::wide`].
    pub source: [u64; 2],
    /// Destination address.
    pub destination: [u64; 2],
    /// Port it comes from, most significant byte first; of a later fragment, or another protocol than TCP, UDP and SCTP, 0.
    pub source_port: u32,
    /// Port it goes to.
    pub port: u32,
    /// Where the IP header begins.
    pub ip_offset: u32,
}

impl Seen {
    /// Of a frame, behind up to two VLAN tags.
    #[inline(always)]
    pub fn of<F: Frame>(frame: &F) -> Self {
        const ONE_TAG: usize = HEADER_BYTES + size_of::<Tag>();
        const TWO_TAGS: usize = ONE_TAG + size_of::<Tag>();
        let ethertype = |end: usize| frame.read::<U16>(end - size_of::<U16>()).unwrap_or_default();
        let outer = ethertype(HEADER_BYTES);
        if !is_tag(outer) {
            return Self::at(frame, outer, HEADER_BYTES);
        }
        let inner = ethertype(ONE_TAG);
        if is_tag(inner) {
            Self::at(frame, ethertype(TWO_TAGS), TWO_TAGS)
        } else {
            Self::at(frame, inner, ONE_TAG)
        }
    }

    /// What a filter compares, of a packet that came in by an interface.
    #[inline(always)]
    pub const fn what(&self, ifindex: u32) -> What {
        let protocol = self.protocol as u8;
        let protocol = if protocol == ICMP_V6 { ICMP } else { protocol };
        What { ifindex, family: self.family as u8, protocol, port: self.port as u16 }
    }

    #[inline(always)]
    fn at<F: Frame>(frame: &F, ethertype: U16, offset: usize) -> Self {
        match ethertype {
            ethernet::IPV4 => Self::v4(frame, offset),
            ethernet::IPV6 => Self::v6(frame, offset),
            _ => None,
        }
        .unwrap_or_default()
    }

    #[inline(always)]
    fn v4<F: Frame>(frame: &F, offset: usize) -> Option<Self> {
        let ip: Ipv4 = frame.read(offset)?;
        let is_later = ip.is_later_fragment();
        let header = ip.header_bytes() as usize;
        let ports = if is_later { None } else { ports(frame, ip.protocol, offset + header) };
        Some(Self::new(4, ip.protocol, (wide::<V4>(ip.source), wide::<V4>(ip.destination)), ports, offset))
    }

    #[inline(always)]
    fn v6<F: Frame>(frame: &F, offset: usize) -> Option<Self> {
        let ip: Ipv6 = frame.read(offset)?;
        let ports = ports(frame, ip.next, offset + size_of::<Ipv6>());
        Some(Self::new(6, ip.next, (wide::<V6>(ip.source), wide::<V6>(ip.destination)), ports, offset))
    }

    #[inline(always)]
    fn new(
        family: u32,
        protocol: u8,
        (source, destination): ([u64; 2], [u64; 2]),
        ports: Option<[U16; 2]>,
        offset: usize,
    ) -> Self {
        let [source_port, port] = ports.unwrap_or_default();
        Self {
            family,
            protocol: protocol.into(),
            source,
            destination,
            source_port: source_port.get().into(),
            port: port.get().into(),
            ip_offset: offset as u32,
        }
    }
}

#[inline(always)]
fn is_tag(ethertype: U16) -> bool {
    matches!(ethertype, ethernet::VLAN | ethernet::SERVICE_VLAN)
}

#[inline(always)]
fn ports<F: Frame>(frame: &F, protocol: u8, offset: usize) -> Option<[U16; 2]> {
    Protocol::from_raw(protocol)?;
    frame.read(offset)
}

/// An address as cells.
#[inline(always)]
pub(super) fn wide<A: Address>(address: A) -> [u64; 2] {
    zerocopy::transmute!(address.wide())
}
