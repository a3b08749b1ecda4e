//! A flood: packets from sources that do not exist, as fast as one thread can send.
//!
//! It stands where it is strongest, on the router's link towards the director. What servers answer goes nowhere: neither
//! they nor the router have a way to the sources, so nothing of it leaves the lab.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::crafted::{Flags, Frame, Macs};
use super::sender::Sender;
use crate::background::{Background, Stop};
use crate::link::{End, mac};
use crate::topology::{Lab, OUTER, ROUTER_OUTER};

/// Where the sources are: half of net 10, no host of the lab among them.
const SOURCES: &str = "10.128.0.0/9";

/// Frames a system call.
const BATCH: usize = 64;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Openings of TCP connections that never go on.
    Syn,
    /// TCP segments of connections that never were.
    Ack,
    /// Single datagrams.
    Udp,
}

/// A flood under way.
#[derive(Debug)]
pub struct Flood {
    background: Background<Sent>,
    sent: Arc<AtomicU64>,
}

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub frames: u64,
    pub took: Duration,
}

impl Sent {
    /// Frames a second.
    #[expect(clippy::cast_precision_loss, reason = "a figure to be read by people")]
    pub fn rate(&self) -> f64 {
        self.frames as f64 / self.took.as_secs_f64()
    }
}

impl Flood {
    /// Sends this many packets to a service, or fewer if it is finished before.
    pub fn start(lab: &Lab, kind: Kind, to: SocketAddrV4, frames: u64) -> Result<Self> {
        lead_nowhere(lab)?;
        let macs = macs(lab)?;
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let background = Background::start(&lab.router, "flood", move |stop| {
            flood(&template(kind, macs, to)?, frames, stop, &counter)
        })?;
        Ok(Self { background, sent })
    }

    /// How many have been sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub fn is_done(&self) -> bool {
        self.background.is_done()
    }

    /// Waits until all are sent.
    pub fn wait(self) -> Result<Sent> {
        self.background.wait()
    }
}

/// From the router to the director.
pub fn macs(lab: &Lab) -> Result<Macs> {
    let router = mac(End { namespace: &lab.router, interface: ROUTER_OUTER })?;
    let director = mac(End { namespace: &lab.director, interface: OUTER })?;
    Ok(Macs { from: router, to: director })
}

/// Servers do not know a way back to the sources, so they do not even answer; and the router would drop it.
pub fn lead_nowhere(lab: &Lab) -> Result<()> {
    let hosts = lab.servers.iter().map(|server| &server.namespace).chain([&lab.router]);
    hosts.into_iter().try_for_each(|host| host.ip(&format!("route replace blackhole {SOURCES}")).map(drop))
}

fn template(kind: Kind, macs: Macs, to: SocketAddrV4) -> Result<Frame> {
    let mut frame = match kind {
        Kind::Syn | Kind::Ack => Frame::tcp(macs, to)?,
        Kind::Udp => Frame::udp(macs, to)?,
    };
    if kind == Kind::Ack {
        frame.set_flags(Flags::ACK);
    }
    Ok(frame)
}

fn flood(template: &Frame, frames: u64, stop: &Stop, counter: &AtomicU64) -> Result<Sent> {
    let sender = Sender::open(ROUTER_OUTER)?;
    let mut batch = vec![template.clone(); BATCH];
    let mut sources = Sources::new();
    let start = Instant::now();
    let mut sent = 0;
    while sent < frames && !stop.is_wanted() {
        let now = usize::try_from(frames - sent).unwrap_or(BATCH).min(BATCH);
        for frame in &mut batch[..now] {
            frame.set_source(sources.next());
        }
        sender.send(&batch[..now])?;
        sent += now as u64;
        counter.store(sent, Ordering::Relaxed);
    }
    Ok(Sent { frames: sent, took: start.elapsed() })
}

/// Sources by chance (xorshift64*), the same in every run.
#[derive(Debug)]
struct Sources(u64);

impl Sources {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> SocketAddrV4 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let [net, subnet, host, port @ .., _, _, _] =
            self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes();
        SocketAddrV4::new(Ipv4Addr::new(10, 128 | net, subnet, host), u16::from_be_bytes(port).max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Sources;

    #[test]
    fn sources_lie_in_their_net_and_hardly_ever_return() {
        let mut sources = Sources::new();
        let all: HashSet<_> = (0..100_000).map(|_| sources.next()).collect();
        assert!(all.len() > 99_990, "{}", all.len());
        assert!(all.iter().all(|source| source.ip().octets()[0] == 10 && source.ip().octets()[1] >= 128));
        assert!(all.iter().all(|source| source.port() != 0));
    }
}
