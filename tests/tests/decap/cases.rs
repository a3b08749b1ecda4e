//! Frames, and what must become of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::IpNumber;
use lbxdp_common::decap::{Refusal, Tunnel as Opened};
use lbxdp_tests::traffic::Macs;
use lbxdp_tests::tunnel::{self, Kind, Tunnel, datagram, segment};

pub(crate) const MACS: Macs = Macs { from: [2, 0, 0, 0, 0, 1], to: [2, 0, 0, 0, 0, 2] };
pub(crate) const DIRECTOR_4: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
pub(crate) const DIRECTOR_6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 1);
const SERVER_4: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
const SERVER_6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 2);

/// A frame, and what must become of it. What is refused must be left as it is.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) frame: Vec<u8>,
    pub(crate) outcome: Result<Opened, Refusal>,
    pub(crate) after: Vec<u8>,
}

/// A tunnel between the two hosts, by IPv4 or IPv6.
pub(crate) fn tunnel(kind: Kind, by_6: bool) -> Tunnel {
    let (from, to): (IpAddr, IpAddr) =
        if by_6 { (DIRECTOR_6.into(), SERVER_6.into()) } else { (DIRECTOR_4.into(), SERVER_4.into()) };
    Tunnel { kind, macs: MACS, vlan: None, from, to, class: 0 }
}

pub(crate) fn opened(kind: Kind) -> Opened {
    match kind {
        Kind::Ipip => Opened::Ipip,
        Kind::Gue | Kind::GueRemote => Opened::Gue,
        Kind::Gre | Kind::GreChecksum => Opened::Gre,
    }
}

/// Both ends of a client's packet to a VIP.
pub(crate) fn ends(is_6: bool) -> (SocketAddr, SocketAddr) {
    let (client, vip): (IpAddr, IpAddr) = if is_6 {
        ("fd00:1::1".parse().unwrap(), "fd00:9::1".parse().unwrap())
    } else {
        ([10, 1, 0, 1].into(), [10, 9, 0, 1].into())
    };
    ((client, 40_000).into(), (vip, 7).into())
}

fn inner(is_6: bool, class: u8) -> Vec<u8> {
    let (client, vip) = ends(is_6);
    datagram(client, vip, class, b"lbxdp's odd payload")
}

struct Cases(Vec<Case>);

impl Cases {
    fn opens(&mut self, name: String, tunnel: &Tunnel, packet: &[u8], after: &[u8]) {
        self.0.push(Case {
            name,
            frame: tunnel.wrap(packet),
            outcome: Ok(opened(tunnel.kind)),
            after: tunnel.bare(after),
        });
    }

    fn refuses(&mut self, name: &str, refusal: Refusal, frame: Vec<u8>) {
        self.0.push(Case { name: name.into(), after: frame.clone(), frame, outcome: Err(refusal) });
    }
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = Cases(Vec::new());
    for kind in Kind::ALL {
        for by_6 in [false, true] {
            for is_6 in [false, true] {
                for vlan in [None, Some(7)] {
                    let tunnel = Tunnel { vlan, ..tunnel(kind, by_6) };
                    let name = format!("{kind:?} by 6: {by_6}, 6 inside: {is_6}, VLAN {vlan:?}");
                    let (client, vip) = ends(is_6);
                    cases.opens(name.clone(), &tunnel, &inner(is_6, 0), &inner(is_6, 0));
                    let even = segment(client, vip, b"an even one");
                    cases.opens(format!("{name}, TCP"), &tunnel, &even, &even);
                }
            }
        }
    }
    congestion(&mut cases);
    outer(&mut cases);
    headers(&mut cases);
    insides(&mut cases);
    cases.0
}

/// Every pair of ECN fields (RFC 6040, 4.2), with a DSCP that must stay.
fn congestion(cases: &mut Cases) {
    const DSCP: u8 = 0xb8;
    for (by_6, is_6) in [(false, false), (false, true), (true, false), (true, true)] {
        for (outer, inner_ecn, after) in [
            (0, 0, Some(0)),
            (1, 0, Some(0)),
            (2, 0, Some(0)),
            (3, 0, None),
            (0, 1, Some(1)),
            (1, 1, Some(1)),
            (2, 1, Some(1)),
            (3, 1, Some(3)),
            (0, 2, Some(2)),
            (1, 2, Some(1)),
            (2, 2, Some(2)),
            (3, 2, Some(3)),
            (0, 3, Some(3)),
            (1, 3, Some(3)),
            (2, 3, Some(3)),
            (3, 3, Some(3)),
        ] {
            let tunnel = Tunnel { class: outer, ..tunnel(Kind::Ipip, by_6) };
            let packet = inner(is_6, DSCP | inner_ecn);
            let name = format!("ECN {outer} around {inner_ecn}, by 6: {by_6}, 6 inside: {is_6}");
            match after {
                Some(after) => cases.opens(name, &tunnel, &packet, &inner(is_6, DSCP | after)),
                None => cases.refuses(&name, Refusal::CongestionUnheard, tunnel.wrap(&packet)),
            }
        }
    }
}

/// The outer header, by IPv4 if nothing else is said: it begins at 14.
fn outer(cases: &mut Cases) {
    let packet = inner(false, 0);
    let ipip = tunnel(Kind::Ipip, false);
    let changed = |tunnel: &Tunnel, change: fn(&mut Vec<u8>)| {
        let mut frame = tunnel.wrap(&packet);
        change(&mut frame);
        frame
    };
    cases.refuses("nothing around it", Refusal::NotATunnel, ipip.bare(&packet));
    cases.refuses("ARP", Refusal::NotATunnel, changed(&ipip, |frame| frame[12..14].copy_from_slice(&[8, 6])));
    cases.refuses("two tags", Refusal::NotATunnel, {
        let mut frame = Tunnel { vlan: Some(7), ..ipip }.wrap(&packet);
        frame.splice(12..12, [0x88, 0xa8, 0, 9]);
        frame
    });
    let other_port = tunnel::gue(6081, &[[0, 4, 0, 0].as_slice(), &packet].concat());
    cases.refuses("another port", Refusal::NotATunnel, ipip.around(&other_port, IpNumber::UDP));
    let port_0 = tunnel::gue(0, &[[0, 4, 0, 0].as_slice(), &packet].concat());
    cases.refuses("port 0 is none", Refusal::NotATunnel, ipip.around(&port_0, IpNumber::UDP));
    let last_port = tunnel::gue(7777, &[[0, 4, 0, 0].as_slice(), &packet].concat());
    cases.0.push(Case {
        name: "the last of all ports".into(),
        frame: ipip.around(&last_port, IpNumber::UDP),
        outcome: Ok(Opened::Gue),
        after: ipip.bare(&packet),
    });
    let elsewhere = Macs { to: [2, 0, 0, 0, 0, 3], ..MACS };
    cases.refuses("another host", Refusal::OtherHost, Tunnel { macs: elsewhere, ..ipip }.wrap(&packet));
    for (name, by_6, from) in [
        ("another director by 4", false, IpAddr::from([10, 2, 0, 3])),
        ("another director by 6", true, "fd00:2::3".parse().unwrap()),
        ("4's address in 6", true, "a02:1::".parse().unwrap()),
    ] {
        let tunnel = Tunnel { from, ..tunnel(Kind::Ipip, by_6) };
        cases.refuses(name, Refusal::SourceNotAllowed, tunnel.wrap(&packet));
    }
    // The checksum is left wrong in some of these: what is a fragment is left to the stack, which looks at that itself.
    for (name, kind, change) in [
        ("a first fragment", Kind::Ipip, (|frame| frame[20] |= 0x20) as fn(&mut Vec<u8>)),
        ("a later fragment", Kind::Gre, |frame| frame[21] = 100),
        ("a first fragment of GUE", Kind::Gue, |frame| frame[20] |= 0x20),
    ] {
        cases.refuses(name, Refusal::Fragment, changed(&tunnel(kind, false), change));
    }
    cases.refuses(
        "a later fragment of whatever",
        Refusal::NotATunnel,
        changed(&tunnel(Kind::Gue, false), |frame| frame[21] = 100),
    );
    let by_6 = tunnel(Kind::Ipip, true);
    let fragment = [[4, 0, 0, 1, 0, 0, 0, 9].as_slice(), &packet].concat();
    cases.refuses("a fragment by 6", Refusal::Fragment, by_6.around(&fragment, IpNumber(44)));
    let limit = [[4, 0, 4, 1, 4, 1, 1, 0].as_slice(), &packet].concat();
    cases.0.push(Case {
        name: "an encapsulation limit".into(),
        frame: by_6.around(&limit, IpNumber(60)),
        outcome: Ok(Opened::Ipip),
        after: by_6.bare(&packet),
    });
    let option = [[4, 0, 5, 1, 4, 1, 1, 0].as_slice(), &packet].concat();
    cases.refuses("another option", Refusal::NotATunnel, by_6.around(&option, IpNumber(60)));
    cases.refuses("options", Refusal::OuterOptions, {
        let mut frame = ipip.wrap(&packet);
        frame[14] = 0x46;
        frame.splice(34..34, [1; 4]);
        frame
    });
    cases.refuses("a wrong checksum", Refusal::OuterMalformed, changed(&ipip, |frame| frame[24] ^= 1));
    for (name, by_6) in [("shorter than it says, 4", false), ("shorter than it says, 6", true)] {
        cases.refuses(name, Refusal::OuterMalformed, {
            let mut frame = tunnel(Kind::Ipip, by_6).wrap(&packet);
            frame.pop();
            frame
        });
    }
    // Padding, as short frames have it, stays behind the inner packet.
    let mut padded = ipip.wrap(&packet);
    padded.extend([0; 9]);
    let after = [ipip.bare(&packet).as_slice(), &[0; 9]].concat();
    cases.0.push(Case { name: "padding".into(), frame: padded, outcome: Ok(Opened::Ipip), after });
}

/// The tunnel's own header.
fn headers(cases: &mut Cases) {
    let packet = inner(false, 0);
    let tunnel = tunnel(Kind::Gue, false);
    let gue = |header: &[u8]| {
        let shell = tunnel::gue(tunnel::GUE_PORT, &[header, &packet].concat());
        tunnel.around(&shell, IpNumber::UDP)
    };
    for (name, header) in [
        ("GUE's other version", &[0x40, 4, 0, 0][..]),
        ("GUE's control message", &[0x20, 4, 0, 0]),
        ("an unknown flag", &[0, 4, 0x80, 0]),
        ("private flags without a field", &[0, 4, 0, 1]),
        ("an unknown private flag", &[1, 4, 0, 1, 0x40, 0, 0, 0]),
        ("a remote checksum without its field", &[1, 4, 0, 1, 0x80, 0, 0, 0]),
        ("a remote checksum behind the packet", &[2, 4, 0, 1, 0x80, 0, 0, 0, 0, 20, 0, 200]),
        ("a remote checksum from behind the packet", &[2, 4, 0, 1, 0x80, 0, 0, 0, 0, 200, 0, 202]),
        ("a remote checksum before its beginning", &[2, 4, 0, 1, 0x80, 0, 0, 0, 0, 20, 0, 10]),
    ] {
        cases.refuses(name, Refusal::GueHeader, gue(header));
    }
    cases.refuses("GRE in GUE", Refusal::OtherPayload, gue(&[0, 47, 0, 0]));
    for (name, header) in [
        ("fields that nobody announced", &[2, 4, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8][..]),
        ("private flags that say nothing", &[1, 4, 0, 1, 0, 0, 0, 0]),
    ] {
        let (outcome, after) = (Ok(Opened::Gue), tunnel.bare(&packet));
        cases.0.push(Case { name: name.into(), frame: gue(header), outcome, after });
    }
    let mut longer = gue(&[0, 4, 0, 0]);
    longer[38] = 9;
    cases.refuses("UDP longer than IP", Refusal::OuterMalformed, longer);
    let mut shorter = gue(&[0, 4, 0, 0]);
    shorter[38..40].copy_from_slice(&[0, 11]);
    cases.refuses("UDP without GUE", Refusal::OuterMalformed, shorter);
    let gre = |header: &[u8]| tunnel.around(&[header, &packet].concat(), IpNumber::GRE);
    for (name, header) in [
        ("a key", &[0x20, 0, 8, 0, 0, 0, 0, 1][..]),
        ("a sequence number", &[0x10, 0, 8, 0, 0, 0, 0, 1]),
        ("a route", &[0x40, 0, 8, 0, 0, 0, 0, 0]),
        ("GRE's other version", &[0, 1, 8, 0]),
    ] {
        cases.refuses(name, Refusal::GreHeader, gre(header));
    }
    cases.refuses("Ethernet in GRE", Refusal::OtherPayload, gre(&[0, 0, 0x65, 0x58]));
}

/// The inner packet.
fn insides(cases: &mut Cases) {
    for (name, is_6, at, byte) in [
        ("another version in 4", false, 0, 0x65),
        ("a header too short", false, 0, 0x44),
        ("less than its header", false, 3, 19),
        ("more than there is, 4", false, 3, 250),
        ("another version in 6", true, 0, 0x45),
        ("more than there is, 6", true, 5, 250),
    ] {
        let tunnel = tunnel(Kind::Gre, false);
        let mut frame = tunnel.wrap(&inner(is_6, 0));
        frame[14 + 20 + 4 + at] = byte;
        cases.refuses(name, Refusal::InnerMalformed, frame);
    }
    let tunnel = tunnel(Kind::Ipip, false);
    cases.refuses("nothing inside", Refusal::InnerMalformed, tunnel.around(&[], IpNumber::IPV4));
    let (client, vip) = ends(false);
    let long = datagram(client, vip, 0, &vec![7; 16_384]);
    let remote = self::tunnel(Kind::GueRemote, false);
    cases.refuses("a long one's checksum", Refusal::ChecksumOutOfReach, remote.wrap(&long));
}
