//! Why a packet was not decapsulated, and what becomes of it.

use crate::named_enum;
use crate::verdict::Fate;

named_enum! {
    /// Why a packet was not decapsulated. Each is counted, but [`Refusal::NotATunnel`].
    pub enum Refusal: u32 {
        /// Nothing that is around another packet; nobody's business here.
        NotATunnel = 0 => "not_a_tunnel",
        /// To another machine's MAC address, or to a group's.
        OtherHost = 1 => "other_host",
        /// From an address that is not among the allowed ones. There may be another tunnel, so the stack gets it.
        SourceNotAllowed = 2 => "source_not_allowed",
        /// A fragment of a tunnel packet. The stack may put it together.
        Fragment = 3 => "fragment",
        /// The outer IPv4 header has options, which the stack must obey.
        OuterOptions = 4 => "outer_options",
        /// The outer header is cut short, contradicts itself or the frame, or has a wrong checksum.
        OuterMalformed = 5 => "outer_malformed",
        /// GUE of another version, a control message, or with fields that nobody knows here.
        GueHeader = 6 => "gue_header",
        /// GRE of another version, or with a key, a sequence number or a route.
        GreHeader = 7 => "gre_header",
        /// Inside is neither IPv4 nor IPv6.
        OtherPayload = 8 => "other_payload",
        /// The inner packet's checksum was left to us, and the packet is longer than a program sees at once.
        ChecksumOutOfReach = 9 => "checksum_out_of_reach",
        /// The inner packet is cut short or contradicts itself.
        InnerMalformed = 10 => "inner_malformed",
        /// The way was congested, and the inner packet's sender is not one to be told by ECN: a loss tells it (RFC 6040).
        CongestionUnheard = 11 => "congestion_unheard",
        /// The program runs without its settings.
        NotReady = 12 => "not_ready",
        /// The driver does not let the frame's front be cut.
        NotCut = 13 => "not_cut",
    }
}

impl Refusal {
    /// What happens to such a packet. Whatever another receiver of tunnels may understand is left to the stack, which also
    /// counts what is broken outside; what would be broken or unsafe inside is not.
    #[inline(always)]
    pub const fn fate(self) -> Fate {
        match self {
            Self::NotATunnel
            | Self::OtherHost
            | Self::SourceNotAllowed
            | Self::Fragment
            | Self::OuterOptions
            | Self::OuterMalformed
            | Self::GueHeader
            | Self::GreHeader
            | Self::OtherPayload
            | Self::ChecksumOutOfReach
            | Self::NotReady
            | Self::NotCut => Fate::Pass,
            Self::InnerMalformed | Self::CongestionUnheard => Fate::Drop,
        }
    }
}
