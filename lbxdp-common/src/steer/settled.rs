//! The next packet of a settled connection: what nearly every packet is, and what all of this exists for. All that it may
//! change is when its connection ends. Whatever is not so simple leaves untouched, to be looked at in full.
//!
//! Each instruction here needs a reason: measure before and after you touch it.

use super::Stages;
use super::follow::counted;
use super::forward::{ODD, leave};
use super::parse::{Front, Head, IP_OFFSET};
use crate::address::V4;
use crate::connection::Key;
use crate::protocol::Protocol;
use crate::server::{Method, Server, ServerFlags};
use crate::settings::SettingsView;
use crate::state::Settled;
use crate::table::{self, Hash};
use crate::verdict::Verdict;
use crate::wire::Frame;
use crate::wire::ipv4::{Ipv4, TTL_OFFSET, TtlAndChecksum};
use crate::wire::tcp::Tcp;
use crate::wire::udp::Udp;

/// Where the hops left stand, and what changes with them.
const TTL: usize = IP_OFFSET + TTL_OFFSET;
/// The first byte of an IPv4 header without options.
const PLAIN_IPV4: u8 = 0x45;

/// Sends an IPv4 packet for a VIP to its server, if it is such a one; else nothing has happened.
#[inline(always)]
pub(super) fn send<F: Frame, W: Stages<F>>(
    frame: &mut F,
    world: &W,
    head: &Head,
    settings: SettingsView<W::Row>,
) -> Option<Verdict> {
    let Head { front: Front { ip, .. }, tcp } = *head;
    let ip_bytes = u32::from(ip.total_bytes.get());
    if ip.version_and_length != PLAIN_IPV4 || ip.is_fragment() || !frame.reaches(IP_OFFSET as u32 + ip_bytes)
    {
        return None;
    }
    let (settled, least) = match Protocol::from_raw(ip.protocol)? {
        Protocol::Tcp if Settled::is_plain_tcp(tcp.flags) => {
            (Settled::TCP, size_of::<Ipv4>() + size_of::<Tcp>())
        }
        Protocol::Udp => (Settled::UDP, size_of::<Ipv4>() + size_of::<Udp>()),
        _ => return None,
    };
    if ip_bytes < least as u32 {
        return None;
    }
    let now = world.now();
    let timeout = settings.timeout(settled.timer);
    let key = Key {
        client: ip.source,
        vip: ip.destination,
        client_port: tcp.source,
        vip_port: tcp.destination,
        protocol: ip.protocol,
        kind: Key::CONNECTION,
        pad: [0; 2],
    }
    .cells();
    let hash = Hash::of_cells::<V4>(key, settings.seed());
    let (slot, word) = table::find_at_home::<V4, _>(world, settings.shape(), hash, key)?;
    if !word.is_settled_in(settled.state) || word.method() != Method::DIRECT || table::is_overdue(word, now) {
        return None;
    }
    let server = Server(world.server_row(word.server())?);
    let ((row_id, ifindex), hop) = (server.identity(), server.hop());
    if row_id != word.server()
        || hop.flags.among(ServerFlags::AVAILABLE.with(ODD)) != ServerFlags::AVAILABLE
        || !hop.is_resolved()
        || ip_bytes > server.change().mtu.into()
    {
        return None;
    }
    // Read only now: what is kept until it is needed costs as much.
    let ttl: TtlAndChecksum = frame.read(TTL)?;
    let ttl = ttl.decremented()?;
    let due = now + timeout;
    if due.since(word.due()).unsigned_abs() >= settings.refresh() && !slot.change(word, word.until(due)) {
        return None;
    }
    frame.write(TTL, ttl)?;
    frame.write(0, hop.macs)?;
    world.count(word.server(), counted(ip_bytes, 0));
    Some(leave(world, hop, ifindex))
}
