//! How services and servers are called in lbxdp's own words.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use lbxdp_common::Protocol;

use crate::state::{Endpoint, Family, Mark, ServiceKey};

/// A service in one word: `tcp/10.0.0.100:80`, `udp/[2001:db8::1]:53`, `sctp/10.0.0.100:9`, `mark/7`, and of IPv6 packets
/// `mark6/7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceName(pub ServiceKey);

/// A server in one word: its address, or address and port as `10.0.0.11:80` or `[2001:db8::11]:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerName {
    pub address: IpAddr,
    /// `None` if any will do.
    pub port: Option<u16>,
}

/// A word that is no such name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error(
        "a service is called PROTOCOL/ADDRESS:PORT, as tcp/10.0.0.100:80, or mark/NUMBER, or mark6/NUMBER"
    )]
    Service,
    #[error("a server is called ADDRESS or ADDRESS:PORT, an IPv6 address before a port in brackets")]
    Server,
}

impl FromStr for ServiceName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let (kind, rest) = text.split_once('/').ok_or(BadName::Service)?;
        let mark = || rest.parse::<u32>().ok().filter(|mark| *mark != 0).ok_or(BadName::Service);
        let at = |protocol| {
            let end: SocketAddr = rest.parse().map_err(|_| BadName::Service)?;
            Ok(ServiceKey::at(protocol, end.ip(), end.port()))
        };
        Ok(Self(match kind {
            "tcp" => at(Protocol::Tcp)?,
            "udp" => at(Protocol::Udp)?,
            "sctp" => at(Protocol::Sctp)?,
            "mark" => ServiceKey::marked(mark()?),
            "mark6" => ServiceKey::marked_v6(mark()?),
            _ => return Err(BadName::Service),
        }))
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ServiceKey::Address(Endpoint { protocol, address, port }) => {
                write!(f, "{}/{}", protocol.name().to_lowercase(), SocketAddr::new(address, port))
            }
            ServiceKey::Mark(Mark { family: Family::V4, mark }) => write!(f, "mark/{mark}"),
            ServiceKey::Mark(Mark { family: Family::V6, mark }) => write!(f, "mark6/{mark}"),
        }
    }
}

impl FromStr for ServerName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if let Ok(end) = text.parse::<SocketAddr>() {
            return Ok(Self { address: end.ip(), port: Some(end.port()) });
        }
        let address = text.parse().map_err(|_| BadName::Server)?;
        Ok(Self { address, port: None })
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.address, port)),
            None => write!(f, "{}", self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for name in
            ["tcp/10.0.0.100:80", "udp/[2001:db8::1]:53", "sctp/10.0.0.100:0", "mark/7", "mark6/4294967295"]
        {
            assert_eq!(name.parse::<ServiceName>().map(|name| name.to_string()).as_deref(), Ok(name));
        }
        for name in ["10.0.0.1", "10.0.0.1:80", "fd00::1", "[fd00::1]:80"] {
            assert_eq!(name.parse::<ServerName>().map(|name| name.to_string()).as_deref(), Ok(name));
        }
    }

    #[test]
    fn what_is_no_name_is_told_how_one_looks() {
        for text in [
            "",
            "tcp",
            "10.0.0.1:80",
            "tcp/10.0.0.1",
            "icmp/10.0.0.1:80",
            "mark/0",
            "mark/x",
            "tcp/[fd00::1]",
        ] {
            assert_eq!(text.parse::<ServiceName>(), Err(BadName::Service), "{text}");
        }
        for text in ["", "x", "10.0.0.1:", "[fd00::1]", "10.0.0.1:65536"] {
            assert_eq!(text.parse::<ServerName>(), Err(BadName::Server), "{text}");
        }
    }
}
