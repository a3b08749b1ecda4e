//! The memory of a model: cells whose orders loom goes through.

use lbxdp_common::connection::{Key, Word};
use lbxdp_common::server::ServerId;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::table::{
    BUCKET_CELLS, Buckets, ENTRY_CELLS, Entry, Found, Hash, Inserted, Shape, Slot, WAYS, find, insert,
    is_overdue,
};
use lbxdp_common::walk::Walker;
use lbxdp_common::{Cells, Ticks};
use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// One bucket for both hashes.
pub(crate) const SAME: Hash = Hash(0);
/// The first bucket, and the second.
pub(crate) const BOTH: Hash = Hash(1 << 63);
pub(crate) const NOW: Ticks = Ticks(1000);
pub(crate) const LATER: Ticks = Ticks(5000);
pub(crate) const OTHER: u8 = 9;

pub(crate) fn key_of(number: u8) -> Key {
    Key {
        client: [10, 0, 0, number],
        vip: [10, 0, 0, 100],
        client_port: [1, 1],
        vip_port: [0, 80],
        protocol: 6,
        kind: Key::CONNECTION,
        pad: [0; 2],
    }
}

pub(crate) fn word_of(server: u8, due: Ticks) -> Word {
    Word::live(ServerId(server.into()), State::tcp(TcpState::SynReceived), due)
}

/// Runs a model over every order of steps with at most so many preemptions.
pub(crate) fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// A cell of the model: one that parties share, or one that never changes.
pub(crate) enum Cell {
    Shared(AtomicU64),
    Fixed(u64),
}

/// A row with the orders that [`Cells`] promises, and no stronger ones.
#[derive(Clone, Copy)]
pub(crate) struct Row(&'static [Cell]);

impl Cells for Row {
    fn load(self, cell: usize) -> u64 {
        match &self.0[cell] {
            Cell::Shared(atomic) => atomic.load(Ordering::Acquire),
            Cell::Fixed(value) => *value,
        }
    }

    fn store(self, cell: usize, value: u64) {
        match &self.0[cell] {
            Cell::Shared(atomic) => atomic.store(value, Ordering::Release),
            Cell::Fixed(fixed) => assert_eq!(*fixed, value, "a cell that never changes was written to"),
        }
    }

    fn replace(self, cell: usize, old: u64, new: u64) -> bool {
        match &self.0[cell] {
            Cell::Shared(atomic) => {
                atomic.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            }
            Cell::Fixed(value) => {
                assert_ne!(*value, old, "a connection that nobody touches was exchanged");
                false
            }
        }
    }

    fn swap(self, cell: usize, value: u64) -> u64 {
        // The full barrier: loom takes an exchange for less than that.
        fence(Ordering::SeqCst);
        let was = self.shared(cell).swap(value, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        was
    }

    fn add(self, cell: usize, value: u64) {
        self.shared(cell).fetch_add(value, Ordering::SeqCst);
    }
}

impl Row {
    /// Cells that never change.
    pub(crate) fn fixed(cells: &[u64]) -> Self {
        Self(Vec::leak(cells.iter().map(|cell| Cell::Fixed(*cell)).collect()))
    }

    /// The same, but for one of them.
    pub(crate) fn fixed_but(at: usize, cells: &[u64]) -> Self {
        let cell = |(number, cell): (usize, &u64)| {
            if number == at { Cell::Shared(AtomicU64::new(*cell)) } else { Cell::Fixed(*cell) }
        };
        Self(Vec::leak(cells.iter().enumerate().map(cell).collect()))
    }

    fn shared(self, cell: usize) -> &'static AtomicU64 {
        match &self.0[cell] {
            Cell::Shared(atomic) => atomic,
            Cell::Fixed(_) => panic!("a connection that nobody touches was written to"),
        }
    }
}

/// A table of one or two buckets. Loom's cells live as long as one run of the model, so a run leaks its own.
#[derive(Clone, Copy)]
pub(crate) struct Table(&'static [Row]);

impl Walker for Table {}

impl Buckets for Table {
    type Bucket = Row;
    // A party that waits goes through fewer orders.
    const PATIENCE: u32 = 24;

    fn bucket(&self, index: u32) -> Option<Row> {
        self.0.get(index as usize).copied()
    }
}

/// A place of a bucket when the model begins.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Free,
    Taken(Key, Word),
    /// A connection that nobody touches.
    Other,
    /// Free for entries with this second cell of their keys, and this bond.
    FreeFor(u64, u64),
    /// A template, or a connection of one.
    Bound(Key, Word, u64),
}
pub(crate) use Place::{Bound, Free, FreeFor, Other, Taken};

impl Table {
    pub(crate) fn of(buckets: &[[Place; WAYS]]) -> Self {
        let rows = buckets.iter().map(|places| Row(Vec::leak(places.iter().flat_map(entry).collect())));
        Self(Vec::leak(rows.collect()))
    }

    pub(crate) fn shape(self) -> Shape {
        Shape::steady(u32::try_from(self.0.len()).unwrap())
    }

    pub(crate) fn find(self, hash: Hash, key: Key) -> Option<(Slot<Row>, Word)> {
        find(&self, self.shape(), hash, key).and_then(Found::here)
    }

    pub(crate) fn insert(self, hash: Hash, key: Key, word: Word) -> Inserted {
        insert(&self, self.shape(), hash, Entry::new(key, word), NOW)
    }

    pub(crate) fn slots(self) -> impl Iterator<Item = Slot<Row>> {
        self.0.iter().flat_map(|bucket| (0..WAYS).map(|way| Slot::new(*bucket, way)))
    }

    /// The connections in the table, but those that nobody touches.
    pub(crate) fn live(self) -> Vec<(Key, Word)> {
        self.slots().filter_map(Slot::read).filter(|(key, _)| *key != key_of(OTHER)).collect()
    }

    /// One pass of the sweep over the entries that can be overdue; which connections it took out.
    pub(crate) fn sweep(self, now: Ticks) -> Vec<(Key, Word)> {
        let overdue = |(_, entry): &(Slot<Row>, (Key, Word))| is_overdue(entry.1, now);
        self.slots()
            .filter_map(|slot| Some((slot, slot.read()?)))
            .filter(overdue)
            .filter(|(slot, (_, word))| slot.retire(*word))
            .map(|(_, entry)| entry)
            .collect()
    }
}

fn entry(place: &Place) -> [Cell; ENTRY_CELLS] {
    const { assert!(WAYS * ENTRY_CELLS == BUCKET_CELLS) };
    let shared = |key: [u64; 2], word: u64| {
        let [first, second] = key.map(|cell| Cell::Shared(AtomicU64::new(cell)));
        [first, second, Cell::Shared(AtomicU64::new(word)), Cell::Fixed(0)]
    };
    // All keys have the second cell in common: one cell less in which orders can differ.
    let half_shared = |first: u64, second: u64, word: u64, bond: u64| {
        let [first, word] = [first, word].map(|cell| Cell::Shared(AtomicU64::new(cell)));
        [first, Cell::Fixed(second), word, Cell::Fixed(bond)]
    };
    match place {
        Free => half_shared(0, key_of(OTHER).cells()[1], 0, 0),
        FreeFor(second, bond) => half_shared(0, *second, 0, *bond),
        Bound(key, word, bond) => half_shared(key.cells()[0], key.cells()[1], word.0, *bond),
        Taken(key, word) => shared(key.cells(), word.0),
        Other => {
            let [first, second] = key_of(OTHER).cells();
            [first, second, word_of(OTHER, LATER).0, 0].map(Cell::Fixed)
        }
    }
}
