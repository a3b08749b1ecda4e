//! The packet path's clock, seen from here.
//!
//! The kernel's tick counter moves with the monotonic clock, one step each 1/HZ of a second. HZ is a build option of the
//! kernel; the resolution of the coarse clocks, which move with the ticks, tells it exactly (`clock_getres(2)`).

use std::time::Instant;

use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp};
use lbxdp_common::Ticks;
use nix::time::{ClockId, clock_getres};

/// Why the clock could not be set.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    #[error("the kernel does not tell how long a tick is")]
    Resolution(#[source] nix::Error),
    #[error("the program that tells the time does not run")]
    Program(#[from] ProgramError),
}

/// How ticks and seconds belong together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// An edge of the counter …
    edge: Instant,
    /// … and what it stood at then.
    ticks: Ticks,
    hertz: u32,
}

impl Clock {
    /// Sets the clock by a program that returns the tick counter.
    pub(super) fn set(program: &Xdp) -> Result<Self, ClockError> {
        let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map_err(ClockError::Resolution)?;
        let tick_ns = u64::try_from(tick.tv_nsec()).unwrap_or(0).max(1);
        let hertz = u32::try_from((1_000_000_000 + tick_ns / 2) / tick_ns).unwrap_or(u32::MAX).max(1);
        let (edge, ticks) = edge(program)?;
        Ok(Self { edge, ticks, hertz })
    }

    /// A clock of a test's own.
    #[cfg(test)]
    pub(super) fn at_hertz(hertz: u32) -> Self {
        Self { edge: Instant::now(), ticks: Ticks(0), hertz }
    }

    /// The time.
    pub(super) fn now(&self) -> Ticks {
        let ticks = self.edge.elapsed().as_nanos() * u128::from(self.hertz) / 1_000_000_000;
        #[expect(clippy::cast_possible_truncation, reason = "ticks wrap around")]
        let ticks = ticks as u32;
        self.ticks + ticks
    }

    /// Ticks in a second.
    pub(super) fn hertz(&self) -> u32 {
        self.hertz
    }

    /// Seconds in ticks.
    pub(super) fn ticks_of(&self, seconds: u32) -> u32 {
        seconds.saturating_mul(self.hertz).min(self.longest())
    }

    /// The longest time in ticks that the counter can tell.
    pub(super) fn longest(&self) -> u32 {
        // Half its range; 31 days at 1000 Hz are more. A minute less, for two clocks never stand at quite the same.
        i32::MAX as u32 - self.hertz.saturating_mul(60).min(i32::MAX as u32)
    }
}

/// The moment the counter moves, and its new value.
fn edge(program: &Xdp) -> Result<(Instant, Ticks), ProgramError> {
    let before = read(program)?;
    loop {
        let ticks = read(program)?;
        if ticks != before {
            return Ok((Instant::now(), ticks));
        }
    }
}

fn read(program: &Xdp) -> Result<Ticks, ProgramError> {
    // The kernel runs it on a packet; this is the smallest.
    let options = TestRunOptions { data_in: Some(&[0; 14]), ..TestRunOptions::new() };
    program.test_run(options).map(|result| Ticks(result.return_value))
}
