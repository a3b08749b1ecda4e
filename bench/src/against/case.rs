//! What both directors are given to do.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use super::Counted;
use crate::bed::{self, at_port};
use crate::driver::Arrived;
use crate::packet::{Direction, Family, Flows, Packets, Protocol};
use crate::plan::flag;

/// Known connections, as a power of two.
const KNOWN: u32 = 10;

/// Servers of each family that the services have.
pub(super) const SERVERS: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Direct,
    Tunnel,
    /// VS/NAT, from clients.
    Request,
    /// VS/NAT, from servers.
    Reply,
}

impl Work {
    const ALL: [Self; 4] = [Self::Direct, Self::Tunnel, Self::Request, Self::Reply];

    const fn name(self) -> &'static str {
        match self {
            Self::Direct => "dr",
            Self::Tunnel => "tun-ipip",
            Self::Request => "nat-request",
            Self::Reply => "nat-reply",
        }
    }

    const fn flags(self) -> &'static str {
        match self {
            Self::Direct => "-g",
            Self::Tunnel => "-i",
            Self::Request | Self::Reply => "-m",
        }
    }

    /// Which of the services and servers are for it.
    const fn number(self) -> u32 {
        match self {
            Self::Direct => 0,
            Self::Tunnel => 1,
            Self::Request | Self::Reply => 2,
        }
    }
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) work: Work,
    pub(crate) family: Family,
    pub(crate) protocol: Protocol,
    /// Whether each packet opens a connection; else all belong to some that are known.
    pub(crate) is_new: bool,
}

impl Case {
    /// All of them; only of IPv4 and TCP if it is to be quick. A reply opens nothing.
    pub(crate) fn all(is_quick: bool) -> Vec<Self> {
        let mut all = Vec::new();
        for family in Family::ALL {
            for protocol in Protocol::ALL {
                for is_new in [false, true] {
                    let works = Work::ALL.into_iter().filter(|work| !(is_new && *work == Work::Reply));
                    all.extend(works.map(|work| Self { work, family, protocol, is_new }));
                }
            }
        }
        let is_common = |case: &Self| case.family == Family::V4 && case.protocol == Protocol::Tcp;
        all.retain(|case| !is_quick || is_common(case));
        all
    }

    fn vip(self) -> IpAddr {
        bed::vip(self.family, 0, self.work.number())
    }

    /// What is sent.
    pub(super) fn packets(self) -> Packets {
        let (direction, service) = match self.work {
            Work::Reply => (Direction::Reply, bed::server(self.family, self.work.number())),
            Work::Direct | Work::Tunnel | Work::Request => (Direction::Request, self.vip()),
        };
        let kind = if self.is_new { self.protocol.first() } else { self.protocol.later() };
        Packets { kind, direction, service, ..self.requests() }
    }

    /// What opens known connections and confirms them, in turn.
    pub(super) fn opened_by(self) -> [Packets; 2] {
        let requests = self.requests();
        [requests.with_kind(self.protocol.first()), requests]
    }

    /// Packets of its connections from clients to the service, later ones.
    pub(super) fn requests(self) -> Packets {
        Packets {
            kind: self.protocol.later(),
            direction: Direction::Request,
            client: bed::client(self.family, u32::from(self.is_new)),
            service: self.vip(),
            services: 1,
            flows: if self.is_new { Flows::New } else { Flows::Bits(KNOWN) },
        }
    }

    /// The same, but for somebody behind the router: a host that is no director would send it there.
    pub(super) fn strangers(self) -> Packets {
        Packets { service: bed::client(self.family, 8), ..self.requests() }
    }

    /// What must arrive, if so many frames are sent.
    pub(super) fn arrivals(self, frames: u32) -> Arrived {
        let grown = match (self.work, self.family) {
            (Work::Tunnel, Family::V4) => 20,
            (Work::Tunnel, Family::V6) => 40,
            _ => 0,
        };
        let (frames, bytes) = (u64::from(frames), self.packets().frame().len() as u64 + grown);
        Arrived { frames, bytes: frames * bytes }
    }

    /// What the director must count.
    pub(super) fn counts(self, frames: u32) -> Counted {
        let if_so = |is_so: bool| if is_so { u64::from(frames) } else { 0 };
        Counted {
            connections: if_so(self.is_new),
            incoming: if_so(self.work != Work::Reply),
            outgoing: if_so(self.work == Work::Reply),
            mishaps: 0,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_new { "new" } else { "established" };
        write!(f, "{}/{}/{}/{what}", self.work.name(), self.family.name(), self.protocol.name())
    }
}

/// The addresses of all services.
pub(super) fn vips() -> impl Iterator<Item = IpAddr> {
    Family::ALL.into_iter().flat_map(|family| (0..SERVERS).map(move |number| bed::vip(family, 0, number)))
}

/// All services, each with its server, in ipvsadm's save format.
pub(super) fn rules() -> String {
    let mut rules = String::new();
    for family in Family::ALL {
        for work in [Work::Direct, Work::Tunnel, Work::Request] {
            let service = at_port(bed::vip(family, 0, work.number()));
            let server = at_port(bed::server(family, work.number()));
            for letter in Protocol::ALL.map(flag) {
                // Writing to a string does not fail.
                let _ = writeln!(
                    rules,
                    "-A {letter} {service} -s rr\n-a {letter} {service} -r {server} {}",
                    work.flags()
                );
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_case_has_a_name_of_its_own_and_packets_for_a_service_there_is() {
        let all = Case::all(false);
        assert!(Case::all(true).len() < all.len() && Case::all(true).iter().all(|case| all.contains(case)));
        let names: HashSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), all.len());
        assert!(names.contains("dr/v4/tcp/established"));
        assert!(!names.iter().any(|name| name.starts_with("nat-reply") && name.ends_with("new")));
        let vips: Vec<IpAddr> = vips().collect();
        for case in &all {
            assert!(vips.contains(&case.requests().service));
            assert!(rules().contains(&format!("{} {}", flag(case.protocol), at_port(case.vip()))));
            assert!(!vips.contains(&case.strangers().service));
        }
    }

    #[test]
    fn a_tunnel_makes_frames_longer_and_a_reply_counts_as_outgoing() {
        let case = |work, is_new| Case { work, family: Family::V4, protocol: Protocol::Tcp, is_new };
        assert_eq!(case(Work::Direct, false).arrivals(10), Arrived { frames: 10, bytes: 600 });
        assert_eq!(case(Work::Tunnel, false).arrivals(10), Arrived { frames: 10, bytes: 800 });
        let counts = |work, is_new| {
            let Counted { connections, incoming, outgoing, mishaps } = case(work, is_new).counts(7);
            [connections, incoming, outgoing, mishaps]
        };
        assert_eq!(counts(Work::Request, true), [7, 7, 0, 0]);
        assert_eq!(counts(Work::Reply, false), [0, 0, 7, 0]);
    }
}
