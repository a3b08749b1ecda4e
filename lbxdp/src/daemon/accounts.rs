//! Rates as IPVS's estimator shows them, for servers and for services: moving averages of the counters that are shown.
//!
//! This is all of the counting that lives in the daemon alone. After a take-over the averages begin anew, from counters
//! that stand where they stood.

use std::collections::BTreeMap;

use lbxdp_common::counters::ServerCounters;
use lbxdp_common::server::ServerId;

use crate::snapshot::{Counters, Rates};

/// Time between two steps of the rates, in seconds (IPVS's estimator: `ip_vs_est.c`).
pub(super) const ESTIMATE_EVERY_S: u64 = 2;

/// The rates of one instance.
#[derive(Default)]
pub(super) struct Accounts {
    servers: BTreeMap<ServerId, Estimate>,
    /// By their rows.
    services: BTreeMap<u32, Estimate>,
}

impl Accounts {
    /// A server whose counters begin at 0 now.
    pub(super) fn open_server(&mut self, server: ServerId) {
        self.servers.insert(server, Estimate::default());
    }

    /// A service whose counters begin at 0 now.
    pub(super) fn open_service(&mut self, service: u32) {
        self.services.insert(service, Estimate::default());
    }

    /// These servers will never be seen again.
    pub(super) fn close_servers(&mut self, servers: &[ServerId]) {
        for server in servers {
            self.servers.remove(server);
        }
    }

    /// A server's rates.
    pub(super) fn server(&self, server: ServerId) -> Rates {
        self.servers.get(&server).map_or_else(Default::default, Estimate::rates)
    }

    /// A service's rates.
    pub(super) fn service(&self, service: u32) -> Rates {
        self.services.get(&service).map_or_else(Default::default, Estimate::rates)
    }

    /// One step of a server's rates; to be made every [`ESTIMATE_EVERY_S`].
    pub(super) fn step_server(&mut self, server: ServerId, total: Counters) {
        self.servers.entry(server).or_insert_with(|| Estimate::from(total)).step(total);
    }

    /// One step of a service's rates.
    pub(super) fn step_service(&mut self, service: u32, total: Counters) {
        self.services.entry(service).or_insert_with(|| Estimate::from(total)).step(total);
    }
}

/// Counters as they are shown.
pub(super) fn shown(total: ServerCounters) -> Counters {
    Counters {
        connections: total.connections,
        in_packets: total.packets,
        out_packets: total.reply_packets,
        in_bytes: total.bytes,
        out_bytes: total.reply_bytes,
    }
}

/// IPVS's moving averages: `avg += (rate - avg) / 4` every two seconds, in fixed point.
#[derive(Default)]
pub(super) struct Estimate {
    last: Counters,
    /// Per second: connections and packets times 2^10, bytes times 2^5.
    average: [i64; 5],
}

/// Bits after the point: of connections and packets, and of bytes.
const COUNT_BITS: u32 = 10;
const BYTE_BITS: u32 = 5;

impl Estimate {
    /// One that begins at what is counted already, so that it is no rate.
    pub(super) fn from(now: Counters) -> Self {
        Self { last: now, ..Self::default() }
    }

    pub(super) fn step(&mut self, now: Counters) {
        let grown = grown(now, self.last);
        for ((average, grown), bits) in self.average.iter_mut().zip(grown).zip(BITS) {
            // Half of what came in two seconds, per second.
            let rate = grown.cast_signed() << (bits - 1);
            *average += (rate - *average) >> 2;
        }
        self.last = now;
    }

    pub(super) fn rates(&self) -> Rates {
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

/// What each counter has grown by.
fn grown(now: Counters, last: Counters) -> [u64; 5] {
    [
        now.connections.wrapping_sub(last.connections),
        now.in_packets.wrapping_sub(last.in_packets),
        now.out_packets.wrapping_sub(last.out_packets),
        now.in_bytes.wrapping_sub(last.in_bytes),
        now.out_bytes.wrapping_sub(last.out_bytes),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(packets: u64) -> Counters {
        shown(ServerCounters {
            packets,
            bytes: packets * 100,
            connections: 1,
            reply_packets: packets * 2,
            reply_bytes: packets * 300,
        })
    }

    #[test]
    fn a_steady_rate_is_approached_by_a_quarter_every_two_seconds() {
        let a = ServerId(1);
        let mut accounts = Accounts::default();
        accounts.open_server(a);
        let mut shown = Vec::new();
        for step in 1..=60u64 {
            accounts.step_server(a, total(step * 88));
            shown.push(accounts.server(a).in_packets);
        }
        // 44 a second: 11, then a quarter of what is missing each time.
        assert_eq!(&shown[..3], [11, 19, 25]);
        assert_eq!(shown.last(), Some(&44));
        let Rates { in_bytes, out_packets, out_bytes, .. } = accounts.server(a);
        assert_eq!((in_bytes, out_packets, out_bytes), (4400, 88, 13_200));
    }

    #[test]
    fn what_was_counted_before_a_take_over_is_no_rate() {
        let a = ServerId(1);
        let mut accounts = Accounts::default();
        accounts.step_server(a, total(1_000_000));
        assert_eq!(accounts.server(a), Rates::default());
        accounts.step_server(a, total(1_000_088));
        assert_eq!(accounts.server(a).in_packets, 11);
    }

    /// What is shown after each step, of a server that is new, when that many packets of so many bytes came in each.
    fn series(packets: &[u64], bytes_of: impl Fn(u64) -> u64) -> Vec<Rates> {
        let (mut accounts, mut total, server) = (Accounts::default(), ServerCounters::default(), ServerId(1));
        accounts.open_server(server);
        let shown_after = |&grown: &u64| {
            total.connections += grown;
            total.packets += grown;
            total.bytes += bytes_of(grown);
            accounts.step_server(server, shown(total));
            accounts.server(server)
        };
        packets.iter().map(shown_after).collect()
    }

    /// What came in each step: a little, silence, a burst of two steps, silence, a few more, and silence from there on.
    const UPS_AND_DOWNS: [u64; 36] = {
        let mut packets = [0; 36];
        packets[0] = 4;
        packets[1] = 12;
        packets[3] = 1000;
        packets[4] = 1000;
        packets[7] = 7;
        packets
    };

    /// The numbers are those of the kernel's formula (`ip_vs_est.c`), reckoned by hand and by another program:
    /// `avg += ((grown << 9) - avg) >> 2`, shown `(avg + 0x1ff) >> 10`; of bytes `<< 4`, `(avg + 0xf) >> 5`.
    #[test]
    fn rates_rise_and_decay_to_nothing_number_by_number_as_in_ipvs() {
        let rates = series(&UPS_AND_DOWNS, |packets| if packets == 0 { 0 } else { packets * 100 + 1 });
        let packets = [
            0, 2, 1, 126, 220, 165, 123, 93, 70, 53, 39, 30, 22, 17, 12, 9, 7, 5, 4, 3, 2, 2, 1, 1, 1, 1, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let bytes = [
            50, 188, 141, 12606, 21954, 16466, 12349, 9350, 7012, 5259, 3944, 2958, 2219, 1664, 1248, 936,
            702, 526, 395, 296, 222, 167, 125, 94, 70, 53, 39, 30, 22, 17, 12, 9, 7, 5, 4, 3,
        ];
        assert_eq!(rates.iter().map(|rates| rates.connections).collect::<Vec<_>>(), packets);
        assert_eq!(rates.iter().map(|rates| rates.in_packets).collect::<Vec<_>>(), packets);
        assert_eq!(rates.iter().map(|rates| rates.in_bytes).collect::<Vec<_>>(), bytes);
        assert!(rates.iter().all(|rates| (rates.out_packets, rates.out_bytes) == (0, 0)));
    }

    /// Half of one is shown as none, what is more as one.
    #[test]
    fn rates_are_rounded_as_in_ipvs() {
        let once = |packets| series(&[packets], |packets| packets)[0];
        // An eighth of what came: 0.5, 0.625, 1.5, 1.625.
        for (packets, rate) in [(4, 0), (5, 1), (12, 1), (13, 2)] {
            let Rates { in_packets, in_bytes, .. } = once(packets);
            assert_eq!((in_packets, in_bytes), (rate, rate), "{packets}");
        }
    }

    /// Real IPVS showed 25 packets and 3241 bytes a second, of 44 packets of 128 bytes a second, at a moment nobody knows
    /// (`tests/data/behaviour.json`). With its weight and its steps a sender that is nearly steady can lead to just that,
    /// after three steps and at no other time.
    #[test]
    fn what_ipvs_showed_of_a_sender_can_be_had() {
        let nearly = [85, 86, 87, 88, 89, 90, 91];
        let rates = |packets: &[u64]| {
            let last = series(packets, |packets| packets * 128).pop();
            last.map(|rates| (rates.in_packets, rates.in_bytes))
        };
        let leads = nearly.iter().any(|&first| {
            nearly
                .iter()
                .any(|&second| nearly.iter().any(|&third| rates(&[first, second, third]) == Some((25, 3241))))
        });
        assert!(leads);
        assert!(rates(&[91; 2]) < Some((25, 3241)) && rates(&[85; 4]) > Some((25, 3241)));
    }
}
