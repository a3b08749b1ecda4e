//! The order of a listing: ipvsadm's, with its signed 32-bit differences.

use std::net::IpAddr;

use crate::snapshot::{ServerSnapshot, ServiceSnapshot};
use crate::state::{Family, ServiceKey};

/// Services by mark (one at an address has 0), family, protocol, address and port. Marks above 2^31 - 1 are negative.
pub(crate) fn services(services: &mut [&ServiceSnapshot]) {
    sort(services, &|a, b| {
        let (a, b) = (&a.key, &b.key);
        let mark = difference(mark(a), mark(b));
        let family = i32::from(a.family() == Family::V6) - i32::from(b.family() == Family::V6);
        let address = match (a.address(), b.address()) {
            (Some(a), Some(b)) => addresses(a, b),
            _ => 0,
        };
        [mark, family, protocol(a) - protocol(b), address, ports(a.port(), b.port())]
    });
}

/// Servers by address and port; of two families the first one's tells how the addresses are read.
pub(crate) fn servers(servers: &mut [&ServerSnapshot]) {
    sort(servers, &|a, b| {
        let (a, b) = (&a.server, &b.server);
        [0, 0, 0, addresses(a.address, b.address), ports(a.port, b.port)]
    });
}

fn mark(key: &ServiceKey) -> u32 {
    match key {
        ServiceKey::Address(_) => 0,
        ServiceKey::Mark(mark) => mark.mark,
    }
}

fn protocol(key: &ServiceKey) -> i32 {
    key.protocol().map_or(0, |protocol| i32::from(protocol.raw()))
}

fn ports(a: u16, b: u16) -> i32 {
    i32::from(a) - i32::from(b)
}

/// The difference that decides, as C computes it in an `int`: numbers more than 2^31 apart compare reversed.
fn difference(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

fn addresses(a: IpAddr, b: IpAddr) -> i32 {
    let compared = if a.is_ipv4() { 1 } else { 4 };
    let pairs = words(a).into_iter().zip(words(b)).take(compared);
    pairs.map(|(a, b)| difference(a, b)).find(|&difference| difference != 0).unwrap_or(0)
}

/// An address as the four numbers that ipvsadm compares; of an IPv4 one only the first counts.
fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [address.to_bits(), 0, 0, 0],
        IpAddr::V6(address) => {
            let segments = address.segments();
            [0, 2, 4, 6].map(|at| u32::from(segments[at]) << 16 | u32::from(segments[at + 1]))
        }
    }
}

/// Sorts by the first difference that is not 0: glibc's merge sort, so that the order is the same even where these
/// differences go round in circles (which `slice::sort_by` may answer with a panic).
fn sort<T: Copy>(items: &mut [T], differences: &impl Fn(T, T) -> [i32; 5]) {
    if items.len() < 2 {
        return;
    }
    let (left, right) = items.split_at_mut(items.len() / 2);
    sort(left, differences);
    sort(right, differences);
    let (left, right) = (left.to_vec(), right.to_vec());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    for place in items {
        let from_left = match (left.peek(), right.peek()) {
            (Some(&a), Some(&b)) => {
                differences(a, b).into_iter().find(|&difference| difference != 0).is_none_or(i32::is_negative)
            }
            (Some(_), None) => true,
            _ => false,
        };
        let next = if from_left { left.next() } else { right.next() };
        *place = next.unwrap_or(*place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(mut addresses_in: Vec<&str>) -> Vec<&str> {
        let parsed = |text: &str| text.parse::<IpAddr>().unwrap();
        sort(&mut addresses_in, &|a, b| [0, 0, 0, addresses(parsed(a), parsed(b)), 0]);
        addresses_in
    }

    #[test]
    fn near_addresses_go_up() {
        assert_eq!(sorted(vec!["10.0.0.3", "10.0.0.20", "10.0.0.1"]), ["10.0.0.1", "10.0.0.3", "10.0.0.20"]);
        assert_eq!(sorted(vec!["fd00::2", "fd00::1:0", "fd00::1"]), ["fd00::1", "fd00::2", "fd00::1:0"]);
    }

    #[test]
    fn far_addresses_go_down() {
        assert_eq!(sorted(vec!["10.0.0.1", "203.0.113.1"]), ["203.0.113.1", "10.0.0.1"]);
    }

    #[test]
    fn addresses_that_go_round_in_circles_are_all_there() {
        let mut circle = sorted(vec!["0.0.0.1", "127.0.0.1", "254.0.0.1", "90.0.0.1", "200.0.0.1"]);
        circle.sort_unstable();
        assert_eq!(circle, ["0.0.0.1", "127.0.0.1", "200.0.0.1", "254.0.0.1", "90.0.0.1"]);
    }
}
