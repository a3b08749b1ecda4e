//! What the packet path cannot do with a packet by itself, in a thread of its own: fragments that overtook the first one of
//! their datagram are kept until that has come, and packets that are too long for their way are cut into fragments. All are
//! then sent again, through the program of the interface they came in by: they take the very way of packets that come.

mod again;
mod cut;
mod late;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use lbxdp_common::Reason;
use lbxdp_common::held::HeldHeader;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::tables::pins::Instance;
use crate::tables::{Fragments, Ring, TableError};
use again::Again;
use cut::Cutter;
use late::{Late, Latecomer};

/// Milliseconds between two looks at whether first fragments have come, while something waits for one.
const LOOK_EVERY_MS: u8 = 2;

/// The thread; it ends when this is dropped.
pub(super) struct HeldPackets {
    /// The thread ends when this is closed.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    lost: Arc<AtomicU64>,
}

impl HeldPackets {
    /// Starts it.
    pub(super) fn start(instance: &Instance) -> Result<Self, HeldError> {
        let pins = instance.map_pins();
        let lost = Arc::new(AtomicU64::new(0));
        let work = Work {
            fragments: Fragments::open(&pins)?,
            again: Again::new(instance.clone()),
            late: Late::default(),
            cutter: Cutter::default(),
            lost: lost.clone(),
            has_failed: false,
        };
        let ring = Ring::open(&pins)?;
        let (stop, stopped) = UnixStream::pair()?;
        let thread = std::thread::Builder::new().name("held".into()).spawn(move || {
            if let Err(error) = work.run(ring, &stopped) {
                tracing::error!(%error, "fragments that come early are lost from now on, as are packets to be cut");
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), lost })
    }

    /// How many held packets could not be sent again.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for HeldPackets {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that has ended has said why.
            let _ = thread.join();
        }
    }
}

/// Why held packets cannot be sent again.
#[derive(Debug, thiserror::Error)]
pub enum HeldError {
    #[error(transparent)]
    Tables(#[from] TableError),
    #[error("cannot start the thread for held packets")]
    Thread(#[from] io::Error),
}

struct Work {
    fragments: Fragments,
    again: Again,
    late: Late,
    cutter: Cutter,
    lost: Arc<AtomicU64>,
    /// Whether the last packet could not be sent; that has been said.
    has_failed: bool,
}

impl Work {
    fn run(mut self, mut ring: Ring, stopped: &UnixStream) -> io::Result<()> {
        loop {
            let timeout =
                if self.late.is_empty() { PollTimeout::NONE } else { PollTimeout::from(LOOK_EVERY_MS) };
            let (packets, end) = (ring.as_fd(), stopped.as_fd());
            let mut awaited = [packets, end].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut awaited, timeout) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [_, end] = awaited;
            if end.any() == Some(true) {
                return Ok(());
            }
            while let Some((header, frame)) = ring.take() {
                self.take(header, frame);
            }
            self.look();
        }
    }

    /// Takes in a held packet.
    fn take(&mut self, header: HeldHeader, frame: Vec<u8>) {
        let ifindex = header.ifindex;
        if Reason::from_raw(header.reason) == Some(Reason::MustFragment) {
            let Some(fragments) = self.cutter.cut(&frame, header.mtu) else {
                return self.lose(1);
            };
            for fragment in fragments {
                self.send(ifindex, &fragment);
            }
        } else {
            let latecomer = Latecomer::new(ifindex, frame, Instant::now());
            let is_taken = latecomer.is_some_and(|latecomer| self.late.keep(latecomer));
            if !is_taken {
                self.lose(1);
            }
        }
    }

    /// Sends what need not wait any more, and gives up what has waited too long.
    fn look(&mut self) {
        let fragments = &self.fragments;
        let has_begun = |key| {
            fragments.has_begun(key).unwrap_or_else(|error| {
                tracing::debug!(%error, "cannot ask for a datagram");
                false
            })
        };
        let late::Released { ready, old } = self.late.release(Instant::now(), has_begun);
        self.lose(old);
        for latecomer in ready {
            self.send(latecomer.ifindex, &latecomer.frame);
        }
    }

    fn send(&mut self, ifindex: u32, frame: &[u8]) {
        match self.again.send(ifindex, frame) {
            Ok(()) => self.has_failed = false,
            Err(error) => {
                self.lose(1);
                if !std::mem::replace(&mut self.has_failed, true) {
                    let error = super::load::chain(&*error);
                    tracing::error!(ifindex, error, "cannot send a held packet again");
                }
            }
        }
    }

    fn lose(&self, packets: u64) {
        self.lost.fetch_add(packets, Ordering::Relaxed);
    }
}
