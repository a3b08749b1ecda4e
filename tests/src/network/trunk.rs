//! A link of the director that carries tagged frames: a relay in the switch that puts tags on IP packets towards the director, and
//! takes those off that come from it. It needs no VLAN device of the kernel.
//!
//! ARP and neighbour discovery pass untagged, as in the native VLAN of a trunk: so the director's stack finds its neighbours.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

use super::ear::{Ear, Heard};
use super::packet::IcmpError;
use crate::background::Background;
use crate::namespace::Namespace;
use crate::pass::{UNVEILED, UNVEILED_SERVICE};

/// What a frame is tagged with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    /// One tag of 802.1Q.
    One,
    /// A service tag of 802.1ad around it.
    Two,
}

/// Priority 5 and VLAN 100: a rewritten tag is to keep both.
const INNER: u16 = (5 << 13) | 0x064;
/// Priority 3 and VLAN 200.
const OUTER: u16 = (3 << 13) | 0x0c8;

const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Both addresses of a frame.
const MACS: usize = 12;

impl Tags {
    /// The tags as bytes, with the types as they are on the wire.
    fn bytes(self) -> Vec<u8> {
        self.words(VLAN, SERVICE_VLAN)
    }

    /// The tags as the relay reads them.
    fn unveiled(self) -> Vec<u8> {
        match self {
            Self::One => self.words(UNVEILED, UNVEILED_SERVICE),
            // Only the outer one is renamed.
            Self::Two => self.words(VLAN, UNVEILED_SERVICE),
        }
    }

    fn words(self, vlan: u16, service: u16) -> Vec<u8> {
        let words: &[u16] = match self {
            Self::One => &[vlan, INNER],
            Self::Two => &[service, OUTER, vlan, INNER],
        };
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// Bytes of what is beyond one tag.
    pub(super) fn further_bytes(self) -> u32 {
        match self {
            Self::One => 0,
            Self::Two => 4,
        }
    }
}

/// The relay, at work until this is dropped.
#[derive(Debug)]
pub struct Trunk {
    seen: Arc<Mutex<Seen>>,
    _relays: [Background<()>; 2],
}

/// What came from the director.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Packets with the right tags that are no ICMP errors.
    pub tagged: u64,
    /// ICMP errors with the right tags.
    pub errors: u64,
    /// How packets with other tags began, and what was wrong with errors.
    pub strange: Vec<String>,
}

impl Seen {
    /// What two trunks have seen.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.strange.extend(other.strange);
        Self { tagged: self.tagged + other.tagged, errors: self.errors + other.errors, ..self }
    }
}

impl Trunk {
    /// Between two interfaces of the switch: one that belongs to the net, one that leads to the director.
    pub fn start(switch: &Namespace, untagged: &str, tagged: &str, tags: Tags) -> Result<Self> {
        let open = |interface: &str| switch.inside(|| Ear::open_here(interface))?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (from_net, to_director) = (open(untagged)?, open(tagged)?);
        let inwards = Background::start(switch, "trunk in", move |stop| {
            relay(&from_net, &to_director, || stop.is_wanted(), |frame| Some(put_on(frame, tags)))
        })?;
        let (from_director, to_net, noted) = (open(tagged)?, open(untagged)?, Arc::clone(&seen));
        let outwards = Background::start(switch, "trunk out", move |stop| {
            let take_off = |frame: &[u8]| {
                take_off(frame, tags, &mut noted.lock().unwrap_or_else(PoisonError::into_inner))
            };
            relay(&from_director, &to_net, || stop.is_wanted(), take_off)
        })?;
        Ok(Self { seen, _relays: [inwards, outwards] })
    }

    /// What has come from the director so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn relay(
    from: &Ear,
    to: &Ear,
    is_over: impl Fn() -> bool,
    mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Result<()> {
    let mut frame = vec![0; 1 << 16];
    while !is_over() {
        // What this relay has sent by the interface is heard too.
        if let Some((length, Heard::Received)) = from.next(&mut frame)?
            && let Some(changed) = frame.get(..length).and_then(&mut change)
        {
            to.send(&changed)?;
        }
    }
    Ok(())
}

fn kind(frame: &[u8]) -> u16 {
    frame.get(MACS..MACS + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Neighbour discovery: types 133 to 137 of IPv6's ICMP.
fn finds_neighbours(frame: &[u8]) -> bool {
    kind(frame) == IPV6
        && frame.get(20) == Some(&58)
        && frame.get(54).is_some_and(|kind| (133..=137).contains(kind))
}

fn put_on(frame: &[u8], tags: Tags) -> Vec<u8> {
    if !matches!(kind(frame), IPV4 | IPV6) || finds_neighbours(frame) {
        return frame.to_vec();
    }
    let (macs, rest) = frame.split_at(MACS);
    [macs, &tags.bytes(), rest].concat()
}

/// The frame without its tags. The director's own stack sends untagged; that is passed on.
fn take_off(frame: &[u8], tags: Tags, seen: &mut Seen) -> Option<Vec<u8>> {
    let (macs, rest) = frame.split_at_checked(MACS)?;
    if let Some(packet) = rest.strip_prefix(tags.unveiled().as_slice()) {
        let untagged = [macs, packet].concat();
        match IcmpError::of_frame(&untagged) {
            None => seen.tagged += 1,
            Some(Ok(_)) => seen.errors += 1,
            Some(Err(error)) => seen.strange.push(format!("{error:#}")),
        }
        return Some(untagged);
    }
    if matches!(kind(frame), UNVEILED | UNVEILED_SERVICE) {
        let begin = rest.get(..rest.len().min(16)).unwrap_or_default();
        seen.strange.push(format!("{begin:02x?}"));
        return None;
    }
    Some(frame.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u16) -> Vec<u8> {
        [&[1; MACS][..], &kind.to_be_bytes(), &[7; 60]].concat()
    }

    #[test]
    fn tags_are_put_between_the_addresses_and_the_rest() {
        let tagged = put_on(&frame(IPV4), Tags::Two);
        assert_eq!(tagged[..MACS], [1; MACS]);
        assert_eq!(tagged[MACS..][..10], [0x88, 0xa8, 0x60, 200, 0x81, 0, 0xa0, 100, 8, 0]);
        assert_eq!(put_on(&frame(0x0806), Tags::One), frame(0x0806), "ARP is not tagged");
    }

    #[test]
    fn only_the_right_tags_are_taken_off() {
        let mut seen = Seen::default();
        for tags in [Tags::One, Tags::Two] {
            let tagged = [&frame(IPV6)[..MACS], &tags.unveiled(), &frame(IPV6)[MACS..]].concat();
            assert_eq!(take_off(&tagged, tags, &mut seen), Some(frame(IPV6)));
        }
        let mut wrong = [&frame(IPV6)[..MACS], &Tags::One.unveiled(), &frame(IPV6)[MACS..]].concat();
        wrong[MACS + 3] = 99;
        assert_eq!(take_off(&wrong, Tags::One, &mut seen), None);
        assert_eq!((seen.tagged, seen.errors, seen.strange.len()), (2, 0, 1));
    }
}
