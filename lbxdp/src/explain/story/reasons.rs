//! Why a packet is not forwarded, and what to do about it, in words. `README.md` has the same reasons in a table.

use lbxdp_common::Reason;

/// What a reason means, and what mends it.
#[expect(clippy::too_many_lines, reason = "a table: a row for each reason")]
pub(super) const fn words(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::NotOurs => (
            "it is not to a VIP, nor a server's packet that belongs to a connection: nobody's business here",
            "if it should be balanced: is there a service at this address (ipvsadm -L -n)?",
        ),
        Reason::OtherHost => (
            "it is to a VIP, but not to this interface's MAC address",
            "who sends it has another MAC address for the VIP: a virtual one (VRRP), or another machine answers ARP for it (lbxdp doctor)",
        ),
        Reason::OtherProtocol => (
            "it is to a VIP, but no packet of TCP, UDP or SCTP, nor an ICMP error about a connection",
            "nothing is wrong: the director's own stack answers, as it does for a ping",
        ),
        Reason::Malformed => (
            "a header is cut short or contradicts itself",
            "look at the packet where it is sent (tcpdump -vv); in a capture: was it cut (snaplen)?",
        ),
        Reason::Fragment => (
            "it is a fragment of a packet that is not balanced, or whose first fragment has not been",
            "nothing, if the first fragment passed too",
        ),
        Reason::NoService => (
            "there is no connection, and no service on this port of the VIP",
            "add the service (ipvsadm -A), or look for a mistake in port or protocol (ipvsadm -L -n)",
        ),
        Reason::NoConnection => (
            "it belongs to no connection, and does not open one",
            "the client will begin anew; if there was a connection, it has ended or expired (ipvsadm -L --timeout)",
        ),
        Reason::FtpData => (
            "a new connection from port 20, or a data connection of FTP whose service is not persistent",
            "make the service on port 21 persistent (ipvsadm -E ... -p)",
        ),
        Reason::NoServer => (
            "the service has no server that may get a new connection",
            "give a server a weight above 0, add one, or raise a threshold (lbxdp server list)",
        ),
        Reason::ServerGone => (
            "the connection's server has been deleted, and the connection waits for it to come back",
            "add the server again, or have such connections end: lbxdp set expire_nodest_conn=1",
        ),
        Reason::NextHopUnresolved => (
            "the MAC address of the server's next hop is not known",
            "lbxdp status --next-hops; from the director: ip route get RIP, ip neigh show, ping RIP",
        ),
        Reason::TtlExpired => (
            "it has no hop left",
            "there is a loop on its way, or its sender gives it too few (traceroute does)",
        ),
        Reason::NotReady => (
            "a table has no such row",
            "this should not happen: end the daemon, start it again, and report it",
        ),
        Reason::NoWayOut => (
            "the interface that leads to the server is gone, or cannot be redirected to",
            "is the interface up, and one that lbxdp may send by (lbxdp status)?",
        ),
        Reason::TooBig => (
            "it is too long for its way, and must not be cut",
            "its sender is told what fits; if that does not help, somebody drops ICMP on the way: raise the MTU, or clamp the MSS",
        ),
        Reason::NoTunnel => (
            "the way to the server is too narrow for any packet in a tunnel, or the driver leaves no room for its header",
            "raise the MTU of the way to the server (lbxdp status --next-hops)",
        ),
        Reason::LocalPort => (
            "by VS/NAT to the director itself, at another port than the service's",
            "give the server the service's port, or have it elsewhere",
        ),
        Reason::TableFull => (
            "the table has no room for a new connection, and by VS/NAT none goes without an entry",
            "more room, which ends all connections: end the daemon, lbxdp unload --keep-configuration, lbxdp run --connections N (--connections-v6 N)",
        ),
        Reason::MustFragment => (
            "it is too long for its way, and may be cut: the daemon gets it, cuts it and sends it on",
            "nothing, while the daemon runs; a larger MTU on the way to the server saves the work",
        ),
        Reason::EarlyFragment => (
            "it is a fragment that overtook the first one: the daemon sends it on when that has come",
            "nothing, while the daemon runs",
        ),
        Reason::TinyFragment => (
            "it is a first fragment without the whole transport header, or one that holds nothing",
            "nothing that behaves sends such fragments",
        ),
        Reason::OverlappingFragment => (
            "it is a fragment of which some has come already, or of a datagram with such a one",
            "nothing that behaves sends such fragments",
        ),
        Reason::HeldFull => (
            "it is for the daemon, and longer than 2,048 bytes, or there is no room for it",
            "raise the MTU of the way to the server, or lower that of the senders",
        ),
        Reason::HeldLost => ("it was held and could not be sent again", "look into the daemon's log"),
        Reason::ClientUnresolved => (
            "it is a reply by VS/NAT, and the MAC address of the client (or of its router) is not known; the daemon looks for it",
            "ip route get CIP, ip neigh show, ping CIP from the director",
        ),
        Reason::NoRoute => (
            "it is a reply by VS/NAT, and there is no way back to the client: no route, or the director does not forward",
            "sysctl -w net.ipv4.ip_forward=1 (of IPv6 net.ipv6.conf.all.forwarding=1); ip route get CIP",
        ),
        Reason::SctpTooLong => (
            "SCTP by VS/NAT to another port, too long (or a fragment) for a new checksum",
            "give the server the service's port",
        ),
        Reason::TunnelError => (
            "it is an error about a packet in a tunnel, of which nobody has to be told, or may be just now",
            "nothing: if the tunnel's way has become narrower, the director has learnt it",
        ),
    }
}

/// What the kernel says of a way that it does not have (`BPF_FIB_LKUP_RET_…`).
pub(super) const fn no_route(number: u32) -> &'static str {
    match number {
        1 => "the route is a blackhole",
        2 => "the route says unreachable",
        3 => "the route says prohibited",
        4 => "it is not a route to forward by (none, or to the director itself)",
        5 => "forwarding is off on the interface it came in by",
        6 => "the route needs an encapsulation",
        7 => "the MAC address of the next hop is not known",
        8 => "the packet would have to be cut",
        9 => "there is no source address",
        _ => "the question was not understood",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who adds a reason says here too what to do about it, and nobody is told nothing.
    #[test]
    fn every_reason_has_words_and_stands_in_the_readme() {
        let readme = include_str!("../../../../README.md");
        for reason in Reason::ALL {
            let (meaning, remedy) = words(*reason);
            assert!(!meaning.is_empty() && !remedy.is_empty(), "{reason}");
            let row = format!("| `{reason}` |");
            assert!(*reason == Reason::NotOurs || readme.contains(&row), "{reason}");
        }
    }
}
