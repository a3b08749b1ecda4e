//! What a director needs: forwarding if a server is reached by VS/NAT, its services, the VIP, and neighbours that know of it; in
//! this order.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use lbxdp_common::Forward;
use serde::{Deserialize, Serialize};

use super::HostError;
use super::plan::Change;
use super::step::Step;
use super::surroundings::{Address, Scope, Surroundings};
use crate::cli::grammar::{self, Invocation};
use crate::cli::names::{Naming, SystemNames};
use crate::cli::restore;
use crate::command::Command;
use crate::snapshot::Snapshot;
use crate::state::{Options, ServiceKey};

/// What an operator wants of a director.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Director {
    pub(crate) vips: Vec<IpAddr>,
    /// The interface for the VIPs; `None`: the one on their network, else the one of the default route.
    pub(crate) interface: Option<String>,
    /// Services and servers, as lines of ipvsadm's that add them.
    pub(crate) services: Vec<String>,
    /// The servers of those that are reached by VS/NAT.
    pub(crate) masqueraded: Vec<IpAddr>,
}

impl Director {
    /// The VIPs that were named, else those of the services.
    pub(crate) fn new(named: Vec<IpAddr>, interface: Option<String>, commands: &[Command]) -> Self {
        let mut director = Self { vips: named, interface, ..Self::default() };
        let is_named = !director.vips.is_empty();
        for command in commands {
            director.services.push(grammar::print(command, &mut Naming::numeric()));
            match command {
                Command::AddService { service, .. } if !is_named => {
                    director.vips.extend(service.address().filter(|vip| !director.vips.contains(vip)));
                }
                Command::AddServer { server, .. } if server.forward == Forward::Masquerade => {
                    director.masqueraded.push(server.address);
                }
                _ => {}
            }
        }
        director
    }

    /// All changes that make a machine this director, in the order in which they must be made: the VIP comes last.
    pub(crate) fn wanted(&self, there: &Surroundings) -> Result<Vec<Change>, HostError> {
        let mut addresses = Vec::new();
        for vip in &self.vips {
            addresses.push(self.place(*vip, there)?);
        }
        let mut changes = Vec::new();
        for is_v6 in [false, true] {
            if self.masqueraded.iter().any(|server| server.is_ipv6() == is_v6) {
                if is_v6 {
                    changes.extend(advertised(there).map(|step| Change::new(step, there)));
                }
                changes.extend(forwarding(there, is_v6));
            }
        }
        let redirects = self.no_redirects(there, &addresses);
        changes.extend(redirects.into_iter().map(|step| Change::new(step, there)));
        let services = self.services.iter().map(|line| Step::AddService(line.clone()));
        changes.extend(services.map(|step| Change::new(step, there)));
        for address in addresses {
            let announcement =
                Step::Announce { interface: address.interface.clone(), address: address.address.addr() };
            changes.push(Change::new(Step::AddAddress(address), there));
            changes.push(Change::new(announcement, there));
        }
        Ok(changes)
    }

    /// Where the VIP is to be: where it is already, if somebody can ask for it there.
    fn place(&self, vip: IpAddr, there: &Surroundings) -> Result<Address, HostError> {
        let is_asked = |name: &str| there.asked().any(|link| link.name == name);
        if self.interface.is_none()
            && let Some(place) = there.places(vip).find(|place| is_asked(&place.interface))
        {
            return Ok(place.clone());
        }
        let interface = match &self.interface {
            Some(name) if there.link(name).is_none() => return Err(HostError::NoInterface(name.clone())),
            Some(name) => name.clone(),
            None => {
                let near = there.neighbourhood(vip).map(|own| own.interface.clone());
                let routed = || {
                    let is_default = |route: &&super::surroundings::Route| {
                        route.destination.prefix_len() == 0
                            && route.destination.addr().is_ipv6() == vip.is_ipv6()
                    };
                    there.routes.iter().find(is_default).map(|route| route.interface.clone())
                };
                near.or_else(routed).ok_or(HostError::NoPlace(vip))?
            }
        };
        // Of IPv6 deprecated, so that it is never the source of the director's own packets: a server drops what comes from an
        // address of its own. Of IPv4 the first address of a net is the source, and that is the director's own.
        let (scope, is_deprecated) = (Scope::Global, vip.is_ipv6());
        Ok(Address { interface, address: IpNet::from(vip), scope, is_deprecated })
    }

    /// A server by VS/NAT on the clients' own network would be told that the client is its neighbour, and answer past the
    /// director. Of `all`'s and an interface's own setting one is enough to send redirects.
    fn no_redirects(&self, there: &Surroundings, vips: &[Address]) -> Vec<Step> {
        let mut steps = Vec::new();
        for server in self.masqueraded.iter().filter(|server| server.is_ipv4()) {
            let Some(route) = there.route_to(*server) else { continue };
            if !vips.iter().any(|vip| vip.interface == route.interface) {
                continue;
            }
            for which in ["all", &route.interface] {
                let name = format!("net/ipv4/conf/{which}/send_redirects");
                let step = Step::Sysctl { name, value: "0".to_owned() };
                if !steps.contains(&step) {
                    steps.push(step);
                }
            }
        }
        steps
    }
}

/// Interfaces that live by router advertisements go on doing so: with `accept_ra` 1 the kernel listens to them only while it does not
/// forward, and forgets their routes when it begins to (`rt6_purge_dflt_routers`).
fn advertised(there: &Surroundings) -> impl Iterator<Item = Step> {
    let name = |interface: &str| format!("net/ipv6/conf/{interface}/accept_ra");
    let living = there.routes.iter().filter(|route| route.is_advertised_default());
    let listening = living.filter(move |route| there.number(&name(&route.interface)) == 1);
    let mut interfaces: Vec<&str> = listening.map(|route| route.interface.as_str()).collect();
    interfaces.dedup();
    interfaces.into_iter().map(move |interface| Step::Sysctl { name: name(interface), value: "2".to_owned() })
}

/// All sysctls that forwarding sets, one by one before it sets them all. Switching it off writes to all of them again (the kernel's
/// `inet_forward_change` and `addrconf_fixup_forwarding`), so each is put back behind that, also if it was so before.
fn forwarding(there: &Surroundings, is_v6: bool) -> Vec<Change> {
    let (prefix, switch) = if is_v6 {
        ("net/ipv6/conf/", "net/ipv6/conf/all/forwarding")
    } else {
        ("net/ipv4/conf/", "net/ipv4/ip_forward")
    };
    let sysctl = |name: &str, value: &str| Step::Sysctl { name: name.to_owned(), value: value.to_owned() };
    let switch = Change::new(sysctl(switch, "1"), there);
    if switch.undo.is_none() {
        return vec![switch];
    }
    let all = format!("{prefix}all/forwarding");
    let each = there
        .sysctls
        .iter()
        .filter(|(name, _)| name.starts_with(prefix) && name.ends_with("/forwarding") && **name != all)
        .map(|(name, value)| (name, value, "1"));
    let redirects = there.sysctls.get_key_value("net/ipv4/conf/all/accept_redirects").filter(|_| !is_v6);
    let redirects = redirects.map(|(name, value)| (name, value, "0"));
    let changes = each.chain(redirects);
    let changes = changes
        .map(|(name, was, value)| Change { step: sysctl(name, value), undo: Some(sysctl(name, was.trim())) });
    changes.chain([switch]).collect()
}

/// What a line that adds a service or a server says of what it adds, without how it is to be.
pub(super) fn identity(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let end = words
        .iter()
        .position(|word| *word == "-s")
        .unwrap_or_else(|| words.iter().position(|word| *word == "-r").map_or(words.len(), |at| at + 2));
    words.get(..end).unwrap_or_default().join(" ")
}

/// The line that takes away what a line adds.
pub(super) fn removal(line: &str) -> String {
    let identity = identity(line);
    match identity.strip_prefix("-A") {
        Some(service) => format!("-D{service}"),
        None => identity.replacen("-a", "-d", 1),
    }
}

/// The lines that would add all services of a daemon.
pub(super) fn lines(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    let mut naming = Naming::numeric();
    for service in &snapshot.services {
        let key = service.key;
        let options = Options { sched_flags: service.options.named_flags(), ..service.options };
        lines.push(grammar::print(&Command::AddService { service: key, options }, &mut naming));
        for server in &service.servers {
            let command = Command::AddServer { service: key, server: server.server };
            lines.push(grammar::print(&command, &mut naming));
        }
    }
    lines
}

/// The services of a file in the format of `ipvsadm -S`.
pub(super) fn read(path: &Path) -> Result<Vec<Command>, HostError> {
    let text = std::fs::read(path).map_err(|error| HostError::File(path.to_owned(), error))?;
    parse(path, &text)
}

fn parse(path: &Path, text: &[u8]) -> Result<Vec<Command>, HostError> {
    let refuse = |line: usize, words: String| HostError::Line { path: PathBuf::from(path), line, words };
    let mut commands = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let words = restore::as_meant(restore::arguments(line));
        if words.is_empty() || words.first().is_some_and(|word| word.starts_with('#')) {
            continue;
        }
        match grammar::parse(&words, "ipvsadm", &SystemNames::default()) {
            Ok(Invocation::Change(command @ (Command::AddService { .. } | Command::AddServer { .. }))) => {
                commands.push(command);
            }
            Ok(Invocation::Change(Command::Flush)) => {}
            Ok(_) => {
                return Err(refuse(
                    number + 1,
                    "only -A and -a are taken here, as ipvsadm -S writes them".into(),
                ));
            }
            Err(error) => return Err(refuse(number + 1, error.to_string().trim().to_owned())),
        }
    }
    Ok(commands)
}

/// The VIPs of services.
pub(crate) fn vips<'a>(keys: impl Iterator<Item = &'a ServiceKey>) -> Vec<IpAddr> {
    let mut vips: Vec<IpAddr> = keys.filter_map(ServiceKey::address).collect();
    vips.sort_unstable();
    vips.dedup();
    vips
}

#[cfg(test)]
#[path = "director_tests.rs"]
mod tests;
