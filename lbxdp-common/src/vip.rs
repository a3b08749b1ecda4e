//! Tables of addresses: is a packet's destination a VIP at all, is its source a server reached by VS/NAT? The first is asked
//! for every packet, ours or not.
//!
//! Flat tables of buckets of four addresses, one for each family. IPv4: a slot is one address, 0 if empty; it is written and
//! emptied in one step, so a reader sees each address or not.
//!
//! IPv6: a slot is two cells, the halves of an address inverted. It is empty if the first is 0: that would be an address that
//! begins with 64 ones, which is multicast. Who writes one writes the second cell first; who takes one away clears the first
//! alone. So whoever reads a first cell and then the second has read halves that belong together, but for one case: between
//! the two the slot was emptied and filled again. Therefore a second cell that somebody may still be about to read is only
//! written once all readers are gone; what an address leaves behind in it tells.

use core::net::IpAddr;

use crate::cells::Cells;
use crate::table::Seed;

/// Buckets of a table.
pub const VIP_BUCKETS: u32 = 1 << 16;
/// Addresses in a bucket.
pub const VIP_WAYS: usize = 4;
/// Cells of a bucket of IPv4 addresses.
pub const VIP_CELLS: usize = VIP_WAYS / 2;
/// Cells of a bucket of IPv6 addresses.
pub const VIP_CELLS_V6: usize = VIP_WAYS * 2;

/// The bucket an IPv4 address belongs to.
#[inline(always)]
pub fn bucket(vip: [u8; 4], seed: Seed) -> u32 {
    let hash = (u64::from(u32::from_ne_bytes(vip)) ^ seed.offset).wrapping_mul(seed.multiplier);
    (hash >> 48) as u32
}

/// The bucket an IPv6 address belongs to.
#[inline(always)]
pub fn bucket_v6(vip: [u8; 16], seed: Seed) -> u32 {
    let [first, second]: [u64; 2] = zerocopy::transmute!(vip);
    let hash = (first ^ seed.offset).wrapping_mul(seed.multiplier);
    let hash = (hash ^ hash >> 32 ^ second).wrapping_mul(seed.multiplier);
    (hash >> 48) as u32
}

/// The bucket an address belongs to, in the table of its family.
pub fn bucket_of(address: IpAddr, seed: Seed) -> u32 {
    match address {
        IpAddr::V4(address) => bucket(address.octets(), seed),
        IpAddr::V6(address) => bucket_v6(address.octets(), seed),
    }
}

/// The two addresses in a cell.
pub fn pair(cell: u64) -> [[u8; 4]; 2] {
    zerocopy::transmute!(cell)
}

/// The cell of two addresses.
pub fn cell(pair: [[u8; 4]; 2]) -> u64 {
    zerocopy::transmute!(pair)
}

/// The cells of an IPv6 address.
#[inline(always)]
fn halves(vip: [u8; 16]) -> [u64; 2] {
    let [first, second]: [u64; 2] = zerocopy::transmute!(vip);
    [!first, !second]
}

/// Whether a table can hold the address: not 0.0.0.0, nor what begins with 64 ones. No packet has such a destination.
pub fn can_hold(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_unspecified(),
        IpAddr::V6(address) => halves(address.octets()).first() != Some(&0),
    }
}

/// Whether a bucket holds the address. 0.0.0.0 marks an empty slot and is never found.
#[inline(always)]
pub fn holds<C: Cells>(bucket: C, vip: [u8; 4]) -> bool {
    let wanted = u32::from_ne_bytes(vip);
    let (low, high) = (bucket.load(0), bucket.load(1));
    wanted != 0
        && (low as u32 == wanted
            || (low >> 32) as u32 == wanted
            || high as u32 == wanted
            || (high >> 32) as u32 == wanted)
}

/// Whether a bucket holds the IPv6 address. What begins with 64 ones is never found.
#[inline(always)]
pub fn holds_v6<C: Cells>(bucket: C, vip: [u8; 16]) -> bool {
    let [first, second] = halves(vip);
    first != 0
        && (bucket.load(0) == first && bucket.load(1) == second
            || bucket.load(2) == first && bucket.load(3) == second
            || bucket.load(4) == first && bucket.load(5) == second
            || bucket.load(6) == first && bucket.load(7) == second)
}

/// The address in a slot of a bucket of IPv6 addresses, if there is one.
pub fn address_v6<C: Cells>(bucket: C, way: usize) -> Option<[u8; 16]> {
    let (first, second) = (bucket.load(2 * way), bucket.load(2 * way + 1));
    (first != 0).then(|| zerocopy::transmute!([!first, !second]))
}

/// Puts an address into a bucket; false if the bucket is full.
pub fn put<C: Cells>(bucket: C, vip: [u8; 4]) -> bool {
    holds(bucket, vip) || replace(bucket, [0; 4], vip)
}

/// Takes an address out of a bucket.
pub fn remove<C: Cells>(bucket: C, vip: [u8; 4]) {
    replace(bucket, vip, [0; 4]);
}

/// Puts `new` where `old` stands in a bucket; false if `old` does not stand there.
fn replace<C: Cells>(bucket: C, old: [u8; 4], new: [u8; 4]) -> bool {
    (0..VIP_CELLS).any(|cell| {
        let mut pair = pair(bucket.load(cell));
        let Some(slot) = pair.iter_mut().find(|slot| **slot == old) else {
            return false;
        };
        *slot = new;
        bucket.store(cell, self::cell(pair));
        true
    })
}

/// Puts an IPv6 address into a bucket; false if the bucket is full. `wait_for_readers` returns when nobody reads any more
/// who did when it was called; it is called if the slot was used before, for another second half.
pub fn put_v6<C: Cells>(bucket: C, vip: [u8; 16], wait_for_readers: impl FnOnce()) -> bool {
    let [first, second] = halves(vip);
    if holds_v6(bucket, vip) {
        return true;
    }
    let left = |way: usize| bucket.load(2 * way + 1);
    let is_empty = |way: &usize| bucket.load(2 * way) == 0;
    // One where the second half stands already, else one that nobody may still be reading.
    let effort = |way: &usize| if left(*way) == second { 0 } else { 1 + u8::from(left(*way) != 0) };
    let Some(way) = (0..VIP_WAYS).filter(is_empty).min_by_key(effort) else {
        return false;
    };
    if left(way) != second {
        if left(way) != 0 {
            wait_for_readers();
        }
        bucket.store(2 * way + 1, second);
    }
    bucket.store(2 * way, first);
    true
}

/// Takes an IPv6 address out of a bucket. `wait_for_readers`, as in [`put_v6`], is called if the address would leave nothing
/// behind: one that ends with 64 ones.
pub fn remove_v6<C: Cells>(bucket: C, vip: [u8; 16], wait_for_readers: impl FnOnce()) {
    let [_, second] = halves(vip);
    let mut ways = (0..VIP_WAYS).filter(|way| address_v6(bucket, *way) == Some(vip));
    if let Some(way) = ways.next() {
        bucket.store(2 * way, 0);
        if second == 0 {
            wait_for_readers();
        }
    }
}

#[cfg(test)]
mod tests;
