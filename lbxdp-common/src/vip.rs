//! The table of VIPs: is a packet's destination one at all? It is asked for every packet, ours or not.
//!
//! A flat table of buckets of four addresses. A slot is one address, 0 if empty; it is written and emptied in one step, so
//! a reader sees each VIP or not. IPv6 addresses have a table of their own, and are written in two steps: a reader may see
//! half of one, and take another address for a VIP for that moment, of which it then finds no service.
//!
//! The real servers that are reached by VS/NAT stand in such tables too: is a packet's source one of them?

use crate::cells::Cells;
use crate::table::Seed;

/// Buckets of the table.
pub const VIP_BUCKETS: u32 = 1 << 16;
/// VIPs in a bucket.
pub const VIP_WAYS: usize = 4;
/// Cells of a bucket.
pub const VIP_CELLS: usize = VIP_WAYS / 2;

/// The bucket an address belongs to.
#[inline(always)]
pub fn bucket(vip: [u8; 4], seed: Seed) -> u32 {
    let hash = (u64::from(u32::from_ne_bytes(vip)) ^ seed.offset).wrapping_mul(seed.multiplier);
    (hash >> 48) as u32
}

/// Cells of a bucket of IPv6 addresses.
pub const VIP_V6_CELLS: usize = VIP_WAYS * 2;

/// The bucket an IPv6 address belongs to.
#[inline(always)]
pub fn bucket_v6(vip: [u8; 16], seed: Seed) -> u32 {
    let [high, low]: [u64; 2] = zerocopy::transmute!(vip);
    let mut hash = (high ^ seed.offset).wrapping_mul(seed.multiplier);
    hash ^= hash >> 32;
    ((hash ^ low).wrapping_mul(seed.multiplier) >> 48) as u32
}

/// Whether a bucket holds an IPv6 address. `::` marks an empty slot and is never found.
#[inline(always)]
pub fn holds_v6<C: Cells>(bucket: C, vip: [u8; 16]) -> bool {
    let [high, low]: [u64; 2] = zerocopy::transmute!(vip);
    let is_in = |slot: usize| bucket.load(2 * slot) == high && bucket.load(2 * slot + 1) == low;
    high | low != 0 && (is_in(0) || is_in(1) || is_in(2) || is_in(3))
}

/// The two addresses in a cell.
pub fn pair(cell: u64) -> [[u8; 4]; 2] {
    zerocopy::transmute!(cell)
}

/// The cell of two addresses.
pub fn cell(pair: [[u8; 4]; 2]) -> u64 {
    zerocopy::transmute!(pair)
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

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;

    #[test]
    fn each_of_four_addresses_is_found_and_no_other() {
        let vips = [[10, 0, 0, 100], [10, 0, 0, 101], [192, 0, 2, 1], [203, 0, 113, 7]];
        let cells = [cell([vips[0], vips[1]]), cell([vips[2], vips[3]])].map(AtomicU64::new);
        assert!(vips.iter().all(|vip| holds(&cells[..], *vip)));
        assert!(!holds(&cells[..], [10, 0, 0, 102]));
        let wide = [[1u8; 16], [2; 16], [3; 16], [4; 16]];
        let cells: [[u64; 2]; 4] = zerocopy::transmute!(wide);
        let cells: std::vec::Vec<_> = cells.as_flattened().iter().map(|cell| AtomicU64::new(*cell)).collect();
        assert!(wide.iter().all(|vip| holds_v6(&cells[..], *vip)));
        assert!(!holds_v6(&cells[..], [5; 16]) && !holds_v6(&cells[..], [0; 16]));
        let empty = [AtomicU64::new(0), AtomicU64::new(0)];
        assert!(!holds(&empty[..], [0; 4]));
        assert_eq!(pair(cell([vips[1], vips[2]])), [vips[1], vips[2]]);
    }
}
