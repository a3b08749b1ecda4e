//! `lbxdp doctor` in broken topologies: it names the fault that was made, and no other; and none where all is well.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::background::Background;
use lbxdp_tests::http::{ECHO_PORT, HTTP_PORT};
use lbxdp_tests::link::mac;
use lbxdp_tests::network::lore::{Back, Place, gateway, one_net, routed};
use lbxdp_tests::network::{Damage, Family, Method, Network, Tunnel};
use lbxdp_tests::wait;
use nix::sys::signal::Signal;

use crate::lab::{Begun, Lab};

const DEADLINE: Duration = Duration::from_secs(10);

/// The verifier reads all programs of a daemon that starts, on a machine that may be busy.
const START_DEADLINE: Duration = Duration::from_mins(1);

/// What the doctor names on a host.
struct Named {
    ids: BTreeSet<String>,
    code: Option<i32>,
    remedies: Vec<String>,
}

fn named(lab: &Lab, host: &str, words: &str) -> Result<Named> {
    let answer = lab.lbxdp(host, &format!("doctor --json {words}"))?;
    let document: serde_json::Value =
        serde_json::from_str(&answer.stdout).with_context(|| format!("{answer:?}"))?;
    let findings = document["findings"].as_array().context("no findings")?;
    let (mut ids, mut remedies) = (BTreeSet::new(), Vec::new());
    for finding in findings {
        for field in ["severity", "symptom", "reason", "remedy"] {
            let words = finding[field].as_str().unwrap_or_default();
            ensure!(!words.is_empty(), "{field} is empty: {finding}");
        }
        ids.insert(finding["id"].as_str().context("a finding without a name")?.to_owned());
        remedies.extend(finding["remedy"].as_str().map(str::to_owned));
    }
    let worst = findings.iter().map(|finding| if finding["severity"] == "error" { 2 } else { 1 }).max();
    ensure!(answer.code == Some(worst.unwrap_or(0)), "{answer:?}");
    Ok(Named { ids, code: answer.code, remedies })
}

/// The remedies of the one fault that there is.
fn names_exactly(lab: &Lab, host: &str, words: &str, id: &str) -> Result<Vec<String>> {
    let Named { ids, remedies, .. } = named(lab, host, words)?;
    ensure!(ids.iter().eq([id]), "{host}: {id} was expected, {ids:?} named");
    Ok(remedies)
}

fn names_nothing(lab: &Lab, host: &str, words: &str) -> Result<()> {
    let Named { ids, code, remedies } = named(lab, host, words)?;
    ensure!(ids.is_empty() && code == Some(0), "{host} is healthy, but {ids:?} named: {remedies:?}");
    Ok(())
}

/// A fault: what breaks (host, command), who is asked with which words, and what mends.
struct Fault {
    id: &'static str,
    asked: &'static str,
    words: &'static str,
    breaks: &'static [(&'static str, &'static str)],
    mend: Mend,
    /// Whether all servers can be reached when it is mended.
    is_all: bool,
    /// What the remedy leaves that was not there before.
    cleans: &'static [(&'static str, &'static str)],
}

/// What mends a fault.
enum Mend {
    /// The doctor's own remedy, typed on this host.
    Remedy(&'static str),
    /// What the remedy speaks of is not on this machine: this instead.
    Instead(&'static [(&'static str, &'static str)]),
}

/// One that is mended where the doctor was asked.
const fn fault(
    id: &'static str,
    asked: &'static str,
    breaks: &'static [(&'static str, &'static str)],
    cleans: &'static [(&'static str, &'static str)],
) -> Fault {
    Fault { id, asked, words: "", breaks, mend: Mend::Remedy(asked), is_all: true, cleans }
}

fn type_all(lab: &Lab, lines: &[(&str, &str)]) -> Result<()> {
    lines.iter().try_for_each(|(host, line)| lab.enter(host, line).map(drop))
}

/// Types remedies, as the doctor says them.
fn take(lab: &Lab, host: &str, remedies: &[String]) -> Result<()> {
    remedies.iter().try_for_each(|remedy| lab.enter(host, remedy).map(drop).with_context(|| remedy.clone()))
}

/// Makes each fault by itself, and mends it again: then the doctor names nothing, and clients are served.
fn one_by_one(lab: &Lab, faults: &[Fault], damage: &mut Damage) -> Result<()> {
    for Fault { id, asked, words, breaks, mend, is_all, cleans } in faults {
        type_all(lab, breaks)?;
        let go = || {
            let remedies = names_exactly(lab, asked, words, id)?;
            match mend {
                Mend::Remedy(host) => take(lab, host, &remedies)?,
                Mend::Instead(lines) => type_all(lab, lines)?,
            }
            names_nothing(lab, asked, words).with_context(|| format!("after {remedies:?}"))?;
            if *is_all { lab.serves() } else { Ok(()) }
        };
        damage.note(*id, go());
        type_all(lab, cleans)?;
    }
    Ok(())
}

const DIRECT: [Fault; 9] = [
    fault("vip-missing", "director", &[("director", "ip addr del 10.0.0.100/32 dev eth0")], &[]),
    fault(
        "vip-wrong-interface",
        "director",
        &[
            ("director", "ip addr del 10.0.0.100/32 dev eth0"),
            ("director", "ip addr add 10.0.0.100/32 dev lo"),
        ],
        &[],
    ),
    fault("vip-missing", "director", &[("director", "ip addr del fd00::64/128 dev eth0")], &[]),
    fault("vip-missing", "s1", &[("s1", "ip addr del 10.0.0.100/32 dev lo")], &[]),
    fault(
        "vip-wrong-interface",
        "s1",
        &[("s1", "ip addr del fd00::64/128 dev lo"), ("s1", "ip addr add fd00::64/128 dev eth0 nodad")],
        &[],
    ),
    fault(
        "arp-ignore",
        "s1",
        &[("s1", "sysctl -w net.ipv4.conf.eth0.arp_ignore=4")],
        &[("s1", "sysctl -w net.ipv4.conf.eth0.arp_ignore=0")],
    ),
    fault("arp-announce", "s1", &[("s1", "sysctl -w net.ipv4.conf.all.arp_announce=1")], &[]),
    Fault {
        mend: Mend::Remedy("s2"),
        ..fault("vip-answered-twice", "director", &[("s2", "sysctl -w net.ipv4.conf.all.arp_ignore=0")], &[])
    },
    Fault {
        mend: Mend::Instead(&[("director", "ip link del kube-ipvs0")]),
        ..fault("kube-proxy", "director", &[("director", "ip link add kube-ipvs0 type bridge")], &[])
    },
];

/// The director's own packets come from the VIP.
const MARTIAN: Fault = fault(
    "martian-source",
    "director",
    &[("director", "ip route add 10.0.0.11/32 dev eth0 src 10.0.0.100")],
    &[("director", "ip route del 10.0.0.11/32 dev eth0")],
);

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn faults_of_direct_routing_are_named_and_mended() -> Result<()> {
    let mut damage = Damage::default();
    let mut lab = Lab::started(one_net(Back::Straight), Method::Direct)?;
    for host in ["director", "s1"] {
        damage.note(host, names_nothing(&lab, host, ""));
    }
    one_by_one(&lab, &DIRECT, &mut damage)?;
    one_by_one(&lab, &[MARTIAN], &mut damage)?;
    damage.note("next-hop", next_hop(&lab));
    damage.note("no-listener", no_listener(&lab));
    damage.note("arp-stale", stale(&lab));
    damage.note("rp-filter", reverse_path(&lab));
    damage.note("clock-skew", clock(&mut lab));
    for host in ["director", "s1"] {
        damage.note(format!("{host}, mended"), names_nothing(&lab, host, ""));
    }
    // Nothing that was started was taken back by a remedy.
    damage.note("all of it", lab.traffic());
    lab.daemon.end_by(Signal::SIGKILL)?;
    damage.note("daemon-down", mended_by_a_daemon(&lab, "daemon-down").map(drop));
    damage.into_result()
}

/// Types the remedy of a fault, which starts a daemon, and waits until the director is healthy and serves.
fn mended_by_a_daemon(lab: &Lab, id: &str) -> Result<Begun> {
    let remedies = names_exactly(lab, "director", "", id)?;
    let [remedy] = remedies.as_slice() else { anyhow::bail!("not one remedy: {remedies:?}") };
    start_by(lab, remedy)
}

fn start_by(lab: &Lab, remedy: &str) -> Result<Begun> {
    let daemon = lab.begin("director", remedy)?;
    let mut last = None;
    let healthy = wait::until("the director is healthy", START_DEADLINE, || {
        last = names_nothing(lab, "director", "").err();
        last.is_none()
    });
    healthy.with_context(|| format!("after `{remedy}`: {last:?}"))?;
    lab.serves()?;
    Ok(daemon)
}

fn next_hop(lab: &Lab) -> Result<()> {
    lab.daemon.must("-a -t 10.0.0.100:80 -r 10.0.0.77:80 -g")?;
    names_exactly(lab, "director", "", "next-hop").map(drop)?;
    lab.daemon.must("-d -t 10.0.0.100:80 -r 10.0.0.77:80").map(drop)
}

fn no_listener(lab: &Lab) -> Result<()> {
    names_exactly(lab, "s1", "--port 81", "no-listener")?;
    names_nothing(lab, "s1", "--port 80")?;
    // At the server's own address alone: health checks find it, and clients do not.
    let server = &lab.network.site("s1").namespace;
    let _narrow = server.inside(|| TcpListener::bind("10.0.0.11:8080"))??;
    names_exactly(lab, "s1", "", "no-listener").map(drop)
}

/// The client sends datagrams to an address, until this is dropped. Who answers does not matter.
fn pester(lab: &Lab, address: &'static str) -> Result<Background<()>> {
    Background::start(&lab.network.client().namespace, "pester", move |stop| {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        while !stop.is_wanted() {
            // An error of ICMP comes back here, and is none.
            let _ = socket.send_to(b"here?", (address, 5000));
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    })
}

/// The client has learnt that the VIP is at a server.
fn stale(lab: &Lab) -> Result<()> {
    let client = &lab.network.client().namespace;
    let server = mac(lab.network.site("s1").end("eth0"))?.map(|byte| format!("{byte:02x}")).join(":");
    client.ip(&format!("neigh replace 10.0.0.100 lladdr {server} dev eth0 nud reachable"))?;
    let sending = pester(lab, "10.0.0.100")?;
    let remedies = names_exactly(lab, "s1", "", "arp-stale")?;
    take(lab, "director", &remedies)?;
    // Still being sent to.
    names_nothing(lab, "s1", "")?;
    sending.finish()?;
    lab.serves()
}

/// A server has another way to the client than the one by which the client's packets come in.
fn reverse_path(lab: &Lab) -> Result<()> {
    let server = &lab.network.site("s1").namespace;
    server.ip("link add other type veth peer name rehto")?;
    server.ip("link set other up")?;
    server.ip("route add 10.0.0.2/32 dev other")?;
    server.set("ipv4/conf/all/rp_filter", "1")?;
    let sending = pester(lab, "10.0.0.11")?;
    wait::until("a packet is dropped", DEADLINE, || {
        let counters = server.run("cat /proc/net/netstat").unwrap_or_default();
        let mut lines = counters.lines().filter(|line| line.starts_with("TcpExt:"));
        let (names, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let mut both = names.split_whitespace().zip(numbers.split_whitespace());
        both.any(|(name, number)| name == "IPReversePathFilter" && number != "0")
    })?;
    sending.finish()?;
    let remedies = names_exactly(lab, "s1", "", "rp-filter")?;
    take(lab, "s1", &remedies)?;
    names_nothing(lab, "s1", "")?;
    for interface in ["all", "eth0"] {
        server.set(&format!("ipv4/conf/{interface}/rp_filter"), "0")?;
    }
    server.ip("link del other")?;
    lab.serves()
}

/// A server whose clock is an hour behind.
fn clock(lab: &mut Lab) -> Result<()> {
    lab.network.end_programs("s1");
    let wrong = Background::start(&lab.network.site("s1").namespace, "wrong clock", |stop| {
        let listener = TcpListener::bind(("::", HTTP_PORT))?;
        listener.set_nonblocking(true)?;
        while !stop.is_wanted() {
            let Ok((mut stream, _)) = listener.accept() else {
                std::thread::yield_now();
                continue;
            };
            stream.set_nonblocking(false)?;
            // What is asked does not matter.
            let _ = stream.read(&mut [0; 1024])?;
            stream.write_all(b"HTTP/1.0 200 OK\r\nDate: Thu, 29 Feb 2024 12:00:00 GMT\r\n\r\n")?;
        }
        Ok(())
    })?;
    let address: IpAddr = "10.0.0.11".parse()?;
    let director = &lab.network.director().namespace;
    wait::until("the server listens", DEADLINE, || {
        let connect = || std::net::TcpStream::connect_timeout(&SocketAddr::new(address, HTTP_PORT), DEADLINE);
        director.inside(connect).is_ok_and(|connected| connected.is_ok())
    })?;
    names_exactly(lab, "director", "", "clock-skew")?;
    wrong.finish()?;
    lab.network.serve_again("s1", true)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn faults_of_tunnels_are_named_and_mended() -> Result<()> {
    let mut damage = Damage::default();
    let lab = Lab::started(routed(Place::Far, Back::Straight), Method::Tunnel(Tunnel::Ipip))?;
    for host in ["director", "s1"] {
        damage.note(host, names_nothing(&lab, host, ""));
    }
    let faults = [
        fault("tunnel-mtu", "s1", &[("s1", "ip route replace default via 10.0.2.1")], &[]),
        // Tunnels come in by eth0, answers leave by another interface (where nobody is).
        Fault {
            is_all: false,
            ..fault(
                "rp-filter",
                "s1",
                &[
                    ("s1", "ip link add other type veth peer name rehto"),
                    ("s1", "ip link set other up"),
                    ("s1", "ip addr add 10.99.0.1/24 dev other"),
                    ("s1", "ip route replace default via 10.99.0.2 advmss 1412"),
                    ("s1", "sysctl -w net.ipv4.conf.eth0.rp_filter=1"),
                ],
                &[
                    ("s1", "sysctl -w net.ipv4.conf.eth0.rp_filter=0"),
                    ("s1", "ip link del other"),
                    ("s1", "ip route replace default via 10.0.2.1 advmss 1412"),
                ],
            )
        },
    ];
    one_by_one(&lab, &faults, &mut damage)?;
    damage.note("mended", names_nothing(&lab, "s1", ""));
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn faults_of_nat_are_named_and_mended() -> Result<()> {
    const SERVER: &str = "--role server --forwarding nat --director 10.0.1.10";
    let mut damage = Damage::default();
    let lab = Lab::started(gateway(), Method::Masquerade)?;
    damage.note("director", names_nothing(&lab, "director", ""));
    damage.note("s1", names_nothing(&lab, "s1", SERVER));
    let faults = [
        Fault {
            words: SERVER,
            ..fault("nat-route", "s1", &[("s1", "ip route replace default via 10.0.1.12")], &[])
        },
        fault("nat-forwarding", "director", &[("director", "sysctl -w net.ipv4.ip_forward=0")], &[]),
    ];
    one_by_one(&lab, &faults, &mut damage)?;
    damage.note("mended", names_nothing(&lab, "director", ""));
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_director_that_serves_is_healthy() -> Result<()> {
    let plan = one_net(Back::Straight).with_director(|director| director.serves = true);
    let lab = Lab::started(plan, Method::Direct)?;
    names_nothing(&lab, "director", "")
}

/// A veth of the director's that its driver gives no XDP: its other end sends by more queues than it receives by.
fn with_a_wide_peer(network: &Network) -> Result<()> {
    let director = &network.director().namespace;
    director.ip("link add narrow numrxqueues 1 type veth peer name wide numtxqueues 2")?;
    director.run("ethtool -L wide tx 2")?;
    director.ip("link set wide up")?;
    director.ip("link set narrow up").map(drop)
}

/// The reason is mended by hand, for the doctor cannot know it; the rest is the remedy's. Connections outlive it.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn generic_xdp_ends_with_its_reason() -> Result<()> {
    let network = Network::build_bare(one_net(Back::Straight))?;
    with_a_wide_peer(&network)?;
    let mut lab = Lab::bare_in(network, Method::Direct, &["-i", "narrow"])?;
    lab.start()?;
    let director = || lab.network.director();
    let mode = || director().namespace.ip("link show narrow");
    ensure!(mode()?.contains("xdpgeneric"), "{}", mode()?);
    let vip = SocketAddr::new(lab.network.vip(Family::V4), ECHO_PORT);
    let mut held = lab.network.asker().open(vip)?;
    held.echo("before")?;
    names_exactly(&lab, "director", "", "generic-xdp")?;
    director().namespace.run("ethtool -L wide tx 1")?;
    lab.daemon.end_by(Signal::SIGKILL)?;
    // A daemon that only takes over leaves it as it is.
    let remedies = {
        let daemon = lab.begin("director", "lbxdp run -i eth0 -i narrow --leave")?;
        wait::until("the daemon answers", START_DEADLINE, || {
            names_exactly(&lab, "director", "", "generic-xdp").is_ok()
        })?;
        let remedies = names_exactly(&lab, "director", "", "generic-xdp")?;
        drop(daemon);
        remedies
    };
    let _daemon = start_by(&lab, remedies.first().context("no remedy")?)?;
    let mode = lab.network.director().namespace.ip("link show narrow")?;
    ensure!(mode.contains(" xdp ") && !mode.contains("xdpgeneric"), "{mode}");
    held.echo("after")?;
    Ok(())
}

/// The loopback has no driver at all.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn generic_xdp_on_the_loopback_is_named_and_mended() -> Result<()> {
    let network = Network::build_bare(one_net(Back::Straight))?;
    let mut lab = Lab::bare_in(network, Method::Direct, &["-i", "lo"])?;
    lab.start()?;
    names_exactly(&lab, "director", "", "generic-xdp")?;
    let remedies = names_exactly(&lab, "director", "", "generic-xdp")?;
    lab.daemon.end_by(Signal::SIGKILL)?;
    start_by(&lab, remedies.first().context("no remedy")?).map(drop)
}

/// So many connections that a third of the places is taken.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_full_table_is_named_and_made_larger() -> Result<()> {
    let network = Network::build_bare(one_net(Back::Straight))?;
    let mut lab = Lab::bare_in(network, Method::Direct, &["--connections", "100"])?;
    lab.start()?;
    names_nothing(&lab, "director", "")?;
    let vip = SocketAddr::new(lab.network.vip(Family::V4), ECHO_PORT);
    let held: Vec<_> = (0..90).map(|_| lab.network.asker().open(vip)).collect::<Result<_>>()?;
    let remedies = names_exactly(&lab, "director", "", "table-full")?;
    let services = lab.daemon.must("-S -n")?;
    lab.daemon.end_by(Signal::SIGKILL)?;
    let _daemon = start_by(&lab, remedies.first().context("no remedy")?)?;
    drop(held);
    ensure!(lab.daemon.must("-S -n")? == services, "services are lost");
    let _held: Vec<_> = (0..90).map(|_| lab.network.asker().open(vip)).collect::<Result<_>>()?;
    names_nothing(&lab, "director", "")
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn an_interface_that_has_gone_is_named_until_it_is_back() -> Result<()> {
    let network = Network::build_bare(one_net(Back::Straight))?;
    let director = &network.director().namespace;
    let spare = "link add spare up type veth peer name other";
    director.ip(spare)?;
    let mut lab = Lab::bare_in(network, Method::Direct, &["-i", "spare"])?;
    lab.start()?;
    names_nothing(&lab, "director", "")?;
    let director = &lab.network.director().namespace;
    director.ip("link del spare")?;
    wait::until("the interface is missed", DEADLINE, || {
        names_exactly(&lab, "director", "", "interface-gone").is_ok()
    })?;
    director.ip(spare)?;
    wait::until("the interface is taken up", DEADLINE, || names_nothing(&lab, "director", "").is_ok())?;
    lab.serves()
}
