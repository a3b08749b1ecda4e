//! The layout of tables that another daemon has written, by what stands in them and nothing else.
//!
//! That daemon may have been killed between any two writes. What it had begun is then found begun, and belongs to nobody
//! yet, or still to somebody: a server whose list was not written waits like a deleted one; a deleted server whose row
//! was not marked so is marked now, as drift.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use lbxdp_common::overload::Thresholds;
use lbxdp_common::server::{ServerId, ServerRow};
use lbxdp_common::service::{self, List, Member, ServiceFlags, ServiceRow};
use lbxdp_common::{Forward, Protocol, Scheduler, TunnelChecksum, TunnelKind};

use super::addresses::Addresses;
use super::marks::Marks;
use super::rows::{Rows, Runs, ServerIds};
use super::users::Users;
use super::ways::Ways;
use super::{Contents, Gone, Laid, Layout, ServerKey, Write, scheduling, slots, waiting_row};
use crate::state::{FLAG_1, FLAG_2, FLAG_3, Options, Persistence, Server, Service, ServiceKey, Tunnel};
use crate::tables::{AddressSet, TableError};

/// What a take-over makes of tables.
pub struct TakenOver {
    pub layout: Layout,
    /// The services that the tables mean.
    pub services: BTreeMap<ServiceKey, Service>,
    /// What the daemon before left undone: to be written at once.
    pub unfinished: Vec<Write>,
}

/// The tables contradict themselves: no lbxdp has left them so.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("table `service_ids` has a service of protocol {0}")]
    Protocol(u8),
    #[error("{0}: row {1} of table `services` is not its own")]
    ServiceRow(String, u32),
    #[error("{0}: its row names scheduler {1}")]
    Scheduler(String, u8),
    #[error(
        "a list in table `members`, {length} servers from row {start}, lies outside the table or over another list"
    )]
    List { start: u32, length: u16 },
    #[error("{0}: its list names server {1:#x}, but that row of table `servers` is another's")]
    Server(String, u32),
    #[error("two rows of table `servers` are of the same server, {0}")]
    Twice(String),
}

/// What is found on the way.
struct Found<'a, T> {
    tables: &'a T,
    services: BTreeMap<ServiceKey, Laid>,
    /// Rows of servers that are configured or wait.
    taken: BTreeSet<u32>,
    names: BTreeSet<ServerKey>,
}

impl Layout {
    /// Takes tables over as they are.
    pub fn take_over(tables: &impl Contents, now: Instant) -> Result<TakenOver, TakeOverError> {
        let ids = tables.service_ids()?;
        let mut found =
            Found { tables, services: BTreeMap::new(), taken: BTreeSet::new(), names: BTreeSet::new() };
        let mut indices = BTreeSet::new();
        for (id, index) in &ids {
            let key = service_key(*id).ok_or(TakeOverError::Protocol(id.protocol))?;
            if *index >= tables.service_rows() || !indices.insert(*index) {
                return Err(TakeOverError::ServiceRow(name(&key), *index));
            }
            let laid = found.service(&key, *id, *index)?;
            found.services.insert(key, laid);
        }
        let lists = found.services.values().map(|laid| laid.list).collect();
        let runs = Runs::without(tables.member_rows(), lists)
            .map_err(|List { start, length, .. }| TakeOverError::List { start, length })?;
        let (gone, unfinished) = found.waiting(now)?;
        let last: Vec<ServerId> =
            (0..tables.server_rows()).map(|row| ServerId(tables.server(row).id)).collect();
        let unused = indices.last().map_or(0, |index| index + 1);
        let services = found.services.iter().map(|(key, laid)| (*key, laid.service.clone())).collect();
        let [mut vips, sources] = AddressSet::ALL.map(|set| {
            let in_tables = tables.addresses(set).into_iter().map(|(_, address)| address).collect();
            Addresses::of_tables(set, in_tables)
        });
        found
            .services
            .keys()
            .chain(gone.keys().map(|(key, ..)| key))
            .for_each(|key| vips.begin_use(key.address()));
        let marks = Marks::of_tables(tables)?;
        marks.addresses().for_each(|address| vips.begin_use(Some(address)));
        let mut ways = Ways::new(sources);
        let rows = found.services.values().flat_map(|laid| &laid.rows);
        rows.chain(gone.values().map(|gone| &gone.row)).for_each(|row| ways.change(None, Some(row)));
        for (key, laid) in &found.services {
            laid.rows.iter().for_each(|row| ways.remember(*key, row, now));
        }
        let mut users = Users::default();
        for (key, laid) in &found.services {
            laid.service.servers.iter().for_each(|server| users.begin(server.address, *key));
        }
        let layout = Self {
            vips,
            ways,
            marks,
            server_ids: ServerIds::without(&last, &found.taken),
            service_rows: Rows::without(0..tables.service_rows(), &indices, unused),
            runs,
            users,
            services: found.services,
            gone,
        };
        Ok(TakenOver { layout, services, unfinished })
    }
}

impl<T: Contents> Found<'_, T> {
    /// A service that packets find.
    fn service(
        &mut self,
        key: &ServiceKey,
        id: service::ServiceKey,
        index: u32,
    ) -> Result<Laid, TakeOverError> {
        let row = self.tables.service(index);
        let list = row.list;
        let scheduler =
            list.scheduler().ok_or_else(|| TakeOverError::Scheduler(name(key), list.scheduler))?;
        let service = Service { options: options(&row, scheduler), servers: Vec::new() };
        let mut laid = Laid {
            index,
            service,
            list,
            ids: vec![],
            rows: vec![],
            members: vec![],
            table: vec![],
            slots: vec![],
        };
        for row in (list.start..).take(list.length.into()) {
            let member = Member::from_cell(self.tables.member_cell(row));
            let row = self.tables.server(member.server().row());
            let stranger = || TakeOverError::Server(name(key), member.server().0);
            if row.id != member.server().0 || row.service != id {
                return Err(stranger());
            }
            let Thresholds { upper, lower } = self.tables.thresholds(member.server().row());
            let server = Server {
                address: row.ip(),
                port: u16::from_be_bytes(row.port_number),
                forward: Forward::from_raw(row.forward).ok_or_else(stranger)?,
                tunnel: tunnel(row.tunnel).ok_or_else(stranger)?,
                weight: member.weight(),
                upper,
                lower,
            };
            self.take(key, &row)?;
            laid.service.servers.push(server);
            laid.ids.push(member.server());
            laid.rows.push(row);
            laid.members.push(member);
        }
        laid.table = scheduling::table(scheduler, &laid.rows, &laid.members);
        laid.slots = slots::slots(&laid.service.servers, &laid.members, list.slots());
        Ok(laid)
    }

    /// The servers that wait, and those whose forgetting the daemon before had begun.
    fn waiting(&mut self, now: Instant) -> Result<(BTreeMap<ServerKey, Gone>, Vec<Write>), TakeOverError> {
        let (mut gone, mut unfinished) = (BTreeMap::new(), Vec::new());
        for number in 1..self.tables.server_rows() {
            let row = self.tables.server(number);
            let id = ServerId(row.id);
            let Some(service) = service_key(row.service).filter(|_| id.row() == number) else {
                continue;
            };
            if self.taken.contains(&number) {
                continue;
            }
            let index = self.services.get(&service).map(|laid| laid.index);
            if index.is_some_and(|index| self.tables.taken_in(index) == id) {
                unfinished.push(Write::ForgetServer { id, service: None });
                continue;
            }
            let key = self.take(&service, &row)?;
            gone.insert(key, Gone { id, row: waiting_row(row), since: now });
        }
        Ok((gone, unfinished))
    }

    /// A row has a server, and no other row has it.
    fn take(&mut self, service: &ServiceKey, row: &ServerRow) -> Result<ServerKey, TakeOverError> {
        let address = row.ip();
        let key = (*service, address, u16::from_be_bytes(row.port_number));
        self.taken.insert(ServerId(row.id).row());
        if self.names.insert(key) {
            Ok(key)
        } else {
            Err(TakeOverError::Twice(format!("{address}:{} of {}", key.2, name(service))))
        }
    }
}

/// What a service's row says of its options.
fn options(row: &ServiceRow, scheduler: Scheduler) -> Options {
    let service::Persistence { seconds, netmask } = row.persistence;
    let persistence = Persistence { timeout_s: seconds, netmask: u32::from_be_bytes(netmask) };
    Options {
        scheduler,
        sched_flags: row.flags.0 & (FLAG_1 | FLAG_2 | FLAG_3),
        one_packet: row.flags.has(ServiceFlags::ONE_PACKET),
        persistence: row.flags.has(ServiceFlags::PERSISTENT).then_some(persistence),
        // No packet is treated otherwise for it, so it is in no table.
        engine: None,
    }
}

/// What a server's row says of its tunnel; `None` for what this version does not know.
fn tunnel(tunnel: lbxdp_common::Tunnel) -> Option<Tunnel> {
    let lbxdp_common::Tunnel { kind, checksum, port } = tunnel;
    Some(Tunnel {
        kind: TunnelKind::from_raw(kind)?,
        port: u16::from_be_bytes(port),
        checksum: TunnelChecksum::from_raw(checksum)?,
    })
}

/// The service of a key in the tables; `None` for the key of no service.
pub(crate) fn service_key(key: service::ServiceKey) -> Option<ServiceKey> {
    if let Some(mark) = key.mark() {
        return Some(if key.is_v6() { ServiceKey::marked_v6(mark) } else { ServiceKey::marked(mark) });
    }
    let protocol = Protocol::from_raw(key.protocol)?;
    Some(ServiceKey::at(protocol, key.address_of()?, u16::from_be_bytes(key.port)))
}

/// A service as it is called in messages.
fn name(key: &ServiceKey) -> String {
    format!("service {key}")
}
