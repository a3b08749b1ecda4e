//! Cells in map memory. The target has neither `compare_exchange` nor `fetch_add`; the compiler's intrinsics do.
//!
//! All three need target-cpu v3 (kernel 5.12) and are full barriers.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd, atomic_xchg};

use lbxdp_common::Cells;

const ORDER: AtomicOrdering = AtomicOrdering::SeqCst;

/// A row of a map: a value of at least as many cells as its table's rows have.
#[derive(Clone, Copy)]
pub(crate) struct Row(*mut u64);

impl Row {
    /// # Safety
    /// `cells` points to a map value of as many cells as will be asked for. The verifier checks every access.
    #[inline(always)]
    pub(crate) unsafe fn new(cells: *mut u64) -> Self {
        Self(cells)
    }
}

impl Cells for Row {
    #[inline(always)]
    fn load(self, cell: usize) -> u64 {
        // SAFETY: see `new`. Volatile: others write here, and one load must be one load.
        unsafe { self.0.add(cell).read_volatile() }
    }

    #[inline(always)]
    fn store(self, cell: usize, value: u64) {
        // SAFETY: see `new` and `load`.
        unsafe { self.0.add(cell).write_volatile(value) }
    }

    #[inline(always)]
    fn replace(self, cell: usize, old: u64, new: u64) -> bool {
        // SAFETY: see `new`.
        let (_, replaced) = unsafe { atomic_cxchg::<u64, ORDER, ORDER>(self.0.add(cell), old, new) };
        replaced
    }

    #[inline(always)]
    fn swap(self, cell: usize, value: u64) -> u64 {
        // SAFETY: see `new`.
        unsafe { atomic_xchg::<u64, ORDER>(self.0.add(cell), value) }
    }

    #[inline(always)]
    fn add(self, cell: usize, value: u64) {
        // SAFETY: see `new`.
        unsafe { atomic_xadd::<u64, u64, ORDER>(self.0.add(cell), value) };
    }
}
