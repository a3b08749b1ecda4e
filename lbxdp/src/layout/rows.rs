//! Who has which row: allocation in tables whose rows packets may be looking at.

use std::collections::BTreeSet;
use std::ops::Range;

use lbxdp_common::Scheduler;
use lbxdp_common::server::{MAX_GENERATION, ServerId};
use lbxdp_common::service::List;

/// Free rows of a table, handed out one by one.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    free: Vec<u32>,
    unused: Range<u32>,
}

impl Rows {
    pub(super) fn new(rows: Range<u32>) -> Self {
        Self { free: Vec::new(), unused: rows }
    }

    /// The rows of a table of which some are taken, and of which none from `unused` on was ever used.
    pub(super) fn without(rows: Range<u32>, taken: &BTreeSet<u32>, unused: u32) -> Self {
        let free = (rows.start..unused).filter(|row| !taken.contains(row)).collect();
        Self { free, unused: unused.max(rows.start)..rows.end }
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

    /// The ids that are left when each row had the last of its ids (none, if it was never used) and some are taken.
    pub(super) fn without(last: &[ServerId], taken: &BTreeSet<u32>) -> Self {
        let rows = u32::try_from(last.len()).unwrap_or(u32::MAX);
        let used = last.iter().rposition(|id| *id != ServerId::NONE).map_or(1, |row| row + 1);
        let rows = Rows::without(1..rows, taken, u32::try_from(used).unwrap_or(rows));
        Self { rows, generations: last.iter().map(|id| id.generation()).collect() }
    }

    pub(super) fn left(&self) -> usize {
        self.rows.left()
    }

    pub(super) fn take(&mut self) -> Option<ServerId> {
        let row = self.rows.take()?;
        let generation = self.generations.get_mut(row as usize)?;
        *generation = if *generation < MAX_GENERATION { *generation + 1 } else { 1 };
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
    free: Vec<Range<u32>>,
    resting: Vec<Range<u32>>,
}

impl Runs {
    pub(super) fn new(rows: u32) -> Self {
        Self { free: vec![Range { start: 0, end: rows }], resting: Vec::new() }
    }

    /// The runs that are left beside these lists; the list that does not fit, if one lies outside or over another.
    pub(super) fn without(rows: u32, mut lists: Vec<List>) -> Result<Self, List> {
        lists.retain(|list| list.length > 0);
        lists.sort_by_key(|list| list.start);
        let (mut free, mut next) = (Vec::new(), 0);
        for list in lists {
            let end = list.start.checked_add(list.rows()).filter(|end| *end <= rows).ok_or(list)?;
            if list.start < next {
                return Err(list);
            }
            if list.start > next {
                free.push(next..list.start);
            }
            next = end;
        }
        if next < rows {
            free.push(next..rows);
        }
        Ok(Self { free, resting: Vec::new() })
    }

    /// A run for a scheduler's list of so many servers, the first that is long enough; `None` if none is, now.
    pub(super) fn take(&mut self, servers: u16, scheduler: Scheduler) -> Option<List> {
        if servers == 0 {
            return Some(List::new(0, 0, scheduler));
        }
        let rows = List::new(0, servers, scheduler).rows();
        let at = self.free.iter().position(|run| run.end - run.start >= rows)?;
        let run = &mut self.free[at];
        let list = List::new(run.start, servers, scheduler);
        run.start += rows;
        if run.start == run.end {
            self.free.remove(at);
        }
        Some(list)
    }

    pub(super) fn give_back(&mut self, list: List) {
        if list.length > 0 {
            self.resting.push(list.start..list.start + list.rows());
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
            let touches = run.end == next.start;
            if touches {
                run.end = next.end;
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
        const BY: Scheduler = Scheduler::SourceHashing;
        let mut runs = Runs::new(2 * List::new(0, 3, BY).rows());
        let (a, b) = (runs.take(3, BY).expect("room"), runs.take(3, BY).expect("room"));
        assert_eq!(runs.take(1, BY), None);
        runs.give_back(a);
        runs.give_back(b);
        assert_eq!(runs.take(1, BY), None);
        assert!(runs.are_resting());
        runs.readers_are_gone();
        let list = runs.take(6, BY).expect("both runs are one again");
        assert_eq!((list.start, list.length), (0, 6));
        assert_eq!(runs.take(6, Scheduler::MaglevHashing), None);
    }
}
