//! Next hops: which interface and which MAC address lead to a server, and how large a packet may be on the way.
//!
//! The kernel's routes and neighbours say; this follows them through netlink, keeps the neighbour entries alive (packets
//! that XDP forwards do not), and never asks in the packet path.

mod follow;
#[cfg(test)]
mod in_a_namespace;
mod kernel;
mod link;
mod message;
mod neighbour;
mod path_mtu;
mod ports;
mod ration;
mod route;

pub(super) use follow::NextHops;
pub(super) use kernel::Event;
pub(super) use kernel::NetlinkError;
pub(super) use link::Link;
