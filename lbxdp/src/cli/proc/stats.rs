//! `/proc/net/ip_vs_stats` and `/proc/net/ip_vs_stats_percpu`.

use std::fmt::Write;

use crate::snapshot::{Counters, Rates, Totals};

pub(super) fn text(totals: &Totals) -> String {
    format!(
        "   Total Incoming Outgoing         Incoming         Outgoing\n   \
         Conns  Packets  Packets            Bytes            Bytes\n\
         {}\n\n \
         Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n\
         {}\n",
        counters(&totals.counters),
        rates(&totals.rates)
    )
}

pub(super) fn text_by_cpu(totals: &Totals) -> String {
    let mut text = String::from(
        "       Total Incoming Outgoing         Incoming         Outgoing\n\
         CPU    Conns  Packets  Packets            Bytes            Bytes\n",
    );
    for (cpu, counted) in totals.cpus.iter().enumerate() {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{cpu:3X} {}", counters(counted));
    }
    let _ = writeln!(text, "  ~ {}\n", counters(&totals.counters));
    let _ = writeln!(text, "     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s");
    let _ = writeln!(text, "    {}", rates(&totals.rates));
    text
}

fn counters(counters: &Counters) -> String {
    let Counters { connections, in_packets, out_packets, in_bytes, out_bytes } = *counters;
    line([connections, in_packets, out_packets, in_bytes, out_bytes])
}

fn rates(rates: &Rates) -> String {
    let Rates { connections, in_packets, out_packets, in_bytes, out_bytes } = *rates;
    line([connections, in_packets, out_packets, in_bytes, out_bytes])
}

fn line([connections, in_packets, out_packets, in_bytes, out_bytes]: [u64; 5]) -> String {
    format!("{connections:8X} {in_packets:8X} {out_packets:8X} {in_bytes:16X} {out_bytes:16X}")
}
