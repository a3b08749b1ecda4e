//! The next hop of a server, as far as its row needs it.

use std::net::IpAddr;

use lbxdp_common::server::{ServerFlags, ServerRow};
use lbxdp_common::service::ip;
use lbxdp_common::wire::ethernet;

/// Where packets for an address go: what the daemon knows of the next hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// MAC address of the next hop; `None` while it is not known.
    pub mac: Option<[u8; 6]>,
    /// MAC address of the interface that leads there; of a VLAN its own, which may differ from that of the interface below.
    pub source: [u8; 6],
    /// The interface that frames are sent out by; below a VLAN the real one.
    pub ifindex: u32,
    /// The interface's slot in the device map.
    pub port: u16,
    /// The address is the director's own.
    pub is_local: bool,
    /// The largest IP packet that can be sent there, in bytes; 0 if that is not known, or the address is the director's own.
    pub mtu: u16,
    /// The director's address on the route, of the family of the server's: where tunnels to it begin. `None` if it has none.
    pub tunnel_source: Option<IpAddr>,
    /// The tags that frames must bear.
    pub vlan: Option<VlanTags>,
}

/// The VLAN tags of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTags {
    /// The first on the wire.
    pub outer: Tag,
    pub inner: Option<Tag>,
}

impl VlanTags {
    /// As they stand in a row and in a frame.
    pub(super) fn on_the_wire(self) -> [ethernet::Tag; 2] {
        let tag = |Tag { ethertype, control }: Tag| ethernet::Tag {
            ethertype: ethertype.into(),
            control: control.into(),
        };
        [tag(self.outer), self.inner.map_or_else(Default::default, tag)]
    }

    /// The same as a cell.
    pub fn cell(self) -> u64 {
        zerocopy::transmute!(self.on_the_wire())
    }

    /// Of a row.
    fn of_row(row: &ServerRow) -> Option<Self> {
        let [outer, inner] =
            row.tags.map(|tag| Tag { ethertype: tag.ethertype.into(), control: tag.control.into() });
        let inner = row.flags.has(ServerFlags::TWICE_TAGGED).then_some(inner);
        row.flags.has(ServerFlags::TAGGED).then_some(Self { outer, inner })
    }

    /// The numbers of the VLANs, the outer one first.
    pub fn ids(&self) -> impl Iterator<Item = u16> {
        std::iter::once(self.outer).chain(self.inner).map(|tag| tag.control & Tag::ID)
    }
}

/// A VLAN tag, in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What announces it: 0x8100 (802.1Q) or 0x88a8 (802.1ad).
    pub ethertype: u16,
    /// From the top: 3 bits of priority, 1 bit that it may be dropped, 12 bits of VLAN.
    pub control: u16,
}

impl From<&ServerRow> for Hop {
    fn from(row: &ServerRow) -> Self {
        Self {
            mac: Some(row.next_hop).filter(|mac| *mac != [0; 6]),
            source: row.source,
            ifindex: row.ifindex,
            port: row.port,
            is_local: row.flags.has(ServerFlags::LOCAL),
            mtu: if row.mtu == ServerRow::MTU_UNKNOWN { 0 } else { row.mtu },
            tunnel_source: (row.tunnel_source != [0; 16])
                .then(|| ip(row.tunnel_source, row.flags.has(ServerFlags::IPV6))),
            vlan: VlanTags::of_row(row),
        }
    }
}

impl Hop {
    /// Whether packets can be sent there.
    pub fn is_usable(&self) -> bool {
        self.is_local || self.mac.is_some()
    }
}

impl Tag {
    /// The bits of [`Tag::control`] that say which VLAN.
    pub const ID: u16 = 0x0fff;
    /// Where the priority begins in [`Tag::control`].
    pub const PRIORITY_SHIFT: u16 = 13;
}
