//! Carrying a connection to the bucket where it belongs after the table has grown.
//!
//! ```text
//!   elsewhere:  LIVE ──► LIVE, moving ─────────────────────► EMPTY
//!   at home:                     EMPTY ──► … ──► LIVE
//! ```
//!
//! While it is moving nobody changes the old entry, so no change is lost: packets of it wait until it is home. One party
//! alone carries.

use super::{Buckets, Entry, Hash, Published, Replaced, Shape, Slot, Wish, claim};
use crate::address::{Address, V4};
use crate::connection::{Key, Word};
use crate::time::Ticks;

/// What became of carrying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// It is at home.
    Home,
    /// Its home is full; it stays where it is.
    Full,
    /// Somebody has changed it meanwhile: it is to be looked at again.
    Changed,
}

/// A connection that does not stand where it belongs.
#[derive(Clone, Copy)]
pub struct Stray<C: Copy, A = V4> {
    /// Its key.
    pub key: Key<A>,
    /// The hash of its key.
    pub hash: Hash,
    /// Where it stands.
    pub slot: Slot<C, A>,
    /// Its word as it was seen.
    pub word: Word,
}

/// Carries a connection to where it belongs by the table's shape.
///
/// `dispossess` is called with what has left the table: a connection that had to make room, or the stray itself if there is
/// another one of its key. It comes off the counts of its server.
///
/// It has been in the table, so the share of half-open ones is not its concern; one that is established takes the place
/// of a half-open one if it must.
#[inline(always)]
pub fn carry<A: Address, B: Buckets<A>>(
    table: &B,
    shape: Shape,
    stray: Stray<B::Bucket, A>,
    now: Ticks,
    mut dispossess: impl FnMut(Replaced<A>),
) -> Carried {
    let Stray { key, hash, slot, word } = stray;
    // By the other size there is no rival but the entry itself.
    let home = Shape::steady(shape.home());
    let wish = if word.is_half_open() { Wish::Free } else { Wish::PlaceOfHalfOpen };
    let Ok(claim) = claim(table, home.home_of(hash), wish, now) else {
        return Carried::Full;
    };
    if let Some(replaced) = claim.replaced {
        dispossess(replaced);
    }
    if !slot.change(word, word.moving()) {
        claim.give_back();
        return Carried::Changed;
    }
    // Only who carries changes a template's bond.
    let published = claim.publish(table, home, hash, Entry { key, word, bond: slot.bond() });
    slot.retire(word.moving());
    if published != Published::New {
        // It had a twin at home all the time.
        dispossess(Replaced { key: key.cells(), word });
    }
    Carried::Home
}
