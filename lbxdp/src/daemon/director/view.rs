//! What is shown of an instance: its services with what is counted for them, and how it is.

use std::net::IpAddr;

use lbxdp_common::table::WAYS;
use lbxdp_common::{Address, Notice, Overflow, Reason, V4, V6};

use super::Director;
use super::hops::mac_text;
use super::only_kept::only_kept;
use crate::daemon::accounts::shown;
use crate::daemon::held::HeldPackets;
use crate::daemon::keeper::{Counts, load_of, shape, templates_to};
use crate::layout::VlanTags;
use crate::snapshot::{
    Counted, Counters, NextHop, NotForwarded, ServerSnapshot, ServiceSnapshot, Snapshot, Status, TableStatus,
    Way,
};
use crate::state::ServiceKey;
use crate::tables::{CounterRows, TableError};

impl Director {
    pub(super) fn snapshot(&self) -> Result<Snapshot, TableError> {
        Ok(self.snapshot_of(&self.tables.counter_rows(self.layout.all_server_ids())?))
    }

    /// All services, by counters that were read already.
    pub(in crate::daemon) fn snapshot_of(&self, rows: &CounterRows) -> Snapshot {
        let services = self.state.services.iter().map(|(key, service)| {
            let ids = self.layout.server_ids(key);
            let servers = service.servers.iter().zip(ids).map(|(server, id)| {
                let load = load_of(&self.tables.LOADS, *id);
                ServerSnapshot {
                    server: *server,
                    active: load.active(),
                    inactive: load.inactive(),
                    persistent: templates_to(&self.tables.LOADS, *id),
                    counters: shown(self.tables.server_total(rows, *id)),
                    rates: self.accounts.server(*id),
                }
            });
            ServiceSnapshot {
                key: *key,
                options: service.options,
                counters: self.service_total(rows, key),
                rates: self.accounts.service(self.index(key)),
                servers: servers.collect(),
            }
        });
        Snapshot {
            table_size: self.tables.CONNECTIONS.rows(),
            hertz: self.clock.hertz(),
            services: services.collect(),
        }
    }

    /// What a service shows: what its servers have counted while they were its servers, deleted ones too.
    pub(super) fn service_total(&self, rows: &CounterRows, key: &ServiceKey) -> Counters {
        shown(self.tables.service_total(rows, self.index(key), self.counting_ids(key)))
    }

    pub(in crate::daemon) fn status(&self) -> Result<Status, TableError> {
        let not_forwarded = Reason::ALL.iter().filter(|reason| **reason != Reason::NotOurs);
        let not_forwarded = not_forwarded.map(|reason| {
            Ok(NotForwarded {
                reason: reason.name().into(),
                fate: reason.fate(),
                packets: match reason {
                    Reason::HeldLost => self.held.as_ref().map_or(0, HeldPackets::lost),
                    reason => self.tables.reason_count(*reason)?,
                },
            })
        });
        let overflows = Overflow::ALL.iter().map(|overflow| {
            Ok(Counted { name: overflow.name().into(), count: self.tables.overflow_count(*overflow)? })
        });
        let notices = Notice::ALL.iter().map(|notice| {
            Ok(Counted { name: notice.name().into(), count: self.tables.notice_count(*notice)? })
        });
        Ok(Status {
            interfaces: self.interfaces.clone(),
            table: self.table_status::<V4>(),
            table_v6: self.table_status::<V6>(),
            is_pressed: self.pressure.is_on(),
            overflows: overflows.collect::<Result<_, TableError>>()?,
            repaired: self.drift.repaired,
            unsaved: self.saved.trouble().map(Into::into),
            only_kept: only_kept(&self.state).into_iter().map(Into::into).collect(),
            next_hops: self
                .state
                .server_addresses()
                .into_iter()
                .map(|server| self.next_hop(server))
                .collect(),
            not_forwarded: not_forwarded.collect::<Result<_, TableError>>()?,
            notices: notices.collect::<Result<_, TableError>>()?,
        })
    }

    fn next_hop(&self, server: IpAddr) -> NextHop {
        let hop = self.next_hops.hop(server);
        let interface = || self.link(hop.ifindex).map(|link| link.name.clone()).unwrap_or_default();
        let way = match hop.mac {
            _ if hop.is_local => Way::Local,
            None => Way::Unknown,
            Some(mac) => Way::Out {
                mac: mac_text(mac),
                interface: interface(),
                vlans: hop.vlan.iter().flat_map(VlanTags::ids).collect(),
                mtu: hop.mtu,
            },
        };
        NextHop { server, way }
    }

    fn table_status<A: Address>(&self) -> TableStatus {
        let shape = shape::<A>(&self.tables.SETTINGS);
        let most = self.tables.connections::<A>().rows();
        let places = |buckets: u32| u64::from(buckets) * WAYS as u64;
        let counts = Counts::of::<A>(&self.tables.SERVERS, &self.tables.LOADS);
        TableStatus {
            connections: counts.connections,
            half_open: self.keeper.half_open::<A>(),
            entries: counts.entries(),
            places: places(shape.home()),
            most_places: places(most),
            is_growing: !shape.is_steady(),
            sweep: self.keeper.sweep::<A>(),
        }
    }
}
