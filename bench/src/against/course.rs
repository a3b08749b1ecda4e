//! How one director is measured: in each round the generator alone, the null program and the director, with proof of all.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::Ebpf;
use aya::programs::links::FdLink;
use lbxdp_tests::wait;

use super::case::Case;
use super::counted::Counted;
use super::lane::Lane;
use crate::bed::{self, FAR, Network};
use crate::driver::{Object, arrived};
use crate::figure::Spread;
use crate::packet::{Flows, Packets, Protocol};

/// The link on which frames are dropped on arrival, and that of the null program: the director's end, the far one.
const DROPPED: (&str, &str) = ("eth1", "far1");
const ASIDE: (&str, &str) = ("eth2", "far2");

/// Frames of a round: of known connections, and of new ones.
const KNOWN: u32 = 4096;
const NEW: u32 = 2048;

/// Counted instructions hardly differ from round to round.
const ROUNDS: usize = 3;

/// So many rounds may fail and be done again.
const SPARE: u32 = 2;

/// Connections that nothing was heard of for so long have their ends put off by the next packet: lbxdp does that eight times a
/// second. No real time passes while the guest waits.
const PAUSE: Duration = Duration::from_millis(300);

/// What the director's own stack says by itself, about its groups of IPv6, it has said after so long, and within so long.
const QUIET: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_mins(1);

/// What a figure is to be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Null {
    /// A program of the bench's object, which transmits.
    Program(&'static str),
    /// The kernel's forwarding of what is none of the director's business.
    Forwarding,
}

/// A director's network with the links beside it. They are gone when this is dropped.
pub(super) struct Course<'a> {
    object: &'a Object,
    network: &'a Network,
    dropping: Ebpf,
    _dropping_link: FdLink,
    sink: Ebpf,
    _sink_link: FdLink,
    _links: [Link<'a>; 2],
}

impl<'a> Course<'a> {
    pub(super) fn new(object: &'a Object, network: &'a Network) -> Result<Self> {
        let links = [Link::make(network, DROPPED)?, Link::make(network, ASIDE)?];
        let (dropping, dropping_link) = bed::put_sink(object, &network.director, DROPPED.0)?;
        let (sink, sink_link) = bed::put_sink(object, &network.far, ASIDE.1)?;
        wait_for_quiet(&network.sink)?;
        Ok(Self {
            object,
            network,
            dropping,
            _dropping_link: dropping_link,
            sink,
            _sink_link: sink_link,
            _links: links,
        })
    }

    /// The instructions of a packet by the director and by what it is compared with, both net of the generator.
    pub(super) fn measure(
        &self,
        case: Case,
        null: Null,
        counted: &dyn Fn() -> Result<Counted>,
    ) -> Result<[Spread; 2]> {
        let Network { director, far, sink, .. } = self.network;
        let through = |packets: &Packets| Lane::new(self.object, packets, far, FAR, sink);
        let packets = case.packets();
        let generator = Lane::new(self.object, &packets, far, DROPPED.1, &self.dropping)?;
        let ours = through(&packets)?;
        let mut attached = None;
        let beside = match null {
            Null::Forwarding => through(&case.strangers())?,
            Null::Program(name) => {
                let mut program = self.object.load(&[name])?;
                let link = bed::attach(&mut program, name, director, ASIDE.0)?;
                attached = Some((program, link));
                Lane::new(self.object, &packets, far, ASIDE.1, &self.sink)?
            }
        };
        let confirming = through(&case.requests())?;
        let known = match case.requests().flows {
            Flows::Bits(bits) => 1 << bits,
            Flows::New => 0,
        };
        if known > 0 {
            for packets in &case.opened_by() {
                through(packets)?.run(known).context("opening connections")?;
            }
        }
        let frames = if case.is_new { NEW } else { KNOWN };
        let mut lanes = Lanes { case, known, frames, generator, beside, ours, confirming };
        let (mut own, mut nulls) = (Vec::new(), Vec::new());
        let mut failed = 0;
        while own.len() <= ROUNDS {
            match lanes.round(counted) {
                Ok([ours, null]) => {
                    own.push(ours);
                    nulls.push(null);
                }
                // A queue between may overflow when the kernel leaves packets to its thread: that is nobody's work.
                Err(_) if failed < SPARE => failed += 1,
                Err(error) => return Err(error),
            }
        }
        drop(attached);
        // The first round has filled the kernel's caches, and is not counted.
        Ok([own, nulls].map(|mut rounds| Spread::of(rounds.split_off(1))))
    }
}

/// All ways that the frames of a case go.
struct Lanes<'a> {
    case: Case,
    /// Connections that are known.
    known: u32,
    /// Frames of a round.
    frames: u32,
    generator: Lane<'a>,
    beside: Lane<'a>,
    ours: Lane<'a>,
    confirming: Lane<'a>,
}

impl Lanes<'_> {
    /// The instructions of a packet by the director and by what it is compared with. An error if anything is not proven.
    fn round(&mut self, counted: &dyn Fn() -> Result<Counted>) -> Result<[f64; 2]> {
        let Self { case, known, frames, generator, beside, ours, confirming } = self;
        let (case, known, frames) = (*case, *known, *frames);
        let base = generator.run(frames).context("the generator alone")?.instructions;
        let null = beside.run(frames).context("what it is compared with")?.instructions;
        let before = counted()?;
        // One packet of each after a pause, so that no end has to be put off in the midst of what is measured.
        if known > 0 {
            thread::sleep(PAUSE);
            ours.run(known).context("through the director")?;
        }
        let passage = ours.run(frames).context("through the director");
        let counts = counted()?.since(before);
        // What has only been begun is in the way of what begins, in any director.
        if case.is_new && case.protocol == Protocol::Tcp {
            confirming.run(frames).context("confirming connections")?;
        }
        let passage = passage?;
        let (arrivals, expected) = (case.arrivals(frames), case.counts(known + frames));
        ensure!(passage.arrived == arrivals, "{arrivals:?} is to arrive, not {:?}", passage.arrived);
        ensure!(counts == expected, "the director is to count {expected:?}, not {counts:?}");
        Ok([passage.instructions - base, null - base])
    }
}

/// A link between the director and the far end.
struct Link<'a> {
    network: &'a Network,
    near: &'static str,
}

impl<'a> Link<'a> {
    fn make(network: &'a Network, (near, other): (&'static str, &'static str)) -> Result<Self> {
        bed::link(&network.director, near, &network.far, other)?;
        for (host, interface) in [(&network.director, near), (&network.far, other)] {
            // No stack is to say anything by itself on these. Frames of IPv6 are for XDP programs only.
            host.set(&format!("ipv6/conf/{interface}/disable_ipv6"), "1")?;
        }
        Ok(Self { network, near })
    }
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.network.director.ip(&format!("link del {}", self.near)) {
            eprintln!("{error:#}");
        }
    }
}

/// Waits until nothing has arrived for a while: whatever is not sent by the bench would be counted too.
fn wait_for_quiet(sink: &Ebpf) -> Result<()> {
    let (mut seen, mut since) = (arrived(sink)?, Instant::now());
    wait::until("nothing is sent that is not the bench's", DEADLINE, || {
        if let Some(now) = arrived(sink).ok().filter(|now| *now != seen) {
            (seen, since) = (now, Instant::now());
        }
        since.elapsed() > QUIET
    })
}
