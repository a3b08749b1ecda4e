//! Counters as IPVS shows them: since the last `-Z`, with rates, for servers and for services.
//!
//! The packet path counts for servers only, and never back. A service has what its servers counted while they were its
//! servers, so the sum outlives a server that is deleted.

use std::collections::BTreeMap;

use lbxdp_common::counters::ServerCounters;
use lbxdp_common::server::ServerId;

use crate::snapshot::{Counters, Rates};
use crate::state::ServiceKey;

/// Time between two steps of the rates, in seconds (IPVS's estimator: `ip_vs_est.c`).
pub(super) const ESTIMATE_EVERY_S: u64 = 2;

/// The books of one instance.
#[derive(Default)]
pub(super) struct Accounts {
    servers: BTreeMap<ServerId, ServerAccount>,
    services: BTreeMap<ServiceKey, ServiceAccount>,
}

#[derive(Default)]
struct ServerAccount {
    /// What the packet path's counters stood at when they were last zeroed.
    zeroed_at: Counters,
    /// How much of what they stand at now its service has booked already.
    booked: Counters,
    estimate: Estimate,
}

#[derive(Default)]
struct ServiceAccount {
    total: Counters,
    estimate: Estimate,
}

impl Accounts {
    /// A server whose counters have just begun at 0.
    pub(super) fn open_server(&mut self, server: ServerId) {
        self.servers.insert(server, ServerAccount::default());
    }

    /// Books what a service's server has counted since it was last asked.
    pub(super) fn book(&mut self, service: ServiceKey, server: ServerId, counted: ServerCounters) {
        let now = counters(counted);
        let account = self.servers.entry(server).or_default();
        let total = &mut self.services.entry(service).or_default().total;
        *total = plus(*total, minus(now, account.booked));
        account.booked = now;
    }

    /// A service is gone; its servers' accounts wait in case it comes back, and begin at 0 then.
    pub(super) fn close_service(&mut self, service: &ServiceKey, servers: &[ServerId]) {
        self.services.remove(service);
        for server in servers {
            self.zero_server(*server);
        }
    }

    /// These servers will never be seen again.
    pub(super) fn close_servers(&mut self, servers: &[ServerId]) {
        for server in servers {
            self.servers.remove(server);
        }
    }

    /// Sets a service's and its servers' counters to zero. What they have counted must be booked.
    pub(super) fn zero(&mut self, service: &ServiceKey, servers: &[ServerId]) {
        if let Some(account) = self.services.get_mut(service) {
            *account = ServiceAccount::default();
        }
        for server in servers {
            self.zero_server(*server);
        }
    }

    fn zero_server(&mut self, server: ServerId) {
        if let Some(account) = self.servers.get_mut(&server) {
            account.zeroed_at = account.booked;
            account.estimate = Estimate { last: account.booked, ..Estimate::default() };
        }
    }

    /// What a server shows, as of its last booking.
    pub(super) fn server(&self, server: ServerId) -> (Counters, Rates) {
        self.servers.get(&server).map_or_else(Default::default, |account| {
            (minus(account.booked, account.zeroed_at), account.estimate.rates())
        })
    }

    /// What a service shows, as of its servers' last booking.
    pub(super) fn service(&self, service: &ServiceKey) -> (Counters, Rates) {
        self.services
            .get(service)
            .map_or_else(Default::default, |account| (account.total, account.estimate.rates()))
    }

    /// One step of all rates; to be called every [`ESTIMATE_EVERY_S`], after everything was booked.
    pub(super) fn estimate(&mut self) {
        for account in self.servers.values_mut() {
            account.estimate.step(account.booked);
        }
        for account in self.services.values_mut() {
            account.estimate.step(account.total);
        }
    }
}

/// IPVS's moving averages: `avg += (rate - avg) / 4` every two seconds, in fixed point.
#[derive(Default)]
struct Estimate {
    last: Counters,
    /// Per second: connections and packets times 2^10, bytes times 2^5.
    average: [i64; 5],
}

/// Bits after the point: of connections and packets, and of bytes.
const COUNT_BITS: u32 = 10;
const BYTE_BITS: u32 = 5;

impl Estimate {
    fn step(&mut self, now: Counters) {
        let grown = fields(minus(now, self.last));
        for ((average, grown), bits) in self.average.iter_mut().zip(grown).zip(BITS) {
            // Half of what came in two seconds, per second.
            let rate = grown.cast_signed() << (bits - 1);
            *average += (rate - *average) >> 2;
        }
        self.last = now;
    }

    fn rates(&self) -> Rates {
        let [connections, in_packets, out_packets, in_bytes, out_bytes] = self.average;
        let rounded = |average: i64, bits: u32| ((average + (1 << (bits - 1)) - 1) >> bits).cast_unsigned();
        Rates {
            connections: rounded(connections, COUNT_BITS),
            in_packets: rounded(in_packets, COUNT_BITS),
            out_packets: rounded(out_packets, COUNT_BITS),
            in_bytes: rounded(in_bytes, BYTE_BITS),
            out_bytes: rounded(out_bytes, BYTE_BITS),
        }
    }
}

const BITS: [u32; 5] = [COUNT_BITS, COUNT_BITS, COUNT_BITS, BYTE_BITS, BYTE_BITS];

fn counters(counted: ServerCounters) -> Counters {
    // Nothing comes back through the director in VS/DR.
    Counters {
        connections: counted.connections,
        in_packets: counted.packets,
        in_bytes: counted.bytes,
        ..Counters::default()
    }
}

fn fields(c: Counters) -> [u64; 5] {
    [c.connections, c.in_packets, c.out_packets, c.in_bytes, c.out_bytes]
}

fn combine(a: Counters, b: Counters, with: fn(u64, u64) -> u64) -> Counters {
    Counters {
        connections: with(a.connections, b.connections),
        in_packets: with(a.in_packets, b.in_packets),
        out_packets: with(a.out_packets, b.out_packets),
        in_bytes: with(a.in_bytes, b.in_bytes),
        out_bytes: with(a.out_bytes, b.out_bytes),
    }
}

fn plus(a: Counters, b: Counters) -> Counters {
    combine(a, b, u64::wrapping_add)
}

fn minus(a: Counters, b: Counters) -> Counters {
    combine(a, b, u64::wrapping_sub)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbxdp_common::Protocol;

    fn service() -> ServiceKey {
        ServiceKey { protocol: Protocol::Tcp, address: [10, 0, 0, 100].into(), port: 80 }
    }

    fn counted(packets: u64) -> ServerCounters {
        ServerCounters { packets, bytes: packets * 100, connections: 1 }
    }

    #[test]
    fn a_service_keeps_what_a_deleted_server_counted() {
        let (a, b) = (ServerId(1), ServerId(2));
        let mut accounts = Accounts::default();
        accounts.book(service(), a, counted(10));
        accounts.book(service(), b, counted(5));
        accounts.book(service(), b, counted(7));
        let (total, _) = accounts.service(&service());
        assert_eq!((total.in_packets, total.in_bytes, total.connections), (17, 1700, 2));
        assert_eq!(accounts.server(b).0.in_packets, 7);
    }

    #[test]
    fn zeroing_begins_again_without_touching_what_the_packet_path_counted() {
        let a = ServerId(1);
        let mut accounts = Accounts::default();
        accounts.book(service(), a, counted(10));
        accounts.zero(&service(), &[a]);
        assert_eq!(accounts.service(&service()).0, Counters::default());
        assert_eq!(accounts.server(a).0, Counters::default());
        accounts.book(service(), a, counted(13));
        assert_eq!(accounts.service(&service()).0.in_packets, 3);
        assert_eq!(accounts.server(a).0.in_packets, 3);
    }

    #[test]
    fn a_steady_rate_is_approached_by_a_quarter_every_two_seconds() {
        let a = ServerId(1);
        let mut accounts = Accounts::default();
        accounts.open_server(a);
        let mut shown = Vec::new();
        for step in 1..=60u64 {
            accounts.book(service(), a, counted(step * 88));
            accounts.estimate();
            shown.push(accounts.server(a).1.in_packets);
        }
        // 44 a second: 11, then a quarter of what is missing each time.
        assert_eq!(&shown[..3], [11, 19, 25]);
        assert_eq!(shown.last(), Some(&44));
        assert_eq!(accounts.service(&service()).1.in_bytes, 4400);
    }
}
