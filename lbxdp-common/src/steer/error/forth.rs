//! Errors about what clients have been sent: they go to the server of the connection, as the client's packets do
//! (`ip_vs_in_icmp`, `ip_vs_in_icmp_v6`).

use super::quote::{self, Quote};
use super::translate::{self, Outer};
use crate::address::Address;
use crate::connection::{Course, Key, kind};
use crate::reply::port_of;
use crate::server::{Method, Server};
use crate::service::narrowed;
use crate::settings::SettingsView;
use crate::steer::follow::{Way, counted, way_to};
use crate::steer::{Desk, Stage, Stages, Ways};
use crate::table::{self, Found, Hash};
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;

/// The stage for IPv4.
#[inline(always)]
pub(in crate::steer) fn arrive_v4<F: Frame, W: Stages<F>>(
    world: &W,
    frame: &mut F,
) -> Result<Verdict, Reason> {
    let quote = quote::v4(frame)?;
    let (course, hash) = course(world, &quote)?;
    if translate::sum_v4(frame, world, quote.icmp, quote.bytes) != Some([0; 2]) {
        return Err(Reason::Malformed);
    }
    let way = way_to(world, course, quote.bytes, hash)?;
    if course.method() == Method::MASQUERADE {
        let server = Server(world.server_row(course.server()).ok_or(Reason::ServerGone)?);
        let port = port_of(server, key_of(&quote));
        translate::v4(frame, world, &quote, Outer::Destination, narrowed(server.address()), port)
            .ok_or(Reason::Malformed)?;
    }
    depart(world, frame, &way)
}

/// The stage for IPv6.
#[inline(always)]
pub(in crate::steer) fn arrive_v6<F: Frame, W: Stages<F>>(
    world: &W,
    frame: &mut F,
) -> Result<Verdict, Reason> {
    let quote = quote::v6(frame, world)?;
    let (course, hash) = course(world, &quote)?;
    if translate::sum_v6(frame, world, quote.icmp, quote.bytes) != Some([0; 2]) {
        return Err(Reason::Malformed);
    }
    let way = way_to(world, course, quote.bytes, hash)?;
    if course.method() == Method::MASQUERADE {
        let server = Server(world.server_row(course.server()).ok_or(Reason::ServerGone)?);
        let port = port_of(server, key_of(&quote));
        translate::v6(frame, world, &quote, Outer::Destination, server.address(), port)
            .ok_or(Reason::Malformed)?;
    }
    depart(world, frame, &way)
}

/// Where the client's packets of the quoted one's connection go. What no connection is known of is the stack's.
#[inline(always)]
fn course<A: Address, W: Ways<A>>(world: &W, quote: &Quote<A>) -> Result<(Course, Hash), Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let key = key_of(quote);
    let hash = Hash::of(key, settings.seed());
    let found = table::find(world, settings.shape_of::<A>(), hash, key).ok_or(Reason::OtherProtocol)?;
    let (Found::Here(_, word) | Found::OnItsWay(word)) = found;
    if table::is_overdue(word, world.now()) {
        return Err(Reason::OtherProtocol);
    }
    Ok((word.course(), hash))
}

/// Counts the error as a packet of the connection, which stays as it is, and sends it on.
#[inline(always)]
fn depart<F: Frame, W: Stages<F>>(world: &W, frame: &mut F, way: &Way) -> Result<Verdict, Reason> {
    let (server, method) = (way.course.server(), way.course.method());
    world.count(server, counted(way.ip_bytes, 0));
    // A translated one has only to get there.
    let method = if method == Method::MASQUERADE { Method::DIRECT } else { method };
    Desk(world.desk().ok_or(Reason::NotReady)?).set_course(Course::new(server, method), way.hash);
    world.enter(Stage::Carry, frame)
}

/// The key of the connection that the quoted packet, an answer, belongs to.
#[inline(always)]
fn key_of<A: Copy>(quote: &Quote<A>) -> Key<A> {
    Key {
        client: quote.destination,
        vip: quote.source,
        client_port: quote.destination_port,
        vip_port: quote.source_port,
        protocol: quote.protocol,
        kind: kind::CONNECTION,
        pad: [0; 2],
    }
}
