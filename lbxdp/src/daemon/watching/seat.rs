//! A watcher's seat: what the task of its socket has, and what the reader of the ring knows of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lbxdp_common::watch::WATCHERS;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, oneshot};

use crate::watch::{MOST_SIGHTINGS, NotShown, Sighting, WatchRequest};

/// Batches that wait for a watcher's socket; what comes then is lost.
const BATCHES: usize = 64;

/// What a watcher wants of the loop.
pub(in crate::daemon) enum Call {
    Begin {
        request: WatchRequest,
        answer: oneshot::Sender<Result<Seat, String>>,
    },
    /// Without somebody to answer: the watcher has gone.
    End {
        slot: usize,
        answer: Option<oneshot::Sender<NotShown>>,
    },
}

/// A watcher's seat. Whoever drops it is not seated any more.
pub(in crate::daemon) struct Seat {
    slot: usize,
    calls: mpsc::UnboundedSender<Call>,
    has_ended: bool,
    /// What is watched.
    pub interfaces: Vec<String>,
    /// What is seen.
    pub sightings: mpsc::Receiver<Vec<Sighting>>,
}

impl Seat {
    /// Leaves the seat; what was not shown.
    pub(in crate::daemon) async fn leave(mut self) -> NotShown {
        let (answer, answered) = oneshot::channel();
        self.has_ended = true;
        // A daemon that is stopping has nothing to say any more.
        let _ = self.calls.send(Call::End { slot: self.slot, answer: Some(answer) });
        answered.await.unwrap_or_default()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.has_ended {
            let _ = self.calls.send(Call::End { slot: self.slot, answer: None });
        }
    }
}

/// All seats, as the reader of the ring sees them.
#[derive(Clone)]
pub(super) struct Seats {
    taken: Arc<Mutex<[Option<Taken>; WATCHERS as usize]>>,
    calls: mpsc::UnboundedSender<Call>,
}

/// A seat that is taken.
struct Taken {
    sightings: mpsc::Sender<Vec<Sighting>>,
    /// Nothing from before is for this watcher (nanoseconds of the monotonic clock).
    since: u64,
    lost: AtomicU64,
}

impl Seats {
    pub(super) fn new(calls: mpsc::UnboundedSender<Call>) -> Self {
        Self { taken: Arc::default(), calls }
    }

    /// Takes a seat.
    pub(super) fn take(&self, slot: usize, interfaces: Vec<String>) -> Seat {
        let (sender, sightings) = mpsc::channel(BATCHES);
        let taken = Taken { sightings: sender, since: monotonic_nanos(), lost: AtomicU64::new(0) };
        self.set(slot, Some(taken));
        Seat { slot, calls: self.calls.clone(), has_ended: false, interfaces, sightings }
    }

    /// Nobody has the seat any more; how many packets its watcher was too slow for.
    pub(super) fn leave(&self, slot: usize) -> u64 {
        self.set(slot, None).map_or(0, |taken| taken.lost.into_inner())
    }

    fn set(&self, slot: usize, taken: Option<Taken>) -> Option<Taken> {
        let mut seats = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        seats.get_mut(slot).and_then(|seat| std::mem::replace(seat, taken))
    }

    /// Gives each watcher what is for it; times are still the monotonic clock's, and are made `shift` later.
    pub(super) fn hand_out(&self, sightings: &[Sighting], shift: u64) {
        let seats = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for (slot, seat) in seats.iter().enumerate() {
            let Some(taken) = seat else { continue };
            let is_meant = |sighting: &&Sighting| {
                sighting.watched.slots & 1 << slot != 0 && sighting.watched.nanos >= taken.since
            };
            let mut own: Vec<Sighting> = sightings.iter().filter(is_meant).copied().collect();
            for sighting in &mut own {
                sighting.watched.nanos = sighting.watched.nanos.wrapping_add(shift);
            }
            for batch in own.chunks(MOST_SIGHTINGS) {
                if taken.sightings.try_send(batch.to_vec()).is_err() {
                    taken.lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
                }
            }
        }
    }
}

/// The clock that the kernel's records have, in nanoseconds.
fn monotonic_nanos() -> u64 {
    nanos(ClockId::CLOCK_MONOTONIC)
}

/// What is to be added to it for nanoseconds since 1970.
pub(super) fn since_1970() -> u64 {
    nanos(ClockId::CLOCK_REALTIME).wrapping_sub(monotonic_nanos())
}

fn nanos(clock: ClockId) -> u64 {
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    // Every Linux has these clocks.
    clock_gettime(clock).map_or(0, |time| part(time.tv_sec()) * 1_000_000_000 + part(time.tv_nsec()))
}

#[cfg(test)]
mod tests {
    use lbxdp_common::watch::Watched;
    use zerocopy::FromZeros;

    use super::*;

    fn sighting(slots: u32, nanos: u64) -> Sighting {
        let watched = Watched { slots, nanos, ..Watched::new_zeroed() };
        Sighting { watched, ..Sighting::new_zeroed() }
    }

    #[test]
    fn each_watcher_gets_what_is_for_it_and_nothing_from_before() {
        let (calls, mut called) = mpsc::unbounded_channel();
        let seats = Seats::new(calls);
        let now = monotonic_nanos();
        let (mut one, mut other) = (seats.take(0, Vec::new()), seats.take(5, Vec::new()));
        let later = monotonic_nanos() + 1;
        seats.hand_out(&[sighting(0b1, later), sighting(0b10_0001, later), sighting(0b1, now - 1)], 7);
        let times = |seat: &mut Seat| -> Vec<u64> {
            seat.sightings.try_recv().unwrap_or_default().iter().map(|seen| seen.watched.nanos).collect()
        };
        assert_eq!(times(&mut one), [later + 7, later + 7]);
        assert_eq!(times(&mut other), [later + 7]);
        assert!(one.sightings.try_recv().is_err());
        drop(other);
        assert!(matches!(called.try_recv(), Ok(Call::End { slot: 5, answer: None })));
    }

    #[test]
    fn a_watcher_that_is_too_slow_loses_what_comes() {
        let (calls, _called) = mpsc::unbounded_channel();
        let seats = Seats::new(calls);
        let seat = seats.take(2, Vec::new());
        let later = monotonic_nanos() + 1;
        for _ in 0..BATCHES + 3 {
            seats.hand_out(&[sighting(0b100, later); 2], 0);
        }
        drop(seat);
        assert_eq!((seats.leave(2), seats.leave(2)), (6, 0));
    }
}
