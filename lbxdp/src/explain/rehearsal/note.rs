//! What was seen of the decision code while it ran: which questions it asked, and what it was told.

use std::net::IpAddr;

use lbxdp_common::client_hop::WayOut;
use lbxdp_common::counters::ServerCounters;
use lbxdp_common::held::HeldHeader;
use lbxdp_common::server::{Load, ServerId};
use lbxdp_common::service::{Member, ServiceKey};
use lbxdp_common::steer::Stage;
use lbxdp_common::{Notice, Overflow};

use super::Place;

/// One thing that was seen.
#[derive(Clone, Debug)]
pub enum Note {
    /// A row was asked for, for the first time.
    Touched(Place),
    /// A service was asked for; its index, if it is there.
    Service(ServiceKey, Option<u32>),
    /// There are rules for the marks of packets to the destination.
    MarkRules,
    /// A stage took the packet over.
    Entered(Stage),
    /// The client's template was asked for: of the service at this index. [`ServerId::NONE`]: there is none that counts.
    Consulted(u32, ServerId),
    /// A scheduler was asked.
    Scheduled(Choice),
    /// The server by hash, of the service at this index.
    Hashed(u32, ServerId),
    /// A lot was drawn.
    Drawn,
    /// A packet was counted for a server.
    Counted(ServerId, ServerCounters),
    /// Something was done for want of room.
    Overflow(Overflow),
    /// The sender was told, or why not.
    Notice(Notice),
    /// The kernel was asked for the way to a client.
    Routed(Routed),
    /// The daemon would get the frame.
    Held(HeldHeader),
}

/// A scheduler's choice.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Index of the service.
    pub index: u32,
    /// Among whom.
    pub candidates: Vec<Candidate>,
    /// [`ServerId::NONE`]: nobody.
    pub server: ServerId,
}

/// A server of the service as its scheduler sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Which one, and its weight.
    pub member: Member,
    /// Its connections.
    pub load: Load,
}

/// A question for the way to a client.
#[derive(Clone, Copy, Debug)]
pub struct Routed {
    /// The VIP.
    pub from: IpAddr,
    /// The client.
    pub to: IpAddr,
    /// The way, and the longest packet that fits; or the kernel's number (`BPF_FIB_LKUP_RET_…`).
    pub answer: Result<(WayOut, u32), u32>,
}
