//! The way back to a client, for replies of VS/NAT.

use crate::address::Address;
use crate::client_hop::{self, BELIEVED, ClientHop, WANTED, Wanted};
use crate::connection::Key;
use crate::settings::SettingsView;
use crate::steer::{Route, Stages, World, tagged};
use crate::time::Ticks;
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;
use crate::wire::ethernet::Tag;

/// The way from a connection's VIP to its client: as this CPU remembers it, else as the kernel has it now.
#[inline(always)]
pub(in crate::steer) fn way<A: Address, F: Frame, W: Stages<F>>(
    world: &W,
    frame: &F,
    key: Key<A>,
    now: Ticks,
) -> Result<ClientHop<W::Row>, Reason> {
    let (client, vip) = (key.client.wide(), key.vip.wide());
    let hash = client_hop::hash(key.client.folded(), key.vip.folded());
    let row = row(world, hash).ok_or(Reason::NotReady)?;
    if row.is_of(client, vip, now) {
        return Ok(row);
    }
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let route = world.route(frame, key.vip, key.client, row);
    match route.failure() {
        None => {
            if let Some([ifindex, tags]) = world.vlan(row.way().ifindex) {
                if ifindex == 0 {
                    return Err(Reason::NoWayOut);
                }
                row.go_below(ifindex as u32, tags);
            }
            row.name(client, vip, now + settings.hertz() / BELIEVED, route.mtu());
            Ok(row)
        }
        Some(Route::NO_NEIGHBOUR) => {
            if let Some(place) = world.wanted(hash % WANTED) {
                Wanted(place).put(client, A::IS_V6);
            }
            Err(Reason::ClientUnresolved)
        }
        Some(_) => Err(Reason::NoRoute),
    }
}

/// The same, if this CPU remembers it.
#[inline(always)]
pub(in crate::steer) fn remembered<A: Address, W: World>(
    world: &W,
    key: Key<A>,
    now: Ticks,
) -> Option<ClientHop<W::Row>> {
    let hash = client_hop::hash(key.client.folded(), key.vip.folded());
    let row = row(world, hash)?;
    row.is_of(key.client.wide(), key.vip.wide(), now).then_some(row)
}

/// Where this CPU would remember a way with that hash.
#[inline(always)]
fn row<W: World>(world: &W, hash: u32) -> Option<ClientHop<W::Row>> {
    world.client_hop(client_hop::row_of(hash)).map(ClientHop)
}

/// Sends a frame on that way.
#[inline(always)]
pub(in crate::steer) fn send<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    row: ClientHop<W::Row>,
) -> Result<Verdict, Reason> {
    let (way, tags) = (row.way(), row.tags());
    frame.write(0, way.macs).ok_or(Reason::Malformed)?;
    if tags[0] != Tag::default() {
        tagged::put(frame, tags).ok_or(Reason::NoWayOut)?;
    }
    Ok(if way.ifindex == world.ingress_ifindex() { Verdict::Transmit } else { Verdict::Leave(way.ifindex) })
}
