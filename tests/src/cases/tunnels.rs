//! Cases of VS/TUN: what leaves must be, to the byte, what etherparse makes of the same headers, checksums included.

use etherparse::{EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, UdpHeader};
use lbxdp_common::forward::{Tunnel, TunnelChecksum, TunnelKind};
use lbxdp_common::server::{ServerFlags, ServerRow};
use lbxdp_common::service::{narrowed, widened};
use lbxdp_common::settings::Rules;
use lbxdp_common::table::Hash;
use lbxdp_common::{Protocol, Reason, Scheduler, Verdict};

use super::SEED;
use super::case::Case;
use super::frame::{self, IP, forwarded};
use super::setup::{Setup, key, key_v6, server_row};
use super::v6;
use crate::tunnel::{GUE_PORT, folded, sum};

use Protocol::Udp;
use Scheduler::RoundRobin;

const PORT: u16 = 40_000;
const DNS: u16 = 53;

/// Every kind of tunnel.
pub(super) const TUNNELS: [(TunnelKind, TunnelChecksum); 6] = [
    (TunnelKind::Ipip, TunnelChecksum::None),
    (TunnelKind::Gue, TunnelChecksum::None),
    (TunnelKind::Gue, TunnelChecksum::Full),
    (TunnelKind::Gue, TunnelChecksum::Remote),
    (TunnelKind::Gre, TunnelChecksum::None),
    (TunnelKind::Gre, TunnelChecksum::Full),
];

pub(super) fn all() -> Vec<Case> {
    [lengths(), headers(), widths(), spreads()].concat()
}

/// Makes a server's row one of a tunnel whose ends are IPv6 addresses or IPv4 ones.
pub(super) fn through(row: &mut ServerRow, kind: TunnelKind, checksum: TunnelChecksum, is_v6: bool) {
    let port = if kind == TunnelKind::Gue { GUE_PORT.to_be_bytes() } else { [0; 2] };
    row.tunnel = Tunnel { kind: kind.raw(), checksum: checksum.raw(), port };
    row.flags = row.flags.with(ServerFlags::TUNNEL).with_if(ServerFlags::IPV6, is_v6);
    let end = |last: u8| [0xfd, 0xab, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, last];
    (row.address, row.tunnel_source) =
        if is_v6 { (end(0x65), end(1)) } else { (widened([172, 31, 255, 101]), widened([172, 31, 255, 1])) };
}

/// A service of each family, whose one server is at the end of a tunnel.
fn setup(kind: TunnelKind, checksum: TunnelChecksum, is_v6: bool) -> Setup {
    Setup::new()
        .service(Udp, DNS, RoundRobin, &[(1, 1)])
        .service_v6(Udp, DNS, RoundRobin, &[(1, 1)])
        .server(1, |row| through(row, kind, checksum, is_v6))
        .rule(Rules::TUNNELS)
        .rule(Rules::PMTU_DISC)
}

/// The frame that leaves, by the row of its server; the identification of the outer header is 0.
fn wrapped(frame: &[u8], row: &ServerRow, hash: Hash) -> Vec<u8> {
    let inner = forwarded(frame, [0; 12]).split_off(IP);
    let is_v6 = inner[0] >> 4 == 6;
    let number = if is_v6 { IpNumber::IPV6 } else { IpNumber::IPV4 };
    let ether_type = if is_v6 { EtherType::IPV6 } else { EtherType::IPV4 };
    let (class, hops, must_not_fragment) = if is_v6 {
        let (ip, _) = Ipv6Header::from_slice(&inner).expect("an IP header");
        (ip.traffic_class, ip.hop_limit, false)
    } else {
        let (ip, _) = Ipv4Header::from_slice(&inner).expect("an IP header");
        (ip.dscp.value() << 2 | ip.ecn.value(), ip.time_to_live, ip.dont_fragment)
    };
    // That it met congestion is the inner header's to tell (RFC 3168, 9.1.1).
    let class = if class & 3 == 3 { class - 1 } else { class };
    let has_checksum = row.tunnel.checksum != TunnelChecksum::None.raw();
    let is_outer_v6 = row.flags.has(ServerFlags::IPV6);
    let (shell, protocol) = match TunnelKind::from_raw(row.tunnel.kind).expect("a kind") {
        TunnelKind::Ipip => (inner, number),
        TunnelKind::Gue => ([&[0, number.0, 0, 0], &inner[..]].concat(), IpNumber::UDP),
        TunnelKind::Gre => {
            let flags = if has_checksum { 0x80 } else { 0 };
            let mut shell = [&[flags, 0][..], &ether_type.0.to_be_bytes()].concat();
            if has_checksum {
                let all = [&shell[..], &[0; 4], &inner].concat();
                shell.extend((!folded(sum(&all))).to_be_bytes());
                shell.extend([0; 2]);
            }
            ([&shell[..], &inner].concat(), IpNumber::GRE)
        }
    };
    let is_gue = protocol == IpNumber::UDP;
    let bytes = u16::try_from(shell.len() + if is_gue { UdpHeader::LEN } else { 0 }).expect("it fits");
    let port = 32_768 + u16::try_from(((hash.0 & 0xffff) * 28_232) >> 16).expect("below 28,232");
    let to_port = u16::from_be_bytes(row.tunnel.port);
    let no_checksum = UdpHeader::without_ipv4_checksum(port, to_port, shell.len()).expect("it fits");
    let (ip, udp) = if is_outer_v6 {
        let ip = Ipv6Header {
            traffic_class: class,
            payload_length: bytes,
            next_header: protocol,
            hop_limit: hops,
            source: row.tunnel_source,
            destination: row.address,
            ..Ipv6Header::default()
        };
        let udp = UdpHeader::with_ipv6_checksum(port, to_port, &ip, &shell).expect("it fits");
        (ip.to_bytes().to_vec(), udp)
    } else {
        let (source, destination) = (narrowed(row.tunnel_source), narrowed(row.address));
        let mut ip = Ipv4Header::new(bytes, hops, protocol, source, destination).expect("it fits");
        (ip.dscp, ip.ecn) =
            ((class >> 2).try_into().expect("six bits"), (class & 3).try_into().expect("two"));
        ip.dont_fragment = must_not_fragment;
        ip.header_checksum = ip.calc_header_checksum();
        let udp = UdpHeader::with_ipv4_checksum(port, to_port, &ip, &shell).expect("it fits");
        (ip.to_bytes().to_vec(), udp)
    };
    let udp = if has_checksum { udp } else { no_checksum };
    let ether_type = if is_outer_v6 { EtherType::IPV6 } else { EtherType::IPV4 };
    let ethernet = Ethernet2Header { source: row.source, destination: row.next_hop, ether_type };
    let udp = if is_gue { udp.to_bytes().to_vec() } else { Vec::new() };
    [&ethernet.to_bytes()[..], &ip, &udp, &shell].concat()
}

fn name_of(kind: TunnelKind, checksum: TunnelChecksum, is_v6: bool) -> String {
    format!("{} {} to an {} server", kind.name(), checksum.name(), if is_v6 { "IPv6" } else { "IPv4" })
}

/// A case for each tunnel to servers of each family.
fn of_all(what: &str, steps: impl Fn(Case, &ServerRow) -> Case) -> Vec<Case> {
    let all =
        TUNNELS.into_iter().flat_map(|(kind, checksum)| [(kind, checksum, false), (kind, checksum, true)]);
    all.map(|(kind, checksum, is_v6)| {
        let name = format!("{what}, by {}", name_of(kind, checksum, is_v6));
        let mut row = server_row(1);
        through(&mut row, kind, checksum, is_v6);
        steps(Case::new(&name, setup(kind, checksum, is_v6)), &row)
    })
    .collect()
}

impl Case {
    /// An IPv4 packet of the client's connection from [`PORT`], through the tunnel.
    fn wraps(self, frame: &[u8], row: &ServerRow) -> Self {
        let out = wrapped(frame, row, Hash::of(key(Udp, PORT, DNS), SEED));
        self.tunnelled(Verdict::Transmit, frame.to_vec(), out)
    }

    /// The same of IPv6.
    fn wraps_v6(self, frame: &[u8], row: &ServerRow) -> Self {
        let out = wrapped(frame, row, Hash::of(key_v6(Udp, PORT, DNS), SEED));
        self.tunnelled(Verdict::Transmit, frame.to_vec(), out)
    }
}

fn lengths() -> Vec<Case> {
    of_all("all lengths", |case, row| {
        (0..9).chain([63, 64, 65, 255, 999, 1000, 1001, 1399]).fold(case, |case, bytes| {
            case.wraps(&frame::udp(PORT, DNS).payload(bytes).bytes(), row)
                .wraps_v6(&v6::udp(PORT, DNS).payload(bytes).bytes(), row)
        })
    })
}

fn headers() -> Vec<Case> {
    of_all("what is taken over", |case, row| {
        let classes = [0, 1, 2, 3, 0xb8, 0xbb, 0xfe].into_iter().fold(case, |case, class| {
            case.wraps(&frame::udp(PORT, DNS).traffic_class(class).bytes(), row)
                .wraps_v6(&v6::udp(PORT, DNS).traffic_class(class).bytes(), row)
        });
        let ttls = [2, 3, 255].into_iter().fold(classes, |case, ttl| {
            case.wraps(&frame::udp(PORT, DNS).ttl(ttl).bytes(), row)
                .wraps_v6(&v6::udp(PORT, DNS).hop_limit(ttl).bytes(), row)
        });
        let may_be_cut = {
            let mut frame = frame::udp(PORT, DNS).identification(77).bytes();
            let (mut ip, _) = Ipv4Header::from_slice(&frame[IP..]).expect("an IP header");
            ip.dont_fragment = false;
            ip.header_checksum = ip.calc_header_checksum();
            frame[IP..IP + ip.header_len()].copy_from_slice(&ip.to_bytes());
            frame
        };
        let cut_off = |mut frame: Vec<u8>| {
            frame.pop();
            frame
        };
        let ttls = ttls
            .not_frame(Reason::Malformed, cut_off(frame::udp(PORT, DNS).bytes()))
            .not_frame(Reason::Malformed, cut_off(v6::udp(PORT, DNS).bytes()));
        ttls.wraps(&may_be_cut, row)
            .wraps(&frame::udp(PORT, DNS).ip_options(&[1; 8]).bytes(), row)
            .wraps_v6(&v6::udp(PORT, DNS).options(IpNumber::IPV6_DESTINATION_OPTIONS, 2).bytes(), row)
    })
}

/// The longest packet that fits, and one more byte.
fn widths() -> Vec<Case> {
    const MTU: u16 = 1400;
    let mut cases = of_all("the longest that fits", |case, row| {
        let shell =
            wrapped(&v6::udp(PORT, DNS).bytes(), row, Hash(0)).len() - v6::udp(PORT, DNS).bytes().len();
        let room = MTU - u16::try_from(shell).expect("a short one");
        let of = |bytes: u16| v6::udp(PORT, DNS).payload(usize::from(bytes) - 48).bytes();
        let [high, low] = room.to_be_bytes();
        case.wraps_v6(&of(room), row).told(Reason::TooBig, (2, 0, [0, 0, high, low]), of(room + 1))
    });
    for case in &mut cases {
        case.setup.servers[0].mtu = MTU;
    }
    // Less than the least MTU that there may be is left: 68 bytes of an IPv4 way, 1,280 of an IPv6 one.
    for (is_v6, least) in [(false, 20 + 68), (true, 40 + 1280)] {
        let of =
            |mtu: u16| setup(TunnelKind::Ipip, TunnelChecksum::None, is_v6).server(1, |row| row.mtu = mtu);
        let name = format!("too narrow for a tunnel to an IPv{} server", if is_v6 { 6 } else { 4 });
        let frame = v6::udp(PORT, DNS).payload(0).bytes();
        let case = Case::new(&name, of(least - 1)).not_frame(Reason::NoTunnel, frame);
        cases.push(case.not(Reason::NoTunnel, frame::udp(PORT, DNS)));
        let case = Case::new(&format!("{name}, nearly"), of(least));
        cases.push(case.wraps(&frame::udp(PORT, DNS).payload(0).bytes(), &of(least).servers[0]));
    }
    cases
}

/// The outer source follows the connection where a setting says so.
fn spreads() -> Vec<Case> {
    const BITS: u32 = 0xfff;
    let mut cases = of_all("outer sources that follow the connection", |case, row| {
        let spread = |hash: Hash| {
            let bits = u32::try_from(hash.0 >> 32).expect("the upper half") & BITS;
            let mut row = *row;
            let last = if row.flags.has(ServerFlags::IPV6) { 12..16 } else { 0..4 };
            for (byte, bits) in row.tunnel_source[last].iter_mut().zip(bits.to_be_bytes()) {
                *byte ^= bits;
            }
            row
        };
        (PORT..PORT + 4).fold(case, |case, port| {
            let (v4, v6) = (Hash::of(key(Udp, port, DNS), SEED), Hash::of(key_v6(Udp, port, DNS), SEED));
            let (frame, frame_v6) = (frame::udp(port, DNS).bytes(), v6::udp(port, DNS).bytes());
            let (out, out_v6) = (wrapped(&frame, &spread(v4), v4), wrapped(&frame_v6, &spread(v6), v6));
            // The second packet of each goes the shortest way.
            case.tunnelled(Verdict::Transmit, frame.clone(), out.clone())
                .tunnelled(Verdict::Transmit, frame, out)
                .tunnelled(Verdict::Transmit, frame_v6.clone(), out_v6.clone())
                .tunnelled(Verdict::Transmit, frame_v6, out_v6)
        })
    });
    for case in &mut cases {
        case.setup.tunnel_spread = BITS;
    }
    cases
}
