//! What the tables hold when a case begins.

use std::net::IpAddr;
use std::sync::atomic::AtomicU64;

use lbxdp_common::client_hop::WayOut;
use lbxdp_common::connection::{Key, Word};
use lbxdp_common::mark::MarkRow;
use lbxdp_common::overload::Thresholds;
use lbxdp_common::reply;
use lbxdp_common::server::{Method, Server, ServerFlags, ServerId, ServerRow};
use lbxdp_common::service::{Member, Persistence, ServiceFlags, ServiceKey, widened};
use lbxdp_common::settings::Rules;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::table::{Hash, Shape};
use lbxdp_common::wire::ethernet::Tag;
use lbxdp_common::{Protocol, Scheduler, Ticks, V6};

use super::memory::{BUCKETS, HERTZ};
use super::{CLIENT, CLIENT_V6, DIRECTOR_MAC, IFINDEX, OTHER_PORT, SEED, VIP, VIP_V6};

/// An address, and how many of its bits count.
pub type Destination = (IpAddr, u32);

/// The rows of a case. Servers are numbered from 1; so are the rows that hold them.
#[derive(Clone, Debug)]
pub struct Setup {
    pub servers: Vec<ServerRow>,
    pub services: Vec<Service>,
    /// The thresholds of servers.
    pub thresholds: Vec<(u8, Thresholds)>,
    /// The rules for marks, by destination: address and length of the prefix.
    pub marks: Vec<(Destination, Vec<MarkRow>)>,
    /// Of all services, beside their own.
    pub flags: ServiceFlags,
    /// Servers whose load carries the mark of overload.
    pub overloaded: Vec<u8>,
    /// Connections and templates, in how many ticks they expire, and their bonds.
    pub connections: Vec<(Key, Word, i32, u64)>,
    /// Connections and templates of IPv6, likewise.
    pub connections_v6: Vec<(Key<V6>, Word, i32, u64)>,
    /// The ways that are remembered from VIPs (second) to clients, and their VLAN tags.
    pub client_ways: Vec<(IpAddr, IpAddr, WayOut, [Tag; 2])>,
    /// Whether all other places of the connection table hold connections of others.
    pub is_full: bool,
    pub shape: Shape,
    /// Of the table of IPv6.
    pub shape_v6: Shape,
    pub rules: Rules,
    pub reusable_tcp: u16,
    /// See [`lbxdp_common::settings::Settings`].
    pub tunnel_spread: u32,
}

/// A service, and its servers in list order.
#[derive(Clone, Debug)]
pub struct Service {
    pub key: ServiceKey,
    pub scheduler: Scheduler,
    pub flags: ServiceFlags,
    pub persistence: Persistence,
    pub members: Vec<Member>,
}

/// A server's id: row `number` in its first life.
pub fn server_id(number: u8) -> ServerId {
    ServerId::new(number.into(), 1)
}

/// The key of the client's connection.
pub fn key(protocol: Protocol, from: u16, to: u16) -> Key {
    Key {
        client: CLIENT,
        vip: VIP,
        client_port: from.to_be_bytes(),
        vip_port: to.to_be_bytes(),
        protocol: protocol.raw(),
        kind: Key::CONNECTION,
        pad: [0; 2],
    }
}

/// The same of IPv6.
pub fn key_v6(protocol: Protocol, from: u16, to: u16) -> Key<V6> {
    Key {
        client: CLIENT_V6,
        vip: VIP_V6,
        client_port: from.to_be_bytes(),
        vip_port: to.to_be_bytes(),
        protocol: protocol.raw(),
        kind: Key::CONNECTION,
        pad: [0; 2],
    }
}

/// The key of the client's template for a port of the VIP; 0: for all.
pub fn template_key(protocol: Protocol, port: u16) -> Key {
    Key { client_port: [0; 2], kind: Key::TEMPLATE, ..key(protocol, 0, port) }
}

/// The key of the client's template for a mark.
pub fn mark_template_key(mark: u32) -> Key {
    Key { vip: mark.to_be_bytes(), protocol: 0, ..template_key(Protocol::Tcp, 0) }
}

/// The row of a server that is reached through the interface its packets came in by.
pub fn server_row(number: u8) -> ServerRow {
    ServerRow {
        next_hop: [2, 0, 0, 0, 1, number],
        source: DIRECTOR_MAC,
        port: 0,
        flags: ServerFlags::AVAILABLE,
        id: server_id(number).0,
        ifindex: IFINDEX,
        address: widened([10, 0, 0, 100 + number]),
        mtu: ServerRow::MTU_UNKNOWN,
        ..ServerRow::default()
    }
}

impl Default for Setup {
    /// Four plain servers and no service.
    fn default() -> Self {
        Self {
            servers: (1..=4).map(server_row).collect(),
            services: Vec::new(),
            thresholds: Vec::new(),
            marks: Vec::new(),
            flags: ServiceFlags::default(),
            overloaded: Vec::new(),
            connections: Vec::new(),
            connections_v6: Vec::new(),
            client_ways: Vec::new(),
            is_full: false,
            shape: Shape::steady(BUCKETS),
            shape_v6: Shape::steady(BUCKETS / 2),
            rules: Rules::default(),
            reusable_tcp: 1 << TcpState::TimeWait.raw() | 1 << TcpState::Close.raw(),
            tunnel_spread: 0,
        }
    }
}

impl Setup {
    /// Four plain servers and no service.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes a server's row.
    #[must_use]
    pub fn server(mut self, number: u8, change: impl Fn(&mut ServerRow)) -> Self {
        change(&mut self.servers[usize::from(number) - 1]);
        self
    }

    /// Reaches a server through another interface.
    #[must_use]
    pub fn server_elsewhere(self, number: u8) -> Self {
        self.server(number, |row| (row.port, row.ifindex) = OTHER_PORT)
    }

    /// A service on a port of the VIP, with servers of these numbers and weights.
    #[must_use]
    pub fn service(self, protocol: Protocol, port: u16, by: Scheduler, servers: &[(u8, u32)]) -> Self {
        let members =
            servers.iter().map(|(number, weight)| Member::new(server_id(*number), *weight)).collect();
        self.service_of(protocol, port, by, members)
    }

    /// A service with these members.
    #[must_use]
    pub fn service_of(mut self, protocol: Protocol, port: u16, by: Scheduler, members: Vec<Member>) -> Self {
        let key = ServiceKey::address(VIP, port.to_be_bytes(), protocol.raw());
        self.services.push(Service {
            key,
            scheduler: by,
            flags: ServiceFlags::default(),
            persistence: Persistence::default(),
            members,
        });
        self
    }

    /// All services have these flags too.
    #[must_use]
    pub fn flags(mut self, flags: ServiceFlags) -> Self {
        self.flags = self.flags.with_if(flags, true);
        self
    }

    /// A server has reached its upper threshold.
    #[must_use]
    pub fn overloaded(mut self, server: u8) -> Self {
        self.overloaded.push(server);
        self.flags(ServiceFlags::HAS_THRESHOLDS)
    }

    /// A service by mark, with servers of these numbers and weights.
    #[must_use]
    pub fn service_by_mark(mut self, mark: u32, by: Scheduler, servers: &[(u8, u32)]) -> Self {
        self.rules = self.rules.with_if(Rules::MARKS, true);
        self = self.service(Protocol::Tcp, 0, by, servers);
        self.last().key = ServiceKey::marked(mark);
        self
    }

    /// The last service's clients keep their servers for so many seconds after a new connection.
    #[must_use]
    pub fn persistent(mut self, seconds: u32, netmask: [u8; 4]) -> Self {
        let service = self.last();
        service.flags = service.flags.with_if(ServiceFlags::PERSISTENT, true);
        service.persistence = Persistence { seconds, netmask };
        self
    }

    /// The last service schedules each UDP packet by itself.
    #[must_use]
    pub fn one_packet(mut self) -> Self {
        let service = self.last();
        service.flags = service.flags.with_if(ServiceFlags::ONE_PACKET, true);
        self
    }

    /// The last service has these flags too.
    #[must_use]
    pub fn flagged(mut self, flags: ServiceFlags) -> Self {
        let service = self.last();
        service.flags = service.flags.with_if(flags, true);
        self
    }

    /// A server's thresholds.
    #[must_use]
    pub fn thresholds(mut self, number: u8, upper: u32, lower: u32) -> Self {
        self.thresholds.push((number, Thresholds { upper, lower }));
        self.flags(ServiceFlags::HAS_THRESHOLDS)
    }

    /// The rules for the marks of packets to a destination.
    #[must_use]
    pub fn marks(mut self, destination: impl Into<IpAddr>, bits: u32, rules: &[MarkRow]) -> Self {
        self.marks.push(((destination.into(), bits), rules.to_vec()));
        self
    }

    fn last(&mut self) -> &mut Service {
        self.services.last_mut().expect("a service")
    }

    /// A connection of the client to a server, that expires in so many ticks; less than 0: it is overdue.
    #[must_use]
    pub fn connection(mut self, key: Key, server: u8, state: State, lives: i32) -> Self {
        self.connections.push((key, Word::live(server_id(server), state, Ticks(0)), lives, 0));
        self
    }

    /// The last connection goes to its server by a method of its own.
    #[must_use]
    pub fn by(mut self, method: Method) -> Self {
        let (_, word, _, _) = self.connections.last_mut().expect("a connection");
        *word = word.by(method);
        self
    }

    /// A connection of the IPv6 client to a server, by a method.
    #[must_use]
    pub fn connection_v6(mut self, key: Key<V6>, server: u8, state: State, method: Method) -> Self {
        let word = Word::live(server_id(server), state, Ticks(0)).by(method);
        self.connections_v6.push((key, word, 60_000, 0));
        self.rule(Rules::IPV6)
    }

    /// The last connection of the IPv6 client expires in so many ticks; less than 0: it is overdue.
    #[must_use]
    pub fn that_lives(mut self, lives: i32) -> Self {
        self.connections_v6.last_mut().expect("a connection").2 = lives;
        self
    }

    /// A service for IPv6 packets with a mark.
    #[must_use]
    pub fn service_by_mark_v6(mut self, mark: u32, by: Scheduler, servers: &[(u8, u32)]) -> Self {
        self = self.service_by_mark(mark, by, servers).rule(Rules::IPV6);
        self.last().key = ServiceKey::marked_v6(mark);
        self
    }

    /// A service on a port of the IPv6 VIP.
    #[must_use]
    pub fn service_v6(self, protocol: Protocol, port: u16, by: Scheduler, servers: &[(u8, u32)]) -> Self {
        let mut setup = self.service(protocol, port, by, servers).rule(Rules::IPV6);
        setup.last().key = ServiceKey::address_v6(VIP_V6, port.to_be_bytes(), protocol.raw());
        setup
    }

    /// The last connection's server answers by the director: there is a reply entry for it.
    #[must_use]
    pub fn answered(mut self) -> Self {
        let (key, word, lives, _) = *self.connections.last().expect("a connection");
        let server = self.servers[word.server().row() as usize - 1];
        let cells = server.cells().map(AtomicU64::new);
        let reply = reply::key_of(key, Server(&cells[..]));
        let word = Word::live(word.server(), State::NONE, Ticks(0)).by(Method::MASQUERADE);
        self.connections.push((reply, word, lives, Hash::of(key, SEED).0));
        self.rule(Rules::MASQUERADE)
    }

    /// The last connection is over and gone, its reply entry is there still.
    #[must_use]
    pub fn that_has_gone(mut self) -> Self {
        let reply = self.connections.pop().expect("a reply entry");
        self.connections.pop().expect("its connection");
        self.connections.push(reply);
        self
    }

    /// The same of the last IPv6 connection.
    #[must_use]
    pub fn answered_v6(mut self) -> Self {
        let (key, word, lives, _) = *self.connections_v6.last().expect("a connection");
        let server = self.servers[word.server().row() as usize - 1];
        let cells = server.cells().map(AtomicU64::new);
        let reply = reply::key_of(key, Server(&cells[..]));
        let word = Word::live(word.server(), State::NONE, Ticks(0)).by(Method::MASQUERADE);
        self.connections_v6.push((reply, word, lives, Hash::of(key, SEED).0));
        self.rule(Rules::MASQUERADE)
    }

    /// The way to the client of either family is known.
    #[must_use]
    pub fn client_way(self, way: WayOut) -> Self {
        self.tagged_client_way(way, [Tag::default(); 2])
    }

    /// The same, and frames leave there with VLAN tags.
    #[must_use]
    pub fn tagged_client_way(mut self, way: WayOut, tags: [Tag; 2]) -> Self {
        self.client_ways.push((CLIENT.into(), VIP.into(), way, tags));
        self.client_ways.push((CLIENT_V6.into(), VIP_V6.into(), way, tags));
        self
    }

    /// A connection of which only the opening packet has been seen.
    #[must_use]
    pub fn half_open(mut self, key: Key, server: u8, state: State, lives: i32) -> Self {
        let word = Word::live(server_id(server), state, Ticks(0)).half_open();
        self.connections.push((key, word, lives, 0));
        self
    }

    /// The last connection is one of a template's.
    #[must_use]
    pub fn bound(mut self, template: Key) -> Self {
        self.connections.last_mut().expect("a connection").3 = Hash::of(template, SEED).0;
        self
    }

    /// An assured template that lasts so many seconds after a new connection, and is due in so many ticks.
    #[must_use]
    pub fn template(mut self, key: Key, server: u8, seconds: u32, lives: i32) -> Self {
        let word = Word::live(server_id(server), State::TEMPLATE_ASSURED, Ticks(0));
        self.connections.push((key, word, lives, u64::from(seconds * HERTZ)));
        self
    }

    /// This rule is in force too.
    #[must_use]
    pub fn rule(mut self, rule: Rules) -> Self {
        self.rules = self.rules.with_if(rule, true);
        self
    }

    /// The table is about to grow, or has begun to.
    #[must_use]
    pub fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// These rules are in force.
    #[must_use]
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// In these TCP states a connection makes way for a new one.
    #[must_use]
    pub fn reusable(mut self, states: &[TcpState]) -> Self {
        self.reusable_tcp = states.iter().map(|state| 1 << state.raw()).sum();
        self
    }

    /// No place is left in the connection table.
    #[must_use]
    pub fn full(mut self) -> Self {
        self.is_full = true;
        self
    }
}
