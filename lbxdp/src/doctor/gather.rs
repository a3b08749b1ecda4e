//! The facts, asked of the machine, its neighbours and the daemon. What cannot be found out is said, and judged as not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use lbxdp_common::{Forward, Protocol};

use super::facts::{Daemon, Facts, Forwarding, Role};
use super::words::DoctorArguments;
use super::{DoctorError, clock, ethtool};
use crate::cli::client::{Client, ClientError, Director};
use crate::daemon::load::chain;
use crate::host::{self, Memory, Netlink, RealServer, Surroundings, look};
use crate::lan;
use crate::link::kernels_ipvsadm;
use crate::message::{Request, Response};
use crate::snapshot::{ServiceSnapshot, Status, Way};
use crate::tables::pins::Instance;

/// How long neighbours may take to answer, and how long is listened for packets that should not come.
const LISTENING: Duration = Duration::from_millis(700);

/// Ports that speak HTTP.
const HTTP_PORTS: [u16; 3] = [80, 8000, 8080];

/// At most so many servers are asked for the time.
const MOST_CLOCKS: usize = 16;

/// All facts, and what could not be found out.
pub(super) fn gather(arguments: &DoctorArguments) -> Result<(Facts, Vec<String>), DoctorError> {
    let instance = &arguments.instance.name;
    let netlink = Netlink::open()?;
    let mut unchecked = Vec::new();
    let kept: Option<Memory<host::DirectorWish>> =
        host::recall(instance, "director").unwrap_or_else(|error| {
            unchecked.push(format!("what was started as director: {}", chain(&error)));
            None
        });
    let has_packet_path = instance.layout_pins().exists();
    // One whose packet path has gone is a director nevertheless: that is what is wrong with it.
    let is_director = has_packet_path || kept.is_some() || instance.saved().exists();
    let role = arguments.role.unwrap_or(if is_director { Role::Director } else { Role::Server });
    let mut facts = Facts {
        role,
        instance: instance.clone(),
        attached: attached(instance),
        there: look(&netlink, instance)?,
        vips: arguments.vips.clone(),
        listeners: listeners(),
        reverse_path_drops: reverse_path_drops(),
        has_kernel_ipvs: has_kernel_ipvs(),
        kernels_ipvsadm: kernels_ipvsadm(Path::new("/")),
        ports: arguments.ports.clone(),
        directors: arguments.directors.clone(),
        clients: arguments.clients.clone(),
        ..Facts::default()
    };
    let mut client = Client::new(instance.clone());
    let begun = Instant::now();
    match role {
        Role::Director => {
            facts.daemon = ask_status(&mut facts, &mut client, has_packet_path);
            know_director(&mut facts, instance, &mut client, kept.map(|memory| memory.wish), &mut unchecked);
        }
        Role::Server => know_server(&mut facts, arguments, instance)?,
    }
    facts.vips.sort_unstable();
    facts.vips.dedup();
    facts.heard = listen(&facts, &mut unchecked);
    if let Some(status) = &facts.status {
        thread::sleep(LISTENING.saturating_sub(begun.elapsed()));
        match client.ask(&Request::Status) {
            Ok(Response::Status(later)) => {
                facts.no_tunnel = no_tunnel(&later).saturating_sub(no_tunnel(status));
            }
            Ok(_) => unchecked.push("what becomes of packets: the daemon is of another version".to_owned()),
            Err(error) => unchecked.push(format!("what becomes of packets: {}", chain(&error))),
        }
    }
    Ok((facts, unchecked))
}

/// The interfaces that pins are called after: a name with a dot has a colon there.
fn attached(instance: &Instance) -> Vec<String> {
    let pins = fs::read_dir(instance.link_pins()).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        pins.map(|pin| pin.file_name().to_string_lossy().replace(':', ".")).collect();
    names.sort_unstable();
    names
}

/// Packets that found no room for a tunnel's header, of all times.
fn no_tunnel(status: &Status) -> u64 {
    let counted = status.not_forwarded.iter().filter(|counted| counted.reason == "no_tunnel");
    counted.map(|counted| counted.packets).sum()
}

/// How the daemon says it is. Whatever keeps it from saying so is a fault of its own: without it nothing else is known.
fn ask_status(facts: &mut Facts, client: &mut impl Director, has_packet_path: bool) -> Daemon {
    let (why, is_running) = match client.ask(&Request::Status) {
        Ok(Response::Status(status)) => {
            facts.status = Some(*status);
            return Daemon::Running;
        }
        Ok(_) => ("the daemon is of another version".to_owned(), true),
        Err(error) => (chain(&error), !matches!(error, ClientError::NotRunning(_))),
    };
    Daemon::Down { why, is_running, has_packet_path }
}

/// What the daemon and its servers say; of a daemon that is down, what it was told.
fn know_director(
    facts: &mut Facts,
    instance: &Instance,
    client: &mut Client,
    wish: Option<host::DirectorWish>,
    unchecked: &mut Vec<String>,
) {
    // One that does not say how it is is not asked again: each question may take as long as its patience lasts.
    if facts.daemon == Daemon::Running {
        match client.ask(&Request::Services) {
            Ok(Response::Services(snapshot)) => facts.services = snapshot.services,
            Ok(_) => unchecked.push("the services: the daemon is of another version".to_owned()),
            Err(error) => unchecked.push(format!("the services: {}", chain(&error))),
        }
    }
    if facts.vips.is_empty() {
        facts.vips = if facts.daemon == Daemon::Running {
            host::vips(facts.services.iter().map(|service| &service.key))
        } else {
            let saved = crate::saved::read(&instance.saved()).unwrap_or_else(|error| {
                unchecked.push(format!("the saved services: {}", chain(&error)));
                None
            });
            let mut vips = host::vips(saved.iter().flat_map(|state| state.services.keys()));
            vips.extend(wish.into_iter().flat_map(|wish| wish.vips));
            vips
        };
    }
    let attached: Vec<String> =
        facts.status.iter().flat_map(|status| &status.interfaces).map(|found| found.name.clone()).collect();
    for name in attached {
        match ethtool::active(&name) {
            Ok(features) => drop(facts.features.insert(name.clone(), features)),
            Err(error) => unchecked.push(format!("the features of {name}: {error}")),
        }
        let driver = fs::read_link(format!("/sys/class/net/{name}/device/driver")).ok();
        let driver = driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        facts.drivers.extend(driver.map(|driver| (name, driver)));
    }
    facts.sources =
        servers(&facts.services).into_iter().filter_map(|server| Some((server, source(server)?))).collect();
    facts.sources.retain(|server, _| !facts.there.addresses.iter().any(|own| own.address.addr() == *server));
    facts.clocks = clocks(facts);
}

fn servers(services: &[ServiceSnapshot]) -> BTreeSet<IpAddr> {
    services.iter().flat_map(|service| &service.servers).map(|found| found.server.address).collect()
}

/// The address from which this machine would send to another one: the kernel chooses, and sends nothing.
fn source(to: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The clocks of servers that speak HTTP, all asked at once.
fn clocks(facts: &Facts) -> BTreeMap<IpAddr, (f64, f64)> {
    let hops = facts.status.iter().flat_map(|status| &status.next_hops);
    let reachable: BTreeSet<IpAddr> =
        hops.filter(|hop| matches!(hop.way, Way::Out { .. })).map(|hop| hop.server).collect();
    let mut asked: BTreeMap<IpAddr, u16> = BTreeMap::new();
    for service in facts.services.iter().filter(|service| service.key.protocol() == Some(Protocol::Tcp)) {
        for found in &service.servers {
            let port = match found.server.forward {
                Forward::Masquerade => found.server.port,
                Forward::Direct | Forward::Tunnel => service.key.port(),
            };
            if HTTP_PORTS.contains(&port) && reachable.contains(&found.server.address) {
                asked.insert(found.server.address, port);
            }
        }
    }
    let answers = thread::scope(|scope| {
        let asking: Vec<_> = asked
            .into_iter()
            .take(MOST_CLOCKS)
            .map(|(server, port)| scope.spawn(move || (server, clock::ahead(SocketAddr::new(server, port)))))
            .collect();
        asking.into_iter().filter_map(|asking| asking.join().ok()).collect::<Vec<_>>()
    });
    answers.into_iter().filter_map(|(server, ahead)| Some((server, ahead.ok().flatten()?))).collect()
}

/// What is known of this real server.
fn know_server(
    facts: &mut Facts,
    arguments: &DoctorArguments,
    instance: &Instance,
) -> Result<(), DoctorError> {
    let memory: Option<Memory<RealServer>> = host::recall(instance, "realserver")?;
    let wish = memory.map(|memory| memory.wish);
    if facts.vips.is_empty() && arguments.forwarding != Some(Forwarding::Nat) {
        facts.vips = match &wish {
            Some(wish) => wish.vips.clone(),
            None => single_on_loopback(&facts.there),
        };
    }
    let tunnel = wish.and_then(|wish| wish.tunnel);
    let opens = tunnel.is_some() || !facts.there.decapsulators.is_empty();
    facts.forwarding =
        arguments.forwarding.unwrap_or(if opens { Forwarding::Tunnel } else { Forwarding::Direct });
    if facts.forwarding == Forwarding::Tunnel {
        // IPIP by IPv4 takes least: so much at least is needed, whatever it is.
        const LEAST: u32 = 20;
        facts.tunnel_overhead = Some(tunnel.map_or(LEAST, |tunnel| tunnel.overhead()));
    }
    Ok(())
}

fn single_on_loopback(there: &Surroundings) -> Vec<IpAddr> {
    let single = there.addresses.iter().filter(|place| {
        let is_whole = place.address.prefix_len() == place.address.max_prefix_len();
        let is_loopback = there.link(&place.interface).is_some_and(|link| link.is_loopback);
        is_whole && is_loopback && !place.address.addr().is_loopback()
    });
    single.map(|place| place.address.addr()).collect()
}

/// Asks on all interfaces at once.
fn listen(facts: &Facts, unchecked: &mut Vec<String>) -> BTreeMap<String, lan::Heard> {
    if facts.vips.is_empty() {
        return BTreeMap::new();
    }
    let names: Vec<&str> =
        facts.there.asked().filter(|link| link.is_up).map(|link| link.name.as_str()).collect();
    // Of the directors too: one of those that answer for a VIP is theirs.
    let asked = &[facts.vips.as_slice(), facts.directors.as_slice()].concat();
    let heard = thread::scope(|scope| {
        let asking: Vec<_> = names
            .into_iter()
            .map(|name| scope.spawn(move || (name.to_owned(), lan::ask(name, asked, LISTENING))))
            .collect();
        asking.into_iter().filter_map(|asking| asking.join().ok()).collect::<Vec<_>>()
    });
    let mut all = BTreeMap::new();
    for (name, heard) in heard {
        match heard {
            Ok(heard) => drop(all.insert(name, heard)),
            Err(error) => unchecked.push(format!("who answers for the VIPs on {name}: {error}")),
        }
    }
    all
}

/// Listening TCP sockets of both families.
fn listeners() -> BTreeSet<SocketAddr> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|text| text.lines().filter_map(listener).collect::<Vec<_>>())
        .collect()
}

/// A line of `/proc/net/tcp`, if its socket listens: `sl local_address rem_address st …`, addresses as words of the machine's byte
/// order, in hexadecimal.
fn listener(line: &str) -> Option<SocketAddr> {
    const LISTEN: &str = "0A";
    let mut words = line.split_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    if words.nth(1)? != LISTEN {
        return None;
    }
    let words: Vec<u8> = (0..address.len() / 8)
        .filter_map(|at| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok())
        .flat_map(u32::to_ne_bytes)
        .collect();
    let address: IpAddr = match words.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(words).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

/// The kernel's counter of packets that `rp_filter` has dropped.
fn reverse_path_drops() -> u64 {
    let text = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    counter(&text, "TcpExt:", "IPReversePathFilter").unwrap_or(0)
}

/// A counter of a file of pairs of lines: names, numbers.
fn counter(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(group));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|found| found == name)?;
    numbers.split_whitespace().nth(at)?.parse().ok()
}

/// Whether the kernel's own IPVS has services.
fn has_kernel_ipvs() -> bool {
    let text = fs::read_to_string("/proc/net/ip_vs").unwrap_or_default();
    text.lines().any(|line| ["TCP ", "UDP ", "SCTP ", "FWM "].iter().any(|kind| line.starts_with(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::EachPiece;

    /// A daemon that has always the same answer.
    struct Says(Answer);

    type Answer = fn() -> Result<Response, ClientError>;

    impl Director for Says {
        fn ask(&mut self, _: &Request) -> Result<Response, ClientError> {
            self.0()
        }

        fn connections(&mut self, _: &mut EachPiece<'_>) -> Result<(), ClientError> {
            unreachable!("nobody asks for connections")
        }
    }

    /// A daemon that hangs is no more healthy than one that is not there.
    #[test]
    fn whatever_keeps_a_daemon_from_answering_is_a_fault() {
        let silences: [(Answer, bool); 4] = [
            (|| Err(ClientError::NotRunning(Instance::default())), false),
            (|| Err(ClientError::Silent(Instance::default())), true),
            (|| Err(ClientError::PermissionDenied), true),
            (|| Ok(Response::Done), true),
        ];
        for (silence, is_up) in silences {
            for path in [false, true] {
                let mut facts = Facts::default();
                match ask_status(&mut facts, &mut Says(silence), path) {
                    Daemon::Down { is_running, has_packet_path, .. } => {
                        assert_eq!((is_running, has_packet_path), (is_up, path));
                    }
                    other => panic!("{other:?}"),
                }
                assert!(facts.status.is_none());
            }
        }
    }

    #[test]
    fn listening_sockets_are_told_from_others() {
        let line = "   0: 6400000A:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000";
        assert_eq!(listener(line), Some("10.0.0.100:80".parse().unwrap()));
        assert_eq!(listener(&line.replace(" 0A ", " 01 ")), None);
        let line = "   1: 000000FD000000000000000000010000:1F90 00000000000000000000000000000000:0000 0A 0";
        assert_eq!(listener(line), Some("[fd00::100]:8080".parse().unwrap()));
        assert_eq!(listener("  sl  local_address rem_address   st"), None);
    }

    #[test]
    fn a_counter_stands_below_its_name() {
        let text = "IpExt: A\nIpExt: 7\nTcpExt: A IPReversePathFilter B\nTcpExt: 1 42 3\n";
        assert_eq!(counter(text, "TcpExt:", "IPReversePathFilter"), Some(42));
        assert_eq!(counter(text, "TcpExt:", "C"), None);
    }
}
