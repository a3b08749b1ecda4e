//! Shared memory as 64-bit cells: the one way the packet path and the daemon touch what both see.
//!
//! Every record that changes while packets flow is a row of cells, and whatever must never be seen half changed lies
//! in one cell. In the kernel a row is a map value, in the daemon the same memory mapped, in tests a slice.

/// A row of 64-bit cells that others read and write at the same time.
///
/// Orders, as far as the algorithms rely on them: a load acquires, a store releases, an exchange is sequentially
/// consistent with every other exchange. x86-64 gives the first two to plain loads and stores.
pub trait Cells: Copy {
    /// The cell's value.
    fn load(self, cell: usize) -> u64;
    /// Sets the cell.
    fn store(self, cell: usize, value: u64);
    /// Sets the cell to `new` if it is `old`; says whether it did.
    fn replace(self, cell: usize, old: u64, new: u64) -> bool;
    /// Sets the cell and returns what was there; a full barrier.
    fn swap(self, cell: usize, value: u64) -> u64;
    /// Adds to the cell, wrapping around.
    fn add(self, cell: usize, value: u64);
}

#[cfg(not(target_arch = "bpf"))]
mod host {
    use core::sync::atomic::{AtomicU64, Ordering};

    use super::Cells;

    /// Memory of this process, or mapped into it. A cell outside the row reads 0 and swallows writes.
    impl Cells for &[AtomicU64] {
        fn load(self, cell: usize) -> u64 {
            self.get(cell).map_or(0, |atomic| atomic.load(Ordering::Acquire))
        }

        fn store(self, cell: usize, value: u64) {
            if let Some(atomic) = self.get(cell) {
                atomic.store(value, Ordering::Release);
            }
        }

        fn replace(self, cell: usize, old: u64, new: u64) -> bool {
            self.get(cell).is_some_and(|atomic| {
                atomic.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            })
        }

        fn swap(self, cell: usize, value: u64) -> u64 {
            self.get(cell).map_or(0, |atomic| atomic.swap(value, Ordering::SeqCst))
        }

        fn add(self, cell: usize, value: u64) {
            if let Some(atomic) = self.get(cell) {
                atomic.fetch_add(value, Ordering::SeqCst);
            }
        }
    }
}
