//! Fragments that overtook the first one of their datagram, while they wait for it.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use lbxdp_common::fragment::FragmentKey;
use lbxdp_common::steer;
use lbxdp_common::walk::Walker;
use lbxdp_common::wire::Buffer;

use super::cut::untagged;

/// How long a fragment waits. What overtakes on the wire is microseconds ahead; this is for the slowest of ways.
const PATIENCE: Duration = Duration::from_millis(500);
/// The most fragments that wait.
const MOST: usize = 4096;

/// A fragment that waits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Latecomer {
    key: FragmentKey,
    until: Instant,
    pub(super) ifindex: u32,
    pub(super) frame: Vec<u8>,
}

struct Plainly;

impl Walker for Plainly {}

impl Latecomer {
    /// A frame that was held; `None` if it holds no later fragment.
    pub(super) fn new(ifindex: u32, frame: Vec<u8>, now: Instant) -> Option<Self> {
        let (_, mut plain) = untagged(&frame)?;
        let key = steer::key_of_later(&&mut Buffer::new(&mut plain, 0), &Plainly)?;
        Some(Self { key, until: now + PATIENCE, ifindex, frame })
    }
}

/// All that wait, in the order in which they came.
#[derive(Default)]
pub(super) struct Late(VecDeque<Latecomer>);

/// What waits no longer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Released {
    /// Their first fragment has come.
    pub(super) ready: Vec<Latecomer>,
    /// How many have waited too long.
    pub(super) old: u64,
}

impl Late {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets a fragment wait; says whether there was room.
    pub(super) fn keep(&mut self, latecomer: Latecomer) -> bool {
        let has_room = self.0.len() < MOST;
        if has_room {
            self.0.push_back(latecomer);
        }
        has_room
    }

    /// Takes out whatever waits no longer. Each datagram is asked for once.
    pub(super) fn release(&mut self, now: Instant, has_begun: impl Fn(FragmentKey) -> bool) -> Released {
        let keys: BTreeSet<FragmentKey> = self.0.iter().map(|late| late.key).collect();
        let begun: BTreeSet<FragmentKey> = keys.into_iter().filter(|key| has_begun(*key)).collect();
        let (mut ready, mut old) = (Vec::new(), 0);
        for latecomer in std::mem::take(&mut self.0) {
            if begun.contains(&latecomer.key) {
                ready.push(latecomer);
            } else if latecomer.until <= now {
                old += 1;
            } else {
                self.0.push_back(latecomer);
            }
        }
        Released { ready, old }
    }
}
