//! How many servers are shown by themselves: with many of them, series are what a Prometheus runs out of.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::snapshot::Snapshot;

/// Which servers have metrics of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerLimit {
    #[default]
    All,
    /// Those that have had the most connections, so many in all; each service's others are one more, their sum.
    Top(usize),
    /// None: services alone.
    None,
}

/// A word that says nothing of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`all`, `none`, or how many servers are to have metrics of their own")]
pub struct BadServerLimit;

impl FromStr for ServerLimit {
    type Err = BadServerLimit;

    fn from_str(word: &str) -> Result<Self, BadServerLimit> {
        match word {
            "all" => Ok(Self::All),
            "none" | "0" => Ok(Self::None),
            number => number.parse().map(Self::Top).map_err(|_| BadServerLimit),
        }
    }
}

impl fmt::Display for ServerLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Top(number) => write!(f, "{number}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// The servers that are shown, by the places of their services and their own.
///
/// Counted are connections since the start or the last `ipvsadm -Z`, for these change the order seldom; of equal servers
/// the first ones of the listing are taken.
pub(super) fn chosen(snapshot: &Snapshot, limit: ServerLimit) -> BTreeSet<(usize, usize)> {
    let services = snapshot.services.iter().enumerate();
    let places = services.flat_map(|(at, service)| {
        service
            .servers
            .iter()
            .enumerate()
            .map(move |(place, server)| (Reverse(server.counters.connections), (at, place)))
    });
    match limit {
        ServerLimit::All => places.map(|(_, place)| place).collect(),
        ServerLimit::None => BTreeSet::new(),
        ServerLimit::Top(number) => {
            let mut places: Vec<_> = places.collect();
            places.sort_unstable();
            places.into_iter().take(number).map(|(_, place)| place).collect()
        }
    }
}
