//! Each forwarding method: known connections, from one to a million, and new ones.

use std::fmt::Write as _;

use super::{MANY, Planned, Step, flag};
use crate::bed::{self, Size, at_port};
use crate::meter::{Case, Null};
use crate::packet::{Direction, Family, Packets, Protocol};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Direct,
    Ipip,
    Gue,
    Gre,
    Masquerade,
}

impl Method {
    const ALL: [Self; 5] = [Self::Direct, Self::Ipip, Self::Gue, Self::Gre, Self::Masquerade];

    const fn name(self) -> &'static str {
        match self {
            Self::Direct => "dr",
            Self::Ipip => "tun-ipip",
            Self::Gue => "tun-gue",
            Self::Gre => "tun-gre",
            Self::Masquerade => "nat-request",
        }
    }

    const fn flags(self) -> &'static str {
        match self {
            Self::Direct => "-g",
            Self::Ipip => "-i",
            Self::Gue => "-i --tun-type gue --tun-port 6080",
            Self::Gre => "-i --tun-type gre",
            Self::Masquerade => "-m",
        }
    }

    const fn null(self) -> Null {
        match self {
            Self::Direct | Self::Masquerade => Null::Rewrite,
            Self::Ipip | Self::Gue | Self::Gre => Null::Tunnel,
        }
    }

    /// Entries that a connection takes: by VS/NAT a second one, by which replies are told.
    const fn entries(self) -> u64 {
        if matches!(self, Self::Masquerade) { 2 } else { 1 }
    }

    /// Whether many connections are worth while: the tunnels differ in what they write, not in the table.
    const fn has_many(self) -> bool {
        matches!(self, Self::Direct | Self::Ipip | Self::Masquerade)
    }
}

pub(super) fn plan(is_quick: bool) -> Vec<Planned> {
    let beds = Method::ALL.into_iter().flat_map(|method| Family::ALL.map(|family| (method, family)));
    beds.map(|(method, family)| planned(method, family, is_quick)).collect()
}

fn planned(method: Method, family: Family, is_quick: bool) -> Planned {
    let vip = bed::vip(family, 0, 0);
    let mut rules = String::new();
    let mut steps = Vec::new();
    for protocol in Protocol::ALL {
        let (service, server) = (at_port(vip), at_port(bed::server(family, 0)));
        let (letter, flags) = (flag(protocol), method.flags());
        // Writing to a string does not fail.
        let _ = writeln!(rules, "-A {letter} {service} -s rr\n-a {letter} {service} -r {server} {flags}");
        let named =
            |name: &str, what: &str| format!("packet/{name}/{}/{}/{what}", family.name(), protocol.name());
        let change = |case: &mut Case| {
            case.null = method.null();
            case.entries = method.entries();
        };
        for (bits, many) in MANY {
            if bits > 10 && !method.has_many() || bits > 16 && (is_quick || protocol == Protocol::Udp) {
                continue;
            }
            let what = format!("established/{many}");
            let step = Step::established(named(method.name(), &what), vip, protocol, bits).with(change);
            steps.push(step.clone());
            if method == Method::Masquerade {
                let reply = |packets: Packets| Packets {
                    direction: Direction::Reply,
                    service: bed::server(family, 0),
                    ..packets
                };
                let name = named("nat-reply", &what);
                steps.push(step.with(|case| {
                    case.packets = reply(case.packets);
                    case.name = name;
                }));
            }
        }
        steps.push(Step::new(named(method.name(), "new"), vip, protocol).with(change));
    }
    // Of IPv6 there is room for half as many.
    Planned { size: Size { connections: 1 << 22, servers: 1 }, rules, steps }
}
