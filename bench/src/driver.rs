//! The driver: a program in the kernel that makes a frame new and hands it to the program under test.

use std::env;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use aya::maps::{Array, PerCpuArray, ProgramArray};
use aya::programs::{ProgramFd, TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use lbxdp_common::drive::ORDERS_WORDS;

use crate::packet::{Direction, Family, Packets};
use crate::processor;

/// The variable that names the object with the drivers and null programs: `cargo xtask bench` sets it.
pub(crate) const OBJECT_VARIABLE: &str = "LBXDP_BENCH_OBJECT";

/// How much longer than it was a frame may be left by a program.
const MOST_GROWTH: usize = 128;

/// The object, for all that load it.
#[derive(Clone)]
pub(crate) struct Object(Vec<u8>);

impl Object {
    pub(crate) fn read() -> Result<Self> {
        let path = env::var_os(OBJECT_VARIABLE)
            .with_context(|| format!("{OBJECT_VARIABLE} is not set: run the bench by `cargo xtask bench`"))?;
        Ok(Self(fs::read(&path).with_context(|| format!("reading {}", path.display()))?))
    }

    /// Loads some of its programs, with maps of their own.
    pub(crate) fn load(&self, programs: &[&str]) -> Result<Ebpf> {
        let mut ebpf = EbpfLoader::new().load(&self.0).context("loading the bench's object")?;
        for name in programs {
            program(&mut ebpf, name)?
                .load()
                .with_context(|| format!("loading the bench's program {name}"))?;
        }
        Ok(ebpf)
    }
}

/// A program of the object.
pub(crate) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| format!("the bench's object has no {name}"))?;
    Ok(program.try_into()?)
}

/// What is driven.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    /// A null program of the object.
    Null(&'static str),
    /// A program that is loaded already.
    Loaded(&'a ProgramFd),
}

/// How many drivers there may be at a time.
pub(crate) const ASIDE: u32 = 8;

/// The name of an interface that nothing comes in by, of the director's namespace.
pub(crate) fn aside(number: u32) -> String {
    format!("aside{number}")
}

/// Puts a driver onto an interface that nothing comes in by, in the namespace of this thread, until its object is dropped.
///
/// Each time the kernel is asked to run a program that is on no interface, it rewrites its dispatcher of XDP programs and
/// waits until no processor goes by the old one (`bpf_prog_change_xdp`): some ten milliseconds, for a slice of less than one.
fn attach_aside(ebpf: &mut Ebpf, name: &str) -> Result<()> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let interface = aside(NEXT.fetch_add(1, Ordering::Relaxed) % ASIDE);
    program(ebpf, name)?
        .attach(&interface, XdpMode::Skb)
        .with_context(|| format!("putting a driver onto {interface}"))?;
    Ok(())
}

/// A driver for one program under test. Its packets are numbered on from run to run.
pub(crate) struct Driver {
    ebpf: Ebpf,
    program: &'static str,
    frame: Vec<u8>,
    /// The context of each run: the frame comes in by an interface.
    context: [u32; 6],
}

impl Driver {
    /// `ifindex` is the interface by which packets seem to come in. This and all runs must be on threads of the director's
    /// namespace.
    pub(crate) fn new(object: &Object, target: Target<'_>, packets: &Packets, ifindex: u32) -> Result<Self> {
        let program = match (packets.family(), packets.direction) {
            (Family::V4, Direction::Request) => "requests_v4",
            (Family::V4, Direction::Reply) => "replies_v4",
            (Family::V6, Direction::Request) => "requests_v6",
            (Family::V6, Direction::Reply) => "replies_v6",
        };
        let mut ebpf = object.load(&[program])?;
        let target = match target {
            Target::Loaded(loaded) => loaded.try_clone()?,
            Target::Null(name) => {
                let null = self::program(&mut ebpf, name)?;
                null.load().with_context(|| format!("loading the bench's program {name}"))?;
                null.fd()?.try_clone()?
            }
        };
        // The map stays open: the kernel empties one of programs when nobody holds it any more.
        let slots = ebpf.map_mut("target").context("the bench's object has no slot for a target")?;
        ProgramArray::try_from(slots)?
            .set(0, &target, 0)
            .context("putting the program under test behind the driver")?;
        attach_aside(&mut ebpf, program)?;
        let mut driver = Self { ebpf, program, frame: Vec::new(), context: [0, 0, 0, ifindex, 0, 0] };
        driver.order(packets)?;
        Ok(driver)
    }

    /// From now on it sends these, the first flow first. They must be of the same family and direction.
    pub(crate) fn order(&mut self, packets: &Packets) -> Result<()> {
        self.frame = packets.frame();
        let [_, end, ..] = &mut self.context;
        *end = u32::try_from(self.frame.len())?;
        let [_, _, _, ifindex, ..] = self.context;
        let orders = self.ebpf.map_mut("orders").context("the bench's object has no orders")?;
        Array::<_, [u64; ORDERS_WORDS]>::try_from(orders)?.set(0, packets.orders(ifindex), 0)?;
        self.go_on_with(0)
    }

    /// The next packet has this number.
    pub(crate) fn go_on_with(&mut self, packet: u32) -> Result<()> {
        let driven = self.ebpf.map_mut("driven").context("the bench's object does not count")?;
        Ok(Array::<_, u32>::try_from(driven)?.set(0, packet, 0)?)
    }

    /// Sends so many packets; the CPU time that it took.
    pub(crate) fn run(&mut self, packets: u32) -> Result<Duration> {
        let context: Vec<u8> = self.context.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let program = program(&mut self.ebpf, self.program)?;
        let options = TestRunOptions {
            data_in: Some(&self.frame),
            ctx_in: Some(&context),
            repeat: packets,
            ..TestRunOptions::new()
        };
        let before = processor::time()?;
        program.test_run(options).context("driving the program under test")?;
        Ok(processor::time()?.saturating_sub(before))
    }

    /// Sends one packet; what the program made of it (an XDP action), and the bytes of the frame it left.
    pub(crate) fn look(&mut self) -> Result<(u32, usize)> {
        let context: Vec<u8> = self.context.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut out = vec![0; self.frame.len() + MOST_GROWTH];
        let program = program(&mut self.ebpf, self.program)?;
        let options = TestRunOptions {
            data_in: Some(&self.frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        let result = program.test_run(options).context("driving the program under test once")?;
        Ok((result.return_value, usize::try_from(result.data_size_out)?))
    }
}

/// A source of live frames, which leave by an interface.
pub(crate) struct Source {
    ebpf: Ebpf,
    program: &'static str,
    /// What the frames are made of: perhaps bytes that are cut off, and the first flow's frame.
    frame: Vec<u8>,
}

/// Frames that a source sends at once.
const BATCH: u32 = 64;

/// So many bytes in front of a frame are cut off, if that is wanted.
const HEADROOM: usize = 64;

impl Source {
    /// `ifindex` is the interface's, of the namespace that the runs are made in.
    pub(crate) fn new(object: &Object, packets: &Packets, ifindex: u32) -> Result<Self> {
        let program = match (packets.family(), packets.direction) {
            (Family::V4, Direction::Request) => "source_v4",
            (Family::V4, Direction::Reply) => "source_replies_v4",
            (Family::V6, Direction::Request) => "source_v6",
            (Family::V6, Direction::Reply) => "source_replies_v6",
        };
        let mut ebpf = object.load(&[program])?;
        let orders = ebpf.map_mut("orders").context("the bench's object has no orders")?;
        Array::<_, [u64; ORDERS_WORDS]>::try_from(orders)?.set(0, packets.orders(ifindex), 0)?;
        Ok(Self { ebpf, program, frame: packets.frame() })
    }

    /// With more room in front of frames than the kernel makes. One in which a tunnel's header has taken some of the kernel's
    /// would be copied before another XDP program sees it.
    pub(crate) fn with_headroom(self) -> Self {
        Self { frame: [vec![0; HEADROOM], self.frame].concat(), ..self }
    }

    /// Sends so many frames.
    pub(crate) fn run(&mut self, frames: u32) -> Result<()> {
        let program = program(&mut self.ebpf, self.program)?;
        let options = TestRunOptions {
            data_in: Some(&self.frame),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        program.test_run(options).context("sending live frames")?;
        Ok(())
    }
}

/// What the sink of an object has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

/// What the sink of an object has got, on all processors.
pub(crate) fn arrived(ebpf: &Ebpf) -> Result<Arrived> {
    let map = ebpf.map("arrived").context("the bench's object has no counter")?;
    let counts = PerCpuArray::<_, [u64; 2]>::try_from(map)?.get(&0, 0)?;
    let sum = |place: usize| counts.iter().filter_map(|counted| counted.get(place)).sum();
    Ok(Arrived { frames: sum(0), bytes: sum(1) })
}
