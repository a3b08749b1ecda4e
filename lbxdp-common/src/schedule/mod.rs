//! The schedulers: which server gets a new connection. One file each.

use crate::named_enum;

named_enum! {
    /// A scheduler, by the name IPVS gives it.
    pub enum Scheduler: u8 {
        RoundRobin = 1 => "rr",
        WeightedRoundRobin = 2 => "wrr",
        WeightedLeastConnection = 3 => "wlc",
    }
}
