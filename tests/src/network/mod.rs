//! Networks of any shape, from a description: nets, hosts, routers, addresses of both families, and what a real server does with
//! what the director sends it.
//!
//! A [`Plan`] says what there is; [`lore`] has the ones that LVS is known for. A [`Network`] is a plan come to life. An [`Offer`]
//! puts a virtual service on its director by a [`Method`], and [`exchange`] talks to it as clients do, and compares what arrives.

pub mod build;
pub mod counters;
pub mod damage;
pub mod ear;
pub mod exchange;
pub mod family;
pub mod lore;
pub mod method;
pub mod offer;
pub mod opener;
pub mod packet;
pub mod plan;
pub mod probe;
pub mod reasons;
pub mod receiver;
pub mod snapshot;
pub mod trunk;

pub use build::{Network, Site};
pub use damage::Damage;
pub use ear::Ear;
pub use exchange::Exchange;
pub use family::Family;
pub use method::{Checksum, Method, Tunnel};
pub use offer::Offer;
pub use packet::{IcmpError, IcmpKind, Packet};
pub use plan::{HostPlan, Net, Plan, Role, Route, Spot, To};
pub use probe::Probe;
pub use receiver::Receiver;
pub use trunk::{Tags, Trunk};
