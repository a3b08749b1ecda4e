//! Which addresses are VIPs: those that a service has, or that a connection of a deleted server may have. Without any
//! service there is none: as in IPVS, the stack then gets what is left of the connections.
//!
//! Who uses an address is counted, so a change looks at no more addresses than it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// The addresses and their uses.
#[derive(Clone, Debug, Default)]
pub(super) struct Vips {
    /// How many services and deleted servers have an address.
    uses: BTreeMap<Ipv4Addr, usize>,
    /// What the tables have.
    in_tables: BTreeSet<Ipv4Addr>,
    /// Addresses whose first use has come, or whose last one has gone.
    dirty: BTreeSet<Ipv4Addr>,
    are_wanted: bool,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct VipChange {
    pub come: Vec<Ipv4Addr>,
    pub gone: Vec<Ipv4Addr>,
}

impl Vips {
    /// Those of tables as they are, of which nothing is known but what they have.
    pub(super) fn of_tables(in_tables: BTreeSet<Ipv4Addr>) -> Self {
        Self { dirty: in_tables.clone(), in_tables, ..Self::default() }
    }

    /// What the tables have.
    pub(super) fn in_tables(&self) -> &BTreeSet<Ipv4Addr> {
        &self.in_tables
    }

    /// Somebody uses an address; an IPv6 one is none.
    pub(super) fn begin_use(&mut self, address: Option<Ipv4Addr>) {
        let Some(address) = address else { return };
        let uses = self.uses.entry(address).or_default();
        *uses += 1;
        if *uses == 1 {
            self.dirty.insert(address);
        }
    }

    /// The use of an address is over.
    pub(super) fn end_use(&mut self, address: Option<Ipv4Addr>) {
        let Some(address) = address else { return };
        let Some(uses) = self.uses.get_mut(&address) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.uses.remove(&address);
            self.dirty.insert(address);
        }
    }

    /// What the tables lack, and what they have too much, now that there are services or none.
    pub(super) fn change(&mut self, are_services: bool) -> VipChange {
        if std::mem::replace(&mut self.are_wanted, are_services) != are_services {
            self.dirty.extend(self.uses.keys().chain(&self.in_tables));
        }
        let mut change = VipChange::default();
        for address in std::mem::take(&mut self.dirty) {
            if are_services && self.uses.contains_key(&address) {
                if self.in_tables.insert(address) {
                    change.come.push(address);
                }
            } else if self.in_tables.remove(&address) {
                change.gone.push(address);
            }
        }
        change
    }
}
