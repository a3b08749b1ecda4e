//! The decision code in user space: it sees the tables of a director as they are, and what it writes stands in copies that are
//! thrown away. What it asks and is told is noted.

mod memory;
mod note;
mod source;
mod world;

use std::cell::{Cell, RefCell};
use std::mem;

use lbxdp_common::cells::Cells;
use lbxdp_common::schedule::Pool;
use lbxdp_common::server::ServerId;
use lbxdp_common::service::{Member, Service};
use lbxdp_common::steer::{ARRIVAL_CELLS, Desk, Stage, World, retagged, steer};
use lbxdp_common::wire::{Buffer, Frame};
use lbxdp_common::{Reason, Verdict};

pub(crate) use memory::Still;
pub use memory::{Kept, Place, Row};
pub use note::{Candidate, Choice, Note, Routed};
pub use source::Source;

use crate::daemon::load::Interface;
use crate::tables::CellTable;
use memory::Memory;

/// Bytes in front of a frame, as drivers leave them (`XDP_PACKET_HEADROOM`).
const HEADROOM: usize = 256;

/// A director on which frames are tried. What one leaves behind is what the next one finds.
pub struct Rehearsal<S> {
    source: S,
    interface: Interface,
    memory: Memory,
    notes: RefCell<Vec<Note>>,
    /// The stage that was asked for: it runs when whoever asked is done.
    next: Cell<Option<Stage>>,
    /// Some stage runs: only the entry knows the interface's MAC address.
    is_in_a_stage: Cell<bool>,
}

/// What became of a frame, and what was seen of that.
#[derive(Clone, Debug)]
pub struct Performance {
    /// What the decision code says.
    pub decided: Result<Verdict, Reason>,
    /// The frame as it was left.
    pub frame: Vec<u8>,
    /// What was seen, in order.
    pub notes: Vec<Note>,
    /// The rows that were touched, in order.
    pub rows: Vec<Kept>,
}

impl<S: Source> Rehearsal<S> {
    /// Of frames that come in by an interface.
    pub fn new(source: S, interface: Interface) -> Self {
        Self {
            source,
            interface,
            memory: Memory::default(),
            notes: RefCell::default(),
            next: Cell::default(),
            is_in_a_stage: Cell::default(),
        }
    }

    /// Where its rows come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Where its frames come in.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Forgets all that frames have left behind.
    pub fn forget(&mut self) {
        self.memory = Memory::default();
    }

    /// Runs a frame from the entry on, through all the stages that the kernel would enter.
    pub fn perform(&self, frame: &[u8]) -> Performance {
        self.memory.begin();
        self.notes.borrow_mut().clear();
        self.is_in_a_stage.set(false);
        let mut memory = [&[0; HEADROOM], frame].concat();
        let mut buffer = Buffer::new(&mut memory, HEADROOM);
        let (world, mut packet) = (&self, &mut buffer);
        let mut decided = steer(&mut packet, world);
        while let Some(stage) = self.next.take() {
            self.is_in_a_stage.set(true);
            self.jot(Note::Entered(stage));
            decided = stage.run(world, &mut packet);
        }
        let decided = match self.retagged(&mut packet, decided) {
            // What the kernel's helper says of a slot that nobody has.
            Ok(Verdict::Redirect(slot)) if self.source.port(slot).is_none() => Err(Reason::NoWayOut),
            decided => decided,
        };
        Performance {
            decided,
            frame: buffer.frame().to_vec(),
            notes: mem::take(&mut *self.notes.borrow_mut()),
            rows: self.memory.touched(),
        }
    }

    fn retagged<F: Frame>(&self, frame: &mut F, decided: Result<Verdict, Reason>) -> Result<Verdict, Reason> {
        (&self).desk().map_or(decided, |desk| retagged(frame, Desk(desk), decided))
    }

    fn jot(&self, note: Note) {
        self.notes.borrow_mut().push(note);
    }

    /// A row, which is noted when it is first touched.
    fn row(&self, place: Place, first: impl FnOnce() -> Option<Vec<u64>>) -> Option<Row<'_>> {
        let (row, is_first) = self.memory.row(place, first)?;
        if is_first {
            self.jot(Note::Touched(place));
        }
        Some(row)
    }

    fn cells(&self, table: CellTable, index: u32) -> Option<Row<'_>> {
        self.row(Place::Cells(table, index), || self.source.row(table, index))
    }

    fn desk_row(&self) -> Option<Row<'_>> {
        self.row(Place::Desk, || Some(vec![0; ARRIVAL_CELLS]))
    }

    /// The servers of a service as its scheduler sees them now.
    fn candidates(&self, index: u32) -> Vec<Candidate> {
        let Some(list) = self.cells(CellTable::Services, index).map(|row| Service(row).list()) else {
            return Vec::new();
        };
        let members = (0..u32::from(list.length)).filter_map(|at| {
            let row = self.cells(CellTable::Members, list.start.wrapping_add(at))?;
            Some(Member::from_cell(row.load(0)))
        });
        members.map(|member| Candidate { member, load: Pool::load(&self, member.server()) }).collect()
    }

    fn chosen(&self, index: u32, pick: impl FnOnce() -> u64) -> u64 {
        let candidates = self.candidates(index);
        let picked = pick();
        self.jot(Note::Scheduled(Choice { index, candidates, server: server_of(picked) }));
        picked
    }
}

/// The server in an answer: its lower bits.
#[expect(clippy::cast_possible_truncation, reason = "the rest is no part of the id")]
fn server_of(answer: u64) -> ServerId {
    ServerId(answer as u32 & ServerId::MASK)
}
