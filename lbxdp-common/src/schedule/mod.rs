//! The schedulers: which server gets a new connection. One file each.
//!
//! A list has the newest server first, as in IPVS, so every tie goes to the server that was added last. A server is
//! usable if its weight is above 0, it is not to be avoided, and its load does not say that it is overloaded.

use crate::cells::Cells;
use crate::named_enum;
use crate::server::{Load, ServerId};
use crate::service::{List, Member, NO_MEMBER, Service, ServiceFlags, Shares};
use crate::time::Ticks;
use crate::walk::Walker;

pub mod cache;
pub mod dh;
mod fo;
mod hashed;
mod lblc;
mod lblcr;
mod lc;
mod least;
pub mod mh;
mod nq;
mod ovf;
pub mod rr;
mod sed;
pub mod sh;
mod siphash;
#[cfg(test)]
mod tests;
mod twos;
mod wlc;
pub mod wrr;

pub use cache::CacheKey;
pub use hashed::Request;

named_enum! {
    /// A scheduler, by the name IPVS gives it.
    pub enum Scheduler: u8 {
        /// Round robin.
        RoundRobin = 1 => "rr",
        /// Weighted round robin.
        WeightedRoundRobin = 2 => "wrr",
        /// Weighted least connection; ipvsadm's default.
        WeightedLeastConnection = 3 => "wlc",
        /// Least connection.
        LeastConnection = 4 => "lc",
        /// Shortest expected delay.
        ShortestExpectedDelay = 5 => "sed",
        /// Never queue.
        NeverQueue = 6 => "nq",
        /// Weighted failover.
        Failover = 7 => "fo",
        /// Weighted overflow.
        Overflow = 8 => "ovf",
        /// The power of two choices.
        TwoChoices = 9 => "twos",
        /// Destination hashing.
        DestinationHashing = 10 => "dh",
        /// Source hashing.
        SourceHashing = 11 => "sh",
        /// Maglev hashing.
        MaglevHashing = 12 => "mh",
        /// Locality-based least connection.
        LocalityBased = 13 => "lblc",
        /// Locality-based least connection with replication.
        LocalityBasedReplicated = 14 => "lblcr",
        /// No scheduler: it selects nothing.
        Nobody = 15 => "none",
    }
}

impl Scheduler {
    /// How many slots its table has; 0 if it has none.
    #[inline(always)]
    pub const fn table_slots(self) -> u32 {
        match self {
            Self::DestinationHashing => dh::SLOTS,
            Self::SourceHashing => sh::SLOTS,
            Self::MaglevHashing => mh::SLOTS,
            _ => 0,
        }
    }
}

/// What schedulers may ask.
pub trait Pool: Walker {
    /// A row of a table.
    type Shared: Cells;

    /// The row of a service.
    fn service_row(&self, index: u32) -> Option<Self::Shared>;
    /// A row of the member table.
    fn member_cell(&self, index: u32) -> Option<u64>;
    /// How many connections a server has.
    fn load(&self, server: ServerId) -> Load;
    /// The row in which a service's scheduler keeps its turn.
    fn turn(&self, service: u32) -> Option<Self::Shared>;
    /// The time.
    fn now(&self) -> Ticks;
    /// How long a set of lblcr may stay as it is, in ticks.
    fn lblcr_expiration(&self) -> u32;
    /// What is remembered under a key.
    fn cached(&self, key: CacheKey) -> Option<Self::Shared>;
    /// The same; if nothing is, a new row of zeros. `None` if there is no room for one.
    fn cache(&self, key: CacheKey) -> Option<Self::Shared>;
    /// A number by chance, any as likely as any other.
    fn random(&self) -> u32;
}

/// How often a scheduler tries to take its turn against other CPUs before it goes without.
///
/// Each failure means that another CPU's turn succeeded, so this is reached only if as many CPUs are at it at once.
const MAX_ATTEMPTS: u32 = 16;

/// The server for a new connection of a service, by the index of its row; `None` if none is usable. `client` and `vip` are
/// addresses as numbers ([`Request`]).
///
/// The work is done in functions of their own, that take and give back numbers: in the kernel no scheduler then needs its
/// caller's stack, nor another scheduler's.
#[inline(always)]
pub fn pick<P: Pool>(pool: &P, index: u32, client: u32, vip: u32, client_port: u16) -> Option<ServerId> {
    let picked = match Scheduled::of(pool, index)?.list.scheduler()? {
        Scheduler::LocalityBased => match lblc::remembered(pool, index, vip) {
            0 => anew(pool, index, vip),
            server => server,
        },
        Scheduler::LocalityBasedReplicated => {
            let remembered = lblcr::remembered(pool, index, vip);
            if remembered & lblcr::IS_OLD != 0 {
                lblcr::thin_out(pool, index, vip);
            }
            match remembered as u32 {
                0 => anew(pool, index, vip),
                server => server.into(),
            }
        }
        Scheduler::TwoChoices => twos::pick(pool, index),
        _ => by_itself(pool, index, client, vip, client_port),
    };
    (picked != 0).then_some(ServerId(picked as u32))
}

/// What schedulers read of a service's row.
#[derive(Clone, Copy)]
struct Scheduled {
    list: List,
    flags: ServiceFlags,
    shares: Shares,
}

impl Scheduled {
    #[inline(always)]
    fn of<P: Pool>(pool: &P, index: u32) -> Option<Self> {
        let service = Service(pool.service_row(index)?);
        Some(Self { list: service.list(), flags: service.flags(), shares: service.shares() })
    }
}

/// The id of a server, or 0.
#[inline(always)]
fn number(picked: Option<ServerId>) -> u64 {
    picked.map_or(0, |server| server.0.into())
}

/// Picks by a scheduler that needs nothing but the list and its turn.
#[inline(never)]
fn by_itself<P: Pool>(pool: &P, index: u32, client: u32, vip: u32, client_port: u16) -> u64 {
    let Some(Scheduled { list, flags, shares }) = Scheduled::of(pool, index) else {
        return 0;
    };
    let request = Request { client, vip, client_port };
    number(match list.scheduler() {
        None | Some(Scheduler::Nobody) => None,
        Some(Scheduler::RoundRobin) => rr::pick(pool, index, list, flags),
        Some(Scheduler::WeightedRoundRobin) => wrr::pick(pool, index, list, flags, shares),
        Some(Scheduler::DestinationHashing) => dh::pick(pool, list, flags, request),
        Some(Scheduler::SourceHashing) => sh::pick(pool, list, flags, request),
        Some(Scheduler::MaglevHashing) => mh::pick(pool, list, flags, request),
        Some(by) => least::pick(pool, list, by),
    })
}

/// Picks by wlc, and has lblc or lblcr remember that.
#[inline(never)]
fn anew<P: Pool>(pool: &P, index: u32, vip: u32) -> u64 {
    let Some(Scheduled { list, .. }) = Scheduled::of(pool, index) else {
        return 0;
    };
    let best = least::best(pool, list, Scheduler::WeightedLeastConnection);
    if best.weight == 0 {
        return 0;
    }
    match list.scheduler() {
        Some(Scheduler::LocalityBased) => lblc::remember(pool, index, vip, best),
        _ => lblcr::remember(pool, index, vip, best),
    }
    best.server.0.into()
}

/// The server that a hash of a connection's key leads to, whatever the scheduler; `None` if none is usable. Overload does not
/// count: a connection without an entry must go the same way all its life.
#[inline(always)]
pub fn by_hash<P: Pool>(pool: &P, list: List, hash: u32) -> Option<ServerId> {
    if list.length == 0 {
        return None;
    }
    let slot = hash & (list.slots() - 1);
    let index = List::index_in(slot, pool.member_cell(list.slot_row(slot))?);
    if index == NO_MEMBER {
        return None;
    }
    member_at(pool, list, index.into()).map(Member::server)
}

#[inline(always)]
fn member_at<P: Pool>(pool: &P, list: List, index: u32) -> Option<Member> {
    pool.member_cell(list.start.wrapping_add(index)).map(Member::from_cell)
}

/// A server's weight if it can be used, else 0; for schedulers that need no loads otherwise.
#[inline(always)]
fn weight_of<P: Pool>(pool: &P, member: Member, flags: ServiceFlags) -> u32 {
    let weight = member.usable_weight();
    if weight > 0 && flags.has(ServiceFlags::HAS_THRESHOLDS) && pool.load(member.server()).is_overloaded() {
        return 0;
    }
    weight
}
