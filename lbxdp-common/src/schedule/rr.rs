//! rr: each usable server in turn.
//!
//! The turn is the server chosen last; the walk begins with the one after it and goes round once.
//! Source: Linux `ip_vs_rr.c`.

use core::ops::ControlFlow;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{MAX_ATTEMPTS, Pool, member_at, weight_of};
use crate::cells::Cells;
use crate::server::ServerId;
use crate::service::{List, Member, ServiceFlags};
use crate::walk::Step;

/// The server chosen last, and where it stands in the list. All zero: none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Turn {
    server: u32,
    index: u32,
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

    /// The turn after a list was edited: with the same server, wherever it stands now. If it is gone, the turn goes back
    /// to the one before it in the old list, as IPVS does when a server is deleted, so the next pick is unchanged.
    #[must_use]
    pub fn after_edit(self, old: &[Member], new: &[Member]) -> Self {
        let Some(at) = old.iter().position(|member| member.server().0 == self.server) else {
            return Self::default();
        };
        old.iter()
            .take(at + 1)
            .rev()
            .find_map(|kept| {
                new.iter().position(|member| member.server() == kept.server()).map(|i| (kept, i))
            })
            .map_or(Self::default(), |(kept, index)| Self { server: kept.server().0, index: index as u32 })
    }
}

struct Walk {
    list: List,
    flags: ServiceFlags,
    /// Where in the list the next step looks.
    index: u32,
    chosen: Turn,
}

impl<P: Pool> Step<P> for Walk {
    #[inline(always)]
    fn step(&mut self, pool: &P, _: u32) -> ControlFlow<()> {
        if self.index >= u32::from(self.list.length) {
            self.index = 0;
        }
        let index = self.index;
        self.index = index + 1;
        match member_at(pool, self.list, index) {
            Some(member) if weight_of(pool, member, self.flags) > 0 => {
                self.chosen = Turn { server: member.server().0, index };
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
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
        let last = Turn::from_cell(seen);
        let knows_its_place = last.server != 0
            && member_at(pool, self.walk.list, last.index).is_some_and(|m| m.server().0 == last.server);
        self.walk.index = if knows_its_place { last.index + 1 } else { 0 };
        self.walk.chosen = Turn::default();
        pool.repeat(self.walk.list.length.into(), &mut self.walk);
        let chosen = self.walk.chosen;
        if chosen == Turn::default() || turn.replace(0, seen, chosen.cell()) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// Takes the turn for the server after the last one, which nearly always can be used; `None`: nothing has happened.
#[inline(always)]
fn next<P: Pool>(pool: &P, service: u32, list: List, flags: ServiceFlags) -> Option<ServerId> {
    let turn = pool.turn(service)?;
    let seen = turn.load(0);
    let last = Turn::from_cell(seen);
    if list.length == 0 || last.server == 0 || member_at(pool, list, last.index)?.server().0 != last.server {
        return None;
    }
    let index = if last.index + 1 < u32::from(list.length) { last.index + 1 } else { 0 };
    let member = member_at(pool, list, index)?;
    if weight_of(pool, member, flags) == 0 {
        return None;
    }
    let server = member.server();
    turn.replace(0, seen, Turn { server: server.0, index }.cell()).then_some(server)
}

#[inline(always)]
pub(super) fn pick<P: Pool>(pool: &P, service: u32, list: List, flags: ServiceFlags) -> Option<ServerId> {
    if let Some(server) = next(pool, service, list, flags) {
        return Some(server);
    }
    let walk = Walk { list, flags, index: 0, chosen: Turn::default() };
    let mut attempt = Attempt { service, walk };
    pool.repeat(MAX_ATTEMPTS, &mut attempt);
    let Turn { server, .. } = attempt.walk.chosen;
    (server != 0).then_some(ServerId(server))
}
