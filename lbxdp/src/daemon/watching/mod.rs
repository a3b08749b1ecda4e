//! Watching: while somebody does, another entry is on the interfaces, which tells of packets in a ring. When the last watcher
//! has gone, however, the usual one is back, and nothing is left of all that.
//!
//! A thread reads the ring (`reader`), completes each record with what the kernel does not know (`completed`) and hands it to
//! its watchers; the task of each watcher's socket (`seat`) sends it on.

mod completed;
mod reader;
mod seat;

use std::io;

use aya::Ebpf;
use lbxdp_common::watch::{Budget, TALLIES, Tally, WATCHERS, Wish};
use tokio::sync::mpsc;

use super::interfaces::Interfaces;
use super::listing::Listing;
use super::load::{self, Anything, Interface, LoadError, chain};
use crate::tables::pins::Instance;
use crate::tables::{TableError, WatchTables, WatchedRing, wait_for_packets};
use crate::watch::{NotShown, WatchRequest};
use completed::Completion;
use reader::Reader;
use seat::Seats;
pub(super) use seat::{Call, Seat};

/// Parts of a second in which a watcher's packets are counted, so that not all come at its beginning.
const BUDGETS_PER_SECOND: u32 = 10;

/// Who watches, and what there is of it in the kernel.
pub(super) struct Watching {
    instance: Instance,
    listing: Listing,
    calls: mpsc::UnboundedReceiver<Call>,
    seats: Seats,
    watchers: [Option<Watcher>; WATCHERS as usize],
    at_work: Option<AtWork>,
}

/// What somebody wants.
struct Watcher {
    wish: Wish,
    /// The only interface.
    interface: Option<String>,
}

/// While somebody watches.
struct AtWork {
    tables: WatchTables,
    /// The interfaces with the other entry.
    put: Vec<Interface>,
    /// Ends with this.
    _reader: Reader,
}

/// Why nobody can watch.
#[derive(Debug, thiserror::Error)]
enum WatchingError {
    #[error("{WATCHERS} watch already, more cannot")]
    Full,
    #[error("{0} is none of the interfaces that lbxdp is on")]
    NoInterface(String),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Tables(#[from] TableError),
    #[error("cannot find the sizes of the tables")]
    Sizes(#[source] Anything),
    #[error("cannot use the pins of watching")]
    Pins(#[source] io::Error),
    #[error("cannot start the thread that reads what is watched")]
    Thread(#[source] io::Error),
}

impl Watching {
    /// Nobody watches. What a daemon that was killed has left is cleared away.
    pub(super) fn new(instance: &Instance, listing: Listing) -> (Self, mpsc::UnboundedSender<Call>) {
        if let Err(error) = remove_pins(instance) {
            tracing::warn!(%error, "cannot clear away what an earlier daemon has left of watching");
        }
        let (calls, called) = mpsc::unbounded_channel();
        let watching = Self {
            instance: instance.clone(),
            listing,
            calls: called,
            seats: Seats::new(calls.clone()),
            watchers: [const { None }; WATCHERS as usize],
            at_work: None,
        };
        (watching, calls)
    }

    /// Somebody comes, or goes.
    pub(super) async fn called(&mut self) -> Option<Call> {
        self.calls.recv().await
    }

    /// Does what somebody wants.
    pub(super) fn answer(&mut self, call: Call, interfaces: &Interfaces) {
        match call {
            Call::Begin { request, answer } => {
                let begun = self.begin(&request, interfaces).map_err(|error| {
                    // What was put there for this watcher alone.
                    self.follow(interfaces);
                    chain(&error)
                });
                // A seat that nobody takes is left again: see there.
                let _ = answer.send(begun);
            }
            Call::End { slot, answer } => {
                let not_shown = self.leave(slot, interfaces);
                if let Some(answer) = answer {
                    // A watcher that has gone meanwhile needs none.
                    let _ = answer.send(not_shown);
                }
            }
        }
    }

    fn begin(&mut self, request: &WatchRequest, interfaces: &Interfaces) -> Result<Seat, WatchingError> {
        let slot = self.watchers.iter().position(Option::is_none).ok_or(WatchingError::Full)?;
        let only =
            interfaces.attached().find(|interface| request.interface.as_ref() == Some(&interface.name));
        if let (None, Some(name)) = (only, &request.interface) {
            return Err(WatchingError::NoInterface(name.clone()));
        }
        let mut wish = Wish {
            outcomes: request.outcomes,
            threshold: Wish::one_of(request.sample).into(),
            budget: Budget {
                packets: (request.rate / BUDGETS_PER_SECOND).max(1),
                ticks: (self.listing.clock.hertz() / BUDGETS_PER_SECOND).max(1),
            },
            ..request.filter.wish()
        };
        if let Some(interface) = only {
            (wish.what.ifindex, wish.what_mask.ifindex) = (interface.ifindex, u32::MAX);
        }
        let watcher = Watcher { wish, interface: request.interface.clone() };
        let watched = interfaces.attached().filter(|interface| watcher.wants(interface));
        let watched = watched.map(|interface| interface.name.clone()).collect();
        if self.at_work.is_none() {
            self.at_work = Some(AtWork::begin(&self.instance, self.listing, self.seats.clone())?);
        }
        self.set(slot, Some(watcher));
        let begun = self.put(interfaces).and_then(|()| self.write(slot, wish));
        if let Err(error) = begun {
            self.set(slot, None);
            return Err(error);
        }
        Ok(self.seats.take(slot, watched))
    }

    fn set(&mut self, slot: usize, watcher: Option<Watcher>) {
        if let Some(place) = self.watchers.get_mut(slot) {
            *place = watcher;
        }
    }

    fn write(&mut self, slot: usize, wish: Wish) -> Result<(), WatchingError> {
        let slot = u32::try_from(slot).map_err(|_| WatchingError::Full)?;
        match &mut self.at_work {
            Some(at_work) => Ok(at_work.tables.put(slot, wish)?),
            None => Ok(()),
        }
    }

    /// A watcher goes; what it was not shown.
    fn leave(&mut self, slot: usize, interfaces: &Interfaces) -> NotShown {
        let lost = self.seats.leave(slot);
        let watcher = self.watchers.get_mut(slot).and_then(Option::take);
        let mut not_shown = NotShown { lost, ..NotShown::default() };
        if let (Some(watcher), Some(at_work)) = (watcher, &mut self.at_work) {
            match at_work.clear(slot, watcher.wish) {
                Ok(tallies) => {
                    let of = |tally: Tally| tallies.get(tally.raw() as usize).copied().unwrap_or(0);
                    not_shown = NotShown {
                        sampled_out: of(Tally::SampledOut),
                        limited: of(Tally::Limited),
                        other_outcome: of(Tally::OtherOutcome),
                        lost: lost + of(Tally::Lost),
                    };
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "cannot say what a watcher was not shown");
                }
            }
        }
        self.follow(interfaces);
        not_shown
    }

    /// Takes in which interfaces there are, and who watches: those that are watched have the other entry, and no others.
    pub(super) fn follow(&mut self, interfaces: &Interfaces) {
        if self.at_work.is_none() {
            return;
        }
        if let Err(error) = self.put(interfaces) {
            tracing::error!(error = %chain(&error), "cannot watch an interface");
        }
        let Some(at_work) = &mut self.at_work else {
            return;
        };
        let watchers = &self.watchers;
        let is_wanted =
            |interface: &Interface| watchers.iter().flatten().any(|watcher| watcher.wants(interface));
        at_work.put.retain(|interface| {
            let is_there = interfaces.attached().any(|attached| attached == interface);
            let stays = is_there && is_wanted(interface);
            if is_there && !stays {
                match load::replace(&self.instance, interface) {
                    Ok(()) => {
                        tracing::info!(interface = interface.name, "is not watched any more");
                    }
                    Err(error) => {
                        // It is tried again when the interfaces are looked at next, within a second.
                        tracing::error!(interface = interface.name, error = %chain(&error), "cannot put the \
                        usual program back");
                        return true;
                    }
                }
            }
            stays
        });
        if at_work.put.is_empty() && watchers.iter().all(Option::is_none) {
            self.finish();
        }
    }

    /// Ends it for all: the daemon stops, and what it may leave behind is to be the usual packet path.
    pub(super) fn stop(&mut self, interfaces: &Interfaces) {
        self.watchers.fill_with(|| None);
        self.follow(interfaces);
    }

    /// Puts the other entry on all interfaces that are watched and do not have it.
    fn put(&mut self, interfaces: &Interfaces) -> Result<(), WatchingError> {
        let Some(at_work) = &mut self.at_work else {
            return Ok(());
        };
        for interface in interfaces.attached() {
            let is_wanted = self.watchers.iter().flatten().any(|watcher| watcher.wants(interface));
            if is_wanted && !at_work.put.contains(interface) {
                if let Err(error) = put_on(&self.instance, interface) {
                    // It may have got as far as the interface.
                    if let Err(error) = load::replace(&self.instance, interface) {
                        tracing::error!(interface = interface.name, error = %chain(&error), "cannot put the usual program back");
                    }
                    return Err(error);
                }
                // It may have been there with another MAC address.
                at_work.put.retain(|put| put.name != interface.name);
                at_work.put.push(interface.clone());
            }
        }
        Ok(())
    }

    /// Nobody watches any more.
    fn finish(&mut self) {
        let Some(mut at_work) = self.at_work.take() else {
            return;
        };
        // What is under way still may have a record to be made.
        wait_for_packets();
        if let Err(error) = load::remove_report(at_work.tables.stages()) {
            tracing::warn!(error = %chain(&error), "cannot clear away what was there for watching");
        }
        if let Err(error) = remove_pins(&self.instance) {
            tracing::warn!(%error, "cannot clear away what was there for watching");
        }
    }
}

impl Watcher {
    fn wants(&self, interface: &Interface) -> bool {
        self.interface.as_ref().is_none_or(|name| *name == interface.name)
    }
}

impl AtWork {
    /// Makes the tables, and all that is the same for all interfaces. No entry is put anywhere.
    fn begin(instance: &Instance, listing: Listing, seats: Seats) -> Result<Self, WatchingError> {
        remove_pins(instance).map_err(WatchingError::Pins)?;
        // The first time for its tables and the program `report`; that one knows no interface.
        let nowhere = Interface { name: String::new(), ifindex: 0, mac: [0; 6] };
        let ebpf = load(instance, &nowhere, |name| name == load::REPORT)?;
        let (pins, maps) = (instance.watch_pins(), instance.map_pins());
        let mut tables = WatchTables::open(&pins, &maps)?;
        let ring = WatchedRing::open(&pins, &maps)?;
        let reader = Reader::start(ring, Completion::new(listing), seats).map_err(WatchingError::Thread)?;
        load::put_report(&ebpf, tables.stages())?;
        Ok(Self { tables, put: Vec::new(), _reader: reader })
    }

    /// Makes a slot empty; what was counted there.
    fn clear(&mut self, slot: usize, wish: Wish) -> Result<[u64; TALLIES], TableError> {
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        self.tables.clear(slot, wish)?;
        self.tables.tallies(slot)
    }
}

fn put_on(instance: &Instance, interface: &Interface) -> Result<(), WatchingError> {
    let mut ebpf = load(instance, interface, |name| name == load::WATCHED_PROGRAM)?;
    load::put_in_place(instance, interface, load::watched_program(&mut ebpf)?)?;
    tracing::info!(interface = interface.name, "is watched");
    Ok(())
}

fn load(
    instance: &Instance,
    interface: &Interface,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Ebpf, WatchingError> {
    let sizes = load::pinned_sizes(instance).map_err(WatchingError::Sizes)?;
    Ok(load::load_watched(&instance.map_pins(), &instance.watch_pins(), interface, sizes, is_wanted)?)
}

fn remove_pins(instance: &Instance) -> io::Result<()> {
    match std::fs::remove_dir_all(instance.watch_pins()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
