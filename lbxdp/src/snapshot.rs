//! What is going on right now, as plain numbers with names: listings and metrics are made from it.

use std::time::SystemTime;

use lbxdp_common::Fate;
use serde::{Deserialize, Serialize};

use crate::state::{Options, Server, ServiceKey};

/// All services with their servers, for one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Buckets of the connection table (`size=` of the listings).
    pub table_size: u32,
    /// Ticks of the kernel in a second.
    pub hertz: u32,
    pub services: Vec<ServiceSnapshot>,
}

/// All there is to be seen of a director at one moment: metrics and the status page are made from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    /// The name of the instance.
    pub instance: String,
    pub services: Snapshot,
    pub totals: Totals,
    pub status: Status,
    /// The kernel's ids of the programs on interfaces, by their names, as far as there are any.
    pub programs: Vec<(String, u32)>,
    /// When the daemon has begun.
    pub started: SystemTime,
    pub configuration: Changes,
}

/// What a director knows of itself and its services at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// The version of lbxdp that the daemon is.
    pub version: String,
    pub services: Snapshot,
    pub totals: Totals,
    pub status: Status,
    /// When the daemon has begun.
    pub started: SystemTime,
    pub configuration: Changes,
}

/// Changes of the configuration since the daemon has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    pub count: u64,
    /// When the last one was made.
    pub last: Option<SystemTime>,
}

/// What all services together have counted, deleted ones too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// By CPU, since the daemon has begun to keep them; `-Z` does not touch these.
    pub cpus: Vec<Counters>,
    /// Since then, or since the last `-Z` of all.
    pub counters: Counters,
    pub rates: Rates,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceSnapshot {
    pub key: ServiceKey,
    pub options: Options,
    pub counters: Counters,
    pub rates: Rates,
    /// In list order: the newest first.
    pub servers: Vec<ServerSnapshot>,
}

/// One server of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerSnapshot {
    pub server: Server,
    /// Connections in an active state.
    pub active: u32,
    /// All other connections.
    pub inactive: u32,
    /// Templates of persistence, which are in neither.
    pub persistent: u32,
    pub counters: Counters,
    pub rates: Rates,
}

/// Totals since the start or the last `-Z`. Bytes are those of the IP packets, without Ethernet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub connections: u64,
    pub in_packets: u64,
    pub out_packets: u64,
    pub in_bytes: u64,
    pub out_bytes: u64,
}

/// What IPVS's estimator shows, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    pub connections: u64,
    pub in_packets: u64,
    pub out_packets: u64,
    pub in_bytes: u64,
    pub out_bytes: u64,
}

/// The director itself: what an operator asks first when something does not arrive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub interfaces: Vec<InterfaceStatus>,
    /// The table of IPv4 connections.
    pub table: TableStatus,
    /// That of IPv6 connections.
    pub table_v6: TableStatus,
    /// Some new connections find no place now, and go by hash.
    pub is_pressed: bool,
    /// What was done for want of room in the table, since the tables were made; all kinds, in their order.
    pub overflows: Vec<Counted>,
    /// Rows of tables that somebody else had written to and were put right.
    pub repaired: u64,
    /// Why the configuration is not saved; `None` if it is.
    pub unsaved: Option<String>,
    /// What of the configuration is kept and listed without an effect on packets, in words.
    pub only_kept: Vec<String>,
    /// Where packets for the servers go, by the servers' addresses.
    pub next_hops: Vec<NextHop>,
    /// How many packets were not forwarded, by reason; all reasons, in their order.
    pub not_forwarded: Vec<NotForwarded>,
    /// How often senders of such packets were told by ICMP, or why not; all kinds, in their order.
    pub notices: Vec<Counted>,
}

/// Where packets for a server go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    pub server: std::net::IpAddr,
    pub way: Way,
}

/// The way to an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// There is none, or nobody answers.
    Unknown,
    /// The address is the director's own.
    Local,
    Out {
        /// MAC address of the next hop, as it is usually written.
        mac: String,
        interface: String,
        /// The VLANs of the frames, the outer one first.
        vlans: Vec<u16>,
        /// The largest IP packet, in bytes; 0 if that is not known.
        mtu: u16,
    },
}

/// The connection table of a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStatus {
    pub connections: u64,
    /// How many of them were half open, when the daemon last looked through the table.
    pub half_open: u64,
    /// Places that are taken: by connections, by templates, and by what tells replies of VS/NAT.
    pub entries: u64,
    /// Places in use.
    pub places: u64,
    /// To how many places it may grow.
    pub most_places: u64,
    pub is_growing: bool,
    pub sweep: Sweep,
}

/// What sweeping a connection table has cost since the daemon has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// How often all of the table was looked through.
    pub passes: u64,
    /// How long that took in all, in nanoseconds.
    pub busy_ns: u64,
}

/// How often something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    pub name: String,
    pub count: u64,
}

/// An interface that packets come in by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    pub name: String,
    pub path: PacketPath,
}

/// Where the packet program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PacketPath {
    /// In the driver.
    Native,
    /// Behind a socket buffer.
    Generic,
    /// Nowhere: the interface was removed, and its program with it.
    Gone,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotForwarded {
    pub reason: String,
    /// What became of them.
    #[serde(with = "crate::words::fate")]
    pub fate: Fate,
    pub packets: u64,
}
