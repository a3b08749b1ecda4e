//! `/proc/net/ip_vs`.

use std::fmt::Write;

use super::bracketed;
use crate::snapshot::{ServiceSnapshot, Snapshot};
use crate::state::{Endpoint, Family, ServiceKey};

pub(super) fn text(snapshot: &Snapshot) -> String {
    let mut text = format!(
        "IP Virtual Server version 1.2.1 (size={})\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n",
        snapshot.table_size
    );
    for service in &snapshot.services {
        add(&mut text, service, snapshot.hertz);
    }
    text
}

/// Writing into a string cannot fail.
fn add(text: &mut String, service: &ServiceSnapshot, hertz: u32) {
    let options = &service.options;
    let (scheduler, ops) = (options.scheduler.name(), if options.one_packet { "ops " } else { "" });
    let _ = match service.key {
        ServiceKey::Address(Endpoint { protocol, address, port }) => {
            let name = format!("{}  {}:{port:04X}", protocol.name(), bracketed(address));
            // The kernel does not say of an IPv6 service that it is a one-packet one.
            if address.is_ipv4() {
                write!(text, "{name} {scheduler} {ops} ")
            } else {
                write!(text, "{name} {scheduler} ")
            }
        }
        ServiceKey::Mark(mark) => write!(text, "FWM  {:08X} {scheduler} {ops}", mark.mark),
    };
    if let Some(persistence) = options.persistence {
        let mask = match service.key.family() {
            Family::V4 => persistence.netmask,
            // The length of a prefix, shown as if it were in network order.
            Family::V6 => persistence.netmask.swap_bytes(),
        };
        let ticks = u64::from(persistence.timeout_s) * u64::from(hertz);
        let _ = write!(text, "persistent {ticks} {mask:08X}");
    }
    text.push('\n');
    for snapshot in &service.servers {
        let server = &snapshot.server;
        let _ = writeln!(
            text,
            "  -> {}:{:04X}      {:<7} {:<6} {:<10} {:<10}",
            bracketed(server.address),
            server.port,
            server.forward,
            server.weight,
            snapshot.active,
            snapshot.inactive
        );
    }
}
