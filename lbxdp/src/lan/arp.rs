//! ARP (RFC 826) as far as it is needed here.

use std::net::{IpAddr, Ipv4Addr};

use super::Mac;
use super::frame::{ARP, HEADER, bytes, header, kind};

const EVERYBODY: Mac = [0xff; 6];

const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// `sender` has `from`; who has `about`?
fn packet(operation: u16, sender: Mac, from: Ipv4Addr, target: Mac, about: Ipv4Addr) -> Vec<u8> {
    // Ethernet, IPv4, and the lengths of their addresses.
    let fixed = [0, 1, 8, 0, 6, 4];
    let mut frame = header(EVERYBODY, sender, ARP);
    frame.extend(fixed);
    frame.extend(operation.to_be_bytes());
    frame.extend(sender);
    frame.extend(from.octets());
    frame.extend(target);
    frame.extend(about.octets());
    frame
}

/// Gratuitous ARP: a request for the address that it comes from, as `arping -U` sends it (RFC 5227, section 3).
pub(super) fn announcement(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    packet(REQUEST, mac, address, [0; 6], address)
}

/// A probe (RFC 5227): a request that comes from no address.
pub(super) fn question(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    packet(REQUEST, mac, Ipv4Addr::UNSPECIFIED, [0; 6], address)
}

/// The address that a frame's sender says to have.
pub(super) fn claim(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    if kind(frame)? != ARP || bytes::<2>(frame, HEADER + 6)? != REPLY.to_be_bytes() {
        return None;
    }
    Some((Ipv4Addr::from(bytes::<4>(frame, HEADER + 14)?).into(), bytes(frame, HEADER + 8)?))
}
