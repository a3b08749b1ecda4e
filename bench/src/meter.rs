//! The meter: nanoseconds a packet, net of the driver, with null programs in the same rounds.
//!
//! In each round all programs run in turn, a slice of the packets at a time, some milliseconds: whatever the machine does
//! meanwhile meets all of them alike. What the driver costs is measured by a program that does nothing, and subtracted
//! slice by slice; the middle one of a round's slices counts.

use anyhow::{Context, Result, ensure};
use lbxdp_common::Overflow;

use crate::bed::Bed;
use crate::driver::{Driver, Object, Target};
use crate::figure::{Figure, Spread, Unit};
use crate::packet::{Family, Flows, Packets};
use crate::{processor, room};

/// For so many rounds of new connections there must be room: of few, no two buckets that one may go to are full.
const LEAST_ROOM: u64 = 32;

/// The most parts of a round, and the fewest packets of one: each begins with some microseconds in the kernel.
const SLICES: u32 = 32;
const LEAST_SLICE: u32 = 2048;

/// This part of a slice of known flows runs before it is measured, in caches that another program has left.
const WARMING: u32 = 8;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: u32,
    /// Packets of known flows in a round.
    pub(crate) packets: u32,
    /// New flows in a round.
    pub(crate) new: u32,
}

/// Runs programs in turn, the empty one first, until each has had so many packets; the nanoseconds that a packet took each of
/// the others longer.
fn one_round<const PROGRAMS: usize>(
    empty: &mut Driver,
    others: [&mut Driver; PROGRAMS],
    count: u32,
    is_new: bool,
) -> Result<[f64; PROGRAMS]> {
    let slices = (count / LEAST_SLICE).clamp(1, SLICES);
    let packets = count / slices;
    let slice = |driver: &mut Driver| -> Result<f64> {
        // New flows are counted: none are sent beside.
        if !is_new {
            driver.run(packets / WARMING)?;
        }
        Ok(driver.run(packets)?.as_secs_f64() * 1e9 / f64::from(packets))
    };
    let mut others = others.map(|driver| (driver, Vec::new()));
    for _ in 0..slices {
        let base = slice(empty)?;
        for (driver, longer) in &mut others {
            longer.push(slice(driver)? - base);
        }
    }
    Ok(others.map(|(_, longer)| Spread::of(longer).median))
}

/// What the kernel is to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pass = 2,
    Transmit = 3,
}

/// The null program that a figure is to be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Null {
    /// Looks at the headers, rewrites MAC addresses, transmits.
    Rewrite,
    /// Puts a constant outer header in front.
    Tunnel,
}

impl Null {
    const fn program(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::Rewrite, _) => "null_rewrite",
            (Self::Tunnel, Family::V4) => "null_tunnel_v4",
            (Self::Tunnel, Family::V6) => "null_tunnel_v6",
        }
    }
}

/// One thing to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) packets: Packets,
    pub(crate) action: Action,
    pub(crate) null: Null,
    /// Packets that confirm what a round has opened, before the next one: half-open connections have a share of the table.
    pub(crate) confirmed_by: Option<Packets>,
    /// Entries of the table that a connection takes.
    pub(crate) entries: u64,
    /// Whether packets may find no room. Else that is a failure: something else would have been measured.
    pub(crate) may_overflow: bool,
}

/// Measures, in the bed's director.
pub(crate) struct Meter<'a> {
    pub(crate) object: &'a Object,
    pub(crate) bed: &'a Bed,
    pub(crate) effort: Effort,
    pub(crate) processor: usize,
}

impl Meter<'_> {
    /// A driver for the director's program.
    pub(crate) fn driver(&self, packets: &Packets) -> Result<Driver> {
        Driver::new(self.object, Target::Loaded(&self.bed.program), packets, self.bed.ifindex)
    }

    /// Does the work on a thread of the director's namespace, on the processor that is measured on.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.bed.network.director.inside(|| processor::stay_on(self.processor).and_then(|()| work()))?
    }

    /// Opens all flows of these packets and has `later` packets confirm them, some at a time, when the table has room.
    /// `entries` is how many each of them takes. Then all of them must be there.
    pub(crate) fn open(&self, first: &Packets, later: &Packets, entries: u64) -> Result<()> {
        let Flows::Bits(bits) = first.flows else { anyhow::bail!("new flows are not opened beforehand") };
        let (family, tables, flows) = (first.family(), &self.bed.tables, 1_u32 << bits);
        room::make(tables, family, u64::from(flows) * entries)?;
        let (before, by_hash) = (room::connections(tables, family)?, self.bed.by_hash()?);
        // Those of one step are not confirmed yet, and have two places of four in a bucket: they must be few.
        let step = u32::try_from(room::places(tables, family)? / 256 / entries)?.clamp(1, flows);
        self.inside(|| {
            let (mut opener, mut confirmer) = (self.driver(first)?, self.driver(later)?);
            let mut opened = 0;
            while opened < flows {
                let some = step.min(flows - opened);
                opener.run(some)?;
                confirmer.run(some)?;
                opened += some;
            }
            Ok(())
        })?;
        let by_hash = self.bed.by_hash()? - by_hash;
        ensure!(by_hash == 0, "{by_hash} packets found no room while {flows} connections were opened");
        let now = room::connections(tables, family)?;
        ensure!(now >= before && now >= u64::from(flows), "of {flows} connections there are {now}");
        Ok(())
    }

    /// Measures a case.
    pub(crate) fn measure(&self, case: &Case) -> Result<Figure> {
        self.inside(|| self.rounds(case)).with_context(|| format!("measuring {}", case.name))
    }

    fn rounds(&self, case: &Case) -> Result<Figure> {
        let (family, is_new) = (case.packets.family(), case.packets.flows == Flows::New);
        let count = if is_new && !case.may_overflow { self.effort.new } else { self.effort.packets };
        if is_new && !case.may_overflow {
            // Before they are confirmed, those of a round have two places of four in a bucket.
            let least = u64::from(count) * u64::from(self.effort.rounds + 1).max(LEAST_ROOM);
            room::make(&self.bed.tables, family, least * case.entries)?;
        }
        let null = |name| Driver::new(self.object, Target::Null(name), &case.packets, self.bed.ifindex);
        let (mut empty, mut null) = (null("null_tx")?, null(case.null.program(family))?);
        let mut ours = self.driver(&case.packets)?;
        let mut confirmer = case.confirmed_by.as_ref().map(|packets| self.driver(packets)).transpose()?;
        self.check_action(case, &mut ours)?;
        let (mishaps, before) = (self.bed.mishaps()?, self.connections(family, is_new)?);
        let hashed = self.bed.by_hash()?;
        let (mut net, mut net_null) = (Vec::new(), Vec::new());
        // The first round warms caches, and is not counted.
        for round in 0..=self.effort.rounds {
            let [beside, own] = one_round(&mut empty, [&mut null, &mut ours], count, is_new)?;
            if let Some(confirmer) = &mut confirmer {
                // One more: the first of all was looked at before the first round.
                confirmer.go_on_with(round * count)?;
                confirmer.run(count + 1)?;
            }
            if round > 0 {
                net.push(own);
                net_null.push(beside);
            }
        }
        let figure =
            Figure::new(&case.name, Unit::Nanoseconds, Spread::of(net)).with_null(Spread::of(net_null));
        let sent = u64::from(count) * u64::from(self.effort.rounds + 1);
        if case.may_overflow {
            let hashed = self.bed.by_hash()? - hashed;
            return Ok(figure.with_note(format!("{} % by hash", hashed * 100 / sent)));
        }
        let mishaps = self.bed.mishaps()? - mishaps;
        ensure!(mishaps == 0, "{mishaps} packets of {sent} did not go their way: {}", self.complaint()?);
        let opened = self.connections(family, is_new)? - before;
        ensure!(
            !is_new || case.action == Action::Pass || opened == sent,
            "of {sent} connections {opened} were opened"
        );
        Ok(figure)
    }

    /// Connections, if they are to be counted.
    fn connections(&self, family: Family, is_wanted: bool) -> Result<u64> {
        if is_wanted { room::connections(&self.bed.tables, family) } else { Ok(0) }
    }

    /// Sends one packet: does it go where it should?
    fn check_action(&self, case: &Case, driver: &mut Driver) -> Result<()> {
        let (action, bytes) = driver.look()?;
        ensure!(
            action == case.action as u32,
            "the packet is to {:?}, but the program's answer is {action}: {}",
            case.action,
            self.complaint()?
        );
        let grown = bytes > case.packets.frame().len();
        ensure!(grown == (case.null == Null::Tunnel), "the program leaves a frame of {bytes} bytes");
        Ok(())
    }

    /// What the director has counted.
    fn complaint(&self) -> Result<String> {
        let mut counts = Vec::new();
        for reason in lbxdp_common::Reason::ALL {
            counts.push((reason.name(), self.bed.tables.reason_count(*reason)?));
        }
        for overflow in Overflow::ALL {
            counts.push((overflow.name(), self.bed.tables.overflow_count(*overflow)?));
        }
        for notice in lbxdp_common::Notice::ALL {
            counts.push((notice.name(), self.bed.tables.notice_count(*notice)?));
        }
        let counted = counts.iter().filter(|(_, count)| *count > 0);
        Ok(counted.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", "))
    }
}
