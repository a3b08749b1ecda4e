//! Real servers of a service: add, edit, delete.

use std::net::{IpAddr, Ipv4Addr};

use super::CommandError;
use crate::state::{Family, Server, Service, ServiceKey, State};

/// The greatest weight and threshold: IPVS keeps them in an `int`.
const MOST: u32 = i32::MAX.unsigned_abs();

/// A new server is put at the head, as in IPVS: the schedulers see the newest first.
pub(super) fn add(state: &mut State, key: ServiceKey, server: Server) -> Result<(), CommandError> {
    let service = service_of(state, key)?;
    check(&server)?;
    if position(service, (server.address, server.port)).is_ok() {
        return Err(CommandError::ServerExists);
    }
    if !is_unicast(server.address) || Family::from(server.address) != key.family() {
        return Err(CommandError::InvalidServer);
    }
    service.servers.insert(0, server);
    Ok(())
}

/// Weight, forwarding method and thresholds are replaced; the position in the list stays.
pub(super) fn edit(state: &mut State, key: ServiceKey, server: Server) -> Result<(), CommandError> {
    let service = service_of(state, key)?;
    check(&server)?;
    let position = position(service, (server.address, server.port))?;
    service.servers[position] = server;
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

/// IPVS's checks of the numbers: a lower threshold needs an upper one.
fn check(server: &Server) -> Result<(), CommandError> {
    let Server { weight, upper, lower, .. } = *server;
    if weight <= MOST && upper <= MOST && lower <= upper { Ok(()) } else { Err(CommandError::OutOfRange) }
}

/// What IPVS's `inet_addr_type` check lets pass, as far as an address tells by itself.
fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address != Ipv4Addr::UNSPECIFIED && address != Ipv4Addr::BROADCAST && !address.is_multicast()
        }
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_multicast(),
    }
}
