//! Errors about what clients have been sent: they go to the server of the connection, as the client's packets do
//! (`ip_vs_in_icmp`, `ip_vs_in_icmp_v6`).

use super::quote::{self, Quote};
use crate::address::{Address, V4, V6};
use crate::connection::{Course, Key, kind};
use crate::server::{Method, Server};
use crate::service::narrowed;
use crate::settings::SettingsView;
use crate::steer::follow::{Way, counted, way_to};
use crate::steer::parse::IP_OFFSET;
use crate::steer::{Desk, Stage, Stages, Ways, World};
use crate::table::{self, Found, Hash};
use crate::verdict::{Reason, Verdict};
use crate::wire::icmp::{ICMP_V6, Icmp};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::{Frame, checksum};

/// The stage for IPv4.
#[inline(always)]
pub(in crate::steer) fn arrive_v4<F: Frame, W: Stages<F>>(
    world: &W,
    frame: &mut F,
) -> Result<Verdict, Reason> {
    let quote = quote::v4(frame)?;
    let (course, hash) = course(world, &quote)?;
    if icmp_sum(frame, world, &quote) != Some([0; 2]) {
        return Err(Reason::Malformed);
    }
    let way = way_to(world, course, quote.bytes, hash)?;
    if course.method() == Method::MASQUERADE {
        let row = world.server_row(course.server()).ok_or(Reason::ServerGone)?;
        translate_v4(frame, world, &quote, Server(row)).ok_or(Reason::Malformed)?;
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
    if icmp_v6_sum(frame, world, &quote) != Some([0; 2]) {
        return Err(Reason::Malformed);
    }
    let way = way_to(world, course, quote.bytes, hash)?;
    if course.method() == Method::MASQUERADE {
        let row = world.server_row(course.server()).ok_or(Reason::ServerGone)?;
        translate_v6(frame, world, &quote, Server(row)).ok_or(Reason::Malformed)?;
    }
    depart(world, frame, &way)
}

/// Where the client's packets of the quoted one's connection go. What no connection is known of is the stack's.
#[inline(always)]
fn course<A: Address, W: Ways<A>>(world: &W, quote: &Quote<A>) -> Result<(Course, Hash), Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let key = Key {
        client: quote.destination,
        vip: quote.source,
        client_port: quote.destination_port,
        vip_port: quote.source_port,
        protocol: quote.protocol,
        kind: kind::CONNECTION,
        pad: [0; 2],
    };
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

/// Gives an error, and what it quotes, the server's address and port instead of the VIP's.
#[inline(always)]
fn translate_v4<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    quote: &Quote<V4>,
    server: Server<W::Row>,
) -> Option<()> {
    let address = narrowed(server.address());
    let ip: Ipv4 = frame.read(IP_OFFSET)?;
    let [was, is] = [ip.destination, address].map(u32::from_le_bytes);
    let checksum = checksum::after(ip.checksum, checksum::change(was, is));
    frame.write(IP_OFFSET, Ipv4 { destination: address, checksum, ..ip })?;

    let quoted_at = IP_OFFSET + quote.ip as usize;
    let quoted: Ipv4 = frame.read(quoted_at)?;
    frame.write(quoted_at, Ipv4 { source: address, checksum: [0; 2], ..quoted })?;
    let checksum = checksum::of_sum(checksum::sum(world, frame, quoted_at, quoted.header_bytes())?);
    frame.write(quoted_at, Ipv4 { source: address, checksum, ..quoted })?;
    frame.write(IP_OFFSET + quote.transport as usize, server_port(server, quote))?;

    clear_checksum(frame, quote)?;
    let checksum = icmp_sum(frame, world, quote)?;
    set_checksum(frame, quote, checksum)
}

/// The same of IPv6.
#[inline(always)]
fn translate_v6<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    quote: &Quote<V6>,
    server: Server<W::Row>,
) -> Option<()> {
    let address = server.address();
    let ip: Ipv6 = frame.read(IP_OFFSET)?;
    frame.write(IP_OFFSET, Ipv6 { destination: address, ..ip })?;
    let quoted_at = IP_OFFSET + quote.ip as usize;
    let quoted: Ipv6 = frame.read(quoted_at)?;
    frame.write(quoted_at, Ipv6 { source: address, ..quoted })?;
    frame.write(IP_OFFSET + quote.transport as usize, server_port(server, quote))?;

    clear_checksum(frame, quote)?;
    let checksum = icmp_v6_sum(frame, world, quote)?;
    set_checksum(frame, quote, checksum)
}

/// The port that the server's packets come from.
#[inline(always)]
fn server_port<A: Copy, C: crate::Cells>(server: Server<C>, quote: &Quote<A>) -> [u8; 2] {
    let port = server.change().port_number;
    if u16::from_ne_bytes(port) == 0 { quote.source_port } else { port }
}

#[inline(always)]
fn clear_checksum<F: Frame, A>(frame: &mut F, quote: &Quote<A>) -> Option<()> {
    set_checksum(frame, quote, [0; 2])
}

#[inline(always)]
fn set_checksum<F: Frame, A>(frame: &mut F, quote: &Quote<A>, checksum: [u8; 2]) -> Option<()> {
    let at = IP_OFFSET + quote.icmp as usize;
    let icmp: Icmp = frame.read(at)?;
    frame.write(at, Icmp { checksum, ..icmp })
}

/// The checksum of all of the error but its checksum; with that, 0.
#[inline(always)]
fn icmp_sum<F: Frame, W: World, A>(frame: &F, world: &W, quote: &Quote<A>) -> Option<[u8; 2]> {
    let bytes = quote.bytes.wrapping_sub(quote.icmp);
    checksum::long_sum(world, frame, IP_OFFSET + quote.icmp as usize, bytes).map(checksum::of_sum)
}

/// The same of IPv6, where it covers the addresses too.
#[inline(always)]
fn icmp_v6_sum<F: Frame, W: World>(frame: &F, world: &W, quote: &Quote<V6>) -> Option<[u8; 2]> {
    let bytes = quote.bytes.wrapping_sub(quote.icmp);
    let sum = checksum::long_sum(world, frame, IP_OFFSET + quote.icmp as usize, bytes)?;
    let ip: Ipv6 = frame.read(IP_OFFSET)?;
    let pseudo = Ipv6 { next: ICMP_V6, ..ip }.pseudo_sum() + u64::from((bytes as u16).to_be());
    Some(checksum::of_sum(sum + pseudo))
}
