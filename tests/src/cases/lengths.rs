//! Cases of packets whose lengths are wrong. What the stack's own receiving would drop (`ip_rcv_core`, `ip6_rcv_core`) IPVS
//! never sees, so it goes to the stack; what IPVS does not look at goes to its server.

use etherparse::Ipv4Header;
use lbxdp_common::{Protocol, Reason, Scheduler};

use super::case::Case;
use super::frame::{self, IP};
use super::setup::Setup;
use super::v6;

use Protocol::{Tcp, Udp};
use Scheduler::RoundRobin;

const PORT: u16 = 40_000;
const TCP_BYTES: u16 = 20;
const UDP_BYTES: u16 = 8;
/// Where an IPv4 packet's length stands in the frame, and an IPv6 payload's.
const LENGTH: usize = IP + 2;
const LENGTH_V6: usize = IP + 4;

fn setup() -> Setup {
    let servers = &[(1, 1)];
    Setup::new()
        .service(Tcp, 80, RoundRobin, servers)
        .service(Udp, 53, RoundRobin, servers)
        .service_v6(Tcp, 80, RoundRobin, servers)
        .service_v6(Udp, 53, RoundRobin, servers)
}

/// The frame with another number at a place; an IPv4 header's checksum is right again.
fn with(mut frame: Vec<u8>, place: usize, number: u16) -> Vec<u8> {
    frame[place..place + 2].copy_from_slice(&number.to_be_bytes());
    if frame[IP] >> 4 == 4 {
        let (mut ip, _) = Ipv4Header::from_slice(&frame[IP..]).expect("an IP header");
        ip.header_checksum = ip.calc_header_checksum();
        frame[IP..IP + ip.header_len()].copy_from_slice(&ip.to_bytes());
    }
    frame
}

/// The frame, filled up as Ethernet's shortest is.
fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(60) + 30, 0x55);
    frame
}

pub(super) fn all() -> Vec<Case> {
    let tcp = || padded(frame::tcp(PORT, 80).ack().payload(0).bytes());
    let udp = || padded(frame::udp(PORT, 53).payload(0).bytes());
    let tcp_v6 = || padded(v6::tcp(PORT, 80).ack().payload(0).bytes());
    let udp_v6 = || padded(v6::udp(PORT, 53).payload(0).bytes());
    let (syn, syn_v6) = (frame::tcp(PORT, 80).syn(), v6::tcp(PORT, 80).syn().bytes());
    let whole = |frame: &[u8]| u16::try_from(frame.len() - IP).expect("a short one");
    let not = Reason::Malformed;
    // Before the connection is there, and when it is established: both ways look.
    let twice = |case: Case, frame: Vec<u8>| case.not_frame(not, frame.clone()).not_frame(not, frame);
    let of_tcp = |case: Case| {
        let case = twice(case, with(tcp(), LENGTH, whole(&tcp()) + 1));
        let case = twice(case, with(tcp(), LENGTH, 20 + TCP_BYTES - 1));
        let case = twice(case, with(tcp(), LENGTH, 0));
        let case = twice(case, with(tcp_v6(), LENGTH_V6, whole(&tcp_v6()) - 40 + 1));
        twice(case, with(tcp_v6(), LENGTH_V6, TCP_BYTES - 1))
    };
    let of_udp = |case: Case| {
        let case = twice(case, with(udp(), LENGTH, whole(&udp()) + 1));
        let case = twice(case, with(udp(), LENGTH, 20 + UDP_BYTES - 1));
        let case = twice(case, with(udp_v6(), LENGTH_V6, whole(&udp_v6()) - 40 + 1));
        twice(case, with(udp_v6(), LENGTH_V6, UDP_BYTES - 1))
    };
    let opened = Case::new("TCP packets whose IP length is wrong", setup())
        .to(1, syn)
        .to_frame(1, syn_v6)
        .to_frame(1, tcp())
        .to_frame(1, tcp_v6());
    let established = of_tcp(opened).to_frame(1, tcp()).to_frame(1, tcp_v6());
    let datagrams = of_udp(Case::new("datagrams whose IP length is wrong", setup()))
        .to_frame(1, udp())
        .to_frame(1, udp_v6())
        .to_frame(1, udp())
        .to_frame(1, udp_v6());
    // The transport header's own lengths are the server's to look at.
    let (udp_length, data_offset) = (IP + 20 + 4, IP + 20 + 12);
    let transports = Case::new("lengths in transport headers are the server's business", setup())
        .to_frame(1, with(udp(), udp_length, 3))
        .to_frame(1, with(udp(), udp_length, u16::MAX))
        .to(1, frame::tcp(PORT, 80).syn())
        .to_frame(1, with(tcp(), data_offset, 0x0010))
        .to_frame(1, with(tcp(), data_offset, 0xf010));
    vec![established, of_udp(datagrams), transports]
}
