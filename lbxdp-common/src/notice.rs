//! What a packet's sender is told when the packet is not forwarded; each time is counted.

use crate::named_enum;

named_enum! {
    /// An ICMP error that was sent, or why none was where one was due.
    pub enum Notice: u32 {
        /// "Destination unreachable, port unreachable" was sent.
        PortUnreachable = 0 => "port_unreachable",
        /// None was sent: this client has been told often enough for now.
        ClientLimit = 1 => "client_limit",
        /// None was sent: all clients together have been told often enough for now.
        TotalLimit = 2 => "total_limit",
        /// None was sent: the packet is not one to be answered (RFC 1122, 3.2.2; RFC 4443, 2.4), or its driver's buffer cannot be changed.
        Unanswerable = 3 => "unanswerable",
        /// "Fragmentation needed" was sent, or IPv6's "packet too big".
        PacketTooBig = 4 => "packet_too_big",
        /// "Time exceeded" was sent.
        TimeExceeded = 5 => "time_exceeded",
        /// What a router said of a packet in a tunnel was passed on to who had sent what was inside.
        Relayed = 6 => "relayed",
    }
}
