//! A decapsulator's tables. They belong to the program that is attached: whoever has that finds them by it, and what a
//! start puts in its place brings its own, so that the old and the new settings are never mixed.

use aya::Ebpf;
use aya::maps::lpm_trie::{Key as Prefix, LpmTrie};
use aya::maps::{Array, Map, MapData, MapError, PerCpuArray};
use aya::programs::loaded_programs;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lbxdp_common::decap::{MAX_SOURCES, Refusal, Settings, Source, Tunnel};

use super::row::Row;
use super::{TableError, failed};

const SETTINGS: &str = "decap_settings";
const SOURCES: &str = "decap_sources";
/// The table of packets that were taken out of tunnels.
pub const OPENED: &str = "decap_opened";
/// The table of tunnel packets that were not.
pub const REFUSED: &str = "decap_refused";

/// The tables of one decapsulator.
pub struct Decap {
    settings: Array<MapData, Row<Settings>>,
    sources: LpmTrie<MapData, Row<Source>, u64>,
    opened: PerCpuArray<MapData, u64>,
    refused: PerCpuArray<MapData, u64>,
}

impl Decap {
    /// The tables of an object that was loaded, taken out of it. Its programs must be loaded already.
    pub fn of_object(ebpf: &mut Ebpf) -> Result<Self, TableError> {
        Self::open(|table| {
            let missing = || failed("find", table, MapError::InvalidName { name: table.into() });
            ebpf.take_map(table).ok_or_else(missing)
        })
    }

    /// The tables of a program in the kernel.
    pub fn of_program(id: u32) -> Result<Self, TableError> {
        let program = loaded_programs().flatten().find(|program| program.id() == id);
        let maps = program.and_then(|program| program.map_ids().ok().flatten()).unwrap_or_default();
        Self::open(|table| {
            for id in &maps {
                let data = MapData::from_id(*id).map_err(|source| failed("open", table, source))?;
                let info = data.info().map_err(|source| failed("ask about", table, source))?;
                if info.name_as_str() == Some(table) {
                    return kind(table, data);
                }
            }
            Err(failed("find", table, MapError::InvalidName { name: table.into() }))
        })
    }

    fn open(mut table: impl FnMut(&'static str) -> Result<Map, TableError>) -> Result<Self, TableError> {
        Ok(Self {
            settings: used(SETTINGS, table(SETTINGS)?)?,
            sources: used(SOURCES, table(SOURCES)?)?,
            opened: used(OPENED, table(OPENED)?)?,
            refused: used(REFUSED, table(REFUSED)?)?,
        })
    }

    pub fn settings(&self) -> Result<Settings, TableError> {
        let Row(settings) = self.settings.get(&0, 0).map_err(|source| failed("read", SETTINGS, source))?;
        Ok(settings)
    }

    pub fn put_settings(&mut self, settings: Settings) -> Result<(), TableError> {
        self.settings.set(0, Row(settings), 0).map_err(|source| failed("write", SETTINGS, source))
    }

    /// Where tunnel packets may come from, in order.
    pub fn sources(&self) -> Result<Vec<IpNet>, TableError> {
        let keys: Result<Vec<_>, _> = self.sources.keys().collect();
        let keys = keys.map_err(|source| failed("read", SOURCES, source))?;
        let mut sources: Vec<IpNet> =
            keys.iter().filter_map(|key| prefix(key.prefix_len(), key.data().0)).collect();
        sources.sort();
        Ok(sources)
    }

    pub fn allow(&mut self, source: IpNet) -> Result<(), TableError> {
        self.sources.insert(&key(source), 1, 0).map_err(|source| failed("write", SOURCES, source))
    }

    /// How many packets were taken out of such tunnels.
    pub fn opened(&self, tunnel: Tunnel) -> Result<u64, TableError> {
        sum(&self.opened, OPENED, tunnel.raw())
    }

    /// How many were not, for this reason.
    pub fn refused(&self, refusal: Refusal) -> Result<u64, TableError> {
        sum(&self.refused, REFUSED, refusal.raw())
    }
}

/// Rows that the counters of this build have.
pub fn counter_rows(table: &str) -> usize {
    if table == OPENED { Tunnel::COUNT } else { Refusal::COUNT }
}

fn kind(table: &'static str, data: MapData) -> Result<Map, TableError> {
    Map::from_map_data(data).map_err(|source| failed("use", table, source))
}

fn used<T: TryFrom<Map, Error = MapError>>(table: &'static str, map: Map) -> Result<T, TableError> {
    map.try_into().map_err(|source| failed("use", table, source))
}

fn sum(counters: &PerCpuArray<MapData, u64>, table: &'static str, row: u32) -> Result<u64, TableError> {
    let values = counters.get(&row, 0).map_err(|source| failed("read", table, source))?;
    Ok(values.iter().sum())
}

fn key(source: IpNet) -> Prefix<Row<Source>> {
    let (bits, source) = match source {
        IpNet::V4(net) => (net.prefix_len(), Source::ipv4(net.network().octets())),
        IpNet::V6(net) => (net.prefix_len(), Source::ipv6(net.network().octets())),
    };
    Prefix::new(Source::FAMILY_BITS + u32::from(bits), Row(source))
}

/// A row of the table as a prefix; `None` if it can be none of ours.
fn prefix(bits: u32, source: Source) -> Option<IpNet> {
    let bits = u8::try_from(bits.checked_sub(Source::FAMILY_BITS)?).ok()?;
    let [a, b, c, d, ..] = source.address;
    Some(match source.family.get() {
        4 => Ipv4Net::new([a, b, c, d].into(), bits).ok()?.into(),
        6 => Ipv6Net::new(source.address.into(), bits).ok()?.into(),
        _ => return None,
    })
}

/// How many sources there is room for.
pub const MOST_SOURCES: usize = MAX_SOURCES as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_was_written() {
        for text in ["10.0.0.1/32", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::1/128", "fd00::/8", "::/0"] {
            let source: IpNet = text.parse().unwrap();
            let key = key(source);
            assert_eq!(prefix(key.prefix_len(), key.data().0), Some(source));
        }
    }
}
