//! The kernel's tables, to be looked at and never written: opened with `BPF_F_RDONLY`, so that the kernel refuses what a mistake
//! here would write. Nothing is mapped: what may only be read the kernel does not map as shared memory, and it maps tables no
//! other way.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use aya::maps::lpm_trie::Key as Prefix;
use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{DevMap, HashMap, Map, MapData, MapError};
use lbxdp_common::address::{Address, V4, V6};
use lbxdp_common::client_hop::CLIENT_HOP_CELLS;
use lbxdp_common::fragment::{FRAGMENT_CELLS, FragmentKey};
use lbxdp_common::mark::MarkRun;
use lbxdp_common::named_enum;
use lbxdp_common::schedule::CacheKey;
use lbxdp_common::schedule::cache::CACHE_CELLS;
use lbxdp_common::service::{ServiceKey, narrowed};

use super::per_cpu::PerCpu;
use super::row::Row;
use super::system::{open_to_read, read_row};
use super::{TableError, failed};

named_enum! {
    /// A table of cells that packets ask, by its map's name.
    pub enum CellTable: u8 {
        /// The one row of settings.
        Settings = 0 => "settings",
        /// VIPs.
        Vips = 1 => "vips",
        /// Those of IPv6.
        VipsV6 = 2 => "vips_v6",
        /// Servers that are reached by VS/NAT.
        Sources = 3 => "sources",
        /// Those of IPv6.
        SourcesV6 = 4 => "sources_v6",
        /// Connections.
        Connections = 5 => "connections",
        /// Those of IPv6.
        ConnectionsV6 = 6 => "connections_v6",
        /// Servers.
        Servers = 7 => "servers",
        /// How many connections they have.
        Loads = 8 => "loads",
        /// Services.
        Services = 9 => "services",
        /// Their schedulers' turns.
        Turns = 10 => "turns",
        /// Their servers.
        Members = 11 => "members",
        /// Pressure.
        Pressure = 12 => "pressure",
        /// Limits of ICMP errors.
        Limits = 13 => "limits",
        /// Wishes to the daemon.
        Wanted = 14 => "wanted",
        /// Rules for marks.
        MarkRules = 15 => "mark_rules",
        /// Hints to services.
        ServiceHints = 16 => "service_hints",
    }
}

impl CellTable {
    /// The table of connections of a width of addresses.
    pub const fn connections<A: Address>() -> Self {
        if A::IS_V6 { Self::ConnectionsV6 } else { Self::Connections }
    }
}

/// All that packets ask, of one instance.
pub struct LookTables {
    /// By [`CellTable`].
    cells: Vec<Rows>,
    service_ids: HashMap<MapData, Row<ServiceKey>, u32>,
    mark_runs: LpmTrie<MapData, [u8; 4], u64>,
    mark_runs_v6: LpmTrie<MapData, [u8; 16], u64>,
    cache: HashMap<MapData, Row<CacheKey>, [u64; CACHE_CELLS]>,
    fragments: HashMap<MapData, Row<FragmentKey>, [u64; FRAGMENT_CELLS]>,
    vlans: HashMap<MapData, Row<u32>, [u64; 2]>,
    client_hops: PerCpu<[u64; CLIENT_HOP_CELLS]>,
    ports: DevMap<MapData>,
}

impl LookTables {
    /// Opens the tables pinned in a directory.
    pub fn open(pins: &Path) -> Result<Self, TableError> {
        Ok(Self {
            cells: CellTable::ALL.iter().map(|table| Rows::open(pins, *table)).collect::<Result<_, _>>()?,
            service_ids: map(pins, "service_ids", Map::HashMap)?,
            mark_runs: map(pins, "mark_runs", Map::LpmTrie)?,
            mark_runs_v6: map(pins, "mark_runs_v6", Map::LpmTrie)?,
            cache: map(pins, "cache", Map::HashMap)?,
            fragments: map(pins, "fragments", Map::LruHashMap)?,
            vlans: map(pins, "vlans", Map::HashMap)?,
            client_hops: map(pins, "client_hops", Map::PerCpuArray)?,
            ports: map(pins, "ports", Map::DevMap)?,
        })
    }

    /// A copy of a row of cells; `None` if there is none of this index.
    pub fn row(&self, table: CellTable, index: u32) -> Result<Option<Vec<u64>>, TableError> {
        let rows = self.cells.get(usize::from(table.raw()));
        match rows.map_or(Ok(None), |rows| rows.row(index).map(Some)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map_err(|error| failed("read", table.name(), MapError::IoError(error))),
        }
    }

    /// The index of a service.
    pub fn service(&self, key: ServiceKey) -> Result<Option<u32>, TableError> {
        found(self.service_ids.get(&Row(key), 0), "service_ids")
    }

    /// The rules for the marks of packets to a destination.
    pub fn mark_run<A: Address>(&self, destination: A) -> Result<Option<MarkRun>, TableError> {
        let wide = destination.wide();
        let run = if A::IS_V6 {
            let key = Prefix::new(8 * u32::try_from(size_of::<V6>()).unwrap_or(0), wide);
            found(self.mark_runs_v6.get(&key, 0), "mark_runs_v6")
        } else {
            let key = Prefix::new(8 * u32::try_from(size_of::<V4>()).unwrap_or(0), narrowed(wide));
            found(self.mark_runs.get(&key, 0), "mark_runs")
        };
        Ok(run?.map(|run| zerocopy::transmute!(run)))
    }

    /// What lblc and lblcr remember under a key.
    pub fn cached(&self, key: CacheKey) -> Result<Option<[u64; CACHE_CELLS]>, TableError> {
        found(self.cache.get(&Row(key), 0), "cache")
    }

    /// What is remembered of a datagram that comes in fragments.
    pub fn fragment(&self, key: FragmentKey) -> Result<Option<[u64; FRAGMENT_CELLS]>, TableError> {
        found(self.fragments.get(&Row(key), 0), "fragments")
    }

    /// Of an interface that is a VLAN the one below it, and its tags.
    pub fn vlan(&self, ifindex: u32) -> Result<Option<[u64; 2]>, TableError> {
        found(self.vlans.get(&Row(ifindex), 0), "vlans")
    }

    /// What each CPU remembers of a way to a client.
    pub fn client_hops(&self, index: u32) -> Result<Vec<[u64; CLIENT_HOP_CELLS]>, TableError> {
        self.client_hops.row(index).map_err(|source| failed("read", "client_hops", source))
    }

    /// The interface that a slot of the device map redirects to.
    pub fn port(&self, slot: u16) -> Option<u32> {
        self.ports.get(slot.into(), 0).ok().map(|port| port.if_index).filter(|ifindex| *ifindex != 0)
    }
}

fn found<T>(answer: Result<T, MapError>, table: &'static str) -> Result<Option<T>, TableError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(source) => Err(failed("read", table, source)),
    }
}

fn data(pins: &Path, table: &'static str) -> Result<MapData, TableError> {
    let descriptor = open_to_read(&pins.join(table)).map_err(|source| TableError::Pin { table, source })?;
    MapData::from_fd(descriptor).map_err(|source| failed("open", table, source))
}

/// A table of cells.
struct Rows {
    map: MapData,
    /// Cells of a row.
    width: usize,
}

impl Rows {
    /// How often a row is read at most until two readings are the same.
    const MAX_READINGS: u32 = 16;

    fn open(pins: &Path, table: CellTable) -> Result<Self, TableError> {
        let map = data(pins, table.name())?;
        let info = map.info().map_err(|source| failed("ask about", table.name(), source))?;
        Ok(Self { width: (info.value_size() as usize).div_ceil(size_of::<u64>()), map })
    }

    /// A row. Packets change it meanwhile, cell by cell: two readings that are the same
    /// are of one moment.
    fn row(&self, index: u32) -> io::Result<Vec<u64>> {
        let read = || {
            let mut cells = vec![0; self.width];
            read_row(self.map.fd().as_fd(), index, &mut cells).map(|()| cells)
        };
        let mut last = read()?;
        for _ in 0..Self::MAX_READINGS {
            let next = read()?;
            if next == last {
                break;
            }
            last = next;
        }
        Ok(last)
    }
}

fn map<M: TryFrom<Map, Error = MapError>>(
    pins: &Path,
    table: &'static str,
    kind: fn(MapData) -> Map,
) -> Result<M, TableError> {
    kind(data(pins, table)?).try_into().map_err(|source| failed("use", table, source))
}
