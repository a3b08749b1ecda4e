//! Keeping the connection table, in a thread of its own: overdue connections go, and the table grows when it fills.
//!
//! To traffic an overdue connection is gone already; sweeping gives its place back and takes it off its server's counts.
//! The thread only looks: it reads the mapped table, and has the packet path's own program `tend` do whatever there is to
//! do. So a daemon that is killed leaves nothing half done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use aya::Ebpf;
use aya::programs::{TestRun, TestRunOptions};
use lbxdp_common::V4;
use lbxdp_common::connection::Word;
use lbxdp_common::overload::LoadRow;
use lbxdp_common::pressure::Pressure;
use lbxdp_common::server::{Load, Server, ServerFlags, ServerId};
use lbxdp_common::settings::{Rules, SHAPE_CELL, SettingsView};
use lbxdp_common::table::{Hash, Shape, Slot, WAYS, is_overdue};
use lbxdp_common::tend::{Errand, MAX_ERRANDS};
use lbxdp_common::{Cells, Ticks};

use super::clock::Clock;
use super::idle::Idle;
use super::load;
use crate::tables::{Mapped, Tables, wait_for_packets};

/// Time between two looks. A look is at a part of the table.
const TICK: Duration = Duration::from_millis(100);
/// In how many looks all of the table has been seen: an overdue connection is counted for at most this many ticks.
const LOOKS: u32 = 10;
/// Buckets in use at first: 64 Ki places in 2 MiB, which is as much as a CPU's own cache holds.
const FIRST_BUCKETS: u32 = 1 << 14;
/// The table grows when this part of half of its places is taken by half-open connections.
const HALF_OPEN_PART: u64 = 8;
/// By how much the table grows while packets go by hash for want of room.
const GROWTH_UNDER_PRESSURE: u32 = 4;
/// So many seconds before its time is over, a template is asked after: two passes, so that the answer is there in time.
const ASK_AHEAD_S: u32 = 2;
/// How often one look tries to carry over what was left behind.
const CARRY_ATTEMPTS: u32 = 4;

/// The thread; it ends when this is dropped.
pub(super) struct Keeper {
    view: View,
    clock: Clock,
    calls: Option<Sender<Call>>,
    thread: Option<JoinHandle<()>>,
    half_open: Arc<AtomicU64>,
}

/// What the thread may be asked for.
enum Call {
    /// A look at all of the table, now.
    LookAtAll,
}

/// The tables that keeping needs.
#[derive(Clone, Copy)]
struct View {
    settings: Mapped,
    connections: Mapped,
    servers: Mapped,
    loads: Mapped,
    pressure: Mapped,
    errands: Mapped,
}

/// The table's shape now.
pub(super) fn shape(settings: &Mapped) -> Shape {
    settings.row(0).map_or(Shape::steady(0), |row| SettingsView(row).shape())
}

/// How many connections a server has.
pub(super) fn load_of(loads: &Mapped, server: ServerId) -> Load {
    loads.row(server.row()).map_or(Load(0), |row| Load(row.load(0)))
}

/// How many templates of persistence lead to a server.
pub(super) fn templates_of(loads: &Mapped, server: ServerId) -> u32 {
    let count = loads.row(server.row()).map_or(0, |row| LoadRow(row).templates());
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Keeper {
    /// A keeper that has not started yet. New tables have their first shape when this returns.
    pub(super) fn new(tables: &Tables, clock: Clock) -> Self {
        let view = View {
            settings: tables.SETTINGS,
            connections: tables.CONNECTIONS,
            servers: tables.SERVERS,
            loads: tables.LOADS,
            pressure: tables.PRESSURE,
            errands: tables.ERRANDS,
        };
        if let Some(row) = view.settings.row(0)
            && row.load(SHAPE_CELL) == 0
        {
            row.store(SHAPE_CELL, Shape::steady(view.connections.rows().min(FIRST_BUCKETS)).0);
        }
        Self { view, clock, calls: None, thread: None, half_open: Arc::default() }
    }

    /// Starts keeping, by the program `tend` of a loaded object.
    pub(super) fn start(&mut self, ebpf: Ebpf) -> std::io::Result<()> {
        let work = Work {
            view: self.view,
            clock: self.clock,
            ebpf,
            listed: 0,
            next: 0,
            seen_half_open: 0,
            half_open: Arc::clone(&self.half_open),
            answered: None,
            has_failed: false,
            idle: Idle::default(),
        };
        let (calls, called) = channel();
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(move || work.run(&called))?;
        (self.calls, self.thread) = (Some(calls), Some(thread));
        Ok(())
    }

    /// Has all of the table looked at, soon: a server has gone, and by the rules its connections go too.
    pub(super) fn look_at_all(&self) {
        if let Some(calls) = &self.calls {
            // A thread that has ended has said why.
            let _ = calls.send(Call::LookAtAll);
        }
    }

    /// How many connections were half open when the table was last looked through.
    pub(super) fn half_open(&self) -> u64 {
        self.half_open.load(Ordering::Relaxed)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.calls.take();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// The thread's own things.
struct Work {
    view: View,
    clock: Clock,
    ebpf: Ebpf,
    /// How many buckets are listed for the next errand.
    listed: u32,
    /// The bucket the next look begins with.
    next: u32,
    /// Half-open connections seen since the table's beginning.
    seen_half_open: u64,
    half_open: Arc<AtomicU64>,
    /// When the last growth was done.
    answered: Option<Ticks>,
    /// The last errand failed.
    has_failed: bool,
    idle: Idle,
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

impl Work {
    fn run(mut self, called: &Receiver<Call>) {
        loop {
            match called.recv_timeout(TICK) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Call::LookAtAll) => {
                    // One look answers all who asked before it.
                    while called.try_recv().is_ok() {}
                    self.look(0..self.shape().buckets());
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_on();
            self.keep_room();
        }
    }

    fn shape(&self) -> Shape {
        shape(&self.view.settings)
    }

    /// Looks at the next part of the table.
    fn look_on(&mut self) {
        let buckets = self.shape().buckets();
        if self.next >= buckets {
            self.half_open.store(self.seen_half_open, Ordering::Relaxed);
            (self.next, self.seen_half_open) = (0, 0);
            self.idle.next_pass(self.clock.now());
        }
        let end = self.next.saturating_add(buckets.div_ceil(LOOKS)).min(buckets);
        self.seen_half_open += self.look(self.next..end);
        self.next = end;
    }

    /// Has every bucket tended in which something is over; how many half-open connections were seen.
    fn look(&mut self, buckets: std::ops::Range<u32>) -> u64 {
        let Some(settings) = self.view.settings.row(0).map(SettingsView) else {
            return 0;
        };
        let mut half_open = 0;
        let expires_nodest = settings.rules().has(Rules::EXPIRE_NODEST_CONN);
        let now = self.clock.now();
        for index in buckets {
            let Some(bucket) = self.view.connections.row(index) else {
                continue;
            };
            let (mut errand, mut is_anything_over) = (Errand::of(index), false);
            for way in 0..WAYS {
                let slot = Slot::<_, V4>::new(bucket, way);
                let word = slot.word();
                if !word.is_live() {
                    continue;
                }
                half_open += u64::from(word.is_half_open());
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
                self.list(errand);
            }
        }
        self.send();
        half_open
    }

    /// What is to become of a template.
    fn judge(
        &mut self,
        slot: Slot<&'static [AtomicU64]>,
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

    /// Lists an errand to be sent.
    fn list(&mut self, errand: Errand) {
        if let Some(row) = self.view.errands.row(self.listed) {
            row.store(0, errand.0);
            self.listed += 1;
        }
        if self.listed == MAX_ERRANDS {
            self.send();
        }
    }

    /// Has the listed buckets tended.
    fn send(&mut self) {
        let count = std::mem::take(&mut self.listed);
        if count == 0 {
            return;
        }
        // The kernel wants at least an Ethernet header.
        let mut frame = [0; 14];
        frame[..4].copy_from_slice(&count.to_ne_bytes());
        let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() };
        let done = load::tend(&mut self.ebpf)
            .map_err(|error| load::chain(&error))
            .and_then(|program| program.test_run(options).map_err(|error| load::chain(&error)));
        match done {
            Ok(_) => self.has_failed = false,
            Err(error) if !std::mem::replace(&mut self.has_failed, true) => {
                tracing::error!(error, "cannot clear overdue connections away, nor let the table grow");
            }
            Err(_) => {}
        }
    }

    /// Lets the table grow when half of its places are taken, or when new connections find none.
    fn keep_room(&mut self) {
        let shape = self.shape();
        if !shape.is_steady() {
            return self.grow_on();
        }
        let Some(pressure) = self.view.pressure.row(0).map(Pressure) else {
            return;
        };
        let now = self.clock.now();
        // Pressure from before the last growth has been answered by it.
        let is_news = |last: Ticks| self.answered.is_none_or(|answered| last.since(answered) > 0);
        let is_pressed =
            pressure.is_recent(now, self.clock.ticks_of(1) / 4) && pressure.last().is_some_and(is_news);
        pressure.forget_after(now, self.clock.longest() / 2);
        let (buckets, limit) = (shape.home(), self.view.connections.rows());
        let taken = self.sum(|row| connections_of(row) + templates_in(row));
        let half = |buckets: u32| u64::from(buckets) * WAYS as u64 / 2;
        // Half-open ones find no room long before the table is half full of them: there are few places for them.
        let half_open = self.half_open.load(Ordering::Relaxed);
        let is_filling = taken > half(buckets) || half_open > half(buckets) / HALF_OPEN_PART;
        if buckets >= limit || !is_filling && !is_pressed {
            return;
        }
        let mut wanted = buckets.saturating_mul(if is_pressed { GROWTH_UNDER_PRESSURE } else { 2 });
        while half(wanted) < taken && wanted < limit {
            wanted = wanted.saturating_mul(2);
        }
        self.write(Shape::new(buckets, wanted.min(limit)));
        self.grow_on();
    }

    /// Goes on with a growth, wherever it stands: after a look, or after a daemon that did not finish it.
    fn grow_on(&mut self) {
        let shape = self.shape();
        if shape.home() < shape.elsewhere() {
            // All look into both sizes; only then may anybody insert by the new one.
            wait_for_packets();
            self.write(Shape::new(shape.elsewhere(), shape.home()));
        }
        wait_for_packets();
        let shape = self.shape();
        for _ in 0..CARRY_ATTEMPTS {
            let found = self.carry(shape);
            if found == 0 {
                self.write(Shape::steady(shape.home()));
                self.answered = Some(self.clock.now());
                let places = u64::from(shape.home()) * WAYS as u64;
                tracing::info!(
                    places,
                    connections = self.sum(connections_of),
                    "the connection table has grown"
                );
                return;
            }
            self.idle.places_have_changed();
            if self.has_failed {
                return;
            }
        }
    }

    /// Has all connections carried that are not where they belong; how many buckets held some.
    fn carry(&mut self, shape: Shape) -> usize {
        let Some(seed) = self.view.settings.row(0).map(|row| SettingsView(row).seed()) else {
            return 0;
        };
        let mut found = 0;
        for index in 0..shape.elsewhere() {
            let Some(bucket) = self.view.connections.row(index) else {
                continue;
            };
            let is_elsewhere = |way| {
                let entry = Slot::<_, V4>::new(bucket, way).read();
                entry.is_some_and(|(key, _)| !shape.home_of(Hash::of(key, seed)).has(index))
            };
            if (0..WAYS).any(is_elsewhere) {
                found += 1;
                self.list(Errand::of(index));
            }
        }
        self.send();
        found
    }

    fn write(&self, shape: Shape) {
        if let Some(row) = self.view.settings.row(0) {
            row.store(SHAPE_CELL, shape.0);
        }
    }

    /// The sum of something over the counts of all servers.
    fn sum(&self, of: impl Fn(LoadRow<&'static [AtomicU64]>) -> u64) -> u64 {
        (0..self.view.loads.rows())
            .filter_map(|row| self.view.loads.row(row))
            .map(|row| of(LoadRow(row)))
            .sum()
    }
}

/// For a moment a count may be taken off before it was added: below 0, which looks like very many. (31 bits of a load are
/// inactive connections.)
fn connections_of(row: LoadRow<&'static [AtomicU64]>) -> u64 {
    let some = |count: u32| if count >= 1 << 30 { 0 } else { u64::from(count) };
    let load = row.load();
    some(load.active()) + some(load.inactive())
}

fn templates_in(row: LoadRow<&'static [AtomicU64]>) -> u64 {
    row.templates().cast_signed().max(0).cast_unsigned()
}
