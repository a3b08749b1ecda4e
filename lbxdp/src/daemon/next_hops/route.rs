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

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::{RouteCacheInfo, RouteCacheInfoBuffer};
    use rtnetlink::packet_core::Parseable;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn answer(attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.kind = RouteType::Unicast;
        message.header.flags = RouteFlags::Cloned;
        message.attributes = vec![RouteAttribute::Oif(3)];
        message.attributes.extend(attributes);
        message
    }

    fn via(attributes: Vec<RouteAttribute>, address: IpAddr) -> Via {
        match route(&answer(attributes), address) {
            Some(Route::Via(via)) => via,
            other => panic!("{other:?}"),
        }
    }

    fn expires(ticks: u32) -> RouteAttribute {
        let mut bytes = [0; 32];
        bytes[8..12].copy_from_slice(&ticks.to_ne_bytes());
        RouteAttribute::CacheInfo(RouteCacheInfo::parse(&RouteCacheInfoBuffer::new(&bytes)).unwrap())
    }

    #[test]
    fn the_next_hop_is_the_gateway_or_the_address_itself() {
        let (v4, v6, gateway) = (address("10.0.0.2"), address("fd00::2"), address("fe80::1"));
        let by = |attributes, address| via(attributes, address).place();
        assert_eq!(by(vec![], v4), (3, v4));
        assert_eq!(by(vec![], v6), (3, v6));
        assert_eq!(by(vec![RouteAttribute::Gateway(gateway.into())], v6), (3, gateway));
        assert_eq!(by(vec![RouteAttribute::Via(gateway.into())], v4), (3, gateway));
    }

    #[test]
    fn only_an_exception_ends() {
        let mtu = RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)]);
        let server = address("fd00::2");
        let of = |attributes| {
            let found = via(attributes, server);
            (found.mtu, found.mtu_expires)
        };
        assert_eq!(of(vec![]), (None, None));
        assert_eq!(of(vec![mtu.clone(), expires(0)]), (Some(1400), None));
        assert_eq!(of(vec![mtu.clone(), expires(4250)]), (Some(1400), Some(Duration::from_millis(42_500))));
        assert_eq!(of(vec![expires(4250)]), (None, None));
        // What a router advertises is no clone.
        let mut advertised = answer(vec![mtu, expires(4250)]);
        advertised.header.flags = RouteFlags::empty();
        let Some(Route::Via(advertised)) = route(&advertised, server) else {
            panic!("it leads somewhere");
        };
        assert_eq!((advertised.mtu, advertised.mtu_expires), (Some(1400), None));
    }

    #[test]
    fn a_lock_on_the_mtu_is_told_from_other_locks() {
        let locked = |bits| {
            let metrics = vec![RouteMetric::Lock(bits), RouteMetric::Mtu(1400)];
            via(vec![RouteAttribute::Metrics(metrics)], address("10.0.0.2")).is_mtu_locked
        };
        assert!(locked(1 << 2) && locked(0xffff) && !locked(1 << 8) && !locked(0));
    }

    #[test]
    fn what_is_not_sent_has_no_route() {
        for kind in [RouteType::BlackHole, RouteType::Unreachable, RouteType::Prohibit, RouteType::Broadcast]
        {
            let mut refused = answer(vec![]);
            refused.header.kind = kind;
            assert_eq!(route(&refused, address("10.0.0.2")), None);
        }
        let mut local = answer(vec![]);
        local.header.kind = RouteType::Local;
        assert_eq!(route(&local, address("::1")), Some(Route::Local));
    }
}
