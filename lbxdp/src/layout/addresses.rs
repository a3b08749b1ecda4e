//! A set of addresses that packets are looked up in, and who uses them: the VIPs, which services have, or connections of
//! deleted servers may have; and the servers that connections may reach by VS/NAT. Without any service of a family there are
//! none of it: as in IPVS, the stack then gets what is left of the connections.
//!
//! Who uses an address is counted, so a change looks at no more addresses than it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lbxdp_common::vip::can_hold;

use super::Write;
use crate::tables::AddressSet;

/// The addresses of a set and their uses.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    set: AddressSet,
    /// How many use an address.
    uses: BTreeMap<IpAddr, usize>,
    /// What the tables have.
    in_tables: BTreeSet<IpAddr>,
    /// Addresses whose first use has come, or whose last one has gone.
    dirty: BTreeSet<IpAddr>,
    wanted: Families,
}

/// The families of which there are services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Families {
    pub v4: bool,
    pub v6: bool,
}

impl Families {
    fn has(self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.v4 } else { self.v6 }
    }
}

impl Addresses {
    /// Empty tables.
    pub(super) fn new(set: AddressSet) -> Self {
        Self::of_tables(set, BTreeSet::new())
    }

    /// Those of tables as they are, of which nothing is known but what they have.
    pub(super) fn of_tables(set: AddressSet, in_tables: BTreeSet<IpAddr>) -> Self {
        let (uses, wanted) = (BTreeMap::new(), Families::default());
        Self { set, uses, dirty: in_tables.clone(), in_tables, wanted }
    }

    /// Which one it is.
    pub(super) fn set(&self) -> AddressSet {
        self.set
    }

    /// What the tables have.
    pub(super) fn in_tables(&self) -> &BTreeSet<IpAddr> {
        &self.in_tables
    }

    /// Whether nobody uses any.
    pub(super) fn are_unused(&self) -> bool {
        self.uses.is_empty()
    }

    /// Somebody uses an address. What no table can hold no packet carries.
    pub(super) fn begin_use(&mut self, address: Option<IpAddr>) {
        let Some(address) = address.filter(|address| can_hold(*address)) else { return };
        let uses = self.uses.entry(address).or_default();
        *uses += 1;
        if *uses == 1 {
            self.dirty.insert(address);
        }
    }

    /// The use of an address is over.
    pub(super) fn end_use(&mut self, address: Option<IpAddr>) {
        let Some(address) = address else { return };
        let Some(uses) = self.uses.get_mut(&address) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.uses.remove(&address);
            self.dirty.insert(address);
        }
    }

    /// The writes of what the tables lack, and those of what they have too much, now that there are services of these
    /// families.
    pub(super) fn change(&mut self, wanted: Families) -> (Vec<Write>, Vec<Write>) {
        if std::mem::replace(&mut self.wanted, wanted) != wanted {
            self.dirty.extend(self.uses.keys().chain(&self.in_tables));
        }
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        for address in std::mem::take(&mut self.dirty) {
            if wanted.has(address) && self.uses.contains_key(&address) {
                if self.in_tables.insert(address) {
                    come.push(Write::Address { set: self.set, address });
                }
            } else if self.in_tables.remove(&address) {
                gone.push(Write::RemoveAddress { set: self.set, address });
            }
        }
        (come, gone)
    }
}
