//! Two processors at once, each with a driver of its own: what one costs the other.

use std::sync::Barrier;
use std::thread;

use anyhow::{Result, anyhow};

use crate::bed::{self, Bed, Size, at_port};
use crate::driver::{Driver, Object, Target};
use crate::figure::{Figure, Spread, Unit};
use crate::meter::{Effort, Meter};
use crate::packet::{Direction, Family, Flows, Kind, Packets};
use crate::processor;

/// Names and exponents of the numbers of flows of each processor.
const FLOWS: [(&str, u32); 2] = [("1k", 10), ("64k", 16)];

/// A processor's drivers: of a program that does nothing, and of the director's.
struct Lane {
    processor: usize,
    empty: Driver,
    ours: Driver,
}

pub(crate) fn measure(
    object: &Object,
    effort: Effort,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Figure>> {
    let name = |flows: &str, how: &str| format!("processors/dr/v4/tcp/established/{flows}/{how}");
    let [first, second, ..] = processor::all()?[..] else {
        // There is nothing to be shown by one.
        return Ok(Vec::new());
    };
    let is_any =
        FLOWS.iter().any(|(flows, _)| ["alone", "both"].iter().any(|how| is_wanted(&name(flows, how))));
    if !is_any {
        return Ok(Vec::new());
    }
    let (service, server) = (bed::vip(Family::V4, 0, 0), bed::server(Family::V4, 0));
    let rules = format!("-A -t {0} -s rr\n-a -t {0} -r {1} -g\n", at_port(service), at_port(server));
    let bed = Bed::make(object, Size { connections: 1 << 20, servers: 1 }, &rules)?;
    let mut figures = Vec::new();
    for (flows, bits) in FLOWS {
        let meter = Meter { object, bed: &bed, effort, processor: first };
        let lane = |processor: usize, block: u32| -> Result<Lane> {
            let packets = Packets {
                kind: Kind::Ack,
                direction: Direction::Request,
                client: bed::client(Family::V4, block),
                service,
                services: 1,
                flows: Flows::Bits(bits),
            };
            meter.open(&packets.with_kind(Kind::Syn), &packets, 1)?;
            bed.network.director.inside(|| {
                let driver = |target| Driver::new(object, target, &packets, bed.ifindex);
                Ok(Lane {
                    processor,
                    empty: driver(Target::Null("null_tx"))?,
                    ours: driver(Target::Loaded(&bed.program))?,
                })
            })?
        };
        let mut lanes = [lane(first, 0)?, lane(second, 1)?];
        let [mut alone, mut both] = [Vec::new(), Vec::new()];
        for round in 0..=effort.rounds {
            let mut singly = Vec::new();
            for lane in &mut lanes {
                singly.extend(together(&bed, effort, [lane])?);
            }
            let jointly = together(&bed, effort, &mut lanes)?;
            if round > 0 {
                alone.push(mean(&singly));
                both.push(mean(&jointly));
            }
        }
        let ratios = alone.iter().zip(&both).map(|(alone, both)| 2.0 * alone / both).collect();
        let gain = Spread::of(ratios);
        let note =
            format!("two do {:.2} times the work of one ({:.2}–{:.2})", gain.median, gain.min, gain.max);
        figures.push(Figure::new(name(flows, "alone"), Unit::Nanoseconds, Spread::of(alone)));
        figures.push(Figure::new(name(flows, "both"), Unit::Nanoseconds, Spread::of(both)).with_note(note));
    }
    Ok(figures)
}

/// Runs lanes at the same time; nanoseconds a packet of each, net of its driver.
fn together<'a>(
    bed: &Bed,
    effort: Effort,
    lanes: impl IntoIterator<Item = &'a mut Lane>,
) -> Result<Vec<f64>> {
    let lanes: Vec<&mut Lane> = lanes.into_iter().collect();
    let start = Barrier::new(lanes.len());
    let run = |lane: &mut Lane| -> Result<f64> {
        bed.network.director.inside(|| {
            processor::stay_on(lane.processor)?;
            start.wait();
            let empty = lane.empty.run(effort.packets)?;
            start.wait();
            let ours = lane.ours.run(effort.packets)?;
            Ok((ours.as_secs_f64() - empty.as_secs_f64()) * 1e9 / f64::from(effort.packets))
        })?
    };
    thread::scope(|scope| {
        let threads: Vec<_> = lanes.into_iter().map(|lane| scope.spawn(|| run(lane))).collect();
        let ends = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a driver's thread panicked"))?);
        ends.collect()
    })
}

fn mean(numbers: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "there are two")]
    let count = numbers.len().max(1) as f64;
    numbers.iter().sum::<f64>() / count
}
