//! The transport protocols lbxdp balances.

use crate::named_enum;

named_enum! {
    /// A transport protocol, numbered as in the IP header (IANA protocol numbers).
    pub enum Protocol: u8 {
        /// RFC 9293.
        Tcp = 6 => "TCP",
        /// RFC 768.
        Udp = 17 => "UDP",
        /// RFC 9260.
        Sctp = 132 => "SCTP",
    }
}
