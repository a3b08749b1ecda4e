//! wrr: each server as often as its weight says, interleaved.
//!
//! A bar starts at the top and falls by `step` each time the walk comes round; a server whose weight reaches the bar is
//! chosen. So A4 B3 C2 gives A, AB, ABC, ABC. IPVS lowers the bar pass by pass; here, after a pass in which nobody
//! reached it, it falls at once to where somebody will (the passes left out choose nobody), so that a walk is three
//! passes at the most.
//! Source: Linux `ip_vs_wrr.c`.

use core::ops::ControlFlow;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{MAX_ATTEMPTS, Pool, member_at, weight_of};
use crate::cells::Cells;
use crate::server::ServerId;
use crate::service::{List, Member, ServiceFlags, Shares};
use crate::walk::Step;

/// Where the walk stands, and the bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Turn {
    /// Index in the list where the walk goes on; 0 at the start.
    next: u32,
    /// The weight a server must have to be chosen (IPVS's `cw`).
    bar: u32,
}

impl Turn {
    /// The turn in a cell.
    #[inline(always)]
    pub fn from_cell(cell: u64) -> Self {
        zerocopy::transmute!(cell)
    }

    /// The cell of a turn.
    #[inline(always)]
    pub fn cell(self) -> u64 {
        zerocopy::transmute!(self)
    }

    /// The turn after a list was edited: from its start, the bar on a step of the new shares (`ip_vs_wrr_dest_changed`).
    #[must_use]
    pub fn after_edit(self, shares: Shares) -> Self {
        let bar = if self.bar > shares.top || self.bar == 0 {
            shares.top
        } else if shares.step > 1 {
            self.bar / shares.step * shares.step + 1
        } else {
            self.bar
        };
        Self { next: 0, bar }
    }
}

impl Shares {
    /// The shares of no list, or of one whose weights are all 0.
    pub const NONE: Self = Self { step: 1, top: 0 };

    /// The shares of a list.
    pub fn of(members: &[Member]) -> Self {
        members.iter().fold(Self::NONE, |shares, member| shares.with(*member))
    }

    /// The shares of the list with one member more.
    #[must_use]
    pub fn with(self, member: Member) -> Self {
        match (member.weight(), self.greatest()) {
            (0, _) => self,
            (weight, 0) => Self { step: weight, top: 1 },
            (weight, greatest) => {
                let step = gcd(self.step, weight);
                Self { step, top: (greatest.max(weight) + 1).saturating_sub(step) }
            }
        }
    }

    /// The greatest weight.
    const fn greatest(self) -> u32 {
        (self.top + self.step).saturating_sub(1)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

struct Walk {
    list: List,
    flags: ServiceFlags,
    shares: Shares,
    index: u32,
    bar: u32,
    /// The greatest usable weight seen in this pass.
    greatest: u32,
    /// Not 0 if this pass began at the start of the list.
    is_whole: u32,
    /// 0 while nobody is chosen.
    chosen: u32,
}

impl Walk {
    /// The end of the list: lowers the bar and goes back to the start. Breaks off if nobody can be chosen at all.
    #[inline(always)]
    fn turn_round(&mut self) -> ControlFlow<()> {
        let Shares { step, top } = self.shares;
        let mut bar = if self.bar > step { self.bar - step } else { top };
        if self.is_whole != 0 {
            if self.greatest == 0 {
                return ControlFlow::Break(());
            }
            if bar > self.greatest && step > 0 {
                let excess = bar - self.greatest;
                let steps = excess / step + u32::from(!excess.is_multiple_of(step));
                bar = bar.saturating_sub(steps.saturating_mul(step)).max(1);
            }
        }
        (self.index, self.bar, self.greatest, self.is_whole) = (0, bar, 0, 1);
        ControlFlow::Continue(())
    }
}

impl<P: Pool> Step<P> for Walk {
    #[inline(always)]
    fn step(&mut self, pool: &P, _: u32) -> ControlFlow<()> {
        if self.index >= u32::from(self.list.length) {
            self.turn_round()?;
        }
        let index = self.index;
        self.index = index + 1;
        let Some(member) = member_at(pool, self.list, index) else {
            return ControlFlow::Break(());
        };
        let weight = weight_of(pool, member, self.flags);
        if weight > self.greatest {
            self.greatest = weight;
        }
        if weight > 0 && weight >= self.bar {
            self.chosen = member.server().0;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// One attempt to take the turn: it fails if another CPU takes it meanwhile.
struct Attempt {
    service: u32,
    /// Here, and not in the step, for the sake of the kernel's stack.
    walk: Walk,
}

impl<P: Pool> Step<P> for Attempt {
    #[inline(always)]
    fn step(&mut self, pool: &P, _: u32) -> ControlFlow<()> {
        let Some(turn) = pool.turn(self.service) else {
            return ControlFlow::Break(());
        };
        let seen = turn.load(0);
        let Turn { next, bar } = Turn::from_cell(seen);
        let zero = pool.zero();
        (self.walk.index, self.walk.bar, self.walk.chosen) = (next, bar, zero);
        (self.walk.greatest, self.walk.is_whole) = (zero, zero.wrapping_add(u32::from(next == 0)));
        // The rest of the list, a pass that nobody reaches the bar in, and one in which somebody does.
        pool.repeat(u32::from(self.walk.list.length) * 3, &mut self.walk);
        let after = match self.walk.chosen {
            // Nobody can be chosen now. IPVS stops where it began if only the last pass was left, else at the top.
            0 => match Turn::from_cell(seen) {
                last if last.next > 0 && last.bar <= self.walk.shares.step => last,
                _ => Turn { next: 0, bar: self.walk.shares.top },
            },
            _ => Turn { next: self.walk.index, bar: self.walk.bar },
        };
        if turn.replace(0, seen, after.cell()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Takes the turn for the server where the walk stands, if it reaches the bar; `None`: nothing has happened.
#[inline(always)]
fn next<P: Pool>(pool: &P, service: u32, list: List, flags: ServiceFlags) -> Option<ServerId> {
    let turn = pool.turn(service)?;
    let seen = turn.load(0);
    let Turn { next, bar } = Turn::from_cell(seen);
    if next >= u32::from(list.length) {
        return None;
    }
    let member = member_at(pool, list, next)?;
    let weight = weight_of(pool, member, flags);
    if weight == 0 || weight < bar {
        return None;
    }
    turn.replace(0, seen, Turn { next: next + 1, bar }.cell()).then_some(member.server())
}

#[inline(always)]
pub(super) fn pick<P: Pool>(
    pool: &P,
    service: u32,
    list: List,
    flags: ServiceFlags,
    shares: Shares,
) -> Option<ServerId> {
    if shares.top == 0 {
        return None;
    }
    if let Some(server) = next(pool, service, list, flags) {
        return Some(server);
    }
    let walk = Walk { list, flags, shares, index: 0, bar: 0, greatest: 0, is_whole: 0, chosen: 0 };
    let mut attempt = Attempt { service, walk };
    pool.repeat(MAX_ATTEMPTS, &mut attempt);
    (attempt.walk.chosen != 0).then_some(ServerId(attempt.walk.chosen))
}
