//! The interfaces that packets come in by, while they change: another MAC address, removed, there again.

use std::collections::BTreeSet;

use super::director::Director;
use super::load::{self, Interface, LoadError, Mode};
use super::next_hops::NextHops;
use super::{StartError, links, start};
use crate::tables::pins::Instance;

/// The interfaces that were asked for.
pub(super) struct Interfaces(Vec<Followed>);

struct Followed {
    interface: Interface,
    presence: Presence,
}

/// Whether an interface is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Attached,
    Gone,
    /// It is there again, but does not take the program; that has been said.
    Refusing,
}

/// The interfaces of these names.
pub(super) fn named(names: &[String], next_hops: &NextHops) -> Result<Vec<Interface>, StartError> {
    let names: BTreeSet<&String> = names.iter().collect();
    names
        .into_iter()
        .map(|name| match next_hops.link_named(name) {
            Some((ifindex, link)) => Ok(Interface { name: name.clone(), ifindex, mac: link.mac }),
            None => Err(StartError::NoInterface(name.clone())),
        })
        .collect()
}

impl Interfaces {
    /// Interfaces that all have the program.
    pub(super) fn new(interfaces: Vec<Interface>) -> Self {
        let follow = |interface| Followed { interface, presence: Presence::Attached };
        Self(interfaces.into_iter().map(follow).collect())
    }

    /// Those that have the program.
    pub(super) fn attached(&self) -> impl Iterator<Item = &Interface> {
        let attached = self.0.iter().filter(|followed| followed.presence == Presence::Attached);
        attached.map(|followed| &followed.interface)
    }

    /// Takes in what has become of them.
    pub(super) fn follow(&mut self, director: &mut Director, instance: &Instance) {
        for followed in &mut self.0 {
            match followed.presence {
                Presence::Attached => followed.look(director, instance),
                Presence::Gone | Presence::Refusing => followed.look_for(director, instance),
            }
        }
    }
}

impl Followed {
    /// The program knows its interface's MAC address as a constant; a new address needs a new program. And an interface
    /// that was removed has taken its program along.
    fn look(&mut self, director: &mut Director, instance: &Instance) {
        let name = &self.interface.name;
        let Some(link) = director.link(self.interface.ifindex) else {
            tracing::error!(
                interface = name,
                "the interface is gone, and its packet path with it; it is attached again once it is back"
            );
            if let Err(error) = links::forget(instance, name) {
                tracing::error!(interface = name, %error, "cannot remove its pins");
            }
            director.has_lost(name);
            self.presence = Presence::Gone;
            return;
        };
        let mac = link.mac;
        if mac != self.interface.mac {
            match load::replace(instance, &Interface { mac, ..self.interface.clone() }) {
                Ok(()) => {
                    tracing::info!(interface = name, "the interface has another MAC address");
                    self.interface.mac = mac;
                }
                Err(error) => {
                    tracing::error!(interface = name, error = %load::chain(&error), "cannot follow the \
                    interface's new MAC address: its packets go to the stack");
                }
            }
        }
    }

    /// An interface of the same name is as good as the one that was removed.
    fn look_for(&mut self, director: &mut Director, instance: &Instance) {
        let name = &self.interface.name;
        let Some((ifindex, link)) = director.link_named(name) else {
            self.presence = Presence::Gone;
            return;
        };
        let interface = Interface { name: name.clone(), ifindex, mac: link.mac };
        match attach_again(instance, &interface) {
            Ok(mode) => {
                tracing::info!(interface = name, "the interface is back, and attached again");
                director.has_attached(name, start::path(mode));
                *self = Self { interface, presence: Presence::Attached };
            }
            Err(error) if self.presence == Presence::Gone => {
                tracing::error!(interface = name, error = %load::chain(&error), "the interface is back, but cannot \
                be attached; it is tried again every second");
                self.presence = Presence::Refusing;
            }
            Err(_) => {}
        }
    }
}

fn attach_again(instance: &Instance, interface: &Interface) -> Result<Mode, LoadError> {
    let sizes =
        load::pinned_sizes(instance).map_err(|error| LoadError::Pin(interface.name.clone(), error))?;
    let mut ebpf = load::load_straight(instance, interface, sizes)?;
    load::attach(instance, interface, load::program(&mut ebpf)?)
}
