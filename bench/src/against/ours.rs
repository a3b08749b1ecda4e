//! lbxdp as a director, native on the same kind of link.

use anyhow::Result;

use super::case::{Case, SERVERS, Work};
use super::{Contender, Counted, Null};
use crate::bed::{Bed, Network, Size};
use crate::driver::Object;
use crate::packet::Family;
use crate::room;

/// Connections that there is room for, and half as many of IPv6.
const CONNECTIONS: u32 = 1 << 20;

/// Entries that the table has room for from the beginning: those of all rounds.
const ENTRIES: u64 = 1 << 18;

pub(crate) struct Ours(Bed);

impl Contender for Ours {
    const NAME: &'static str = "lbxdp";

    fn start(object: &Object, rules: &str) -> Result<Self> {
        let bed = Bed::make(object, Size { connections: CONNECTIONS, servers: SERVERS }, rules)?;
        for family in Family::ALL {
            room::make(&bed.tables, family, ENTRIES)?;
        }
        Ok(Self(bed))
    }

    fn network(&self) -> &Network {
        &self.0.network
    }

    fn counted(&self) -> Result<Counted> {
        let counted = Counted::read(&self.0.daemon.must("proc ip_vs_stats_percpu")?)?;
        Ok(Counted { mishaps: self.0.mishaps()?, ..counted })
    }

    fn null(case: Case) -> Null {
        Null::Program(match (case.work, case.family) {
            (Work::Direct | Work::Request | Work::Reply, _) => "null_rewrite",
            (Work::Tunnel, Family::V4) => "null_tunnel_v4",
            (Work::Tunnel, Family::V6) => "null_tunnel_v6",
        })
    }
}
