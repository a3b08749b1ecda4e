//! What the schedulers lblc and lblcr remember, as the daemon sees it: when each row was used last.

use aya::maps::MapError;
use lbxdp_common::Ticks;
use lbxdp_common::schedule::CacheKey;
use lbxdp_common::schedule::cache::used;

use super::row::Row;
use super::{TableError, Tables, failed};

impl Tables {
    /// All rows, with when they were used last.
    pub fn cached(&self) -> Result<Vec<(CacheKey, Ticks)>, TableError> {
        let mut rows = Vec::new();
        for key in self.CACHE.keys() {
            let Row(key) = key.map_err(|source| failed("read", "cache", source))?;
            match self.CACHE.get(&Row(key), 0) {
                Ok(cells) => rows.push((key, used(&cells))),
                Err(MapError::KeyNotFound) => {}
                Err(source) => return Err(failed("read", "cache", source)),
            }
        }
        Ok(rows)
    }

    /// Removes a row.
    pub fn forget_cached(&mut self, key: CacheKey) -> Result<(), TableError> {
        match self.CACHE.remove(&Row(key)) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(source) => Err(failed("write", "cache", source)),
        }
    }
}
