//! VS/NAT end to end: the service's port is not the servers', and what comes back comes from the VIP.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::body;
use lbxdp_tests::http::{ECHO_PORT, HTTP_PORT, RECEIPT_PORT};
use lbxdp_tests::network::lore::{Back, Place, gateway, one_net, routed};
use lbxdp_tests::network::plan::SourceCheck;
use lbxdp_tests::network::{Damage, Ear, Exchange, Family, Method, Network, Offer, Packet, Plan, Probe};
use lbxdp_tests::service::numbers;

fn masquerade_serves(name: &str, plan: Plan, damage: &mut Damage) -> Result<()> {
    let network = Network::build(plan)?;
    let daemon = network.start_daemon()?;
    for family in Family::BOTH {
        let offer = Offer::make(&network, &daemon, family, Method::Masquerade, family)?;
        damage.note(format!("{name}, {family}"), Exchange::with(&network, &offer).everything());
        offer.end(&daemon)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_director_serves_as_the_servers_gateway() -> Result<()> {
    let mut damage = Damage::default();
    for check in [SourceCheck::Off, SourceCheck::Strict, SourceCheck::Loose] {
        let plan = gateway().with_director(|director| director.source_check = check);
        masquerade_serves(&format!("{check:?}"), plan, &mut damage)?;
    }
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_director_serves_on_the_one_net_of_all() -> Result<()> {
    let mut damage = Damage::default();
    masquerade_serves("one net", one_net(Back::ByDirector), &mut damage)?;
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_director_serves_servers_behind_a_router() -> Result<()> {
    let mut damage = Damage::default();
    masquerade_serves("routed", routed(Place::Far, Back::ByDirector), &mut damage)?;
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn replies_are_counted_as_what_goes_out() -> Result<()> {
    let network = Network::build(gateway())?;
    let daemon = network.start_daemon()?;
    for family in Family::BOTH {
        let offer = Offer::make_at(&network, &daemon, Method::Masquerade, network.site("s1"), family)?;
        let exchange = Exchange::with(&network, &offer);
        let datagram = body::pattern(101);
        exchange.datagram(ECHO_PORT, &datagram)?;
        let service = offer.service(ECHO_PORT);
        let counted = numbers(&daemon, &format!("-L -n --stats --exact -u {service}"), &service.to_string())?;
        // Connections, packets in and out, bytes in and out; the answer has the name and a blank more.
        let bytes = u64::try_from(family.header_bytes() + 8 + datagram.len())?;
        ensure!(counted == [1, 1, 1, bytes, bytes + 3], "{family}: {counted:?}");
        offer.end(&daemon)?;
    }
    Ok(())
}

/// The datagram of a crafted packet, as it comes to the server, and whether the server has answered it.
fn translated(network: &Network, packet: &Packet) -> Result<Packet> {
    let ear = Ear::open(network.site("s1").end("eth0"))?;
    let probe = Probe::at_client(network)?;
    let (from, _) = packet.ends().context("ports")?;
    probe.send(std::slice::from_ref(packet))?;
    ear.hear("the datagram at the server", std::time::Duration::from_secs(3), |frame| {
        Packet::of_frame(frame).filter(|packet| packet.ends().is_some_and(|(source, _)| source == from))
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn datagrams_keep_their_missing_checksum_and_their_options() -> Result<()> {
    let network = Network::build(gateway())?;
    let daemon = network.start_daemon()?;
    let offer = Offer::make_at(&network, &daemon, Method::Masquerade, network.site("s1"), Family::V4)?;
    let server = SocketAddr::new(network.address(network.site("s1"), Family::V4), RECEIPT_PORT);
    let payload = body::pattern(33);
    for (what, change) in [
        ("no checksum", Packet::without_udp_checksum as fn(Packet) -> Packet),
        ("options", |packet| packet.with_options(3)),
        ("options and no checksum", |packet| packet.without_udp_checksum().with_options(10)),
    ] {
        let talk = network.asker().talk(offer.service(RECEIPT_PORT))?;
        let source = SocketAddr::new(network.address(network.client(), Family::V4), talk.source()?.port());
        let packet = change(Packet::datagram(source, offer.service(RECEIPT_PORT), 64, &payload)?);
        let seen = translated(&network, &packet)?;
        ensure!(seen.ends() == Some((source, server)), "{what}: {:?}", seen.ends());
        ensure!(seen.0[0] == packet.0[0], "{what}: the header's length has changed");
        let (sum, sent) = (&seen.payload()[6..8], &packet.payload()[6..8]);
        ensure!(
            (sum == [0, 0]) == (sent == [0, 0]),
            "{what}: the checksum is {sum:02x?}, it was {sent:02x?}"
        );
        let answer = talk.receive().context(what)?;
        ensure!(
            answer == format!("s1 {}", body::receipt(&payload)).as_bytes(),
            "{what}: another answer came"
        );
    }
    Exchange::with(&network, &offer).clean()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_wrong_checksum_stays_wrong() -> Result<()> {
    let network = Network::build(gateway())?;
    let daemon = network.start_daemon()?;
    for family in Family::BOTH {
        let offer = Offer::make_at(&network, &daemon, Method::Masquerade, network.site("s1"), family)?;
        let source = SocketAddr::new(network.address(network.client(), family), network.next_port());
        let packet = Packet::datagram(source, offer.service(RECEIPT_PORT), 64, &body::pattern(33))?.damaged();
        translated(&network, &packet)?;
        // The server's stack is the judge: it throws this away, and takes the next.
        let exchange = Exchange::with(&network, &offer);
        exchange.datagram(RECEIPT_PORT, &body::pattern(33))?;
        ensure!(exchange.clean().is_err(), "{family}: the server has taken what was damaged");
        offer.end(&daemon)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn one_connection_serves_many_requests_from_one_server() -> Result<()> {
    let network = Network::build(gateway())?;
    let daemon = network.start_daemon()?;
    for family in Family::BOTH {
        let offer = Offer::make(&network, &daemon, family, Method::Masquerade, family)?;
        let mut held = network.asker().open(offer.service(HTTP_PORT))?;
        let names: Vec<Vec<u8>> = (0..5).map(|_| held.get("/")).collect::<Result<_>>()?;
        ensure!(names.iter().all(|name| *name == names[0]), "{family}: {names:?}");
        let others: Vec<String> =
            (0..4).map(|_| network.asker().who(offer.service(HTTP_PORT))).collect::<Result<_>>()?;
        ensure!(
            others.iter().any(|name| *name == "s1") && others.iter().any(|name| *name == "s2"),
            "{others:?}"
        );
        offer.end(&daemon)?;
    }
    Ok(())
}
