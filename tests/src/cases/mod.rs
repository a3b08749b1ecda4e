//! One table of cases for the packet path, and two runners: `steer` on the host, and the loaded program.
//!
//! A case writes rows, sends frames, and says of each what becomes of it and what the tables hold then. Both runners must
//! agree to the byte.

mod case;
pub mod corpus;
mod echo;
mod fragments;
pub mod frame;
mod host;
mod icmp;
mod lengths;
mod life;
mod list;
mod marks;
pub mod masquerade;
pub mod memory;
mod one_packet;
mod persistence;
mod ports;
pub mod random;
mod refusal;
mod replies;
mod schedulers;
mod sctp;
pub mod setup;
mod thresholds;
mod transitions;
mod tunnels;
pub mod v6;
mod vlans;

pub use case::{Case, Fact, Step, run};
pub use host::Host;
pub use list::all;
pub use memory::{Outcome, Runner, Table};

use lbxdp_common::table::Seed;

/// The VIP of all cases.
pub const VIP: [u8; 4] = [10, 0, 0, 100];
/// The IPv6 VIP.
pub const VIP_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
/// Its client.
pub const CLIENT_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];
/// Their client.
pub const CLIENT: [u8; 4] = [10, 0, 0, 10];
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x10];
/// The director's MAC address on the interface that the client's frames come in by.
pub const DIRECTOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x01];
/// Index of that interface: the loopback's, for there the kernel has a frame come in that only a test sends.
pub const IFINDEX: u32 = 1;
/// The slot of another interface in the device map, and its index.
pub const OTHER_PORT: (u16, u32) = (3, 99);
/// The secret of all tables.
pub const SEED: Seed = Seed { offset: 0x0123_4567_89ab_cdef, multiplier: 0x9e37_79b9_7f4a_7c15 };
