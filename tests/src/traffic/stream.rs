//! A constant stream of datagrams with numbers, counted by the servers: each that was sent must arrive, once.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};

use super::losses;
use crate::background::{Background, Stop};
use crate::topology::{Lab, Server};
use crate::wait;

/// The port the servers count at.
pub const STREAM_PORT: u16 = 9000;

/// Flows, each from a port of its own: they are spread over the servers.
const FLOWS: usize = 8;

/// Room for what a server that gets no CPU for a second has not read yet.
const RECEIVE_BYTES: usize = 64 << 20;

/// How often a server looks whether it is to stop.
const GLANCE: Duration = Duration::from_millis(20);

/// How long the last datagrams may be under way.
const DEADLINE: Duration = Duration::from_secs(5);

/// The stream, under way.
#[derive(Debug)]
pub struct Stream {
    sender: Background<u64>,
    counters: Vec<Background<Vec<u64>>>,
    received: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
}

/// What was sent and what arrived.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub sent: u64,
    /// Different datagrams that arrived.
    pub arrived: u64,
    /// Datagrams that arrived once more.
    pub doubled: u64,
    /// Servers that counted any.
    pub servers: usize,
    /// Not arrived, but seen by the counting socket, which had no room: the test's own fault.
    pub overrun: u64,
    /// Where links dropped frames, of any kind.
    pub on_links: Vec<String>,
}

impl Report {
    pub fn lost(&self) -> u64 {
        self.sent - self.arrived
    }

    /// Whether each arrived exactly once.
    pub fn must_be_complete(&self) -> Result<()> {
        ensure!(self.sent > 0, "nothing was sent");
        ensure!(
            self.lost() == 0 && self.doubled == 0,
            "of {} datagrams {} were lost ({} of them by a full socket), {} came twice; frames dropped by links: {:?}",
            self.sent,
            self.lost(),
            self.overrun,
            self.doubled,
            self.on_links
        );
        Ok(())
    }
}

impl Stream {
    /// Sends `burst` datagrams every millisecond to the service at [`STREAM_PORT`], whose servers count them.
    pub fn start(lab: &Lab, burst: usize) -> Result<Self> {
        let received = Arc::new(AtomicU64::new(0));
        let sent = Arc::new(AtomicU64::new(0));
        let counters = lab
            .servers
            .iter()
            .map(|server| counter(server, lab.vip(), Arc::clone(&received)))
            .collect::<Result<_>>()?;
        let (to, counter) = (lab.service(STREAM_PORT), Arc::clone(&sent));
        let sender = Background::start(&lab.client, "stream", move |stop| send(to, burst, stop, &counter))?;
        let stream = Self { sender, counters, received, sent };
        wait::until("the stream arrives", DEADLINE, || stream.received.load(Ordering::Relaxed) > 0)?;
        Ok(stream)
    }

    /// How many have been sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops sending, lets arrive what is under way, and counts.
    pub fn finish(self, lab: &Lab) -> Result<Report> {
        let sent = self.sender.finish()?;
        // If it does not come true the count will tell.
        let _ = wait::until("all arrived", DEADLINE, || self.received.load(Ordering::Relaxed) >= sent);
        let mut report = Report { sent, on_links: losses::on_links(lab)?, ..Report::default() };
        for server in &lab.servers {
            report.overrun += losses::overrun(&server.namespace, STREAM_PORT)?;
        }
        let mut numbers = Vec::new();
        for counter in self.counters {
            let counted = counter.finish()?;
            report.servers += usize::from(!counted.is_empty());
            numbers.extend(counted);
        }
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        report.arrived = numbers.len() as u64;
        report.doubled = (all - numbers.len()) as u64;
        Ok(report)
    }
}

/// Sends until the stop; how many.
fn send(to: SocketAddrV4, burst: usize, stop: &Stop, counter: &AtomicU64) -> Result<u64> {
    let sockets: Vec<UdpSocket> = (0..FLOWS)
        .map(|_| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(to)?;
            Ok::<_, std::io::Error>(socket)
        })
        .collect::<Result<_, _>>()?;
    let mut number: u64 = 0;
    let mut next = Instant::now();
    while !stop.is_wanted() {
        for socket in sockets.iter().cycle().take(burst) {
            socket.send(&number.to_be_bytes()).context("sending a datagram")?;
            number += 1;
        }
        counter.store(number, Ordering::Relaxed);
        // What a busy machine made late is not made up for: a burst might overrun a link, which is not the question here.
        next = (next + Duration::from_millis(1)).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(number)
}

/// Counts on a server, until the stop: the numbers that came.
fn counter(server: &Server, vip: Ipv4Addr, received: Arc<AtomicU64>) -> Result<Background<Vec<u64>>> {
    let socket = server.namespace.inside(|| UdpSocket::bind((vip, STREAM_PORT)))??;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BYTES).context("asking for a large receive buffer")?;
    socket.set_read_timeout(Some(GLANCE))?;
    Background::start(&server.namespace, "counter", move |stop| {
        let mut numbers = Vec::new();
        let mut datagram = [0; 8];
        while !stop.is_wanted() {
            match socket.recv(&mut datagram) {
                Ok(8) => {
                    numbers.push(u64::from_be_bytes(datagram));
                    received.fetch_add(1, Ordering::Relaxed);
                }
                Ok(bytes) => anyhow::bail!("a datagram of {bytes} bytes is none of the stream"),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("receiving"),
            }
        }
        Ok(numbers)
    })
}
