//! The thread that reads the ring of records.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::completed::Completion;
use super::seat::{Seats, since_1970};
use crate::tables::WatchedRing;

/// Records that are handed out together, if there are so many.
const TOGETHER: usize = 64;

/// The thread; it ends when this is dropped.
pub(super) struct Reader {
    /// The thread ends when this is closed.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts it.
    pub(super) fn start(mut ring: WatchedRing, mut completion: Completion, seats: Seats) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let thread = std::thread::Builder::new().name("watched".into()).spawn(move || {
            if let Err(error) = read(&mut ring, &mut completion, &seats, &stopped) {
                tracing::error!(%error, "nothing more is seen of what is watched");
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that has ended has said why.
            let _ = thread.join();
        }
    }
}

fn read(
    ring: &mut WatchedRing,
    completion: &mut Completion,
    seats: &Seats,
    stopped: &UnixStream,
) -> io::Result<()> {
    loop {
        let (records, end) = (ring.as_fd(), stopped.as_fd());
        let mut awaited = [records, end].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut awaited, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [_, end] = awaited;
        if end.any() == Some(true) {
            return Ok(());
        }
        let mut sightings = Vec::new();
        while let Some(watched) = ring.take() {
            sightings.push(completion.complete(&watched, |slot| ring.port(slot)));
            if sightings.len() == TOGETHER {
                seats.hand_out(&sightings, since_1970());
                sightings.clear();
            }
        }
        seats.hand_out(&sightings, since_1970());
    }
}
