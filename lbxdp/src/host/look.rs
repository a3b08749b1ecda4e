//! What is there, asked of the kernel.

use std::fs;
use std::io;
use std::path::Path;

use super::HostError;
use super::netlink::Netlink;
use super::surroundings::Surroundings;
use crate::decap;
use crate::tables::pins::Instance;

/// The settings of every interface that count here.
const V4_SETTINGS: [&str; 6] =
    ["arp_ignore", "arp_announce", "rp_filter", "forwarding", "accept_redirects", "send_redirects"];

const V6_SETTINGS: [&str; 2] = ["forwarding", "accept_ra"];

/// Looks. Services of a daemon are not asked for.
pub(crate) fn look(netlink: &Netlink, instance: &Instance) -> Result<Surroundings, HostError> {
    let links = netlink.links()?;
    let mut there = Surroundings {
        addresses: netlink.addresses(&links)?,
        routes: netlink.routes(&links)?,
        decapsulators: decap::told(instance)?,
        ..Surroundings::default()
    };
    for family in ["ipv4", "ipv6"] {
        let settings: &[&str] = if family == "ipv4" { &V4_SETTINGS } else { &V6_SETTINGS };
        for interface in directories(&format!("net/{family}/conf")) {
            for setting in settings {
                learn(&mut there, format!("net/{family}/conf/{interface}/{setting}"));
            }
        }
    }
    learn(&mut there, "net/ipv4/ip_forward".to_owned());
    there.links = links;
    Ok(there)
}

fn learn(there: &mut Surroundings, name: String) {
    if let Ok(value) = read(&name) {
        there.sysctls.insert(name, value);
    }
}

fn directories(name: &str) -> Vec<String> {
    let entries = Path::new("/proc/sys").join(name).read_dir().into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn read(name: &str) -> io::Result<String> {
    fs::read_to_string(Path::new("/proc/sys").join(name)).map(|value| value.trim().to_owned())
}

/// Writes a value.
pub(super) fn write(name: &str, value: &str) -> io::Result<()> {
    fs::write(Path::new("/proc/sys").join(name), value)
}
