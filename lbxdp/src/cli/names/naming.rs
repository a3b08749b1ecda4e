//! How addresses and ports stand in a listing: as numbers, or by name.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lbxdp_common::Protocol;

use super::Names;

/// ipvsadm cuts `ADDRESS:PORT` at this length, whatever it is for.
const LONGEST: usize = 59;

/// How many names of hosts are remembered, so that a listing of any length needs the same memory.
const MOST_HOSTS: usize = 1 << 16;

/// Writes addresses and ports.
pub struct Naming<'a> {
    /// None: as numbers.
    names: Option<&'a dyn Names>,
    hosts: HashMap<IpAddr, Option<String>>,
    /// The names of ports; there are no more than ports.
    services: HashMap<(u16, Protocol), Option<String>>,
}

impl<'a> Naming<'a> {
    pub fn numeric() -> Self {
        Self { names: None, hosts: HashMap::new(), services: HashMap::new() }
    }

    pub fn by_name(names: &'a dyn Names) -> Self {
        Self { names: Some(names), hosts: HashMap::new(), services: HashMap::new() }
    }

    /// Looks the hosts up that are not known yet, all at once.
    pub fn learn(&mut self, addresses: impl Iterator<Item = IpAddr>) {
        let Some(names) = self.names else { return };
        let mut unknown: Vec<IpAddr> =
            addresses.filter(|address| !self.hosts.contains_key(address)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        if self.hosts.len() + unknown.len() > MOST_HOSTS {
            self.hosts.clear();
        }
        let hosts = names.hosts(&unknown);
        self.hosts.extend(unknown.into_iter().zip(hosts));
    }

    /// `ADDRESS:PORT`, with brackets around an IPv6 address. Without a protocol a port has no name.
    pub fn endpoint(&mut self, address: IpAddr, port: u16, protocol: impl Into<Option<Protocol>>) -> String {
        let mut text = String::new();
        self.add_endpoint(&mut text, address, port, protocol);
        text
    }

    /// Adds [`Naming::endpoint`] to a text.
    pub fn add_endpoint(
        &mut self,
        text: &mut String,
        address: IpAddr,
        port: u16,
        protocol: impl Into<Option<Protocol>>,
    ) {
        let start = text.len();
        self.learn(std::iter::once(address));
        let host = self.hosts.get(&address).and_then(Option::as_deref);
        // Writing into a string cannot fail.
        let _ = match (host, address) {
            (Some(host), IpAddr::V4(_)) => write!(text, "{host}:"),
            (Some(host), IpAddr::V6(_)) => write!(text, "[{host}]:"),
            (None, IpAddr::V4(address)) => write!(text, "{address}:"),
            (None, IpAddr::V6(address)) => write!(text, "[{}]:", v6_text(address)),
        };
        let _ = match protocol.into().and_then(|protocol| self.service(port, protocol)) {
            Some(service) => write!(text, "{service}"),
            None => write!(text, "{port}"),
        };
        if text.len() > start + LONGEST {
            text.truncate(text.floor_char_boundary(start + LONGEST));
        }
    }

    /// The name of a port. Looking it up is a walk through all names, and a million connections ask.
    fn service(&mut self, port: u16, protocol: Protocol) -> Option<&str> {
        let names = self.names?;
        let known = self.services.entry((port, protocol));
        known.or_insert_with(|| names.service(port, protocol.into())).as_deref()
    }
}

/// An IPv6 address as glibc's `inet_ntop` writes it, and with it ipvsadm: an IPv4-compatible one (RFC 4291, 2.5.5.1) ends in an
/// IPv4 address.
fn v6_text(address: Ipv6Addr) -> String {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
            format!("::{}", Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => address.to_string(),
    }
}

/// The text, or as many characters of it as fit in `bytes`.
pub(crate) fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::names::FixedNames;

    fn named(address: &str, port: u16) -> String {
        Naming::by_name(&FixedNames).endpoint(address.parse().unwrap(), port, Protocol::Tcp)
    }

    #[test]
    fn numbers_stay_numbers() {
        let mut naming = Naming::numeric();
        assert_eq!(naming.endpoint("127.0.0.1".parse().unwrap(), 80, Protocol::Tcp), "127.0.0.1:80");
        for text in ["::1", "::", "::ffff:10.0.0.1", "::10.0.0.1", "fd00::1", "2001:db8:0:1::"] {
            let endpoint = naming.endpoint(text.parse().unwrap(), 80, Protocol::Tcp);
            assert_eq!(endpoint, format!("[{text}]:80"));
        }
    }

    #[test]
    fn names_stand_where_there_are_some() {
        assert_eq!(named("127.0.0.1", 80), "localhost:http");
        assert_eq!(named("10.0.0.1", 81), "10.0.0.1:81");
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(named("169.254.0.1", 80).len(), LONGEST);
        assert_eq!(cut("aé".to_owned(), 2), "a");
    }
}
