//! The tables of watching: what the watchers want, what was not shown, and the ring of records.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use aya::maps::{Array, DevMap, Map, MapData, ProgramArray, RingBuf};
use lbxdp_common::watch::{TALLIES as PLACES, WISH_CELLS, Watched, Wish};
use zerocopy::FromBytes;

use super::per_cpu::PerCpu;
use super::{TableError, failed, open_map};

const WISHES: &str = "wishes";
const TALLIES: &str = "tallies";
const WATCHED: &str = "watched";

/// The names of these maps: their pins are called so.
pub const WATCH_MAP_NAMES: &[&str] = &[WISHES, TALLIES, "record", WATCHED];

/// The tables, but the ring.
pub struct WatchTables {
    wishes: Array<MapData, [u64; WISH_CELLS]>,
    tallies: PerCpu<[u64; PLACES]>,
    stages: ProgramArray<MapData>,
}

impl WatchTables {
    /// Opens those pinned in a directory, and the stages pinned in another one.
    pub fn open(pins: &Path, maps: &Path) -> Result<Self, TableError> {
        Ok(Self {
            wishes: open_map(pins, WISHES, Map::Array)?,
            tallies: open_map(pins, TALLIES, Map::PerCpuArray)?,
            stages: open_map(maps, "stages", Map::ProgramArray)?,
        })
    }

    /// The programs of the stages.
    pub fn stages(&mut self) -> &mut ProgramArray<MapData> {
        &mut self.stages
    }

    /// Writes the wish of a slot that is empty; what was counted there begins anew.
    pub fn put(&mut self, slot: u32, wish: Wish) -> Result<(), TableError> {
        self.tallies.clear(slot).map_err(|source| failed("write", TALLIES, source))?;
        self.write(slot, wish.nobodys())?;
        self.write(slot, wish)
    }

    /// Makes a slot empty that has this wish.
    pub fn clear(&mut self, slot: u32, wish: Wish) -> Result<(), TableError> {
        self.write(slot, wish.nobodys())
    }

    fn write(&mut self, slot: u32, wish: Wish) -> Result<(), TableError> {
        self.wishes.set(slot, wish.cells(), 0).map_err(|source| failed("write", WISHES, source))
    }

    /// What became of the packets that fit the wish of a slot, on all CPUs, by [`Tally`](lbxdp_common::watch::Tally).
    pub fn tallies(&self, slot: u32) -> Result<[u64; PLACES], TableError> {
        let rows = self.tallies.row(slot).map_err(|source| failed("read", TALLIES, source))?;
        Ok(rows.iter().fold([0; PLACES], |sums, row| {
            std::array::from_fn(|kind| {
                sums.get(kind).copied().unwrap_or(0) + row.get(kind).copied().unwrap_or(0)
            })
        }))
    }
}

/// The ring of records. It has one reader.
pub struct WatchedRing {
    ring: RingBuf<MapData>,
    ports: DevMap<MapData>,
}

impl WatchedRing {
    /// Opens the ring pinned in a directory, and the device map pinned in another one.
    pub fn open(pins: &Path, maps: &Path) -> Result<Self, TableError> {
        Ok(Self {
            ring: open_map(pins, WATCHED, Map::RingBuf)?,
            ports: open_map(maps, "ports", Map::DevMap)?,
        })
    }

    /// Takes out the next record, if there is one.
    pub fn take(&mut self) -> Option<Watched> {
        loop {
            let item = self.ring.next()?;
            // All items are of one kind: the ring is made anew by each daemon.
            if let Ok(watched) = Watched::read_from_bytes(&item) {
                return Some(watched);
            }
        }
    }

    /// The interface that a slot of the device map redirects to.
    pub fn port(&self, slot: u16) -> Option<u32> {
        self.ports.get(slot.into(), 0).ok().map(|port| port.if_index)
    }
}

impl AsFd for WatchedRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}
