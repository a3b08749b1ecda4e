//! Follows the next hops of all servers: what the kernel says of routes, links and neighbours, put together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Instant;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::NetlinkPayload;

use super::kernel::{self, Event, Kernel, NetlinkError};
use super::link::{Link, Links};
use super::message::Message;
use super::neighbour::{Neighbours, Place};
use super::path_mtu::PathMtu;
use super::ports::Ports;
use super::ration::Ration;
use super::route::{Route, Via, route};
use crate::layout::{Hop, VlanTags};

/// How many addresses without servers are looked for in a second.
const LOOKED_FOR: u32 = 64;

/// The next hops of all servers.
pub(in crate::daemon) struct NextHops {
    kernel: Kernel,
    events: BoxStream<'static, Event>,
    links: Links,
    neighbours: Neighbours,
    watched: BTreeMap<IpAddr, Watched>,
    ports: Ports,
    looked_for: Ration,
    has_missed_events: bool,
}

/// A server's address.
#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    route: Option<Route>,
    hop: Hop,
    /// What a daemon before this one knew of it: good until something better is known, or that nobody answers.
    inherited: Option<Hop>,
    path_mtu: Option<PathMtu>,
}

impl Watched {
    const fn via(&self) -> Option<Via> {
        match self.route {
            Some(Route::Via(via)) => Some(via),
            Some(Route::Local) | None => None,
        }
    }

    /// Takes in how the kernel would send to it now.
    fn take_route(&mut self, mut route: Option<Route>, now: Instant) {
        let was = self.via();
        if let Some(Route::Via(via)) = &mut route {
            // What errors have said of another way is nothing to this one.
            if was.is_none_or(|was| was.place() != via.place()) {
                self.path_mtu = None;
            }
            if let Some(expires) = via.mtu_expires {
                let mtu = via.mtu.take().map_or(u16::MAX, bytes);
                self.path_mtu = Some(PathMtu { mtu, until: now + expires }.lower(self.path_mtu));
            }
        }
        self.route = route;
    }

    /// The largest packet on a route by an interface of an MTU.
    fn mtu(&self, via: Via, device: u32) -> u16 {
        let mtu = via.mtu.filter(|mtu| device == 0 || *mtu < device).unwrap_or(device);
        let mtu = bytes(mtu);
        self.path_mtu.map_or(mtu, |path| path.mtu.min(mtu))
    }
}

/// No IP packet is larger (loopback claims 65,536 bytes).
fn bytes(mtu: u32) -> u16 {
    u16::try_from(mtu).unwrap_or(u16::MAX)
}

impl NextHops {
    /// Connects to the kernel and learns its links and neighbours. Must be called within the runtime.
    pub(in crate::daemon) async fn connect() -> Result<Self, NetlinkError> {
        let (kernel, events) = kernel::connect()?;
        let mut hops = Self {
            kernel,
            events,
            links: Links::default(),
            neighbours: Neighbours::default(),
            watched: BTreeMap::new(),
            ports: Ports::default(),
            looked_for: Ration::of(LOOKED_FOR),
            has_missed_events: false,
        };
        hops.learn_all().await?;
        Ok(hops)
    }

    /// Learns all links and neighbours anew; what was known stays if the kernel does not answer.
    async fn learn_all(&mut self) -> Result<(), NetlinkError> {
        let links = self.kernel.links().await?;
        let neighbours = self.kernel.neighbours().await?;
        self.links.clear();
        self.neighbours.clear();
        for link in &links {
            self.links.learn(link);
        }
        for neighbour in &neighbours {
            self.neighbours.learn(neighbour, true);
        }
        Ok(())
    }

    /// The interface of an index.
    pub(in crate::daemon) fn link(&self, ifindex: u32) -> Option<&Link> {
        self.links.get(ifindex)
    }

    /// The interface of a name.
    pub(in crate::daemon) fn link_named(&self, name: &str) -> Option<(u32, &Link)> {
        self.links().iter().find(|(_, link)| link.name == name).map(|(ifindex, link)| (*ifindex, link))
    }

    /// Where packets for an address go, as far as that is known.
    pub(in crate::daemon) fn hop(&self, address: IpAddr) -> Hop {
        self.watched.get(&address).map_or_else(Hop::default, |watched| watched.hop)
    }

    /// All interfaces, by their indices.
    pub(in crate::daemon) fn links(&self) -> &HashMap<u32, Link> {
        self.links.all()
    }

    /// The interfaces that are VLANs: of each the one below all VLANs (0 if XDP has no way), and the tags of its frames.
    pub(in crate::daemon) fn vlans(&self) -> BTreeMap<u32, [u64; 2]> {
        let vlans = self.links().iter().filter(|(_, link)| link.vlan.is_some());
        let below = vlans.map(|(ifindex, _)| {
            let out = self.links.way_out(*ifindex);
            let tags = out.and_then(|out| out.vlan).map_or(0, VlanTags::cell);
            (*ifindex, [out.map_or(0, |out| out.ifindex.into()), tags])
        });
        below.collect()
    }

    /// The interfaces that packets are sent out by and were not when this was last asked, with their slots in the device
    /// map.
    pub(in crate::daemon) fn new_ports(&mut self) -> Vec<(u16, u32)> {
        self.ports.take_fresh()
    }

    /// The interface has no slot any more: it is gone, or the device map did not take it.
    pub(in crate::daemon) fn forget_port(&mut self, ifindex: u32) {
        self.ports.forget(ifindex);
    }

    /// Interfaces that packets are sent out by already, with their slots in the device map.
    pub(in crate::daemon) fn inherit_ports(&mut self, ports: impl IntoIterator<Item = (u16, u32)>) {
        self.ports.inherit(ports);
    }

    /// All slots of the device map that are in use.
    pub(in crate::daemon) fn ports(&self) -> impl Iterator<Item = (u16, u32)> {
        self.ports.all()
    }

    /// Follows an address of which a daemon before this one knew something.
    pub(in crate::daemon) async fn inherit(&mut self, address: IpAddr, hop: Hop) {
        let inherited = hop.mac.is_some().then_some(hop);
        self.watched.entry(address).or_insert(Watched { hop, inherited, ..Watched::default() });
        // A kernel that does not answer now is asked again, and what is known stays until then.
        self.resolve(address).await;
    }

    /// Follows an address from now on. Whether its hop is another one now.
    pub(in crate::daemon) async fn watch(&mut self, address: IpAddr) -> bool {
        if self.watched.contains_key(&address) {
            return false;
        }
        self.watched.insert(address, Watched::default());
        self.resolve(address).await.is_some()
    }

    /// Follows no other addresses any more.
    pub(in crate::daemon) fn watch_only(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.watched.retain(|address, _| addresses.contains(address));
    }

    /// The next event; give it to [`NextHops::digest`].
    pub(in crate::daemon) async fn event(&mut self) -> Option<Event> {
        self.events.next().await
    }

    /// Takes in an event and all that came with it. Returns the addresses whose hop is another one now.
    pub(in crate::daemon) async fn digest(&mut self, event: Event) -> Vec<IpAddr> {
        let mut are_routes_dirty = self.learn(event);
        while let Some(Some(event)) = self.events.next().now_or_never() {
            are_routes_dirty |= self.learn(event);
        }
        if self.has_missed_events {
            return self.catch_up().await;
        }
        let mut changed = Vec::new();
        for address in self.addresses() {
            if are_routes_dirty {
                changed.extend(self.resolve(address).await);
            } else {
                changed.extend(self.refresh(address));
            }
        }
        changed
    }

    /// Asks for everything anew if an event or an answer was lost. Returns the addresses whose hop is another one now.
    pub(in crate::daemon) async fn catch_up(&mut self) -> Vec<IpAddr> {
        if !std::mem::take(&mut self.has_missed_events) {
            return Vec::new();
        }
        tracing::warn!("the kernel's events or answers were lost; all is asked for anew");
        if let Err(error) = self.learn_all().await {
            self.has_missed_events = true;
            tracing::error!(%error, "the kernel does not answer");
            return Vec::new();
        }
        let mut changed = Vec::new();
        for address in self.addresses() {
            changed.extend(self.resolve(address).await);
        }
        changed
    }

    /// Makes the kernel check every next hop that it has not heard of for a while, and look for those it lacks.
    pub(in crate::daemon) async fn keep_alive(&mut self) {
        for address in self.addresses() {
            self.use_next_hop(address).await;
        }
    }

    /// An ICMP error says that the path to an address takes packets of at most `mtu` bytes. Whether its hop is another one
    /// now. It is believed for ten minutes (see [`NextHops::expire`]), and not if it is more than is known, or absurdly
    /// little.
    #[allow(dead_code, reason = "who reads such errors comes with the tunnels")]
    pub(in crate::daemon) fn lower_mtu(&mut self, address: IpAddr, mtu: u16) -> bool {
        let Some(watched) = self.watched.get_mut(&address) else {
            return false;
        };
        // Path MTU discovery is not optional in IPv6, so there a lock means nothing to Linux.
        if address.is_ipv4() && watched.via().is_none_or(|via| via.is_mtu_locked) {
            return false;
        }
        match PathMtu::told(watched.path_mtu, address, watched.hop.mtu, mtu, Instant::now()) {
            Some(told) => watched.path_mtu = Some(told),
            None => return false,
        }
        self.refresh(address).is_some()
    }

    /// Forgets what ICMP errors have said too long ago. Returns the addresses whose hop is another one now.
    pub(in crate::daemon) async fn expire(&mut self, now: Instant) -> Vec<IpAddr> {
        let mut over = Vec::new();
        for (address, watched) in &mut self.watched {
            if watched.path_mtu.is_some_and(|path| path.is_over(now)) {
                watched.path_mtu = None;
                over.push(*address);
            }
        }
        let mut changed = Vec::new();
        for address in over {
            // Where the kernel had heard of it too, its answer did not say the route's own MTU.
            let is_changed = self.resolve(address).await;
            changed.extend(is_changed.or_else(|| self.refresh(address)));
        }
        changed
    }

    /// Makes the kernel look for the next hop on the way to any address, so that packets can be sent there soon. Of many in
    /// a second the rest is ignored: whoever needs them asks again.
    pub(in crate::daemon) async fn look_for(&mut self, address: IpAddr) {
        if !self.looked_for.take(Instant::now()) {
            return;
        }
        let answer = self.kernel.route(address).await;
        if let Ok(Some(answer)) = answer
            && let Some(Route::Via(via)) = route(&answer, address)
        {
            self.use_neighbour(via.place()).await;
        }
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.watched.keys().copied().collect()
    }

    /// Looks the route up anew, and the next hop if it is another one.
    async fn resolve(&mut self, address: IpAddr) -> Option<IpAddr> {
        let Ok(answer) = self.kernel.route(address).await else {
            self.has_missed_events = true;
            return None;
        };
        let route = answer.and_then(|answer| route(&answer, address));
        let watched = self.watched.get_mut(&address)?;
        let was = watched.via();
        watched.take_route(route, Instant::now());
        if watched.via().map(|via| via.place()) != was.map(|via| via.place()) {
            self.use_next_hop(address).await;
        }
        self.refresh(address)
    }

    /// Puts route, link and neighbour together.
    fn refresh(&mut self, address: IpAddr) -> Option<IpAddr> {
        let hop = match self.watched.get(&address)?.route {
            None => Hop::default(),
            Some(Route::Local) => Hop { is_local: true, ..Hop::default() },
            Some(Route::Via(via)) => self.hop_by(address, via).unwrap_or_default(),
        };
        let watched = self.watched.get_mut(&address)?;
        (std::mem::replace(&mut watched.hop, hop) != hop).then_some(address)
    }

    fn hop_by(&mut self, address: IpAddr, via: Via) -> Option<Hop> {
        let mac = self.neighbours.get(via.place()).map(|known| known.mac);
        let watched = self.watched.get_mut(&address)?;
        if mac.is_some() {
            watched.inherited = None;
        }
        let link = self.links.get(via.ifindex)?;
        let out = self.links.way_out(via.ifindex)?;
        let inherited = watched.inherited.filter(|hop| hop.ifindex == out.ifindex).and_then(|hop| hop.mac);
        Some(Hop {
            mac: mac.or(inherited),
            source: link.mac,
            ifindex: out.ifindex,
            // Only an interface that is there gets a slot.
            port: self.ports.slot(out.ifindex)?,
            is_local: false,
            mtu: watched.mtu(via, link.mtu),
            tunnel_source: via.source,
            vlan: out.vlan,
        })
    }

    async fn use_next_hop(&self, address: IpAddr) {
        if let Some(via) = self.watched.get(&address).and_then(Watched::via) {
            self.use_neighbour(via.place()).await;
        }
    }

    async fn use_neighbour(&self, place: Place) {
        // The kernel would take the use of a fixed entry for the wish to make it an ordinary one.
        if self.neighbours.get(place).is_some_and(|known| known.is_fixed) {
            return;
        }
        let (ifindex, neighbour) = place;
        self.kernel.use_neighbour(ifindex, neighbour).await;
    }

    /// Whether routes may be others after this.
    fn learn(&mut self, event: Event) -> bool {
        let message = match event.payload {
            NetlinkPayload::InnerMessage(Message::Readable(message)) => message,
            NetlinkPayload::InnerMessage(Message::Unreadable) => return true,
            NetlinkPayload::Overrun(_) => {
                self.has_missed_events = true;
                return true;
            }
            _ => return false,
        };
        let (neighbour, exists) = match message {
            RouteNetlinkMessage::NewNeighbour(neighbour) => (neighbour, true),
            RouteNetlinkMessage::DelNeighbour(neighbour) => (neighbour, false),
            RouteNetlinkMessage::NewLink(link) => {
                self.links.learn(&link);
                return true;
            }
            // A port that leaves its bridge is told of so too, and is still there.
            RouteNetlinkMessage::DelLink(link) if link.header.interface_family == AddressFamily::Bridge => {
                return false;
            }
            RouteNetlinkMessage::DelLink(link) => {
                self.links.forget(link.header.index);
                self.forget_port(link.header.index);
                return true;
            }
            _ => return true,
        };
        if let Some(place) = self.neighbours.learn(&neighbour, exists) {
            self.disinherit(place);
        }
        false
    }

    /// Nobody answers there: what was known from before is not true any more.
    fn disinherit(&mut self, place: Place) {
        for watched in self.watched.values_mut() {
            if watched.via().is_some_and(|via| via.place() == place) {
                watched.inherited = None;
            }
        }
    }
}
