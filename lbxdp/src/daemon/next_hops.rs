//! Next hops: which interface and which MAC address lead to a server.
//!
//! The kernel's routes and neighbours say; this follows them through netlink, keeps the neighbour entries alive (packets
//! that XDP forwards do not), and never asks in the packet path.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use rtnetlink::{Handle, RouteMessageBuilder};

use crate::layout::Hop;

/// Multicast groups of rtnetlink, as bits (`linux/rtnetlink.h`, `RTMGRP_*`).
const GROUPS: u32 = 0x1 | 0x4 | 0x10 | 0x40;

/// The kernel's routing could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    #[error("cannot open a netlink socket")]
    Socket(#[from] std::io::Error),
    #[error("the kernel does not answer")]
    Silent,
    #[error("the connection to the kernel's routing has ended")]
    Closed,
    #[error("the kernel refuses to tell about {0}")]
    Ask(&'static str, #[source] rtnetlink::Error),
}

/// What came in, still to be looked at.
pub(super) type Event = NetlinkMessage<RouteNetlinkMessage>;

/// An interface of the director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub name: String,
    pub mac: [u8; 6],
    /// The XDP program on it.
    pub xdp: Option<AttachedXdp>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttachedXdp {
    /// The kernel's id of it.
    pub program: u32,
    /// It runs behind a socket buffer, not in the driver.
    pub is_generic: bool,
}

/// The next hops of all servers.
pub(super) struct NextHops {
    handle: Handle,
    events: futures_util::stream::BoxStream<'static, Event>,
    links: HashMap<u32, Link>,
    neighbours: HashMap<(u32, Ipv4Addr), Neighbour>,
    watched: BTreeMap<Ipv4Addr, Watched>,
    /// By interface index.
    slots: HashMap<u32, u16>,
    new_slots: Vec<(u16, u32)>,
    has_missed_events: bool,
}

/// A neighbour whose MAC address is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Neighbour {
    mac: [u8; 6],
    /// Set by the operator or a routing daemon, or on a link without ARP: nothing is to be kept alive.
    is_fixed: bool,
}

/// A server's address.
#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    route: Option<Route>,
    hop: Hop,
    /// What a daemon before this one knew of it: good until something better is known, or that nobody answers.
    inherited: Option<Hop>,
}

/// How the kernel would send to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Local,
    Via { ifindex: u32, neighbour: Ipv4Addr },
}

impl NextHops {
    /// Connects to the kernel and learns its links and neighbours. Must be called within the runtime.
    pub(super) async fn connect() -> Result<Self, NetlinkError> {
        // Answers come by a connection of their own, which no burst of events can fill.
        let (asking, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(asking);
        let (mut connection, _, messages) = rtnetlink::new_connection()?;
        connection.socket_mut().socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
        tokio::spawn(connection);
        let events = messages.map(|(message, _)| message).boxed();
        let (links, neighbours) = (HashMap::new(), HashMap::new());
        let mut hops = Self {
            handle,
            events,
            links,
            neighbours,
            watched: BTreeMap::new(),
            slots: HashMap::new(),
            new_slots: Vec::new(),
            has_missed_events: false,
        };
        hops.learn_all().await?;
        Ok(hops)
    }

    /// Learns all links and neighbours anew; what was known stays if the kernel does not answer.
    async fn learn_all(&mut self) -> Result<(), NetlinkError> {
        let links = self.handle.link().get().execute().try_collect::<Vec<_>>();
        let links = in_time(links).await?.map_err(|error| NetlinkError::Ask("links", error))?;
        let neighbours = self.handle.neighbours().get().execute().try_collect::<Vec<_>>();
        let neighbours =
            in_time(neighbours).await?.map_err(|error| NetlinkError::Ask("neighbours", error))?;
        self.links.clear();
        self.neighbours.clear();
        for link in &links {
            self.learn_link(link);
        }
        for neighbour in &neighbours {
            self.learn_neighbour(neighbour, true);
        }
        Ok(())
    }

    /// The interface of an index.
    pub(super) fn link(&self, ifindex: u32) -> Option<&Link> {
        self.links.get(&ifindex)
    }

    /// The interface of a name.
    pub(super) fn link_named(&self, name: &str) -> Option<(u32, &Link)> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(ifindex, link)| (*ifindex, link))
    }

    /// Where packets for an address go, as far as that is known.
    pub(super) fn hop(&self, address: IpAddr) -> Hop {
        match address {
            IpAddr::V4(address) => {
                self.watched.get(&address).map_or_else(Hop::default, |watched| watched.hop)
            }
            IpAddr::V6(_) => Hop::default(),
        }
    }

    /// All interfaces, by their indices.
    pub(super) fn links(&self) -> &HashMap<u32, Link> {
        &self.links
    }

    /// The interfaces that packets are sent out by and were not when this was last asked, with their slots in the device
    /// map.
    pub(super) fn new_ports(&mut self) -> Vec<(u16, u32)> {
        std::mem::take(&mut self.new_slots)
    }

    /// The interface has no slot any more: it is gone, or the device map did not take it.
    pub(super) fn forget_port(&mut self, ifindex: u32) {
        self.slots.remove(&ifindex);
    }

    /// Interfaces that packets are sent out by already, with their slots in the device map.
    pub(super) fn inherit_ports(&mut self, ports: impl IntoIterator<Item = (u16, u32)>) {
        self.slots.extend(ports.into_iter().map(|(slot, ifindex)| (ifindex, slot)));
    }

    /// All slots of the device map that are in use.
    pub(super) fn ports(&self) -> impl Iterator<Item = (u16, u32)> {
        self.slots.iter().map(|(ifindex, slot)| (*slot, *ifindex))
    }

    /// Follows an address of which a daemon before this one knew something.
    pub(super) async fn inherit(&mut self, address: IpAddr, hop: Hop) {
        if let IpAddr::V4(address) = address {
            let inherited = hop.mac.is_some().then_some(hop);
            self.watched.entry(address).or_insert(Watched { hop, inherited, route: None });
            // A kernel that does not answer now is asked again, and what is known stays until then.
            self.resolve(address).await;
            self.use_neighbour(address).await;
        }
    }

    /// Follows an address from now on. Whether its hop is another one now.
    pub(super) async fn watch(&mut self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else {
            return false;
        };
        if self.watched.contains_key(&address) {
            return false;
        }
        self.watched.insert(address, Watched::default());
        let changed = self.resolve(address).await.is_some();
        self.use_neighbour(address).await;
        changed
    }

    /// Follows no other addresses any more.
    pub(super) fn watch_only(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.watched.retain(|address, _| addresses.contains(&IpAddr::V4(*address)));
    }

    /// The next event; give it to [`NextHops::digest`].
    pub(super) async fn event(&mut self) -> Option<Event> {
        self.events.next().await
    }

    /// Takes in an event and all that came with it. Returns the addresses whose hop is another one now.
    pub(super) async fn digest(&mut self, event: Event) -> Vec<IpAddr> {
        let mut are_routes_dirty = self.learn(event);
        while let Some(Some(event)) = self.events.next().now_or_never() {
            are_routes_dirty |= self.learn(event);
        }
        if self.has_missed_events {
            return self.catch_up().await;
        }
        let addresses: Vec<Ipv4Addr> = self.watched.keys().copied().collect();
        let mut changed = Vec::new();
        for address in addresses {
            if are_routes_dirty {
                changed.extend(self.resolve(address).await);
            } else {
                changed.extend(self.refresh(address));
            }
        }
        changed
    }

    /// Asks for everything anew if an event or an answer was lost. Returns the addresses whose hop is another one now.
    pub(super) async fn catch_up(&mut self) -> Vec<IpAddr> {
        if !std::mem::take(&mut self.has_missed_events) {
            return Vec::new();
        }
        tracing::warn!("the kernel's events or answers were lost; all is asked for anew");
        if let Err(error) = self.learn_all().await {
            self.has_missed_events = true;
            tracing::error!(%error, "the kernel does not answer");
            return Vec::new();
        }
        let addresses: Vec<Ipv4Addr> = self.watched.keys().copied().collect();
        let mut changed = Vec::new();
        for address in addresses {
            changed.extend(self.resolve(address).await);
        }
        changed
    }

    /// Makes the kernel check every next hop that it has not heard of for a while, and look for those it lacks.
    pub(super) async fn keep_alive(&mut self) {
        let addresses: Vec<Ipv4Addr> = self.watched.keys().copied().collect();
        for address in addresses {
            self.use_neighbour(address).await;
        }
    }

    /// Looks the route up anew.
    async fn resolve(&mut self, address: Ipv4Addr) -> Option<IpAddr> {
        let question = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build();
        let answer = self.handle.route().get(question).execute();
        futures_util::pin_mut!(answer);
        let route = match in_time(answer.try_next()).await {
            Ok(Ok(Some(answer))) => route(&answer, address),
            Ok(Ok(None)) => None,
            // No route is an answer too.
            Ok(Err(rtnetlink::Error::NetlinkError(refusal))) if is_no_route(refusal.raw_code()) => None,
            Ok(Err(_)) | Err(_) => {
                self.has_missed_events = true;
                return None;
            }
        };
        self.watched.get_mut(&address)?.route = route;
        self.refresh(address)
    }

    /// Puts route, link and neighbour together.
    fn refresh(&mut self, address: Ipv4Addr) -> Option<IpAddr> {
        let hop = match self.watched.get(&address)?.route {
            None => Hop::default(),
            Some(Route::Local) => Hop { is_local: true, ..Hop::default() },
            Some(Route::Via { ifindex, neighbour }) => {
                let mac = self.neighbours.get(&(ifindex, neighbour)).map(|known| known.mac);
                if let Some(watched) = self.watched.get_mut(&address).filter(|_| mac.is_some()) {
                    watched.inherited = None;
                }
                let inherited = self.watched.get(&address).and_then(|watched| watched.inherited);
                let mac = mac.or(inherited.filter(|hop| hop.ifindex == ifindex).and_then(|hop| hop.mac));
                let source = self.links.get(&ifindex).map(|link| link.mac);
                // Only an interface that is there gets a slot.
                match source.and_then(|source| Some((source, self.slot(ifindex)?))) {
                    Some((source, port)) => Hop { mac, source, ifindex, port, is_local: false },
                    None => Hop::default(),
                }
            }
        };
        let watched = self.watched.get_mut(&address)?;
        (std::mem::replace(&mut watched.hop, hop) != hop).then_some(IpAddr::V4(address))
    }

    /// The interface's slot in the device map, a new one if need be; `None` if all are taken.
    fn slot(&mut self, ifindex: u32) -> Option<u16> {
        let next = (0..MAX_PORTS).find(|slot| self.slots.values().all(|taken| taken != slot));
        match self.slots.get(&ifindex) {
            Some(slot) => Some(*slot),
            None => next.inspect(|next| {
                self.slots.insert(ifindex, *next);
                self.new_slots.push((*next, ifindex));
            }),
        }
    }

    async fn use_neighbour(&self, address: Ipv4Addr) {
        let Some(Watched { route: Some(Route::Via { ifindex, neighbour }), .. }) = self.watched.get(&address)
        else {
            return;
        };
        // The kernel would take the use of a fixed entry for the wish to make it an ordinary one.
        if self.neighbours.get(&(*ifindex, *neighbour)).is_some_and(|known| known.is_fixed) {
            return;
        }
        let request = self.handle.neighbours().add(*ifindex, IpAddr::V4(*neighbour));
        let request = request.state(NeighbourState::None).flags(NeighbourFlags::Use).replace();
        if let Ok(Err(error)) = in_time(request.execute()).await {
            tracing::debug!(%address, %error, "the kernel does not look for the next hop");
        }
    }

    /// Whether routes may be others after this.
    fn learn(&mut self, event: Event) -> bool {
        let message = match event.payload {
            NetlinkPayload::InnerMessage(message) => message,
            NetlinkPayload::Overrun(_) => {
                self.has_missed_events = true;
                return true;
            }
            _ => return false,
        };
        match message {
            RouteNetlinkMessage::NewNeighbour(neighbour) => self.learn_neighbour(&neighbour, true),
            RouteNetlinkMessage::DelNeighbour(neighbour) => self.learn_neighbour(&neighbour, false),
            RouteNetlinkMessage::NewLink(link) => {
                self.learn_link(&link);
                return true;
            }
            // A port that leaves its bridge is told of so too, and is still there.
            RouteNetlinkMessage::DelLink(link) if link.header.interface_family == AddressFamily::Bridge => {}
            RouteNetlinkMessage::DelLink(link) => {
                self.links.remove(&link.header.index);
                self.forget_port(link.header.index);
                return true;
            }
            _ => return true,
        }
        false
    }

    /// Nobody answers there: what was known from before is not true any more.
    fn disinherit(&mut self, ifindex: u32, neighbour: Ipv4Addr) {
        for watched in self.watched.values_mut() {
            if watched.route == Some(Route::Via { ifindex, neighbour }) {
                watched.inherited = None;
            }
        }
    }

    fn learn_link(&mut self, message: &LinkMessage) {
        let (mut name, mut mac) = (None, None);
        let mut xdp = None;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Xdp(found) => xdp = attached_xdp(found),
                LinkAttribute::IfName(found) => name = Some(found.clone()),
                LinkAttribute::Address(found) => mac = <[u8; 6]>::try_from(found.as_slice()).ok(),
                _ => {}
            }
        }
        if let (Some(name), Some(mac)) = (name, mac) {
            self.links.insert(message.header.index, Link { name, mac, xdp });
        }
    }

    fn learn_neighbour(&mut self, message: &NeighbourMessage, exists: bool) {
        // Bridges' forwarding entries come the same way.
        if message.header.family != AddressFamily::Inet {
            return;
        }
        let (mut address, mut mac) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => address = Some(*found),
                NeighbourAttribute::LinkLocalAddress(found) => {
                    mac = <[u8; 6]>::try_from(found.as_slice()).ok();
                }
                _ => {}
            }
        }
        let Some(address) = address else {
            return;
        };
        let is_valid = exists
            && !matches!(
                message.header.state,
                NeighbourState::None | NeighbourState::Incomplete | NeighbourState::Failed
            );
        if let Some(mac) = mac.filter(|_| is_valid) {
            let is_fixed = message.header.flags.contains(NeighbourFlags::ExtLearned)
                || matches!(message.header.state, NeighbourState::Permanent | NeighbourState::Noarp);
            self.neighbours.insert((message.header.ifindex, address), Neighbour { mac, is_fixed });
        } else {
            if message.header.state == NeighbourState::Failed {
                self.disinherit(message.header.ifindex, address);
            }
            self.neighbours.remove(&(message.header.ifindex, address));
        }
    }
}

/// The kernel's answer, if it comes: a reply that was lost must not stop the director for ever.
async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, NetlinkError> {
    tokio::time::timeout(PATIENCE, answer).await.map_err(|_| NetlinkError::Silent)
}

fn attached_xdp(attributes: &[LinkXdp]) -> Option<AttachedXdp> {
    let program = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(program) => Some(*program),
        _ => None,
    });
    let is_generic = attributes.contains(&LinkXdp::Attached(XdpAttached::SocketBuffer));
    program.map(|program| AttachedXdp { program, is_generic })
}

/// The errors by which the kernel says that there is no way to an address (negative error numbers).
fn is_no_route(code: i32) -> bool {
    [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL].contains(&-code)
}

/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Slots of the device map.
const MAX_PORTS: u16 = 64;

fn route(answer: &RouteMessage, address: Ipv4Addr) -> Option<Route> {
    match answer.header.kind {
        RouteType::Local => return Some(Route::Local),
        RouteType::Unicast => {}
        _ => return None,
    }
    let (mut ifindex, mut gateway) = (None, None);
    for attribute in &answer.attributes {
        match attribute {
            RouteAttribute::Oif(found) => ifindex = Some(*found),
            RouteAttribute::Gateway(RouteAddress::Inet(found)) => gateway = Some(*found),
            _ => {}
        }
    }
    Some(Route::Via { ifindex: ifindex?, neighbour: gateway.unwrap_or(address) })
}
