//! Neighbour discovery of IPv6 (RFC 4861) as far as it is needed here.

use std::net::{IpAddr, Ipv6Addr};

use super::Mac;
use super::frame::{HEADER, IPV6, bytes, header, kind};

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Override: whoever has another hardware address for it takes this one.
const OVERRIDE: [u8; 4] = [0x20, 0, 0, 0];
/// The option with the sender's own hardware address, as the target of the advertisement.
const TARGET_OPTION: [u8; 2] = [2, 1];

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Unsolicited: this address is at this interface.
pub(super) fn announcement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![ADVERTISEMENT, 0, 0, 0];
    message.extend(OVERRIDE);
    message.extend(address.octets());
    message.extend(TARGET_OPTION);
    message.extend(mac);
    packet(mac, address, ALL_NODES, message)
}

/// As duplicate address detection asks: from no address. The answer goes to all nodes.
pub(super) fn question(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(address.octets());
    packet(mac, Ipv6Addr::UNSPECIFIED, group, message)
}

/// The address that a frame's sender says to have.
pub(super) fn claim(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let is_advertisement = kind(frame)? == IPV6
        && bytes::<1>(frame, HEADER + 6)? == [ICMPV6]
        && bytes::<1>(frame, HEADER + 40)? == [ADVERTISEMENT];
    let target = Ipv6Addr::from(bytes::<16>(frame, HEADER + 48)?);
    // The sender of the frame, where the option is left out.
    let mac = match bytes::<2>(frame, HEADER + 64) {
        Some(TARGET_OPTION) => bytes(frame, HEADER + 66)?,
        _ => bytes(frame, 6)?,
    };
    is_advertisement.then_some((target.into(), mac))
}

fn packet(mac: Mac, from: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or_default();
    let [.., a, b, c, d] = to.octets();
    let checksum = checksum(from, to, length, &message);
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&checksum);
    }
    let mut frame = header([0x33, 0x33, a, b, c, d], mac, IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    // 255 hops: proof that no router has forwarded it.
    frame.extend([ICMPV6, 255]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(message);
    frame
}

/// Of ICMP for IPv6 (RFC 8200, section 8.1).
fn checksum(from: Ipv6Addr, to: Ipv6Addr, length: u16, message: &[u8]) -> [u8; 2] {
    let pseudo =
        [&from.octets()[..], &to.octets(), &[0, 0], &length.to_be_bytes(), &[0, 0, 0, ICMPV6]].concat();
    let words = |bytes: &[u8]| -> u32 {
        let (pairs, odd) = bytes.as_chunks::<2>();
        let sum: u32 = pairs.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
        sum + odd.first().map_or(0, |byte| u32::from(*byte) << 8)
    };
    let mut sum = words(&pseudo) + words(message);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap_or_default()).to_be_bytes()
}
