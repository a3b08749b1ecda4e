//! In which ways connections may go to servers. New ones go as a server's row says; older ones go on as they began, so
//! what the packet path must look out for outlives an edit. The row remembers it, and with it the next daemon.

use std::collections::BTreeMap;
use std::time::Instant;

use lbxdp_common::server::{ServerId, ServerRow};

use super::addresses::{Addresses, Families};
use super::{TRASH_TIME, Write};
use crate::state::ServiceKey;

/// What all rows of servers have in common.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    /// The addresses of servers that some connection may reach by VS/NAT.
    sources: Addresses,
    /// How many servers some connection may reach by VS/TUN.
    tunnels: usize,
    /// The configured servers that older connections may reach in another way than new ones, and since when.
    old: BTreeMap<(ServiceKey, ServerId), Instant>,
}

impl Ways {
    pub(super) fn new(sources: Addresses) -> Self {
        Self { sources, tunnels: 0, old: BTreeMap::new() }
    }

    /// The addresses of servers that some connection may reach by VS/NAT.
    pub(super) fn sources(&self) -> &Addresses {
        &self.sources
    }

    /// Whether some connection may go by VS/NAT.
    pub(super) fn may_masquerade(&self) -> bool {
        !self.sources.are_unused()
    }

    /// Whether some connection may go by VS/TUN.
    pub(super) fn may_tunnel(&self) -> bool {
        self.tunnels > 0
    }

    /// A row comes, becomes another, or goes.
    pub(super) fn change(&mut self, was: Option<&ServerRow>, is: Option<&ServerRow>) {
        if let Some(row) = is {
            self.sources.begin_use(row.flags.may_masquerade().then(|| row.ip()));
            self.tunnels += usize::from(row.flags.may_tunnel());
        }
        if let Some(row) = was {
            self.sources.end_use(row.flags.may_masquerade().then(|| row.ip()));
            self.tunnels -= usize::from(row.flags.may_tunnel());
        }
    }

    /// Older connections may go to a configured server in another way than new ones, from now on the latest.
    pub(super) fn remember(&mut self, service: ServiceKey, row: &ServerRow, now: Instant) {
        let name = (service, ServerId(row.id));
        if row.flags.has_old_methods() {
            self.old.insert(name, now);
        } else {
            self.old.remove(&name);
        }
    }

    /// The servers that all connections may reach in one way now: nothing was begun in another one for long enough, and
    /// nothing is there (`entries` counts).
    pub(super) fn settled(
        &mut self,
        entries: &dyn Fn(ServerId) -> u64,
        now: Instant,
    ) -> Vec<(ServiceKey, ServerId)> {
        let is_over =
            |id: ServerId, since: Instant| now.duration_since(since) >= TRASH_TIME && entries(id) == 0;
        let settled = self.old.iter().filter(|((_, id), since)| is_over(*id, **since));
        let settled: Vec<_> = settled.map(|(name, _)| *name).collect();
        for name in &settled {
            self.old.remove(name);
        }
        settled
    }

    /// As [`Addresses::change`].
    pub(super) fn change_sources(&mut self, wanted: Families) -> (Vec<Write>, Vec<Write>) {
        self.sources.change(wanted)
    }
}
