//! What a `State` means in rows of the kernel's tables, and the ordered writes from one to the next.
//!
//! Order is everything: rows that nobody points to are written first, then the one write that points to them, then what
//! nobody needs any more goes. So a packet sees the old configuration of a service or the new one.

mod hop;
mod rows;
mod slots;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use lbxdp_common::server::{Load, ServerFlags, ServerId, ServerRow};
use lbxdp_common::service::{self, List, Member, ServiceRow, Shares};

use crate::state::{Server, Service, ServiceKey, State};
pub use hop::Hop;
use rows::{Rows, Runs, ServerIds};
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
    /// In list order, as its servers.
    ids: Vec<ServerId>,
    members: Vec<Member>,
}

/// A deleted server that connections may still point to.
#[derive(Clone, Debug)]
struct Gone {
    id: ServerId,
    server: Server,
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
            self.delete(key, hop, now, &mut removals);
        }
        self.change_vips(&mut writes, &mut removals);
        writes.append(&mut removals);
        Ok(writes)
    }

    /// The writes that tell packets of a changed next hop.
    pub fn change_hop(&mut self, address: IpAddr, hop: &dyn Fn(IpAddr) -> Hop) -> Vec<Write> {
        let mut writes = Vec::new();
        for laid in self.services.values_mut() {
            let mut is_touched = false;
            for (server, id) in laid.service.servers.iter().zip(&laid.ids) {
                if server.address == address {
                    is_touched = true;
                    writes.push(Write::Server { id: *id, row: server_row(server, *id, &hop(address), true) });
                }
            }
            if is_touched {
                let members = members(&laid.service.servers, &laid.ids, hop);
                if members != laid.members {
                    writes.push(run(laid.list, &laid.service.servers, &members));
                    laid.members = members;
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
        let is_done = |gone: &Gone| now.duration_since(gone.since) >= TRASH_TIME && load(gone.id) == Load(0);
        let done: Vec<ServerKey> =
            self.gone.iter().filter(|(_, gone)| is_done(gone)).map(|(key, _)| *key).collect();
        let mut forgotten = Vec::new();
        for key in &done {
            if let Some(gone) = self.gone.remove(key) {
                forgotten.push(gone.id);
                self.server_ids.give_back(gone.id);
                self.are_vips_dirty = true;
            }
        }
        let (mut writes, mut removals) = (Vec::new(), Vec::new());
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
        let list = self.runs.take(length).ok_or(LayoutError::MembersFull)?;
        let ids = self.name_servers(key, service, old.as_ref(), hop, writes);
        let index = match &old {
            Some(old) => old.index,
            None => self.service_rows.take().ok_or(LayoutError::ServicesFull)?,
        };
        let members = members(&service.servers, &ids, hop);
        let shares = Shares::of(&members);
        writes.push(run(list, &service.servers, &members));
        let row = ServiceRow { list, shares, scheduler: service.scheduler.raw(), ..ServiceRow::default() };
        writes.push(Write::Service { index, row });
        match &old {
            Some(old) if old.service.scheduler == service.scheduler => {
                let (from, to) = (old.members.clone(), members.clone());
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
            self.bury(key, old, service, hop, now, removals);
        } else {
            self.are_vips_dirty = true;
            writes.extend(service_id(&key).map(|key| Write::ServiceId { key, index }));
        }
        self.services.insert(key, Laid { index, service: service.clone(), list, ids, members });
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
    ) -> Vec<ServerId> {
        let mut ids = Vec::with_capacity(service.servers.len());
        for server in &service.servers {
            let known = old.and_then(|old| old.find(server));
            if let Some((id, was)) = known {
                let is_same_row = was.forward == server.forward && (was.weight == 0) == (server.weight == 0);
                if !is_same_row {
                    writes
                        .push(Write::Server { id, row: server_row(server, id, &hop(server.address), true) });
                }
                ids.push(id);
                continue;
            }
            let id = if let Some(gone) = self.gone.remove(&(key, server.address, server.port)) {
                gone.id
            } else {
                // There is one: `check_room` has counted.
                let id = self.server_ids.take().unwrap_or_default();
                writes.push(Write::FreshServer { id });
                id
            };
            writes.push(Write::Server { id, row: server_row(server, id, &hop(server.address), true) });
            ids.push(id);
        }
        ids
    }

    /// Sends the servers that `service` no longer has to the trash.
    fn bury(
        &mut self,
        key: ServiceKey,
        old: &Laid,
        service: &Service,
        hop: &dyn Fn(IpAddr) -> Hop,
        now: Instant,
        removals: &mut Vec<Write>,
    ) {
        for (server, id) in old.service.servers.iter().zip(&old.ids) {
            if service.servers.iter().any(|kept| (kept.address, kept.port) == (server.address, server.port)) {
                continue;
            }
            removals
                .push(Write::Server { id: *id, row: server_row(server, *id, &hop(server.address), false) });
            self.gone
                .insert((key, server.address, server.port), Gone { id: *id, server: *server, since: now });
        }
    }

    fn delete(
        &mut self,
        key: ServiceKey,
        hop: &dyn Fn(IpAddr) -> Hop,
        now: Instant,
        removals: &mut Vec<Write>,
    ) {
        let Some(laid) = self.services.remove(&key) else {
            return;
        };
        self.are_vips_dirty = true;
        removals.extend(service_id(&key).map(|key| Write::RemoveServiceId { key }));
        let empty = Service { scheduler: laid.service.scheduler, servers: Vec::new() };
        self.bury(key, &laid, &empty, hop, now, removals);
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
            let of_gone = self.gone.iter().filter(|(_, gone)| !gone.server.address.is_unspecified());
            let keys = self.services.keys().chain(of_gone.map(|((service, ..), _)| service));
            wanted.extend(keys.filter_map(|key| ipv4(key.address)));
        }
        writes.extend(wanted.difference(&self.vips).map(|vip| Write::Vip(*vip)));
        removals.extend(self.vips.difference(&wanted).map(|vip| Write::RemoveVip(*vip)));
        self.vips = wanted;
    }
}

impl Laid {
    fn find(&self, server: &Server) -> Option<(ServerId, &Server)> {
        let mut pairs = self.ids.iter().zip(&self.service.servers);
        let (id, was) = pairs.find(|(_, was)| (was.address, was.port) == (server.address, server.port))?;
        Some((*id, was))
    }
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

/// The write of a service's list, with the hash slots that follow from it.
fn run(list: List, servers: &[Server], members: &[Member]) -> Write {
    Write::Members { list, members: members.to_vec(), slots: slots::slots(servers, members, list.slots()) }
}

fn server_row(server: &Server, id: ServerId, hop: &Hop, is_available: bool) -> ServerRow {
    let mut flags = ServerFlags::default();
    if is_available {
        flags = flags.with(ServerFlags::AVAILABLE);
    }
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
        ..ServerRow::default()
    }
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
