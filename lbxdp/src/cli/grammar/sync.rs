//! The words of the synchronization daemons.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::GrammarError;
use super::words::Verb;
use crate::state::{Role, SyncDaemon};

/// The longest name of an interface; what is longer is cut.
const LONGEST_INTERFACE: usize = 15;

/// A daemon of which nothing was said yet. What stays 0 or `None` is for the director to fill in.
pub(super) fn unspecified() -> SyncDaemon {
    SyncDaemon { interface: "eth0".to_owned(), sync_id: 0, max_length: 0, group: None, port: 0, ttl: 0 }
}

/// The value that `--start-daemon` and `--stop-daemon` need; the texts differ in ipvsadm, too.
pub(super) fn role(verb: Verb, role: &str) -> Result<Role, GrammarError> {
    let option = if verb == Verb::StartDaemon { "start-daemon parameter" } else { "start_daemon" };
    Role::from_name(role).ok_or(GrammarError::Number { option })
}

/// The name of an interface, as much of it as may be one.
pub(super) fn interface(name: &str) -> String {
    name[..name.floor_char_boundary(LONGEST_INTERFACE)].to_owned()
}

/// A multicast group must be one; a colon tells IPv6 from IPv4.
pub(super) fn group(group: &str) -> Result<IpAddr, GrammarError> {
    let is_ipv6 = group.contains(':');
    let address = if is_ipv6 {
        group.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    } else {
        group.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    };
    let family = if is_ipv6 { "IPv6" } else { "IPv4" };
    let wrong = || GrammarError::MulticastGroup { family, group: group.to_owned() };
    address.filter(IpAddr::is_multicast).ok_or_else(wrong)
}
