//! The bench's driver: which flow comes next, and a frame as if it had just arrived with it.
//!
//! The kernel can run a program on a frame again and again, but leaves the frame as the program left it: the second time a
//! tunnel would go into a tunnel. So the driver goes first each time, and gives the program under test a frame that is new.

use core::cmp::Ordering;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::wire::Frame;
use crate::wire::checksum;

/// The longest frame that is driven, in words of eight bytes.
pub const FRAME_WORDS: usize = 10;

/// Words of [`Orders`], which are a row of a map.
pub const ORDERS_WORDS: usize = FRAME_WORDS + 4;

/// Odd, and without pattern: multiplying by them maps numbers of any width onto themselves, far from where they were.
const MIXERS: [u32; 3] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d];

/// What the driver is to send: one frame, and what differs in it from flow to flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Orders {
    /// The frame of the first flow, byte by byte, zero from its end on.
    pub frame: [u64; FRAME_WORDS],
    /// The last four bytes of the first client's address, as a number in host order.
    pub client: u32,
    /// The last four bytes of the first service's address, as a number in host order.
    pub service: u32,
    /// One less than the number of flows, a power of two; all ones: each packet is a new flow.
    pub mask: u32,
    /// How many services there are, one address after the other.
    pub services: u32,
    /// Half the bits of `mask`, rounded up.
    pub half: u32,
    /// Of the header of IPv4, as little-endian numbers, but for both addresses' low halves and the checksum itself.
    pub sum: u32,
    /// The first client's first port, in host order.
    pub port: u32,
    /// The interface that a source of live frames sends out by.
    pub ifindex: u32,
}

impl Orders {
    /// The number of the flow of a packet: each of them once before any comes again, in an order that no cache foresees.
    #[inline(always)]
    pub const fn flow(&self, packet: u32) -> u32 {
        let mixed = packet.wrapping_mul(MIXERS[0]) & self.mask;
        let mixed = mixed ^ mixed >> (self.half & 31);
        mixed.wrapping_mul(MIXERS[1]) & self.mask
    }

    /// Four bytes of the frame, the first one lowest.
    #[inline(always)]
    fn four_at(&self, offset: usize) -> u32 {
        let (word, bits) = (offset / 8, offset % 8 * 8);
        let word_at = |at: usize| self.frame.get(at).copied().unwrap_or_default();
        let more = if bits > 32 { word_at(word + 1) << (64 - bits) } else { 0 };
        (word_at(word) >> bits | more) as u32
    }

    /// The number of the service that a flow is for: always the same.
    #[inline(always)]
    const fn service_of(&self, flow: u32) -> u32 {
        ((flow.wrapping_mul(MIXERS[2]) as u64 * self.services as u64) >> 32) as u32
    }

    /// The address and the port of the client of a flow. A client has 2^14 ports.
    #[inline(always)]
    const fn client_of(&self, flow: u32) -> (u32, u32) {
        (self.client.wrapping_add(flow >> 14), self.port + (flow & 0x3fff))
    }
}

/// Which frames are driven.
pub trait Layout {
    /// Bytes of a frame, a multiple of four and at most eight times [`FRAME_WORDS`].
    const BYTES: u32;
    /// IPv6, not IPv4.
    const IS_V6: bool;
    /// From servers: the client is the destination.
    const IS_REPLY: bool;
}

/// IPv4, from clients.
#[derive(Clone, Copy, Debug)]
pub struct RequestsV4;

/// IPv4, from servers.
#[derive(Clone, Copy, Debug)]
pub struct RepliesV4;

/// IPv6, from clients.
#[derive(Clone, Copy, Debug)]
pub struct RequestsV6;

/// IPv6, from servers.
#[derive(Clone, Copy, Debug)]
pub struct RepliesV6;

/// Bytes of an IPv4 frame: the least that Ethernet has, its checksum not counted.
pub const V4_BYTES: u32 = 60;

/// Bytes of an IPv6 frame: as much behind the header of TCP as IPv4's has, rounded up to a word.
pub const V6_BYTES: u32 = 80;

macro_rules! layouts {
    ($( $name:ident: $bytes:ident, $is_v6:literal, $is_reply:literal; )*) => {
        $(
            impl Layout for $name {
                const BYTES: u32 = $bytes;
                const IS_V6: bool = $is_v6;
                const IS_REPLY: bool = $is_reply;
            }
        )*
    };
}

layouts! {
    RequestsV4: V4_BYTES, false, false;
    RepliesV4: V4_BYTES, false, true;
    RequestsV6: V6_BYTES, true, false;
    RepliesV6: V6_BYTES, true, true;
}

/// Gives a frame back the bounds it had before a program added or took something at its front.
#[inline(always)]
pub fn restore<L: Layout, F: Frame>(frame: &mut F, bytes: u32) -> Option<()> {
    match bytes.cmp(&L::BYTES) {
        Ordering::Greater => frame.cut_front(bytes - L::BYTES),
        Ordering::Less => frame.grow_front(L::BYTES - bytes),
        Ordering::Equal => Some(()),
    }
}

/// Writes the frame of a flow.
///
/// What differs from flow to flow is written as widely as any program reads it: a load that has to wait for two stores costs some
/// nanoseconds, and a packet from a network card has none to wait for.
#[inline(always)]
pub fn write<L: Layout, F: Frame>(frame: &mut F, orders: &Orders, flow: u32) -> Option<()> {
    /// Offset of the TTL of IPv4, before the protocol and the checksum.
    const TTL: usize = 22;
    /// Offset of the addresses of IPv4.
    const ADDRESSES: usize = 26;
    /// Offsets of the second halves of the addresses of IPv6.
    const HALVES: [usize; 2] = [30, 46];

    // A word at a time: as a whole it would be copied byte by byte.
    let mut offset = 0;
    for word in orders.frame {
        if offset + 8 <= L::BYTES as usize {
            frame.write(offset, word)?;
        } else if offset + 4 <= L::BYTES as usize {
            frame.write(offset, word as u32)?;
        }
        offset += 8;
    }
    let (client, port) = orders.client_of(flow);
    let service = orders.service.wrapping_add(orders.service_of(flow));
    // Numbers as they stand in the packet, the first byte lowest.
    let (client, service, port) = (client.swap_bytes(), service.swap_bytes(), port.swap_bytes() >> 16);
    let [source, destination] = if L::IS_REPLY { [service, client] } else { [client, service] };
    let ports_at = if L::IS_V6 { 54 } else { 34 };
    let ports = orders.four_at(ports_at);
    let ports = if L::IS_REPLY { ports & 0xffff | port << 16 } else { ports & 0xffff_0000 | port };
    frame.write(ports_at, ports.to_le_bytes())?;
    if L::IS_V6 {
        let [first, second] = HALVES;
        frame.write(first, both(orders.four_at(first), source))?;
        return frame.write(second, both(orders.four_at(second), destination));
    }
    frame.write(ADDRESSES, both(source, destination))?;
    let sum = u64::from(orders.sum) + u64::from(source) + u64::from(destination);
    let checksum = u16::from_le_bytes(checksum::of_sum(sum));
    frame.write(TTL, (orders.four_at(TTL) & 0xffff | u32::from(checksum) << 16).to_le_bytes())
}

/// Eight bytes of two numbers, the first byte lowest.
#[inline(always)]
fn both(first: u32, second: u32) -> [u8; 8] {
    (u64::from(second) << 32 | u64::from(first)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::wire::Buffer;

    fn orders(bits: u32, services: u32) -> Orders {
        let mask = ((1_u64 << bits) - 1) as u32;
        Orders {
            mask,
            half: bits.div_ceil(2),
            services,
            client: 0x6440_0001,
            port: 1024,
            ..Orders::default()
        }
    }

    #[test]
    fn each_flow_comes_once_before_any_comes_again() {
        for bits in [0, 1, 5, 10, 16] {
            let orders = orders(bits, 1);
            let flows: HashSet<u32> = (0..1 << bits).map(|packet| orders.flow(packet)).collect();
            assert_eq!(flows.len(), 1 << bits);
            assert!(flows.iter().all(|flow| flow >> bits == 0));
        }
    }

    #[test]
    fn new_flows_are_all_different() {
        let orders = orders(32, 1);
        let clients: HashSet<_> = (7..100_000).map(|packet| orders.client_of(orders.flow(packet))).collect();
        assert_eq!(clients.len(), 100_000 - 7);
    }

    #[test]
    fn services_get_equal_shares() {
        let orders = orders(16, 100);
        let mut shares = vec![0_u32; 100];
        for flow in 0..1 << 16 {
            shares[orders.service_of(flow) as usize] += 1;
        }
        assert!(shares.iter().all(|share| (500..=810).contains(share)), "{shares:?}");
    }

    #[test]
    fn a_frame_is_as_new_after_a_program_has_changed_its_bounds_and_bytes() {
        let mut orders = orders(10, 8);
        orders.frame = core::array::from_fn(|at| 0x0101_0101_0101_0101 * (at as u64 + 1));
        let written = |start: usize| -> Vec<u8> {
            let mut memory = [0xff; 128];
            let mut buffer = Buffer::new(memory.get_mut(..64 + 60).expect("the frame is long enough"), start);
            let mut frame = &mut buffer;
            let bytes = frame.bytes();
            restore::<RequestsV4, _>(&mut frame, bytes).expect("the frame is long enough");
            write::<RequestsV4, _>(&mut frame, &orders, 17).expect("the frame is long enough");
            buffer.frame().to_vec()
        };
        assert_eq!(written(64).len(), V4_BYTES as usize);
        for start in [24, 44, 72] {
            assert_eq!(written(start), written(64));
        }
    }

    #[test]
    fn only_what_differs_is_changed_where_the_headers_have_it() {
        fn check<L: Layout>([client_at, port_at, service_at]: [usize; 3]) {
            let mut orders = Orders { service: 0x0a01_0001, ..orders(10, 8) };
            orders.frame = core::array::from_fn(|at| 0x0101_0101_0101_0101 * (at as u64 + 1));
            let mut expected: Vec<u8> = orders.frame.iter().flat_map(|word| word.to_le_bytes()).collect();
            expected.truncate(L::BYTES as usize);
            let mut memory = vec![0; L::BYTES as usize];
            write::<L, _>(&mut &mut Buffer::new(&mut memory, 0), &orders, 17)
                .expect("the frame is long enough");
            let (client, port) = orders.client_of(17);
            let service = orders.service + orders.service_of(17);
            expected[client_at..client_at + 4].copy_from_slice(&client.to_be_bytes());
            expected[port_at..port_at + 2].copy_from_slice(&(port as u16).to_be_bytes());
            expected[service_at..service_at + 4].copy_from_slice(&service.to_be_bytes());
            if !L::IS_V6 {
                expected[24..26].copy_from_slice(&memory[24..26]);
            }
            assert_eq!(memory, expected);
        }
        check::<RequestsV4>([26, 34, 30]);
        check::<RepliesV4>([30, 36, 26]);
        check::<RequestsV6>([34, 54, 50]);
        check::<RepliesV6>([50, 56, 34]);
    }

    #[test]
    fn the_checksum_of_a_header_is_right_for_every_flow() {
        let mut header = [0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let sum = |bytes: &[u8]| -> u64 {
            bytes.chunks(2).map(|pair| u64::from(u16::from_le_bytes([pair[0], pair[1]]))).sum()
        };
        let mut orders = Orders { sum: sum(&header) as u32, service: 0x0a01_0001, ..orders(10, 8) };
        let mut bytes = [0; 80];
        bytes[14..34].copy_from_slice(&header);
        orders.frame = zerocopy::transmute!(bytes);
        for flow in [0, 1, 1023] {
            let mut memory = [0; 60];
            write::<RequestsV4, _>(&mut &mut Buffer::new(&mut memory, 0), &orders, flow)
                .expect("the frame is long enough");
            header.copy_from_slice(&memory[14..34]);
            let folded = (sum(&header) >> 16) + (sum(&header) & 0xffff);
            assert_eq!(folded, 0xffff, "flow {flow}: {header:02x?}");
        }
    }
}
