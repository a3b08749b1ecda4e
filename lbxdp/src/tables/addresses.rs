//! The sets of addresses that packets are looked up in: a table for each family.

use std::net::IpAddr;

use lbxdp_common::cells::Cells;
use lbxdp_common::table::Seed;
use lbxdp_common::vip;

use super::{Mapped, TableError, Tables, wait_for_packets};

/// A set of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressSet {
    /// The VIPs: packets to one may be ours.
    Vips,
    /// The servers that some connection may reach by VS/NAT: packets from one may be replies.
    Sources,
}

impl AddressSet {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Vips, Self::Sources];

    /// The table in which the set has an address.
    pub fn table(self, address: IpAddr) -> &'static str {
        match (self, address) {
            (Self::Vips, IpAddr::V4(_)) => "vips",
            (Self::Vips, IpAddr::V6(_)) => "vips_v6",
            (Self::Sources, IpAddr::V4(_)) => "sources",
            (Self::Sources, IpAddr::V6(_)) => "sources_v6",
        }
    }
}

impl Tables {
    /// Both tables of a set: IPv4, IPv6.
    fn of_set(&self, set: AddressSet) -> (Mapped, Mapped) {
        match set {
            AddressSet::Vips => (self.VIPS, self.VIPS_V6),
            AddressSet::Sources => (self.SOURCES, self.SOURCES_V6),
        }
    }

    /// All addresses of a set, with the buckets they stand in.
    pub fn addresses(&self, set: AddressSet) -> Vec<(u32, IpAddr)> {
        let (v4, v6) = self.of_set(set);
        let rows =
            |table: Mapped| (0..table.rows()).filter_map(move |bucket| Some((bucket, table.row(bucket)?)));
        let mut addresses = Vec::new();
        for (bucket, row) in rows(v4) {
            let held = (0..vip::VIP_CELLS).flat_map(|cell| vip::pair(row.load(cell)));
            addresses.extend(held.filter(|address| *address != [0; 4]).map(|held| (bucket, held.into())));
        }
        for (bucket, row) in rows(v6) {
            let held = (0..vip::VIP_WAYS).filter_map(|way| vip::address_v6(row, way));
            addresses.extend(held.map(|held| (bucket, held.into())));
        }
        addresses
    }

    /// Puts an address into a set.
    pub fn put_address(&self, set: AddressSet, address: IpAddr, seed: Seed) -> Result<(), TableError> {
        let (v4, v6) = self.of_set(set);
        let bucket = vip::bucket_of(address, seed);
        let is_put = match address {
            IpAddr::V4(address) => v4.row(bucket).is_some_and(|row| vip::put(row, address.octets())),
            IpAddr::V6(address) => {
                v6.row(bucket).is_some_and(|row| vip::put_v6(row, address.octets(), wait_for_packets))
            }
        };
        if is_put { Ok(()) } else { Err(TableError::BucketFull { table: set.table(address), address }) }
    }

    /// Takes an address out of a set.
    pub fn remove_address(&self, set: AddressSet, address: IpAddr, seed: Seed) {
        self.clear_address(set, vip::bucket_of(address, seed), address);
    }

    /// Takes an address out of a bucket, be it the right one or not.
    pub fn clear_address(&self, set: AddressSet, bucket: u32, address: IpAddr) {
        let (v4, v6) = self.of_set(set);
        match address {
            IpAddr::V4(address) => {
                if let Some(row) = v4.row(bucket) {
                    vip::remove(row, address.octets());
                }
            }
            IpAddr::V6(address) => {
                if let Some(row) = v6.row(bucket) {
                    vip::remove_v6(row, address.octets(), wait_for_packets);
                }
            }
        }
    }
}
