//! What a `State` means in rows of the kernel's tables, and the ordered writes from one to the next.
//!
//! Order is everything: rows that nobody points to are written first, then the one write that points to them, then what
//! nobody needs any more goes. So a packet sees the old configuration of a service or the new one.

mod contents;
mod drift;
mod hop;
mod rows;
#[cfg(test)]
mod schedule_tests;
mod scheduling;
mod slots;
mod take_over;
#[cfg(test)]
mod take_over_tests;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use lbxdp_common::Scheduler;
use lbxdp_common::schedule::mh;
use lbxdp_common::server::{Load, ServerFlags, ServerId, ServerRow};
use lbxdp_common::service::{self, List, Member, ServiceFlags, ServiceRow, Shares};

use crate::state::{Server, Service, ServiceKey, State};
pub use contents::Contents;
pub use hop::Hop;
use rows::{Rows, Runs, ServerIds};
pub use take_over::{TakeOverError, TakenOver};
pub use write::{TurnChange, Write};

/// A deleted server's row is kept at least so long, as IPVS keeps its trash: a packet may be about to name it.
const TRASH_TIME: Duration = Duration::from_mins(2);

/// Why a state does not fit into the tables. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("no room for another service: the table is full")]
    ServicesFull,
    #[error("no room for another server: the table is full")]
    ServersFull,
    #[error("no room for the service's list of servers")]
    MembersFull,
    #[error("a service has at most {} servers", service::MAX_MEMBERS)]
    TooManyServers,
    #[error("a service of scheduler mh has at most {} servers, a slot of its table each", mh::SLOTS)]
    TooManyForMaglev,
}

/// Names a server for good: the trash knows it by this.
pub type ServerKey = (ServiceKey, IpAddr, u16);

/// What lies where.
#[derive(Clone, Debug)]
pub struct Layout {
    services: BTreeMap<ServiceKey, Laid>,
    gone: BTreeMap<ServerKey, Gone>,
    vips: BTreeSet<Ipv4Addr>,
    /// A service or a deleted server has come or gone.
    are_vips_dirty: bool,
    server_ids: ServerIds,
    service_rows: Rows,
    runs: Runs,
}

/// One service in the tables.
#[derive(Clone, Debug)]
struct Laid {
    index: u32,
    service: Service,
    list: List,
    /// In list order, as its servers; and so are `rows` and `members`.
    ids: Vec<ServerId>,
    rows: Vec<ServerRow>,
    members: Vec<Member>,
    /// The scheduler's table, and the hash slots: indices of members.
    table: Vec<u16>,
    slots: Vec<u16>,
}

/// A deleted server that connections may still point to.
#[derive(Clone, Debug)]
struct Gone {
    id: ServerId,
    row: ServerRow,
    since: Instant,
}

impl Layout {
    /// Empty tables of these sizes.
    pub fn new(servers: u32, services: u32, members: u32) -> Self {
        Self {
            services: BTreeMap::new(),
            gone: BTreeMap::new(),
            vips: BTreeSet::new(),
            are_vips_dirty: false,
            server_ids: ServerIds::new(servers),
            service_rows: Rows::new(0..services),
            runs: Runs::new(members),
        }
    }

    /// The ids of a service's servers, in list order.
    pub fn server_ids(&self, service: &ServiceKey) -> &[ServerId] {
        self.services.get(service).map_or(&[], |laid| &laid.ids)
    }

    /// Where the packets of all configured servers go, by the servers' addresses, as the rows say it; of two rows for one
    /// address that which knows more stands last.
    pub fn hops(&self) -> impl Iterator<Item = (IpAddr, Hop)> {
        let rows = self.services.values().flat_map(|laid| &laid.rows);
        let mut hops: Vec<_> = rows.map(|row| (IpAddr::V4(row.address.into()), Hop::from(row))).collect();
        hops.sort_by_key(|(_, hop)| hop.is_usable());
        hops.into_iter()
    }

    /// The index of a service's row.
    pub fn index(&self, service: &ServiceKey) -> Option<u32> {
        self.services.get(service).map(|laid| laid.index)
    }

    /// The schedulers of all services, by their rows' indices.
    pub fn schedulers(&self) -> BTreeMap<u32, Scheduler> {
        self.services.values().map(|laid| (laid.index, laid.service.scheduler)).collect()
    }

    /// The ids of a service's deleted servers that connections may point to.
    pub fn waiting_ids(&self, service: &ServiceKey) -> impl Iterator<Item = ServerId> {
        let first: ServerKey = (*service, IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let of_service = self.gone.range(first..).take_while(move |((key, ..), _)| *key == first.0);
        of_service.map(|(_, gone)| gone.id)
    }

    /// The ids of all servers that connections may point to, deleted ones included.
    pub fn all_server_ids(&self) -> impl Iterator<Item = ServerId> {
        let configured = self.services.values().flat_map(|laid| &laid.ids).copied();
        configured.chain(self.gone.values().map(|gone| gone.id))
    }

    /// Makes the tables mean `state`; says what to write, in order. An error leaves all as it was, but for services
    /// before the one that does not fit: a command touches only one.
    pub fn change(
        &mut self,
        state: &State,
        hop: &dyn Fn(IpAddr) -> Hop,
        now: Instant,
    ) -> Result<Vec<Write>, LayoutError> {
        let (mut writes, mut removals) = (Vec::new(), Vec::new());
        for (key, service) in &state.services {
            match self.services.get(key) {
                Some(laid) if laid.service == *service => {}
                _ => self.lay(*key, service, hop, now, &mut writes, &mut removals)?,
            }
        }
        let deleted: Vec<ServiceKey> =
            self.services.keys().filter(|key| !state.services.contains_key(key)).copied().collect();
        for key in deleted {
            self.delete(key, now, &mut removals);
        }
        self.change_vips(&mut writes, &mut removals);
        writes.append(&mut removals);
        Ok(writes)
    }

    /// The writes that tell packets of a changed next hop.
    pub fn change_hop(&mut self, address: IpAddr, hop: &dyn Fn(IpAddr) -> Hop) -> Vec<Write> {
        let mut writes = Vec::new();
        for (key, laid) in &mut self.services {
            let Laid { service, ids, rows, .. } = laid;
            let mut is_touched = false;
            for ((server, id), was) in service.servers.iter().zip(ids).zip(rows) {
                if server.address == address {
                    is_touched = true;
                    let row = server_row(key, server, *id, &hop(address), was.last_weight);
                    if row != *was {
                        *was = row;
                        writes.push(Write::Server { id: *id, row });
                    }
                }
            }
            if is_touched {
                let members = members(&laid.service.servers, &laid.ids, hop);
                if members != laid.members {
                    laid.slots = slots::slots(&laid.service.servers, &members, laid.list.slots());
                    laid.members = members;
                    writes.push(laid.run());
                }
            }
        }
        writes
    }

    /// Forgets deleted servers that no connection points to any more: which, and what is to be written.
    pub fn empty_trash(
        &mut self,
        load: &dyn Fn(ServerId) -> Load,
        now: Instant,
    ) -> (Vec<ServerId>, Vec<Write>) {
        let is_done =
            |gone: &Gone| now.duration_since(gone.since) >= TRASH_TIME && load(gone.id).total() == 0;
        let done: Vec<ServerKey> =
            self.gone.iter().filter(|(_, gone)| is_done(gone)).map(|(key, _)| *key).collect();
        let mut forgotten = Vec::new();
        let (mut writes, mut removals) = (Vec::new(), Vec::new());
        for key in &done {
            if let Some(gone) = self.gone.remove(key) {
                forgotten.push(gone.id);
                writes.push(Write::ForgetServer { id: gone.id, service: self.index(&key.0) });
                self.server_ids.give_back(gone.id);
                self.are_vips_dirty = true;
            }
        }
        self.change_vips(&mut writes, &mut removals);
        writes.append(&mut removals);
        (forgotten, writes)
    }

    /// Whether lists that were replaced wait for their last readers; see [`LayoutError::MembersFull`].
    pub fn is_waiting_for_readers(&self) -> bool {
        self.runs.are_resting()
    }

    /// No packet looks at replaced lists any more.
    pub fn readers_are_gone(&mut self) {
        self.runs.readers_are_gone();
    }

    /// Lays out a new or changed service.
    fn lay(
        &mut self,
        key: ServiceKey,
        service: &Service,
        hop: &dyn Fn(IpAddr) -> Hop,
        now: Instant,
        writes: &mut Vec<Write>,
        removals: &mut Vec<Write>,
    ) -> Result<(), LayoutError> {
        let old = self.services.get(&key).cloned();
        self.check_room(key, service, old.as_ref())?;
        let length = u16::try_from(service.servers.len()).map_err(|_| LayoutError::TooManyServers)?;
        if service.scheduler == Scheduler::MaglevHashing && u32::from(length) > mh::SLOTS {
            return Err(LayoutError::TooManyForMaglev);
        }
        let list = self.runs.take(length, service.scheduler).ok_or(LayoutError::MembersFull)?;
        let waiting = self.waiting_ids(&key).collect();
        let (ids, rows) = self.name_servers(key, service, old.as_ref(), hop, writes);
        let index = match &old {
            Some(old) => old.index,
            None => self.service_rows.take().ok_or(LayoutError::ServicesFull)?,
        };
        let members = members(&service.servers, &ids, hop);
        let table = scheduling::table(service.scheduler, &rows, &members);
        let slots = slots::slots(&service.servers, &members, list.slots());
        let laid = Laid { index, service: service.clone(), list, ids, rows, members, table, slots };
        let shares = Shares::of(&laid.members);
        writes.push(laid.run());
        writes.push(laid.row());
        match &old {
            Some(old) if old.service.scheduler == service.scheduler => {
                let (from, to) = (old.members.clone(), laid.members.clone());
                let change = TurnChange::List { scheduler: service.scheduler, from, to, shares };
                writes.push(Write::Turn { index, change });
            }
            _ => writes.push(Write::Turn {
                index,
                change: TurnChange::Start { scheduler: service.scheduler, shares },
            }),
        }
        if let Some(old) = &old {
            self.runs.give_back(old.list);
            self.bury(key, old, service, now, removals);
        } else {
            self.are_vips_dirty = true;
            writes.push(Write::FreshService { index, waiting });
            writes.extend(service_id(&key).map(|key| Write::ServiceId { key, index }));
        }
        self.services.insert(key, laid);
        Ok(())
    }

    /// Whether rows are left for a service and its servers; asked before anything changes.
    fn check_room(&self, key: ServiceKey, service: &Service, old: Option<&Laid>) -> Result<(), LayoutError> {
        if old.is_none() && self.service_rows.left() == 0 {
            return Err(LayoutError::ServicesFull);
        }
        let is_new = |server: &&Server| {
            old.is_none_or(|old| old.find(server).is_none())
                && !self.gone.contains_key(&(key, server.address, server.port))
        };
        if service.servers.iter().filter(is_new).count() > self.server_ids.left() {
            return Err(LayoutError::ServersFull);
        }
        Ok(())
    }

    /// Gives every server of a service its id, an old one where it has one, and writes the rows that are new.
    fn name_servers(
        &mut self,
        key: ServiceKey,
        service: &Service,
        old: Option<&Laid>,
        hop: &dyn Fn(IpAddr) -> Hop,
        writes: &mut Vec<Write>,
    ) -> (Vec<ServerId>, Vec<ServerRow>) {
        let (mut ids, mut rows) = (Vec::new(), Vec::new());
        for server in &service.servers {
            let known = old.and_then(|old| old.find(server));
            let (id, last_weight) = if let Some((id, row)) = known {
                (id, row.last_weight)
            } else if let Some(gone) = self.gone.remove(&(key, server.address, server.port)) {
                (gone.id, gone.row.last_weight)
            } else {
                // There is one: `check_room` has counted.
                let id = self.server_ids.take().unwrap_or_default();
                writes.push(Write::FreshServer { id });
                (id, 0)
            };
            let row = server_row(&key, server, id, &hop(server.address), last_weight);
            if known.is_none_or(|(_, was)| was != row) {
                writes.push(Write::Server { id, row });
            }
            ids.push(id);
            rows.push(row);
        }
        (ids, rows)
    }

    /// Sends the servers that `service` no longer has to the trash.
    fn bury(
        &mut self,
        key: ServiceKey,
        old: &Laid,
        service: &Service,
        now: Instant,
        removals: &mut Vec<Write>,
    ) {
        for ((server, id), row) in old.service.servers.iter().zip(&old.ids).zip(&old.rows) {
            if service.servers.iter().any(|kept| (kept.address, kept.port) == (server.address, server.port)) {
                continue;
            }
            let row = waiting_row(*row);
            removals.push(Write::Server { id: *id, row });
            self.gone.insert((key, server.address, server.port), Gone { id: *id, row, since: now });
        }
    }

    fn delete(&mut self, key: ServiceKey, now: Instant, removals: &mut Vec<Write>) {
        let Some(laid) = self.services.remove(&key) else {
            return;
        };
        self.are_vips_dirty = true;
        removals.extend(service_id(&key).map(|key| Write::RemoveServiceId { key }));
        let empty = Service { scheduler: laid.service.scheduler, servers: Vec::new() };
        self.bury(key, &laid, &empty, now, removals);
        self.runs.give_back(laid.list);
        self.service_rows.give_back(laid.index);
    }

    /// An address is a VIP while a service has it, or a connection of a deleted server may. Without any service there is
    /// none: as in IPVS, the stack then gets what is left of the connections.
    fn change_vips(&mut self, writes: &mut Vec<Write>, removals: &mut Vec<Write>) {
        if !std::mem::take(&mut self.are_vips_dirty) {
            return;
        }
        let mut wanted = BTreeSet::new();
        if !self.services.is_empty() {
            let keys = self.services.keys().chain(self.gone.keys().map(|(service, ..)| service));
            wanted.extend(keys.filter_map(|key| ipv4(key.address)));
        }
        writes.extend(wanted.difference(&self.vips).map(|vip| Write::Vip(*vip)));
        removals.extend(self.vips.difference(&wanted).map(|vip| Write::RemoveVip(*vip)));
        self.vips = wanted;
    }
}

impl Laid {
    fn find(&self, server: &Server) -> Option<(ServerId, ServerRow)> {
        let mut servers = self.ids.iter().zip(&self.rows).zip(&self.service.servers);
        let is_it = |was: &Server| (was.address, was.port) == (server.address, server.port);
        servers.find(|(_, was)| is_it(was)).map(|((id, row), _)| (*id, *row))
    }

    /// The write of its list, with the tables that follow from it.
    fn run(&self) -> Write {
        let Self { members, table, slots, .. } = self.clone();
        Write::Members { list: self.list, members, table, slots }
    }

    /// The write of its row.
    fn row(&self) -> Write {
        let row = ServiceRow {
            list: self.list,
            shares: Shares::of(&self.members),
            flags: flags(&self.service),
            ..ServiceRow::default()
        };
        Write::Service { index: self.index, row }
    }
}

/// The flags of a service's row. None can be configured yet.
fn flags(_: &Service) -> ServiceFlags {
    ServiceFlags::default()
}

/// A list as the schedulers see it. A server whose next hop is unknown is avoided while others can be reached.
fn members(servers: &[Server], ids: &[ServerId], hop: &dyn Fn(IpAddr) -> Hop) -> Vec<Member> {
    let can_be_reached = |server: &Server| hop(server.address).is_usable();
    let others_can = servers.iter().any(|server| server.weight > 0 && can_be_reached(server));
    servers
        .iter()
        .zip(ids)
        .map(|(server, id)| {
            let member = Member::new(*id, server.weight);
            if others_can && !can_be_reached(server) { member.avoided() } else { member }
        })
        .collect()
}

/// The row of a configured server whose last weight above 0 was so much.
fn server_row(key: &ServiceKey, server: &Server, id: ServerId, hop: &Hop, last_weight: u32) -> ServerRow {
    let mut flags = ServerFlags::AVAILABLE;
    if server.weight == 0 {
        flags = flags.with(ServerFlags::QUIESCENT);
    }
    if hop.is_local {
        flags = flags.with(ServerFlags::LOCAL);
    }
    ServerRow {
        next_hop: hop.mac.unwrap_or_default(),
        source: hop.source,
        port: hop.port,
        flags,
        id: id.0,
        ifindex: hop.ifindex,
        address: ipv4(server.address).unwrap_or(Ipv4Addr::UNSPECIFIED).octets(),
        port_number: server.port.to_be_bytes(),
        forward: server.forward.raw(),
        service: service_id(key).unwrap_or_default(),
        last_weight: if server.weight > 0 { server.weight } else { last_weight },
        ..ServerRow::default()
    }
}

/// The row of a server once it is deleted.
fn waiting_row(row: ServerRow) -> ServerRow {
    ServerRow { flags: row.flags.without(ServerFlags::AVAILABLE), ..row }
}

fn service_id(key: &ServiceKey) -> Option<service::ServiceKey> {
    let vip = ipv4(key.address)?.octets();
    Some(service::ServiceKey { vip, port: key.port.to_be_bytes(), protocol: key.protocol.raw(), pad: 0 })
}

fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}
