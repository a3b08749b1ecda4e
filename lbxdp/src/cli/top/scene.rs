//! What is shown: a moment of the director, with names, rates and what is made of several values.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use lbxdp_common::Fate;

use super::rate::{rate, rates};
use crate::cli::native::{ServerName, ServiceName};
use crate::snapshot::{Counted, Counters, Moment, PacketPath, Rates, ServerSnapshot, Status, Sweep, Way};
use crate::state::ServiceKey;

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) instance: String,
    pub(super) version: String,
    pub(super) uptime_s: u64,
    /// Changes of the configuration since the daemon has begun, and how long ago the last one was.
    pub(super) generation: u64,
    pub(super) changed_s_ago: Option<u64>,
    /// In the listing's order.
    pub(super) services: Vec<ServiceScene>,
    /// Of all services together.
    pub(super) all: Paces,
    /// What has happened at all; most per second first.
    pub(super) reasons: Vec<CountScene>,
    /// Packets a second that nobody got, and that the stack got; from the second look on.
    pub(super) dropped: Option<u64>,
    pub(super) passed: Option<u64>,
    pub(super) status: Status,
    /// Of IPv4's table and of IPv6's.
    pub(super) sweeps: [SweepScene; 2],
    /// What is to be looked after.
    pub(super) warnings: Vec<String>,
    /// Letters of the longest name, with what stands before it.
    pub(super) name_width: usize,
}

/// A service.
#[derive(Debug)]
pub(super) struct ServiceScene {
    pub(super) key: ServiceKey,
    pub(super) name: String,
    /// Servers that new connections may go to.
    pub(super) usable: usize,
    pub(super) numbers: Numbers,
    /// The newest first.
    pub(super) servers: Vec<ServerScene>,
}

/// A server of a service.
#[derive(Debug)]
pub(super) struct ServerScene {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) name: String,
    pub(super) health: Health,
    pub(super) numbers: Numbers,
}

/// What is known of the way to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Up,
    /// The director itself.
    Local,
    Unknown,
}

/// What services and servers have alike; a service has its servers' sums.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    pub(super) weight: u64,
    pub(super) active: u64,
    pub(super) inactive: u64,
    pub(super) persistent: u64,
    pub(super) paces: Paces,
}

/// Rates, in two ways.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Paces {
    average: Rates,
    /// Not before the second look.
    lately: Option<Rates>,
}

/// How rates are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// IPVS's moving average, as `ipvsadm -L --rate` shows it.
    Average,
    /// What has come since the last look.
    Lately,
}

impl Paces {
    /// `None` if there is nothing to compare with yet.
    pub(super) fn of(&self, pace: Pace) -> Option<Rates> {
        match pace {
            Pace::Average => Some(self.average),
            Pace::Lately => self.lately,
        }
    }
}

/// Something that was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CountScene {
    pub(super) outcome: Outcome,
    pub(super) name: String,
    pub(super) count: u64,
    /// Per second, since the last look.
    pub(super) rate: Option<u64>,
}

/// What is counted: what became of a packet, or what was done beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Outcome {
    Dropped,
    Passed,
    /// By the daemon, which sends them again.
    Held,
    /// The sender was told by ICMP, or not.
    Told,
    /// For want of room in the connection table.
    NoRoom,
}

impl Outcome {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Passed => "to the stack",
            Self::Held => "held",
            Self::Told => "ICMP error",
            Self::NoRoom => "no room",
        }
    }
}

/// What sweeping a table costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct SweepScene {
    pub(super) all: Sweep,
    /// Passes, and milliseconds spent, per second; since the last look.
    pub(super) lately: Option<(u64, u64)>,
}

/// The moment before, and how long ago that was.
pub(super) type Before<'a> = Option<(&'a Moment, Duration)>;

impl Scene {
    /// Made of a moment and the one before it.
    pub(super) fn new(instance: String, now: &Moment, before: Before<'_>, clock: SystemTime) -> Self {
        let since = |time: SystemTime| clock.duration_since(time).unwrap_or_default().as_secs();
        let services = services(now, before);
        let names = services.iter().flat_map(|service| {
            let servers = service.servers.iter().map(|server| server.name.chars().count() + SERVER_INDENT);
            servers.chain([service.name.chars().count() + SERVICE_INDENT])
        });
        let name_width = names.max().unwrap_or(0);
        let lately = before.map(|(then, elapsed)| rates(now.totals.counters, then.totals.counters, elapsed));
        let counts = counts(&now.status, before);
        let sum = |outcome: Outcome| {
            let rates = counts.iter().filter(|count| count.outcome == outcome).filter_map(|count| count.rate);
            before.map(|_| rates.sum())
        };
        let (dropped, passed) = (sum(Outcome::Dropped), sum(Outcome::Passed));
        let mut reasons: Vec<_> = counts.into_iter().filter(|count| count.count > 0).collect();
        reasons.sort_by_key(|reason| (reason.outcome, std::cmp::Reverse((reason.rate, reason.count))));
        Self {
            instance,
            version: now.version.clone(),
            uptime_s: since(now.started),
            generation: now.configuration.count,
            changed_s_ago: now.configuration.last.map(since),
            all: Paces { average: now.totals.rates, lately },
            sweeps: [
                sweep(now.status.table.sweep, before, |status| status.table.sweep),
                sweep(now.status.table_v6.sweep, before, |status| status.table_v6.sweep),
            ],
            warnings: warnings(&services, &now.status),
            status: now.status.clone(),
            services,
            reasons,
            dropped,
            passed,
            name_width,
        }
    }
}

/// Places before the name of a service, and of a server.
pub(super) const SERVICE_INDENT: usize = 2;
pub(super) const SERVER_INDENT: usize = 3;

fn services(now: &Moment, before: Before<'_>) -> Vec<ServiceScene> {
    let ways: HashMap<IpAddr, &Way> = now.status.next_hops.iter().map(|hop| (hop.server, &hop.way)).collect();
    let past = Past::new(before);
    let services = now.services.services.iter().map(|service| {
        let servers: Vec<_> = service
            .servers
            .iter()
            .map(|snapshot| {
                let server = snapshot.server;
                let key = (service.key, server.address, server.port);
                let lately = past.rates(past.servers.get(&key), snapshot.counters);
                let paces = Paces { average: snapshot.rates, lately };
                ServerScene {
                    address: server.address,
                    port: server.port,
                    name: ServerName { address: server.address, port: Some(server.port) }.to_string(),
                    health: match ways.get(&server.address) {
                        None | Some(Way::Unknown) => Health::Unknown,
                        Some(Way::Local) => Health::Local,
                        Some(Way::Out { .. }) => Health::Up,
                    },
                    numbers: numbers(std::slice::from_ref(snapshot), paces),
                }
            })
            .collect();
        let lately = past.rates(past.services.get(&service.key), service.counters);
        ServiceScene {
            key: service.key,
            name: ServiceName(service.key).to_string(),
            usable: servers.iter().filter(|server| server.is_usable()).count(),
            numbers: numbers(&service.servers, Paces { average: service.rates, lately }),
            servers,
        }
    });
    services.collect()
}

impl ServerScene {
    /// New connections may go there.
    pub(super) fn is_usable(&self) -> bool {
        self.numbers.weight > 0 && self.health != Health::Unknown
    }
}

fn numbers(servers: &[ServerSnapshot], paces: Paces) -> Numbers {
    let sum =
        |number: fn(&ServerSnapshot) -> u32| servers.iter().map(|server| u64::from(number(server))).sum();
    Numbers {
        weight: sum(|server| server.server.weight),
        active: sum(|server| server.active),
        inactive: sum(|server| server.inactive),
        persistent: sum(|server| server.persistent),
        paces,
    }
}

/// What was counted at the look before, by what it was counted of.
struct Past {
    elapsed: Option<Duration>,
    services: HashMap<ServiceKey, Counters>,
    servers: HashMap<(ServiceKey, IpAddr, u16), Counters>,
}

impl Past {
    fn new(before: Before<'_>) -> Self {
        let services = before.map(|(then, _)| &then.services.services[..]).unwrap_or_default();
        let servers = services.iter().flat_map(|service| {
            service
                .servers
                .iter()
                .map(|server| ((service.key, server.server.address, server.server.port), server.counters))
        });
        Self {
            elapsed: before.map(|(_, elapsed)| elapsed),
            servers: servers.collect(),
            services: services.iter().map(|service| (service.key, service.counters)).collect(),
        }
    }

    /// What was not there before has no rate yet: a server that was deleted and is back goes on where it was.
    fn rates(&self, before: Option<&Counters>, now: Counters) -> Option<Rates> {
        let elapsed = self.elapsed?;
        Some(before.map_or_else(Rates::default, |before| rates(now, *before, elapsed)))
    }
}

/// All that is counted by name.
fn counts(now: &Status, before: Before<'_>) -> Vec<CountScene> {
    let before = before.map(|(then, elapsed)| (named(&then.status), elapsed));
    let rate_of = |outcome, name: &str, count| {
        before.as_ref().map(|(then, elapsed)| {
            rate(count, then.get(&(outcome, name)).copied().unwrap_or_default(), *elapsed)
        })
    };
    let counts = named_list(now).map(|(outcome, name, count)| CountScene {
        outcome,
        name: name.to_owned(),
        count,
        rate: rate_of(outcome, name, count),
    });
    counts.collect()
}

fn named(status: &Status) -> HashMap<(Outcome, &str), u64> {
    named_list(status).map(|(outcome, name, count)| ((outcome, name), count)).collect()
}

fn named_list(status: &Status) -> impl Iterator<Item = (Outcome, &str, u64)> {
    fn of(outcome: Outcome, counted: &[Counted]) -> impl Iterator<Item = (Outcome, &str, u64)> {
        counted.iter().map(move |counted| (outcome, counted.name.as_str(), counted.count))
    }
    let reasons = status.not_forwarded.iter().map(|reason| {
        let outcome = match reason.fate {
            Fate::Pass => Outcome::Passed,
            Fate::Drop => Outcome::Dropped,
            Fate::Hold => Outcome::Held,
        };
        (outcome, reason.reason.as_str(), reason.packets)
    });
    reasons.chain(of(Outcome::Told, &status.notices)).chain(of(Outcome::NoRoom, &status.overflows))
}

fn sweep(now: Sweep, before: Before<'_>, of: fn(&Status) -> Sweep) -> SweepScene {
    let lately = before.map(|(then, elapsed)| {
        let then = of(&then.status);
        let millis = |sweep: Sweep| sweep.busy_ns / 1_000_000;
        (rate(now.passes, then.passes, elapsed), rate(millis(now), millis(then), elapsed))
    });
    SweepScene { all: now, lately }
}

/// The most of one kind that are named one by one.
const MOST_ALIKE: usize = 10;

/// What the status page warns of.
fn warnings(services: &[ServiceScene], status: &Status) -> Vec<String> {
    let mut warnings = Vec::new();
    for interface in &status.interfaces {
        let name = &interface.name;
        match interface.path {
            PacketPath::Native => {}
            PacketPath::Generic => {
                warnings.push(format!("{name} runs in generic mode: several times slower than native"));
            }
            PacketPath::Gone => {
                warnings.push(format!("{name} is gone: no packet comes in by it until it is back"));
            }
        }
    }
    if status.is_pressed {
        warnings.push("some new connections find no place in the table and go by hash".into());
    }
    if let Some(trouble) = &status.unsaved {
        warnings.push(format!("the configuration is not saved: {trouble}"));
    }
    let dead = services.iter().filter(|service| !service.servers.is_empty() && service.usable == 0);
    alike(
        &mut warnings,
        dead.map(|service| format!("no server of {} may get new connections", service.name)),
    );
    let lost = status.next_hops.iter().filter(|hop| hop.way == Way::Unknown);
    alike(
        &mut warnings,
        lost.map(|hop| {
            format!("no way to server {}: nobody answers ARP or NDP, or there is no route", hop.server)
        }),
    );
    warnings.extend(status.only_kept.iter().cloned());
    warnings
}

fn alike(warnings: &mut Vec<String>, mut kind: impl Iterator<Item = String>) {
    warnings.extend(kind.by_ref().take(MOST_ALIKE));
    let more = kind.count();
    if more > 0 {
        warnings.push(format!("and {more} more of these"));
    }
}
