//! What the operator wants: services, their servers, marks, timeouts, settings. Plain values that know nothing of the
//! kernel.

mod mark;
mod options;
mod sync;
mod tunnel;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use lbxdp_common::{Forward, Protocol};
use serde::{Deserialize, Serialize};

use crate::sysctl::Sysctls;
pub use mark::{MarkRule, MarkRuleError};
pub use options::{Engine, FLAG_1, FLAG_2, FLAG_3, Options, Persistence, SCHEDULER_FLAGS, SchedulerFlag};
pub use sync::{Role, SyncDaemon, SyncDaemons};
pub use tunnel::Tunnel;

/// Everything that is configured. One command turns one `State` into the next, or into an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The virtual services by what identifies them.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Which packets have which mark: the most specific rule first, no two of the same packets.
    pub marks: Vec<MarkRule>,
    /// The three timeouts of `--set`.
    pub timeouts: Timeouts,
    /// The settings of `lbxdp set`.
    pub sysctls: Sysctls,
    /// The daemons of `--start-daemon`.
    pub daemons: SyncDaemons,
}

impl State {
    /// The addresses of all real servers.
    pub fn server_addresses(&self) -> BTreeSet<IpAddr> {
        self.services.values().flat_map(|service| &service.servers).map(|server| server.address).collect()
    }
}

/// What identifies a virtual service. Services at addresses come before those by mark, as in listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ServiceKey {
    Address(Endpoint),
    Mark(Mark),
}

/// Where clients find a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    #[serde(with = "crate::words::protocol")]
    pub protocol: Protocol,
    /// The VIP.
    pub address: IpAddr,
    /// 0 stands for all ports.
    pub port: u16,
}

/// The firewall mark of a service's packets; their protocol, address and port do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark {
    pub family: Family,
    /// Not 0.
    pub mark: u32,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    V4,
    V6,
}

impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl ServiceKey {
    /// A service at an address.
    pub const fn at(protocol: Protocol, address: IpAddr, port: u16) -> Self {
        Self::Address(Endpoint { protocol, address, port })
    }

    /// A service for IPv4 packets with a mark.
    pub const fn marked(mark: u32) -> Self {
        Self::Mark(Mark { family: Family::V4, mark })
    }

    /// A service for IPv6 packets with a mark.
    pub const fn marked_v6(mark: u32) -> Self {
        Self::Mark(Mark { family: Family::V6, mark })
    }

    /// `None` for a service by mark: it takes all.
    pub const fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Address(endpoint) => Some(endpoint.protocol),
            Self::Mark(_) => None,
        }
    }

    /// The VIP; `None` for a service by mark.
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(endpoint) => Some(endpoint.address),
            Self::Mark(_) => None,
        }
    }

    /// The port; 0 for all ports, and for a service by mark.
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address(endpoint) => endpoint.port,
            Self::Mark(_) => 0,
        }
    }

    /// The family of its packets.
    pub fn family(&self) -> Family {
        match self {
            Self::Address(endpoint) => endpoint.address.into(),
            Self::Mark(mark) => mark.family,
        }
    }
}

impl fmt::Display for ServiceKey {
    /// As messages name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(Endpoint { protocol, address: IpAddr::V6(address), port }) => {
                write!(f, "{protocol} [{address}]:{port}")
            }
            Self::Address(Endpoint { protocol, address, port }) => write!(f, "{protocol} {address}:{port}"),
            Self::Mark(Mark { family: Family::V4, mark }) => write!(f, "FWM {mark}"),
            Self::Mark(Mark { family: Family::V6, mark }) => write!(f, "FWM {mark} IPv6"),
        }
    }
}

/// A virtual service without what identifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub options: Options,
    /// Its servers in the order the schedulers see: the newest first, as IPVS puts a new one at the head.
    pub servers: Vec<Server>,
}

/// A real server of a service; its address and port identify it within the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The RIP.
    pub address: IpAddr,
    /// 0 stands for the port of the packet.
    pub port: u16,
    #[serde(with = "crate::words::forward")]
    pub forward: Forward,
    /// For [`Forward::Tunnel`].
    #[serde(default)]
    pub tunnel: Tunnel,
    /// 0 means: no new connections, existing ones go on. At most `i32::MAX`, as in IPVS.
    pub weight: u32,
    /// With so many connections it gets no new ones; 0 is no limit. At most `i32::MAX`.
    pub upper: u32,
    /// It gets new ones again below so many; 0 stands for three quarters of `upper`. At most `upper`.
    pub lower: u32,
}

impl Server {
    /// A server without thresholds; a tunnel to it is IPIP.
    pub const fn new(address: IpAddr, port: u16, forward: Forward, weight: u32) -> Self {
        Self { address, port, forward, tunnel: Tunnel::IPIP, weight, upper: 0, lower: 0 }
    }

    /// The same without what its forwarding method has not.
    #[must_use]
    pub fn without_surplus(self) -> Self {
        let tunnel = match self.forward {
            Forward::Tunnel => self.tunnel.without_surplus(),
            Forward::Masquerade | Forward::Direct => Tunnel::IPIP,
        };
        Self { tunnel, ..self }
    }
}

/// The timeouts that `--set` changes, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// TCP ESTABLISHED.
    pub tcp: u32,
    /// TCP `FIN_WAIT`.
    pub tcp_fin: u32,
    pub udp: u32,
}

impl Default for Timeouts {
    /// IPVS's: 15 minutes, 2 minutes, 5 minutes.
    fn default() -> Self {
        Self { tcp: 900, tcp_fin: 120, udp: 300 }
    }
}
