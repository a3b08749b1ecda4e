//! The pinned links: what holds the program on its interfaces when no daemon does.
//!
//! A pin is called as its interface was, but names change while a daemon is dead: what counts is the interface the kernel
//! says the link is on.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use aya::programs::links::{FdLink, PinnedLink};

use super::load::{self, Interface, LoadError, Mode};
use super::next_hops::Link;
use crate::tables::pins::Instance;

/// A pinned link.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pinned {
    /// What its pin is called.
    pin: String,
    /// The kernel's id of its program.
    program: u32,
    /// The index of its interface, in that one's network namespace; 0 if it is gone.
    ifindex: u32,
}

/// What becomes of a program that the kernel runs, not the driver, when a daemon takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generic {
    /// It goes on so: no packet goes without.
    Left,
    /// It is taken off and attached anew, in the driver if that takes it now; packets of that moment go to the stack.
    AttachedAnew,
}

/// Why pinned links cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("cannot use the pinned links")]
    Pins(#[from] io::Error),
    #[error("the program on {0} is in another network namespace: start lbxdp in that one")]
    Elsewhere(String),
}

/// Gives every pin the name of the interface it belongs to now, and removes those whose interface is gone.
pub(super) fn tidy(instance: &Instance, interfaces: &HashMap<u32, Link>) -> Result<(), LinkError> {
    let mut renamed = Vec::new();
    for Pinned { pin, program, ifindex } in pinned(instance)? {
        if ifindex == 0 {
            tracing::warn!(interface = pin, "the interface is gone, and its packet path with it");
            remove(instance, &pin)?;
            continue;
        }
        let link = interfaces.get(&ifindex);
        let link = link.filter(|link| link.xdp.is_some_and(|xdp| xdp.program == program));
        let Some(link) = link else {
            return Err(LinkError::Elsewhere(pin));
        };
        let name = instance.pin_name(&link.name);
        if name != pin {
            // In two steps, for names may have been exchanged. No interface is called so: it is too long.
            let between = format!("interface-of-index-{ifindex}");
            rename(instance, &pin, &between)?;
            renamed.push((between, name));
            tracing::info!(was = pin, interface = link.name, "the interface has another name");
        }
    }
    Ok(renamed.iter().try_for_each(|(between, pin)| rename(instance, between, pin))?)
}

/// Puts the program of this build on an interface: in the place of the one that is there, or anew.
pub(super) fn put(
    instance: &Instance,
    interface: &Interface,
    link: Option<&Link>,
    ebpf: &mut aya::Ebpf,
    generic: Generic,
) -> Result<Mode, LoadError> {
    let program = load::program(ebpf)?;
    let is_generic = link.and_then(|link| link.xdp).is_some_and(|xdp| xdp.is_generic);
    if is_generic && generic == Generic::AttachedAnew && instance.link_pin(&interface.name).exists() {
        // The kernel has no program of both kinds on an interface, not even for a moment.
        load::detach(instance, interface)?;
        tracing::info!(interface = interface.name, "taken off, to be attached anew");
    }
    if !instance.link_pin(&interface.name).exists() {
        let mode = load::attach(instance, interface, program)?;
        if mode == Mode::Native {
            tracing::info!(interface = interface.name, "attached in the driver");
        }
        return Ok(mode);
    }
    load::put_in_place(instance, interface, program)?;
    tracing::info!(interface = interface.name, "its program is replaced by this build's");
    if is_generic {
        tracing::warn!(
            interface = interface.name,
            "GENERIC XDP: attached so before, and left so (lbxdp run --reattach tries the driver again)"
        );
    }
    Ok(if is_generic { Mode::Generic } else { Mode::Native })
}

/// Takes the program off all interfaces but these.
pub(super) fn keep_only(instance: &Instance, interfaces: &[Interface]) -> io::Result<()> {
    let is_kept = |pin: &str| interfaces.iter().any(|kept| instance.pin_name(&kept.name) == pin);
    for Pinned { pin, .. } in pinned(instance)?.into_iter().filter(|pinned| !is_kept(&pinned.pin)) {
        tracing::warn!(interface = pin, "taken off this interface: it is not named any more");
        remove(instance, &pin)?;
    }
    Ok(())
}

/// Removes the pins of an interface that is gone.
pub(super) fn forget(instance: &Instance, interface: &str) -> io::Result<()> {
    remove(instance, &instance.pin_name(interface))
}

/// The interfaces that an instance's links are on, by their indices in their network namespaces, and the kernel's ids of the
/// programs there.
pub(crate) fn interfaces(instance: &Instance) -> io::Result<Vec<(u32, u32)>> {
    Ok(pinned(instance)?.into_iter().map(|link| (link.ifindex, link.program)).collect())
}

fn pinned(instance: &Instance) -> io::Result<Vec<Pinned>> {
    let entries = match std::fs::read_dir(instance.link_pins()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut links = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Held open until its interface is known.
        let link = FdLink::from(PinnedLink::from_pin(entry.path()).map_err(io::Error::other)?);
        let info = link.info().map_err(io::Error::other)?;
        let pin = entry.file_name().to_string_lossy().into_owned();
        links.push(Pinned { pin, program: info.program_id(), ifindex: ifindex(info.id())? });
    }
    Ok(links)
}

/// The interface of a link that this process holds open: the kernel tells it in `/proc` (`bpf_xdp_link_show_fdinfo`).
pub(crate) fn ifindex(link: u32) -> io::Result<u32> {
    for file in std::fs::read_dir("/proc/self/fdinfo")? {
        // The directory itself was open while it was read.
        let Ok(text) = std::fs::read_to_string(file?.path()) else {
            continue;
        };
        let field = |name: &str| {
            let mut fields = text.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(field, _)| *field == name).and_then(|(_, value)| value.trim().parse::<u32>().ok())
        };
        if field("link_id") == Some(link)
            && let Some(ifindex) = field("ifindex")
        {
            return Ok(ifindex);
        }
    }
    Err(io::Error::other("the kernel does not tell the interface of a link"))
}

fn pins(instance: &Instance, pin: &str) -> [PathBuf; 2] {
    [instance.link_pins().join(pin), instance.program_pins().join(pin)]
}

fn rename(instance: &Instance, from: &str, to: &str) -> io::Result<()> {
    let (from, to) = (pins(instance, from), pins(instance, to));
    from.iter().zip(&to).try_for_each(|(from, to)| match std::fs::rename(from, to) {
        // A daemon that was killed between two pins has left only one.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    })
}

fn remove(instance: &Instance, pin: &str) -> io::Result<()> {
    pins(instance, pin).iter().try_for_each(|path| crate::saved::remove(path))
}
