//! What a CPU remembers of the way to a client: replies of VS/NAT go there, and the kernel's routes are asked a few times a
//! second for each client, not for each packet.

use core::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cells::Cells;
use crate::time::Ticks;
use crate::wire::ethernet::Tag;

/// Rows of a CPU's table.
pub const CLIENT_HOPS: u32 = 4096;
/// Cells of a row.
pub const CLIENT_HOP_CELLS: usize = 8;
/// For what part of a second a row is believed.
pub const BELIEVED: u32 = 4;

/// The most interfaces that are VLANs: as many as one interface can have.
pub const MAX_VLANS: u32 = 4096;

/// Wishes to the daemon: places.
pub const WANTED: u32 = 64;
/// Cells of such a place: the address, and [`Wanted`].
pub const WANTED_CELLS: usize = 4;

const CLIENT: usize = 0;
const VIP: usize = 2;
const UNTIL_AND_MTU: usize = 4;
const WAY: usize = 5;
const TAGS: usize = 7;

/// The number that leads to a row, by the addresses of a client and a VIP, folded.
#[inline(always)]
pub const fn hash(client: u32, vip: u32) -> u32 {
    (client ^ vip.rotate_left(16)).wrapping_mul(0x9e37_79b1)
}

/// The row it leads to.
#[inline(always)]
pub const fn row_of(hash: u32) -> u32 {
    hash >> (32 - CLIENT_HOPS.ilog2())
}

/// How a frame leaves for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct WayOut {
    /// Both MAC addresses as they stand at the head of a frame.
    pub macs: [u8; 12],
    /// Index of the interface.
    pub ifindex: u32,
}

/// A row of the table.
///
/// ```text
/// cells 0, 1   the client's address, an IPv4 one with zeros behind it
/// cells 2, 3   the VIP, likewise: replies are routed as packets from there
/// cell 4       until when it is believed (ticks), and above it the MTU
/// cells 5, 6   the way out
/// cell 7       the VLAN tags, the outer one first; zeros where there is none
/// ```
#[derive(Clone, Copy)]
pub struct ClientHop<C>(pub C);

impl<C: Cells> ClientHop<C> {
    /// Whether it tells, now, the way from a VIP to a client.
    #[inline(always)]
    pub fn is_of(self, client: [u8; 16], vip: [u8; 16], now: Ticks) -> bool {
        let [client, vip]: [[u64; 2]; 2] = zerocopy::transmute!([client, vip]);
        self.0.load(CLIENT) == client[0]
            && self.0.load(CLIENT + 1) == client[1]
            && self.0.load(VIP) == vip[0]
            && self.0.load(VIP + 1) == vip[1]
            && !Ticks(self.0.load(UNTIL_AND_MTU) as u32).is_due(now)
    }

    /// Makes it tell that way, which [`ClientHop::set_way`] has written.
    #[inline(always)]
    pub fn name(self, client: [u8; 16], vip: [u8; 16], until: Ticks, mtu: u32) {
        let [client, vip]: [[u64; 2]; 2] = zerocopy::transmute!([client, vip]);
        self.0.store(CLIENT, client[0]);
        self.0.store(CLIENT + 1, client[1]);
        self.0.store(VIP, vip[0]);
        self.0.store(VIP + 1, vip[1]);
        self.0.store(UNTIL_AND_MTU, u64::from(mtu) << 32 | u64::from(until.0));
    }

    /// The longest packet that fits, in bytes from the IP header on.
    #[inline(always)]
    pub fn mtu(self) -> u32 {
        (self.0.load(UNTIL_AND_MTU) >> 32) as u32
    }

    /// Until when it is believed. Packets do not ask: [`ClientHop::is_of`] does.
    pub fn until(self) -> Ticks {
        Ticks(self.0.load(UNTIL_AND_MTU) as u32)
    }

    /// Notes the way out.
    #[inline(always)]
    pub fn set_way(self, way: WayOut, tags: [Tag; 2]) {
        let [first, second]: [u64; 2] = zerocopy::transmute!(way);
        self.0.store(WAY, first);
        self.0.store(WAY + 1, second);
        self.0.store(TAGS, zerocopy::transmute!(tags));
    }

    /// See [`ClientHop::set_way`].
    #[inline(always)]
    pub fn way(self) -> WayOut {
        zerocopy::transmute!([self.0.load(WAY), self.0.load(WAY + 1)])
    }

    /// Makes the way out, which leads to a VLAN, one by the interface below it.
    #[inline(always)]
    pub fn go_below(self, ifindex: u32, tags: u64) {
        let macs = self.0.load(WAY + 1) & 0xffff_ffff;
        self.0.store(WAY + 1, macs | u64::from(ifindex) << 32);
        self.0.store(TAGS, tags);
    }

    /// The VLAN tags that frames leave with.
    #[inline(always)]
    pub fn tags(self) -> [Tag; 2] {
        zerocopy::transmute!(self.0.load(TAGS))
    }
}

/// What the daemon is to do for the packet path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To look for the next hop on the way to a client.
    NextHop(IpAddr),
    /// To know what fits the way to a server, in bytes from the IP header on: a router has said so.
    PathMtu(IpAddr, u16),
}

/// A place for a wish: an address in two cells, and in the third which family it is of, and above it what fits the way there;
/// 0 once it has been taken. Who writes and who takes do not wait for each other: an address that is torn is nobody's, and
/// whoever was wanted, or what did not fit, is sent again.
#[derive(Clone, Copy)]
pub struct Wanted<C>(pub C);

impl<C: Cells> Wanted<C> {
    /// Notes a client.
    #[inline(always)]
    pub fn put(self, client: [u8; 16], is_v6: bool) {
        self.put_mtu(client, is_v6, 0);
    }

    /// Notes what fits the way to a server; more than 0.
    #[inline(always)]
    pub fn put_mtu(self, address: [u8; 16], is_v6: bool, mtu: u16) {
        let [first, second]: [u64; 2] = zerocopy::transmute!(address);
        self.0.store(0, first);
        self.0.store(1, second);
        self.0.store(2, u64::from(mtu) << 32 | if is_v6 { 6 } else { 4 });
    }

    /// Takes the wish.
    pub fn take(self) -> Option<Wish> {
        if self.0.load(2) == 0 {
            return None;
        }
        let wish = self.0.swap(2, 0);
        let address = zerocopy::transmute!([self.0.load(0), self.0.load(1)]);
        let address = crate::service::ip(address, wish as u32 == 6);
        let mtu = (wish >> 32) as u16;
        Some(if mtu == 0 { Wish::NextHop(address) } else { Wish::PathMtu(address, mtu) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;

    #[test]
    fn a_row_tells_one_way_for_its_time() {
        let cells = [const { AtomicU64::new(0) }; CLIENT_HOP_CELLS];
        let row = ClientHop(&cells[..]);
        let (client, vip, now) = ([1; 16], [2; 16], Ticks(u32::MAX - 5));
        assert!(!row.is_of(client, vip, now));
        let way = WayOut { macs: [9; 12], ifindex: 7 };
        row.set_way(way, [Tag::default(); 2]);
        row.name(client, vip, now + 10, 1400);
        assert!(row.is_of(client, vip, now) && row.is_of(client, vip, now + 9));
        assert!(!row.is_of(client, vip, now + 10) && !row.is_of(vip, client, now));
        assert!(!row.is_of(client, [3; 16], now));
        assert_eq!((row.way(), row.mtu()), (way, 1400));
        let tags = [Tag { ethertype: crate::wire::ethernet::VLAN, control: 5.into() }, Tag::default()];
        row.go_below(8, zerocopy::transmute!(tags));
        assert_eq!((row.way(), row.tags()), (WayOut { ifindex: 8, ..way }, tags));
    }

    #[test]
    fn who_is_wanted_is_taken_once() {
        let cells = [const { AtomicU64::new(0) }; WANTED_CELLS];
        let place = Wanted(&cells[..]);
        assert_eq!(place.take(), None);
        place.put(crate::service::widened([192, 0, 2, 1]), false);
        assert_eq!(place.take(), Some(Wish::NextHop([192, 0, 2, 1].into())));
        assert_eq!(place.take(), None);
        place.put([5; 16], true);
        assert_eq!(place.take(), Some(Wish::NextHop([5u8; 16].into())));
        place.put_mtu(crate::service::widened([192, 0, 2, 1]), false, 1400);
        assert_eq!(place.take(), Some(Wish::PathMtu([192, 0, 2, 1].into(), 1400)));
        assert_eq!(place.take(), None);
    }
}
