//! The networks that LVS is known for. In all of them the director's interface towards the clients is `eth0`.

use super::plan::{Director, HostPlan, Net, Plan, Role, Spot, To, at, route};

/// How servers answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// By their own way, past the director.
    Straight,
    /// By the director, as NAT needs it.
    ByDirector,
}

/// Where servers are, in [`routed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the director's inner net.
    Inner,
    /// Behind a router of that net.
    Far,
}

/// The usual MTU, in bytes.
pub const MTU: u32 = 1500;

const fn net(name: &'static str, number: u8) -> Net {
    Net { name, number, mtu: MTU }
}

fn host(name: &'static str, role: Role, spots: &[Spot]) -> HostPlan {
    HostPlan { name, role, spots: spots.to_vec(), routes: vec![] }
}

impl HostPlan {
    /// The same with a route more.
    #[must_use]
    pub fn to(mut self, to: To, via: Spot) -> Self {
        self.routes.push(route(to, via));
        self
    }
}

/// All on one net.
///
/// ```text
///   client ──┐        ┌── s1
///            ├─ lan ──┼── s2
/// director ──┘
/// ```
///
/// By [`Back::ByDirector`] servers reach the client, and the client alone, through the director: the one way to have NAT on one net.
pub fn one_net(back: Back) -> Plan {
    let client = at("lan", 2);
    let server = |name, number| {
        let server = host(name, Role::Server, &[at("lan", number)]);
        match back {
            Back::Straight => server,
            Back::ByDirector => server.to(To::Host(client), at("lan", 10)),
        }
    };
    let director = Director { is_router: back == Back::ByDirector, ..Director::default() };
    Plan {
        nets: vec![net("lan", 0)],
        hosts: vec![
            host("client", Role::Client, &[client]),
            host("director", Role::Director(director), &[at("lan", 10)]),
            server("s1", 11),
            server("s2", 12),
        ],
        vip: at("lan", 100),
    }
}

/// The director is the servers' gateway, with a foot in either net.
///
/// ```text
///   client ── out ── r1 ── front ── director ── inner ──┬── s1
///                                                       └── s2
/// ```
pub fn gateway() -> Plan {
    let inner = at("inner", 10);
    let server = |name, number| host(name, Role::Server, &[at("inner", number)]).to(To::Everywhere, inner);
    let director = Director { is_router: true, ..Director::default() };
    Plan {
        nets: vec![net("out", 9), net("front", 0), net("inner", 1)],
        hosts: vec![
            host("client", Role::Client, &[at("out", 2)]).to(To::Everywhere, at("out", 1)),
            host("r1", Role::Router, &[at("out", 1), at("front", 1)]).to(To::Net("inner"), at("front", 10)),
            host("director", Role::Director(director), &[at("front", 10), inner])
                .to(To::Everywhere, at("front", 1)),
            server("s1", 11),
            server("s2", 12),
        ],
        vip: at("front", 100),
    }
}

/// VIP and RIP on different nets, clients behind routers.
///
/// ```text
///   client ── home ── r0 ── out ── r1 ──┬── front ── director ── inner ──┬── s1, s2    (Place::Inner)
///                                       └── bypass ─────────── r2 ───────┤
///                                                                        └─── far ── s1, s2   (Place::Far)
/// ```
///
/// Servers answer by `bypass`; by [`Back::ByDirector`] by `inner` and the director.
pub fn routed(place: Place, back: Back) -> Plan {
    let (servers_net, gateway) = match (place, back) {
        (Place::Inner, Back::Straight) => ("inner", at("inner", 1)),
        (Place::Inner, Back::ByDirector) => ("inner", at("inner", 10)),
        (Place::Far, _) => ("far", at("far", 1)),
    };
    let server =
        |name, number| host(name, Role::Server, &[at(servers_net, number)]).to(To::Everywhere, gateway);
    let way_out = match back {
        Back::Straight => at("bypass", 1),
        Back::ByDirector => at("inner", 10),
    };
    let director = Director { is_router: back == Back::ByDirector, ..Director::default() };
    let front = at("front", 1);
    Plan {
        nets: vec![
            net("home", 8),
            net("out", 9),
            net("front", 0),
            net("inner", 1),
            net("far", 2),
            net("bypass", 3),
        ],
        hosts: vec![
            host("client", Role::Client, &[at("home", 2)]).to(To::Everywhere, at("home", 1)),
            host("r0", Role::Router, &[at("home", 1), at("out", 2)]).to(To::Everywhere, at("out", 1)),
            host("r1", Role::Router, &[at("out", 1), front, at("bypass", 1)])
                .to(To::Net("home"), at("out", 2))
                .to(To::Net("inner"), at("bypass", 2))
                .to(To::Net("far"), at("bypass", 2)),
            host("r2", Role::Router, &[at("inner", 1), at("far", 1), at("bypass", 2)])
                .to(To::Everywhere, way_out),
            host("director", Role::Director(director), &[at("front", 10), at("inner", 10)])
                .to(To::Everywhere, front)
                .to(To::Net("far"), at("inner", 1)),
            server("s1", 11),
            server("s2", 12),
        ],
        vip: at("front", 100),
    }
}
