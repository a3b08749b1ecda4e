//! What a `State` means in rows of the kernel's tables, and the ordered writes from one to the next.
//!
//! Order is everything: rows that nobody points to are written first, then the one write that points to them, then what
//! nobody needs any more goes. So a packet sees the old configuration of a service or the new one.

mod addresses;
mod contents;
mod drift;
mod hop;
mod marks;
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
mod users;
mod ways;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use lbxdp_common::overload::Thresholds;
use lbxdp_common::schedule::mh;
use lbxdp_common::server::{ServerFlags, ServerId, ServerRow};
use lbxdp_common::service::{self, List, Member, ServiceFlags, ServiceRow, Shares};
use lbxdp_common::{Protocol, Scheduler};

use crate::state::{Endpoint, Family, Mark, MarkRule, Options, Server, Service, ServiceKey, State, Tunnel};
use crate::tables::AddressSet;
use addresses::{Addresses, Families};
pub use contents::Contents;
pub use hop::{Hop, Tag, VlanTags};
pub use marks::IndexOf;
use marks::Marks;
use rows::{Rows, Runs, ServerIds};
pub(crate) use take_over::service_key;
pub use take_over::{TakeOverError, TakenOver};
use users::Users;
use ways::Ways;
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
    #[error("no room for another rule for marks: the table is full")]
    MarksFull,
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
    users: Users,
    gone: BTreeMap<ServerKey, Gone>,
    vips: Addresses,
    ways: Ways,
    server_ids: ServerIds,
    service_rows: Rows,
    runs: Runs,
    marks: Marks,
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

/// Where the servers of a list stand in it, by address and port.
type Places = HashMap<(IpAddr, u16), usize>;

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
            users: Users::default(),
            gone: BTreeMap::new(),
            vips: Addresses::new(AddressSet::Vips),
            ways: Ways::new(Addresses::new(AddressSet::Sources)),
            server_ids: ServerIds::new(servers),
            service_rows: Rows::new(0..services),
            runs: Runs::new(members),
            marks: Marks::default(),
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
        let mut hops: Vec<_> = rows.map(|row| (row.ip(), Hop::from(row))).collect();
        hops.sort_by_key(|(_, hop)| hop.is_usable());
        hops.into_iter()
    }

    /// The index of a service's row.
    pub fn index(&self, service: &ServiceKey) -> Option<u32> {
        self.services.get(service).map(|laid| laid.index)
    }

    /// The schedulers of all services, by their rows' indices.
    pub fn schedulers(&self) -> BTreeMap<u32, Scheduler> {
        self.services.values().map(|laid| (laid.index, laid.service.options.scheduler)).collect()
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
        Ok(self.in_order(writes, removals))
    }

    /// As [`Layout::change`], for a state of which no service but this one is another than before. An error leaves all as it
    /// was.
    pub fn change_service(
        &mut self,
        key: ServiceKey,
        service: Option<&Service>,
        hop: &dyn Fn(IpAddr) -> Hop,
        now: Instant,
    ) -> Result<Vec<Write>, LayoutError> {
        let (mut writes, mut removals) = (Vec::new(), Vec::new());
        let laid = self.services.get(&key).map(|laid| &laid.service);
        match service {
            _ if laid == service => {}
            Some(service) => self.lay(key, service, hop, now, &mut writes, &mut removals)?,
            None => self.delete(key, now, &mut removals),
        }
        Ok(self.in_order(writes, removals))
    }

    /// Makes the tables mean these rules for marks, the most special one first.
    pub fn change_marks(
        &mut self,
        rules: &[MarkRule],
        index_of: IndexOf<'_>,
    ) -> Result<Vec<Write>, LayoutError> {
        let before: Vec<IpAddr> = self.marks.addresses().collect();
        let rows = self.marks.change(rules, index_of)?;
        if rows.is_empty() {
            return Ok(rows);
        }
        let now: Vec<IpAddr> = self.marks.addresses().collect();
        for address in now {
            self.vips.begin_use(Some(address));
        }
        for address in before {
            self.vips.end_use(Some(address));
        }
        Ok(self.in_order(rows, Vec::new()))
    }

    /// The rules for marks that the tables mean, interfaces by their names now.
    pub fn mark_rules(&self, name_of: &dyn Fn(u32) -> Option<String>) -> Vec<MarkRule> {
        self.marks.rules(name_of)
    }

    /// The writes that tell packets of changed next hops. What they cost together is no more than the lists they stand in.
    pub fn change_hops(&mut self, addresses: &[IpAddr], hop: &dyn Fn(IpAddr) -> Hop) -> Vec<Write> {
        let changed: HashSet<&IpAddr> = addresses.iter().collect();
        let touched: BTreeSet<ServiceKey> =
            addresses.iter().flat_map(|address| self.users.of(*address)).collect();
        let mut writes = Vec::new();
        for key in &touched {
            let Some(laid) = self.services.get_mut(key) else { continue };
            let Laid { service, ids, rows, .. } = laid;
            for ((server, id), was) in service.servers.iter().zip(ids).zip(rows) {
                if changed.contains(&server.address) {
                    let row = server_row(key, server, *id, &hop(server.address), Some(was));
                    if row != *was {
                        *was = row;
                        writes.push(Write::Server { id: *id, row });
                    }
                }
            }
            let members = members(&laid.service.servers, &laid.ids, hop);
            if members != laid.members {
                laid.slots = slots::slots(&laid.service.servers, &members, laid.list.slots());
                laid.members = members;
                writes.push(laid.run());
            }
        }
        writes
    }

    /// Forgets deleted servers that no connection and no template points to any more (`entries` counts them): which, and what is to be written.
    pub fn empty_trash(
        &mut self,
        entries: &dyn Fn(ServerId) -> u64,
        now: Instant,
    ) -> (Vec<ServerId>, Vec<Write>) {
        let is_done = |gone: &Gone| now.duration_since(gone.since) >= TRASH_TIME && entries(gone.id) == 0;
        let done: Vec<ServerKey> =
            self.gone.iter().filter(|(_, gone)| is_done(gone)).map(|(key, _)| *key).collect();
        let (mut forgotten, mut writes) = (Vec::new(), Vec::new());
        for key in &done {
            if let Some(gone) = self.gone.remove(key) {
                forgotten.push(gone.id);
                writes.push(Write::ForgetServer { id: gone.id, service: self.index(&key.0) });
                self.server_ids.give_back(gone.id);
                self.vips.end_use(key.0.address());
                self.ways.change(Some(&gone.row), None);
            }
        }
        for (key, id) in self.ways.settled(entries, now) {
            writes.extend(self.settle(&key, id));
        }
        (forgotten, self.in_order(writes, Vec::new()))
    }

    /// All connections of a server go to it as its row says.
    fn settle(&mut self, key: &ServiceKey, id: ServerId) -> Option<Write> {
        let laid = self.services.get_mut(key)?;
        let row = laid.rows.iter_mut().find(|row| row.id == id.0)?;
        let was = *row;
        row.flags = was.flags.without_old_methods();
        self.ways.change(Some(&was), Some(row));
        Some(Write::Server { id, row: *row })
    }

    /// Whether some connection may go by VS/NAT: one of a server that is edited or deleted, too.
    pub fn may_masquerade(&self) -> bool {
        self.ways.may_masquerade()
    }

    /// Whether some connection may go by VS/TUN, likewise.
    pub fn may_tunnel(&self) -> bool {
        self.ways.may_tunnel()
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
        let old = self.services.remove(&key);
        let mut known = old.as_ref().map_or_else(HashMap::new, Laid::places);
        let list = match self.room(key, service, old.is_none(), &known) {
            Ok(list) => list,
            Err(error) => {
                self.services.extend(old.map(|old| (key, old)));
                return Err(error);
            }
        };
        let waiting = self.waiting_ids(&key).collect();
        let (ids, rows) = self.name_servers(key, service, old.as_ref(), &mut known, hop, now, writes);
        let index = match &old {
            Some(old) => old.index,
            None => self.service_rows.take().ok_or(LayoutError::ServicesFull)?,
        };
        let members = members(&service.servers, &ids, hop);
        let table = scheduling::table(service.options.scheduler, &rows, &members);
        let slots = slots::slots(&service.servers, &members, list.slots());
        let laid = Laid { index, service: service.clone(), list, ids, rows, members, table, slots };
        writes.push(laid.run());
        writes.push(laid.row(&key));
        match &old {
            Some(old) if old.service.options.scheduler == service.options.scheduler => {
                let change = TurnChange::List {
                    scheduler: service.options.scheduler,
                    from: old.members.clone(),
                    to: laid.members.clone(),
                    shares: shares_of_steps(&old.members, &laid.members),
                };
                writes.push(Write::Turn { index, change });
            }
            _ => {
                let shares = Shares::of(&laid.members);
                let change = TurnChange::Start { scheduler: service.options.scheduler, shares };
                writes.push(Write::Turn { index, change });
            }
        }
        if let Some(old) = &old {
            self.runs.give_back(old.list);
            let mut deleted: Vec<usize> = known.into_values().collect();
            deleted.sort_unstable();
            self.bury(key, old, deleted, now, removals);
        } else {
            self.vips.begin_use(key.address());
            writes.push(Write::FreshService { index, waiting });
            writes.push(Write::ServiceId { key: service_id(&key), index });
        }
        self.services.insert(key, laid);
        Ok(())
    }

    /// Takes a run for a service's list, if rows are left for all that the service needs; nothing else has changed then.
    fn room(
        &mut self,
        key: ServiceKey,
        service: &Service,
        is_new: bool,
        known: &Places,
    ) -> Result<List, LayoutError> {
        if is_new && self.service_rows.left() == 0 {
            return Err(LayoutError::ServicesFull);
        }
        let is_new = |server: &&Server| {
            !known.contains_key(&(server.address, server.port))
                && !self.gone.contains_key(&(key, server.address, server.port))
        };
        if service.servers.iter().filter(is_new).count() > self.server_ids.left() {
            return Err(LayoutError::ServersFull);
        }
        let length = u16::try_from(service.servers.len()).map_err(|_| LayoutError::TooManyServers)?;
        if service.options.scheduler == Scheduler::MaglevHashing && u32::from(length) > mh::SLOTS {
            return Err(LayoutError::TooManyForMaglev);
        }
        self.runs.take(length, service.options.scheduler).ok_or(LayoutError::MembersFull)
    }

    /// Gives every server of a service its id, an old one where it has one, and writes the rows that are new. Of the places in
    /// the old list those are left whose servers the service no longer has.
    #[expect(clippy::too_many_arguments, reason = "what a change of one service is made of")]
    fn name_servers(
        &mut self,
        key: ServiceKey,
        service: &Service,
        old: Option<&Laid>,
        known: &mut Places,
        hop: &dyn Fn(IpAddr) -> Hop,
        now: Instant,
        writes: &mut Vec<Write>,
    ) -> (Vec<ServerId>, Vec<ServerRow>) {
        let (mut ids, mut rows) = (Vec::new(), Vec::new());
        for server in &service.servers {
            let place = known.remove(&(server.address, server.port));
            let known = old.zip(place).and_then(|(old, place)| old.at(place));
            if known.is_none() {
                self.users.begin(server.address, key);
            }
            let (id, was) = if let Some((id, row, _)) = known {
                (id, Some(row))
            } else if let Some(gone) = self.gone.remove(&(key, server.address, server.port)) {
                self.vips.end_use(key.address());
                (gone.id, Some(gone.row))
            } else {
                // There is one: `check_room` has counted.
                let id = self.server_ids.take().unwrap_or_default();
                writes.push(Write::FreshServer { id });
                (id, None)
            };
            let row = server_row(&key, server, id, &hop(server.address), was.as_ref());
            self.ways.change(was.as_ref(), Some(&row));
            let goes_on = known.is_some_and(|(_, was, _)| was.flags.method() == row.flags.method());
            if !goes_on {
                self.ways.remember(key, &row, now);
            }
            if known.is_none_or(|(_, was, _)| was != row) {
                writes.push(Write::Server { id, row });
            }
            let thresholds = thresholds(server);
            if known.is_none_or(|(_, _, was)| self::thresholds(was) != thresholds) {
                writes.push(Write::Thresholds { id, thresholds });
            }
            ids.push(id);
            rows.push(row);
        }
        (ids, rows)
    }

    /// Sends the servers at these places of an old list to the trash.
    fn bury(
        &mut self,
        key: ServiceKey,
        old: &Laid,
        places: impl IntoIterator<Item = usize>,
        now: Instant,
        removals: &mut Vec<Write>,
    ) {
        for (id, row, server) in places.into_iter().filter_map(|place| old.at(place)) {
            self.users.end(server.address, key);
            let row = waiting_row(row);
            removals.push(Write::Server { id, row });
            if self.gone.insert((key, server.address, server.port), Gone { id, row, since: now }).is_none() {
                self.vips.begin_use(key.address());
            }
        }
    }

    fn delete(&mut self, key: ServiceKey, now: Instant, removals: &mut Vec<Write>) {
        let Some(laid) = self.services.remove(&key) else {
            return;
        };
        self.vips.end_use(key.address());
        removals.push(Write::RemoveServiceId { key: service_id(&key) });
        self.bury(key, &laid, 0..laid.ids.len(), now, removals);
        self.runs.give_back(laid.list);
        self.service_rows.give_back(laid.index);
    }

    /// The writes of a change and its removals, with those of the addresses that come and go: a source before the first
    /// packet can go to it, a VIP once its packets find their service.
    fn in_order(&mut self, writes: Vec<Write>, removals: Vec<Write>) -> Vec<Write> {
        let families = self.families();
        let (vips, old_vips) = self.vips.change(families);
        let (sources, old_sources) = self.ways.change_sources(families);
        [sources, writes, vips, removals, old_vips, old_sources].concat()
    }

    /// The families of which there are services.
    fn families(&self) -> Families {
        // Of each kind of services the first that may be of the family; keys are in order.
        let is_there = |first: ServiceKey| {
            let next = self.services.range(first..).next();
            next.is_some_and(|(key, _)| key.family() == first.family())
        };
        let has = |lowest: IpAddr| {
            let family = lowest.into();
            let at_addresses = Protocol::ALL.iter().map(|protocol| ServiceKey::at(*protocol, lowest, 0));
            at_addresses.chain([ServiceKey::Mark(Mark { family, mark: 0 })]).any(is_there)
        };
        Families { v4: has(Ipv4Addr::UNSPECIFIED.into()), v6: has(Ipv6Addr::UNSPECIFIED.into()) }
    }
}

impl Laid {
    /// Where its servers stand in the list.
    fn places(&self) -> Places {
        let servers = self.service.servers.iter().enumerate();
        servers.map(|(place, server)| ((server.address, server.port), place)).collect()
    }

    /// The server at a place in the list.
    fn at(&self, place: usize) -> Option<(ServerId, ServerRow, &Server)> {
        Some((*self.ids.get(place)?, *self.rows.get(place)?, self.service.servers.get(place)?))
    }

    /// The write of its list, with the tables that follow from it.
    fn run(&self) -> Write {
        let (members, table, slots) = (self.members.clone(), self.table.clone(), self.slots.clone());
        Write::Members { list: self.list, members, table, slots }
    }

    /// The write of its row.
    fn row(&self, key: &ServiceKey) -> Write {
        let row = ServiceRow {
            list: self.list,
            shares: Shares::of(&self.members),
            flags: flags(&self.service),
            persistence: persistence(&self.service),
            key: service_id(key),
            ..ServiceRow::default()
        };
        Write::Service { index: self.index, row }
    }
}

/// What wrr is told of one after the other when a list becomes another. Servers that were only added were added one by one, the
/// last one to stand at the head: many at once are to lead to the same turn.
fn shares_of_steps(from: &[Member], to: &[Member]) -> Vec<Shares> {
    let added = to.len().saturating_sub(from.len());
    let (new, rest) = to.split_at(added);
    let ids = |members: &[Member]| members.iter().map(|member| member.server()).collect::<Vec<_>>();
    if new.is_empty() || ids(rest) != ids(from) {
        return vec![Shares::of(to)];
    }
    let grown = new.iter().rev().scan(Shares::of(rest), |shares, member| {
        *shares = shares.with(*member);
        Some(*shares)
    });
    grown.collect()
}

/// The flags of a service's row. Those of `-b` are IPVS's numbers already.
fn flags(service: &Service) -> ServiceFlags {
    let Options { sched_flags, one_packet, persistence, .. } = service.options;
    let has_thresholds = service.servers.iter().any(|server| server.upper > 0);
    ServiceFlags(sched_flags)
        .with_if(ServiceFlags::ONE_PACKET, one_packet)
        .with_if(ServiceFlags::PERSISTENT, persistence.is_some())
        .with_if(ServiceFlags::HAS_THRESHOLDS, has_thresholds)
}

/// What is said of a service's templates in its row.
fn persistence(service: &Service) -> service::Persistence {
    service.options.persistence.map_or_else(service::Persistence::default, |persistence| {
        service::Persistence { seconds: persistence.timeout_s, netmask: persistence.netmask.to_be_bytes() }
    })
}

/// A server's thresholds as the tables have them.
const fn thresholds(server: &Server) -> Thresholds {
    Thresholds { upper: server.upper, lower: server.lower }
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

/// The row of a configured server, with what remains of the row it had.
fn server_row(
    key: &ServiceKey,
    server: &Server,
    id: ServerId,
    hop: &Hop,
    was: Option<&ServerRow>,
) -> ServerRow {
    let mut flags = ServerFlags::AVAILABLE;
    if server.weight == 0 {
        flags = flags.with(ServerFlags::QUIESCENT);
    }
    let flags = flags
        .with_if(ServerFlags::LOCAL, hop.is_local)
        .with_if(ServerFlags::TAGGED, hop.vlan.is_some())
        .with_if(ServerFlags::TWICE_TAGGED, hop.vlan.is_some_and(|tags| tags.inner.is_some()))
        .with_if(ServerFlags::IPV6, server.address.is_ipv6())
        .by(server.forward.into());
    let flags = was.map_or(flags, |was| flags.after(was.flags));
    let last_weight = was.map_or(0, |was| was.last_weight);
    ServerRow {
        next_hop: hop.mac.unwrap_or_default(),
        source: hop.source,
        port: hop.port,
        flags,
        id: id.0,
        ifindex: hop.ifindex,
        mtu: if hop.mtu == 0 { ServerRow::MTU_UNKNOWN } else { hop.mtu },
        tunnel: tunnel(server.tunnel),
        tunnel_source: hop.tunnel_source.map_or([0; 16], service::octets),
        tags: hop.vlan.map_or_else(Default::default, VlanTags::on_the_wire),
        address: service::octets(server.address),
        port_number: server.port.to_be_bytes(),
        forward: server.forward.raw(),
        service: service_id(key),
        last_weight: if server.weight > 0 { server.weight } else { last_weight },
        ..ServerRow::default()
    }
}

/// A tunnel as the tables have it.
fn tunnel(Tunnel { kind, port, checksum }: Tunnel) -> lbxdp_common::Tunnel {
    lbxdp_common::Tunnel { kind: kind.raw(), checksum: checksum.raw(), port: port.to_be_bytes() }
}

/// The row of a server once it is deleted.
fn waiting_row(row: ServerRow) -> ServerRow {
    ServerRow { flags: row.flags.without(ServerFlags::AVAILABLE), ..row }
}

/// What packets find a service by.
fn service_id(key: &ServiceKey) -> service::ServiceKey {
    match *key {
        ServiceKey::Address(Endpoint { protocol, address, port }) => {
            let (port, protocol) = (port.to_be_bytes(), protocol.raw());
            match address {
                IpAddr::V4(vip) => service::ServiceKey::address(vip.octets(), port, protocol),
                IpAddr::V6(vip) => service::ServiceKey::address_v6(vip.octets(), port, protocol),
            }
        }
        ServiceKey::Mark(Mark { family: Family::V4, mark }) => service::ServiceKey::marked(mark),
        ServiceKey::Mark(Mark { family: Family::V6, mark }) => service::ServiceKey::marked_v6(mark),
    }
}
