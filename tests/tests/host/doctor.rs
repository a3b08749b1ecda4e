//! `lbxdp doctor` in broken topologies: it names the fault that was made, and no other; and none where all is well.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::background::Background;
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::link::mac;
use lbxdp_tests::network::lore::{Back, Place, gateway, one_net, routed};
use lbxdp_tests::network::{Damage, Method, Tunnel};
use lbxdp_tests::wait;
use nix::sys::signal::Signal;

use crate::lab::Lab;

const DEADLINE: Duration = Duration::from_secs(10);

/// What the doctor names on a host, and its exit code.
fn named(lab: &Lab, host: &str, words: &str) -> Result<(BTreeSet<String>, Option<i32>)> {
    let answer = lab.lbxdp(host, &format!("doctor --json {words}"))?;
    let document: serde_json::Value =
        serde_json::from_str(&answer.stdout).with_context(|| format!("{answer:?}"))?;
    let findings = document["findings"].as_array().context("no findings")?;
    let mut ids = BTreeSet::new();
    for finding in findings {
        for field in ["severity", "symptom", "reason", "remedy"] {
            let words = finding[field].as_str().unwrap_or_default();
            ensure!(!words.is_empty(), "{field} is empty: {finding}");
        }
        ids.insert(finding["id"].as_str().context("a finding without a name")?.to_owned());
    }
    let worst = findings.iter().map(|finding| if finding["severity"] == "error" { 2 } else { 1 }).max();
    ensure!(answer.code == Some(worst.unwrap_or(0)), "{answer:?}");
    Ok((ids, answer.code))
}

fn names_exactly(lab: &Lab, host: &str, words: &str, id: &str) -> Result<()> {
    let (ids, _) = named(lab, host, words)?;
    ensure!(ids.iter().eq([id]), "{host}: {id} was expected, {ids:?} named");
    Ok(())
}

fn names_nothing(lab: &Lab, host: &str, words: &str) -> Result<()> {
    let (ids, code) = named(lab, host, words)?;
    ensure!(ids.is_empty() && code == Some(0), "{host} is healthy, but {ids:?} named");
    Ok(())
}

/// A fault: what breaks (host, command), what mends, and who is asked with which words.
struct Fault {
    id: &'static str,
    asked: &'static str,
    words: &'static str,
    breaks: &'static [(&'static str, &'static str)],
    mends: &'static [(&'static str, &'static str)],
}

const fn fault(
    id: &'static str,
    asked: &'static str,
    breaks: &'static [(&'static str, &'static str)],
    mends: &'static [(&'static str, &'static str)],
) -> Fault {
    Fault { id, asked, words: "", breaks, mends }
}

/// Makes each fault by itself, and mends it again.
fn one_by_one(lab: &Lab, faults: &[Fault], damage: &mut Damage) -> Result<()> {
    let type_all = |lines: &[(&str, &str)]| {
        lines.iter().try_for_each(|(host, line)| lab.network.site(host).namespace.run(line).map(drop))
    };
    for Fault { id, asked, words, breaks, mends } in faults {
        type_all(breaks)?;
        damage.note(*id, names_exactly(lab, asked, words, id));
        type_all(mends)?;
    }
    Ok(())
}

const DIRECT: [Fault; 8] = [
    fault(
        "vip-missing",
        "director",
        &[("director", "ip addr del 10.0.0.100/32 dev eth0")],
        &[("director", "ip addr add 10.0.0.100/32 dev eth0")],
    ),
    fault(
        "vip-wrong-interface",
        "director",
        &[
            ("director", "ip addr del 10.0.0.100/32 dev eth0"),
            ("director", "ip addr add 10.0.0.100/32 dev lo"),
        ],
        &[
            ("director", "ip addr del 10.0.0.100/32 dev lo"),
            ("director", "ip addr add 10.0.0.100/32 dev eth0"),
        ],
    ),
    fault(
        "vip-missing",
        "s1",
        &[("s1", "ip addr del 10.0.0.100/32 dev lo")],
        &[("s1", "ip addr add 10.0.0.100/32 dev lo scope host")],
    ),
    fault(
        "vip-wrong-interface",
        "s1",
        &[("s1", "ip addr del fd00::64/128 dev lo"), ("s1", "ip addr add fd00::64/128 dev eth0 nodad")],
        &[
            ("s1", "ip addr del fd00::64/128 dev eth0"),
            ("s1", "ip addr add fd00::64/128 dev lo nodad preferred_lft 0"),
        ],
    ),
    fault(
        "arp-ignore",
        "s1",
        &[("s1", "sysctl -w net.ipv4.conf.eth0.arp_ignore=4")],
        &[("s1", "sysctl -w net.ipv4.conf.eth0.arp_ignore=0")],
    ),
    fault(
        "arp-announce",
        "s1",
        &[("s1", "sysctl -w net.ipv4.conf.all.arp_announce=1")],
        &[("s1", "sysctl -w net.ipv4.conf.all.arp_announce=2")],
    ),
    fault(
        "vip-answered-twice",
        "director",
        &[("s2", "sysctl -w net.ipv4.conf.all.arp_ignore=0")],
        &[("s2", "sysctl -w net.ipv4.conf.all.arp_ignore=1")],
    ),
    fault(
        "kube-proxy",
        "director",
        &[("director", "ip link add kube-ipvs0 type bridge")],
        &[("director", "ip link del kube-ipvs0")],
    ),
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
fn faults_of_direct_routing_are_named() -> Result<()> {
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
    lab.daemon.end_by(Signal::SIGKILL)?;
    damage.note("daemon-down", names_exactly(&lab, "director", "", "daemon-down"));
    damage.into_result()
}

fn next_hop(lab: &Lab) -> Result<()> {
    lab.daemon.must("-a -t 10.0.0.100:80 -r 10.0.0.77:80 -g")?;
    names_exactly(lab, "director", "", "next-hop")?;
    lab.daemon.must("-d -t 10.0.0.100:80 -r 10.0.0.77:80").map(drop)
}

fn no_listener(lab: &Lab) -> Result<()> {
    names_exactly(lab, "s1", "--port 81", "no-listener")?;
    names_nothing(lab, "s1", "--port 80")?;
    // At the server's own address alone: health checks find it, and clients do not.
    let server = &lab.network.site("s1").namespace;
    let _narrow = server.inside(|| TcpListener::bind("10.0.0.11:8080"))??;
    names_exactly(lab, "s1", "", "no-listener")
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
    client.ip(&format!("neigh replace 10.0.0.100 lladdr {server} dev eth0 nud permanent"))?;
    let sending = pester(lab, "10.0.0.100")?;
    names_exactly(lab, "s1", "", "arp-stale")?;
    sending.finish()?;
    client.ip("neigh del 10.0.0.100 dev eth0").map(drop)
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
    names_exactly(lab, "s1", "", "rp-filter")?;
    server.set("ipv4/conf/all/rp_filter", "0")?;
    server.ip("link del other").map(drop)
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
fn faults_of_tunnels_are_named() -> Result<()> {
    let mut damage = Damage::default();
    let lab = Lab::started(routed(Place::Far, Back::Straight), Method::Tunnel(Tunnel::Ipip))?;
    for host in ["director", "s1"] {
        damage.note(host, names_nothing(&lab, host, ""));
    }
    let faults = [
        fault(
            "tunnel-mtu",
            "s1",
            &[("s1", "ip route replace default via 10.0.2.1")],
            &[("s1", "ip route replace default via 10.0.2.1 advmss 1412")],
        ),
        // Tunnels come in by eth0, answers leave by another interface.
        fault(
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
        ),
    ];
    one_by_one(&lab, &faults, &mut damage)?;
    damage.note("mended", names_nothing(&lab, "s1", ""));
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn faults_of_nat_are_named() -> Result<()> {
    const SERVER: &str = "--role server --forwarding nat --director 10.0.1.10";
    let mut damage = Damage::default();
    let lab = Lab::started(gateway(), Method::Masquerade)?;
    damage.note("director", names_nothing(&lab, "director", ""));
    damage.note("s1", names_nothing(&lab, "s1", SERVER));
    let faults = [
        Fault {
            words: SERVER,
            ..fault(
                "nat-route",
                "s1",
                &[("s1", "ip route replace default via 10.0.1.12")],
                &[("s1", "ip route replace default via 10.0.1.10")],
            )
        },
        fault(
            "nat-forwarding",
            "director",
            &[("director", "sysctl -w net.ipv4.ip_forward=0")],
            &[("director", "sysctl -w net.ipv4.ip_forward=1")],
        ),
    ];
    one_by_one(&lab, &faults, &mut damage)?;
    damage.note("mended", names_nothing(&lab, "director", ""));
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_director_that_serves_is_healthy_and_generic_xdp_is_named() -> Result<()> {
    let plan = one_net(Back::Straight).with_director(|director| director.serves = true);
    let lab = Lab::started(plan, Method::Direct)?;
    names_nothing(&lab, "director", "")?;
    drop(lab);
    let mut lab = Lab::bare_on(one_net(Back::Straight), Method::Direct, &["lo"])?;
    lab.start()?;
    names_exactly(&lab, "director", "", "generic-xdp")?;
    Ok(())
}
