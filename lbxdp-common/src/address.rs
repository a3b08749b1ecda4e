//! The two widths of addresses, and what of the tables depends on them.

use core::fmt;

use crate::cells::Cells;
use crate::service::{ServiceKey, narrowed, widened};

/// An IPv4 address, as in a packet.
pub type V4 = [u8; 4];
/// An IPv6 address, as in a packet.
pub type V6 = [u8; 16];

/// An address as it stands in a packet. Everything about connections is written once, for both widths.
pub trait Address: Copy + Eq + fmt::Debug + 'static {
    /// A connection's key as cells: two addresses, and a cell with all the rest.
    type Cells: Copy + Eq + fmt::Debug + AsRef<[u64]> + AsMut<[u64]>;
    /// How many cells that is.
    const KEY_CELLS: usize;
    /// Cells of an entry of the connection table: a power of two.
    const ENTRY_CELLS: usize;
    /// The cell of the settings that holds the shape of their table.
    const SHAPE_CELL: usize;
    /// Whether it is IPv6's.
    const IS_V6: bool;

    /// The cells of a key.
    fn cells(client: Self, vip: Self, rest: u64) -> Self::Cells;
    /// What such cells are made of.
    fn parts(cells: Self::Cells) -> (Self, Self, u64);
    /// The key cells that begin at a cell of a row.
    fn load<C: Cells>(row: C, at: usize) -> Self::Cells;
    /// Whether they are these. One after the other: not all of them need to be read, or kept.
    fn stand<C: Cells>(row: C, at: usize, cells: Self::Cells) -> bool;
    /// Writes them there.
    fn store<C: Cells>(row: C, at: usize, cells: Self::Cells);
    /// The cells of a key with its two addresses exchanged, and another last cell.
    fn turned(cells: Self::Cells, rest: u64) -> Self::Cells;
    /// The cells of a key without the VIP, and another last cell.
    fn without_vip(cells: Self::Cells, rest: u64) -> Self::Cells;
    /// Whether the cells of two keys are the same. One after the other, as [`Address::stand`]: the compiler would lay both down
    /// on the stack, and call a function for it.
    fn are_same(one: Self::Cells, other: Self::Cells) -> bool;
    /// As a number of 32 bits, as Linux's schedulers fold it; most significant byte first.
    fn folded(self) -> u32;
    /// With zeros behind it, if it is the shorter kind.
    fn wide(self) -> [u8; 16];
    /// Of what [`Address::wide`] gives.
    fn of_wide(wide: [u8; 16]) -> Self;
    /// Those of its bits that a service's netmask ([`Persistence`](crate::service::Persistence)) counts.
    #[must_use]
    fn masked(self, netmask: [u8; 4]) -> Self;
    /// The key of a service at this address.
    fn service(self, port: [u8; 2], protocol: u8) -> ServiceKey;
    /// The key of a service for packets with a mark.
    fn marked(mark: u32) -> ServiceKey;
}

impl Address for V4 {
    type Cells = [u64; 2];
    const KEY_CELLS: usize = 2;
    const ENTRY_CELLS: usize = 4;
    const SHAPE_CELL: usize = crate::settings::SHAPE_CELL;
    const IS_V6: bool = false;

    #[inline(always)]
    fn cells(client: Self, vip: Self, rest: u64) -> [u64; 2] {
        [zerocopy::transmute!([client, vip]), rest]
    }

    #[inline(always)]
    fn parts([addresses, rest]: [u64; 2]) -> (Self, Self, u64) {
        let [client, vip]: [Self; 2] = zerocopy::transmute!(addresses);
        (client, vip, rest)
    }

    #[inline(always)]
    fn turned([addresses, _]: [u64; 2], rest: u64) -> [u64; 2] {
        [addresses.rotate_left(32), rest]
    }

    #[inline(always)]
    fn without_vip([addresses, _]: [u64; 2], rest: u64) -> [u64; 2] {
        // The first address in memory: the lower half, or on other machines the upper one.
        [addresses & u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), rest]
    }

    #[inline(always)]
    fn are_same([addresses, rest]: [u64; 2], other: [u64; 2]) -> bool {
        addresses == other[0] && rest == other[1]
    }

    #[inline(always)]
    fn load<C: Cells>(row: C, at: usize) -> [u64; 2] {
        [row.load(at), row.load(at + 1)]
    }

    #[inline(always)]
    fn stand<C: Cells>(row: C, at: usize, [addresses, rest]: [u64; 2]) -> bool {
        row.load(at) == addresses && row.load(at + 1) == rest
    }

    #[inline(always)]
    fn store<C: Cells>(row: C, at: usize, [addresses, rest]: [u64; 2]) {
        row.store(at, addresses);
        row.store(at + 1, rest);
    }

    #[inline(always)]
    fn folded(self) -> u32 {
        u32::from_be_bytes(self)
    }

    #[inline(always)]
    fn wide(self) -> [u8; 16] {
        widened(self)
    }

    #[inline(always)]
    fn of_wide(wide: [u8; 16]) -> Self {
        narrowed(wide)
    }

    #[inline(always)]
    fn masked(self, netmask: [u8; 4]) -> Self {
        (u32::from_ne_bytes(self) & u32::from_ne_bytes(netmask)).to_ne_bytes()
    }

    #[inline(always)]
    fn service(self, port: [u8; 2], protocol: u8) -> ServiceKey {
        ServiceKey::address(self, port, protocol)
    }

    #[inline(always)]
    fn marked(mark: u32) -> ServiceKey {
        ServiceKey::marked(mark)
    }
}

impl Address for V6 {
    type Cells = [u64; 5];
    const KEY_CELLS: usize = 5;
    const ENTRY_CELLS: usize = 8;
    const SHAPE_CELL: usize = crate::settings::SHAPE_V6_CELL;
    const IS_V6: bool = true;

    #[inline(always)]
    fn cells(client: Self, vip: Self, rest: u64) -> [u64; 5] {
        let [[a, b], [c, d]]: [[u64; 2]; 2] = zerocopy::transmute!([client, vip]);
        [a, b, c, d, rest]
    }

    #[inline(always)]
    fn parts([a, b, c, d, rest]: [u64; 5]) -> (Self, Self, u64) {
        let [client, vip]: [Self; 2] = zerocopy::transmute!([[a, b], [c, d]]);
        (client, vip, rest)
    }

    #[inline(always)]
    fn turned([a, b, c, d, _]: [u64; 5], rest: u64) -> [u64; 5] {
        [c, d, a, b, rest]
    }

    #[inline(always)]
    fn without_vip([a, b, _, _, _]: [u64; 5], rest: u64) -> [u64; 5] {
        [a, b, 0, 0, rest]
    }

    #[inline(always)]
    fn are_same([a, b, c, d, rest]: [u64; 5], other: [u64; 5]) -> bool {
        rest == other[4] && b == other[1] && a == other[0] && c == other[2] && d == other[3]
    }

    #[inline(always)]
    fn load<C: Cells>(row: C, at: usize) -> [u64; 5] {
        [row.load(at), row.load(at + 1), row.load(at + 2), row.load(at + 3), row.load(at + 4)]
    }

    #[inline(always)]
    fn stand<C: Cells>(row: C, at: usize, [a, b, c, d, rest]: [u64; 5]) -> bool {
        // The last cells first: of one VIP's connections they differ most.
        row.load(at + 4) == rest
            && row.load(at + 1) == b
            && row.load(at) == a
            && row.load(at + 3) == d
            && row.load(at + 2) == c
    }

    #[inline(always)]
    fn store<C: Cells>(row: C, at: usize, [a, b, c, d, rest]: [u64; 5]) {
        row.store(at, a);
        row.store(at + 1, b);
        row.store(at + 2, c);
        row.store(at + 3, d);
        row.store(at + 4, rest);
    }

    #[inline(always)]
    fn folded(self) -> u32 {
        // Their words, one folded into the other, as `ip_vs_sh_hashkey` and its like have it.
        let [high, low]: [u64; 2] = zerocopy::transmute!(self);
        let folded = high ^ low;
        u32::from_be(folded as u32 ^ (folded >> 32) as u32)
    }

    #[inline(always)]
    fn wide(self) -> [u8; 16] {
        self
    }

    #[inline(always)]
    fn of_wide(wide: [u8; 16]) -> Self {
        wide
    }

    #[inline(always)]
    fn masked(self, netmask: [u8; 4]) -> Self {
        let bits = u32::from_be_bytes(netmask);
        let [high, low]: [u64; 2] = zerocopy::transmute!(self);
        let [high, low] = [
            u64::from_be(high) & first_bits(bits.min(64)),
            u64::from_be(low) & first_bits(bits.saturating_sub(64).min(64)),
        ];
        zerocopy::transmute!([high.to_be(), low.to_be()])
    }

    #[inline(always)]
    fn service(self, port: [u8; 2], protocol: u8) -> ServiceKey {
        ServiceKey::address_v6(self, port, protocol)
    }

    #[inline(always)]
    fn marked(mark: u32) -> ServiceKey {
        ServiceKey::marked_v6(mark)
    }
}

/// So many of the most significant bits, up to 64.
#[inline(always)]
const fn first_bits(bits: u32) -> u64 {
    // In two steps: a shift by 64 is none.
    !(u64::MAX >> (bits / 2) >> (bits - bits / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv6Addr;
    use proptest::prelude::*;

    fn v6(text: &str) -> V6 {
        text.parse::<Ipv6Addr>().expect("an address").octets()
    }

    #[test]
    fn an_address_folds_as_linux_has_it() {
        assert_eq!([10u8, 1, 2, 3].folded(), 0x0a01_0203);
        assert_eq!(v6("2001:db8:0:1::5").folded(), 0x2001_0db8 ^ 1 ^ 5);
    }

    #[test]
    fn a_prefix_keeps_its_first_bits() {
        let address = v6("2001:db8:1234:5678:9abc:def0:1234:5678");
        for (bits, kept) in [
            (1u32, "::"),
            (32, "2001:db8::"),
            (64, "2001:db8:1234:5678::"),
            (68, "2001:db8:1234:5678:9000::"),
            (128, "2001:db8:1234:5678:9abc:def0:1234:5678"),
        ] {
            assert_eq!(address.masked(bits.to_be_bytes()), v6(kept), "/{bits}");
        }
    }

    proptest! {
        #[test]
        fn cells_give_back_what_they_were_made_of(client: V6, vip: V6, rest: u64) {
            prop_assert_eq!(V6::parts(V6::cells(client, vip, rest)), (client, vip, rest));
            let (client, vip) = (narrowed(client), narrowed(vip));
            prop_assert_eq!(V4::parts(V4::cells(client, vip, rest)), (client, vip, rest));
        }
    }
}
