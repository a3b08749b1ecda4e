//! The director's neighbours, by ARP and NDP: whose MAC addresses are known.

use std::collections::HashMap;
use std::net::IpAddr;

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

/// A neighbour whose MAC address is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub mac: [u8; 6],
    /// Set by the operator or a routing daemon, or on a link without ARP: nothing is to be kept alive.
    pub is_fixed: bool,
}

/// An interface's index, and an address on that link: link-local ones may be on several.
pub(super) type Place = (u32, IpAddr);

/// All neighbours.
#[derive(Debug, Default)]
pub(super) struct Neighbours(HashMap<Place, Neighbour>);

impl Neighbours {
    pub(super) fn get(&self, place: Place) -> Option<&Neighbour> {
        self.0.get(&place)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes in what the kernel says of a neighbour that exists or does not any more. Returns a place where nobody has
    /// answered.
    pub(super) fn learn(&mut self, message: &NeighbourMessage, exists: bool) -> Option<Place> {
        let (mut address, mut mac) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => {
                    address = Some(IpAddr::V4(*found));
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) => {
                    address = Some(IpAddr::V6(*found));
                }
                NeighbourAttribute::LinkLocalAddress(found) => {
                    mac = <[u8; 6]>::try_from(found.as_slice()).ok();
                }
                _ => {}
            }
        }
        // Bridges' forwarding entries come the same way; they have no address of a family.
        let place = (message.header.ifindex, address?);
        let state = message.header.state;
        let is_unknown = |state| {
            matches!(state, NeighbourState::None | NeighbourState::Incomplete | NeighbourState::Failed)
        };
        if let Some(mac) = mac.filter(|_| exists && !is_unknown(state)) {
            let is_fixed = message.header.flags.contains(NeighbourFlags::ExtLearned)
                || matches!(state, NeighbourState::Permanent | NeighbourState::Noarp);
            self.0.insert(place, Neighbour { mac, is_fixed });
            return None;
        }
        self.0.remove(&place);
        (state == NeighbourState::Failed).then_some(place)
    }
}
