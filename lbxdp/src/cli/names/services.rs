//! The services database, `/etc/services`: names of ports.

use super::Transport;

const PATH: &str = "/etc/services";

/// One line: `name port/protocol alias...`.
#[derive(Debug)]
struct Entry {
    port: u16,
    transport: Transport,
    /// The name, then its aliases.
    names: Vec<String>,
}

/// The names of ports, in the order of the file: the first one that fits counts.
#[derive(Debug, Default)]
pub struct PortNames {
    entries: Vec<Entry>,
}

impl PortNames {
    /// The system's; empty where there is none, as everywhere else in Unix.
    pub fn of_system() -> Self {
        std::fs::read(PATH).map(|bytes| Self::parse(&String::from_utf8_lossy(&bytes))).unwrap_or_default()
    }

    /// Lines that say nothing, or something about another protocol, are passed over.
    pub fn parse(text: &str) -> Self {
        Self { entries: text.lines().filter_map(entry).collect() }
    }

    pub fn port(&self, name: &str, transport: Transport) -> Option<u16> {
        let known = |entry: &&Entry| entry.transport == transport && entry.names.iter().any(|n| n == name);
        self.entries.iter().find(known).map(|entry| entry.port)
    }

    pub fn name(&self, port: u16, transport: Transport) -> Option<String> {
        let known = |entry: &&Entry| entry.transport == transport && entry.port == port;
        self.entries.iter().find(known).and_then(|entry| entry.names.first().cloned())
    }
}

fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split('#').next()?.split_ascii_whitespace();
    let name = words.next()?;
    let (port, transport) = words.next()?.split_once('/')?;
    let names = std::iter::once(name).chain(words).map(str::to_owned).collect();
    Some(Entry { port: port.parse().ok()?, transport: Transport::from_name(transport)?, names })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# comment\nhttp\t\t80/tcp\t\twww # web\nhttp 80/udp\nother 80/tcp\ngone 7/ddp\nbroken\n\nx y/tcp";

    #[test]
    fn names_and_aliases_lead_to_the_port() {
        let names = PortNames::parse(TEXT);
        assert_eq!(names.port("http", Transport::Tcp), Some(80));
        assert_eq!(names.port("www", Transport::Tcp), Some(80));
        assert_eq!(names.port("www", Transport::Udp), None);
        assert_eq!(names.port("gone", Transport::Tcp), None);
    }

    #[test]
    fn the_first_name_of_a_port_counts() {
        let names = PortNames::parse(TEXT);
        assert_eq!(names.name(80, Transport::Tcp).as_deref(), Some("http"));
        assert_eq!(names.name(80, Transport::Sctp), None);
        assert_eq!(names.entries.len(), 3);
    }
}
