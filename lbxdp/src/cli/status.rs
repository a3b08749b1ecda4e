//! `lbxdp status`: what an operator asks first when something does not arrive.

use std::fmt::Write;

use lbxdp_common::Fate;

use super::client::{Client, ClientError, Director};
use super::paint::{Ink, Paint};
use crate::message::{Request, Response};
use crate::snapshot::{Counted, NextHop, PacketPath, Status, TableStatus, Way};
use crate::tables::pins::Instance;

/// Asks the daemon of an instance, and prints what it says; of the servers' next hops all, or only what is wrong.
pub fn print(instance: &Instance, all_next_hops: bool) -> Result<(), ClientError> {
    match Client::new(instance.clone()).ask(&Request::Status)? {
        Response::Status(status) => {
            let mut output = std::io::stdout().lock();
            let text = text(instance, &status, all_next_hops, Paint::of_output());
            std::io::Write::write_all(&mut output, text.as_bytes()).map_err(ClientError::Output)
        }
        other => Err(ClientError::unexpected(&other)),
    }
}

fn text(instance: &Instance, status: &Status, all_next_hops: bool, paint: Paint) -> String {
    let mut lines = Lines(String::new(), paint);
    lines.row("instance", instance);
    for interface in &status.interfaces {
        let name = &interface.name;
        match interface.path {
            PacketPath::Native => lines.row("interface", format_args!("{name}, native XDP")),
            PacketPath::Generic => {
                lines.warn("interface", &format!("{name}, GENERIC XDP: several times slower than native"));
            }
            PacketPath::Gone => {
                lines.warn("interface", &format!("{name}, GONE: no packet comes in by it until it is back"));
            }
        }
    }
    let growing = |table: &TableStatus| if table.is_growing { ", growing" } else { "" };
    let table = &status.table;
    lines.row("connections", format_args!("{}, of them half open {}", table.connections, table.half_open));
    lines.row("places", format_args!("{}{}, at most {}", table.places, growing(table), table.most_places));
    let table = &status.table_v6;
    lines.row(
        "IPv6",
        format_args!("{} connections, of them half open {}", table.connections, table.half_open),
    );
    lines.row(
        "IPv6",
        format_args!("{} places{}, at most {}", table.places, growing(table), table.most_places),
    );
    if status.is_pressed {
        lines.warn("pressure", "NOW: some new connections find no place in the table and go by hash");
    }
    if let Some(error) = &status.unsaved {
        lines.warn("saved", &format!("NO, the configuration would not outlive a reboot: {error}"));
    }
    for words in &status.only_kept {
        lines.warn("only kept", words);
    }
    if status.repaired > 0 {
        let wrong = "rows of tables had been written by somebody else, and were put right";
        lines.row("repaired", format_args!("{}: so many {wrong}", status.repaired));
    }
    for hop in status.next_hops.iter().filter(|hop| all_next_hops || hop.way == Way::Unknown) {
        let words = next_hop(hop);
        if hop.way == Way::Unknown {
            lines.warn("next hop", &words);
        } else {
            lines.row("next hop", words);
        }
    }
    lines.counted("for want of room in the connection table", &status.overflows);
    let fate = |fate| match fate {
        Fate::Pass => "  to the stack",
        Fate::Drop => "  dropped",
        Fate::Hold => "  held, to be sent again",
    };
    let not_forwarded = status.not_forwarded.iter().filter(|counted| counted.packets > 0);
    let not_forwarded: Vec<_> =
        not_forwarded.map(|counted| (&counted.reason, counted.packets, fate(counted.fate))).collect();
    if not_forwarded.is_empty() {
        lines.title("not forwarded: no packet for a VIP so far");
    } else {
        lines.counts("not forwarded, of all packets for VIPs since the program was loaded", &not_forwarded);
    }
    lines.counted("ICMP errors to senders of such packets: sent, or why not", &status.notices);
    lines.0
}

/// What is known of the way to a server, in words.
pub(super) fn next_hop(hop: &NextHop) -> String {
    let server = hop.server;
    let asked = if server.is_ipv4() { "ARP" } else { "NDP" };
    match &hop.way {
        Way::Unknown => {
            format!("UNKNOWN for server {server}: nobody answers {asked}, or there is no route")
        }
        Way::Local => format!("{server}: the director itself"),
        Way::Out { mac, interface, vlans, mtu } => {
            let vlans = vlans.iter().map(|vlan| [", VLAN ", &vlan.to_string()].concat()).collect::<String>();
            let mtu = if *mtu == 0 { "of unknown size".into() } else { format!("up to {mtu} bytes") };
            format!("{server}: {mac} on {interface}{vlans}, packets {mtu}")
        }
    }
}

/// The text as it grows. Writing into a string cannot fail.
struct Lines(String, Paint);

impl Lines {
    /// `name  words`.
    fn row(&mut self, name: &str, words: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name:<12} {words}");
    }

    /// The same of what somebody should look after.
    fn warn(&mut self, name: &str, words: &str) {
        let words = self.1.ink(Ink::Warning, words);
        self.row(name, words);
    }

    fn title(&mut self, words: &str) {
        let _ = writeln!(self.0, "{words}");
    }

    /// A title with what has happened at all, if anything has.
    fn counted(&mut self, title: &str, counted: &[Counted]) {
        let happened = counted.iter().filter(|counted| counted.count > 0);
        let happened: Vec<_> = happened.map(|counted| (&counted.name, counted.count, "")).collect();
        if !happened.is_empty() {
            self.counts(title, &happened);
        }
    }

    /// A title with what was counted: name, number, remark.
    fn counts(&mut self, title: &str, counts: &[(&String, u64, &str)]) {
        let _ = writeln!(self.0, "{title}:");
        for (name, count, remark) in counts {
            let _ = writeln!(self.0, "  {name:<20} {count:>12}{remark}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{InterfaceStatus, NotForwarded, Sweep};

    fn hop(server: impl Into<std::net::IpAddr>, way: Way) -> NextHop {
        NextHop { server: server.into(), way }
    }

    fn calm() -> Status {
        Status {
            interfaces: vec![InterfaceStatus { name: "eth0".into(), path: PacketPath::Native }],
            table: TableStatus {
                connections: 3,
                half_open: 1,
                entries: 4,
                places: 1024,
                most_places: 4096,
                is_growing: false,
                sweep: Sweep::default(),
            },
            table_v6: TableStatus {
                connections: 2,
                half_open: 0,
                entries: 4,
                places: 512,
                most_places: 2048,
                is_growing: false,
                sweep: Sweep::default(),
            },
            is_pressed: false,
            overflows: vec![Counted { name: "hashed_full".into(), count: 0 }],
            repaired: 0,
            unsaved: None,
            only_kept: vec![],
            next_hops: vec![hop([10, 0, 0, 12], Way::Local)],
            not_forwarded: vec![NotForwarded { reason: "fragment".into(), fate: Fate::Pass, packets: 0 }],
            notices: vec![Counted { name: "client_limit".into(), count: 0 }],
        }
    }

    #[test]
    fn when_all_is_well_little_is_said() {
        assert_eq!(
            text(&Instance::default(), &calm(), false, Paint::Plain),
            "\
instance     default
interface    eth0, native XDP
connections  3, of them half open 1
places       1024, at most 4096
IPv6         2 connections, of them half open 0
IPv6         512 places, at most 2048
not forwarded: no packet for a VIP so far
"
        );
    }

    #[test]
    fn what_is_wrong_stands_out() {
        let mut status = calm();
        status.interfaces[0].path = PacketPath::Generic;
        (status.table.is_growing, status.table_v6.is_growing, status.is_pressed) = (true, true, true);
        status.only_kept.push("this and that".into());
        status.next_hops.push(hop([10, 0, 0, 11], Way::Unknown));
        status.overflows.push(Counted { name: "hashed_half_open".into(), count: 12 });
        status.notices.push(Counted { name: "port_unreachable".into(), count: 5 });
        let counted = |reason: &str, fate, packets| NotForwarded { reason: reason.into(), fate, packets };
        status.not_forwarded.extend([
            counted("no_service", Fate::Pass, 7),
            counted("ttl_expired", Fate::Drop, 1),
            counted("must_fragment", Fate::Hold, 3),
        ]);
        assert_eq!(
            text(&Instance::default(), &status, false, Paint::Plain),
            "\
instance     default
interface    eth0, GENERIC XDP: several times slower than native
connections  3, of them half open 1
places       1024, growing, at most 4096
IPv6         2 connections, of them half open 0
IPv6         512 places, growing, at most 2048
pressure     NOW: some new connections find no place in the table and go by hash
only kept    this and that
next hop     UNKNOWN for server 10.0.0.11: nobody answers ARP, or there is no route
for want of room in the connection table:
  hashed_half_open               12
not forwarded, of all packets for VIPs since the program was loaded:
  no_service                      7  to the stack
  ttl_expired                     1  dropped
  must_fragment                   3  held, to be sent again
ICMP errors to senders of such packets: sent, or why not:
  port_unreachable                5
"
        );
    }

    #[test]
    fn all_next_hops_are_shown_if_asked_for() {
        let out = |mac: &str, vlans: &[u16], mtu| Way::Out {
            mac: mac.into(),
            interface: "eth0".into(),
            vlans: vlans.into(),
            mtu,
        };
        let v6 = [0xfd00, 0, 0, 0, 0, 0, 0, 2];
        let mut status = calm();
        status.next_hops.push(hop([10, 0, 0, 11], out("02:00:00:00:00:11", &[], 1500)));
        status.next_hops.push(hop(v6, out("02:00:00:00:00:02", &[6, 7], 0)));
        status.next_hops.push(hop([0xfd00, 0, 0, 0, 0, 0, 0, 3], Way::Unknown));
        let text = text(&Instance::default(), &status, true, Paint::Plain);
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("next hop     ")).collect();
        assert_eq!(
            lines,
            [
                "10.0.0.12: the director itself",
                "10.0.0.11: 02:00:00:00:00:11 on eth0, packets up to 1500 bytes",
                "fd00::2: 02:00:00:00:00:02 on eth0, VLAN 6, VLAN 7, packets of unknown size",
                "UNKNOWN for server fd00::3: nobody answers NDP, or there is no route",
            ]
        );
    }
}
