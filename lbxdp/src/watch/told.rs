//! What is said of a packet that was seen.

use std::fmt;

use lbxdp_common::watch::{Ending, Outcome};
use lbxdp_common::{Fate, Forward, Reason, Verdict};

use super::packet::{End, Packet, rewritten};
use super::sighting::{ServerTold, Sighting};
use super::wall::time_of_day;

/// What happened to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Forwarded,
    /// The stack got it: for a reason, or because the director itself is its server.
    Passed(Option<Reason>),
    Dropped(Reason),
    /// The daemon has it, and sends it again.
    Held(Reason),
    /// It was dropped, and its sender told by an ICMP error.
    Answered(Reason),
}

/// A packet that was seen, ready to be told.
pub(super) struct Told<'a> {
    pub sighting: &'a Sighting,
    pub packet: Packet,
    pub happened: Happened,
    pub server: Option<ServerTold>,
}

impl Happened {
    fn of(outcome: Outcome) -> Option<Self> {
        Some(match outcome.ending()? {
            Ending::Went(Verdict::Transmit | Verdict::Redirect(_) | Verdict::Leave(_)) => Self::Forwarded,
            Ending::Went(Verdict::Local) => Self::Passed(None),
            Ending::Went(Verdict::Answered(reason)) => Self::Answered(reason),
            Ending::Stopped(reason) => match reason.fate() {
                Fate::Pass => Self::Passed(Some(reason)),
                Fate::Drop => Self::Dropped(reason),
                Fate::Hold => Self::Held(reason),
            },
        })
    }

    /// One word.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Passed(_) => "passed",
            Self::Dropped(_) => "dropped",
            Self::Held(_) => "held",
            Self::Answered(_) => "answered",
        }
    }

    /// Why, if it was not forwarded.
    pub(super) const fn reason(self) -> Option<Reason> {
        match self {
            Self::Forwarded => None,
            Self::Passed(reason) => reason,
            Self::Dropped(reason) | Self::Held(reason) | Self::Answered(reason) => Some(reason),
        }
    }
}

/// A method, in the words of LVS.
pub(super) const fn method(forward: Forward) -> &'static str {
    match forward {
        Forward::Direct => "DR",
        Forward::Tunnel => "TUN",
        Forward::Masquerade => "NAT",
    }
}

impl<'a> Told<'a> {
    /// `None` for a record that this build does not understand.
    pub(super) fn of(sighting: &'a Sighting) -> Option<Self> {
        Some(Self {
            packet: Packet::of(sighting.watched.head()),
            happened: Happened::of(Outcome(sighting.watched.outcome))?,
            server: sighting.server.told(),
            sighting,
        })
    }

    /// The frame as it left, if it was forwarded.
    pub(super) fn after(&self) -> Option<Packet> {
        let head = self.sighting.watched.head_after();
        (!head.is_empty()).then(|| Packet::of(head))
    }

    /// Where it went: ` to 10.0.0.11 by DR`.
    fn way(&self) -> String {
        let way = match self.server {
            Some(ServerTold { address, port, forward: Forward::Masquerade, .. }) => {
                format!(" to {} by NAT", End((address, port).into()))
            }
            Some(ServerTold { address, tunnel, forward: Forward::Tunnel, .. }) => {
                format!(" to {address} by TUN ({})", tunnel.name())
            }
            Some(ServerTold { address, forward: Forward::Direct, .. }) => format!(" to {address} by DR"),
            None => self.way_without_a_server(),
        };
        let egress = self.sighting.egress();
        if egress.is_empty() || egress == self.sighting.ingress() {
            way
        } else {
            format!("{way} via {egress}")
        }
    }

    /// A reply, a packet in an error, or one whose connection has ended since.
    fn way_without_a_server(&self) -> String {
        let Some(after) = self.after() else {
            return String::new();
        };
        let Some((source, destination)) = rewritten(&self.packet, &after) else {
            let mac = self.sighting.watched.head_after().iter().take(6);
            let mac: Vec<String> = mac.map(|byte| format!("{byte:02x}")).collect();
            return format!(" to {}", mac.join(":"));
        };
        if self.packet.ends().is_some_and(|(_, before)| before == destination) {
            format!(" to its client as from {}", End(source))
        } else {
            format!(" to {}", End(destination))
        }
    }

    /// What happened, in some words.
    pub(super) fn end(&self, between: &str) -> String {
        let word = self.happened.word();
        match self.happened {
            Happened::Forwarded => format!("{word}{}", self.way()),
            Happened::Passed(None) => format!("{word}{between}the director is its server"),
            Happened::Passed(Some(reason))
            | Happened::Dropped(reason)
            | Happened::Held(reason)
            | Happened::Answered(reason) => {
                format!("{word}{between}{reason}")
            }
        }
    }

    /// What a capture says of it.
    pub(super) fn comment(&self) -> String {
        format!("lbxdp: {}", self.end(", "))
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = time_of_day(self.sighting.watched.nanos);
        write!(f, "{time} {} {}: {}", self.sighting.ingress(), self.packet, self.end(" "))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use etherparse::PacketBuilder;
    use lbxdp_common::TunnelKind;
    use lbxdp_common::server::Method;
    use lbxdp_common::watch::{HEAD_BYTES, Mark, Watched};
    use zerocopy::FromZeros;

    use super::*;
    use crate::watch::interface_name;
    use crate::watch::sighting::ServerSeen;

    /// A frame from one end to another one.
    fn frame(macs: u8, from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([4; 6], [macs; 6]).ipv4(from.0, to.0, 64);
        let mut frame = Vec::new();
        builder.tcp(from.1, to.1, 1, 1000).syn().write(&mut frame, b"").expect("a frame");
        frame
    }

    /// A SYN that was seen at a time, and how it left.
    pub(in crate::watch) fn seen(
        decided: Result<Verdict, Reason>,
        after: Option<Vec<u8>>,
        server: ServerSeen,
    ) -> Sighting {
        let before = frame(2, ([192, 0, 2, 7], 4242), ([10, 0, 0, 100], 80));
        let head = |frame: &[u8]| {
            let mut head = [0; HEAD_BYTES];
            head[..frame.len()].copy_from_slice(frame);
            head
        };
        let after = after.unwrap_or_default();
        Sighting {
            watched: Watched {
                nanos: 1_767_225_599_123_456_789,
                outcome: Outcome::new(decided, 0, Mark::default()).0,
                bytes: u32::try_from(before.len()).expect("a length"),
                bytes_after: u32::try_from(after.len()).expect("a length"),
                head: head(&before),
                head_after: head(&after),
                ..Watched::new_zeroed()
            },
            ingress: interface_name("eth0"),
            egress: interface_name(if decided == Ok(Verdict::Redirect(1)) { "eth1" } else { "" }),
            server,
        }
    }

    fn server(method: Method) -> ServerSeen {
        ServerSeen::new([10, 0, 0, 11].into(), 8080, method, TunnelKind::Ipip.raw())
    }

    /// As [`seen`], sent to a server's MAC address.
    pub(in crate::watch) fn forwarded() -> Sighting {
        let after = frame(9, ([192, 0, 2, 7], 4242), ([10, 0, 0, 100], 80));
        seen(Ok(Verdict::Transmit), Some(after), server(Method::DIRECT))
    }

    #[test]
    fn what_happened_is_said_in_a_line() {
        let nobody = ServerSeen::default();
        let at = |from, to| Some(frame(9, from, to));
        let (client, vip) = (([192, 0, 2, 7], 4242), ([10, 0, 0, 100], 80));
        for (sighting, expected) in [
            (forwarded(), "forwarded to 10.0.0.11 by DR"),
            (
                seen(Ok(Verdict::Redirect(1)), at(client, vip), server(Method::TUNNEL)),
                "forwarded to 10.0.0.11 by TUN (ipip) via eth1",
            ),
            (
                seen(Ok(Verdict::Transmit), at(client, ([10, 0, 0, 11], 8080)), server(Method::MASQUERADE)),
                "forwarded to 10.0.0.11:8080 by NAT",
            ),
            (seen(Ok(Verdict::Transmit), at(client, vip), nobody), "forwarded to 09:09:09:09:09:09"),
            (seen(Ok(Verdict::Transmit), at(client, ([10, 0, 0, 9], 1)), nobody), "forwarded to 10.0.0.9:1"),
            (
                seen(Ok(Verdict::Transmit), at(([10, 0, 0, 9], 5), vip), nobody),
                "forwarded to its client as from 10.0.0.9:5",
            ),
            (seen(Ok(Verdict::Local), None, nobody), "passed the director is its server"),
            (seen(Err(Reason::NoService), None, nobody), "passed no_service"),
            (seen(Err(Reason::ServerGone), None, nobody), "dropped server_gone"),
            (seen(Ok(Verdict::Answered(Reason::NoServer)), at(vip, client), nobody), "answered no_server"),
        ] {
            let told = Told::of(&sighting).expect("an outcome");
            let line = format!("23:59:59.123456 eth0 tcp 192.0.2.7:4242 > 10.0.0.100:80 S: {expected}");
            assert_eq!(told.to_string(), line);
        }
    }

    #[test]
    fn a_comment_says_the_same() {
        let comment = |sighting| Told::of(&sighting).expect("an outcome").comment();
        assert_eq!(comment(forwarded()), "lbxdp: forwarded to 10.0.0.11 by DR");
        let dropped = seen(Err(Reason::NoServer), None, ServerSeen::default());
        assert_eq!(comment(dropped), "lbxdp: dropped, no_server");
    }

    #[test]
    fn an_outcome_of_another_build_is_passed_over() {
        let mut sighting = forwarded();
        sighting.watched.outcome = 99;
        assert!(Told::of(&sighting).is_none());
    }
}
