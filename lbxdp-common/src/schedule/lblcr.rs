//! lblcr: as lblc, but an address has a set of servers. It goes to the one with the fewest connections for its weight; if
//! that one is busy, the one that wlc picks joins the set. If a set has not changed for long, the one with the most leaves.
//!
//! IPVS's sets are unbounded; here a 33rd server takes the place of the oldest. Source: Linux `ip_vs_lblcr.c`.

use core::ops::ControlFlow;

use super::cache::{Cache, CacheKey, MAX_SET, Place, is_busy};
use super::least::Candidate;
use super::{Pool, Scheduled, Scheduler, number, wlc};
use crate::service::List;
use crate::time::Ticks;
use crate::walk::Step;

/// Looks for the server of a set with the fewest connections for its weight, the newest first.
struct Least<C> {
    cache: Cache<C>,
    list: List,
    size: u32,
    best: Candidate,
}

impl<P: Pool> Step<P> for Least<P::Shared> {
    #[inline(always)]
    fn step(&mut self, pool: &P, index: u32) -> ControlFlow<()> {
        let place = self.size.wrapping_sub(index + 1);
        let seen = self.cache.server(place);
        if let Some((index, member)) = Place::from_cell(seen).find(pool, self.list) {
            let candidate = Candidate::new(pool, index, member);
            self.cache.replace(place, seen, Place::of(candidate).cell());
            if candidate.weight > 0 && (self.best.weight == 0 || wlc::beats(candidate, self.best)) {
                self.best = candidate;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Looks for the server of a set with the most connections for its weight, the newest first; one that the service does not
/// have any more comes before all others.
struct Most<C> {
    cache: Cache<C>,
    list: List,
    size: u32,
    worst: Candidate,
    /// Its place in the set, and 1; 0 while there is none.
    found: u32,
}

impl<P: Pool> Step<P> for Most<P::Shared> {
    #[inline(always)]
    fn step(&mut self, pool: &P, index: u32) -> ControlFlow<()> {
        let place = self.size.wrapping_sub(index + 1);
        let Some((index, member)) = Place::from_cell(self.cache.server(place)).find(pool, self.list) else {
            self.found = place.wrapping_add(1);
            return ControlFlow::Break(());
        };
        let candidate = Candidate::remembered(pool, index, member);
        if candidate.weight > 0 && (self.found == 0 || wlc::beats(self.worst, candidate)) {
            (self.worst, self.found) = (candidate, place.wrapping_add(1));
        }
        ControlFlow::Continue(())
    }
}

/// Looks for a server in a set.
struct Has<C> {
    cache: Cache<C>,
    server: u32,
    is_found: u32,
}

impl<P: Pool> Step<P> for Has<P::Shared> {
    #[inline(always)]
    fn step(&mut self, _: &P, place: u32) -> ControlFlow<()> {
        if Place::from_cell(self.cache.server(place)).server == self.server {
            self.is_found = 1;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// Moves the servers behind a place up by one.
struct MoveUp<C> {
    cache: Cache<C>,
    place: u32,
}

impl<P: Pool> Step<P> for MoveUp<P::Shared> {
    #[inline(always)]
    fn step(&mut self, _: &P, index: u32) -> ControlFlow<()> {
        let place = self.place.wrapping_add(index);
        self.cache.put(place, self.cache.server(place.wrapping_add(1)));
        ControlFlow::Continue(())
    }
}

/// Takes the server with the most connections for its weight out of the set of an address.
#[inline(never)]
pub(super) fn thin_out<P: Pool>(pool: &P, index: u32, vip: u32) -> u64 {
    let (Some(Scheduled { list, .. }), Some(cache)) =
        (Scheduled::of(pool, index), pool.cached(key(index, vip)).map(Cache))
    else {
        return 0;
    };
    if !cache.lock() {
        return 0;
    }
    let (size, _) = cache.size();
    if size > 1 {
        let zero = pool.zero();
        let mut walk = Most { cache, list, size, worst: Candidate::nobody(zero), found: zero };
        pool.repeat(size, &mut walk);
        if walk.found > 0 {
            remove(pool, cache, size, walk.found - 1);
            cache.resize(size - 1, pool.now());
        }
    }
    cache.unlock();
    1
}

#[inline(always)]
fn remove<P: Pool>(pool: &P, cache: Cache<P::Shared>, size: u32, place: u32) {
    pool.repeat(size.wrapping_sub(place.wrapping_add(1)).min(MAX_SET), &mut MoveUp { cache, place });
}

/// Adds a server to a set that does not have it, unless another CPU is editing the set.
#[inline(always)]
fn add<P: Pool>(pool: &P, cache: Cache<P::Shared>, server: Candidate, now: Ticks) {
    if !cache.lock() {
        return;
    }
    let (mut size, _) = cache.size();
    let mut walk = Has { cache, server: server.server.0, is_found: pool.zero() };
    pool.repeat(size, &mut walk);
    if walk.is_found == 0 {
        if size == MAX_SET {
            remove(pool, cache, size, 0);
            size -= 1;
        }
        cache.put(size, Place::of(server).cell());
        cache.resize(size + 1, now);
    }
    cache.unlock();
}

/// The key of an address, as a number.
#[inline(always)]
const fn key(index: u32, vip: u32) -> CacheKey {
    CacheKey::new(index, Scheduler::LocalityBasedReplicated, vip)
}

/// Set in what [`remembered`] says if the set has not changed for so long that a server should leave it.
pub(super) const IS_OLD: u64 = 1 << 32;

/// The best server of an address's set, if it is not busy, as a number; else 0. And [`IS_OLD`].
#[inline(never)]
pub(super) fn remembered<P: Pool>(pool: &P, index: u32, vip: u32) -> u64 {
    let (Some(Scheduled { list, .. }), Some(cache)) =
        (Scheduled::of(pool, index), pool.cached(key(index, vip)).map(Cache))
    else {
        return 0;
    };
    let now = pool.now();
    cache.use_at(now);
    let (size, changed) = cache.size();
    let is_old = size > 1 && i64::from(now.since(changed)) > i64::from(pool.lblcr_expiration());
    let mut walk = Least { cache, list, size, best: Candidate::nobody(pool.zero()) };
    pool.repeat(size, &mut walk);
    let best = walk.best;
    let may_go_on = best.weight > 0 && !is_busy(pool, list, best);
    number(may_go_on.then_some(best.server)) | if is_old { IS_OLD } else { 0 }
}

/// A server joins the set of an address.
#[inline(always)]
pub(super) fn remember<P: Pool>(pool: &P, index: u32, vip: u32, server: Candidate) {
    if let Some(cache) = pool.cache(key(index, vip)).map(Cache) {
        let now = pool.now();
        cache.use_at(now);
        add(pool, cache, server, now);
    }
}
