//! `lbxdp watch`: packets as they come, with what became of them and why. The packet path chooses and copies
//! (`lbxdp_common::watch`), the daemon completes what it knows (`daemon/watching/`), and here it is shown or written down.

mod command;
mod filter;
mod json;
mod only;
mod packet;
mod pcapng;
mod sighting;
mod told;
mod wall;

use serde::{Deserialize, Serialize};

pub use command::{WatchArguments, WatchError, run};
pub use filter::{BadFilter, Filter};
pub use only::{BadOutcome, Only};
pub use sighting::{MOST_SIGHTINGS, ServerSeen, Sighting, interface_name};

/// What a watcher asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRequest {
    /// One of so many of the packets that fit.
    pub sample: u32,
    /// At most so many packets a second.
    pub rate: u32,
    /// Only those that come in by this interface.
    pub interface: Option<String>,
    pub filter: Filter,
    /// Which outcomes ([`lbxdp_common::watch::Outcomes`]).
    pub outcomes: u64,
}

/// What became of the packets that a watcher's filter fits; shown are all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotShown {
    /// Left out by chance, as one of so many was asked for.
    pub sampled_out: u64,
    /// More than were asked for in a second.
    pub limited: u64,
    /// Of another outcome than was asked for.
    pub other_outcome: u64,
    /// The ring was full, or the watcher too slow.
    pub lost: u64,
}
