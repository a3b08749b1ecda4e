use super::*;

const ME: Mac = [2, 0, 0, 0, 0, 1];

#[test]
fn an_arp_answer_tells_who_has_an_address() {
    let mut frame = arp::announcement(ME, "10.0.0.100".parse().unwrap());
    assert_eq!(frame.len(), 42);
    assert_eq!(arp::claim(&frame), None, "an announcement is a request");
    frame[21] = 2;
    assert_eq!(arp::claim(&frame), Some(("10.0.0.100".parse().unwrap(), ME)));
    assert_eq!(arp::claim(&frame[..30]), None);
}

#[test]
fn a_question_comes_from_nobody() {
    let frame = arp::question(ME, "10.0.0.100".parse().unwrap());
    assert_eq!(frame[..6], [0xff; 6]);
    assert_eq!(frame[28..32], [0; 4]);
    assert_eq!(frame[38..], [10, 0, 0, 100]);
}

/// The checksum of a whole message of ICMP for IPv6 with its own one in it is zero; etherparse is the judge.
#[test]
fn neighbour_discovery_has_right_checksums() {
    let vip = "fd00::1:2345".parse().unwrap();
    for frame in [ndp::announcement(ME, vip), ndp::question(ME, vip)] {
        let packet = etherparse::PacketHeaders::from_ethernet_slice(&frame).unwrap();
        let Some(etherparse::NetHeaders::Ipv6(ip, _)) = packet.net else { panic!("no IPv6") };
        let Some(etherparse::TransportHeader::Icmpv6(icmp)) = packet.transport else { panic!("no ICMPv6") };
        let sum = icmp.icmp_type.calc_checksum(ip.source, ip.destination, packet.payload.slice()).unwrap();
        assert_eq!(icmp.checksum, sum);
        assert_eq!(ip.hop_limit, 255);
    }
    assert_eq!(ndp::claim(&ndp::announcement(ME, vip)), Some((vip.into(), ME)));
    assert_eq!(ndp::claim(&ndp::question(ME, vip)), None);
    assert_eq!(ndp::question(ME, vip)[..6], [0x33, 0x33, 0xff, 1, 0x23, 0x45]);
}
