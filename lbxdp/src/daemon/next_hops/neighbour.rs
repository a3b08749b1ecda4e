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

#[cfg(test)]
mod tests {
    use netlink_packet_route::AddressFamily;

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn message(address: IpAddr, state: NeighbourState, mac: Option<[u8; 6]>) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 3;
        message.header.state = state;
        message.attributes.push(NeighbourAttribute::Destination(match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }));
        message.attributes.extend(mac.map(|mac| NeighbourAttribute::LinkLocalAddress(mac.into())));
        message
    }

    #[test]
    fn a_neighbour_of_either_family_comes_and_goes() {
        for address in ["10.0.0.2", "fe80::2"] {
            let address: IpAddr = address.parse().unwrap();
            let place = (3, address);
            let mut neighbours = Neighbours::default();
            let mut learn = |state, mac, exists| {
                let nobody = neighbours.learn(&message(address, state, mac), exists);
                (nobody, neighbours.get(place).copied())
            };
            let known = |is_fixed| Some(Neighbour { mac: MAC, is_fixed });
            assert_eq!(learn(NeighbourState::Incomplete, None, true), (None, None));
            assert_eq!(learn(NeighbourState::Reachable, Some(MAC), true), (None, known(false)));
            assert_eq!(learn(NeighbourState::Stale, Some(MAC), true), (None, known(false)));
            assert_eq!(learn(NeighbourState::Permanent, Some(MAC), true), (None, known(true)));
            assert_eq!(learn(NeighbourState::Stale, Some(MAC), false), (None, None));
            assert_eq!(learn(NeighbourState::Failed, Some(MAC), true), (Some(place), None));
        }
    }

    #[test]
    fn a_bridges_forwarding_entry_is_no_neighbour() {
        let mut entry = message([10, 0, 0, 2].into(), NeighbourState::Permanent, Some(MAC));
        entry.header.family = AddressFamily::Bridge;
        entry.attributes.remove(0);
        let mut neighbours = Neighbours::default();
        assert_eq!(neighbours.learn(&entry, true), None);
        assert!(neighbours.0.is_empty());
    }
}
