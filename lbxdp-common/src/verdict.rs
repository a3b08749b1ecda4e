//! What happens to a packet, and why it was not forwarded.

use crate::named_enum;

/// How a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Out by the interface it came in.
    Transmit,
    /// Out by the interface in this slot of the device map.
    Redirect(u16),
    /// Out by the interface of this index.
    Leave(u32),
    /// Its server is the director itself: up to the stack, as it is.
    Local,
    /// Back to where it came from, as an ICMP error that says why it was not forwarded.
    Answered(Reason),
}

named_enum! {
    /// Why a packet was not forwarded. Each is counted, but [`Reason::NotOurs`].
    pub enum Reason: u32 {
        /// Not a packet to a VIP; nobody's business here.
        NotOurs = 0 => "not_ours",
        /// To a VIP, but to another machine's MAC address (the interface is promiscuous, or the switch floods).
        OtherHost = 1 => "other_host",
        /// A protocol that is not balanced (ICMP and others).
        OtherProtocol = 2 => "other_protocol",
        /// A header is cut short or contradicts itself.
        Malformed = 3 => "malformed",
        /// A fragment of a packet that is not balanced, or whose first one was not.
        Fragment = 4 => "fragment",
        /// No service on this port of the VIP.
        NoService = 5 => "no_service",
        /// A TCP packet that does not open a connection and belongs to none.
        NoConnection = 6 => "no_connection",
        /// A data connection of FTP: from port 20, which is never scheduled, or to a service on port 21 that is not persistent.
        FtpData = 7 => "ftp_data",
        /// The service has no server that may get a new connection.
        NoServer = 8 => "no_server",
        /// The connection's server has been deleted; the connection waits for it to come back.
        ServerGone = 9 => "server_gone",
        /// The MAC address of the server's next hop is not known.
        NextHopUnresolved = 10 => "next_hop_unresolved",
        /// No hop left: TTL 0 or 1.
        TtlExpired = 11 => "ttl_expired",
        /// A table has no such row: the program runs without its daemon's set-up.
        NotReady = 12 => "not_ready",
        /// The interface that leads to the server cannot be redirected to (it is gone, or has just come).
        NoWayOut = 13 => "no_way_out",
        /// Too long for the way out, and must not be fragmented.
        TooBig = 14 => "too_big",
        /// It would have to go by a tunnel whose way is too narrow for any packet.
        NoTunnel = 15 => "no_tunnel",
        /// The server is the director itself, by VS/NAT, and has another port than the service: the stack's answers would
        /// not be given the service's port again.
        LocalPort = 16 => "local_port",
        /// A connection by VS/NAT for which the table has no room: without an entry its replies could not be told.
        TableFull = 17 => "table_full",
        /// Too long for the way out, and may be fragmented: the daemon does that.
        MustFragment = 18 => "must_fragment",
        /// A fragment that overtook the first one of its datagram: the daemon keeps it until that has come.
        EarlyFragment = 19 => "early_fragment",
        /// A first fragment without the whole transport header, or one that holds nothing.
        TinyFragment = 20 => "tiny_fragment",
        /// A fragment of which some or all has come already; or another one of a datagram that had such a fragment.
        OverlappingFragment = 21 => "overlapping_fragment",
        /// A packet for the daemon for which its ring has no room, or that is too long to be held.
        HeldFull = 22 => "held_full",
        /// A packet that was held and not sent again: a fragment whose first one did not come, or a packet that could not be
        /// cut or sent. The daemon counts these.
        HeldLost = 23 => "held_lost",
        /// The MAC address of the next hop on the way back to a client is not known; it is being looked for.
        ClientUnresolved = 24 => "client_unresolved",
        /// There is no way back to the client: the director has no route to it, or does not forward (`ip_forward`).
        NoRoute = 25 => "no_route",
        /// A packet of SCTP that would need a new checksum, and is too long for one to be made.
        SctpTooLong = 26 => "sctp_too_long",
        /// An ICMP error about a tunnel of ours, of which nobody else is told.
        TunnelError = 27 => "tunnel_error",
    }
}

named_enum! {
    /// What happens to a packet that is not forwarded.
    pub enum Fate: u32 {
        /// The kernel's stack gets it, untouched.
        Pass = 0 => "pass",
        /// Nobody gets it.
        Drop = 1 => "drop",
        /// The daemon gets it, and sends it again; what it gives up is counted by [`Reason::HeldLost`].
        Hold = 2 => "hold",
    }
}

impl Reason {
    /// What happens to such a packet; what IPVS does, where it knows the case.
    #[inline(always)]
    pub const fn fate(self) -> Fate {
        match self {
            Self::NotOurs
            | Self::OtherHost
            | Self::OtherProtocol
            | Self::Malformed
            | Self::Fragment
            | Self::NoService
            | Self::NoConnection
            | Self::FtpData
            | Self::NotReady => Fate::Pass,
            Self::NoServer
            | Self::ServerGone
            | Self::NextHopUnresolved
            | Self::TtlExpired
            | Self::NoWayOut
            | Self::TooBig
            | Self::NoTunnel
            | Self::LocalPort
            | Self::TableFull
            | Self::ClientUnresolved
            | Self::NoRoute
            | Self::SctpTooLong
            | Self::TunnelError
            | Self::TinyFragment
            | Self::OverlappingFragment
            | Self::HeldFull
            | Self::HeldLost => Fate::Drop,
            Self::MustFragment | Self::EarlyFragment => Fate::Hold,
        }
    }
}
