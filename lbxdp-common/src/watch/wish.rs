//! What a watcher wants to see: a row that the daemon writes. The packet path writes its last cell alone.
//!
//! The daemon writes it twice, first as nobody's: then only one cell changes when it becomes somebody's.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::seen::What;
use super::{Outcomes, Seen};
use crate::cells::Cells;
use crate::time::Ticks;

/// Cells of the row.
pub const WISH_CELLS: usize = 16;

/// Where in the row its parts stand.
const OUTCOMES: usize = 0;
const THRESHOLD: usize = 1;
const WHAT: usize = 2;
const WHAT_MASK: usize = 3;
const CLIENT: usize = 4;
const CLIENT_MASK: usize = 6;
const SERVICE: usize = 8;
const SERVICE_MASK: usize = 10;
const BUDGET: usize = 12;
const SPENT: usize = 15;

/// How often the budget is tried again after another CPU has taken of it.
const MAX_ATTEMPTS: u32 = 4;

/// A wish, as the daemon makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Wish {
    /// [`Outcomes`] that are shown; none: nobody has this slot.
    pub outcomes: u64,
    /// A packet is shown if a number by chance is at most this.
    pub threshold: u64,
    /// What it must be.
    pub what: What,
    /// Its bits that count.
    pub what_mask: What,
    /// The client's net, as cells: source or destination. A mask of zeros: any.
    pub client: [u64; 2],
    /// Its bits that count.
    pub client_mask: [u64; 2],
    /// The service's address: the destination. A mask of zeros: any.
    pub service: [u64; 2],
    /// Its bits that count.
    pub service_mask: [u64; 2],
    /// At most so many packets, in a time of so many ticks.
    pub budget: Budget,
    /// Always zero.
    pub pad: [u64; 2],
    /// What has been used of the budget: when its time began (lower half), and how many packets.
    pub spent: u64,
}

/// So many packets at most in so many ticks, neither of them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Budget {
    /// Packets.
    pub packets: u32,
    /// Ticks.
    pub ticks: u32,
}

impl Wish {
    /// The row as cells.
    pub const fn cells(self) -> [u64; WISH_CELLS] {
        zerocopy::transmute!(self)
    }

    /// The same, but nobody's: what a slot is before this wish is put there, and after it.
    #[must_use]
    pub const fn nobodys(self) -> Self {
        Self { outcomes: 0, ..self }
    }

    /// The threshold for one of so many packets; 0 counts as 1.
    pub const fn one_of(packets: u32) -> u32 {
        match u32::MAX.checked_div(packets) {
            Some(threshold) => threshold,
            None => u32::MAX,
        }
    }
}

/// The row of a wish.
#[derive(Clone, Copy)]
pub struct WishRow<C>(pub C);

impl<C: Cells> WishRow<C> {
    /// The outcomes that are wanted; none: nobody has this slot.
    #[inline(always)]
    pub fn outcomes(self) -> Outcomes {
        Outcomes(self.0.load(OUTCOMES))
    }

    /// See [`Wish::threshold`].
    #[inline(always)]
    pub fn threshold(self) -> u32 {
        self.0.load(THRESHOLD) as u32
    }

    /// Whether a packet that came in by an interface is what the wish is about. Nearly without branches, each of which the
    /// verifier would have to follow.
    #[inline(always)]
    pub fn fits(self, seen: &Seen, ifindex: u32) -> bool {
        let what: u64 = zerocopy::transmute!(seen.what(ifindex));
        let differs = (what ^ self.0.load(WHAT)) & self.0.load(WHAT_MASK);
        let differs = differs | self.outside(SERVICE, SERVICE_MASK, seen.destination);
        let from_client = self.outside(CLIENT, CLIENT_MASK, seen.source);
        let to_client = self.outside(CLIENT, CLIENT_MASK, seen.destination);
        self.outcomes().0 != 0 && differs == 0 && (from_client == 0 || to_client == 0)
    }

    /// 0 if an address is in a net.
    #[inline(always)]
    fn outside(self, net: usize, mask: usize, [first, second]: [u64; 2]) -> u64 {
        (first ^ self.0.load(net)) & self.0.load(mask)
            | (second ^ self.0.load(net + 1)) & self.0.load(mask + 1)
    }

    /// Takes a packet from the budget; false if there is none left for now.
    #[inline(always)]
    pub fn admits(self, now: Ticks) -> bool {
        let [packets, ticks] = halves(self.0.load(BUDGET));
        for _ in 0..MAX_ATTEMPTS {
            let spent = self.0.load(SPENT);
            let next = if now.since(Ticks(spent as u32)).cast_unsigned() >= ticks {
                1 << 32 | u64::from(now.0)
            } else if (spent >> 32) < u64::from(packets) {
                spent + (1 << 32)
            } else {
                return false;
            };
            if self.0.replace(SPENT, spent, next) {
                return true;
            }
        }
        false
    }
}

#[inline(always)]
const fn halves(cell: u64) -> [u32; 2] {
    [cell as u32, (cell >> 32) as u32]
}
