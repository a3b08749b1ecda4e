//! What functions that are not inlined give back.

use super::Ways;
use crate::address::Address;
use crate::connection::Course;
use crate::reply;
use crate::verdict::Reason;

/// See [`Ways::expect_reply`].
#[inline(always)]
pub fn expect_reply<A: Address, W: Ways<A>>(world: &W, begins: u32) -> u64 {
    match reply::expect::<A, _>(world, begins) {
        Ok(is_there) => is_there.into(),
        Err(reason) => Answer::packed(Err(reason)),
    }
}

/// See [`Ways::publish_reply`].
#[inline(always)]
pub fn publish_reply<A: Address, W: Ways<A>>(world: &W, place: u64) -> u64 {
    reply::publish::<A, _>(world, place).map_or_else(|reason| Answer::packed(Err(reason)), |()| 1)
}

/// What became of a packet, in one number: functions that are not inlined can return no more.
pub(super) struct Answer;

impl Answer {
    const REFUSED: u64 = 1 << 63;
    const NEW: u64 = 1 << 32;
    /// The packet belongs to no connection.
    pub(super) const STRANGER: u64 = 1 << 62;

    #[inline(always)]
    pub(super) fn packed(decided: Result<(Course, bool), Reason>) -> u64 {
        match decided {
            Ok((course, is_new)) => u64::from(course.0) | if is_new { Self::NEW } else { 0 },
            Err(reason) => Self::REFUSED | u64::from(reason.raw()),
        }
    }

    /// Whether it says why the packet is not forwarded.
    #[inline(always)]
    pub(super) const fn is_refusal(packed: u64) -> bool {
        packed & Self::REFUSED != 0
    }

    /// Why it is not.
    #[inline(always)]
    pub(super) fn refused(packed: u64) -> Reason {
        Reason::from_raw(packed as u32).unwrap_or(Reason::NotReady)
    }

    /// Where it goes, and how many connections are to be counted for it.
    #[inline(always)]
    pub(super) fn unpacked(packed: u64) -> Result<(Course, u64), Reason> {
        if packed & Self::REFUSED != 0 {
            return Err(Self::refused(packed));
        }
        Ok((Course(packed as u32), packed >> 32))
    }
}
