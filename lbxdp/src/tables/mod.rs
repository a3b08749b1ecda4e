//! The kernel's tables, in our language: everything the daemon knows of the kernel goes through here.
//!
//! Tables of cells are mapped into memory and read and written without a system call; the others are asked.

mod addresses;
mod cache;
mod counted;
pub mod decap;
mod fragments;
mod look;
#[expect(unsafe_code, reason = "memory shared with the kernel is mapped here")]
mod mapped;
mod marks;
#[expect(unsafe_code, reason = "aya has no call that reads many rows")]
mod per_cpu;
pub mod pins;
#[expect(unsafe_code, reason = "the one place where aya is told that records are plain data")]
mod row;
#[expect(unsafe_code, reason = "aya opens no pin for reading alone, and loads no single instructions")]
pub(crate) mod system;
mod watched;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{DevMap, HashMap, Map, MapData, MapError, ProgramArray, RingBuf};
use lbxdp_common::address::Address;
use lbxdp_common::cells::Cells;
use lbxdp_common::hint::{self, HINTS, Hint};
use lbxdp_common::service::{Service, ServiceKey};
use lbxdp_common::table::Buckets;
use lbxdp_common::walk::Walker;
use lbxdp_common::{Notice, Overflow, Reason, for_each_map};

pub use addresses::AddressSet;
pub use counted::{Counted, CounterRows};
pub use fragments::{Fragments, Ring};
pub use look::{CellTable, LookTables};
pub use mapped::{Mapped, wait_for_packets};
pub(crate) use marks::mark_runs;
use per_cpu::PerCpu;
use row::Row;
pub use watched::{WATCH_MAP_NAMES, WatchTables, WatchedRing};

/// A table could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("cannot {what} table `{table}`")]
    Map { what: &'static str, table: &'static str, source: MapError },
    #[error("cannot open table `{table}` for reading")]
    Pin { table: &'static str, source: std::io::Error },
    #[error("cannot map table `{table}` into memory")]
    Mapping { table: &'static str, source: std::io::Error },
    #[error(
        "table `{table}` has rows of {found} bytes where this build has {expected}; it belongs to another build"
    )]
    Shape { table: &'static str, found: u32, expected: u32 },
    #[error("cannot make interface {0} a way out")]
    Port(u32, #[source] aya::maps::xdp::XdpMapError),
    #[error("no room for {address}: its bucket of table `{table}` is full")]
    BucketFull { table: &'static str, address: IpAddr },
}

macro_rules! define_tables {
    (
        cells { $( $(#[$cells_doc:meta])* $cells:ident : $cells_name:literal, $width:expr, $rows:expr; )* }
        maps { $( $(#[$doc:meta])* $map:ident : $name:literal, $kind:ident $(< $($type:ty),* >)?, $entries:expr $(, on $when:ident)?; )* }
    ) => {
        /// The names of all maps: their pins are called so.
        pub const MAP_NAMES: &[&str] = &[$( $cells_name, )* $( $name ),*];

        /// All tables of one instance.
        #[allow(non_snake_case, reason = "the fields are the maps' own names")]
        #[allow(dead_code, reason = "some tables are the packet path's alone")]
        pub struct Tables {
            $( $(#[$cells_doc])* pub $cells: Mapped, )*
            $( $(#[$doc])* $map: define_tables!(@kind $kind $(< $($type),* >)?), )*
        }

        impl Tables {
            /// Opens the tables pinned in a directory.
            pub fn open(pins: &Path) -> Result<Self, TableError> {
                Ok(Self {
                    $( $cells: open_cells(pins, $cells_name, $width)?, )*
                    $( $map: open_map(pins, $name, Map::$kind)?, )*
                })
            }
        }
    };
    (@kind HashMap<$key:ty, $value:ty>) => { HashMap<MapData, Row<$key>, $value> };
    (@kind LruHashMap<$key:ty, $value:ty>) => { HashMap<MapData, Row<$key>, $value> };
    (@kind RingBuf) => { RingBuf<MapData> };
    (@kind PerCpuArray<$value:ty>) => { PerCpu<$value> };
    (@kind LpmTrie<$key:ty, $value:ty>) => { LpmTrie<MapData, $key, $value> };
    (@kind ProgramArray) => { ProgramArray<MapData> };
    (@kind DevMap) => { DevMap<MapData> };
}
for_each_map!(define_tables);

fn open_cells(pins: &Path, table: &'static str, width: usize) -> Result<Mapped, TableError> {
    let data = MapData::from_pin(pins.join(table)).map_err(|source| failed("open", table, source))?;
    let info = data.info().map_err(|source| failed("ask about", table, source))?;
    let expected = u32::try_from(width * 8).unwrap_or(u32::MAX);
    if info.value_size() != expected {
        return Err(TableError::Shape { table, found: info.value_size(), expected });
    }
    Mapped::new(&data, width, info.max_entries()).map_err(|source| TableError::Mapping { table, source })
}

fn open_map<M: TryFrom<Map, Error = MapError>>(
    pins: &Path,
    table: &'static str,
    kind: fn(MapData) -> Map,
) -> Result<M, TableError> {
    let data = MapData::from_pin(pins.join(table)).map_err(|source| failed("open", table, source))?;
    kind(data).try_into().map_err(|source| failed("use", table, source))
}

fn failed(what: &'static str, table: &'static str, source: MapError) -> TableError {
    TableError::Map { what, table, source }
}

impl Walker for Mapped {}

impl<A: Address> Buckets<A> for Mapped {
    type Bucket = &'static [std::sync::atomic::AtomicU64];

    fn bucket(&self, index: u32) -> Option<Self::Bucket> {
        self.row(index)
    }
}

impl Tables {
    /// The connection table of a width of addresses.
    pub fn connections<A: Address>(&self) -> Mapped {
        if A::IS_V6 { self.CONNECTIONS_V6 } else { self.CONNECTIONS }
    }

    /// All services that packets find, with their indices.
    pub fn service_ids(&self) -> Result<BTreeMap<ServiceKey, u32>, TableError> {
        self.SERVICE_IDS
            .iter()
            .map(|entry| entry.map(|(key, index)| (key.0, index)))
            .collect::<Result<_, _>>()
            .map_err(|source| failed("read", "service_ids", source))
    }

    /// Makes packets with this key find the service.
    pub fn put_service_id(&mut self, key: ServiceKey, index: u32) -> Result<(), TableError> {
        self.SERVICE_IDS
            .insert(Row(key), index, 0)
            .map_err(|source| failed("write", "service_ids", source))?;
        self.put_hint(hint::place_of(key), Hint::to(index));
        Ok(())
    }

    /// All hints to services that are given, with their places.
    pub fn hints(&self) -> Vec<(u32, Hint)> {
        let hint = |place| self.SERVICE_HINTS.row(place).map_or(Hint::NONE, |row| Hint(row.load(0)));
        (0..HINTS).map(|place| (place, hint(place))).filter(|(_, hint)| *hint != Hint::NONE).collect()
    }

    /// Gives a hint, or takes it away.
    pub fn put_hint(&self, place: u32, hint: Hint) {
        if let Some(row) = self.SERVICE_HINTS.row(place) {
            row.store(0, hint.0);
        }
    }

    /// Makes packets with this key find no service.
    pub fn remove_service_id(&mut self, key: ServiceKey) -> Result<(), TableError> {
        // First: nothing leads to the service once the map does not. What leads to the row of another one stays.
        let place = hint::place_of(key);
        let hinted = self.SERVICE_HINTS.row(place).and_then(|row| Hint(row.load(0)).index());
        let row = hinted.and_then(|index| self.SERVICES.row(index));
        if row.is_none_or(|row| Service(row).is_of(key)) {
            self.put_hint(place, Hint::NONE);
        }
        match self.SERVICE_IDS.remove(&Row(key)) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(source) => Err(failed("write", "service_ids", source)),
        }
    }

    /// The interfaces that are VLANs: of each the one below, and its tags.
    pub fn vlans(&self) -> Result<BTreeMap<u32, [u64; 2]>, TableError> {
        let entries = self.VLANS.iter().map(|entry| entry.map(|(ifindex, below)| (ifindex.0, below)));
        entries.collect::<Result<_, _>>().map_err(|source| failed("read", "vlans", source))
    }

    /// Says of an interface that it is a VLAN.
    pub fn put_vlan(&mut self, ifindex: u32, below: [u64; 2]) -> Result<(), TableError> {
        self.VLANS.insert(Row(ifindex), below, 0).map_err(|source| failed("write", "vlans", source))
    }

    /// Says that it is none any more.
    pub fn remove_vlan(&mut self, ifindex: u32) -> Result<(), TableError> {
        match self.VLANS.remove(&Row(ifindex)) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(source) => Err(failed("write", "vlans", source)),
        }
    }

    /// How often something was done for want of room, on all CPUs.
    pub fn overflow_count(&self, overflow: Overflow) -> Result<u64, TableError> {
        let counts =
            self.OVERFLOWS.row(overflow.raw()).map_err(|source| failed("read", "overflows", source))?;
        Ok(counts.iter().fold(0, |sum, count| sum.wrapping_add(*count)))
    }

    /// How often senders were told something, on all CPUs.
    pub fn notice_count(&self, notice: Notice) -> Result<u64, TableError> {
        let counts = self.NOTICES.row(notice.raw()).map_err(|source| failed("read", "notices", source))?;
        Ok(counts.iter().fold(0, |sum, count| sum.wrapping_add(*count)))
    }

    /// How many packets were not forwarded for a reason, on all CPUs.
    pub fn reason_count(&self, reason: Reason) -> Result<u64, TableError> {
        let counts = self.REASONS.row(reason.raw()).map_err(|source| failed("read", "reasons", source))?;
        Ok(counts.iter().fold(0, |sum, count| sum.wrapping_add(*count)))
    }

    /// The same for all reasons, by their numbers.
    pub fn reason_counts(&self) -> Result<Vec<u64>, TableError> {
        let mut counts = Vec::new();
        let read = self.REASONS.each(0, u32::MAX, |row| {
            counts.push(row.fold(0, u64::wrapping_add));
        });
        read.map_err(|source| failed("read", "reasons", source))?;
        Ok(counts)
    }

    /// The interface that a slot of the device map redirects to.
    pub fn port(&self, slot: u16) -> Option<u32> {
        self.PORTS.get(slot.into(), 0).ok().map(|port| port.if_index).filter(|ifindex| *ifindex != 0)
    }

    /// Lets packets be redirected to an interface through a slot.
    pub fn put_port(&mut self, slot: u16, ifindex: u32) -> Result<(), TableError> {
        self.PORTS.set(u32::from(slot), ifindex, None, 0).map_err(|source| TableError::Port(ifindex, source))
    }
}
