//! What a frame holds, as far as balancing needs it. VLAN tags, IPv6 and the packets quoted in ICMP errors belong here.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::connection::Key;
use crate::protocol::Protocol;
use crate::verdict::Reason;
use crate::wire::Frame;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv4::Ipv4;
use crate::wire::tcp::{Flags, Tcp};
use crate::wire::udp::Udp;

/// The two headers every packet of ours begins with, in one read.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Headers {
    pub(super) ethernet: Ethernet,
    pub(super) ip: Ipv4,
}

/// Offset of the IP header in the frame.
pub(super) const IP_OFFSET: usize = ethernet::HEADER_BYTES;

/// A client's packet.
pub(super) struct Packet {
    pub(super) key: Key,
    pub(super) protocol: Protocol,
    /// TCP's control bits; none for UDP.
    pub(super) flags: Flags,
    /// Bytes from the IP header on.
    pub(super) ip_bytes: u16,
}

/// Ethernet and IPv4; anything else is not ours.
#[inline(always)]
pub(super) fn headers<F: Frame>(frame: &F) -> Result<Headers, Reason> {
    let headers: Headers = frame.read(0).ok_or(Reason::NotOurs)?;
    if headers.ethernet.ethertype != ethernet::IPV4 {
        return Err(Reason::NotOurs);
    }
    Ok(headers)
}

/// The packet in the frame.
#[inline(always)]
pub(super) fn packet<F: Frame>(frame: &F, headers: &Headers) -> Result<Packet, Reason> {
    let ip = &headers.ip;
    let header_bytes = ip.header_bytes().ok_or(Reason::Malformed)?;
    if ip.is_fragment() {
        return Err(Reason::Fragment);
    }
    let offset = IP_OFFSET + header_bytes;
    let protocol = Protocol::from_raw(ip.protocol).ok_or(Reason::OtherProtocol)?;
    let (client_port, vip_port, flags) = match protocol {
        Protocol::Tcp => {
            let tcp: Tcp = frame.read(offset).ok_or(Reason::Malformed)?;
            (tcp.source, tcp.destination, tcp.flags)
        }
        Protocol::Udp => {
            let udp: Udp = frame.read(offset).ok_or(Reason::Malformed)?;
            (udp.source, udp.destination, Flags::default())
        }
    };
    let key = Key {
        client: ip.source,
        vip: ip.destination,
        client_port,
        vip_port,
        protocol: ip.protocol,
        pad: [0; 3],
    };
    Ok(Packet { key, protocol, flags, ip_bytes: ip.total_bytes.get() })
}
