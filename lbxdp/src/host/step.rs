//! One step of setting up a machine: what it does, as a command line too, what it makes of the surroundings, and what takes it
//! back.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::director;
use super::surroundings::{Address, Decapsulator, Route, Scope, Surroundings};
use crate::tables::pins::Instance;

/// Something that is done to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Writes a value; the name is that below `/proc/sys`.
    Sysctl {
        name: String,
        value: String,
    },
    AddAddress(Address),
    RemoveAddress(Address),
    /// Puts a route in the place of the one to the same destination with the same metric.
    ChangeRoute(Route),
    SetLink {
        name: String,
        is_up: bool,
    },
    StartDecapsulator {
        interface: String,
        told: Decapsulator,
    },
    StopDecapsulator {
        interface: String,
    },
    /// A line of ipvsadm's.
    AddService(String),
    /// The lines that add it and take it away again.
    RemoveService {
        added_by: String,
        line: String,
    },
    /// Tells the neighbours where an address is now.
    Announce {
        interface: String,
        address: IpAddr,
    },
}

impl Step {
    /// What two steps have in common that are about the same thing.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Sysctl { name, .. } => format!("sysctl {name}"),
            Self::AddAddress(address) | Self::RemoveAddress(address) => {
                format!("address {} {}", address.interface, address.address)
            }
            Self::ChangeRoute(route) => {
                format!("route {} {} {}", route.destination, route.interface, route.metric)
            }
            Self::SetLink { name, .. } => format!("link {name}"),
            Self::StartDecapsulator { interface, .. } | Self::StopDecapsulator { interface } => {
                format!("decapsulator {interface}")
            }
            // However it is to be: with another weight a server is the same one.
            Self::AddService(line) | Self::RemoveService { added_by: line, .. } => {
                format!("service {}", director::identity(line))
            }
            Self::Announce { interface, address } => format!("announcement {interface} {address}"),
        }
    }

    /// Whether what it does is so already. An announcement leaves nothing that could be seen.
    pub(crate) fn is_so(&self, there: &Surroundings) -> bool {
        match self {
            Self::Sysctl { name, value } => {
                there.sysctls.get(name).is_some_and(|found| found.trim() == value.trim())
            }
            Self::AddAddress(address) => has_address(there, address),
            Self::RemoveAddress(address) => !has_address(there, address),
            Self::ChangeRoute(route) => there.routes.contains(route),
            // One that has gone is down.
            Self::SetLink { name, is_up } => there.link(name).is_some_and(|link| link.is_up) == *is_up,
            Self::StartDecapsulator { interface, told } => there.decapsulators.get(interface) == Some(told),
            Self::StopDecapsulator { interface } => !there.decapsulators.contains_key(interface),
            Self::AddService(line) => there.services.contains(line),
            Self::RemoveService { added_by, .. } => there.service_like(added_by).is_none(),
            Self::Announce { .. } => false,
        }
    }

    /// The same in a model: what would be there after it.
    pub(crate) fn apply(&self, there: &mut Surroundings) {
        match self {
            Self::Sysctl { name, value } => {
                there.sysctls.insert(name.clone(), value.clone());
            }
            Self::AddAddress(address) => {
                if !has_address(there, address) {
                    there.addresses.push(address.clone());
                }
            }
            Self::RemoveAddress(address) => {
                there.addresses.retain(|found| !is_same_place(found, address));
            }
            Self::ChangeRoute(route) => {
                let is_same = |found: &&mut Route| {
                    (found.destination, &found.interface, found.metric)
                        == (route.destination, &route.interface, route.metric)
                };
                if let Some(found) = there.routes.iter_mut().find(is_same) {
                    *found = route.clone();
                }
            }
            Self::SetLink { name, is_up } => {
                if let Some(link) = there.links.iter_mut().find(|link| link.name == *name) {
                    link.is_up = *is_up;
                }
            }
            Self::StartDecapsulator { interface, told } => {
                there.decapsulators.insert(interface.clone(), told.clone());
            }
            Self::StopDecapsulator { interface } => {
                there.decapsulators.remove(interface);
            }
            Self::AddService(line) => {
                let is_same = |found: &&mut String| director::identity(found) == director::identity(line);
                match there.services.iter_mut().find(is_same) {
                    Some(found) => found.clone_from(line),
                    None => there.services.push(line.clone()),
                }
            }
            Self::RemoveService { added_by, .. } => {
                there.services.retain(|found| director::identity(found) != director::identity(added_by));
            }
            Self::Announce { .. } => {}
        }
    }

    /// What takes it back, done now. `None` where nothing is left to take back, or nothing is known of what was there.
    pub(crate) fn undo(&self, there: &Surroundings) -> Option<Self> {
        if self.is_so(there) {
            return None;
        }
        match self {
            Self::Sysctl { name, .. } => {
                let value = there.sysctls.get(name)?.trim().to_owned();
                Some(Self::Sysctl { name: name.clone(), value })
            }
            Self::AddAddress(address) => Some(Self::RemoveAddress(address.clone())),
            Self::RemoveAddress(address) => Some(Self::AddAddress(address.clone())),
            Self::ChangeRoute(route) => {
                let was = there.routes.iter().find(|found| {
                    (found.destination, &found.interface, found.metric)
                        == (route.destination, &route.interface, route.metric)
                });
                was.cloned().map(Self::ChangeRoute)
            }
            Self::SetLink { name, is_up } => {
                there.link(name).map(|_| Self::SetLink { name: name.clone(), is_up: !is_up })
            }
            Self::StartDecapsulator { interface, .. } | Self::StopDecapsulator { interface } => {
                let interface = interface.clone();
                Some(match there.decapsulators.get(&interface).cloned() {
                    Some(told) => Self::StartDecapsulator { interface, told },
                    None => Self::StopDecapsulator { interface },
                })
            }
            // If there is one of its name, that one comes back.
            Self::AddService(line) => Some(match there.service_like(line) {
                Some(was) => Self::AddService(was.clone()),
                None => Self::RemoveService { added_by: line.clone(), line: director::removal(line) },
            }),
            Self::Announce { .. } => None,
            Self::RemoveService { added_by, .. } => Some(Self::AddService(added_by.clone())),
        }
    }

    /// The command line to be typed on a machine: what is there already is edited, and an instance that is not the default one is
    /// named.
    pub(crate) fn typed(&self, there: &Surroundings, instance: &Instance) -> String {
        let command = match self {
            Self::AddService(line) if there.service_like(line).is_some() => format!("lbxdp {}", edit(line)),
            other => other.to_string(),
        };
        if command.starts_with("lbxdp ") && *instance != Instance::default() {
            format!("LBXDP_INSTANCE={instance} {command}")
        } else {
            command
        }
    }

    /// Why it matters, in a sentence without an end.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Sysctl { name, .. } if name.ends_with("arp_ignore") => {
                "else this server answers ARP for the VIP, and clients come to it past the director"
            }
            Self::Sysctl { name, .. } if name.ends_with("arp_announce") => {
                "else this server asks for neighbours in the VIP's name, and they learn that the VIP is here"
            }
            Self::Sysctl { name, .. } if name.ends_with("rp_filter") => {
                "else packets out of the tunnel are dropped, for their clients are not reached by that interface"
            }
            Self::Sysctl { name, .. } if name.ends_with("forward") || name.ends_with("forwarding") => {
                "else replies of servers by VS/NAT are not forwarded to their clients"
            }
            Self::Sysctl { name, .. } if name.ends_with("accept_ra") => {
                "else this machine does not listen to routers any more once it forwards, and loses its default route"
            }
            Self::Sysctl { name, .. } if name.ends_with("send_redirects") => {
                "else servers by VS/NAT are told a way past the director"
            }
            Self::Sysctl { .. } => "it goes with forwarding",
            Self::AddAddress(_) => "else packets for the VIP are nobody's here",
            Self::RemoveAddress(_) => "the VIP is not to be here",
            Self::ChangeRoute(_) => {
                "else clients send segments that do not fit into the tunnel, and path MTU discovery has to mend it"
            }
            Self::SetLink { .. } | Self::StartDecapsulator { .. } => {
                "else nobody takes the tunnel's header off, and packets are refused"
            }
            Self::StopDecapsulator { .. } => "the decapsulator is not to be here",
            Self::AddService(_) => "else the service is not balanced",
            Self::RemoveService { .. } => "the service is not to be there",
            Self::Announce { .. } => "else neighbours send to where the VIP was, until their memory fades",
        }
    }
}

/// The line that edits what a line adds.
fn edit(line: &str) -> String {
    match line.strip_prefix("-A") {
        Some(service) => format!("-E{service}"),
        None => line.replacen("-a", "-e", 1),
    }
}

fn is_same_place(one: &Address, other: &Address) -> bool {
    (&one.interface, one.address) == (&other.interface, other.address)
}

/// Whether an address is there; its scope is the operator's.
fn has_address(there: &Surroundings, address: &Address) -> bool {
    there.addresses.iter().any(|found| is_same_place(found, address))
}

/// As a command line.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysctl { name, value } => write!(f, "sysctl -w {}={value}", sysctl_name(name)),
            Self::AddAddress(Address { interface, address, scope, is_deprecated }) => {
                write!(f, "ip addr add {address} dev {interface}")?;
                match scope {
                    Scope::Host if address.addr().is_ipv4() => f.write_str(" scope host")?,
                    Scope::Link if address.addr().is_ipv4() => f.write_str(" scope link")?,
                    _ => {}
                }
                if address.addr().is_ipv6() {
                    f.write_str(" nodad")?;
                }
                if *is_deprecated {
                    f.write_str(" preferred_lft 0")?;
                }
                Ok(())
            }
            Self::RemoveAddress(Address { interface, address, .. }) => {
                write!(f, "ip addr del {address} dev {interface}")
            }
            Self::ChangeRoute(route) => write!(f, "ip route change {route}"),
            Self::SetLink { name, is_up } => {
                write!(f, "ip link set {name} {}", if *is_up { "up" } else { "down" })
            }
            Self::StartDecapsulator { interface, told } => {
                write!(f, "lbxdp decap start --interface {interface}")?;
                for from in &told.from {
                    write!(f, " --from {from}")?;
                }
                for port in &told.gue_ports {
                    write!(f, " --gue-port {port}")?;
                }
                Ok(())
            }
            Self::StopDecapsulator { interface } => write!(f, "lbxdp decap stop --interface {interface}"),
            Self::AddService(line) | Self::RemoveService { line, .. } => write!(f, "lbxdp {line}"),
            // arping and ndsend do it too, but few machines have them.
            Self::Announce { address, .. } => write!(f, "lbxdp director announce --vip {address}"),
        }
    }
}

/// As sysctl(8) takes it: with dots, but where the name of an interface has one.
pub(crate) fn sysctl_name(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { name.replace('/', ".") }
}

/// As `ip route` takes it.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.destination.prefix_len() == 0 {
            f.write_str("default")?;
        } else {
            write!(f, "{}", self.destination)?;
        }
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " dev {} proto {}", self.interface, self.protocol)?;
        if self.scope != 0 && self.destination.addr().is_ipv4() {
            write!(f, " scope {}", self.scope)?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        for (word, metric) in [("mtu", self.mtu), ("advmss", self.advmss)] {
            if let Some(metric) = metric {
                write!(f, " {word} {metric}")?;
            }
        }
        Ok(())
    }
}
