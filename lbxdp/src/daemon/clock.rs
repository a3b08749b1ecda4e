//! The packet path's clock, seen from here.
//!
//! The kernel's tick counter moves with the monotonic clock, one step each 1/HZ of a second. HZ is a build option of the
//! kernel that nothing tells, so both are measured once: two edges of the counter, a while apart.

use std::time::{Duration, Instant};

use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp};
use lbxdp_common::Ticks;

/// Time between the two edges: at 1000 Hz one tick in 100, so HZ is right to the unit.
const MEASURED: Duration = Duration::from_millis(100);

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
    pub(super) fn measure(program: &Xdp) -> Result<Self, ProgramError> {
        let (first, first_ticks) = edge(program)?;
        std::thread::sleep(MEASURED);
        let (last, last_ticks) = edge(program)?;
        let ticks = f64::from(last_ticks.since(first_ticks));
        let hertz = (ticks / last.duration_since(first).as_secs_f64()).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast from f64 saturates"
        )]
        let hertz = (hertz as u32).max(1);
        Ok(Self { edge: last, ticks: last_ticks, hertz })
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
        // Half the counter's range is the longest time it can tell; 31 days at 1000 Hz are more.
        seconds.saturating_mul(self.hertz).min(i32::MAX as u32)
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
