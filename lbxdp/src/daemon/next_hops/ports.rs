//! The interfaces that packets are sent out by: each has a slot in the device map.

use std::collections::HashMap;

/// Slots of the device map.
const MAX_PORTS: u16 = 64;

/// Slots in use, by interface index.
#[derive(Debug, Default)]
pub(super) struct Ports {
    slots: HashMap<u32, u16>,
    fresh: Vec<(u16, u32)>,
}

impl Ports {
    /// The interface's slot, a new one if need be; `None` if all are taken.
    pub(super) fn slot(&mut self, ifindex: u32) -> Option<u16> {
        let next = (0..MAX_PORTS).find(|slot| self.slots.values().all(|taken| taken != slot));
        match self.slots.get(&ifindex) {
            Some(slot) => Some(*slot),
            None => next.inspect(|next| {
                self.slots.insert(ifindex, *next);
                self.fresh.push((*next, ifindex));
            }),
        }
    }

    /// Those taken since this was last asked: slot, interface.
    pub(super) fn take_fresh(&mut self) -> Vec<(u16, u32)> {
        std::mem::take(&mut self.fresh)
    }

    pub(super) fn forget(&mut self, ifindex: u32) {
        self.slots.remove(&ifindex);
    }

    /// Those that are in the map already.
    pub(super) fn inherit(&mut self, ports: impl IntoIterator<Item = (u16, u32)>) {
        self.slots.extend(ports.into_iter().map(|(slot, ifindex)| (ifindex, slot)));
    }

    /// All: slot, interface.
    pub(super) fn all(&self) -> impl Iterator<Item = (u16, u32)> {
        self.slots.iter().map(|(ifindex, slot)| (*slot, *ifindex))
    }
}
