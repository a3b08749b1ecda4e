//! Marks: numbers that rules give to packets, so that services can be found by them.
//!
//! IPVS reads netfilter's mark of a packet; XDP runs before netfilter, so there is none. The daemon orders the rules by how
//! special they are, and lays out, for every destination that occurs, a run of all rules that may match there: the first
//! one that matches is the most special one. Only packets without a connection ask for their mark.

use core::ops::ControlFlow;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::Address;
use crate::cells::Cells;
use crate::connection::Key;
use crate::steer::{Ways, World};
use crate::walk::Step;

/// The most rules there can be.
pub const MAX_RULES: u32 = 1 << 10;
/// Rows of the table of rules: a rule stands in the run of every destination inside its own, and old runs wait for
/// their readers.
pub const MARK_ROWS: u32 = 1 << 13;
/// Destinations that have a run.
pub const MAX_DESTINATIONS: u32 = MAX_RULES;

/// The rules of a destination: a run of rows, in one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct MarkRun {
    /// The first row.
    pub start: u32,
    /// How many.
    pub length: u32,
}

/// A rule. Its destination is the run's, or one around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct MarkRow {
    /// Where it comes from, as in a packet; bits outside the mask are 0. An IPv4 address is followed by zeros.
    pub source: [u8; 16],
    /// Which bits of the source count, as in a packet; 0: none.
    pub source_mask: [u8; 16],
    /// The first port and the last, as numbers.
    pub first_port: u16,
    /// See `first_port`.
    pub last_port: u16,
    /// IANA number; 0: any.
    pub protocol: u8,
    /// How many bits of the destination the rule itself names; the packet path does not read it.
    pub destination_bits: u8,
    /// Always zero.
    pub pad: u16,
    /// Index of the interface it comes in by; 0: any.
    pub ifindex: u32,
    /// Never 0.
    pub mark: u32,
}

/// Cells of a [`MarkRow`].
pub const MARK_CELLS: usize = size_of::<MarkRow>() / 8;

impl MarkRow {
    /// The row as cells.
    pub fn cells(self) -> [u64; MARK_CELLS] {
        zerocopy::transmute!(self)
    }

    /// The row of cells.
    #[inline(always)]
    pub fn from_cells(cells: [u64; MARK_CELLS]) -> Self {
        zerocopy::transmute!(cells)
    }

    #[inline(always)]
    fn matches<A: Address>(self, key: Key<A>, ifindex: u32) -> bool {
        let port = u16::from_be_bytes(key.vip_port);
        let [client, mask, source]: [[u64; 2]; 3] =
            zerocopy::transmute!([key.client.wide(), self.source_mask, self.source]);
        client[0] & mask[0] == source[0]
            && client[1] & mask[1] == source[1]
            && (self.protocol == 0 || self.protocol == key.protocol)
            && (self.first_port..=self.last_port).contains(&port)
            && (self.ifindex == 0 || self.ifindex == ifindex)
    }
}

struct Walk<A: Address> {
    key: A::Cells,
    ifindex: u32,
    start: u32,
    mark: u32,
}

impl<A: Address, W: World> Step<W> for Walk<A> {
    #[inline(always)]
    fn step(&mut self, world: &W, index: u32) -> ControlFlow<()> {
        let Some(row) = world.mark_row(self.start.wrapping_add(index)) else {
            return ControlFlow::Break(());
        };
        let rule = MarkRow::from_cells(core::array::from_fn(|cell| row.load(cell)));
        if rule.matches(Key::<A>::from_cells(self.key), self.ifindex) {
            self.mark = rule.mark;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// The mark of a packet; 0: none.
#[inline(always)]
pub fn mark_of<A: Address, W: Ways<A>>(world: &W, key: Key<A>) -> u32 {
    let Some(run) = world.mark_run(key.vip) else {
        return 0;
    };
    let zero = world.zero();
    let (ifindex, start) = (world.ingress_ifindex(), run.start);
    let mut walk = Walk::<A> { key: key.cells(), ifindex, start, mark: zero };
    world.repeat(run.length.min(MAX_RULES), &mut walk);
    walk.mark
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::widened;

    const KEY: Key = Key {
        client: [192, 0, 2, 77],
        vip: [10, 0, 0, 100],
        client_port: 40_000u16.to_be_bytes(),
        vip_port: 8080u16.to_be_bytes(),
        protocol: 6,
        kind: Key::CONNECTION,
        pad: [0; 2],
    };

    #[test]
    fn a_rule_matches_when_all_it_names_does() {
        let all = MarkRow { last_port: u16::MAX, mark: 1, ..MarkRow::default() };
        assert!(all.matches(KEY, 3));
        let exact = MarkRow {
            source: widened([192, 0, 2, 0]),
            source_mask: widened([255, 255, 255, 0]),
            first_port: 8080,
            last_port: 8080,
            protocol: 6,
            ifindex: 3,
            ..all
        };
        assert!(exact.matches(KEY, 3));
        for other in [
            MarkRow { source: widened([192, 0, 3, 0]), ..exact },
            MarkRow { first_port: 8081, last_port: 9000, ..exact },
            MarkRow { first_port: 1, last_port: 8079, ..exact },
            MarkRow { protocol: 17, ..exact },
            MarkRow { ifindex: 4, ..exact },
        ] {
            assert!(!other.matches(KEY, 3), "{other:?}");
        }
        assert_eq!(MarkRow::from_cells(exact.cells()), exact);
    }
}
