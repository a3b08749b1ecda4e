//! Real frames through real interfaces: how many a second of CPU time are forwarded, beside a null program.
//!
//! One processor is source, director and sink; what the rest costs is the same for both programs.

use std::time::Duration;

use anyhow::{Result, ensure};
use aya::Ebpf;
use lbxdp_common::drive::V4_BYTES;
use nix::net::if_::if_nametoindex;

use crate::bed::{self, Bed, FAR, NEAR, Size, at_port};
use crate::driver::{Object, Source, arrived};
use crate::figure::{Figure, Spread, Unit};
use crate::meter::{Effort, Meter};
use crate::packet::{Direction, Family, Flows, Kind, Packets};
use crate::processor;

/// The second link, whose director's end has the null program.
const NULL_NEAR: &str = "eth1";
const NULL_FAR: &str = "far1";

/// Names and exponents of the numbers of flows.
const FLOWS: [(&str, u32); 2] = [("1", 0), ("64k", 16)];

/// Frames of a run.
const FRAMES: u32 = 1 << 19;

/// A way that frames can go round: out at the far end, back by the director.
struct Loop<'a> {
    source: Source,
    sink: &'a Ebpf,
}

pub(crate) fn measure(
    object: &Object,
    effort: Effort,
    processor: usize,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Figure>> {
    let name = |flows: &str| format!("live/dr/v4/tcp/{flows}");
    if !FLOWS.iter().any(|(flows, _)| is_wanted(&name(flows))) {
        return Ok(Vec::new());
    }
    let (service, server) = (bed::vip(Family::V4, 0, 0), bed::server(Family::V4, 0));
    let rules = format!("-A -t {0} -s rr\n-a -t {0} -r {1} -g\n", at_port(service), at_port(server));
    let bed = Bed::make(object, Size { connections: 1 << 20, servers: 1 }, &rules)?;
    bed::link(&bed.network.director, NULL_NEAR, &bed.network.far, NULL_FAR)?;
    let mut null = object.load(&["null_rewrite"])?;
    let _null = bed::attach(&mut null, "null_rewrite", &bed.network.director, NULL_NEAR)?;
    let (sink, _sink) = bed::put_sink(object, &bed.network.far, NULL_FAR)?;
    let meter = Meter { object, bed: &bed, effort, processor };
    let ifindex =
        |name: &'static str| -> Result<u32> { Ok(bed.network.far.inside(|| if_nametoindex(name))??) };
    let (ours, beside) = (ifindex(FAR)?, ifindex(NULL_FAR)?);
    let mut figures = Vec::new();
    for (flows, bits) in FLOWS {
        let packets = Packets {
            kind: Kind::Ack,
            direction: Direction::Request,
            client: bed::client(Family::V4, 0),
            service,
            services: 1,
            flows: Flows::Bits(bits),
        };
        meter.open(&packets.with_kind(Kind::Syn), &packets, 1)?;
        let mut ours = Loop { source: Source::new(object, &packets, ours)?, sink: &bed.network.sink };
        let mut beside = Loop { source: Source::new(object, &packets, beside)?, sink: &sink };
        let (mut rates, mut nulls) = (Vec::new(), Vec::new());
        for round in 0..=effort.rounds {
            let [rate, null] = [ours.rate(&bed, processor)?, beside.rate(&bed, processor)?];
            if round > 0 {
                rates.push(rate);
                nulls.push(null);
            }
        }
        let parts = rates.iter().zip(&nulls).map(|(rate, null)| rate / null * 100.0).collect();
        let part = Spread::of(parts);
        let note = format!(
            "{:.0} % of null ({:.0}–{:.0}), frames of {V4_BYTES} bytes, {NEAR} is a veth",
            part.median, part.min, part.max
        );
        let figure = Figure::new(name(flows), Unit::Rate, Spread::of(rates));
        figures.push(figure.with_null(Spread::of(nulls)).with_note(note));
    }
    Ok(figures)
}

impl Loop<'_> {
    /// Millions of frames that have come back, a second of CPU time.
    fn rate(&mut self, bed: &Bed, processor: usize) -> Result<f64> {
        let before = arrived(self.sink)?.frames;
        let source = &mut self.source;
        let took = bed.network.far.inside(|| -> Result<Duration> {
            processor::stay_on(processor)?;
            let (own, kernel) = (processor::time()?, processor::softirq_time(processor)?);
            source.run(FRAMES)?;
            Ok(processor::time()?.saturating_sub(own)
                + processor::softirq_time(processor)?.saturating_sub(kernel))
        })??;
        let came_back = arrived(self.sink)?.frames - before;
        ensure!(came_back * 100 >= u64::from(FRAMES) * 90, "of {FRAMES} frames only {came_back} came back");
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 frames")]
        Ok(came_back as f64 / took.as_secs_f64() / 1e6)
    }
}
