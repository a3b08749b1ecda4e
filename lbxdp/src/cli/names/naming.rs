//! How addresses and ports stand in a listing: as numbers, or by name.

use std::collections::HashMap;
use std::net::IpAddr;

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
}

impl<'a> Naming<'a> {
    pub fn numeric() -> Self {
        Self { names: None, hosts: HashMap::new() }
    }

    pub fn by_name(names: &'a dyn Names) -> Self {
        Self { names: Some(names), hosts: HashMap::new() }
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

    /// `ADDRESS:PORT`, with brackets around an IPv6 address.
    pub fn endpoint(&mut self, address: IpAddr, port: u16, protocol: Protocol) -> String {
        let host = self.host(address);
        let port = self.port(port, protocol);
        let text = if address.is_ipv6() { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        cut(text, LONGEST)
    }

    fn host(&mut self, address: IpAddr) -> String {
        self.learn(std::iter::once(address));
        self.hosts.get(&address).cloned().flatten().unwrap_or_else(|| address.to_string())
    }

    fn port(&self, port: u16, protocol: Protocol) -> String {
        self.names.and_then(|names| names.service(port, protocol.into())).unwrap_or_else(|| port.to_string())
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
        assert_eq!(naming.endpoint("::1".parse().unwrap(), 80, Protocol::Tcp), "[::1]:80");
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
