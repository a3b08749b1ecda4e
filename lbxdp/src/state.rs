//! What the operator wants: services, their servers, timeouts, settings. Plain values that know nothing of the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lbxdp_common::{Forward, Protocol, Scheduler};
use serde::{Deserialize, Serialize};

use crate::sysctl::Sysctls;

/// Everything that is configured. One command turns one `State` into the next, or into an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The virtual services by what identifies them.
    pub services: BTreeMap<ServiceKey, Service>,
    /// The three timeouts of `--set`.
    pub timeouts: Timeouts,
    /// The settings of `lbxdp set`.
    pub sysctls: Sysctls,
}

impl State {
    /// The addresses of all real servers.
    pub fn server_addresses(&self) -> BTreeSet<IpAddr> {
        self.services.values().flat_map(|service| &service.servers).map(|server| server.address).collect()
    }
}

/// What identifies a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceKey {
    #[serde(with = "crate::words::protocol")]
    pub protocol: Protocol,
    /// The VIP.
    pub address: IpAddr,
    pub port: u16,
}

/// A virtual service without what identifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub scheduler: Scheduler,
    /// Its servers in the order the schedulers see: the newest first, as IPVS puts a new one at the head.
    pub servers: Vec<Server>,
}

/// A real server of a service; its address and port identify it within the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The RIP.
    pub address: IpAddr,
    pub port: u16,
    #[serde(with = "crate::words::forward")]
    pub forward: Forward,
    /// 0 means: no new connections, existing ones go on. At most `i32::MAX`, as in IPVS.
    pub weight: u32,
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
