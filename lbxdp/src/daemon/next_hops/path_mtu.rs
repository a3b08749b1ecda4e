//! What an ICMP error says of the path's MTU, for as long as Linux would believe it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long an error is believed (`DEFAULT_MTU_EXPIRES`, Linux `net/ipv4/route.c`; `ip6_rt_mtu_expires`,
/// `net/ipv6/route.c`).
const LIFE: Duration = Duration::from_mins(10);

/// A smaller MTU of IPv4 is taken for this one (`DEFAULT_MIN_PMTU`, Linux `net/ipv4/route.c`): whoever forges errors cannot
/// make everybody send crumbs.
const LEAST_IPV4: u16 = 552;

/// An error that claims less of IPv6 is not believed: every link takes so much (RFC 8200, 5; RFC 8201, 4).
const LEAST_IPV6: u16 = 1280;

/// A path's MTU, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PathMtu {
    /// In bytes.
    pub mtu: u16,
    pub until: Instant,
}

impl PathMtu {
    /// What an error means that says `mtu` of the path to an address, where `current` bytes are possible so far (0: not
    /// known), because of `known` perhaps; `None` if nothing. An error that comes again is believed for as long again.
    pub(super) fn told(
        known: Option<Self>,
        address: IpAddr,
        current: u16,
        mtu: u16,
        now: Instant,
    ) -> Option<Self> {
        let mtu = match address {
            IpAddr::V4(_) => mtu.max(LEAST_IPV4),
            IpAddr::V6(_) => Some(mtu).filter(|mtu| *mtu >= LEAST_IPV6)?,
        };
        let is_again = known.is_some_and(|known| known.mtu == mtu);
        (mtu < current || is_again).then_some(Self { mtu, until: now + LIFE })
    }

    /// Whichever says less.
    pub(super) fn lower(self, other: Option<Self>) -> Self {
        other.filter(|other| other.mtu <= self.mtu).unwrap_or(self)
    }

    pub(super) fn is_over(self, now: Instant) -> bool {
        self.until <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_believed_as_far_as_linux_does() {
        let now = Instant::now();
        let v4 = IpAddr::from([10, 0, 0, 1]);
        let v6 = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]);
        for (address, current, told, expected) in [
            (v4, 1500, 1400, Some(1400)),
            (v4, 1500, 1500, None),
            (v4, 1400, 1500, None),
            (v4, 1500, 68, Some(552)),
            (v4, 1500, 0, Some(552)),
            (v4, 552, 68, None),
            (v4, 500, 68, None),
            (v4, 0, 1400, None),
            (v6, 1500, 1280, Some(1280)),
            (v6, 1500, 1279, None),
            (v6, 1280, 1280, None),
        ] {
            let found = PathMtu::told(None, address, current, told, now);
            assert_eq!(found.map(|path| path.mtu), expected, "{address} {current} {told}");
            assert!(found.is_none_or(|path| path.until == now + Duration::from_mins(10)));
        }
    }

    #[test]
    fn an_error_that_comes_again_is_believed_longer() {
        let now = Instant::now();
        let later = now + Duration::from_mins(5);
        let path = PathMtu { mtu: 1400, until: now };
        let v4 = IpAddr::from([10, 0, 0, 1]);
        let told = |mtu| PathMtu::told(Some(path), v4, path.mtu, mtu, later);
        assert_eq!(told(1400), Some(PathMtu { until: later + LIFE, ..path }));
        assert_eq!(told(1450), None);
        assert!(path.is_over(now) && !PathMtu { until: later, ..path }.is_over(now));
    }
}
