//! What the keeper's thread tells of its work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::snapshot::Sweep;

/// How far a table's sweep has come; written by the thread alone.
#[derive(Debug, Default)]
pub(super) struct Progress {
    half_open: AtomicU64,
    passes: AtomicU64,
    busy_ns: AtomicU64,
}

impl Progress {
    /// All of the table has been looked through, and so many connections were half open.
    pub(super) fn has_passed(&self, half_open: u64) {
        self.half_open.store(half_open, Ordering::Relaxed);
        self.passes.fetch_add(1, Ordering::Relaxed);
    }

    /// A look at a part of the table took so long.
    pub(super) fn has_looked(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.busy_ns.fetch_add(took, Ordering::Relaxed);
    }

    /// How many connections were half open in the last pass.
    pub(super) fn half_open(&self) -> u64 {
        self.half_open.load(Ordering::Relaxed)
    }

    pub(super) fn sweep(&self) -> Sweep {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Sweep { passes: read(&self.passes), busy_ns: read(&self.busy_ns) }
    }
}
