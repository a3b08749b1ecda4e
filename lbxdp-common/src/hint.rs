//! Hints: where the row of a service probably is.
//!
//! The kernel's hash map knows it exactly, but takes some 60 ns to say so, a sixth of what a new connection costs. A hint is one
//! cell of a plain array, and only believed if the row it leads to says that it is the service's; else the map is asked. So a
//! hint that is missing, or leads elsewhere because two services share its cell, costs time and nothing else. One that leads to
//! a service that packets are to find no more must be gone before that is done.

use crate::cells::Cells;
use crate::service::{SERVICE_KEY_CELLS, Service, ServiceKey};
use crate::steer::World;

/// How many hints there are; a power of two.
pub const HINTS: u32 = 1 << 15;

/// Odd numbers without a pattern, from the digits of the golden ratio and of `splitmix64`.
const MULTIPLIERS: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// Where the hint of a service stands.
#[inline(always)]
pub const fn place_of(key: ServiceKey) -> u32 {
    let [first, second, last]: [u64; SERVICE_KEY_CELLS] = zerocopy::transmute!(key);
    let mixed = first
        .wrapping_mul(MULTIPLIERS[0])
        .wrapping_add(second.wrapping_mul(MULTIPLIERS[1]))
        .wrapping_add(last.wrapping_mul(MULTIPLIERS[2]));
    ((mixed ^ mixed >> 32).wrapping_mul(MULTIPLIERS[0]) >> (u64::BITS - HINTS.trailing_zeros())) as u32
}

/// A hint's cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint(pub u64);

impl Hint {
    /// None is given.
    pub const NONE: Self = Self(0);

    /// To the row of an index.
    #[inline(always)]
    pub const fn to(index: u32) -> Self {
        Self(index as u64 + 1)
    }

    /// The index.
    #[inline(always)]
    pub const fn index(self) -> Option<u32> {
        if self.0 == 0 { None } else { Some((self.0 - 1) as u32) }
    }
}

/// Index and row of the service that packets with a key ask for.
#[inline(always)]
pub fn find<W: World>(world: &W, key: ServiceKey) -> Option<(u32, Service<W::Shared>)> {
    if let Some(hint) = world.service_hint(place_of(key))
        && let Some(index) = Hint(hint.load(0)).index()
        && let Some(service) = world.service_row(index).map(Service)
        && service.is_of(key)
    {
        world.followed_hint(key, index);
        return Some((index, service));
    }
    let index = world.service(key)?;
    Some((index, Service(world.service_row(index)?)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// How many of some services have a place of their own.
    fn places(keys: impl Iterator<Item = ServiceKey>) -> usize {
        keys.map(place_of).inspect(|place| assert!(*place < HINTS)).collect::<BTreeSet<_>>().len()
    }

    #[test]
    fn services_as_operators_number_them_hardly_share_places() {
        // Thrown at random, 1,000 of them would have 985 places, 8,000 of them 7,100.
        let address = |number: u16| {
            let [high, low] = number.to_be_bytes();
            [10, 1, high, low]
        };
        let port = |number: u16| (1000 + number).to_be_bytes();
        assert!(places((0..1000).map(|n| ServiceKey::address(address(n), 80_u16.to_be_bytes(), 6))) > 970);
        assert!(places((0..1000).map(|n| ServiceKey::address([10, 1, 0, 1], port(n), 6))) > 970);
        assert!(places((0..8000).map(|n| ServiceKey::address(address(n % 500), port(n / 500), 17))) > 6900);
        assert!(places((1..1000).map(ServiceKey::marked)) > 970);
        let address = |number: u16| {
            core::array::from_fn(|at| if at < 14 { 0x20 } else { number.to_be_bytes()[at - 14] })
        };
        assert!(places((0..1000).map(|n| ServiceKey::address_v6(address(n), 80_u16.to_be_bytes(), 6))) > 970);
    }

    #[test]
    fn a_hint_is_to_a_row() {
        assert_eq!(Hint::NONE.index(), None);
        assert_eq!([0, 7, u32::MAX].map(|index| Hint::to(index).index()), [Some(0), Some(7), Some(u32::MAX)]);
    }
}
