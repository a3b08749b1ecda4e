//! A table of cells, mapped into this process: the same memory the packet path works on.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::AtomicU64;

use aya::maps::MapData;

/// A mapped table. It stays mapped until the process ends, so rows can be handed around freely.
#[derive(Clone, Copy)]
pub struct Mapped {
    cells: &'static [AtomicU64],
    width: usize,
}

impl Mapped {
    /// Maps an array of `rows` rows of `width` cells.
    pub(super) fn new(map: &MapData, width: usize, rows: u32) -> io::Result<Self> {
        let count = width * rows as usize;
        // SAFETY: a fresh shared mapping of a file descriptor; the kernel checks descriptor and length.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                count * size_of::<AtomicU64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping has just succeeded, is page-aligned, `count` cells long and never unmapped. The kernel
        // writes to it at the same time, as to atomics.
        let cells = unsafe { std::slice::from_raw_parts(address.cast::<AtomicU64>(), count) };
        Ok(Self { cells, width })
    }

    /// A table of this process alone.
    #[cfg(test)]
    pub(crate) fn of_memory(width: usize, rows: usize) -> Self {
        let cells = std::iter::repeat_with(AtomicU64::default).take(width * rows).collect::<Vec<_>>();
        Self { cells: cells.leak(), width }
    }

    /// How many rows there are.
    pub fn rows(&self) -> u32 {
        u32::try_from(self.cells.len() / self.width).unwrap_or(u32::MAX)
    }

    /// A row.
    pub fn row(&self, index: u32) -> Option<&'static [AtomicU64]> {
        let start = (index as usize).checked_mul(self.width)?;
        self.cells.get(start..start + self.width)
    }
}

/// Returns when every packet that was being handled has been: who reads a row now has read it whole.
///
/// XDP programs run as RCU readers, and `membarrier(MEMBARRIER_CMD_GLOBAL)` waits for all of those (`kernel/sched/membarrier.c`).
pub fn wait_for_packets() {
    const GLOBAL: libc::c_int = 1;
    // SAFETY: a system call that takes numbers and touches no memory.
    if unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) } != 0 {
        // Not on kernels that run with nohz_full. No packet takes anywhere near this long.
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
