//! Datagrams in fragments: they arrive whole whatever the order, or not at all, and what is refused is counted.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::http::{HTTP_PORT, RECEIPT_PORT};
use lbxdp_tests::network::lore::{Back, Place, gateway, routed};
use lbxdp_tests::network::reasons::{FRAGMENT_WITHOUT_FIRST, HELD_LOST, OVERLAPPING_FRAGMENT, TINY_FRAGMENT};
use lbxdp_tests::network::{
    Damage, Ear, Exchange, Family, Method, Network, Offer, Packet, Plan, Probe, Receiver,
};
use lbxdp_tests::service::{counted, status};
use lbxdp_tests::{Daemon, body, wait};

const SOON: Duration = Duration::from_secs(3);

fn plan(method: Method) -> Plan {
    match method {
        Method::Masquerade => gateway(),
        _ => routed(Place::Inner, Back::Straight).with_mtu("inner", 1600),
    }
}

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

/// Payload of the datagrams, in bytes; with UDP's header 3009, so the last fragment is odd.
const BYTES: usize = 3001;

/// Where they are cut.
const CUTS: [Range<usize>; 3] = [0..1200, 1200..2400, 2400..BYTES + 8];

/// A datagram to the service, in fragments that come in this order, and its answer.
fn arrives_in_order(network: &Network, offer: &Offer, order: &[usize]) -> Result<()> {
    let family = Family::of(offer.vip);
    let service = offer.service(RECEIPT_PORT);
    let talk = network.asker().with_deadline(SOON).talk(service)?;
    let source = SocketAddr::new(network.address(network.client(), family), talk.source()?.port());
    let payload = body::pattern(BYTES);
    let fragments = Packet::datagram(source, service, 64, &payload)?.fragments(id(network), &CUTS)?;
    let probe = Probe::at_client(network)?;
    for place in order {
        probe.send(&fragments[*place..=*place])?;
    }
    let answer = talk.receive()?;
    let wanted = body::receipt(&payload);
    ensure!(
        answer.ends_with(wanted.as_bytes()),
        "another answer came: {:?}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

/// An identification that no datagram has had.
fn id(network: &Network) -> u32 {
    network.next_port().into()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn fragments_arrive_in_order() -> Result<()> {
    with_every_method(|network, _, offer, _| {
        arrives_in_order(network, offer, &[0, 1, 2])?;
        Exchange::with(network, offer).clean()
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn fragments_that_overtake_the_first_arrive_too() -> Result<()> {
    with_every_method(|network, _, offer, _| {
        for order in [[1, 0, 2], [2, 1, 0], [2, 0, 1], [0, 2, 1]] {
            arrives_in_order(network, offer, &order).with_context(|| format!("{order:?}"))?;
        }
        Exchange::with(network, offer).clean()
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn datagrams_that_the_clients_own_stack_cuts_arrive() -> Result<()> {
    with_every_method(|network, _, offer, _| {
        let exchange = Exchange::with(network, offer);
        for bytes in [1500, 2000, 8001, 60_000] {
            exchange
                .datagram(RECEIPT_PORT, &body::pattern(bytes))
                .with_context(|| format!("{bytes} bytes"))?;
        }
        exchange.clean()
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn answers_in_fragments_come_back() -> Result<()> {
    with_every_method(|network, _, offer, family| {
        let exchange = Exchange::with(network, offer);
        for bytes in [2000, 8001] {
            let ask = || exchange.datagram(lbxdp_tests::http::ECHO_PORT, &body::pattern(bytes));
            let mut answer = ask();
            // Routers of IPv6 do not fragment: each server's first answer is lost where it learns what fits its way to the client.
            let may_be_lost = if family == Family::V6 { network.servers().count() } else { 0 };
            for _ in 0..may_be_lost {
                answer = answer.or_else(|_| ask());
            }
            answer.with_context(|| format!("{bytes} bytes"))?;
        }
        exchange.clean()
    })
}

/// Sends fragments of which nothing may be answered, waits until so many were counted by this name, and makes sure that no answer
/// comes.
fn is_refused(
    network: &Network,
    daemon: &Daemon,
    offer: &Offer,
    packets: &[Packet],
    (name, times): (&str, u64),
) -> Result<()> {
    let (probe, before) = (Probe::at_client(network)?, counted(daemon, name)?);
    probe.send(packets)?;
    let counts = || counted(daemon, name).is_ok_and(|now| now == before + times);
    wait::until(&format!("{times} more are counted as {name}"), SOON, counts)
        .with_context(|| format!("status says:\n{}", status(daemon).unwrap_or_default()))?;
    // What is answered later has been sent later.
    Exchange::with(network, offer).datagram(RECEIPT_PORT, b"later")?;
    let vip = offer.vip;
    let answers = probe.ear.hear_until(
        || Ok(true),
        |frame| {
            let packet = Packet::of_frame(frame).filter(|packet| packet.source() == vip)?;
            packet.ends().filter(|(_, to)| Some(*to) == packets_source(packets))
        },
    )?;
    ensure!(answers.is_empty(), "they were answered: {answers:?}");
    Ok(())
}

fn packets_source(packets: &[Packet]) -> Option<SocketAddr> {
    packets.first().and_then(Packet::ends).map(|(from, _)| from)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn fragments_without_their_first_go_nowhere_and_are_counted() -> Result<()> {
    with_every_method(|network, daemon, offer, family| {
        let ears = network.servers().map(|site| Ear::open(site.end("eth0"))).collect::<Result<Vec<_>>>()?;
        let source = SocketAddr::new(network.address(network.client(), family), network.next_port());
        let packet = Packet::datagram(source, offer.service(RECEIPT_PORT), 64, &body::pattern(BYTES))?;
        let fragments = packet.fragments(id(network), &CUTS)?;
        let lost = counted(daemon, HELD_LOST)?;
        is_refused(network, daemon, offer, &fragments[1..], (FRAGMENT_WITHOUT_FIRST, 2))?;
        // They were held first, which is no loss; then given up, which is one.
        wait::until("they are given up", SOON, || {
            counted(daemon, HELD_LOST).is_ok_and(|now| now == lost + 2)
        })?;
        for ear in ears {
            let strays = ear.hear_until(
                || Ok(true),
                |frame| {
                    Packet::of_frame(frame)
                        .filter(|packet| packet.is_fragment() && packet.source() == source.ip())
                },
            )?;
            ensure!(strays.is_empty(), "a server has got {} of them", strays.len());
        }
        let status = status(daemon)?;
        for (name, became) in [(FRAGMENT_WITHOUT_FIRST, "held, to be sent again"), (HELD_LOST, "dropped")] {
            let line = status.lines().find(|line| line.split_whitespace().next() == Some(name));
            ensure!(line.is_some_and(|line| line.ends_with(became)), "{name} is not {became}:\n{status}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn tiny_first_fragments_are_refused_and_counted() -> Result<()> {
    with_every_method(|network, daemon, offer, family| {
        let source = SocketAddr::new(network.address(network.client(), family), network.next_port());
        // Eight bytes of TCP have the ports and not the flags (RFC 1858).
        let packet = Packet::syn(source, offer.service(HTTP_PORT), 64)?;
        let fragments = packet.fragments(id(network), &[0..8, 8..20])?;
        is_refused(network, daemon, offer, &fragments[..1], (TINY_FRAGMENT, 1))
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn overlapping_fragments_are_refused_and_counted() -> Result<()> {
    with_every_method(|network, daemon, offer, family| {
        let source = SocketAddr::new(network.address(network.client(), family), network.next_port());
        let packet = Packet::datagram(source, offer.service(RECEIPT_PORT), 64, &body::pattern(BYTES))?;
        // One that would write over the ports of the first.
        let fragments = packet.fragments(id(network), &[0..1200, 8..1208])?;
        is_refused(network, daemon, offer, &fragments, (OVERLAPPING_FRAGMENT, 1))
    })
}
