//! The director's interfaces, and by which of them frames really leave.

use std::collections::HashMap;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkInfo, LinkMessage, LinkXdp, VlanProtocol, VlanQosMapping,
    XdpAttached,
};

use crate::layout::{Tag, VlanTags};

/// An interface of the director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::daemon) struct Link {
    pub name: String,
    pub mac: [u8; 6],
    /// The largest IP packet, in bytes; 0 if the kernel does not say.
    pub mtu: u32,
    /// The XDP program on it.
    pub xdp: Option<AttachedXdp>,
    /// It is a VLAN of another interface.
    pub vlan: Option<Vlan>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) struct AttachedXdp {
    /// The kernel's id of it.
    pub program: u32,
    /// It runs behind a socket buffer, not in the driver.
    pub is_generic: bool,
}

/// What makes an interface a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) struct Vlan {
    /// The interface below; `None` if that is in another network namespace, where nothing can be sent to it from here.
    pub lower: Option<u32>,
    pub tag: Tag,
}

/// How frames leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WayOut {
    /// The interface below all VLANs: XDP can redirect to no other.
    pub ifindex: u32,
    pub vlan: Option<VlanTags>,
}

/// All interfaces, by their indices.
#[derive(Debug, Default)]
pub(super) struct Links(HashMap<u32, Link>);

impl Links {
    pub(super) fn get(&self, ifindex: u32) -> Option<&Link> {
        self.0.get(&ifindex)
    }

    pub(super) fn all(&self) -> &HashMap<u32, Link> {
        &self.0
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes in what the kernel says of an interface.
    pub(super) fn learn(&mut self, message: &LinkMessage) {
        // Bridges tell of their ports too, and less than the ports themselves do.
        if message.header.interface_family != AddressFamily::Unspec {
            return;
        }
        if let Some(link) = link(message) {
            self.0.insert(message.header.index, link);
        }
    }

    /// The interface is gone.
    pub(super) fn forget(&mut self, ifindex: u32) {
        self.0.remove(&ifindex);
    }

    /// How frames leave that are routed out by an interface; `None` if XDP has no way: an interface is not known, or there
    /// are more than two tags.
    pub(super) fn way_out(&self, ifindex: u32) -> Option<WayOut> {
        let Some(vlan) = self.get(ifindex)?.vlan else {
            return Some(WayOut { ifindex, vlan: None });
        };
        let below = vlan.lower?;
        let Some(outer) = self.get(below)?.vlan else {
            return Some(WayOut { ifindex: below, vlan: Some(VlanTags { outer: vlan.tag, inner: None }) });
        };
        let lowest = outer.lower?;
        let tags = VlanTags { outer: outer.tag, inner: Some(vlan.tag) };
        let is_real = self.get(lowest)?.vlan.is_none();
        is_real.then_some(WayOut { ifindex: lowest, vlan: Some(tags) })
    }
}

/// `None` for an interface without Ethernet addresses.
fn link(message: &LinkMessage) -> Option<Link> {
    let (mut name, mut mac, mut mtu, mut xdp, mut tag) = (None, None, 0, None, None);
    let (mut lower, mut is_lower_elsewhere) = (None, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(found) => name = Some(found.clone()),
            LinkAttribute::Address(found) => mac = <[u8; 6]>::try_from(found.as_slice()).ok(),
            LinkAttribute::Mtu(found) => mtu = *found,
            LinkAttribute::Xdp(found) => xdp = attached_xdp(found),
            LinkAttribute::Link(found) => lower = Some(*found),
            LinkAttribute::LinkNetNsId(_) => is_lower_elsewhere = true,
            LinkAttribute::LinkInfo(found) => tag = found.iter().find_map(vlan_tag),
            _ => {}
        }
    }
    let lower = lower.filter(|_| !is_lower_elsewhere);
    Some(Link { name: name?, mac: mac?, mtu, xdp, vlan: tag.map(|tag| Vlan { lower, tag }) })
}

/// The tag of a VLAN's frames; `None` for what is not a VLAN.
fn vlan_tag(info: &LinkInfo) -> Option<Tag> {
    let LinkInfo::Data(InfoData::Vlan(info)) = info else {
        return None;
    };
    let (mut id, mut protocol, mut priority) = (None, VlanProtocol::Ieee8021Q, 0);
    for attribute in info {
        match attribute {
            InfoVlan::Id(found) => id = Some(found & Tag::ID),
            InfoVlan::Protocol(found) => protocol = *found,
            // What is forwarded has no priority of its own, so it gets what 0 is mapped to.
            InfoVlan::EgressQos(found) => {
                let mapped = found.iter().find_map(|mapping| match mapping {
                    VlanQosMapping::Mapping(0, to) => u16::try_from(to & 7).ok(),
                    _ => None,
                });
                priority = mapped.unwrap_or(0);
            }
            _ => {}
        }
    }
    Some(Tag { ethertype: protocol.into(), control: priority << Tag::PRIORITY_SHIFT | id? })
}

fn attached_xdp(attributes: &[LinkXdp]) -> Option<AttachedXdp> {
    let program = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(program) => Some(*program),
        _ => None,
    });
    let is_generic = attributes.contains(&LinkXdp::Attached(XdpAttached::SocketBuffer));
    program.map(|program| AttachedXdp { program, is_generic })
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::InfoKind;

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn message(index: u32, more: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let name = LinkAttribute::IfName(format!("link{index}"));
        message.attributes = vec![name, LinkAttribute::Address(MAC.into()), LinkAttribute::Mtu(1500)];
        message.attributes.extend(more);
        message
    }

    fn vlan(index: u32, lower: u32, info: Vec<InfoVlan>) -> LinkMessage {
        let info = vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(InfoData::Vlan(info))];
        message(index, vec![LinkAttribute::Link(lower), LinkAttribute::LinkInfo(info)])
    }

    fn learned(messages: &[LinkMessage]) -> Links {
        let mut links = Links::default();
        for message in messages {
            links.learn(message);
        }
        links
    }

    #[test]
    fn vlans_lead_to_what_lies_below_them() {
        let links = learned(&[
            // The order does not matter.
            vlan(5, 4, vec![InfoVlan::Id(7)]),
            vlan(4, 3, vec![InfoVlan::Id(6), InfoVlan::Protocol(VlanProtocol::Ieee8021Ad)]),
            message(3, vec![]),
            vlan(6, 5, vec![InfoVlan::Id(8)]),
            vlan(7, 99, vec![InfoVlan::Id(9)]),
        ]);
        let way = |ifindex| links.way_out(ifindex).map(|way| (way.ifindex, way.vlan));
        let six = Tag { ethertype: 0x88a8, control: 6 };
        let seven = Tag { ethertype: 0x8100, control: 7 };
        assert_eq!(way(3), Some((3, None)));
        assert_eq!(way(4), Some((3, Some(VlanTags { outer: six, inner: None }))));
        assert_eq!(way(5), Some((3, Some(VlanTags { outer: six, inner: Some(seven) }))));
        assert_eq!(way(6), None, "three tags are too many");
        assert_eq!(way(7), None, "what lies below is not known");
        assert_eq!(way(8), None, "no such interface");
    }

    #[test]
    fn a_vlan_of_another_namespace_leads_nowhere() {
        let mut elsewhere = vlan(4, 3, vec![InfoVlan::Id(6)]);
        elsewhere.attributes.push(LinkAttribute::LinkNetNsId(0));
        assert_eq!(learned(&[message(3, vec![]), elsewhere]).way_out(4), None);
        // One end of a veth names the other so, which is nothing to its frames.
        let veth = message(4, vec![LinkAttribute::Link(9), LinkAttribute::LinkNetNsId(0)]);
        assert_eq!(learned(&[veth]).way_out(4), Some(WayOut { ifindex: 4, vlan: None }));
    }

    #[test]
    fn packets_have_the_priority_that_none_is_mapped_to() {
        let mappings = vec![VlanQosMapping::Mapping(1, 6), VlanQosMapping::Mapping(0, 3)];
        let links = learned(&[
            message(3, vec![]),
            vlan(4, 3, vec![InfoVlan::EgressQos(mappings), InfoVlan::Id(0xfff)]),
        ]);
        let tags = links.way_out(4).and_then(|way| way.vlan).unwrap();
        assert_eq!(tags.outer.control, 0x6fff);
        assert_eq!(tags.ids().collect::<Vec<_>>(), [0xfff]);
    }

    #[test]
    fn what_a_bridge_says_of_its_port_hides_nothing() {
        let program = LinkAttribute::Xdp(vec![LinkXdp::ProgId(42)]);
        let mut of_bridge = message(3, vec![]);
        of_bridge.header.interface_family = AddressFamily::Bridge;
        let links = learned(&[message(3, vec![program]), of_bridge]);
        let xdp = links.get(3).and_then(|link| link.xdp);
        assert_eq!(xdp, Some(AttachedXdp { program: 42, is_generic: false }));
    }
}
