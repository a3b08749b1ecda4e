//! The processor that a thread is measured on, and how much of its time the thread had.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// The processors that this process may run on.
pub(crate) fn all() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("asking for the processors")?;
    Ok((0..CpuSet::count()).filter(|number| allowed.is_set(*number).unwrap_or(false)).collect())
}

/// Keeps this thread on one processor.
pub(crate) fn stay_on(number: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(number)?;
    sched_setaffinity(Pid::from_raw(0), &only).with_context(|| format!("staying on processor {number}"))
}

/// How long this thread has been running on a processor. Whatever else the machine does costs it caches, but no time.
pub(crate) fn time() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("reading the thread's clock")?;
    Ok(time.into())
}

/// What the processor's kernel thread for received packets has had of it: work that the source's thread has left to it.
pub(crate) fn softirq_time(processor: usize) -> Result<Duration> {
    let wanted = format!("ksoftirqd/{processor}");
    for process in fs::read_dir("/proc").context("reading /proc")?.flatten() {
        let path = process.path();
        if fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == wanted) {
            let times = fs::read_to_string(path.join("schedstat"))?;
            let on_processor = times.split_whitespace().next().context("an empty schedstat")?;
            return Ok(Duration::from_nanos(on_processor.parse()?));
        }
    }
    bail!("there is no {wanted}")
}
