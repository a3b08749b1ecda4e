use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv4Options};
use proptest::prelude::*;

use super::*;

const SOURCE: [u8; 4] = [192, 0, 2, 1];
const DESTINATION: [u8; 4] = [192, 0, 2, 2];

fn frame(tags: &[u8], options: &[u8], payload: &[u8], set: impl Fn(&mut Ipv4Header)) -> Vec<u8> {
    let mut ip = Ipv4Header::new(0, 64, IpNumber::UDP, SOURCE, DESTINATION).expect("a header");
    ip.identification = 0x1234;
    ip.dont_fragment = false;
    ip.options = Ipv4Options::try_from(options).expect("options");
    set(&mut ip);
    ip.set_payload_len(payload.len()).expect("a short payload");
    ip.header_checksum = ip.calc_header_checksum();
    [&[2; 12][..], tags, &IPV4, &ip.to_bytes(), payload].concat()
}

fn parsed(frame: &[u8], front: usize) -> (Ipv4Header, Vec<u8>) {
    let (ip, rest) = Ipv4Header::from_slice(&frame[front..]).expect("an IPv4 header");
    assert_eq!(ip.header_checksum, ip.calc_header_checksum(), "the checksum of {ip:?}");
    let payload = usize::from(ip.payload_len().expect("a length"));
    assert_eq!(rest.len(), payload, "nothing stands behind it");
    (ip, rest.to_vec())
}

proptest! {
    /// Put together, fragments of any size are the packet again; none is too long, and only the last one is the last one.
    #[test]
    fn fragments_are_the_packet(
        payload in prop::collection::vec(any::<u8>(), 1..2000),
        mtu in 68u32..1600,
        tags in prop::sample::select(vec![vec![], vec![0x81, 0, 0, 7], vec![0x88, 0xa8, 0, 1, 0x81, 0, 0, 2]]),
        first in 0u16..1000,
        has_more: bool,
        trailer in 0usize..20,
    ) {
        let mut whole = frame(&tags, &[], &payload, |ip| {
            ip.fragment_offset = IpFragOffset::try_new(first).expect("13 bits");
            ip.more_fragments = has_more;
        });
        whole.extend(vec![0xaa; trailer]);
        let front = ETHERNET_BYTES + tags.len();
        let fragments = Cutter::default().cut(&whole, mtu).expect("it can be cut");
        let mut together = Vec::new();
        for (number, fragment) in fragments.iter().enumerate() {
            prop_assert_eq!(&fragment[..front], &whole[..front]);
            let (ip, part) = parsed(fragment, front);
            prop_assert!(fragment.len() - front <= mtu as usize);
            prop_assert_eq!(usize::from(ip.fragment_offset.value()), usize::from(first) + together.len() / 8);
            let is_last = number + 1 == fragments.len();
            prop_assert_eq!(ip.more_fragments, has_more || !is_last);
            prop_assert!(is_last || part.len() % 8 == 0);
            prop_assert_eq!((ip.identification, ip.time_to_live), (0x1234, 64));
            together.extend(part);
        }
        prop_assert_eq!(together, payload);
    }
}

#[test]
fn options_of_the_first_fragment_stay_there() {
    // Record route (not copied), a no-operation, a router alert (copied).
    let options = [7, 7, 4, 1, 2, 3, 4, 1, 0x94, 4, 0, 0];
    let fragments =
        Cutter::default().cut(&frame(&[], &options, &[5; 100], |_| ()), 80).expect("it can be cut");
    let options_of = |frame: &[u8]| parsed(frame, ETHERNET_BYTES).0.options.as_slice().to_vec();
    assert_eq!(fragments.len(), 3);
    assert_eq!(options_of(&fragments[0]), options);
    for later in &fragments[1..] {
        assert_eq!(options_of(later), [1, 1, 1, 1, 1, 1, 1, 1, 0x94, 4, 0, 0]);
    }
}

#[test]
fn fragments_of_a_packet_without_a_number_get_one() {
    let whole = frame(&[], &[], &[1; 100], |ip| (ip.dont_fragment, ip.identification) = (true, 0));
    let mut cutter = Cutter::default();
    let mut number = || {
        let fragments = cutter.cut(&whole, 68).expect("it can be cut");
        let mut numbers: Vec<u16> = fragments
            .iter()
            .map(|fragment| {
                let (ip, _) = parsed(fragment, ETHERNET_BYTES);
                assert!(!ip.dont_fragment);
                ip.identification
            })
            .collect();
        numbers.dedup();
        assert_eq!(numbers.len(), 1);
        numbers[0]
    };
    assert_ne!(number(), number());
}

#[test]
fn what_is_no_ipv4_packet_is_not_cut() {
    let whole = frame(&[], &[], &[1; 100], |_| ());
    let mut cutter = Cutter::default();
    let mut v6 = whole.clone();
    v6[12..14].copy_from_slice(&[0x86, 0xdd]);
    for (frame, mtu) in [(&v6[..], 68), (&whole[..60], 68), (&whole[..10], 68), (&whole, 27)] {
        assert_eq!(cutter.cut(frame, mtu), None);
    }
}
