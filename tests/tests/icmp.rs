//! ICMP about connections: who is told what, from whom, about which addresses.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::client::is_refused;
use lbxdp_tests::http::{HTTP_PORT, RECEIPT_PORT};
use lbxdp_tests::network::lore::{Back, Place, gateway, one_net, routed};
use lbxdp_tests::network::reasons::TTL_EXPIRED;
use lbxdp_tests::network::{
    Damage, Ear, Exchange, Family, IcmpError, IcmpKind, Method, Network, Offer, Packet, Plan, Probe,
    Receiver, Tunnel,
};
use lbxdp_tests::service::counted;
use lbxdp_tests::{Daemon, body};

const SOON: Duration = Duration::from_secs(3);

/// Where a method is at home, with servers beyond at least one router of the clients.
fn plan(method: Method) -> Plan {
    match method {
        Method::Direct => routed(Place::Inner, Back::Straight),
        Method::Tunnel(_) => routed(Place::Far, Back::Straight).with_mtu("inner", 1600).with_mtu("far", 1600),
        Method::Masquerade => gateway(),
    }
}

/// Does this with every method and family, on a network of the method's.
fn with_every_method(test: impl Fn(&Network, &Daemon, &Offer, Family) -> Result<()>) -> Result<()> {
    let mut damage = Damage::default();
    for method in Method::KINDS {
        let mut network = Network::build(plan(method))?;
        network.receive(Receiver::Opener)?;
        let daemon = network.start_daemon()?;
        for family in Family::BOTH {
            let outcome = Offer::make(&network, &daemon, family, method, family).and_then(|offer| {
                let outcome = test(&network, &daemon, &offer, family);
                offer.end(&daemon).and(outcome)
            });
            damage.note(format!("{family}, {method}"), outcome);
        }
    }
    damage.into_result()
}

/// An end at the client that nobody has.
fn source(network: &Network, family: Family) -> SocketAddr {
    SocketAddr::new(network.address(network.client(), family), network.next_port())
}

/// How many routers are between the client and the director.
fn routers_before(network: &Network) -> u8 {
    let names = ["r0", "r1"];
    let routers = network.sites().filter(|site| names.contains(&site.plan.name)).count();
    u8::try_from(routers).unwrap_or_default()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn traceroute_shows_the_director() -> Result<()> {
    with_every_method(|network, daemon, offer, family| {
        let probe = Probe::at_client(network)?;
        let director = network.addresses(network.director(), family);
        let ttl = routers_before(network) + 1;
        let before = counted(daemon, TTL_EXPIRED)?;
        // As tcptraceroute and traceroute send it.
        let (source, service) = (source(network, family), offer.service(HTTP_PORT));
        probe.send(&[Packet::syn(source, service, ttl)?])?;
        probe.must_hear(IcmpKind::TimeExceeded, (source, service), &director).context("a SYN")?;
        let service = offer.service(RECEIPT_PORT);
        probe.send(&[Packet::datagram(source, service, ttl, b"traceroute")?])?;
        probe.must_hear(IcmpKind::TimeExceeded, (source, service), &director).context("a datagram")?;
        let after = counted(daemon, TTL_EXPIRED)?;
        ensure!(after == before + 2, "{} were counted as {TTL_EXPIRED}, not 2", after - before);
        // One hop more is enough for the director, and no more is needed where the server is its neighbour.
        let is_neighbour =
            network.sites().all(|site| site.plan.name != "r2") || offer.method == Method::Direct;
        if is_neighbour {
            probe.send(&[Packet::syn(source, offer.service(HTTP_PORT), ttl + 1)?])?;
            probe.hear("the SYN-ACK", |packet| {
                (packet.ends() == Some((offer.service(HTTP_PORT), source))).then_some(())
            })?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn ttl_one_on_the_directors_own_net_is_exceeded() -> Result<()> {
    let network = Network::build(one_net(Back::Straight))?;
    let daemon = network.start_daemon()?;
    for family in Family::BOTH {
        let offer = Offer::make(&network, &daemon, family, Method::Direct, family)?;
        let probe = Probe::at_client(&network)?;
        let (source, service) = (source(&network, family), offer.service(HTTP_PORT));
        probe.send(&[Packet::syn(source, service, 1)?])?;
        let director = network.addresses(network.director(), family);
        probe
            .must_hear(IcmpKind::TimeExceeded, (source, service), &director)
            .with_context(|| family.to_string())?;
        offer.end(&daemon)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_vip_answers_echo_by_the_directors_stack() -> Result<()> {
    with_every_method(|network, _, offer, family| {
        let probe = Probe::at_client(network)?;
        let client = network.address(network.client(), family);
        let ears = network.servers().map(|site| Ear::open(site.end("eth0"))).collect::<Result<Vec<_>>>()?;
        let (id, payload) = (network.next_port(), body::pattern(77));
        probe.send(&[Packet::echo_request(client, offer.vip, id, &payload)?])?;
        let reply: u8 = if family == Family::V4 { 0 } else { 129 };
        probe.hear("the echo", |packet| {
            let is_reply = packet.source() == offer.vip && packet.payload().first() == Some(&reply);
            (is_reply && packet.payload().ends_with(&payload)).then_some(())
        })?;
        let request: u8 = if family == Family::V4 { 8 } else { 128 };
        for ear in ears {
            let strays = ear.hear_until(
                || Ok(true),
                |frame| {
                    Packet::of_frame(frame).filter(|packet| {
                        packet.payload().first() == Some(&request) && packet.payload().ends_with(&payload)
                    })
                },
            )?;
            ensure!(strays.is_empty(), "a server has got it: {strays:02x?}");
        }
        Ok(())
    })
}

/// Nobody listens there.
const CLOSED_PORT: u16 = 5000;

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_servers_port_unreachable_comes_back_as_the_vips() -> Result<()> {
    with_every_method(|network, daemon, offer, family| {
        let shift = if offer.method == Method::Masquerade { 100 } else { 0 };
        let service = SocketAddr::new(offer.vip, CLOSED_PORT + shift);
        let server = SocketAddr::new(network.address(network.site("s1"), family), CLOSED_PORT);
        daemon.must(&format!("-A -u {service} -s rr"))?;
        daemon.must(&format!("-a -u {service} -r {server} {}", offer.method))?;
        let probe = Probe::at_client(network)?;
        let source = source(network, family);
        let told = wait_for_error(&probe, || {
            probe.send(&[Packet::datagram(source, service, 64, &body::pattern(101))?])
        });
        let asked = network.asker().datagram(service, b"anybody?");
        daemon.must(&format!("-D -u {service}"))?;
        let error = told?;
        ensure!(error.kind == IcmpKind::PortUnreachable, "{error:?}");
        ensure!(error.quoted.ends() == Some((source, service)), "it quotes {:?}", error.quoted.ends());
        ensure!(error.from == offer.vip, "it comes from {}", error.from);
        ensure!(
            asked.as_ref().is_err_and(is_refused),
            "the client's stack has not taken it for an answer: {asked:?}"
        );
        Ok(())
    })
}

/// Sends until an error comes: the next hop of a server that is new may not be known yet.
fn wait_for_error(probe: &Probe, send: impl Fn() -> Result<()>) -> Result<IcmpError> {
    let mut last = None;
    for _ in 0..3 {
        send()?;
        match probe.error("what was sent") {
            Ok(error) => return Ok(error),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("nothing was tried")?)
}

/// The server that has the datagram of this source, and what answers it.
fn ask(network: &Network, offer: &Offer, probe: &Probe, source: SocketAddr) -> Result<(String, Packet)> {
    let service = offer.service(RECEIPT_PORT);
    probe.send(&[Packet::datagram(source, service, 64, b"who?")?])?;
    let answer = probe.hear("the answer to a datagram", |packet| {
        (packet.ends() == Some((service, source))).then(|| packet.clone())
    })?;
    let name = answer.payload().get(8..10).context("an answer without a name")?;
    let name = String::from_utf8_lossy(name).into_owned();
    ensure!(network.servers().any(|site| site.plan.name == name), "{name} has answered");
    Ok((name, answer))
}

/// Where a server hears what its stack gets.
fn inside(offer: &Offer) -> &'static str {
    if matches!(offer.method, Method::Tunnel(_)) { "opened" } else { "eth0" }
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn clients_errors_go_to_the_server_they_are_about() -> Result<()> {
    with_every_method(|network, _, offer, family| {
        let client = network.address(network.client(), family);
        // With two clients each server has one, and each gets what is its own.
        for _ in 0..2 {
            let probe = Probe::at_client(network)?;
            let source = source(network, family);
            let (name, answer) = ask(network, offer, &probe, source)?;
            let server = network.site(&name);
            let seen_by_server = match offer.method {
                Method::Masquerade => SocketAddr::new(network.address(server, family), RECEIPT_PORT),
                _ => offer.service(RECEIPT_PORT),
            };
            for kind in [IcmpKind::PortUnreachable, IcmpKind::TooBig(1290), IcmpKind::HostUnreachable] {
                // All of it, and no more than every host must quote.
                for quoted in [answer.0.len(), answer.0.len() - answer.payload().len() + 8] {
                    let ear = Ear::open(server.end(inside(offer)))?;
                    let error = Packet::error(client, offer.vip, kind, &answer.0[..quoted])?;
                    probe.send(&[error])?;
                    let what = format!("{kind:?} that quotes {quoted} bytes, at {name}");
                    let heard = ear.hear(&what, SOON, IcmpError::of_frame)??;
                    ensure!(heard.kind == kind, "{what}: {heard:?}");
                    ensure!(heard.from == client, "{what}: it comes from {}", heard.from);
                    ensure!(heard.to == seen_by_server.ip(), "{what}: it goes to {}", heard.to);
                    ensure!(
                        heard.quoted.ends() == Some((seen_by_server, source)),
                        "{what}: it quotes {:?}",
                        heard.quoted.ends()
                    );
                }
            }
        }
        Exchange::with(network, offer).clean()
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn an_error_about_no_connection_goes_to_no_server() -> Result<()> {
    with_every_method(|network, _, offer, family| {
        let probe = Probe::at_client(network)?;
        let source = source(network, family);
        let client = source.ip();
        let ears =
            network.servers().map(|site| Ear::open(site.end(inside(offer)))).collect::<Result<Vec<_>>>()?;
        // An answer that was never given.
        let answer = Packet::datagram(offer.service(RECEIPT_PORT), source, 64, b"never")?;
        probe.send(&[Packet::error(client, offer.vip, IcmpKind::PortUnreachable, &answer.0)?])?;
        // What is answered later has been sent later.
        ask(network, offer, &probe, self::source(network, family))?;
        for ear in ears {
            let errors = ear.hear_until(|| Ok(true), |frame| IcmpError::of_frame(frame)?.ok())?;
            // The client's stack refuses the later answer, which no socket waits for: that error is the server's.
            let is_stray = |error: &&IcmpError| error.quoted.ends().is_some_and(|(_, to)| to == source);
            let strays: Vec<_> = errors.iter().filter(is_stray).collect();
            ensure!(strays.is_empty(), "a server has got it: {strays:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_router_that_cannot_reach_a_tunnels_server_is_heard_by_the_client() -> Result<()> {
    let mut damage = Damage::default();
    let method = Method::Tunnel(Tunnel::Ipip);
    let network = Network::build(plan(method))?;
    // Only a director that forwards is told by its kernel the way to a client (`docs/differences.md`).
    network.director().namespace.set("ipv4/conf/all/forwarding", "1")?;
    let daemon = network.start_daemon()?;
    let family = Family::V4;
    let server = network.address(network.site("s1"), family);
    network.site("r2").namespace.ip(&format!("route add unreachable {server}/32"))?;
    for method in Method::TUNNELS {
        let offer = Offer::make_at(&network, &daemon, method, network.site("s1"), family)?;
        let probe = Probe::at_client(&network)?;
        let (source, service) = (source(&network, family), offer.service(RECEIPT_PORT));
        probe.send(&[Packet::datagram(source, service, 64, b"anybody?")?])?;
        let director = network.addresses(network.director(), family);
        let heard = probe.must_hear(IcmpKind::HostUnreachable, (source, service), &director);
        damage.note(method, heard.map(drop));
        offer.end(&daemon)?;
    }
    damage.into_result()
}
