//! Datagrams in fragments, as the daemon sees them: whether the first fragment has come, and the packets it is to see to.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use aya::maps::{HashMap, Map, MapData, MapError, RingBuf};
use lbxdp_common::fragment::{FRAGMENT_CELLS, FragmentKey, is_known};
use lbxdp_common::held::{Held, HeldHeader};
use zerocopy::FromBytes;

use super::row::Row;
use super::{TableError, failed, open_map};

const FRAGMENTS: &str = "fragments";

/// The datagrams whose first fragment has come.
pub struct Fragments(HashMap<MapData, Row<FragmentKey>, [u64; FRAGMENT_CELLS]>);

impl Fragments {
    /// Opens the table pinned in a directory.
    pub fn open(pins: &Path) -> Result<Self, TableError> {
        open_map(pins, FRAGMENTS, Map::LruHashMap).map(Self)
    }

    /// Whether the first fragment of a datagram has come, and others are still to come.
    pub fn has_begun(&self, key: FragmentKey) -> Result<bool, TableError> {
        match self.0.get(&Row(key), 0) {
            Ok(cells) => Ok(is_known(&cells)),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(source) => Err(failed("read", FRAGMENTS, source)),
        }
    }

    /// Forgets all datagrams.
    pub fn forget(&mut self) -> Result<(), TableError> {
        let keys = self.0.keys().collect::<Result<Vec<_>, _>>();
        for key in keys.map_err(|source| failed("read", FRAGMENTS, source))? {
            match self.0.remove(&key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(source) => return Err(failed("write", FRAGMENTS, source)),
            }
        }
        Ok(())
    }
}

/// The ring of held packets. It has one reader.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    /// Opens the ring pinned in a directory.
    pub fn open(pins: &Path) -> Result<Self, TableError> {
        open_map(pins, "held", Map::RingBuf).map(Self)
    }

    /// Takes out the next held packet, if there is one: what is known of it, and its frame.
    pub fn take(&mut self) -> Option<(HeldHeader, Vec<u8>)> {
        loop {
            let item = self.0.next()?;
            // All items are of one kind; another build's would be pinned elsewhere.
            if let Ok(held) = Held::ref_from_bytes(&item) {
                return Some((held.header, held.frame().to_vec()));
            }
        }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
