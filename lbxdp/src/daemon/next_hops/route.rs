//! How the kernel would send to an address.

use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteType, RouteVia,
};

use super::neighbour::Place;

/// The kernel counts the life of a route in these (`USER_HZ`, the same on all machines that run lbxdp).
const TICKS_PER_SECOND: u32 = 100;

/// The bit of [`RouteMetric::Lock`] for the MTU (`RTAX_MTU`).
const MTU_LOCK: u32 = 1 << 2;

/// The answer to the question for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The director itself.
    Local,
    Via(Via),
}

/// Out by an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Via {
    pub ifindex: u32,
    /// The gateway, which may be of the other family; without one the address itself.
    pub neighbour: IpAddr,
    /// The director's address on this route.
    pub source: Option<IpAddr>,
    /// The route's own MTU, in bytes.
    pub mtu: Option<u32>,
    /// The operator wants that MTU whatever ICMP errors say.
    pub is_mtu_locked: bool,
    /// The MTU is not the operator's: the kernel has it from an ICMP error, for so long from when it was asked.
    pub mtu_expires: Option<Duration>,
}

impl Via {
    /// Where the next hop is.
    pub(super) fn place(&self) -> Place {
        (self.ifindex, self.neighbour)
    }
}

/// What the kernel's answer means; `None` if it is that packets to the address are not sent.
pub(super) fn route(answer: &RouteMessage, address: IpAddr) -> Option<Route> {
    match answer.header.kind {
        RouteType::Local => return Some(Route::Local),
        RouteType::Unicast => {}
        _ => return None,
    }
    let (mut ifindex, mut gateway, mut source) = (None, None, None);
    let (mut mtu, mut locks, mut expires) = (None, 0, 0);
    for attribute in &answer.attributes {
        match attribute {
            RouteAttribute::Oif(found) => ifindex = Some(*found),
            RouteAttribute::Gateway(found) => gateway = ip(found),
            RouteAttribute::Via(RouteVia::Inet(found)) => gateway = Some(IpAddr::V4(*found)),
            RouteAttribute::Via(RouteVia::Inet6(found)) => gateway = Some(IpAddr::V6(*found)),
            RouteAttribute::PrefSource(found) => source = ip(found),
            RouteAttribute::CacheInfo(found) => expires = found.expires,
            RouteAttribute::Metrics(found) => {
                for metric in found {
                    match metric {
                        RouteMetric::Mtu(found) => mtu = Some(*found),
                        RouteMetric::Lock(found) => locks = *found,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    // Routes that a router advertises end too, but their MTU is their own: only an exception is a clone.
    let is_exception = answer.header.flags.contains(RouteFlags::Cloned) && expires > 0 && mtu.is_some();
    let mtu_expires =
        is_exception.then(|| Duration::from_millis(1000 / u64::from(TICKS_PER_SECOND) * u64::from(expires)));
    Some(Route::Via(Via {
        ifindex: ifindex?,
        neighbour: gateway.unwrap_or(address),
        source,
        mtu,
        is_mtu_locked: locks & MTU_LOCK != 0,
        mtu_expires,
    }))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}
