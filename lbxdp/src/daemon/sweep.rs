//! Taking overdue connections out of the table, in a thread of its own.
//!
//! To traffic an overdue connection is gone already; the sweep gives its place back and takes it off its server's
//! counts. Both are one exchange of the entry's word, so a connection that gets a packet meanwhile survives.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use lbxdp_common::Cells;
use lbxdp_common::connection::{Key, Word};
use lbxdp_common::server::{Load, ServerId};
use lbxdp_common::table::{Buckets, Slot, WAYS, is_overdue};
use lbxdp_common::time::Ticks;

use super::clock::Clock;
use crate::tables::Mapped;

/// Time between two passes.
const PERIOD: Duration = Duration::from_secs(1);

/// The thread; it ends when this is dropped.
pub(super) struct Sweep {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sweep {
    /// Starts sweeping.
    pub(super) fn start(connections: Mapped, loads: Mapped, clock: Clock) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("sweep".into()).spawn(move || {
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                pass(&connections, &loads, clock.now());
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panicking sweep has said so already.
            let _ = thread.join();
        }
    }
}

/// Every entry of the table once; returns how many connections have gone.
pub(super) fn pass(connections: &Mapped, loads: &Mapped, now: Ticks) -> usize {
    let mut gone = 0;
    for index in 0..connections.rows() {
        let Some(bucket) = connections.bucket(index) else {
            continue;
        };
        for way in 0..WAYS {
            let slot = Slot::new(bucket, way);
            if let Some((key, word)) = slot.read()
                && is_overdue(word, now)
                && slot.retire(word)
            {
                uncount(loads, key, word);
                gone += 1;
            }
        }
    }
    gone
}

fn uncount(loads: &Mapped, key: Key, word: Word) {
    if let (Some(row), Some(protocol)) = (loads.row(word.server().row()), key.protocol()) {
        row.add(0, Load::lost(word.state().is_active(protocol)));
    }
}

/// How many connections a server has.
pub(super) fn load_of(loads: &Mapped, server: ServerId) -> Load {
    loads.row(server.row()).map_or(Load(0), |row| Load(row.load(0)))
}
