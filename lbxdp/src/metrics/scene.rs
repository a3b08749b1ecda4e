//! What a page is written from: an overview, with names for services and servers, and no more servers than are wanted.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use lbxdp_common::Forward;

use super::servers::{ServerLimit, chosen};
use crate::cli::native::{ServerName, ServiceName};
use crate::snapshot::{Counters, Overview, ServerSnapshot, ServiceSnapshot, Way};
use crate::state::ServiceKey;

/// Everything of a page.
#[derive(Debug)]
pub struct Scene {
    pub(super) overview: Overview,
    pub(super) services: Vec<ServiceScene>,
    /// How long looking took.
    pub(super) took: Duration,
}

/// A service, as it is shown.
#[derive(Debug)]
pub(super) struct ServiceScene {
    pub(super) name: String,
    pub(super) servers: Vec<ServerScene>,
    /// Connections of all its servers.
    pub(super) active: u64,
    pub(super) inactive: u64,
    pub(super) templates: u64,
    /// Servers that new connections may go to.
    pub(super) usable: u64,
}

/// A server of a service, or several together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ServerScene {
    pub(super) name: String,
    pub(super) counters: Counters,
    pub(super) active: u64,
    pub(super) inactive: u64,
    pub(super) templates: u64,
    pub(super) weight: u64,
    /// What only one server has.
    pub(super) own: Option<Own>,
}

/// What cannot be summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) forward: Forward,
    /// Its next hop is known, or it is the director itself.
    pub(super) is_reachable: bool,
}

/// The name of all servers together that are not shown by themselves.
pub(super) const OTHER: &str = "other";

/// What is remembered of servers that are not shown by themselves, so that their sum grows by what they have counted while they
/// were among the others, whoever comes and goes.
#[derive(Debug, Default)]
pub struct Others {
    sums: HashMap<ServiceKey, Counters>,
    /// What each server had counted at the last look.
    last: HashMap<(ServiceKey, IpAddr, u16), Counters>,
}

impl Scene {
    /// Prepares a page.
    pub fn new(overview: Overview, limit: ServerLimit, others: &mut Others, took: Duration) -> Self {
        let shown = chosen(&overview.services, limit);
        if limit != ServerLimit::All {
            others.look(&overview, &shown);
        }
        let ways: HashMap<IpAddr, &Way> =
            overview.status.next_hops.iter().map(|hop| (hop.server, &hop.way)).collect();
        let is_reachable =
            |address: &IpAddr| ways.get(address).is_some_and(|way| !matches!(way, Way::Unknown));
        let services = overview.services.services.iter().enumerate().map(|(at, service)| {
            let usable = service.servers.iter().filter(|server| {
                let server = server.server;
                server.weight > 0 && is_reachable(&server.address)
            });
            let sum = |number: fn(&ServerSnapshot) -> u32| {
                service.servers.iter().map(|server| u64::from(number(server))).sum()
            };
            ServiceScene {
                name: ServiceName(service.key).to_string(),
                active: sum(|server| server.active),
                inactive: sum(|server| server.inactive),
                templates: sum(|server| server.persistent),
                usable: usable.count() as u64,
                servers: servers(service, limit, |place| shown.contains(&(at, place)), &is_reachable, others),
            }
        });
        Self { services: services.collect(), overview, took }
    }

    /// The services, with what was prepared of them.
    pub(super) fn services(&self) -> impl Iterator<Item = (&ServiceScene, &ServiceSnapshot)> {
        self.services.iter().zip(&self.overview.services.services)
    }
}

/// The servers of a service that are shown, and the rest of them in one.
fn servers(
    service: &ServiceSnapshot,
    limit: ServerLimit,
    is_shown: impl Fn(usize) -> bool,
    is_reachable: &impl Fn(&IpAddr) -> bool,
    others: &Others,
) -> Vec<ServerScene> {
    if limit == ServerLimit::None {
        return Vec::new();
    }
    let mut rest = ServerScene { name: OTHER.into(), ..ServerScene::default() };
    let mut scenes = Vec::new();
    for (place, snapshot) in service.servers.iter().enumerate() {
        let server = &snapshot.server;
        let [active, inactive, templates, weight] =
            [snapshot.active, snapshot.inactive, snapshot.persistent, server.weight].map(u64::from);
        if is_shown(place) {
            let name = ServerName { address: server.address, port: Some(server.port) }.to_string();
            let own = Own { forward: server.forward, is_reachable: is_reachable(&server.address) };
            let counters = snapshot.counters;
            scenes.push(ServerScene { name, counters, active, inactive, templates, weight, own: Some(own) });
        } else {
            rest.active += active;
            rest.inactive += inactive;
            rest.templates += templates;
            rest.weight += weight;
        }
    }
    if let (ServerLimit::Top(_), Some(sum)) = (limit, others.sums.get(&service.key)) {
        scenes.push(ServerScene { counters: *sum, ..rest });
    }
    scenes
}

impl Others {
    /// Adds what the servers that are not shown have counted since the last look.
    fn look(&mut self, overview: &Overview, shown: &BTreeSet<(usize, usize)>) {
        let mut last = HashMap::new();
        let mut sums = HashMap::new();
        for (at, service) in overview.services.services.iter().enumerate() {
            let mut sum = self.sums.get(&service.key).copied();
            for (place, server) in service.servers.iter().enumerate() {
                let key = (service.key, server.server.address, server.server.port);
                last.insert(key, server.counters);
                if !shown.contains(&(at, place)) {
                    let before = self.last.get(&key).copied().unwrap_or_default();
                    sum = Some(plus(sum.unwrap_or_default(), grown(server.counters, before)));
                }
            }
            if let Some(sum) = sum {
                sums.insert(service.key, sum);
            }
        }
        self.sums = sums;
        self.last = last;
    }
}

/// What counters have grown by; of those that have begun anew, what they have counted since.
fn grown(now: Counters, before: Counters) -> Counters {
    if now.in_packets < before.in_packets || now.connections < before.connections {
        return now;
    }
    each(now, before, u64::saturating_sub)
}

fn plus(one: Counters, other: Counters) -> Counters {
    each(one, other, u64::wrapping_add)
}

fn each(one: Counters, other: Counters, with: fn(u64, u64) -> u64) -> Counters {
    Counters {
        connections: with(one.connections, other.connections),
        in_packets: with(one.in_packets, other.in_packets),
        out_packets: with(one.out_packets, other.out_packets),
        in_bytes: with(one.in_bytes, other.in_bytes),
        out_bytes: with(one.out_bytes, other.out_bytes),
    }
}
