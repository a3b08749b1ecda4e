//! Errors about what servers that are reached by VS/NAT have been sent: they go to the client, as the servers' replies do
//! (`ip_vs_out_icmp`, `ip_vs_out_icmp_v6`). They come from the server, or from a router on the way to it.

use super::quote::{self, Quote};
use super::translate::{self, Outer};
use crate::address::Address;
use crate::connection::{Key, kind};
use crate::counters::ServerCounters;
use crate::reply::{self, Owner};
use crate::server::ServerId;
use crate::settings::{Rules, SettingsView};
use crate::steer::forward::{client, one_hop};
use crate::steer::parse::IP_OFFSET;
use crate::steer::{Stage, Stages, Ways, World};
use crate::table;
use crate::time::Ticks;
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;

/// The stage for IPv4 packets that are not for a VIP. What is not about a connection is the stack's.
#[inline(always)]
pub(in crate::steer) fn arrive_v4<F: Frame, W: Stages<F>>(
    world: &W,
    frame: &mut F,
) -> Result<Verdict, Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let Ok(quote) = quote::v4(frame) else {
        return about_tunnel(world, frame, settings.rules(), Stage::TunnelErrorV4);
    };
    let ip: Ipv4 = frame.read(IP_OFFSET).ok_or(Reason::NotOurs)?;
    let now = world.now();
    let Ok((key, server)) = connection(world, settings, &quote, ip.destination, now) else {
        return about_tunnel(world, frame, settings.rules(), Stage::TunnelErrorV4);
    };
    if translate::sum_v4(frame, world, quote.icmp, quote.bytes) != Some([0; 2]) {
        return Err(Reason::NotOurs);
    }
    count(world, server, quote.bytes);
    let way = client::way(world, frame, key, now)?;
    one_hop(frame, world, quote.bytes, way.mtu(), false)?;
    translate::v4(frame, world, &quote, Outer::Source, key.vip, key.vip_port).ok_or(Reason::Malformed)?;
    client::send(frame, world, way)
}

/// The same of IPv6.
#[inline(always)]
pub(in crate::steer) fn arrive_v6<F: Frame, W: Stages<F>>(
    world: &W,
    frame: &mut F,
) -> Result<Verdict, Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let Ok(quote) = quote::v6(frame, world) else {
        return about_tunnel(world, frame, settings.rules(), Stage::TunnelErrorV6);
    };
    let ip: Ipv6 = frame.read(IP_OFFSET).ok_or(Reason::NotOurs)?;
    let now = world.now();
    let Ok((key, server)) = connection(world, settings, &quote, ip.destination, now) else {
        return about_tunnel(world, frame, settings.rules(), Stage::TunnelErrorV6);
    };
    if translate::sum_v6(frame, world, quote.icmp, quote.bytes) != Some([0; 2]) {
        return Err(Reason::NotOurs);
    }
    count(world, server, quote.bytes);
    let way = client::way(world, frame, key, now)?;
    one_hop(frame, world, quote.bytes, way.mtu(), false)?;
    translate::v6(frame, world, &quote, Outer::Source, key.vip, key.vip_port).ok_or(Reason::Malformed)?;
    client::send(frame, world, way)
}

/// What quotes no packet of such a connection may quote one of a tunnel.
#[inline(always)]
fn about_tunnel<F: Frame, W: Stages<F>>(
    world: &W,
    frame: &mut F,
    rules: Rules,
    stage: Stage,
) -> Result<Verdict, Reason> {
    if rules.has(Rules::TUNNELS) { world.enter(stage, frame) } else { Err(Reason::NotOurs) }
}

/// The connection that the quoted packet went to its server of, and the server.
#[inline(always)]
fn connection<A: Address, W: Ways<A>>(
    world: &W,
    settings: SettingsView<W::Row>,
    quote: &Quote<A>,
    destination: A,
    now: Ticks,
) -> Result<(Key<A>, ServerId), Reason> {
    if !settings.rules().has(Rules::MASQUERADE) || destination != quote.source {
        return Err(Reason::NotOurs);
    }
    let told = Key {
        client: quote.source,
        vip: quote.destination,
        client_port: quote.source_port,
        vip_port: quote.destination_port,
        protocol: quote.protocol,
        kind: kind::REPLY,
        pad: [0; 2],
    };
    let told = told.cells();
    let (bond, server) = reply::find::<A, _>(world, settings, told);
    if bond == 0 {
        return Err(Reason::NotOurs);
    }
    let owner = reply::owner::<A, _>(world, settings.shape_of::<A>(), reply::told::<A>(told), bond, server);
    let Owner { key, word, .. } = owner.ok_or(Reason::NotOurs)?;
    if table::is_overdue(word, now) {
        return Err(Reason::NotOurs);
    }
    Ok((Key::from_cells(key), server))
}

#[inline(always)]
fn count<W: World>(world: &W, server: ServerId, bytes: u32) {
    let reply_bytes = bytes.into();
    world.count(server, ServerCounters { reply_packets: 1, reply_bytes, ..ServerCounters::default() });
}
