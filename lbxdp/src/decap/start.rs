//! `lbxdp decap start`: a program with new settings onto an interface, or in the place of the one that is there, in one
//! step: no packet goes without.

use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::xdp::XdpLinkId;
use aya::programs::{ProgramError, Xdp, XdpMode};
use ipnet::IpNet;
use lbxdp_common::decap::{MAX_GUE_PORTS, Settings};
use lbxdp_common::wire::ethernet;
use nix::ifaddrs::getifaddrs;

use super::attached::Attached;
use super::pins::Pins;
use super::program::{load, program};
use super::{Anything, DecapError};
use crate::daemon::load::{chain, os_error};
use crate::tables::decap::Decap;
use crate::tables::pins::Instance;

/// Puts it there, or replaces it.
pub(crate) fn start(
    instance: &Instance,
    interface: &str,
    from: &[IpNet],
    gue_ports: &[u16],
) -> Result<(), DecapError> {
    let (ifindex, mac) = interface_named(interface)?;
    let pins = Pins::new(instance, interface);
    let there = Attached::find(&pins)?;
    let there = match there {
        Some(there) if there.ifindex == ifindex => Some(there),
        Some(Attached { ifindex: 0, .. }) => {
            // The interface was removed, and has taken its program along; this is another one of its name.
            crate::saved::remove(&pins.link()).map_err(|error| DecapError::Pins(pins.link(), error))?;
            None
        }
        Some(_) => {
            return Err(DecapError::Elsewhere { instance: instance.clone(), interface: interface.into() });
        }
        None => None,
    };
    let mut settings = Settings { mac: ethernet::number(mac), ..Settings::default() };
    debug_assert!(gue_ports.len() <= MAX_GUE_PORTS);
    for (place, port) in settings.gue_ports.iter_mut().zip(gue_ports) {
        *place = *port;
    }
    let is_new = there.is_none();
    let started = put(&pins, ifindex, settings, from, there);
    if started.is_err() && is_new {
        // What could not be started leaves nothing. That it failed is what counts.
        let _ = pins.remove();
    }
    started
}

/// Index and MAC address of an interface of this network namespace.
pub(super) fn interface_named(name: &str) -> Result<(u32, [u8; 6]), DecapError> {
    let interfaces = getifaddrs().map_err(|_| DecapError::NoInterface(name.into()))?;
    let of_this_name: Vec<_> = interfaces.filter(|interface| interface.interface_name == name).collect();
    if of_this_name.is_empty() {
        return Err(DecapError::NoInterface(name.into()));
    }
    let link = of_this_name.iter().find_map(|interface| interface.address?.as_link_addr().copied());
    let mac = link.and_then(|link| Some((u32::try_from(link.ifindex()).ok()?, link.addr()?)));
    mac.ok_or_else(|| DecapError::NoEthernet(name.into()))
}

fn put(
    pins: &Pins,
    ifindex: u32,
    mut settings: Settings,
    from: &[IpNet],
    there: Option<Attached>,
) -> Result<(), DecapError> {
    let mut ebpf = load(&pins.directory)?;
    let mut tables = Decap::of_object(&mut ebpf)?;
    for source in from {
        tables.allow(*source)?;
    }
    if let Some(there) = &there {
        settings.is_generic = there.tables.settings()?.is_generic;
    }
    // A program that is attached has its settings already.
    tables.put_settings(settings)?;
    match there {
        Some(there) => replace(pins, there, &mut ebpf)?,
        None => {
            if attach(pins, ifindex, program(&mut ebpf)?)? {
                settings.is_generic = 1;
                tables.put_settings(settings)?;
            }
        }
    }
    if settings.is_generic != 0 {
        eprintln!(
            "lbxdp: warning: GENERIC XDP on {}: the driver does not take the program, the kernel runs it at a fraction of the speed",
            pins.interface
        );
    }
    Ok(())
}

fn replace(pins: &Pins, there: Attached, ebpf: &mut Ebpf) -> Result<(), DecapError> {
    let failed = |error: Anything| DecapError::Pin(pins.interface.clone(), error);
    let link =
        there.link.try_into().map_err(|error: aya::programs::links::LinkError| failed(error.into()))?;
    // Dropping it afterwards closes a descriptor; the pin is what holds the link.
    program(ebpf)?.attach_to_link(link).map_err(|error| failed(error.into()))?;
    Ok(())
}

/// Attaches and pins; whether it is in generic mode.
fn attach(pins: &Pins, ifindex: u32, program: &mut Xdp) -> Result<bool, DecapError> {
    let name = &pins.interface;
    let is_busy = |error: &ProgramError| os_error(error) == Some(libc::EBUSY);
    let failed = |error: ProgramError| {
        if is_busy(&error) { DecapError::Busy(name.clone()) } else { DecapError::Attach(name.clone(), error) }
    };
    let (link, is_generic) = match program.attach_to_if_index(ifindex, XdpMode::Driver) {
        Ok(link) => (link, false),
        Err(error) if is_busy(&error) => return Err(failed(error)),
        Err(native) => match program.attach_to_if_index(ifindex, XdpMode::Skb) {
            Ok(link) => {
                eprintln!("lbxdp: warning: {name} does not take it in the driver: {}", chain(&native));
                (link, true)
            }
            Err(generic) => return Err(failed(generic)),
        },
    };
    pin(pins, program, link).map_err(|error| DecapError::Pin(name.clone(), error))?;
    Ok(is_generic)
}

fn pin(pins: &Pins, program: &mut Xdp, link: XdpLinkId) -> Result<(), Anything> {
    let link: FdLink = program.take_link(link)?.try_into()?;
    link.pin(pins.link())?;
    Ok(())
}
