//! lblc: an address that is wanted goes to the server it went to before, while that one is not busy; otherwise to the one
//! that wlc picks, and from then on to that one. For caches: each keeps what it has fetched.
//!
//! Thresholds do not count for the remembered server, as in IPVS. Source: Linux `ip_vs_lblc.c`.

use super::cache::{Cache, CacheKey, Place, is_busy};
use super::least::Candidate;
use super::{Pool, Scheduled, Scheduler, number};
use crate::server::ServerId;

/// The key of an address, as a number.
#[inline(always)]
const fn key(index: u32, vip: u32) -> CacheKey {
    CacheKey::new(index, Scheduler::LocalityBased, vip)
}

/// The server that an address went to before, if it may go there again, as a number; else 0.
#[inline(never)]
pub(super) fn remembered<P: Pool>(pool: &P, index: u32, vip: u32) -> u64 {
    number(may_go_again(pool, index, vip))
}

#[inline(always)]
fn may_go_again<P: Pool>(pool: &P, index: u32, vip: u32) -> Option<ServerId> {
    let Scheduled { list, .. } = Scheduled::of(pool, index)?;
    let cache = Cache(pool.cached(key(index, vip))?);
    cache.use_at(pool.now());
    let seen = cache.server(0);
    let (index, member) = Place::from_cell(seen).find(pool, list)?;
    let candidate = Candidate::remembered(pool, index, member);
    if candidate.weight == 0 || is_busy(pool, list, candidate) {
        return None;
    }
    cache.replace(0, seen, Place::of(candidate).cell());
    Some(candidate.server)
}

/// From now on an address goes to this server.
#[inline(always)]
pub(super) fn remember<P: Pool>(pool: &P, index: u32, vip: u32, server: Candidate) {
    if let Some(cache) = pool.cache(key(index, vip)).map(Cache) {
        cache.use_at(pool.now());
        cache.put(0, Place::of(server).cell());
    }
}
