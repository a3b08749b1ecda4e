//! The networks of the tests themselves: whatever crosses them without a director must arrive, or a failure would say nothing.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::body;
use lbxdp_tests::http::{HTTP_PORT, RECEIPT_PORT};
use lbxdp_tests::link::mac;
use lbxdp_tests::network::lore::{Back, Place, gateway, one_net, routed};
use lbxdp_tests::network::plan::SourceCheck;
use lbxdp_tests::network::{
    Damage, Ear, Exchange, Family, IcmpKind, Method, Network, Offer, Packet, Plan, Probe, Receiver, Tags,
    Tunnel,
};
use lbxdp_tests::pass::{Pass, UNVEILED, UNVEILED_SERVICE};
use lbxdp_tests::traffic::Sender;

fn plans() -> [(&'static str, Plan); 7] {
    [
        ("one net", one_net(Back::Straight)),
        ("one net, back by the director", one_net(Back::ByDirector)),
        ("gateway", gateway()),
        ("routed, inner", routed(Place::Inner, Back::Straight)),
        ("routed, far", routed(Place::Far, Back::Straight)),
        ("routed, far, back by the director", routed(Place::Far, Back::ByDirector)),
        ("routed, narrow for clients", routed(Place::Far, Back::Straight).with_mtu("out", 1300)),
    ]
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn clients_reach_servers_without_a_director() -> Result<()> {
    let mut damage = Damage::default();
    for (name, plan) in plans() {
        let network = Network::build(plan)?;
        let server = network.servers().next().expect("a plan with servers");
        for family in Family::BOTH {
            let exchange = Exchange::past_services(&network, network.address(server, family));
            damage.note(format!("{name}, {family}"), exchange.everything());
        }
    }
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn direct_routing_serves_where_servers_are_neighbours() -> Result<()> {
    let mut damage = Damage::default();
    let routed =
        |check| routed(Place::Inner, Back::Straight).with_director(|director| director.source_check = check);
    for (name, plan) in [
        ("one net", one_net(Back::Straight)),
        ("routed", routed(SourceCheck::Off)),
        ("routed, strict", routed(SourceCheck::Strict)),
        ("routed, loose", routed(SourceCheck::Loose)),
    ] {
        let network = Network::build(plan)?;
        let daemon = network.start_daemon()?;
        let offer = Offer::make(&network, &daemon, Family::V4, Method::Direct, Family::V4)?;
        damage.note(name, Exchange::with(&network, &offer).everything());
    }
    damage.into_result()
}

/// Packets in tunnels, written by hand at the director, are opened, answered, and nobody complains.
fn hand_made_tunnels_are_opened(receiver: Receiver) -> Result<()> {
    let mut damage = Damage::default();
    let mut network = Network::build(one_net(Back::Straight))?;
    network.receive(receiver)?;
    let (client, director, server) = (network.client(), network.director(), network.site("s1"));
    let probe = Probe::at(&network, director, server.plan.spots[0])?;
    for tunnel in Tunnel::ALL {
        for (inner, outer) in
            Family::BOTH.into_iter().flat_map(|inner| Family::BOTH.map(|outer| (inner, outer)))
        {
            let service = SocketAddr::new(network.vip(inner), RECEIPT_PORT);
            // Only the source port of the socket counts: nothing of it is sent.
            let talk = network.asker().talk(service)?;
            let source = SocketAddr::new(network.address(client, inner), talk.source()?.port());
            let payload = body::pattern(101);
            let packet = Packet::datagram(source, service, 64, &payload)?;
            let (from, to) = (network.address(director, outer), network.address(server, outer));
            probe.send(&[packet.wrapped(tunnel, from, to)?])?;
            let outcome = talk.receive().and_then(|answer| {
                ensure!(
                    answer == format!("s1 {}", body::receipt(&payload)).as_bytes(),
                    "another answer came"
                );
                Exchange::past_services(&network, network.vip(inner)).clean()
            });
            damage.note(format!("{inner} in {outer}, {tunnel}"), outcome);
        }
    }
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_opener_opens_what_is_right() -> Result<()> {
    hand_made_tunnels_are_opened(Receiver::Opener)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn lbxdps_decapsulator_opens_what_is_right() -> Result<()> {
    hand_made_tunnels_are_opened(Receiver::Decap)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn receivers_verify_checksums() -> Result<()> {
    for family in Family::BOTH {
        let network = Network::build(gateway())?;
        let server = network.site("s1");
        let exchange = Exchange::past_services(&network, network.address(server, family));
        exchange.clean().context("before")?;
        let service = SocketAddr::new(network.address(server, family), RECEIPT_PORT);
        let source = SocketAddr::new(network.address(network.client(), family), network.next_port());
        let damaged = Packet::datagram(source, service, 64, &body::pattern(33))?.damaged();
        Probe::at_client(&network)?.send(&[damaged])?;
        exchange.datagram(RECEIPT_PORT, b"later")?;
        ensure!(exchange.clean().is_err(), "{family}: a wrong checksum was not seen");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn probes_hear_of_narrow_links_and_of_exceeded_hops() -> Result<()> {
    let network = Network::build(routed(Place::Far, Back::Straight).with_mtu("far", 1400))?;
    let server = network.site("s1");
    for family in Family::BOTH {
        let probe = Probe::at_client(&network)?;
        let source = SocketAddr::new(network.address(network.client(), family), network.next_port());
        let service = SocketAddr::new(network.address(server, family), RECEIPT_PORT);
        let payload = body::pattern(1401 - family.header_bytes() - 8);
        let router = network.addresses(network.site("r2"), family);
        probe.send(&[Packet::datagram(source, service, 64, &payload)?.with_df(true)])?;
        probe.must_hear(IcmpKind::TooBig(1400), (source, service), &router)?;
        probe.send(&[Packet::syn(source, SocketAddr::new(service.ip(), HTTP_PORT), 3)?])?;
        let web = SocketAddr::new(service.ip(), HTTP_PORT);
        probe.must_hear(IcmpKind::TimeExceeded, (source, web), &router)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_trunk_tags_what_goes_to_the_director_and_untags_what_it_sends() -> Result<()> {
    for (tags, kind, tag_bytes) in [(Tags::One, UNVEILED, 4), (Tags::Two, UNVEILED_SERVICE, 8)] {
        let network = Network::build_with_tags(one_net(Back::Straight), &[("eth0", tags)])?;
        let (client, director) = (network.client(), network.director());
        // With it the director's own ear sees the tags.
        let _unveiled = Pass::attach_unveiling(director.end("eth0"))?;
        let ear = Ear::open(director.end("eth0"))?;
        let source = SocketAddr::new(network.address(client, Family::V4), network.next_port());
        let to = SocketAddr::new(network.address(director, Family::V4), 5);
        let packet = Packet::datagram(source, to, 64, &body::pattern(1472))?;
        let probe = Probe::at_client(&network)?;
        probe.send(std::slice::from_ref(&packet))?;
        let mut seen = ear.hear("a tagged frame", Duration::from_secs(3), |frame| {
            let is_ours = frame.get(12..14) == Some(&kind.to_be_bytes()) && frame.ends_with(&packet.0);
            is_ours.then(|| frame.to_vec())
        })?;
        ensure!(seen.len() == 14 + tag_bytes + packet.0.len(), "{} bytes came", seen.len());
        // Back again, with the tags as they are on the wire.
        seen[12..14].copy_from_slice(if tags == Tags::One { &[0x81, 0] } else { &[0x88, 0xa8] });
        seen[..6].copy_from_slice(&mac(client.end("eth0"))?);
        seen[6..12].copy_from_slice(&mac(director.end("eth0"))?);
        // Whoever sends by a packet socket needs this room for two tags; a director at work does not.
        director.namespace.ip("link set eth0 mtu 1508")?;
        director.namespace.inside(|| Sender::open("eth0"))??.send(&[seen])?;
        probe.hear("the frame without its tags", |heard| (*heard == packet).then_some(()))?;
        let seen = network.tagged();
        ensure!(seen.tagged == 1 && seen.errors == 0 && seen.strange.is_empty(), "{seen:?}");
    }
    Ok(())
}
