//! Names of ports and hosts, both ways.

mod hosts;
pub(crate) mod naming;
mod services;

use std::net::{IpAddr, Ipv4Addr};

use lbxdp_common::{Protocol, named_enum};

pub use hosts::SystemNames;
pub use naming::Naming;
pub use services::PortNames;

named_enum! {
    /// A transport protocol of the services database.
    pub enum Transport: u8 {
        Tcp = 6 => "tcp",
        Udp = 17 => "udp",
        Sctp = 132 => "sctp",
    }
}

impl From<Protocol> for Transport {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
            Protocol::Sctp => Self::Sctp,
        }
    }
}

/// Who knows names: the system, or a test.
pub trait Names {
    /// The port of a service's name.
    fn port(&self, name: &str, transport: Transport) -> Option<u16>;

    /// The service's name of a port.
    fn service(&self, port: u16, transport: Transport) -> Option<String>;

    /// The first IPv4 address of a host.
    fn address(&self, host: &str) -> Option<Ipv4Addr>;

    /// The names of hosts, in the order of the addresses; whoever is not found in time has none.
    fn hosts(&self, addresses: &[IpAddr]) -> Vec<Option<String>>;
}

/// Nobody knows names: numbers alone count.
pub struct Numbers;

impl Names for Numbers {
    fn port(&self, _: &str, _: Transport) -> Option<u16> {
        None
    }

    fn service(&self, _: u16, _: Transport) -> Option<String> {
        None
    }

    fn address(&self, _: &str) -> Option<Ipv4Addr> {
        None
    }

    fn hosts(&self, addresses: &[IpAddr]) -> Vec<Option<String>> {
        vec![None; addresses.len()]
    }
}

/// A small world of names that is the same everywhere, for tests.
#[cfg(test)]
pub(crate) struct FixedNames;

#[cfg(test)]
impl Names for FixedNames {
    fn port(&self, name: &str, transport: Transport) -> Option<u16> {
        PortNames::parse("http 80/tcp www\ndomain 53/tcp\ndomain 53/udp\n").port(name, transport)
    }

    fn service(&self, port: u16, transport: Transport) -> Option<String> {
        PortNames::parse("http 80/tcp www\ndomain 53/udp\n").name(port, transport)
    }

    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        (host == "localhost").then_some(Ipv4Addr::LOCALHOST)
    }

    fn hosts(&self, addresses: &[IpAddr]) -> Vec<Option<String>> {
        let name = |address: &IpAddr| match address {
            IpAddr::V4(Ipv4Addr::LOCALHOST) => Some("localhost".to_owned()),
            IpAddr::V4(address) if address.is_link_local() => Some("a.very.long.name.".repeat(5)),
            _ => None,
        };
        addresses.iter().map(name).collect()
    }
}
