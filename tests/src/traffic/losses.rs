//! Where packets were lost, or had to be sent again, by the kernel's own counters: so that a loss is laid at the right
//! door.

use std::fs;

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::topology::Lab;

/// Segments that the TCP of a namespace has sent again since it was made, SYNs included.
pub fn retransmitted(namespace: &Namespace) -> Result<u64> {
    // `/proc/net` belongs to the process, and only this thread is inside.
    let text = namespace.inside(|| fs::read_to_string("/proc/thread-self/net/snmp"))??;
    let (names, values) = tcp_lines(&text).context("/proc/net/snmp has no TCP")?;
    let place = names.split_whitespace().position(|name| name == "RetransSegs");
    let value = place.and_then(|place| values.split_whitespace().nth(place));
    value.context("/proc/net/snmp has no RetransSegs")?.parse().context("RetransSegs is no number")
}

/// The names of TCP's counters, and their values.
fn tcp_lines(snmp: &str) -> Option<(&str, &str)> {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp:"));
    Some((lines.next()?, lines.next()?))
}

/// Datagrams that found the buffer of their socket full, of all sockets of a namespace at a port.
pub fn overrun(namespace: &Namespace, port: u16) -> Result<u64> {
    let text = namespace.inside(|| fs::read_to_string("/proc/thread-self/net/udp"))??;
    Ok(text.lines().skip(1).filter_map(|line| drops_of(line, port)).sum())
}

/// The last column of a line of `/proc/net/udp`, if it is a socket at the port.
fn drops_of(line: &str, port: u16) -> Option<u64> {
    let mut columns = line.split_whitespace();
    let (_, local) = columns.nth(1)?.split_once(':')?;
    (u16::from_str_radix(local, 16) == Ok(port)).then(|| columns.last()?.parse().ok()).flatten()
}

/// Where the links of a lab have dropped frames: one line an interface that has, none if none has. A veth drops what finds
/// the ring of its peer full, and what comes while its XDP program is taken off or put on.
pub fn on_links(lab: &Lab) -> Result<Vec<String>> {
    let hosts = [&lab.client, &lab.router, &lab.switch, &lab.director];
    let hosts = hosts.into_iter().chain(lab.servers.iter().map(|server| &server.namespace));
    let mut found = Vec::new();
    for host in hosts {
        let text = host.inside(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
        for line in text.lines().filter_map(dropping) {
            found.push(format!("{}: {line}", host.name()));
        }
    }
    Ok(found)
}

/// What a line of `/proc/net/dev` says of drops, if there were any.
fn dropping(line: &str) -> Option<String> {
    let (interface, numbers) = line.split_once(':')?;
    let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let (&received, &sent) = (numbers.get(3)?, numbers.get(11)?);
    let interface = interface.trim();
    (received + sent > 0).then(|| format!("{interface} dropped {received} received, {sent} to be sent"))
}

#[cfg(test)]
mod tests {
    use super::{dropping, drops_of, tcp_lines};

    #[test]
    fn the_lines_of_tcp_are_found() {
        let text = "Ip: a b\nIp: 1 2\nTcp: RtoMin RetransSegs\nTcp: 200 7\nUdp: x\nUdp: 1\n";
        assert_eq!(tcp_lines(text), Some(("Tcp: RtoMin RetransSegs", "Tcp: 200 7")));
    }

    #[test]
    fn a_sockets_drops_are_the_last_column() {
        let line = "  12: 6400000A:2328 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 99 2 0 3";
        assert_eq!(drops_of(line, 9000), Some(3));
        assert_eq!(drops_of(line, 9001), None);
    }

    #[test]
    fn a_link_that_dropped_nothing_is_not_told_of() {
        let line = |rx, tx| format!("  eth0: 10 2 0 {rx} 0 0 0 0 10 2 0 {tx} 0 0 0 0");
        assert_eq!(dropping(&line(0, 0)), None);
        assert_eq!(dropping(&line(4, 5)).unwrap(), "eth0 dropped 4 received, 5 to be sent");
        assert_eq!(dropping("Inter-|   Receive   |  Transmit"), None);
    }
}
