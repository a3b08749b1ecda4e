//! One connection table, of a width of addresses, as it is kept: swept part by part, and grown when it fills.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use lbxdp_common::connection::{Word, kind};
use lbxdp_common::pressure::{PRESSURE_ROWS, Pressure, WHOLE};
use lbxdp_common::server::{Server, ServerFlags};
use lbxdp_common::settings::{Rules, SettingsView};
use lbxdp_common::table::{Hash, Shape, Slot, WAYS, entries_in, is_overdue};
use lbxdp_common::{Address, Cells, Ticks};

use super::errands::{Errands, errand_of};
use super::idle::Idle;
use super::progress::Progress;
use super::{View, shape};
use crate::daemon::clock::Clock;
use crate::tables::{Mapped, wait_for_packets};

/// In how many looks all of the table has been seen: an overdue connection is counted for at most this many ticks.
const LOOKS: u32 = 10;
/// Bytes in use at first: as much as a CPU's own cache holds.
const FIRST_BYTES: usize = 2 << 20;
/// The table grows when this part of its places is taken by half-open connections.
const HALF_OPEN_PART: u64 = 16;
/// By how much the table grows while packets go by hash for want of room.
const GROWTH_UNDER_PRESSURE: u32 = 4;
/// So many seconds before its time is over, a template is asked after: two passes, so that the answer is there in time.
const ASK_AHEAD_S: u32 = 2;
/// How often one look tries to carry over what was left behind.
const CARRY_ATTEMPTS: u32 = 4;

/// Half-open entries that were counted.
#[derive(Clone, Copy, Debug, Default)]
struct HalfOpen {
    connections: u64,
    /// Beside them what leads replies to them: they take places out of the same share.
    replies: u64,
}

/// The table, and what is known of it.
pub(super) struct Table<A> {
    view: View,
    connections: Mapped,
    clock: Clock,
    /// The bucket the next look begins with.
    next: u32,
    /// Seen since the table's beginning.
    half_open: HalfOpen,
    /// Half-open entries in the last pass, of whatever kind.
    half_open_entries: u64,
    /// For others to know.
    progress: Arc<Progress>,
    /// When the last growth was done.
    answered: Option<Ticks>,
    idle: Idle,
    width: PhantomData<A>,
}

/// What a look finds of a template.
enum Judgement {
    /// Its time is not over, or it is not known yet whether a connection holds it.
    Waits,
    /// Its time is over, and a connection of it lives: it waits another while.
    Held,
    /// Its time is over, and no connection of it lives.
    Idle,
}

/// How many of so many buckets are in use at first.
pub(super) fn first_buckets<A: Address>(limit: u32) -> u32 {
    let bytes = WAYS * A::ENTRY_CELLS * size_of::<u64>();
    limit.min(u32::try_from(FIRST_BYTES / bytes).unwrap_or(u32::MAX))
}

impl<A: Address> Table<A> {
    pub(super) fn new(view: View, clock: Clock, progress: Arc<Progress>) -> Self {
        Self {
            view,
            connections: view.connections::<A>(),
            clock,
            next: 0,
            half_open: HalfOpen::default(),
            half_open_entries: 0,
            progress,
            answered: None,
            idle: Idle::default(),
            width: PhantomData,
        }
    }

    fn shape(&self) -> Shape {
        shape::<A>(&self.view.settings)
    }

    fn settings(&self) -> Option<SettingsView<&'static [AtomicU64]>> {
        self.view.settings.row(0).map(SettingsView)
    }

    /// Looks at all of the table.
    pub(super) fn look_at_all(&mut self, errands: &mut Errands) {
        self.look(0..self.shape().buckets(), errands);
    }

    /// Looks at the next part of the table.
    pub(super) fn look_on(&mut self, errands: &mut Errands) {
        let buckets = self.shape().buckets();
        if self.next >= buckets {
            self.next = 0;
            let HalfOpen { connections, replies } = std::mem::take(&mut self.half_open);
            self.half_open_entries = connections + replies;
            self.progress.has_passed(connections);
            self.idle.next_pass(self.clock.now());
        }
        let end = self.next.saturating_add(buckets.div_ceil(LOOKS)).min(buckets);
        let begun = Instant::now();
        let half_open = self.look(self.next..end, errands);
        self.progress.has_looked(begun.elapsed());
        self.half_open.connections += half_open.connections;
        self.half_open.replies += half_open.replies;
        self.next = end;
    }

    /// Has every bucket tended in which something is over; the half-open entries that were seen.
    fn look(&mut self, buckets: Range<u32>, errands: &mut Errands) -> HalfOpen {
        let mut half_open = HalfOpen::default();
        let Some(settings) = self.settings() else {
            return half_open;
        };
        let expires_nodest = settings.rules().has(Rules::EXPIRE_NODEST_CONN);
        let now = self.clock.now();
        for index in buckets {
            let Some(bucket) = self.connections.row(index) else {
                continue;
            };
            let (mut errand, mut is_anything_over) = (errand_of::<A>(index), false);
            for way in 0..WAYS {
                let slot = Slot::<_, A>::new(bucket, way);
                let word = slot.word();
                if !word.is_live() {
                    continue;
                }
                if word.is_half_open() {
                    let is_reply = slot.read().is_some_and(|(key, _)| key.kind == kind::REPLY);
                    half_open.replies += u64::from(is_reply);
                    half_open.connections += u64::from(!is_reply);
                }
                is_anything_over |= expires_nodest && !self.is_served(word);
                if word.is_template() {
                    match self.judge(slot, settings, now) {
                        Judgement::Waits => {}
                        Judgement::Held => is_anything_over = true,
                        Judgement::Idle => {
                            errand = errand.with_idle_template(way);
                            is_anything_over = true;
                        }
                    }
                } else if is_overdue(word, now) {
                    is_anything_over = true;
                } else if slot.bond() != 0 {
                    self.idle.is_held(slot.bond());
                }
            }
            if is_anything_over {
                errands.list(errand);
            }
        }
        errands.send();
        half_open
    }

    /// What is to become of a template.
    fn judge(
        &mut self,
        slot: Slot<&'static [AtomicU64], A>,
        settings: SettingsView<&'static [AtomicU64]>,
        now: Ticks,
    ) -> Judgement {
        let Some((key, word)) = slot.read() else {
            return Judgement::Waits;
        };
        if word.due().since(now) > self.clock.ticks_of(ASK_AHEAD_S).cast_signed() {
            return Judgement::Waits;
        }
        let template = Hash::of(key, settings.seed()).0;
        if is_overdue(word, now) {
            let lifetime = u32::try_from(slot.bond()).unwrap_or(0);
            let last = Ticks(word.due().0.wrapping_sub(lifetime)) + settings.refresh();
            match self.idle.is_idle(template, last) {
                Some(true) => return Judgement::Idle,
                Some(false) => return Judgement::Held,
                None => {}
            }
        }
        self.idle.ask(template);
        Judgement::Waits
    }

    fn is_served(&self, word: Word) -> bool {
        self.view.servers.row(word.server().row()).is_some_and(|row| {
            let server = Server(row);
            server.identity().0 == word.server() && server.hop().flags.has(ServerFlags::AVAILABLE)
        })
    }

    /// Lets the table grow when it is as full as it should be ([`entries_in`]), or when new connections find none.
    pub(super) fn keep_room(&mut self, errands: &mut Errands) {
        let shape = self.shape();
        if !shape.is_steady() {
            return self.grow_on(errands);
        }
        let (now, longest) = (self.clock.now(), self.clock.longest());
        let rows = (0..PRESSURE_ROWS).filter_map(|row| self.view.pressure.row(row));
        for row in rows.map(Pressure::<_, A>::new) {
            row.forget_after(now, longest / 2);
        }
        let Some(pressure) = self.view.pressure.row(WHOLE).map(Pressure::<_, A>::new) else {
            return;
        };
        // Pressure from before the last growth has been answered by it.
        let is_news = |last: Ticks| self.answered.is_none_or(|answered| last.since(answered) > 0);
        let is_pressed =
            pressure.is_recent(now, self.clock.ticks_of(1) / 4) && pressure.last().is_some_and(is_news);
        let (buckets, limit) = (shape.home(), self.connections.rows());
        let taken = self.view.counts::<A>().entries();
        let places = |buckets: u32| u64::from(buckets) * WAYS as u64;
        // Half-open ones find no room long before the table is full of them: there are few places for them.
        let is_filling =
            taken > entries_in(places(buckets)) || self.half_open_entries > places(buckets) / HALF_OPEN_PART;
        if buckets >= limit || !is_filling && !is_pressed {
            return;
        }
        let mut wanted = buckets.saturating_mul(if is_pressed { GROWTH_UNDER_PRESSURE } else { 2 });
        while entries_in(places(wanted)) < taken && wanted < limit {
            wanted = wanted.saturating_mul(2);
        }
        self.write(Shape::new(buckets, wanted.min(limit)));
        self.grow_on(errands);
    }

    /// Goes on with a growth, wherever it stands: after a look, or after a daemon that did not finish it.
    fn grow_on(&mut self, errands: &mut Errands) {
        let shape = self.shape();
        if shape.home() < shape.elsewhere() {
            // All look into both sizes; only then may anybody insert by the new one.
            wait_for_packets();
            self.write(Shape::new(shape.elsewhere(), shape.home()));
        }
        wait_for_packets();
        let shape = self.shape();
        for _ in 0..CARRY_ATTEMPTS {
            let found = self.carry(shape, errands);
            if found == 0 {
                self.write(Shape::steady(shape.home()));
                self.answered = Some(self.clock.now());
                let places = u64::from(shape.home()) * WAYS as u64;
                let connections = self.view.counts::<A>().connections;
                let family = if A::IS_V6 { "IPv6" } else { "IPv4" };
                tracing::info!(family, places, connections, "the connection table has grown");
                return;
            }
            self.idle.places_have_changed();
            if errands.have_failed() {
                return;
            }
        }
    }

    /// Has all connections carried that are not where they belong; how many buckets held some.
    fn carry(&mut self, shape: Shape, errands: &mut Errands) -> usize {
        let Some(seed) = self.settings().map(SettingsView::seed) else {
            return 0;
        };
        let mut found = 0;
        for index in 0..shape.elsewhere() {
            let Some(bucket) = self.connections.row(index) else {
                continue;
            };
            let is_elsewhere = |way| {
                let entry = Slot::<_, A>::new(bucket, way).read();
                entry.is_some_and(|(key, _)| !shape.home_of(Hash::of(key, seed)).has(index))
            };
            if (0..WAYS).any(is_elsewhere) {
                found += 1;
                errands.list(errand_of::<A>(index));
            }
        }
        errands.send();
        found
    }

    fn write(&self, shape: Shape) {
        if let Some(row) = self.view.settings.row(0) {
            row.store(A::SHAPE_CELL, shape.0);
        }
    }
}
