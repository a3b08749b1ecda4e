//! Keeping the connection tables, in a thread of its own: overdue connections go, and a table grows when it fills.
//!
//! To traffic an overdue connection is gone already; sweeping gives its place back and takes it off its server's counts.
//! The thread only looks: it reads the mapped tables, and has the packet path's own program `tend` do whatever there is to
//! do. So a daemon that is killed leaves nothing half done.

mod counts;
mod errands;
mod idle;
mod progress;
mod table;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use aya::Ebpf;
use lbxdp_common::settings::SettingsView;
use lbxdp_common::table::Shape;
use lbxdp_common::{Address, Cells, V4, V6};

pub(super) use counts::{Counts, load_of, templates_to};

use super::clock::Clock;
use crate::snapshot::Sweep;
use crate::tables::{Mapped, Tables};
use errands::Errands;
use progress::Progress;
use table::{Table, first_buckets};

/// Time between two looks. A look is at a part of each table.
const TICK: Duration = Duration::from_millis(100);

/// The thread; it ends when this is dropped.
pub(super) struct Keeper {
    view: View,
    clock: Clock,
    calls: Option<Sender<Call>>,
    thread: Option<JoinHandle<()>>,
    progress: Arc<Progress>,
    progress_v6: Arc<Progress>,
}

/// What the thread may be asked for.
enum Call {
    /// A look at all there is, now.
    LookAtAll,
}

/// The tables that keeping needs.
#[derive(Clone, Copy)]
struct View {
    settings: Mapped,
    connections: Mapped,
    connections_v6: Mapped,
    servers: Mapped,
    loads: Mapped,
    pressure: Mapped,
    errands: Mapped,
}

impl View {
    /// The connections of a width of addresses.
    fn connections<A: Address>(&self) -> Mapped {
        if A::IS_V6 { self.connections_v6 } else { self.connections }
    }

    fn counts<A: Address>(&self) -> Counts {
        Counts::of::<A>(&self.servers, &self.loads)
    }

    /// Gives a new table its first shape.
    fn begin<A: Address>(&self) {
        if let Some(row) = self.settings.row(0)
            && row.load(A::SHAPE_CELL) == 0
        {
            row.store(A::SHAPE_CELL, Shape::steady(first_buckets::<A>(self.connections::<A>().rows())).0);
        }
    }
}

/// The shape of a table now.
pub(super) fn shape<A: Address>(settings: &Mapped) -> Shape {
    settings.row(0).map_or(Shape::steady(0), |row| SettingsView(row).shape_of::<A>())
}

impl Keeper {
    /// A keeper that has not started yet. New tables have their first shape when this returns.
    pub(super) fn new(tables: &Tables, clock: Clock) -> Self {
        let view = View {
            settings: tables.SETTINGS,
            connections: tables.CONNECTIONS,
            connections_v6: tables.CONNECTIONS_V6,
            servers: tables.SERVERS,
            loads: tables.LOADS,
            pressure: tables.PRESSURE,
            errands: tables.ERRANDS,
        };
        view.begin::<V4>();
        view.begin::<V6>();
        let (progress, progress_v6) = Default::default();
        Self { view, clock, calls: None, thread: None, progress, progress_v6 }
    }

    /// Starts keeping, by the program `tend` of a loaded object.
    pub(super) fn start(&mut self, ebpf: Ebpf) -> std::io::Result<()> {
        let work = Work {
            errands: Errands::new(self.view.errands, ebpf),
            v4: Table::new(self.view, self.clock, Arc::clone(&self.progress)),
            v6: Table::new(self.view, self.clock, Arc::clone(&self.progress_v6)),
        };
        let (calls, called) = channel();
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(move || work.run(&called))?;
        (self.calls, self.thread) = (Some(calls), Some(thread));
        Ok(())
    }

    /// Has all of the tables looked at, soon: a server has gone, and by the rules its connections go too.
    pub(super) fn look_at_all(&self) {
        if let Some(calls) = &self.calls {
            // A thread that has ended has said why.
            let _ = calls.send(Call::LookAtAll);
        }
    }

    /// How many connections were half open when their table was last looked through.
    pub(super) fn half_open<A: Address>(&self) -> u64 {
        self.progress::<A>().half_open()
    }

    /// What sweeping a table has cost so far.
    pub(super) fn sweep<A: Address>(&self) -> Sweep {
        self.progress::<A>().sweep()
    }

    fn progress<A: Address>(&self) -> &Progress {
        if A::IS_V6 { &self.progress_v6 } else { &self.progress }
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
    errands: Errands,
    v4: Table<V4>,
    v6: Table<V6>,
}

impl Work {
    fn run(mut self, called: &Receiver<Call>) {
        let Self { errands, v4, v6 } = &mut self;
        loop {
            match called.recv_timeout(TICK) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Call::LookAtAll) => {
                    // One look answers all who asked before it.
                    while called.try_recv().is_ok() {}
                    v4.look_at_all(errands);
                    v6.look_at_all(errands);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            v4.look_on(errands);
            v4.keep_room(errands);
            v6.look_on(errands);
            v6.keep_room(errands);
        }
    }
}
