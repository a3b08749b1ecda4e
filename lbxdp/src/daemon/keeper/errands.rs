//! The daemon's errands: buckets that the packet path's own program `tend` is to look after.

use aya::Ebpf;
use aya::programs::{TestRun, TestRunOptions};
use lbxdp_common::tend::{Errand, MAX_ERRANDS};
use lbxdp_common::{Address, Cells};

use crate::daemon::load;
use crate::tables::Mapped;

/// The errand of a bucket, in the table of a width of addresses.
pub(super) fn errand_of<A: Address>(bucket: u32) -> Errand {
    if A::IS_V6 { Errand::of(bucket).in_v6() } else { Errand::of(bucket) }
}

/// Who carries them out.
pub(super) struct Errands {
    list: Mapped,
    ebpf: Ebpf,
    /// How many are listed.
    listed: u32,
    has_failed: bool,
}

impl Errands {
    /// By the program of a loaded object; `list` is where it finds them.
    pub(super) fn new(list: Mapped, ebpf: Ebpf) -> Self {
        Self { list, ebpf, listed: 0, has_failed: false }
    }

    /// Whether the last ones could not be sent.
    pub(super) fn have_failed(&self) -> bool {
        self.has_failed
    }

    /// Lists one to be sent.
    pub(super) fn list(&mut self, errand: Errand) {
        if let Some(row) = self.list.row(self.listed) {
            row.store(0, errand.0);
            self.listed += 1;
        }
        if self.listed == MAX_ERRANDS {
            self.send();
        }
    }

    /// Has the listed buckets tended.
    pub(super) fn send(&mut self) {
        let count = std::mem::take(&mut self.listed);
        if count == 0 {
            return;
        }
        // The kernel wants at least an Ethernet header.
        let mut frame = [0; 14];
        frame[..4].copy_from_slice(&count.to_ne_bytes());
        let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() };
        let done = load::tend(&mut self.ebpf)
            .map_err(|error| load::chain(&error))
            .and_then(|program| program.test_run(options).map_err(|error| load::chain(&error)));
        match done {
            Ok(_) => self.has_failed = false,
            Err(error) if !std::mem::replace(&mut self.has_failed, true) => {
                tracing::error!(error, "cannot clear overdue connections away, nor let the tables grow");
            }
            Err(_) => {}
        }
    }
}
