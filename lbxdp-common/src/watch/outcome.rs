//! What became of a packet that was watched.

use super::Mark;
use crate::verdict::{Fate, Reason, Verdict};

/// How a packet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As this verdict says. A redirection names the slot in the device map.
    Went(Verdict),
    /// It was not forwarded.
    Stopped(Reason),
}

/// How a packet ended, and what whoever makes the record must know beside it: one cell of the desk, which a stage writes and
/// the program `report` reads.
///
/// Bits 0-7: how; 8-15: the XDP action; 16-31: the [`Mark`]; 32-63: the reason, the slot in the device map, or the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Outcome(pub u64);

const TRANSMITTED: u64 = 1;
const REDIRECTED: u64 = 2;
const LEFT: u64 = 3;
const LOCAL: u64 = 4;
const ANSWERED: u64 = 5;
const STOPPED: u64 = 6;

const ACTION_SHIFT: u32 = 8;
const MARK_SHIFT: u32 = 16;
const DETAIL_SHIFT: u32 = 32;

impl Outcome {
    /// Of what was decided, the XDP action that was made of it, and the packet's mark.
    #[inline(always)]
    pub fn new(decided: Result<Verdict, Reason>, action: u32, mark: Mark) -> Self {
        let (how, detail) = match decided {
            Ok(Verdict::Transmit) => (TRANSMITTED, 0),
            Ok(Verdict::Redirect(port)) => (REDIRECTED, u32::from(port)),
            Ok(Verdict::Leave(ifindex)) => (LEFT, ifindex),
            Ok(Verdict::Local) => (LOCAL, 0),
            Ok(Verdict::Answered(reason)) => (ANSWERED, reason.raw()),
            Err(reason) => (STOPPED, reason.raw()),
        };
        Self(
            how | u64::from(action & 0xff) << ACTION_SHIFT
                | (mark.0 & ((1 << Mark::BITS) - 1)) << MARK_SHIFT
                | u64::from(detail) << DETAIL_SHIFT,
        )
    }

    /// The XDP action.
    #[inline(always)]
    pub const fn action(self) -> u32 {
        (self.0 >> ACTION_SHIFT) as u32 & 0xff
    }

    /// The mark.
    #[inline(always)]
    pub const fn mark(self) -> Mark {
        Mark(self.0 >> MARK_SHIFT & ((1 << Mark::BITS) - 1))
    }

    #[inline(always)]
    const fn how(self) -> u64 {
        self.0 & 0xff
    }

    #[inline(always)]
    const fn detail(self) -> u32 {
        (self.0 >> DETAIL_SHIFT) as u32
    }

    /// Whether the frame that leaves is another one than the frame that came: it was forwarded or answered.
    #[inline(always)]
    pub const fn is_changed(self) -> bool {
        matches!(self.how(), TRANSMITTED | REDIRECTED | LEFT | ANSWERED)
    }

    /// What a watcher's wish calls it.
    #[inline(always)]
    pub const fn among_outcomes(self) -> Outcomes {
        match self.how() {
            TRANSMITTED | REDIRECTED | LEFT => Outcomes::FORWARDED,
            LOCAL => Outcomes::LOCAL,
            _ => Outcomes(1 << (self.detail() & 31)),
        }
    }

    /// How the packet ended; `None` for what no build of this version writes. A packet whose redirection failed, so that it
    /// was dropped, has [`Reason::NoWayOut`].
    pub fn ending(self) -> Option<Ending> {
        /// Of the kernel.
        const XDP_DROP: u32 = 1;
        let reason = Reason::from_raw(self.detail());
        Some(match self.how() {
            TRANSMITTED => Ending::Went(Verdict::Transmit),
            REDIRECTED if self.action() == XDP_DROP => Ending::Stopped(Reason::NoWayOut),
            REDIRECTED => Ending::Went(Verdict::Redirect(self.detail() as u16)),
            LEFT => Ending::Went(Verdict::Leave(self.detail())),
            LOCAL => Ending::Went(Verdict::Local),
            ANSWERED => Ending::Went(Verdict::Answered(reason?)),
            STOPPED => Ending::Stopped(reason?),
            _ => return None,
        })
    }
}

/// A set of outcomes: a bit for each [`Reason`] by its number (answered packets have one, too), and two for those without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Outcomes(pub u64);

impl Outcomes {
    /// Forwarded.
    pub const FORWARDED: Self = Self(1 << 63);
    /// The server is the director itself.
    pub const LOCAL: Self = Self(1 << 62);
    /// All that has to do with us: everything but [`Reason::NotOurs`].
    pub const OURS: Self = Self(Self::FORWARDED.0 | Self::LOCAL.0 | 0xffff_fffe);

    /// Not forwarded for this reason.
    pub const fn of(reason: Reason) -> Self {
        Self(1 << (reason.raw() & 31))
    }

    /// Not forwarded for any reason with this fate, but [`Reason::NotOurs`].
    pub fn with_fate(fate: Fate) -> Self {
        let reasons =
            Reason::ALL.iter().filter(|reason| **reason != Reason::NotOurs && reason.fate() == fate);
        reasons.fold(Self::default(), |set, reason| set.with(Self::of(*reason)))
    }

    /// Whether all of `other` are in it.
    #[inline(always)]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

const _: () = assert!(Reason::COUNT <= 32, "a bit for each reason");
