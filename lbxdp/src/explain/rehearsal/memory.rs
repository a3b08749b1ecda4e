//! Rows that a rehearsal has asked for: each is copied when it is first touched, and all that is written is written to the copy.

use std::cell::RefCell;
use std::collections::BTreeMap;

use lbxdp_common::cells::Cells;
use lbxdp_common::fragment::FragmentKey;
use lbxdp_common::schedule::CacheKey;

use crate::tables::CellTable;

/// Where a row belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A row of a table of cells.
    Cells(CellTable, u32),
    /// What lblc or lblcr remember.
    Cache(CacheKey),
    /// What is remembered of a datagram in fragments.
    Fragment(FragmentKey),
    /// What a CPU remembers of a way to a client.
    ClientHop(u32),
    /// Where a CPU lays down the packet that it handles.
    Desk,
}

/// A row that was touched.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Where it belongs.
    pub place: Place,
    /// As it was before the packet.
    pub was: Vec<u64>,
    /// As the packet has left it so far.
    pub now: Vec<u64>,
    /// This packet has touched it, not only one before.
    is_touched: bool,
}

/// The copies.
#[derive(Default)]
pub(super) struct Memory {
    rows: RefCell<Vec<Kept>>,
    places: RefCell<BTreeMap<Place, usize>>,
}

/// A row of this memory.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    memory: &'a Memory,
    at: usize,
}

impl Memory {
    /// Another packet comes: what the ones before have left is what it finds.
    pub(super) fn begin(&self) {
        for row in &mut *self.rows.borrow_mut() {
            row.was.clone_from(&row.now);
            row.is_touched = false;
        }
    }

    /// A row, and whether this packet has not touched it before; what it holds at first is asked only if no packet has.
    pub(super) fn row(
        &self,
        place: Place,
        first: impl FnOnce() -> Option<Vec<u64>>,
    ) -> Option<(Row<'_>, bool)> {
        let known = self.places.borrow().get(&place).copied();
        let at = match known {
            Some(at) => at,
            None => self.keep(place, first()?),
        };
        let mut rows = self.rows.borrow_mut();
        let kept = rows.get_mut(at)?;
        let is_first = !std::mem::replace(&mut kept.is_touched, true);
        Some((Row { memory: self, at }, is_first))
    }

    fn keep(&self, place: Place, cells: Vec<u64>) -> usize {
        let mut rows = self.rows.borrow_mut();
        rows.push(Kept { place, was: cells.clone(), now: cells, is_touched: false });
        self.places.borrow_mut().insert(place, rows.len() - 1);
        rows.len() - 1
    }

    /// The rows that this packet has touched.
    pub(super) fn touched(&self) -> Vec<Kept> {
        self.rows.borrow().iter().filter(|row| row.is_touched).cloned().collect()
    }
}

impl Row<'_> {
    fn at<T>(self, cell: usize, act: impl FnOnce(&mut u64) -> T) -> Option<T> {
        self.memory.rows.borrow_mut().get_mut(self.at)?.now.get_mut(cell).map(act)
    }
}

/// One packet at a time: each step is the only one.
impl Cells for Row<'_> {
    fn load(self, cell: usize) -> u64 {
        self.at(cell, |value| *value).unwrap_or(0)
    }

    fn store(self, cell: usize, value: u64) {
        self.at(cell, |cell| *cell = value);
    }

    fn replace(self, cell: usize, old: u64, new: u64) -> bool {
        self.at(cell, |cell| {
            *cell == old && {
                *cell = new;
                true
            }
        })
        .unwrap_or(false)
    }

    fn swap(self, cell: usize, value: u64) -> u64 {
        self.at(cell, |cell| std::mem::replace(cell, value)).unwrap_or(0)
    }

    fn add(self, cell: usize, value: u64) {
        self.at(cell, |cell| *cell = cell.wrapping_add(value));
    }
}

/// A row that stays as it is.
#[derive(Clone, Copy)]
pub(crate) struct Still<'a>(pub(crate) &'a [u64]);

impl Cells for Still<'_> {
    fn load(self, cell: usize) -> u64 {
        self.0.get(cell).copied().unwrap_or(0)
    }

    fn store(self, _: usize, _: u64) {}

    fn replace(self, _: usize, _: u64, _: u64) -> bool {
        false
    }

    fn swap(self, cell: usize, _: u64) -> u64 {
        self.load(cell)
    }

    fn add(self, _: usize, _: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_stands_in_the_copy_and_is_what_the_next_packet_finds() {
        let memory = Memory::default();
        let place = Place::Cells(CellTable::Loads, 3);
        let (row, is_first) = memory.row(place, || Some(vec![5, 6])).expect("a row");
        assert!(is_first);
        row.add(0, 2);
        assert!(row.replace(1, 6, 9) && !row.replace(1, 6, 7));
        assert_eq!((row.swap(1, 8), row.load(0), row.load(1), row.load(2)), (9, 7, 8, 0));
        let (_, is_first) = memory.row(place, || panic!("it is known")).expect("a row");
        assert!(!is_first);
        let touched = memory.touched();
        assert_eq!((touched[0].was.as_slice(), touched[0].now.as_slice()), (&[5, 6][..], &[7, 8][..]));
        memory.begin();
        assert!(memory.touched().is_empty());
        let (row, is_first) = memory.row(place, || panic!("it is known")).expect("a row");
        assert!(is_first && row.load(0) == 7);
        assert_eq!(memory.touched()[0].was, [7, 8]);
        assert!(memory.row(Place::Desk, || None).is_none());
    }
}
