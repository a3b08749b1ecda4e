//! Real servers of a service: add, edit, delete.

use std::net::{IpAddr, Ipv4Addr};

use lbxdp_common::{Forward, TunnelKind};

use super::CommandError;
use crate::state::{Family, Server, Service, ServiceKey, State};

/// The greatest weight and threshold: IPVS keeps them in an `int`.
const MOST: u32 = i32::MAX.unsigned_abs();

/// A new server is put at the head, as in IPVS: the schedulers see the newest first.
pub(super) fn add(state: &mut State, key: ServiceKey, server: Server) -> Result<(), CommandError> {
    let has_daemons = state.daemons.is_any();
    let service = service_of(state, key)?;
    check(key, &server, has_daemons)?;
    if position(service, (server.address, server.port)).is_ok() {
        return Err(CommandError::ServerExists);
    }
    if !is_unicast(server.address) {
        return Err(CommandError::Invalid);
    }
    service.servers.insert(0, server.without_surplus());
    Ok(())
}

/// Forwarding method, tunnel, weight and thresholds are replaced; the position in the list stays.
pub(super) fn edit(state: &mut State, key: ServiceKey, server: Server) -> Result<(), CommandError> {
    let has_daemons = state.daemons.is_any();
    let service = service_of(state, key)?;
    check(key, &server, has_daemons)?;
    let position = position(service, (server.address, server.port))?;
    service.servers[position] = server.without_surplus();
    Ok(())
}

pub(super) fn delete(state: &mut State, key: ServiceKey, server: (IpAddr, u16)) -> Result<(), CommandError> {
    let service = service_of(state, key)?;
    let position = position(service, server)?;
    service.servers.remove(position);
    Ok(())
}

fn service_of(state: &mut State, key: ServiceKey) -> Result<&mut Service, CommandError> {
    state.services.get_mut(&key).ok_or(CommandError::ServiceNotDefined)
}

fn position(service: &Service, server: (IpAddr, u16)) -> Result<usize, CommandError> {
    let found = service.servers.iter().position(|known| (known.address, known.port) == server);
    found.ok_or(CommandError::NoSuchServer)
}

/// IPVS's checks in its order: only a tunnel leads from one family to the other, and not while connections are synchronized; a
/// lower threshold needs an upper one, GUE needs a port.
fn check(key: ServiceKey, server: &Server, has_daemons: bool) -> Result<(), CommandError> {
    let Server { address, port, forward, tunnel, weight, upper, lower } = *server;
    if Family::from(address) != key.family() && (has_daemons || forward != Forward::Tunnel) {
        return Err(CommandError::Invalid);
    }
    if weight > MOST || upper > MOST || lower > upper {
        return Err(CommandError::OutOfRange);
    }
    if tunnel.kind == TunnelKind::Gue && tunnel.port == 0 {
        return Err(CommandError::Invalid);
    }
    // Without address translation a packet keeps its port; ipvsadm sees to that before it asks.
    if key.protocol().is_some() && forward != Forward::Masquerade && port != key.port() {
        return Err(CommandError::Invalid);
    }
    Ok(())
}

/// What IPVS's checks by `inet_addr_type` and `ipv6_addr_type` let pass, as far as an address tells by itself. A link-local
/// one must be the director's own: that only the daemon can tell.
fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address != Ipv4Addr::UNSPECIFIED && address != Ipv4Addr::BROADCAST && !address.is_multicast()
        }
        IpAddr::V6(address) => {
            !address.is_unspecified() && !address.is_multicast() && address.to_ipv4_mapped().is_none()
        }
    }
}
