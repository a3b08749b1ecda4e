//! A way that live frames can go: out at the far end, through a director or not, into a sink.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::Ebpf;
use lbxdp_tests::{Namespace, wait};
use nix::net::if_::if_nametoindex;

use crate::driver::{Arrived, Object, Source, arrived};
use crate::packet::Packets;
use crate::processor;

/// How long frames may be on their way. A second has a thousand million instructions.
const DEADLINE: Duration = Duration::from_secs(2);

/// The guest's only processor.
const PROCESSOR: usize = 0;

/// One way for one kind of packets.
pub(super) struct Lane<'a> {
    source: Source,
    far: &'a Namespace,
    sink: &'a Ebpf,
}

/// What a run of frames took, and what has arrived of it.
pub(super) struct Passage {
    /// A packet.
    pub(super) instructions: f64,
    pub(super) arrived: Arrived,
}

impl<'a> Lane<'a> {
    /// `interface` is the far end's, `sink` the object of the one that they end in.
    pub(super) fn new(
        object: &Object,
        packets: &Packets,
        far: &'a Namespace,
        interface: &str,
        sink: &'a Ebpf,
    ) -> Result<Self> {
        let ifindex = far.inside(|| if_nametoindex(interface))??;
        Ok(Self { source: Source::new(object, packets, ifindex)?.with_headroom(), far, sink })
    }

    /// Sends so many frames, and waits until all are there.
    pub(super) fn run(&mut self, frames: u32) -> Result<Passage> {
        let (source, sink) = (&mut self.source, self.sink);
        let before = arrived(sink)?;
        let took = self.far.inside(|| -> Result<Duration> {
            processor::stay_on(PROCESSOR)?;
            let (own, kernel) = (processor::time()?, processor::softirq_time(PROCESSOR)?);
            source.run(frames)?;
            // The last of them may be left to the kernel's thread for received packets.
            let are_there = || arrived(sink).is_ok_and(|now| now.frames - before.frames >= u64::from(frames));
            let waited = wait::until("all frames arrive", DEADLINE, are_there);
            let took = processor::time()?.saturating_sub(own)
                + processor::softirq_time(PROCESSOR)?.saturating_sub(kernel);
            waited.with_context(|| format!("of {frames} frames"))?;
            Ok(took)
        })??;
        let after = arrived(sink)?;
        let arrived = Arrived { frames: after.frames - before.frames, bytes: after.bytes - before.bytes };
        ensure!(arrived.frames == u64::from(frames), "of {frames} frames {} arrived", arrived.frames);
        Ok(Passage { instructions: took.as_secs_f64() * 1e9 / f64::from(frames), arrived })
    }
}
