//! A virtual service as the packet path sees it: its key, its row, its list of servers.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cells::Cells;
use crate::schedule::Scheduler;
use crate::server::ServerId;

/// What a packet that opens a connection must carry to be scheduled: the key of the service map.
///
/// ```text
/// address   VIP (16)                    port (2)   protocol (1)   0   (IPv6: 2)   zero (4)
/// mark      mark, most significant (16) 0 (2)      0 (1)          1   (IPv6: 3)   zero (4)
///           byte first
/// ```
///
/// What is shorter than 16 bytes is followed by zeros.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C, align(8))]
pub struct ServiceKey {
    /// VIP, as in a packet; or a mark, its most significant byte first.
    pub vip: [u8; 16],
    /// Port, as in a packet; 0 stands for all ports, and with a mark.
    pub port: [u8; 2],
    /// IANA number; 0 with a mark.
    pub protocol: u8,
    /// What the key is: [`ServiceKey::BY_MARK`] and [`ServiceKey::IPV6`].
    pub kind: u8,
    /// Always zero.
    pub pad: [u8; 4],
}

/// Cells of a [`ServiceKey`].
pub const SERVICE_KEY_CELLS: usize = size_of::<ServiceKey>() / 8;

impl ServiceKey {
    /// In [`ServiceKey::kind`]: packets are found by their mark.
    pub const BY_MARK: u8 = 1;
    /// In [`ServiceKey::kind`]: of IPv6 packets.
    pub const IPV6: u8 = 2;

    /// The key of a service at an IPv4 address.
    #[inline(always)]
    pub const fn address(vip: [u8; 4], port: [u8; 2], protocol: u8) -> Self {
        // In cells: the compiler would fill an array in by a loop.
        let ([a, b, c, d], [high, low]) = (vip, port);
        let first = u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0]);
        let last = u64::from_ne_bytes([high, low, protocol, 0, 0, 0, 0, 0]);
        zerocopy::transmute!([first, 0, last])
    }

    /// The key of a service at an IPv6 address.
    #[inline(always)]
    pub const fn address_v6(vip: [u8; 16], port: [u8; 2], protocol: u8) -> Self {
        Self { vip, port, protocol, kind: Self::IPV6, pad: [0; 4] }
    }

    /// The key of a service for IPv4 packets with a mark.
    #[inline(always)]
    pub const fn marked(mark: u32) -> Self {
        Self { kind: Self::BY_MARK, ..Self::address(mark.to_be_bytes(), [0; 2], 0) }
    }

    /// The key of a service for IPv6 packets with a mark.
    #[inline(always)]
    pub const fn marked_v6(mark: u32) -> Self {
        Self { kind: Self::BY_MARK | Self::IPV6, ..Self::address(mark.to_be_bytes(), [0; 2], 0) }
    }

    /// The mark; `None` for a service at an address.
    #[inline(always)]
    pub const fn mark(self) -> Option<u32> {
        if self.kind & Self::BY_MARK != 0 { Some(u32::from_be_bytes(self.vip_v4())) } else { None }
    }

    /// The VIP; `None` with a mark.
    pub const fn address_of(self) -> Option<IpAddr> {
        if self.kind & Self::BY_MARK == 0 { Some(ip(self.vip, self.is_v6())) } else { None }
    }

    /// Whether it is for IPv6 packets.
    #[inline(always)]
    pub const fn is_v6(self) -> bool {
        self.kind & Self::IPV6 != 0
    }

    /// The first four bytes of the address: all of an IPv4 one.
    #[inline(always)]
    pub const fn vip_v4(self) -> [u8; 4] {
        narrowed(self.vip)
    }
}

/// An IPv4 address where there is room for either kind: zeros follow.
#[inline(always)]
pub const fn widened([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// An address of either kind in such a place.
pub const fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => widened(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The address in such a place.
pub const fn ip(octets: [u8; 16], is_v6: bool) -> IpAddr {
    if is_v6 {
        IpAddr::V6(Ipv6Addr::from_octets(octets))
    } else {
        IpAddr::V4(Ipv4Addr::from_octets(narrowed(octets)))
    }
}

/// The IPv4 address in such a place.
#[inline(always)]
pub const fn narrowed([a, b, c, d, ..]: [u8; 16]) -> [u8; 4] {
    [a, b, c, d]
}

/// A row of the service table (64 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct ServiceRow {
    /// Where its servers stand in the member table, and the scheduler. In one cell: all of it is replaced at once.
    pub list: List,
    /// For wrr.
    pub shares: Shares,
    /// See there.
    pub flags: ServiceFlags,
    /// Always zero.
    pub pad: [u8; 7],
    /// For its templates.
    pub persistence: Persistence,
    /// What identifies it.
    pub key: ServiceKey,
    /// Always zero: the rest of the cache line.
    pub rest: [u64; 1],
}

/// What a service's templates are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Persistence {
    /// How long one lasts after its last new connection.
    pub seconds: u32,
    /// Clients that differ in no bit of this are one; as in a packet. Of IPv6: how many bits count, 1 to 128, most
    /// significant byte first.
    pub netmask: [u8; 4],
}

/// Flags of a service, by IPVS's numbers as far as they are IPVS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct ServiceFlags(pub u8);

impl ServiceFlags {
    /// Clients come back to their server (`-p`).
    pub const PERSISTENT: Self = Self(1);
    /// Each packet is a connection of its own (`-o`).
    pub const ONE_PACKET: Self = Self(4);
    /// `sh` and `mh`: if the server of a slot cannot be used, another one is looked for (`-b flag-1`).
    pub const FALLBACK: Self = Self(8);
    /// `sh` and `mh`: a client's port tells where it goes too (`-b flag-2`).
    pub const PORT: Self = Self(0x10);
    /// No scheduler heeds it (`-b flag-3`).
    pub const SCHED3: Self = Self(0x20);
    /// Some server of the service has an upper threshold, so loads may carry the mark of overload. Not IPVS's.
    pub const HAS_THRESHOLDS: Self = Self(0x80);

    /// Whether all bits of `other` are set.
    #[inline(always)]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the bits of `other` if a condition holds.
    #[must_use]
    pub const fn with_if(self, other: Self, condition: bool) -> Self {
        if condition { Self(self.0 | other.0) } else { self }
    }
}

/// Cells of a [`ServiceRow`].
pub const SERVICE_CELLS: usize = size_of::<ServiceRow>() / 8;
/// Cells of a row of the turn table, where a scheduler keeps its place; a cache line, for every CPU writes it.
pub const TURN_CELLS: usize = 8;

/// A run of rows in the member table: a service's servers; behind them its scheduler's table, if it has one; behind that
/// its hash slots. And who schedules them.
///
/// Both tables are of indices in the list, four a row. By a scheduler's table `dh`, `sh` and `mh` go. By the hash slots go
/// connections that the connection table has no room for; they are laid out so that an edit moves as few of them as can be
/// (see the daemon's layout).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct List {
    /// The first row.
    pub start: u32,
    /// How many servers.
    pub length: u16,
    /// Logarithm of the number of hash slots; meaningless without servers.
    pub slot_bits: u8,
    /// [`Scheduler`], raw.
    pub scheduler: u8,
}

/// The most servers a service can have.
pub const MAX_MEMBERS: u32 = NO_MEMBER as u32;
/// The index of no server.
pub const NO_MEMBER: u16 = u16::MAX;
/// Hash slots for each server, at least.
const SLOTS_EACH: u32 = 8;
/// Hash slots of a service, at least.
const MIN_SLOTS: u32 = 32;
/// Indices in a row.
const INDICES: u32 = 4;

impl List {
    /// A list of so many servers (at most [`MAX_MEMBERS`]), and of as many slots as suit it.
    pub fn new(start: u32, length: u16, scheduler: Scheduler) -> Self {
        let slots = (u32::from(length) * SLOTS_EACH).next_power_of_two().max(MIN_SLOTS);
        Self { start, length, slot_bits: slots.trailing_zeros() as u8, scheduler: scheduler.raw() }
    }

    /// The scheduler; `None` for a number this program does not know.
    #[inline(always)]
    pub const fn scheduler(self) -> Option<Scheduler> {
        Scheduler::from_raw(self.scheduler)
    }

    /// How many slots the scheduler's table has.
    #[inline(always)]
    pub const fn table_slots(self) -> u32 {
        match self.scheduler() {
            Some(scheduler) if self.length > 0 => scheduler.table_slots(),
            _ => 0,
        }
    }

    /// The row of a slot of the scheduler's table.
    #[inline(always)]
    pub const fn table_row(self, slot: u32) -> u32 {
        self.start.wrapping_add(self.length as u32).wrapping_add(slot / INDICES)
    }

    /// How many hash slots there are.
    #[inline(always)]
    pub const fn slots(self) -> u32 {
        if self.length == 0 { 0 } else { 1 << (self.slot_bits & 31) }
    }

    /// The row of a hash slot.
    #[inline(always)]
    pub const fn slot_row(self, slot: u32) -> u32 {
        self.table_row(self.table_slots().next_multiple_of(INDICES)).wrapping_add(slot / INDICES)
    }

    /// How many rows of the member table it takes.
    pub const fn rows(self) -> u32 {
        self.length as u32 + self.table_slots().div_ceil(INDICES) + self.slots().div_ceil(INDICES)
    }

    /// The row of (at most) four slots that follow each other, the first of a number that four divides.
    pub fn slots_cell(indices: &[u16]) -> u64 {
        let indices: [u16; INDICES as usize] =
            core::array::from_fn(|at| indices.get(at).copied().unwrap_or(NO_MEMBER));
        zerocopy::transmute!(indices)
    }

    /// The index in a slot, of the cell in its row; [`NO_MEMBER`] if no server can be used.
    #[inline(always)]
    pub const fn index_in(slot: u32, cell: u64) -> u16 {
        (cell >> (slot % INDICES * u16::BITS)) as u16
    }
}

/// What wrr derives from the weights of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Shares {
    /// Greatest common divisor of all weights above 0; 1 if there is none.
    pub step: u32,
    /// Greatest weight less `step - 1`; 0 if all weights are 0.
    pub top: u32,
}

impl ServiceRow {
    /// The row as cells.
    pub fn cells(self) -> [u64; SERVICE_CELLS] {
        zerocopy::transmute!(self)
    }

    /// The row of cells.
    pub fn from_cells(cells: [u64; SERVICE_CELLS]) -> Self {
        zerocopy::transmute!(cells)
    }
}

/// How a row is read in the packet path.
#[derive(Clone, Copy)]
pub struct Service<C>(pub C);

impl<C: Cells> Service<C> {
    /// Its servers.
    #[inline(always)]
    pub fn list(self) -> List {
        zerocopy::transmute!(self.0.load(0))
    }

    /// For wrr.
    #[inline(always)]
    pub fn shares(self) -> Shares {
        zerocopy::transmute!(self.0.load(1))
    }

    /// Its flags.
    #[inline(always)]
    pub fn flags(self) -> ServiceFlags {
        let [flags, ..]: [u8; 8] = zerocopy::transmute!(self.0.load(2));
        ServiceFlags(flags)
    }

    /// See there.
    #[inline(always)]
    pub fn persistence(self) -> Persistence {
        zerocopy::transmute!(self.0.load(3))
    }

    /// Whether it is the service of a key.
    #[inline(always)]
    pub fn is_of(self, key: ServiceKey) -> bool {
        // In cells: of bytes it would be a loop.
        let [first, second, last]: [u64; SERVICE_KEY_CELLS] = zerocopy::transmute!(key);
        self.0.load(4) == first && self.0.load(5) == second && self.0.load(6) == last
    }

    /// What identifies it.
    #[inline(always)]
    pub fn key(self) -> ServiceKey {
        zerocopy::transmute!([self.0.load(4), self.0.load(5), self.0.load(6)])
    }
}

/// One server in a service's list (8 bytes, one cell).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Member {
    /// [`ServerId`].
    server: u32,
    /// Its weight (31 bits), and above it whether it is to be avoided.
    weight: u32,
}

impl Member {
    const AVOIDED: u32 = 1 << 31;

    /// A server with a weight of at most `i32::MAX`.
    pub const fn new(server: ServerId, weight: u32) -> Self {
        Self { server: server.0, weight: weight & !Self::AVOIDED }
    }

    /// The same one, but no scheduler picks it: its next hop is unknown, and others' are known.
    #[must_use]
    pub const fn avoided(self) -> Self {
        Self { weight: self.weight | Self::AVOIDED, ..self }
    }

    /// Which server.
    #[inline(always)]
    pub const fn server(self) -> ServerId {
        ServerId(self.server)
    }

    /// Its weight as configured.
    #[inline(always)]
    pub const fn weight(self) -> u32 {
        self.weight & !Self::AVOIDED
    }

    /// Its weight if a scheduler may pick it, else 0.
    #[inline(always)]
    pub const fn usable_weight(self) -> u32 {
        if self.weight & Self::AVOIDED == 0 { self.weight } else { 0 }
    }

    /// The row as a cell.
    #[inline(always)]
    pub fn cell(self) -> u64 {
        zerocopy::transmute!(self)
    }

    /// The row of a cell.
    #[inline(always)]
    pub fn from_cell(cell: u64) -> Self {
        zerocopy::transmute!(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;

    #[test]
    fn the_packet_path_reads_the_row_that_was_written() {
        let row = ServiceRow {
            list: List::new(17, 3, Scheduler::WeightedRoundRobin),
            shares: Shares { step: 2, top: 5 },
            flags: ServiceFlags::FALLBACK.with_if(ServiceFlags::HAS_THRESHOLDS, true),
            ..ServiceRow::default()
        };
        assert_eq!(size_of::<ServiceRow>(), 64);
        let cells = row.cells().map(AtomicU64::new);
        let service = Service(&cells[..]);
        assert_eq!((service.list(), service.shares(), service.flags()), (row.list, row.shares, row.flags));
        assert_eq!(service.list().scheduler(), Some(Scheduler::WeightedRoundRobin));
        assert!(service.flags().has(ServiceFlags::FALLBACK) && !service.flags().has(ServiceFlags::PORT));
        assert_eq!(ServiceRow::from_cells(row.cells()), row);
    }

    #[test]
    fn a_mark_is_no_address() {
        let key = ServiceKey::marked(0x0a00_0064);
        assert_eq!(key, ServiceKey { kind: 1, ..ServiceKey::address([10, 0, 0, 100], [0; 2], 0) });
        assert_eq!(key.mark(), Some(0x0a00_0064));
        assert_eq!(ServiceKey::address([10, 0, 0, 100], [0; 2], 0).mark(), None);
    }

    #[test]
    fn a_run_holds_the_servers_and_four_slots_a_row_behind_them() {
        let list = List::new(100, 3, Scheduler::RoundRobin);
        assert_eq!((list.slots(), list.table_slots(), list.rows()), (32, 0, 3 + 8));
        assert_eq!(
            (list.slot_row(0), list.slot_row(3), list.slot_row(4), list.slot_row(31)),
            (103, 103, 104, 110)
        );
        let cell = List::slots_cell(&[7, 9, 65534]);
        let indices = [4, 5, 6, 7].map(|slot| List::index_in(slot, cell));
        assert_eq!(indices, [7, 9, 65534, NO_MEMBER]);
        let slots = |servers| List::new(0, servers, Scheduler::RoundRobin).slots();
        assert_eq!((slots(10), slots(1000)), (128, 8192));
        assert_eq!((List::default().slots(), List::default().rows()), (0, 0));
        assert_eq!(List::new(0, 0, Scheduler::MaglevHashing).rows(), 0);
    }

    #[test]
    fn a_schedulers_table_stands_between_servers_and_slots() {
        let list = List::new(100, 3, Scheduler::MaglevHashing);
        assert_eq!((list.table_row(0), list.table_row(4092)), (103, 103 + 1023));
        assert_eq!((list.slot_row(0), list.rows()), (103 + 1024, 3 + 1024 + 8));
        let list = List::new(100, 3, Scheduler::SourceHashing);
        assert_eq!((list.slot_row(0), list.rows()), (103 + 64, 3 + 64 + 8));
    }

    #[test]
    fn an_avoided_member_keeps_its_weight_but_cannot_be_used() {
        let member = Member::new(ServerId(9), 5).avoided();
        assert_eq!((member.server(), member.weight(), member.usable_weight()), (ServerId(9), 5, 0));
        assert_eq!(Member::from_cell(member.cell()), member);
        assert_eq!(Member::new(ServerId(9), 5).usable_weight(), 5);
    }
}
