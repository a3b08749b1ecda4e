//! The words of the synchronization daemon: only their checks, as this version has no such daemon.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::GrammarError;
use super::words::Verb;

/// The value that `--start-daemon` and `--stop-daemon` need; the texts differ in ipvsadm, too.
pub(super) fn check_role(verb: Verb, role: &str) -> Result<(), GrammarError> {
    if matches!(role, "master" | "backup") {
        return Ok(());
    }
    let option = if verb == Verb::StartDaemon { "start-daemon parameter" } else { "start_daemon" };
    Err(GrammarError::Number { option })
}

/// A multicast group must be one; a colon tells IPv6 from IPv4.
pub(super) fn check_group(group: &str) -> Result<(), GrammarError> {
    let is_ipv6 = group.contains(':');
    let is_group = if is_ipv6 {
        group.parse::<Ipv6Addr>().is_ok_and(|address| address.is_multicast())
    } else {
        group.parse::<Ipv4Addr>().is_ok_and(|address| address.is_multicast())
    };
    let family = if is_ipv6 { "IPv6" } else { "IPv4" };
    if is_group { Ok(()) } else { Err(GrammarError::MulticastGroup { family, group: group.to_owned() }) }
}
