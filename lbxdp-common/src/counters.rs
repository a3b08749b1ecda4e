//! What is counted for a server: a row for each CPU, so that nobody waits for anybody. And where the counters that are
//! shown begin, which only the daemon knows and must outlive it.

use crate::cells::Cells;
use crate::server::ServerId;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Totals of one server on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ServerCounters {
    /// Packets that belonged to its connections, forwarded or not.
    pub packets: u64,
    /// Their bytes, from the IP header on.
    pub bytes: u64,
    /// Connections scheduled to it.
    pub connections: u64,
    /// Packets that came back from it through the director (VS/NAT).
    pub reply_packets: u64,
    /// Their bytes, likewise.
    pub reply_bytes: u64,
}

impl ServerCounters {
    /// The sum, wrapping around.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
            connections: self.connections.wrapping_add(other.connections),
            reply_packets: self.reply_packets.wrapping_add(other.reply_packets),
            reply_bytes: self.reply_bytes.wrapping_add(other.reply_bytes),
        }
    }

    /// The difference, wrapping around.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_sub(other.packets),
            bytes: self.bytes.wrapping_sub(other.bytes),
            connections: self.connections.wrapping_sub(other.connections),
            reply_packets: self.reply_packets.wrapping_sub(other.reply_packets),
            reply_bytes: self.reply_bytes.wrapping_sub(other.reply_bytes),
        }
    }
}

/// Cells of a row of bases.
pub const BASE_CELLS: usize = 16;
/// Cells of one of its two copies.
const COPY_CELLS: usize = 7;

/// A row of bases. A server shows what was counted for it, less its base; a service shows its base, and what was counted
/// for those of its servers that the base does not hold already.
///
/// A row is written in one step, though it has many cells: it has two copies, and cell 0 says which one counts. So a
/// daemon that is killed in between has written the row or has not. Cell 0 also names, of a service, the deleted server
/// whose counters the base has taken in last; so none is ever counted twice, or not at all.
///
/// ```text
/// cell 0       which copy (1 bit), zero (31), ServerId that was taken in (32)
/// cells 1-7    copy 0: packets, bytes, connections, packets and bytes of replies, two cells zero
/// cells 8-14   copy 1
/// ```
#[derive(Clone, Copy)]
pub struct Base<C>(pub C);

impl<C: Cells> Base<C> {
    /// The base.
    pub fn counters(self) -> ServerCounters {
        let at = Self::copy(self.0.load(0));
        ServerCounters {
            packets: self.0.load(at),
            bytes: self.0.load(at + 1),
            connections: self.0.load(at + 2),
            reply_packets: self.0.load(at + 3),
            reply_bytes: self.0.load(at + 4),
        }
    }

    /// The deleted server that was taken in last.
    pub fn taken_in(self) -> ServerId {
        ServerId((self.0.load(0) >> 32) as u32)
    }

    /// Sets both in one step.
    pub fn set(self, counters: ServerCounters, taken_in: ServerId) {
        let other = self.0.load(0) & 1 ^ 1;
        let at = Self::copy(other);
        self.0.store(at, counters.packets);
        self.0.store(at + 1, counters.bytes);
        self.0.store(at + 2, counters.connections);
        self.0.store(at + 3, counters.reply_packets);
        self.0.store(at + 4, counters.reply_bytes);
        self.0.store(0, u64::from(taken_in.0) << 32 | other);
    }

    const fn copy(head: u64) -> usize {
        if head & 1 == 0 { 1 } else { 1 + COPY_CELLS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use core::sync::atomic::AtomicU64;

    fn counted(packets: u64) -> ServerCounters {
        ServerCounters {
            packets,
            bytes: packets * 100,
            connections: packets + 1,
            reply_packets: packets + 2,
            reply_bytes: packets * 50,
        }
    }

    /// A row whose writer is killed after so many writes.
    #[derive(Clone, Copy)]
    struct Mortal<'a>(&'a [AtomicU64], &'a Cell<u32>);

    impl Cells for Mortal<'_> {
        fn load(self, cell: usize) -> u64 {
            self.0.load(cell)
        }

        fn store(self, cell: usize, value: u64) {
            if let Some(left) = self.1.get().checked_sub(1) {
                self.1.set(left);
                self.0.store(cell, value);
            }
        }

        fn replace(self, cell: usize, old: u64, new: u64) -> bool {
            self.0.replace(cell, old, new)
        }

        fn swap(self, cell: usize, value: u64) -> u64 {
            self.0.swap(cell, value)
        }

        fn add(self, cell: usize, value: u64) {
            self.0.add(cell, value);
        }
    }

    #[test]
    fn a_base_is_the_old_or_the_new_one_wherever_its_writer_is_killed() {
        for writes in 0..7 {
            let cells = [const { AtomicU64::new(0) }; BASE_CELLS];
            let base = Base(&cells[..]);
            base.set(counted(3), ServerId(1));
            base.set(counted(7), ServerId(2));
            Base(Mortal(&cells[..], &Cell::new(writes))).set(counted(9), ServerId(3));
            let wanted = if writes < 6 { (counted(7), ServerId(2)) } else { (counted(9), ServerId(3)) };
            assert_eq!((base.counters(), base.taken_in()), wanted, "after {writes} writes");
        }
    }

    #[test]
    fn counters_wrap_around() {
        let (small, great) = (counted(1), counted(5));
        assert_eq!(small.minus(great).plus(great), small);
    }
}
