//! The director: the one owner of the configuration. Every request ends here, one after the other.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use aya::Ebpf;
use lbxdp_common::client_hop::{Wanted, Wish};
use lbxdp_common::server::ServerId;
use lbxdp_common::settings::{Rules, SHAPE_CELL, SHAPE_V6_CELL};
use lbxdp_common::table::{Seed, WAYS};
use lbxdp_common::{Address, Cells, Fate, Notice, Overflow, Reason, V4, V6};

use super::accounts::{Accounts, shown};
use super::clock::Clock;
use super::drift::Drift;
use super::episode::{Episode, News};
use super::held::{HeldError, HeldPackets};
use super::inherit::settings_row;
use super::keeper::{Counts, Keeper, load_of, shape, templates_to};
use super::load::chain;
use super::next_hops::{Event, Link, NextHops};
use super::oblivion::{Expirations, IDLE_S, Oblivion, forgotten};
use super::settings;
use super::totals::Total;
use crate::cli::grammar::print;
use crate::cli::names::Naming;
use crate::command::{Command, CommandError, Touched};
use crate::layout::{Hop, Layout, LayoutError, VlanTags, Write};
use crate::message::{MOST_CHANGES, Request, Response};
use crate::saved::Saved;
use crate::snapshot::{
    Changes, Counted, Counters, InterfaceStatus, NextHop, NotForwarded, PacketPath, ServerSnapshot,
    ServiceSnapshot, Snapshot, Status, TableStatus, Way,
};
use crate::state::{MarkRule, Service, ServiceKey, State};
use crate::tables::pins::Instance;
use crate::tables::{CounterRows, TableError, Tables, wait_for_packets};

/// How long an answer may wait for a new server's next hop; so that whoever adds a server and sends at once finds it.
const PATIENCE: Duration = Duration::from_millis(100);
/// Time between two such waits.
const PATIENCE_EVERY: Duration = Duration::from_secs(1);

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

    /// Carries out a request but for `Request::Connections`, which needs no director.
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
            Request::Connections => Response::Connections { count: 0 },
        }
    }

    async fn change_alone(&mut self, command: &Command) -> Response {
        let response = self.change(command).await;
        if let (Response::Done, Some(address)) = (&response, new_server(command)) {
            self.wait_for_hops(&[address]).await;
        }
        response
    }

    /// Each command is a transaction of its own; their new servers' next hops are waited for together.
    async fn change_in_turn(&mut self, commands: &[Command]) -> Response {
        if commands.len() > MOST_CHANGES {
            return Response::Failed(format!("at most {MOST_CHANGES} changes at once"));
        }
        let (mut responses, mut new_servers) = (Vec::new(), Vec::new());
        for command in commands {
            let response = self.change(command).await;
            if response == Response::Done {
                new_servers.extend(new_server(command));
            }
            let goes_on = matches!(response, Response::Done | Response::Refused(_));
            responses.push(response);
            if !goes_on {
                break;
            }
        }
        new_servers.sort_unstable();
        new_servers.dedup();
        self.wait_for_hops(&new_servers).await;
        Response::Changes(responses)
    }

    async fn change(&mut self, command: &Command) -> Response {
        let mtu_of = |name: &str| self.link_named(name).map(|(_, link)| link.mtu);
        let command = match command.clone().on_interfaces(mtu_of) {
            Ok(command) => command,
            Err(refusal) => return Response::Refused(refusal),
        };
        let command = &command;
        let undo = match command.change(&mut self.state) {
            Ok(undo) => undo,
            Err(refusal) => return Response::Refused(refusal),
        };
        let mut changed_hops = Vec::new();
        if let Some(address) = new_server(command)
            && self.next_hops.watch(address).await
        {
            changed_hops.push(address);
        }
        if new_server(command).is_some_and(|address| self.is_of_a_stranger_on_a_link(address)) {
            undo.take_back(&mut self.state);
            return Response::Refused(CommandError::Invalid);
        }
        let zeroed = match command {
            Command::Zero { service } => self.zero(service.as_ref()).map_err(Into::into),
            _ => Ok(()),
        };
        let touched = undo.touched();
        if let Err(error) = zeroed.and_then(|()| self.install_touched(touched, &changed_hops)) {
            tracing::error!(error = %chain(&error), command = words(command), "refused: the tables do not take it");
            undo.take_back(&mut self.state);
            self.go_back(touched);
            return Response::Failed(chain(&error));
        }
        if undo.has_changed_settings(&self.state) || settings::kinds(&self.state, &self.layout) != self.kinds
        {
            self.write_settings();
        }
        self.saved.append(command, &self.state);
        match command {
            // Connections of a server that is gone may have to go too.
            Command::DeleteService { .. }
            | Command::DeleteServer { .. }
            | Command::Flush
            | Command::Set { .. }
                if self.state.sysctls.expire_nodest_conn != 0 =>
            {
                self.keeper.look_at_all();
            }
            _ => {}
        }
        if !matches!(command, Command::Zero { .. }) {
            self.changes = Changes { count: self.changes.count + 1, last: Some(SystemTime::now()) };
        }
        tracing::info!(command = words(command), "done");
        if may_be_only_kept(command) {
            self.say_what_is_only_kept();
        }
        Response::Done
    }

    /// Says, once for each, what of the configuration is only kept.
    pub(super) fn say_what_is_only_kept(&mut self) {
        for words in only_kept(&self.state) {
            if self.said.insert(words) {
                tracing::warn!("{words}");
            }
        }
    }

    /// A link-local address says nothing without its link; IPVS takes it only if it is the director's own.
    fn is_of_a_stranger_on_a_link(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
            && !self.next_hops.hop(address).is_local
    }

    /// Makes the tables mean `state`.
    pub(super) fn install(&mut self, state: &State, changed_hops: &[IpAddr]) -> Result<(), ChangeError> {
        self.write_ports();
        self.write_plan(|director| director.plan(state))?;
        self.write_plan(|director| director.plan_marks(&state.marks))?;
        self.follow_hops(changed_hops)?;
        self.kinds = settings::kinds(state, &self.layout);
        self.write_settings_of(state);
        Ok(())
    }

    /// Makes the tables mean what has changed of the services.
    fn install_touched(&mut self, touched: Touched, changed_hops: &[IpAddr]) -> Result<(), ChangeError> {
        self.write_ports();
        self.write_plan(|director| director.plan_touched(touched))?;
        Ok(self.follow_hops(changed_hops)?)
    }

    fn write_plan(
        &mut self,
        plan: impl Fn(&mut Self) -> Result<Vec<Write>, LayoutError>,
    ) -> Result<(), ChangeError> {
        let mut planned = plan(self);
        if matches!(planned, Err(LayoutError::MembersFull)) && self.layout.is_waiting_for_readers() {
            wait_for_packets();
            self.layout.readers_are_gone();
            planned = plan(self);
        }
        let planned = planned?;
        self.look_for_methods();
        Ok(self.carry_out(&planned)?)
    }

    /// Packets look for what connections need before the first of these can begin.
    fn look_for_methods(&mut self) {
        let wider = self.kinds.and(settings::methods(&self.layout));
        if wider != self.kinds {
            self.kinds = wider;
            self.write_vlans();
            self.write_settings_of(&self.state);
        }
    }

    /// Makes the tables mean the old state again after a change that failed in its midst.
    fn go_back(&mut self, touched: Touched) {
        let writes = match self.plan_touched(touched) {
            Ok(writes) => writes,
            Err(error) => return tracing::error!(%error, "the old configuration does not fit any more"),
        };
        for write in writes {
            if let Err(error) = write.carry_out(&mut self.tables, self.seed) {
                tracing::error!(error = %chain(&error), ?write, "cannot take a change back");
            }
        }
    }

    fn plan(&mut self, state: &State) -> Result<Vec<Write>, LayoutError> {
        let next_hops = &self.next_hops;
        self.layout.change(state, &|address| next_hops.hop(address), Instant::now())
    }

    /// The rules before the last ones may still be walked where the new ones are to stand: if there is anything to be
    /// written, nobody does any more when this returns.
    fn plan_marks(&mut self, rules: &[MarkRule]) -> Result<Vec<Write>, LayoutError> {
        let next_hops = &self.next_hops;
        let index_of = |name: &str| next_hops.link_named(name).map(|(index, _)| index);
        let writes = self.layout.change_marks(rules, &index_of)?;
        if !writes.is_empty() {
            wait_for_packets();
        }
        Ok(writes)
    }

    fn plan_touched(&mut self, touched: Touched) -> Result<Vec<Write>, LayoutError> {
        let next_hops = &self.next_hops;
        let (hop, now) = (|address| next_hops.hop(address), Instant::now());
        match touched {
            Touched::None => Ok(Vec::new()),
            Touched::One(key) => self.layout.change_service(key, self.state.services.get(&key), &hop, now),
            Touched::All => self.layout.change(&self.state, &hop, now),
            Touched::Marks => {
                let rules = self.state.marks.clone();
                self.plan_marks(&rules)
            }
        }
    }

    pub(super) fn carry_out(&mut self, writes: &[Write]) -> Result<(), TableError> {
        for write in writes {
            match write {
                Write::FreshServer { id } => {
                    self.rows_epoch += 1;
                    self.total.begin(&self.tables, *id)?;
                    self.accounts.open_server(*id);
                }
                Write::FreshService { index, waiting } => {
                    self.rows_epoch += 1;
                    self.accounts.open_service(*index);
                    for id in waiting {
                        self.accounts.open_server(*id);
                    }
                }
                Write::ForgetServer { .. } => self.rows_epoch += 1,
                _ => {}
            }
            write.carry_out(&mut self.tables, self.seed)?;
        }
        Ok(())
    }

    /// Packets learn which interfaces are VLANs: replies to clients may be routed there.
    fn write_vlans(&mut self) {
        if !self.may_have_wishes() {
            return;
        }
        let wanted = self.next_hops.vlans();
        let written = self.tables.vlans().and_then(|known| {
            let gone = known.keys().filter(|ifindex| !wanted.contains_key(ifindex));
            gone.copied().try_for_each(|ifindex| self.tables.remove_vlan(ifindex))?;
            let mut others = wanted.iter().filter(|(ifindex, below)| known.get(ifindex) != Some(below));
            others.try_for_each(|(ifindex, below)| self.tables.put_vlan(*ifindex, *below))
        });
        if let Err(error) = written {
            tracing::error!(error = %chain(&error), "clients behind VLANs may not be reached");
        }
    }

    pub(super) fn write_ports(&mut self) {
        for (slot, ifindex) in self.next_hops.new_ports() {
            if let Err(error) = self.tables.put_port(slot, ifindex) {
                // The interface may be gone already; if not, its next event brings it up again.
                self.next_hops.forget_port(ifindex);
                tracing::error!(ifindex, error = %chain(&error), "no packet can be sent out by this interface");
            }
        }
    }

    pub(super) fn follow_hops(&mut self, changed: &[IpAddr]) -> Result<(), TableError> {
        for address in changed {
            report(*address, self.next_hops.hop(*address));
            let next_hops = &self.next_hops;
            let writes = self.layout.change_hop(*address, &|address| next_hops.hop(address));
            self.carry_out(&writes)?;
        }
        Ok(())
    }

    /// The next event of the network; give it to [`Director::digest`].
    pub(super) async fn event(&mut self) -> Option<Event> {
        self.next_hops.event().await
    }

    /// Takes in an event of the network.
    pub(super) async fn digest(&mut self, event: Event) {
        let changed = self.next_hops.digest(event).await;
        self.take_over_hops(&changed);
    }

    fn take_over_hops(&mut self, changed: &[IpAddr]) {
        self.write_ports();
        if let Err(error) = self.follow_hops(changed) {
            tracing::error!(error = %chain(&error), "cannot write next hops");
        }
    }

    /// An interface as it is now.
    pub(super) fn link(&self, ifindex: u32) -> Option<&Link> {
        self.next_hops.link(ifindex)
    }

    /// The interface that is called so now.
    pub(super) fn link_named(&self, name: &str) -> Option<(u32, &Link)> {
        self.next_hops.link_named(name)
    }

    /// Writes the wanted configuration to disk, whole.
    pub(super) fn save(&mut self) {
        self.saved.rewrite(&self.state);
    }

    /// What was appended is on the disk soon; nobody waits for it.
    fn sync_saved(&mut self) {
        if let Some(file) = self.saved.catch_up(&self.state) {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = file.sync_data() {
                    tracing::error!(%error, "the saved configuration may not be on the disk");
                }
            });
        }
    }

    /// Whether the packet path may have wishes.
    pub(super) fn may_have_wishes(&self) -> bool {
        self.kinds.has_any(Rules::MASQUERADE.and(Rules::TUNNELS))
    }

    /// Does what the packet path has wished for: next hops are found that replies wait for, and what routers have said of
    /// ways to servers is taken in.
    pub(super) async fn grant_wishes(&mut self) {
        let wanted = self.tables.WANTED;
        let mut changed = Vec::new();
        for place in (0..wanted.rows()).filter_map(|index| wanted.row(index)) {
            match Wanted(place).take() {
                Some(Wish::NextHop(client)) => self.next_hops.look_for(client).await,
                Some(Wish::PathMtu(server, mtu)) if self.next_hops.lower_mtu(server, mtu) => {
                    changed.push(server);
                }
                Some(Wish::PathMtu(..)) | None => {}
            }
        }
        self.take_over_hops(&changed);
    }

    /// What is to be done every second or so.
    pub(super) async fn keep_house(&mut self) {
        self.next_hops.watch_only(&self.state.server_addresses());
        let mut changed = self.next_hops.catch_up().await;
        changed.extend(self.next_hops.expire(Instant::now()).await);
        self.take_over_hops(&changed);
        self.next_hops.keep_alive().await;
        self.write_vlans();
        self.sync_saved();
        self.follow_pressure();
        self.follow_secure_tcp();
        self.follow_interfaces();
        self.forget_addresses();
        let loads = self.tables.LOADS;
        let entries = |id| load_of(&loads, id).total() + u64::from(templates_to(&loads, id));
        let (forgotten, writes) = self.layout.empty_trash(&entries, Instant::now());
        self.accounts.close_servers(&forgotten);
        if let Err(error) = self.carry_out(&writes) {
            tracing::error!(error = %chain(&error), "cannot clear away deleted servers");
        }
        if settings::kinds(&self.state, &self.layout) != self.kinds {
            self.write_settings();
        }
    }

    /// Rules for marks name interfaces, which may come and go.
    fn follow_interfaces(&mut self) {
        if self.state.marks.iter().all(|rule| rule.interface.is_none()) {
            return;
        }
        let rules = self.state.marks.clone();
        let planned = self.plan_marks(&rules);
        let written = planned.map_err(ChangeError::from).and_then(|writes| Ok(self.carry_out(&writes)?));
        if let Err(error) = written {
            tracing::error!(error = %chain(&error), "cannot write the rules for marks");
        }
    }

    /// Forgets what the schedulers lblc and lblcr need not remember any more.
    fn forget_addresses(&mut self) {
        if let Some(is_thorough) = self.oblivion.is_due(Instant::now())
            && let Err(error) = self.forget_now(is_thorough)
        {
            tracing::error!(error = %chain(&error), "cannot clear away what lblc and lblcr remember");
        }
    }

    fn forget_now(&mut self, is_thorough: bool) -> Result<(), TableError> {
        let sysctls = &self.state.sysctls;
        let expirations = Expirations {
            lblc: settings::expiration(sysctls.lblc_expiration, &self.clock),
            lblcr: settings::expiration(sysctls.lblcr_expiration, &self.clock),
            idle: self.clock.ticks_of(IDLE_S),
        };
        let rows = self.tables.cached()?;
        let gone = forgotten(&rows, &self.layout.schedulers(), expirations, self.clock.now(), is_thorough);
        gone.into_iter().try_for_each(|key| self.tables.forget_cached(key))
    }

    /// The automatic `secure_tcp`: on while there is pressure, and the setting's value tells (1 off, 2 on), as in IPVS.
    fn follow_secure_tcp(&mut self) {
        let value = if self.pressure.is_on() { 2 } else { 1 };
        if matches!(self.state.sysctls.secure_tcp, 1 | 2) && self.state.sysctls.secure_tcp != value {
            self.state.sysctls.secure_tcp = value;
            self.write_settings();
        }
    }

    /// Says when the table begins to be too small, and when it is large enough again.
    fn follow_pressure(&mut self) {
        let news = match hashed(&self.tables) {
            Ok(total) => self.pressure.look(total, Instant::now()),
            Err(error) => return tracing::error!(error = %chain(&error), "cannot read counters"),
        };
        match news {
            Some(News::Begun) => tracing::warn!(
                half_open = self.keeper.half_open::<V4>(),
                half_open_v6 = self.keeper.half_open::<V6>(),
                "the connection table has no room for some new connections: they go by consistent hash (a flood, or \
                --connections or --connections-v6 is too small; `lbxdp status` counts them)"
            ),
            Some(News::Over { packets, lasted }) => {
                tracing::info!(packets, ?lasted, "the connection table has room for all again");
            }
            None => {}
        }
    }

    /// One step of the rates.
    pub(super) fn estimate(&mut self) {
        if let Err(error) = self.step_rates() {
            tracing::error!(error = %chain(&error), "cannot read counters");
        }
    }

    fn step_rates(&mut self) -> Result<(), TableError> {
        let rows = self.tables.counter_rows(self.layout.all_server_ids())?;
        for id in self.layout.all_server_ids() {
            self.accounts.step_server(id, shown(self.tables.server_total(&rows, id)));
        }
        for key in self.state.services.keys() {
            let total = self.service_total(&rows, key);
            self.accounts.step_service(self.index(key), total);
        }
        self.total.step(&self.tables)
    }

    /// What a service shows: what its servers have counted while they were its servers, deleted ones too.
    fn service_total(&self, rows: &CounterRows, key: &ServiceKey) -> Counters {
        shown(self.tables.service_total(rows, self.index(key), self.counting_ids(key)))
    }

    /// The row of a service; of one that is not there a row that is in no table.
    fn index(&self, key: &ServiceKey) -> u32 {
        self.layout.index(key).unwrap_or(u32::MAX)
    }

    /// The servers that count for a service.
    fn counting_ids(&self, key: &ServiceKey) -> impl Iterator<Item = ServerId> {
        self.layout.server_ids(key).iter().copied().chain(self.layout.waiting_ids(key))
    }

    /// Waits until the next hops of new servers are known, or some have turned out not to answer at once.
    async fn wait_for_hops(&mut self, addresses: &[IpAddr]) {
        if self.waited_last.is_some_and(|last| last.elapsed() < PATIENCE_EVERY) {
            return;
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while addresses.iter().any(|address| !self.next_hops.hop(*address).is_usable()) {
            if let Ok(Some(event)) = tokio::time::timeout_at(deadline, self.next_hops.event()).await {
                self.digest(event).await;
            } else {
                self.waited_last = Some(Instant::now());
                return;
            }
        }
    }

    fn zero(&mut self, service: Option<&ServiceKey>) -> Result<(), TableError> {
        self.rows_epoch += 1;
        let keys = self.state.services.keys().filter(|key| service.is_none_or(|service| service == *key));
        for key in keys {
            for id in self.layout.server_ids(key) {
                self.tables.zero_server(*id)?;
                self.accounts.open_server(*id);
            }
            let index = self.index(key);
            self.tables.zero_service(index, self.counting_ids(key))?;
            self.accounts.open_service(index);
        }
        if service.is_none() { self.total.zero(&self.tables) } else { Ok(()) }
    }

    fn snapshot(&self) -> Result<Snapshot, TableError> {
        Ok(self.snapshot_of(&self.tables.counter_rows(self.layout.all_server_ids())?))
    }

    /// All services, by counters that were read already.
    pub(super) fn snapshot_of(&self, rows: &CounterRows) -> Snapshot {
        let services = self.state.services.iter().map(|(key, service)| {
            let ids = self.layout.server_ids(key);
            let servers = service.servers.iter().zip(ids).map(|(server, id)| {
                let load = load_of(&self.tables.LOADS, *id);
                ServerSnapshot {
                    server: *server,
                    active: load.active(),
                    inactive: load.inactive(),
                    persistent: templates_to(&self.tables.LOADS, *id),
                    counters: shown(self.tables.server_total(rows, *id)),
                    rates: self.accounts.server(*id),
                }
            });
            ServiceSnapshot {
                key: *key,
                options: service.options,
                counters: self.service_total(rows, key),
                rates: self.accounts.service(self.index(key)),
                servers: servers.collect(),
            }
        });
        Snapshot {
            table_size: self.tables.CONNECTIONS.rows(),
            hertz: self.clock.hertz(),
            services: services.collect(),
        }
    }

    pub(super) fn status(&self) -> Result<Status, TableError> {
        let not_forwarded = Reason::ALL.iter().filter(|reason| **reason != Reason::NotOurs);
        let not_forwarded = not_forwarded.map(|reason| {
            Ok(NotForwarded {
                reason: reason.name().into(),
                passed: reason.fate() == Fate::Pass,
                packets: match reason {
                    Reason::HeldLost => self.held.as_ref().map_or(0, HeldPackets::lost),
                    reason => self.tables.reason_count(*reason)?,
                },
            })
        });
        let overflows = Overflow::ALL.iter().map(|overflow| {
            Ok(Counted { name: overflow.name().into(), count: self.tables.overflow_count(*overflow)? })
        });
        let notices = Notice::ALL.iter().map(|notice| {
            Ok(Counted { name: notice.name().into(), count: self.tables.notice_count(*notice)? })
        });
        Ok(Status {
            interfaces: self.interfaces.clone(),
            table: self.table_status::<V4>(),
            table_v6: self.table_status::<V6>(),
            is_pressed: self.pressure.is_on(),
            overflows: overflows.collect::<Result<_, TableError>>()?,
            repaired: self.drift.repaired,
            unsaved: self.saved.trouble().map(Into::into),
            only_kept: only_kept(&self.state).into_iter().map(Into::into).collect(),
            next_hops: self
                .state
                .server_addresses()
                .into_iter()
                .map(|server| self.next_hop(server))
                .collect(),
            not_forwarded: not_forwarded.collect::<Result<_, TableError>>()?,
            notices: notices.collect::<Result<_, TableError>>()?,
        })
    }

    fn next_hop(&self, server: IpAddr) -> NextHop {
        let hop = self.next_hops.hop(server);
        let interface = || self.link(hop.ifindex).map(|link| link.name.clone()).unwrap_or_default();
        let way = match hop.mac {
            _ if hop.is_local => Way::Local,
            None => Way::Unknown,
            Some(mac) => Way::Out {
                mac: mac_text(mac),
                interface: interface(),
                vlans: hop.vlan.iter().flat_map(VlanTags::ids).collect(),
                mtu: hop.mtu,
            },
        };
        NextHop { server, way }
    }

    fn table_status<A: Address>(&self) -> TableStatus {
        let shape = shape::<A>(&self.tables.SETTINGS);
        let most = self.tables.connections::<A>().rows();
        let places = |buckets: u32| u64::from(buckets) * WAYS as u64;
        let counts = Counts::of::<A>(&self.tables.SERVERS, &self.tables.LOADS);
        TableStatus {
            connections: counts.connections,
            half_open: self.keeper.half_open::<A>(),
            entries: counts.entries(),
            places: places(shape.home()),
            most_places: places(most),
            is_growing: !shape.is_steady(),
            sweep: self.keeper.sweep::<A>(),
        }
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

    /// Makes the row of settings say what the state says.
    pub(super) fn write_settings(&mut self) {
        self.kinds = settings::kinds(&self.state, &self.layout);
        self.write_settings_of(&self.state);
    }

    fn write_settings_of(&self, state: &State) {
        if let Some(row) = self.tables.SETTINGS.row(0) {
            // The shapes are the keeper's.
            let cells = settings::row(state, self.kinds, self.seed, &self.clock).cells();
            for (at, cell) in
                cells.iter().enumerate().filter(|(at, _)| !matches!(*at, SHAPE_CELL | SHAPE_V6_CELL))
            {
                row.store(at, *cell);
            }
        }
    }
}

/// Whether a command may bring something of [`only_kept`]: looking for it is a walk through all services.
fn may_be_only_kept(command: &Command) -> bool {
    match command {
        Command::StartDaemon { .. } => true,
        Command::AddService { options, .. } | Command::EditService { options, .. } => {
            options.engine.is_some()
        }
        _ => false,
    }
}

/// What of the configuration is kept and listed without an effect on packets.
fn only_kept(state: &State) -> Vec<&'static str> {
    let goes_by_engine =
        |service: &Service| service.options.engine.is_some() && service.options.persistence.is_some();
    let kept = [
        (
            state.daemons.is_any(),
            "connections are not synchronized yet: the daemons of --start-daemon are kept and listed, but send and receive \
             nothing",
        ),
        (
            state.services.values().any(goes_by_engine),
            "--pe sip is kept and listed, but no packet is looked into for its Call-ID: clients stay at their servers by \
             their addresses (-p, -M), so all calls of a client are at one server",
        ),
    ];
    kept.into_iter().filter(|(is_there, _)| *is_there).map(|(_, words)| words).collect()
}

/// How often packets went by hash for want of room.
fn hashed(tables: &Tables) -> Result<u64, TableError> {
    Overflow::ALL
        .iter()
        .filter(|overflow| overflow.is_pressure())
        .try_fold(0u64, |sum, overflow| Ok(sum.wrapping_add(tables.overflow_count(*overflow)?)))
}

/// Logs what became of a next hop.
fn report(address: IpAddr, hop: Hop) {
    match hop.mac {
        Some(mac) => {
            tracing::info!(%address, mac = mac_text(mac), ifindex = hop.ifindex, mtu = hop.mtu, "next hop");
        }
        None if hop.is_local => tracing::info!(%address, "the server is the director itself"),
        None => tracing::warn!(%address, "next hop unknown: the server gets no connections while others can"),
    }
}

/// The address of the server that a command adds.
fn new_server(command: &Command) -> Option<IpAddr> {
    match command {
        Command::AddServer { server, .. } => Some(server.address),
        _ => None,
    }
}

/// A command as the operator would type it.
fn words(command: &Command) -> String {
    print(command, &mut Naming::numeric())
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
