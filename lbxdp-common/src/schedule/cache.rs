//! What lblc and lblcr remember of an address: the server it goes to, or a set of them. One row a service and address.
//!
//! ```text
//!  cell 0      1 while a CPU edits the set
//!  cell 1      how many servers there are, when that changed last (ticks)
//!  cell 2      when the row was used last (ticks)
//!  cell 3 …    the servers, the newest last
//! ```
//!
//! lblc has one server, in cell 3, and leaves cells 0 and 1 alone. A server is known by its id and by where it stood in the
//! service's list; it is looked for in the list, so one that the service does not have any more is never found.

use core::ops::ControlFlow;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Pool, Scheduler, least::Candidate, member_at};
use crate::cells::Cells;
use crate::service::{List, Member};
use crate::time::Ticks;
use crate::walk::Step;

/// The most rows there are.
pub const MAX_CACHED: u32 = 1 << 15;
/// The most servers of a set.
pub const MAX_SET: u32 = 32;
/// Cells of a row.
pub const CACHE_CELLS: usize = SERVERS + MAX_SET as usize;

const LOCK: usize = 0;
const SIZE: usize = 1;
const USED: usize = 2;
const SERVERS: usize = 3;

/// Whose row it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct CacheKey {
    /// Index of the service (24 bits), and above it its scheduler: who begins anew remembers nothing.
    owner: u32,
    /// The address that is wanted, as a number.
    address: u32,
}

impl CacheKey {
    const SCHEDULER: u32 = 24;

    /// The key of a service, by its index, and an address, as a number.
    #[inline(always)]
    pub const fn new(index: u32, scheduler: Scheduler, address: u32) -> Self {
        Self { owner: index | (scheduler.raw() as u32) << Self::SCHEDULER, address }
    }

    /// Index and scheduler of the service.
    pub const fn owner(self) -> (u32, Option<Scheduler>) {
        let index = self.owner & ((1 << Self::SCHEDULER) - 1);
        (index, Scheduler::from_raw((self.owner >> Self::SCHEDULER) as u8))
    }
}

/// A server of a service, and where in the list it is thought to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub(super) struct Place {
    pub(super) server: u32,
    index: u32,
}

impl Place {
    #[inline(always)]
    pub(super) fn of(candidate: Candidate) -> Self {
        Self { server: candidate.server.0, index: candidate.index }
    }

    #[inline(always)]
    pub(super) fn from_cell(cell: u64) -> Self {
        zerocopy::transmute!(cell)
    }

    #[inline(always)]
    pub(super) fn cell(self) -> u64 {
        zerocopy::transmute!(self)
    }

    /// The server as it stands in the list now, and where; `None` if it does not.
    #[inline(always)]
    pub(super) fn find<P: Pool>(self, pool: &P, list: List) -> Option<(u32, Member)> {
        let Self { server, index } = self;
        if server == 0 {
            return None;
        }
        if index < list.length.into()
            && let Some(member) = member_at(pool, list, index)
            && member.server().0 == server
        {
            return Some((index, member));
        }
        let mut walk = Find { list, server, found: pool.zero() };
        pool.repeat(list.length.into(), &mut walk);
        let index = walk.found.checked_sub(1)?;
        let member = member_at(pool, list, index)?;
        (member.server().0 == server).then_some((index, member))
    }
}

/// Looks for a server in a list.
struct Find {
    list: List,
    server: u32,
    /// Where it stands, and 1; 0 while it is not found.
    found: u32,
}

impl<P: Pool> Step<P> for Find {
    #[inline(always)]
    fn step(&mut self, pool: &P, index: u32) -> ControlFlow<()> {
        match member_at(pool, self.list, index) {
            Some(member) if member.server().0 == self.server => {
                self.found = index + 1;
                ControlFlow::Break(())
            }
            Some(_) => ControlFlow::Continue(()),
            None => ControlFlow::Break(()),
        }
    }
}

/// Whether a remembered server has more active connections than its weight says, while some other one has less than half as
/// many (`is_overloaded` of `ip_vs_lblc.c`, which has nothing to do with thresholds).
#[inline(always)]
pub(super) fn is_busy<P: Pool>(pool: &P, list: List, candidate: Candidate) -> bool {
    if candidate.load.active() <= candidate.weight {
        return false;
    }
    let mut walk = Idle { list, is_found: pool.zero() };
    pool.repeat(list.length.into(), &mut walk);
    walk.is_found != 0
}

/// Looks for a server with less than half as many active connections as its weight says.
struct Idle {
    list: List,
    is_found: u32,
}

impl<P: Pool> Step<P> for Idle {
    #[inline(always)]
    fn step(&mut self, pool: &P, index: u32) -> ControlFlow<()> {
        let Some(member) = member_at(pool, self.list, index) else {
            return ControlFlow::Break(());
        };
        let active = u64::from(pool.load(member.server()).active());
        if active * 2 < member.usable_weight().into() {
            self.is_found = 1;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// When a row was used last.
pub const fn used(cells: &[u64; CACHE_CELLS]) -> Ticks {
    let [_, _, used, ..] = cells;
    Ticks(*used as u32)
}

/// A row.
#[derive(Clone, Copy)]
pub(super) struct Cache<C>(pub(super) C);

impl<C: Cells> Cache<C> {
    /// It is used now.
    #[inline(always)]
    pub(super) fn use_at(self, now: Ticks) {
        if self.0.load(USED) != u64::from(now.0) {
            self.0.store(USED, now.0.into());
        }
    }

    /// The cell of a server, by its place in the set.
    #[inline(always)]
    pub(super) fn server(self, place: u32) -> u64 {
        self.0.load(Self::cell(place))
    }

    #[inline(always)]
    pub(super) fn put(self, place: u32, server: u64) {
        self.0.store(Self::cell(place), server);
    }

    /// Writes a server where still stands what was seen there.
    #[inline(always)]
    pub(super) fn replace(self, place: u32, seen: u64, server: u64) {
        if seen != server {
            self.0.replace(Self::cell(place), seen, server);
        }
    }

    #[inline(always)]
    const fn cell(place: u32) -> usize {
        // The mask tells the kernel's verifier what the type can't.
        SERVERS + (place & (MAX_SET - 1)) as usize
    }

    /// How many servers the set has, and when that changed last.
    #[inline(always)]
    pub(super) fn size(self) -> (u32, Ticks) {
        let cell = self.0.load(SIZE);
        ((cell as u32).min(MAX_SET), Ticks((cell >> 32) as u32))
    }

    #[inline(always)]
    pub(super) fn resize(self, size: u32, now: Ticks) {
        self.0.store(SIZE, u64::from(now.0) << 32 | u64::from(size));
    }

    /// Makes this CPU the only one that edits the set; false if another one is at it.
    #[inline(always)]
    pub(super) fn lock(self) -> bool {
        self.0.replace(LOCK, 0, 1)
    }

    #[inline(always)]
    pub(super) fn unlock(self) {
        self.0.store(LOCK, 0);
    }
}
