//! Each forwarding method: known connections, from one to a million, and new ones.

use std::fmt::Write as _;
use std::iter;

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

    /// What all its cases have in common.
    fn shape(self, case: &mut Case) {
        case.null = self.null();
        case.entries = self.entries();
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
    for protocol in Protocol::ALL {
        let (service, server) = (at_port(vip), at_port(bed::server(family, 0)));
        let (letter, flags) = (flag(protocol), method.flags());
        // Writing to a string does not fail.
        let _ = writeln!(rules, "-A {letter} {service} -s rr\n-a {letter} {service} -r {server} {flags}");
    }
    // What needs a large table comes last: it never shrinks, and most of it is in no cache.
    let (few, many) = MANY.split_at(2);
    let known = |protocol, many: &[(u32, &str)]| {
        let steps = many.iter().flat_map(|(bits, many)| established(method, family, protocol, *bits, many));
        steps.collect::<Vec<_>>()
    };
    let new = |protocol, what| {
        let step = Step::new(named(method.name(), family, protocol, what), vip, protocol);
        step.with(|case| method.shape(case))
    };
    let mut steps = Vec::new();
    for protocol in Protocol::ALL {
        steps.extend(known(protocol, few));
        steps.push(new(protocol, "new"));
    }
    if method.has_many() {
        for protocol in Protocol::ALL {
            let most = if is_quick || protocol == Protocol::Udp { 1 } else { many.len() };
            steps.extend(known(protocol, many.split_at(most).0));
        }
    }
    if method == Method::Direct && !is_quick {
        let beside = new(Protocol::Tcp, "new-beside-1M");
        steps.push(beside.with(|case| {
            let client = bed::client(family, 2);
            case.packets.client = client;
            case.confirmed_by.iter_mut().for_each(|packets| packets.client = client);
        }));
    }
    // A million of them are to fill no more than a third. Of IPv6 there is room for half as many.
    let most = if method.has_many() { 1 << 21 } else { 1 << 19 };
    let connections = most * u32::from(method == Method::Masquerade).saturating_add(1);
    let connections = if family == Family::V6 { 2 * connections } else { connections };
    Planned { size: Size { connections, servers: 1 }, rules, steps }
}

/// Packets of known connections; by VS/NAT their replies too.
fn established(method: Method, family: Family, protocol: Protocol, bits: u32, many: &str) -> Vec<Step> {
    let what = format!("established/{many}");
    let name = |name: &str| named(name, family, protocol, &what);
    let vip = bed::vip(family, 0, 0);
    let step = Step::established(name(method.name()), vip, protocol, bits).with(|case| method.shape(case));
    let replies = (method == Method::Masquerade).then(|| {
        step.clone().with(|case| {
            let (direction, service) = (Direction::Reply, bed::server(family, 0));
            case.packets = Packets { direction, service, ..case.packets };
            case.name = name("nat-reply");
        })
    });
    iter::once(step).chain(replies).collect()
}

fn named(name: &str, family: Family, protocol: Protocol, what: &str) -> String {
    format!("packet/{name}/{}/{}/{what}", family.name(), protocol.name())
}
