//! Names as the system knows them. Slow name servers cost a listing two seconds in all, never more.

use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Names, PortNames, Transport};

/// How long all reverse lookups of a run may take together.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many reverse lookups go on at the same time.
const LOOKUPS_AT_ONCE: usize = 64;

/// The system's names: `/etc/services`, and whatever its resolver asks.
#[derive(Debug)]
pub struct SystemNames {
    ports: OnceCell<PortNames>,
    deadline: OnceCell<Instant>,
    look_up: LookUp,
}

impl Default for SystemNames {
    fn default() -> Self {
        Self::asking(|address| dns_lookup::lookup_addr(&address).ok())
    }
}

impl SystemNames {
    /// With another resolver for the names of hosts.
    fn asking(look_up: LookUp) -> Self {
        Self { ports: OnceCell::new(), deadline: OnceCell::new(), look_up }
    }

    fn ports(&self) -> &PortNames {
        self.ports.get_or_init(PortNames::of_system)
    }
}

impl Names for SystemNames {
    fn port(&self, name: &str, transport: Transport) -> Option<u16> {
        self.ports().port(name, transport)
    }

    fn service(&self, port: u16, transport: Transport) -> Option<String> {
        self.ports().name(port, transport)
    }

    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        if host.is_empty() || host.contains('\0') {
            return None;
        }
        let addresses = (host, 0).to_socket_addrs().ok()?;
        addresses.into_iter().find_map(|address| match address {
            SocketAddr::V4(address) => Some(*address.ip()),
            SocketAddr::V6(_) => None,
        })
    }

    fn hosts(&self, addresses: &[IpAddr]) -> Vec<Option<String>> {
        let deadline = *self.deadline.get_or_init(|| Instant::now() + PATIENCE);
        hosts_until(deadline, addresses, self.look_up)
    }
}

/// The names that are found before the deadline.
fn hosts_until(deadline: Instant, addresses: &[IpAddr], look_up: LookUp) -> Vec<Option<String>> {
    let mut names = vec![None; addresses.len()];
    if Instant::now() < deadline {
        let found = start(addresses, look_up);
        while let Ok((place, name)) = found.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            names[place] = name;
        }
    }
    names
}

/// Asks for the name of one address, however long it takes.
type LookUp = fn(IpAddr) -> Option<String>;

/// Starts the lookups; the answers come with the place of their address. Whoever is late is left to its own: a lookup
/// cannot be cancelled, and ends with the process.
fn start(addresses: &[IpAddr], look_up: LookUp) -> Receiver<(usize, Option<String>)> {
    let (sender, receiver) = mpsc::channel();
    let waiting: Vec<(usize, IpAddr)> = addresses.iter().copied().enumerate().rev().collect();
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..addresses.len().min(LOOKUPS_AT_ONCE) {
        let (sender, waiting) = (sender.clone(), Arc::clone(&waiting));
        // Without a thread there are just fewer lookups at once.
        let _ = thread::Builder::new().spawn(move || {
            let next = || waiting.lock().ok()?.pop();
            while let Some((place, address)) = next() {
                if sender.send((place, look_up(address))).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

#[cfg(test)]
mod tests {
    use lbxdp_common::Protocol;

    use super::*;
    use crate::cli::names::Naming;

    /// A name server that never answers for one address.
    fn half_dead(address: IpAddr) -> Option<String> {
        if address == Ipv4Addr::new(10, 0, 0, 7) {
            thread::sleep(Duration::from_mins(10));
            return None;
        }
        Some(format!("name-of-{address}"))
    }

    #[test]
    fn a_dead_name_server_costs_one_name_and_no_more_time_than_allowed() {
        let addresses: Vec<IpAddr> = (0..200).map(|last| Ipv4Addr::new(10, 0, 0, last).into()).collect();
        let start = Instant::now();
        let names = hosts_until(start + Duration::from_millis(500), &addresses, half_dead);
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(names[7], None);
        assert_eq!(names.iter().flatten().count(), 199);
        assert_eq!(names[199].as_deref(), Some("name-of-10.0.0.199"));
    }

    #[test]
    fn nobody_is_asked_after_the_deadline() {
        let asked = |_| panic!("asked after the deadline");
        assert_eq!(hosts_until(Instant::now(), &[Ipv4Addr::LOCALHOST.into()], asked), [None]);
    }

    /// A resolver that never answers.
    fn silent(_: IpAddr) -> Option<String> {
        loop {
            thread::park();
        }
    }

    /// How long all of a run may take, on a busy machine.
    const IN_TIME: Duration = Duration::from_secs(10);

    #[test]
    fn a_listing_whose_resolver_never_answers_comes_in_time_and_in_numbers() {
        let (done, finished) = mpsc::channel();
        // On a thread of its own: without a limit it would never come back.
        thread::spawn(move || {
            let names = SystemNames::asking(silent);
            let mut naming = Naming::by_name(&names);
            // Each piece of a listing looks up its own; what they wait counts together.
            let lines: Vec<String> = (1..=200)
                .map(|last| naming.endpoint(Ipv4Addr::new(10, 0, 0, last).into(), 50_000, Protocol::Tcp))
                .collect();
            done.send(lines)
        });
        let lines = finished.recv_timeout(IN_TIME).expect("the listing ends");
        let numbers: Vec<String> = (1..=200).map(|last| format!("10.0.0.{last}:50000")).collect();
        assert_eq!(lines, numbers);
    }
}
