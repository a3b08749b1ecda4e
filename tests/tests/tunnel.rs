//! VS/TUN end to end: every kind of tunnel, either family inside and outside, opened by a program that shares no code with lbxdp, by
//! the kernel where it can, and by lbxdp's own decapsulator.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::body;
use lbxdp_tests::http::RECEIPT_PORT;
use lbxdp_tests::network::lore::{Back, Place, one_net, routed};
use lbxdp_tests::network::plan::SourceCheck;
use lbxdp_tests::network::receiver::kernel_has_devices;
use lbxdp_tests::network::{
    Checksum, Damage, Ear, Exchange, Family, Method, Network, Offer, Packet, Plan, Probe, Receiver, Tunnel,
};

/// Room for any tunnel around a packet of 1500 bytes.
const WIDE: u32 = 1600;

/// Servers behind a router of the director's inner net, with room for tunnels.
fn wide() -> Plan {
    routed(Place::Far, Back::Straight).with_mtu("inner", WIDE).with_mtu("far", WIDE)
}

/// Every kind of tunnel, with each family in each.
fn all_kinds() -> impl Iterator<Item = (Tunnel, Family, Family)> {
    let families = [
        (Family::V4, Family::V4),
        (Family::V6, Family::V6),
        (Family::V4, Family::V6),
        (Family::V6, Family::V4),
    ];
    Tunnel::ALL.into_iter().flat_map(move |tunnel| families.map(|(inner, outer)| (tunnel, inner, outer)))
}

fn all_kinds_carry_everything(receiver: Receiver) -> Result<()> {
    let mut damage = Damage::default();
    let mut network = Network::build(wide())?;
    network.receive(receiver)?;
    let daemon = network.start_daemon()?;
    for (tunnel, inner, outer) in all_kinds() {
        let outcome =
            Offer::make(&network, &daemon, inner, Method::Tunnel(tunnel), outer).and_then(|offer| {
                let outcome = Exchange::with(&network, &offer).everything();
                offer.end(&daemon).and(outcome)
            });
        damage.note(format!("{inner} in {outer}, {tunnel}"), outcome);
    }
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn every_tunnel_carries_everything_of_either_family_in_either() -> Result<()> {
    all_kinds_carry_everything(Receiver::Opener)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn lbxdps_own_decapsulator_opens_every_tunnel() -> Result<()> {
    all_kinds_carry_everything(Receiver::Decap)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_kernels_own_devices_open_every_tunnel() -> Result<()> {
    let network = Network::build(wide())?;
    if !kernel_has_devices(&network.servers().next().context("a server")?.namespace) {
        eprintln!("skipped: this kernel lacks ipip, sit, ip6_tunnel, ip_gre, ip6_gre or fou");
        return Ok(());
    }
    drop(network);
    all_kinds_carry_everything(Receiver::Devices)
}

/// A few kinds of tunnel over links of the usual MTU: clients have to learn that their packets are too big.
fn tunnels_carry_everything(name: &str, plan: Plan, damage: &mut Damage) -> Result<()> {
    let mut network = Network::build(plan)?;
    network.receive(Receiver::Opener)?;
    let daemon = network.start_daemon()?;
    for method in Method::TUNNELS {
        for family in Family::BOTH {
            let offer = Offer::make(&network, &daemon, family, method, family)?;
            damage.note(format!("{name}, {family}, {method}"), Exchange::with(&network, &offer).everything());
            offer.end(&daemon)?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn tunnels_serve_where_all_are_on_one_net() -> Result<()> {
    let mut damage = Damage::default();
    tunnels_carry_everything("one net", one_net(Back::Straight), &mut damage)?;
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn tunnels_serve_across_routers_however_the_director_checks_sources() -> Result<()> {
    let mut damage = Damage::default();
    for check in [SourceCheck::Strict, SourceCheck::Loose] {
        let plan = wide().with_director(|director| director.source_check = check);
        tunnels_carry_everything(&format!("{check:?}"), plan, &mut damage)?;
    }
    damage.into_result()
}

/// The outer packet of a tunnel as it comes to a server.
fn outer_packet(network: &Network, offer: &Offer, packet: &Packet) -> Result<Packet> {
    let server = network.site("s1");
    let ear = Ear::open(server.end("eth0"))?;
    let probe = Probe::at_client(network)?;
    let (from, director) = (packet.ends().context("ports")?.0, network.director());
    probe.send(std::slice::from_ref(packet))?;
    let needle = from.port().to_be_bytes();
    ear.hear(&format!("{} from the director", offer.method), std::time::Duration::from_secs(3), |frame| {
        let outer = Packet::of_frame(frame)?;
        let is_ours = [Family::V4, Family::V6]
            .iter()
            .any(|family| network.addresses(director, *family).contains(&outer.source()));
        (is_ours && outer.0.windows(2).any(|pair| pair == needle)).then_some(outer)
    })
}

fn outer_header_is_as_ipvs_makes_it(network: &Network, offer: &Offer, outer: Family) -> Result<()> {
    let inner = Family::of(offer.vip);
    let source = SocketAddr::new(network.address(network.client(), inner), network.next_port());
    let packet = |ttl, class, df| -> Result<Packet> {
        let packet = Packet::datagram(source, offer.service(RECEIPT_PORT), ttl, b"outer?")?;
        Ok(packet.with_traffic_class(class).with_df(df).with_id(77))
    };
    // Two routers and the director take one hop each, the router behind the director one of the outer header.
    let seen = outer_packet(network, offer, &packet(64, 0xb9, true)?)?;
    let inner_net = lbxdp_tests::network::plan::at("inner", 10);
    ensure!(seen.source() == network.at(inner_net, outer), "it comes from {}", seen.source());
    ensure!(
        seen.destination() == network.address(network.site("s1"), outer),
        "it goes to {}",
        seen.destination()
    );
    ensure!(seen.ttl() == 64 - 3 - 1, "the outer TTL is {}", seen.ttl());
    ensure!(seen.traffic_class() == 0xb9, "the outer class is {:#x}", seen.traffic_class());
    // CE of the inner header is ECT(0) in the outer one.
    let class = outer_packet(network, offer, &packet(64, 0xbb, true)?)?.traffic_class();
    ensure!(class == 0xba, "the outer class of a packet with CE is {class:#x}");
    if inner == Family::V4 && outer == Family::V4 {
        ensure!(seen.has_df(), "DF is not copied");
        let without = outer_packet(network, offer, &packet(64, 0, false)?)?;
        ensure!(!without.has_df(), "DF was made up");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_outer_header_has_the_fields_of_ipvs() -> Result<()> {
    let mut damage = Damage::default();
    let mut network = Network::build(wide())?;
    network.receive(Receiver::Opener)?;
    let daemon = network.start_daemon()?;
    for (tunnel, inner, outer) in all_kinds() {
        let servers = [network.address(network.site("s1"), outer)];
        let offer = Offer::make_of(network.vip(inner), &daemon, Method::Tunnel(tunnel), &servers)?;
        damage.note(
            format!("{inner} in {outer}, {tunnel}"),
            outer_header_is_as_ipvs_makes_it(&network, &offer, outer),
        );
        offer.end(&daemon)?;
    }
    damage.into_result()
}

/// UDP's checksum of GUE's outer header.
fn gue_checksum(network: &Network, offer: &Offer) -> Result<u16> {
    let inner = Family::of(offer.vip);
    let source = SocketAddr::new(network.address(network.client(), inner), network.next_port());
    let packet = Packet::datagram(source, offer.service(RECEIPT_PORT), 64, b"sum?")?;
    let outer = outer_packet(network, offer, &packet)?;
    let checksum = outer.payload().get(6..8).context("no UDP")?;
    Ok(u16::from_be_bytes([checksum[0], checksum[1]]))
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn gue_has_a_checksum_if_it_is_asked_for() -> Result<()> {
    let mut network = Network::build(wide())?;
    network.receive(Receiver::Opener)?;
    let daemon = network.start_daemon()?;
    for family in Family::BOTH {
        for (checksum, is_there) in
            [(Checksum::Absent, false), (Checksum::Present, true), (Checksum::Remote, true)]
        {
            let method = Method::Tunnel(Tunnel::Gue(checksum));
            let servers = [network.address(network.site("s1"), family)];
            let offer = Offer::make_of(network.vip(family), &daemon, method, &servers)?;
            let seen = gue_checksum(&network, &offer)?;
            ensure!((seen != 0) == is_there, "{family}, {checksum}: it is {seen:#06x}");
            offer.end(&daemon)?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn options_and_extension_headers_travel_whole() -> Result<()> {
    let mut damage = Damage::default();
    let mut network = Network::build(wide())?;
    network.receive(Receiver::Opener)?;
    let daemon = network.start_daemon()?;
    for (tunnel, inner, outer) in all_kinds() {
        let servers = [network.address(network.site("s1"), outer)];
        let offer = Offer::make_of(network.vip(inner), &daemon, Method::Tunnel(tunnel), &servers)?;
        let outcome = || -> Result<()> {
            let (talk, payload) = (network.asker().talk(offer.service(RECEIPT_PORT))?, body::pattern(333));
            let source = SocketAddr::new(network.address(network.client(), inner), talk.source()?.port());
            let packet = Packet::datagram(source, offer.service(RECEIPT_PORT), 64, &payload)?;
            let packet = match inner {
                Family::V4 => packet.with_options(10),
                Family::V6 => packet.with_extension_headers(),
            };
            Probe::at_client(&network)?.send(&[packet])?;
            let answer = talk.receive()?;
            ensure!(answer == format!("s1 {}", body::receipt(&payload)).as_bytes(), "another answer came");
            Exchange::with(&network, &offer).clean()
        };
        damage.note(format!("{inner} in {outer}, {tunnel}"), outcome());
        offer.end(&daemon)?;
    }
    damage.into_result()
}
