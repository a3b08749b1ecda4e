//! The director: the one owner of the configuration. Every request ends here, one after the other.

mod change;
mod hops;
mod house;
mod install;
mod only_kept;
mod view;

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

use aya::Ebpf;
use lbxdp_common::server::ServerId;
use lbxdp_common::settings::Rules;
use lbxdp_common::table::Seed;

use super::accounts::Accounts;
use super::clock::Clock;
use super::drift::Drift;
use super::episode::Episode;
use super::held::{HeldError, HeldPackets};
use super::inherit::settings_row;
use super::keeper::Keeper;
use super::load::chain;
use super::next_hops::NextHops;
use super::oblivion::Oblivion;
use super::settings;
use super::totals::Total;
use crate::layout::{Layout, LayoutError};
use crate::message::{Request, Response};
use crate::saved::Saved;
use crate::snapshot::{Changes, InterfaceStatus, PacketPath};
use crate::state::{ServiceKey, State};
use crate::tables::pins::Instance;
use crate::tables::{TableError, Tables};
use crate::watch::NotShown;
use house::hashed;

/// Why a change was not made, beside what the command itself says.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Table(#[from] TableError),
}

/// The state and everything that follows from it.
pub(super) struct Director {
    pub(super) state: State,
    pub(super) layout: Layout,
    pub(super) tables: Tables,
    accounts: Accounts,
    pub(super) total: Total,
    /// Counts the times that rows of counters, or what is taken off them, began anew.
    pub(super) rows_epoch: u64,
    pub(super) started: SystemTime,
    pub(super) changes: Changes,
    pub(super) next_hops: NextHops,
    pub(super) clock: Clock,
    pub(super) seed: Seed,
    saved: Saved,
    pub(super) drift: Drift,
    keeper: Keeper,
    held: Option<HeldPackets>,
    pressure: Episode,
    oblivion: Oblivion,
    waited_last: Option<Instant>,
    interfaces: Vec<InterfaceStatus>,
    /// What packets are told to look for.
    pub(super) kinds: Rules,
    /// What the log has said already.
    said: BTreeSet<&'static str>,
}

/// What a director begins with.
pub(super) struct Begin {
    /// What the tables mean.
    pub state: State,
    pub layout: Layout,
    pub seed: Seed,
    pub saved: Saved,
}

impl Director {
    /// A director over tables that are as they are.
    pub(super) fn new(tables: Tables, next_hops: NextHops, clock: Clock, begin: Begin) -> Self {
        let keeper = Keeper::new(&tables, clock);
        let pressure = Episode::begin_with(hashed(&tables).unwrap_or(0));
        let kinds = settings::kinds_in(&settings_row(&tables));
        let Begin { state, layout, seed, saved } = begin;
        let mut total = Total::default();
        total.know(layout.all_server_ids());
        Self {
            state,
            layout,
            tables,
            accounts: Accounts::default(),
            total,
            rows_epoch: 0,
            started: SystemTime::now(),
            changes: Changes::default(),
            next_hops,
            clock,
            seed,
            saved,
            drift: Drift::default(),
            keeper,
            held: None,
            pressure,
            oblivion: Oblivion::new(Instant::now()),
            waited_last: None,
            interfaces: Vec::new(),
            kinds,
            said: BTreeSet::new(),
        }
    }

    /// Starts seeing to packets that are held.
    pub(super) fn start_holding(&mut self, instance: &Instance) -> Result<(), HeldError> {
        self.held = Some(HeldPackets::start(instance)?);
        Ok(())
    }

    /// Starts clearing away what is over, and making room.
    pub(super) fn start_keeping(&mut self, ebpf: Ebpf) -> std::io::Result<()> {
        self.keeper.start(ebpf)
    }

    /// Carries out a request but for `Request::Connections` and `Request::Watch`, which need no director.
    pub(super) async fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::Change(command) => self.change_alone(&command).await,
            Request::Changes(commands) => self.change_in_turn(&commands).await,
            Request::Services => match self.snapshot() {
                Ok(snapshot) => Response::Services(snapshot),
                Err(error) => Response::Failed(chain(&error)),
            },
            Request::Totals => match self.total.totals(&self.tables) {
                Ok(totals) => Response::Totals(totals),
                Err(error) => Response::Failed(chain(&error)),
            },
            Request::Timeouts => Response::Timeouts(self.state.timeouts),
            Request::Daemons => Response::Daemons(self.state.daemons.clone()),
            Request::Marks => Response::Marks(self.state.marks.clone()),
            Request::Settings => Response::Settings(self.state.sysctls),
            Request::Status => match self.status() {
                Ok(status) => Response::Status(Box::new(status)),
                Err(error) => Response::Failed(chain(&error)),
            },
            Request::Moment => match self.moment() {
                Ok(moment) => Response::Moment(Box::new(moment)),
                Err(error) => Response::Failed(chain(&error)),
            },
            Request::Connections => Response::Connections { count: 0 },
            Request::Watch(_) => Response::Watched(NotShown::default()),
        }
    }

    /// Writes the wanted configuration to disk, whole.
    pub(super) fn save(&mut self) {
        self.saved.rewrite(&self.state);
    }

    /// The row of a service; of one that is not there a row that is in no table.
    fn index(&self, key: &ServiceKey) -> u32 {
        self.layout.index(key).unwrap_or(u32::MAX)
    }

    /// The servers that count for a service.
    fn counting_ids(&self, key: &ServiceKey) -> impl Iterator<Item = ServerId> {
        self.layout.server_ids(key).iter().copied().chain(self.layout.waiting_ids(key))
    }

    /// The program was attached to an interface.
    pub(super) fn has_attached(&mut self, name: &str, path: PacketPath) {
        self.interfaces.retain(|interface| interface.name != name);
        self.interfaces.push(InterfaceStatus { name: name.into(), path });
    }

    /// The interface is gone, and the program with it.
    pub(super) fn has_lost(&mut self, name: &str) {
        for interface in self.interfaces.iter_mut().filter(|interface| interface.name == name) {
            interface.path = PacketPath::Gone;
        }
    }
}
