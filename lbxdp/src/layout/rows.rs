//! Who has which row: allocation in tables whose rows packets may be looking at.

use lbxdp_common::server::ServerId;
use lbxdp_common::service::List;

/// Free rows of a table, handed out one by one.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    free: Vec<u32>,
    unused: std::ops::Range<u32>,
}

impl Rows {
    pub(super) fn new(rows: std::ops::Range<u32>) -> Self {
        Self { free: Vec::new(), unused: rows }
    }

    pub(super) fn left(&self) -> usize {
        self.free.len() + self.unused.len()
    }

    pub(super) fn take(&mut self) -> Option<u32> {
        // A row never used before a used one: who still holds the old row's name is then the least disturbed.
        self.unused.next().or_else(|| self.free.pop())
    }

    pub(super) fn give_back(&mut self, row: u32) {
        self.free.push(row);
    }
}

/// Ids of servers: rows with a generation that counts their uses.
#[derive(Clone, Debug)]
pub(super) struct ServerIds {
    rows: Rows,
    generations: Vec<u8>,
}

impl ServerIds {
    pub(super) fn new(rows: u32) -> Self {
        // Row 0 stays unused: id 0 names no server.
        Self { rows: Rows::new(1..rows), generations: vec![0; rows as usize] }
    }

    pub(super) fn left(&self) -> usize {
        self.rows.left()
    }

    pub(super) fn take(&mut self) -> Option<ServerId> {
        let row = self.rows.take()?;
        let generation = self.generations.get_mut(row as usize)?;
        *generation = generation.checked_add(1).unwrap_or(1);
        Some(ServerId::new(row, *generation))
    }

    pub(super) fn give_back(&mut self, id: ServerId) {
        self.rows.give_back(id.row());
    }
}

/// Runs of rows for the lists of services.
///
/// A run that was given back may still be walked by a packet; it is used again only after [`Runs::readers_are_gone`].
#[derive(Clone, Debug)]
pub(super) struct Runs {
    free: Vec<List>,
    resting: Vec<List>,
}

impl Runs {
    pub(super) fn new(rows: u32) -> Self {
        Self { free: vec![List { start: 0, length: rows }], resting: Vec::new() }
    }

    /// The first run that is long enough; `None` if none is, now.
    pub(super) fn take(&mut self, length: u32) -> Option<List> {
        if length == 0 {
            return Some(List::default());
        }
        let at = self.free.iter().position(|run| run.length >= length)?;
        let run = self.free[at];
        if run.length == length {
            self.free.remove(at);
        } else {
            self.free[at] = List { start: run.start + length, length: run.length - length };
        }
        Some(List { start: run.start, length })
    }

    pub(super) fn give_back(&mut self, run: List) {
        if run.length > 0 {
            self.resting.push(run);
        }
    }

    /// Whether waiting for readers would free anything.
    pub(super) fn are_resting(&self) -> bool {
        !self.resting.is_empty()
    }

    /// No packet walks a run any more that was given back before now.
    pub(super) fn readers_are_gone(&mut self) {
        self.free.append(&mut self.resting);
        self.free.sort_by_key(|run| run.start);
        self.free.dedup_by(|next, run| {
            let touches = run.start + run.length == next.start;
            if touches {
                run.length += next.length;
            }
            touches
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_used_again_has_another_name() {
        let mut ids = ServerIds::new(2);
        let first = ids.take().expect("one row");
        assert_eq!(ids.take(), None);
        ids.give_back(first);
        let second = ids.take().expect("the row again");
        assert_eq!(first.row(), second.row());
        assert_ne!(first, second);
        assert_ne!(first, ServerId::NONE);
    }

    #[test]
    fn a_run_rests_until_its_readers_are_gone() {
        let mut runs = Runs::new(4);
        let (a, b) = (runs.take(3).expect("room"), runs.take(1).expect("room"));
        assert_eq!(runs.take(1), None);
        runs.give_back(a);
        runs.give_back(b);
        assert_eq!(runs.take(1), None);
        assert!(runs.are_resting());
        runs.readers_are_gone();
        assert_eq!(runs.take(4), Some(List { start: 0, length: 4 }));
    }
}
