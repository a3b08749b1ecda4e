//! What is measured with packets: beds, each with the cases that are measured in it, one after the other.

mod load;
mod methods;
mod schedulers;
mod sizes;
mod strangers;

use std::net::{IpAddr, SocketAddrV4};

use anyhow::{Context, Result};
use lbxdp_common::V4;
use lbxdp_common::settings::SettingsView;
use lbxdp_tests::fill::Filler;
use lbxdp_tests::table::tcp_key;

use crate::bed::{self, Bed, Size};
use crate::meter::{Action, Case, Meter, Null};
use crate::packet::{Direction, FIRST_PORT, Family, Flows, PORT, Packets, Protocol};
use crate::room;

/// A bed and what is measured in it.
pub(crate) struct Planned {
    pub(crate) size: Size,
    /// In ipvsadm's save format.
    pub(crate) rules: String,
    pub(crate) steps: Vec<Step>,
}

/// A case, and what must be in the table before it is measured.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) case: Case,
    /// The packets that open its flows, and those that confirm them.
    opened_by: Option<[Packets; 2]>,
    /// The percentage of all places the table may ever have that are to be taken.
    filled: Option<u64>,
}

/// How many connections there are, by powers of two and their names.
pub(crate) const MANY: [(u32, &str); 4] = [(0, "1"), (10, "1k"), (16, "64k"), (20, "1M")];

/// All beds; without the largest cases if it is to be quick.
pub(crate) fn all(is_quick: bool) -> Vec<Planned> {
    let mut all = methods::plan(is_quick);
    all.extend(strangers::plan());
    all.extend(schedulers::plan());
    all.extend(sizes::plan(is_quick));
    all.extend(load::plan());
    all
}

impl Step {
    /// Packets of connections that are known.
    fn established(name: String, service: IpAddr, protocol: Protocol, bits: u32) -> Self {
        let packets = requests(service, protocol, Flows::Bits(bits));
        let opened_by = [packets.with_kind(protocol.first()), packets];
        Self { case: case(name, packets), opened_by: Some(opened_by), filled: None }
    }

    /// Packets of which each opens a connection.
    fn new(name: String, service: IpAddr, protocol: Protocol) -> Self {
        let later =
            Packets { client: bed::client(family_of(service), 1), ..requests(service, protocol, Flows::New) };
        let case = Case { confirmed_by: Some(later), ..case(name, later.with_kind(protocol.first())) };
        Self { case, opened_by: None, filled: None }
    }

    fn with(self, change: impl FnOnce(&mut Case)) -> Self {
        let mut step = self;
        change(&mut step.case);
        step
    }

    /// Brings the table into the state that the case needs, and measures it.
    pub(crate) fn carry_out(&self, meter: &Meter<'_>) -> Result<crate::figure::Figure> {
        if let Some([first, later]) = &self.opened_by {
            meter.open(first, later, self.case.entries)?;
        }
        if let Some(percent) = self.filled {
            fill(meter.bed, &self.case.packets, percent)?;
        }
        meter.measure(&self.case)
    }
}

fn case(name: String, packets: Packets) -> Case {
    Case {
        name,
        packets,
        action: Action::Transmit,
        null: Null::Rewrite,
        confirmed_by: None,
        entries: 1,
        may_overflow: false,
    }
}

/// Later packets of a protocol, from clients to a service.
fn requests(service: IpAddr, protocol: Protocol, flows: Flows) -> Packets {
    let client = bed::client(family_of(service), 0);
    let kind = protocol.later();
    Packets { kind, direction: Direction::Request, client, service, services: 1, flows }
}

const fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// The letter by which ipvsadm knows a service's protocol.
pub(crate) const fn flag(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "-t",
        Protocol::Udp => "-u",
    }
}

/// Fills the table with connections like the first flow's.
fn fill(bed: &Bed, packets: &Packets, percent: u64) -> Result<()> {
    let tables = &bed.tables;
    let wanted = room::most_places(tables, Family::V4) * percent / 100;
    room::make(tables, Family::V4, room::most_places(tables, Family::V4))?;
    let missing = wanted.saturating_sub(room::connections(tables, Family::V4)?);
    let (IpAddr::V4(client), IpAddr::V4(service)) = (bed::client(Family::V4, 0), packets.service) else {
        anyhow::bail!("only the table of IPv4 is filled");
    };
    let filler = Filler {
        connections: tables.connections::<V4>(),
        settings: SettingsView(tables.SETTINGS.row(0).context("the instance has no settings")?),
        load: |row| tables.LOADS.row(row),
    };
    let pattern = tcp_key(SocketAddrV4::new(client, FIRST_PORT), SocketAddrV4::new(service, PORT));
    filler.add_however_full(pattern, u32::try_from(missing)?)
}
