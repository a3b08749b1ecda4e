//! VS/DR over IPv6 end to end, and what is IPv6's own: extension headers, link-local next hops.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::body;
use lbxdp_tests::http::{HTTP_PORT, RECEIPT_PORT};
use lbxdp_tests::network::lore::{Back, Place, one_net, routed};
use lbxdp_tests::network::{
    Damage, Exchange, Family, Method, Network, Offer, Packet, Probe, Receiver, Tunnel,
};
use lbxdp_tests::service::status;

const V6: Family = Family::V6;

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn direct_routing_serves_over_ipv6() -> Result<()> {
    let mut damage = Damage::default();
    for (name, plan) in
        [("one net", one_net(Back::Straight)), ("routed", routed(Place::Inner, Back::Straight))]
    {
        let network = Network::build(plan)?;
        let daemon = network.start_daemon()?;
        let offer = Offer::make(&network, &daemon, V6, Method::Direct, V6)?;
        damage.note(name, Exchange::with(&network, &offer).everything());
    }
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn services_of_both_families_stand_beside_each_other() -> Result<()> {
    let network = Network::build(one_net(Back::Straight))?;
    let daemon = network.start_daemon()?;
    let offers = Family::BOTH
        .into_iter()
        .map(|family| Offer::make(&network, &daemon, family, Method::Direct, family))
        .collect::<Result<Vec<_>>>()?;
    for offer in &offers {
        let names: Vec<String> =
            (0..4).map(|_| network.asker().who(offer.service(HTTP_PORT))).collect::<Result<_>>()?;
        ensure!(names == ["s2", "s1", "s2", "s1"], "{}: {names:?}", offer.vip);
    }
    let listed = daemon.must("-L -n")?;
    for offer in &offers {
        let service = offer.service(HTTP_PORT);
        ensure!(listed.contains(&format!("TCP  {service} rr")), "{service} is not listed:\n{listed}");
    }
    let connections = daemon.must("-L -n -c")?;
    ensure!(connections.contains("fd00:"), "no connection of IPv6 is listed:\n{connections}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn extension_headers_are_walked() -> Result<()> {
    let network = Network::build(one_net(Back::Straight))?;
    let daemon = network.start_daemon()?;
    let offer = Offer::make(&network, &daemon, V6, Method::Direct, V6)?;
    let payload = body::pattern(101);
    let talk = network.asker().talk(offer.service(RECEIPT_PORT))?;
    let source = SocketAddr::new(network.address(network.client(), V6), talk.source()?.port());
    let packet =
        Packet::datagram(source, offer.service(RECEIPT_PORT), 64, &payload)?.with_extension_headers();
    Probe::at_client(&network)?.send(&[packet])?;
    let answer = talk.receive().context("a datagram behind extension headers")?;
    let wanted = body::receipt(&payload);
    ensure!(
        answer.ends_with(wanted.as_bytes()),
        "another answer came: {:?}",
        String::from_utf8_lossy(&answer)
    );
    Exchange::with(&network, &offer).clean()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_next_hop_may_be_link_local() -> Result<()> {
    let mut network =
        Network::build(routed(Place::Far, Back::Straight).with_mtu("inner", 1600).with_mtu("far", 1600))?;
    network.receive(Receiver::Opener)?;
    // The router's interface on the director's inner net.
    let addresses = network.site("r2").namespace.ip("-6 -brief addr show dev eth0 scope link")?;
    let link_local =
        addresses.split_whitespace().find(|word| word.starts_with("fe80")).context("no address")?;
    let link_local = link_local.split('/').next().unwrap_or_default();
    let director = &network.director().namespace;
    director.ip(&format!("-6 route replace {} via {link_local} dev eth1", V6.net(2)))?;
    let daemon = network.start_daemon()?;
    let offer = Offer::make(&network, &daemon, V6, Method::Tunnel(Tunnel::Ipip), V6)?;
    Exchange::with(&network, &offer)
        .everything()
        .with_context(|| format!("status says:\n{}", status(&daemon).unwrap_or_default()))
}
