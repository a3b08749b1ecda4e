//! Addresses, links and routes, asked of the kernel and changed, one after the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RoutePreference,
    RouteType,
};
use rtnetlink::{Error, Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};
use tokio::runtime::Runtime;

use super::HostError;
use super::surroundings::{Address, Link, Route, Scope};

/// A connection to the kernel's routing.
pub(crate) struct Netlink {
    runtime: Runtime,
    handle: Handle,
}

/// The `preferred_lft` and `valid_lft` that never end.
const FOR_EVER: u32 = u32::MAX;

impl Netlink {
    pub(crate) fn open() -> Result<Self, HostError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(HostError::NetlinkSocket)?;
        let handle = runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            Ok(handle)
        });
        Ok(Self { handle: handle.map_err(HostError::NetlinkSocket)?, runtime })
    }

    pub(crate) fn links(&self) -> Result<Vec<Link>, HostError> {
        let all = self.runtime.block_on(self.handle.link().get().execute().try_collect::<Vec<_>>());
        let all = all.map_err(|error| HostError::Netlink("interfaces", error))?;
        Ok(all.iter().filter_map(link).collect())
    }

    /// All addresses, by the names of their interfaces.
    pub(crate) fn addresses(&self, links: &[Link]) -> Result<Vec<Address>, HostError> {
        let all = self.runtime.block_on(self.handle.address().get().execute().try_collect::<Vec<_>>());
        let all = all.map_err(|error| HostError::Netlink("addresses", error))?;
        Ok(all.iter().filter_map(|message| address(message, links)).collect())
    }

    /// Unicast routes of the main table.
    pub(crate) fn routes(&self, links: &[Link]) -> Result<Vec<Route>, HostError> {
        let questions =
            [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()];
        let mut routes = Vec::new();
        for question in questions {
            let all =
                self.runtime.block_on(self.handle.route().get(question).execute().try_collect::<Vec<_>>());
            let all = all.map_err(|error| HostError::Netlink("routes", error))?;
            routes.extend(all.iter().filter_map(|message| route(message, links)));
        }
        Ok(routes)
    }

    pub(super) fn add_address(&self, links: &[Link], address: &Address) -> Result<(), ChangeError> {
        let request = self.handle.address().add(
            index(links, &address.interface)?,
            address.address.addr(),
            address.address.prefix_len(),
        );
        let mut request = request;
        let message = request.message_mut();
        // A single address is the broadcast address of nobody, but the builder thinks otherwise.
        message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
        match address.scope {
            Scope::Global => {}
            Scope::Link => message.header.scope = AddressScope::Link,
            Scope::Host => message.header.scope = AddressScope::Host,
        }
        if address.address.addr().is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        if address.is_deprecated {
            let mut life = CacheInfo::default();
            life.ifa_preferred = 0;
            life.ifa_valid = FOR_EVER;
            message.attributes.push(AddressAttribute::CacheInfo(life));
        }
        Ok(self.runtime.block_on(request.execute())?)
    }

    pub(super) fn remove_address(&self, links: &[Link], address: &Address) -> Result<(), ChangeError> {
        let mut message = AddressMessage::default();
        let ip = address.address.addr();
        message.header.family = family(ip);
        message.header.prefix_len = address.address.prefix_len();
        message.header.index = index(links, &address.interface)?;
        message.attributes.push(AddressAttribute::Local(ip));
        message.attributes.push(AddressAttribute::Address(ip));
        Ok(self.runtime.block_on(self.handle.address().del(message).execute())?)
    }

    pub(super) fn set_link(&self, links: &[Link], name: &str, is_up: bool) -> Result<(), ChangeError> {
        let builder = LinkMessageBuilder::<LinkUnspec>::new().index(index(links, name)?);
        let message = if is_up { builder.up() } else { builder.down() }.build();
        Ok(self.runtime.block_on(self.handle.link().set(message).execute())?)
    }

    /// Puts a route in the place of the one to the same destination with the same metric.
    pub(super) fn change_route(&self, links: &[Link], route: &Route) -> Result<(), ChangeError> {
        let message = message_of(links, route)?;
        Ok(self.runtime.block_on(self.handle.route().add(message).replace().execute())?)
    }
}

/// Why something was not changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    /// To the kernel the index 0 would be any interface.
    #[error("there is no interface {0} any more")]
    NoInterface(String),
    #[error(transparent)]
    Kernel(#[from] Error),
}

fn index(links: &[Link], name: &str) -> Result<u32, ChangeError> {
    let link = links.iter().find(|link| link.name == name);
    link.map(|link| link.index).ok_or_else(|| ChangeError::NoInterface(name.to_owned()))
}

fn name(links: &[Link], index: u32) -> Option<String> {
    links.iter().find(|link| link.index == index).map(|link| link.name.clone())
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn link(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        is_up: flags.contains(LinkFlags::Up),
        is_loopback: flags.contains(LinkFlags::Loopback),
        has_arp: message.header.link_layer_type == LinkLayerType::Ether && !flags.contains(LinkFlags::Noarp),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().ok(),
            LinkAttribute::Link(lower) => link.lower = Some(*lower),
            LinkAttribute::Controller(master) => link.master = Some(*master),
            LinkAttribute::Xdp(attributes) => {
                link.xdp_program = attributes.iter().find_map(|attribute| match attribute {
                    LinkXdp::ProgId(program) => Some(*program),
                    _ => None,
                });
            }
            LinkAttribute::LinkInfo(infos) => {
                let kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind_name(kind)),
                    _ => None,
                });
                link.kind = kind.unwrap_or_default();
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn kind_name(kind: &InfoKind) -> String {
    kind.to_string()
}

fn address(message: &AddressMessage, links: &[Link]) -> Option<Address> {
    let (mut local, mut address, mut flags) = (None, None, AddressFlags::empty());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(found) => local = Some(*found),
            AddressAttribute::Address(found) => address = Some(*found),
            AddressAttribute::Flags(found) => flags = *found,
            _ => {}
        }
    }
    Some(Address {
        interface: name(links, message.header.index)?,
        address: IpNet::new(local.or(address)?, message.header.prefix_len).ok()?,
        scope: match message.header.scope {
            AddressScope::Host => Scope::Host,
            AddressScope::Link => Scope::Link,
            _ => Scope::Global,
        },
        is_deprecated: flags.contains(AddressFlags::Deprecated),
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn route(message: &RouteMessage, links: &[Link]) -> Option<Route> {
    let header = &message.header;
    let is_main = header.table == RouteHeader::RT_TABLE_MAIN;
    if header.kind != RouteType::Unicast || !is_main {
        return None;
    }
    let any: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut destination = any;
    let mut interface = None;
    // Without it the kernel would refuse a gateway that is on no network of its interface.
    let is_onlink = header.flags.contains(RouteFlags::Onlink);
    let mut route = Route {
        destination: IpNet::new(any, 0).ok()?,
        gateway: None,
        interface: String::new(),
        source: None,
        metric: 0,
        protocol: header.protocol.into(),
        scope: header.scope.into(),
        mtu: None,
        advmss: None,
        is_beyond_us: header.tos != 0 || header.source_prefix_length != 0 || is_onlink,
    };
    // IPv6's are made by the kernel itself and run out: they come back with its next advertisement.
    route.is_beyond_us |= route.is_advertised();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(found) => destination = ip(found)?,
            RouteAttribute::Gateway(found) => route.gateway = ip(found),
            RouteAttribute::PrefSource(found) => route.source = ip(found),
            RouteAttribute::Oif(index) => interface = name(links, *index),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Metrics(metrics) => {
                for metric in metrics {
                    match metric {
                        RouteMetric::Mtu(mtu) => route.mtu = Some(*mtu),
                        RouteMetric::Advmss(advmss) => route.advmss = Some(*advmss),
                        _ => route.is_beyond_us = true,
                    }
                }
            }
            RouteAttribute::Table(_)
            | RouteAttribute::CacheInfo(_)
            | RouteAttribute::Preference(RoutePreference::Medium) => {}
            _ => route.is_beyond_us = true,
        }
    }
    route.destination = IpNet::new(destination, header.destination_prefix_length).ok()?;
    route.interface = interface?;
    Some(route)
}

fn message_of(links: &[Link], route: &Route) -> Result<RouteMessage, ChangeError> {
    let wire = |address: IpAddr| match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    };
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(route.destination.addr()),
        destination_prefix_length: route.destination.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: route.protocol.into(),
        scope: route.scope.into(),
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    if route.destination.prefix_len() != 0 {
        message.attributes.push(RouteAttribute::Destination(wire(route.destination.addr())));
    }
    message.attributes.extend(route.gateway.map(|gateway| RouteAttribute::Gateway(wire(gateway))));
    message.attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(wire(source))));
    message.attributes.push(RouteAttribute::Oif(index(links, &route.interface)?));
    if route.metric != 0 {
        message.attributes.push(RouteAttribute::Priority(route.metric));
    }
    let metrics: Vec<RouteMetric> =
        route.mtu.map(RouteMetric::Mtu).into_iter().chain(route.advmss.map(RouteMetric::Advmss)).collect();
    if !metrics.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_by_a_gateway_beyond_all_networks_is_left_alone() {
        let links = [Link { index: 2, name: "eth0".into(), ..Link::default() }];
        let is_left = |flags| {
            let mut message = RouteMessage::default();
            message.header.address_family = AddressFamily::Inet;
            message.header.table = RouteHeader::RT_TABLE_MAIN;
            message.header.kind = RouteType::Unicast;
            message.header.flags = flags;
            message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet([172, 31, 1, 1].into())));
            message.attributes.push(RouteAttribute::Oif(2));
            route(&message, &links).unwrap().is_beyond_us
        };
        assert!(is_left(RouteFlags::Onlink));
        assert!(!is_left(RouteFlags::empty()));
    }

    /// The kernel would take a route without an interface, by its own choice.
    #[test]
    fn nothing_is_asked_of_an_interface_that_has_gone() {
        let links = [Link { index: 2, name: "eth0".into(), ..Link::default() }];
        assert_eq!(index(&links, "eth0").unwrap(), 2);
        assert!(matches!(index(&links, "eth1"), Err(ChangeError::NoInterface(name)) if name == "eth1"));
    }
}
