//! The stages: what takes over a frame that does not go straight. In the kernel each is a program of its own, entered by a
//! tail call, with all of the stack; whoever enters one is done. What a stage must know lies on the [desk](super::Desk).

use super::forward::masquerade;
use super::{Ways, back, error, forward, fragment, fresh, hold, rare, refuse, tagged, v6};
use crate::address::{Address, V4, V6};
use crate::client_hop::ClientHop;
use crate::held::HeldHeader;
use crate::named_enum;
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;

named_enum! {
    /// A stage, by its slot in the table of programs and its program's name.
    pub enum Stage: u32 {
        /// An IPv4 packet, on the desk, that is not simply the next one of its connection.
        RareV4 = 0 => "rare_v4",
        /// An IPv6 packet.
        V6 = 1 => "v6",
        /// An IPv6 packet, on the desk, that is not simply the next one of its connection.
        RareV6 = 2 => "rare_v6",
        /// A packet whose course, on the desk, is not simply VS/DR.
        Carry = 3 => "carry",
        /// A packet that is dropped for the reason on the desk, and whose sender is to be told.
        Answer = 4 => "answer",
        /// A fragment of an IPv4 packet.
        FragmentV4 = 5 => "fragment_v4",
        /// A fragment of an IPv6 packet.
        FragmentV6 = 6 => "fragment_v6",
        /// A frame with VLAN tags.
        Tagged = 7 => "tagged",
        /// A packet that is dropped for the reason on the desk, and that the daemon is to see.
        Hold = 8 => "hold",
        /// An ICMP packet for a VIP.
        ErrorV4 = 9 => "error_v4",
        /// An IPv6 packet for a VIP that carries no transport protocol: `ICMPv6`, perhaps.
        ErrorV6 = 10 => "error_v6",
        /// An IPv4 packet of a connection by VS/NAT, on the desk, from its client.
        RequestV4 = 11 => "request_v4",
        /// The same of IPv6.
        RequestV6 = 12 => "request_v6",
        /// An IPv4 packet from a server that is reached by VS/NAT.
        BackV4 = 13 => "back_v4",
        /// The same of IPv6.
        BackV6 = 14 => "back_v6",
        /// An IPv4 packet of a connection by VS/NAT, on the desk, from its server.
        ReplyV4 = 15 => "reply_v4",
        /// The same of IPv6.
        ReplyV6 = 16 => "reply_v6",
        /// An ICMP packet that is not for a VIP.
        ErrorBackV4 = 17 => "error_back_v4",
        /// The same of IPv6.
        ErrorBackV6 = 18 => "error_back_v6",
        /// An ICMP packet that may be about a tunnel.
        TunnelErrorV4 = 19 => "tunnel_error_v4",
        /// The same of IPv6.
        TunnelErrorV6 = 20 => "tunnel_error_v6",
        /// An error about a tunnel, and the IPv4 packet inside it, on the desk.
        TunnelledV4 = 21 => "tunnelled_v4",
        /// An IPv6 packet inside.
        TunnelledV6 = 22 => "tunnelled_v6",
        /// A fragment of an IPv4 packet from a server that is reached by VS/NAT.
        BackPieceV4 = 23 => "back_piece_v4",
        /// The same of IPv6.
        BackPieceV6 = 24 => "back_piece_v6",
        /// An IPv4 packet for a VIP that is not simply the next one of a settled connection.
        V4 = 25 => "v4",
        /// An IPv4 packet for a VIP that may be the first one of its connection.
        FreshV4 = 26 => "fresh_v4",
        /// The same of IPv6.
        FreshV6 = 27 => "fresh_v6",
    }
}

/// How many slots the table of programs has: more than there are stages, so that a later build can have some more and still take
/// the tables over.
pub const STAGE_SLOTS: u32 = 64;

/// The slot of the program `report`, which makes the record of a packet that is watched: no stage, and only there while somebody
/// watches.
pub const REPORT_SLOT: u32 = STAGE_SLOTS - 1;

/// A world with stages.
pub trait Stages<F: Frame>: Ways<V4> + Ways<V6> {
    /// Gives the frame over to a stage, which decides about it.
    ///
    /// # Errors
    /// Why the packet is not forwarded; [`Reason::NotReady`] if there is no such stage.
    fn enter(&self, stage: Stage, frame: &mut F) -> Result<Verdict, Reason> {
        stage.run(self, frame)
    }

    /// Gives the daemon a copy of the frame; says whether there was room for it.
    fn hold(&self, frame: &F, header: HeldHeader) -> bool;

    /// Asks the kernel for the way from an address of the director to another one, and writes it down.
    fn route<A: Address>(&self, frame: &F, from: A, to: A, row: ClientHop<Self::Row>) -> Route;
}

/// What became of the question for a way: the MTU (lower half), or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route(pub u64);

impl Route {
    /// The next hop's MAC address is not known (the kernel's `BPF_FIB_LKUP_RET_NO_NEIGH`).
    pub const NO_NEIGHBOUR: u32 = 7;

    /// A way for packets of at most so many bytes, from the IP header on.
    #[inline(always)]
    pub const fn of_mtu(mtu: u32) -> Self {
        Self(mtu as u64)
    }

    /// None; the reason is one of the kernel's numbers, not 0.
    #[inline(always)]
    pub const fn none(reason: u32) -> Self {
        Self((reason as u64) << 32)
    }

    /// Why there is no way.
    #[inline(always)]
    pub const fn failure(self) -> Option<u32> {
        let reason = (self.0 >> 32) as u32;
        if reason == 0 { None } else { Some(reason) }
    }

    /// The longest packet that fits.
    #[inline(always)]
    pub const fn mtu(self) -> u32 {
        self.0 as u32
    }
}

impl Stage {
    /// Does what the stage does.
    ///
    /// # Errors
    /// Why the packet is not forwarded.
    #[inline(always)]
    pub fn run<F: Frame, W: Stages<F>>(self, world: &W, frame: &mut F) -> Result<Verdict, Reason> {
        let decided = match self {
            Self::RareV4 => rare::depart::<V4, _, _>(world, frame),
            Self::V4 => super::arrive_v4(world, frame),
            Self::V6 => v6::arrive(world, frame),
            Self::FreshV4 => fresh::arrive_v4(world, frame),
            Self::FreshV6 => fresh::arrive_v6(world, frame),
            Self::RareV6 => rare::depart::<V6, _, _>(world, frame),
            Self::Carry => forward::carry(world, frame),
            Self::Answer => return refuse::answer(world, frame),
            Self::FragmentV4 => fragment::arrive_v4(world, frame),
            Self::FragmentV6 => fragment::arrive_v6(world, frame),
            Self::Tagged => tagged::arrive(world, frame),
            Self::Hold => return hold::hold(world, frame),
            Self::ErrorV4 => error::forth::arrive_v4(world, frame),
            Self::ErrorV6 => error::forth::arrive_v6(world, frame),
            Self::ErrorBackV4 => error::back::arrive_v4(world, frame),
            Self::ErrorBackV6 => error::back::arrive_v6(world, frame),
            Self::TunnelErrorV4 => error::tunnel::arrive_v4(world, frame),
            Self::TunnelErrorV6 => error::tunnel::arrive_v6(world, frame),
            Self::TunnelledV4 => error::tunnel::tell_v4(world, frame),
            Self::TunnelledV6 => error::tunnel::tell_v6(world, frame),
            Self::RequestV4 => masquerade::request::<V4, _, _>(world, frame),
            Self::RequestV6 => masquerade::request::<V6, _, _>(world, frame),
            Self::BackV4 => back::arrive_v4(world, frame),
            Self::BackV6 => back::arrive_v6(world, frame),
            Self::BackPieceV4 => fragment::back_v4(world, frame),
            Self::BackPieceV6 => fragment::back_v6(world, frame),
            Self::ReplyV4 => masquerade::reply::<V4, _, _>(world, frame),
            Self::ReplyV6 => masquerade::reply::<V6, _, _>(world, frame),
        };
        refuse::concluded(frame, world, decided)
    }
}
