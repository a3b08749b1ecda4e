//! Getting a packet to its server: one file a forwarding method.

pub(super) mod client;
mod direct;
pub(super) mod masquerade;
pub(super) mod tunnel;

use core::marker::PhantomData;

use super::follow::Way;
use super::{Desk, Stage, Stages, World, tagged};
use crate::address::{Address, V4, V6};
use crate::cells::Cells;
use crate::connection::Course;
use crate::server::{Hop, Method, Server, ServerFlags};
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;
use crate::wire::ethernet::{self, Ethernet, Tag};
use crate::wire::ipv4::{Ipv4, TTL_OFFSET, TtlAndChecksum};
use crate::wire::ipv6::HOP_LIMIT_OFFSET;

use super::parse::IP_OFFSET;

/// What makes a server's packets go another way than the straight one.
pub(super) const ODD: ServerFlags = ServerFlags::LOCAL.with(ServerFlags::TAGGED);

/// Rewrites the packet and says how it leaves.
#[inline(always)]
pub(super) fn forward<A: Address, F: Frame, W: Stages<F>>(
    frame: &mut F,
    world: &W,
    way: &Way,
) -> Result<Verdict, Reason> {
    if way.course.method() != Method::DIRECT || way.hop.flags.has_any(ODD) {
        let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
        desk.set_course(way.course, way.hash);
        if way.course.method() == Method::MASQUERADE {
            return world.enter(if A::IS_V6 { Stage::RequestV6 } else { Stage::RequestV4 }, frame);
        }
        return world.enter(Stage::Carry, frame);
    }
    if !way.hop.is_resolved() {
        return Err(Reason::NextHopUnresolved);
    }
    direct::rewrite::<A, _, _>(frame, world, &way.hop, way.ip_bytes, way.mtu)?;
    Ok(leave(world, way.hop, way.ifindex))
}

/// Out by the interface that leads to the server.
#[inline(always)]
pub(super) fn leave<W: World>(world: &W, hop: Hop, ifindex: u32) -> Verdict {
    if ifindex == world.ingress_ifindex() { Verdict::Transmit } else { Verdict::Redirect(hop.port) }
}

/// Sends the packet on the course that lies on the desk.
#[inline(always)]
pub(super) fn carry<F: Frame, W: World>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    let (course, hash) = (desk.course(), desk.hash());
    let server = Server(world.server_row(course.server()).ok_or(Reason::ServerGone)?);
    let (hop, (_, ifindex)) = (server.hop(), server.identity());
    if hop.flags.has(ServerFlags::LOCAL) {
        return Ok(Verdict::Local);
    }
    if !hop.is_resolved() {
        return Err(Reason::NextHopUnresolved);
    }
    match course.method() {
        Method::TUNNEL => tunnel::rewrite(frame, world, server, hash)?,
        // All but later fragments have a stage of their own.
        Method::MASQUERADE => masquerade::readdress_request(frame, world, server)?,
        _ => {
            let (ip_bytes, mtu) = (ip_bytes(frame).ok_or(Reason::Malformed)?, server.change().mtu.into());
            if is_v6(frame).ok_or(Reason::Malformed)? {
                direct::rewrite::<V6, _, _>(frame, world, &hop, ip_bytes, mtu)?;
            } else {
                direct::rewrite::<V4, _, _>(frame, world, &hop, ip_bytes, mtu)?;
            }
        }
    }
    tag(frame, server, hop)?;
    Ok(leave(world, hop, ifindex))
}

const TTL: usize = IP_OFFSET + TTL_OFFSET;
const HOP_LIMIT: usize = IP_OFFSET + HOP_LIMIT_OFFSET;

/// Gives the frame the VLAN tags of the server's way, if it has any.
#[inline(always)]
fn tag<F: Frame, C: Cells>(frame: &mut F, server: Server<C>, hop: Hop) -> Result<(), Reason> {
    if !hop.flags.has(ServerFlags::TAGGED) {
        return Ok(());
    }
    let [outer, inner] = server.tags();
    let inner = if hop.flags.has(ServerFlags::TWICE_TAGGED) { inner } else { Tag::default() };
    tagged::put(frame, [outer, inner]).ok_or(Reason::NoWayOut)
}

/// Whether the frame's packet is an IPv6 one. There are no others than that and IPv4.
#[inline(always)]
pub(super) fn is_v6<F: Frame>(frame: &F) -> Option<bool> {
    let Ethernet { ethertype, .. } = frame.read(0)?;
    Some(ethertype == ethernet::IPV6)
}

/// Bytes from the IP header on.
#[inline(always)]
fn ip_bytes<F: Frame>(frame: &F) -> Option<u32> {
    const TOTAL_BYTES: usize = IP_OFFSET + 2;
    const PAYLOAD_BYTES: usize = IP_OFFSET + 4;
    let [[high, low], more] = if is_v6(frame)? {
        [frame.read::<[u8; 2]>(PAYLOAD_BYTES)?, [0, 40]]
    } else {
        [frame.read::<[u8; 2]>(TOTAL_BYTES)?, [0, 0]]
    };
    Some(u32::from(u16::from_be_bytes([high, low])) + u32::from(u16::from_be_bytes(more)))
}

/// One hop less, and no more than the way allows; else the packet is left as it is. IPv4 packets that do not fit and may
/// be fragmented are; `is_fragmented`: so are those that say that they must not be.
///
/// In this order, as Linux does (`__ip_vs_get_out_rt`).
#[inline(always)]
pub(super) fn one_hop<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    ip_bytes: u32,
    mtu: u32,
    is_fragmented: bool,
) -> Result<(), Reason> {
    if is_v6(frame).ok_or(Reason::Malformed)? {
        one_hop_of::<V6, _, _>(frame, world, ip_bytes, mtu, is_fragmented)
    } else {
        one_hop_of::<V4, _, _>(frame, world, ip_bytes, mtu, is_fragmented)
    }
}

/// The same where it is known which kind of packet it is: the straight path does not ask again.
#[inline(always)]
fn one_hop_of<A: Address, F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    ip_bytes: u32,
    mtu: u32,
    is_fragmented: bool,
) -> Result<(), Reason> {
    let hops = Hops::<A>::of(frame)?;
    if ip_bytes > mtu {
        let reason = too_big(world, mtu);
        if A::IS_V6 {
            return Err(reason);
        }
        let ip: Ipv4 = frame.read(IP_OFFSET).ok_or(Reason::Malformed)?;
        return Err(if is_fragmented || !ip.must_not_fragment() { Reason::MustFragment } else { reason });
    }
    hops.write(frame).ok_or(Reason::Malformed)
}

/// One hop less, as it stands in a packet's header. A number: what the compiler keeps on the kernel's stack must be aligned.
#[derive(Clone, Copy)]
pub(super) struct Hops<A> {
    /// [`TtlAndChecksum`]'s bytes, the first one lowest; of IPv6 the hop limit.
    number: u32,
    /// The same as it was.
    before: u32,
    width: PhantomData<A>,
}

impl<A: Address> Hops<A> {
    /// Of the packet in a frame, if one is left.
    #[inline(always)]
    pub(super) fn of<F: Frame>(frame: &F) -> Result<Self, Reason> {
        let (before, number) = if A::IS_V6 {
            let hops: u8 = frame.read(HOP_LIMIT).ok_or(Reason::Malformed)?;
            if hops <= 1 {
                return Err(Reason::TtlExpired);
            }
            (hops.into(), u32::from(hops - 1))
        } else {
            let before: TtlAndChecksum = frame.read(TTL).ok_or(Reason::Malformed)?;
            let ttl = before.decremented().ok_or(Reason::TtlExpired)?;
            (u32::from_le_bytes(zerocopy::transmute!(before)), u32::from_le_bytes(zerocopy::transmute!(ttl)))
        };
        Ok(Self { number, before, width: PhantomData })
    }

    #[inline(always)]
    pub(super) fn write<F: Frame>(self, frame: &mut F) -> Option<()> {
        Self::put(frame, self.number)
    }

    /// Makes the packet again what it was before they were written.
    #[inline(always)]
    pub(super) fn take_back<F: Frame>(self, frame: &mut F) -> Option<()> {
        Self::put(frame, self.before)
    }

    #[inline(always)]
    fn put<F: Frame>(frame: &mut F, number: u32) -> Option<()> {
        if A::IS_V6 { frame.write(HOP_LIMIT, number as u8) } else { frame.write(TTL, number.to_le_bytes()) }
    }

    /// How many are left.
    #[inline(always)]
    pub(super) const fn left(self) -> u8 {
        self.number as u8
    }
}

/// Whether a packet fits its way as it is.
#[inline(always)]
pub(super) fn goes_whole<W: World>(world: &W, course: Course, ip_bytes: u32) -> bool {
    let Some(server) = world.server_row(course.server()).map(Server) else {
        return true;
    };
    let more = match course.method() {
        Method::TUNNEL => tunnel::outer_bytes(server),
        _ => 0,
    };
    server.hop().flags.has(ServerFlags::LOCAL) || ip_bytes + more <= u32::from(server.change().mtu)
}

/// What would have fitted is noted for who tells the sender.
#[inline(always)]
fn too_big<W: World>(world: &W, mtu: u32) -> Reason {
    if let Some(desk) = world.desk() {
        Desk(desk).set_mtu(mtu);
    }
    Reason::TooBig
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Buffer;

    fn check<A: Address>(ttl_at: usize) {
        let frame: [u8; 60] = core::array::from_fn(|at| if at == ttl_at { 2 } else { 0xff - at as u8 });
        let mut memory = frame;
        let mut buffer = Buffer::new(&mut memory, 0);
        let mut packet = &mut buffer;
        let hops = Hops::<A>::of(&packet).unwrap_or_else(|reason| panic!("{reason}"));
        hops.write(&mut packet).expect("the frame is long enough");
        assert_eq!(packet.read::<u8>(ttl_at), Some(1));
        hops.take_back(&mut packet).expect("the frame is long enough");
        assert_eq!(buffer.frame(), frame);
    }

    #[test]
    fn a_packet_that_cannot_go_gets_its_hops_back() {
        check::<V4>(TTL);
        check::<V6>(HOP_LIMIT);
    }
}
