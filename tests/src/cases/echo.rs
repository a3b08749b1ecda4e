//! What comes back of frames that left: answers to them, and ICMP errors about them, from a neighbour of the director's.

use etherparse::{Icmpv6Type, Ipv4Header, Ipv6Header, PacketBuilder};

use super::frame::{Error, IP, untagged};
use super::{CLIENT_MAC, DIRECTOR_MAC};

/// The IP packet of a frame that left, if it is whole: behind its tags, if it has any.
fn packet(frame: &[u8]) -> Option<Vec<u8>> {
    let (_, plain) = untagged(frame);
    let packet = plain.get(IP..)?;
    match plain.get(12..14)? {
        [0x08, 0x00] => {
            let (header, rest) = Ipv4Header::from_slice(packet).ok()?;
            (usize::from(header.total_len) == header.header_len() + rest.len()).then(|| packet.to_vec())
        }
        [0x86, 0xdd] => {
            let (header, rest) = Ipv6Header::from_slice(packet).ok()?;
            (usize::from(header.payload_length) == rest.len()).then(|| packet.to_vec())
        }
        _ => None,
    }
}

/// A frame of such a packet to the director.
fn framed(packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    [&DIRECTOR_MAC[..], &CLIENT_MAC, &kind, packet].concat()
}

/// The same packet the other way: addresses and ports change places, which no checksum minds.
pub(super) fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let mut packet = packet(frame)?;
    let (first, second, ports) = if packet[0] >> 4 == 6 {
        (8..24, 24..40, 40)
    } else {
        (12..16, 16..20, usize::from(packet[0] & 0xf) * 4)
    };
    let turned = [&packet[second.clone()], &packet[first.clone()]].concat();
    packet[first.start..second.end].copy_from_slice(&turned);
    let ends = packet.get_mut(ports..ports + 4)?;
    ends.rotate_left(2);
    Some(framed(&packet))
}

/// An error about the packet to whoever sent it, that quotes so many bytes of it at most.
pub(super) fn error(frame: &[u8], (kind, code, rest): Error, quoted: usize) -> Option<Vec<u8>> {
    let packet = packet(frame)?;
    let quote = &packet[..quoted.min(packet.len())];
    let ethernet = PacketBuilder::ethernet2(CLIENT_MAC, DIRECTOR_MAC);
    let mut error = Vec::new();
    if packet[0] >> 4 == 6 {
        let (header, _) = Ipv6Header::from_slice(&packet).ok()?;
        let mut router = header.destination;
        router[15] ^= 0x40;
        let kind = Icmpv6Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: rest };
        ethernet.ipv6(router, header.source, 64).icmpv6(kind).write(&mut error, quote).ok()?;
    } else {
        let (header, _) = Ipv4Header::from_slice(&packet).ok()?;
        let mut router = header.destination;
        router[3] ^= 0x40;
        ethernet
            .ipv4(router, header.source, 64)
            .icmpv4_raw(kind, code, rest)
            .write(&mut error, quote)
            .ok()?;
    }
    Some(error)
}
