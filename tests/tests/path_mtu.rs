//! A narrow link on the way, before the director, behind it, and beyond a router: whoever sends too much is told by whom it must be,
//! how much goes through, and then all arrives.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use lbxdp_tests::body;
use lbxdp_tests::http::RECEIPT_PORT;
use lbxdp_tests::network::lore::{Back, MTU, Place, gateway, routed};
use lbxdp_tests::network::reasons::TOO_BIG;
use lbxdp_tests::network::{
    Checksum, Damage, Exchange, Family, IcmpError, IcmpKind, Method, Network, Offer, Packet, Plan, Probe,
    Receiver, Tunnel,
};
use lbxdp_tests::service::counted;

/// Of the narrow link, in bytes: room for a packet of 1280 in any tunnel.
const NARROW: u32 = 1400;

/// Of the narrow link on the clients' side, in bytes.
const NARROW_FOR_CLIENTS: u32 = 1300;

/// How much of a link's MTU is left for the packet inside, in bytes.
fn inner_mtu(mtu: u32, method: Method, outer: Family) -> u32 {
    match method {
        Method::Tunnel(tunnel) => {
            let overhead = outer.header_bytes() + tunnel.between_bytes();
            mtu - u32::try_from(overhead).unwrap_or_default()
        }
        Method::Direct | Method::Masquerade => mtu,
    }
}

fn source(network: &Network, family: Family) -> SocketAddr {
    SocketAddr::new(network.address(network.client(), family), network.next_port())
}

/// A datagram whose packet has so many bytes, with DF.
fn of_bytes(bytes: u32, from: SocketAddr, to: SocketAddr) -> Result<Packet> {
    let headers = Family::of(to.ip()).header_bytes() + 8;
    let payload = body::pattern(usize::try_from(bytes)? - headers);
    Ok(Packet::datagram(from, to, 64, &payload)?.with_df(true))
}

/// As tracepath: the widest packet gets through, one byte more is answered by one of these with the right MTU.
fn probe_finds(network: &Network, offer: &Offer, mtu: u32, senders: &[IpAddr], largest: u32) -> Result<()> {
    let family = Family::of(offer.vip);
    let (source, service) = (source(network, family), offer.service(RECEIPT_PORT));
    let probe = Probe::at_client(network)?;
    for bytes in [largest, mtu + 1] {
        probe.send(&[of_bytes(bytes, source, service)?])?;
        probe
            .must_hear(IcmpKind::TooBig(mtu), (source, service), senders)
            .with_context(|| format!("a packet of {bytes} bytes, for a way of {mtu}"))?;
    }
    probe.send(&[of_bytes(mtu, source, service)?])?;
    probe.hear(&format!("the answer to a packet of {mtu} bytes"), |packet| {
        (packet.ends() == Some((service, source))).then_some(())
    })
}

/// The narrow link is the director's own way out.
fn narrow_behind_the_director(method: Method) -> Plan {
    match method {
        Method::Masquerade => gateway(),
        _ => routed(Place::Inner, Back::Straight),
    }
    .with_mtu("inner", NARROW)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_director_tells_clients_how_much_goes_through_its_way_out() -> Result<()> {
    let mut damage = Damage::default();
    for method in Method::KINDS {
        let mut network = Network::build(narrow_behind_the_director(method))?;
        network.receive(Receiver::Opener)?;
        let daemon = network.start_daemon()?;
        for family in Family::BOTH {
            let offer = Offer::make(&network, &daemon, family, method, family)?;
            let mtu = inner_mtu(NARROW, method, family);
            let director = network.addresses(network.director(), family);
            let before = counted(&daemon, TOO_BIG)?;
            let outcome = probe_finds(&network, &offer, mtu, &director, MTU).and_then(|()| {
                let told = counted(&daemon, TOO_BIG)? - before;
                ensure!(told == 2, "{told} packets were counted as {TOO_BIG}, not 2");
                Exchange::with(&network, &offer).everything()
            });
            damage.note(format!("{family}, {method}"), outcome);
            offer.end(&daemon)?;
        }
    }
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn mixed_families_leave_what_the_outer_header_leaves() -> Result<()> {
    let mut damage = Damage::default();
    let mut network = Network::build(narrow_behind_the_director(Method::TUNNELS[0]))?;
    network.receive(Receiver::Opener)?;
    let daemon = network.start_daemon()?;
    for tunnel in [Tunnel::Ipip, Tunnel::Gue(Checksum::Present), Tunnel::Gre(Checksum::Present)] {
        for inner in Family::BOTH {
            let method = Method::Tunnel(tunnel);
            let offer = Offer::make(&network, &daemon, inner, method, inner.other())?;
            let mtu = inner_mtu(NARROW, method, inner.other());
            let director = network.addresses(network.director(), inner);
            let outcome = probe_finds(&network, &offer, mtu, &director, MTU)
                .and_then(|()| Exchange::with(&network, &offer).everything());
            damage.note(format!("{inner} in {}, {tunnel}", inner.other()), outcome);
            offer.end(&daemon)?;
        }
    }
    damage.into_result()
}

/// The client is told at last, by one of these: the first packets may have taught the director only.
fn is_told(network: &Network, offer: &Offer, mtu: u32, senders: &[IpAddr]) -> Result<()> {
    let family = Family::of(offer.vip);
    let (source, service) = (source(network, family), offer.service(RECEIPT_PORT));
    let probe = Probe::at_client(network)?;
    // Fits the director's way out in any tunnel, and not the link beyond.
    let packet = of_bytes(MTU - 60, source, service)?;
    let mut heard: Result<IcmpError> = Err(anyhow::anyhow!("nothing was tried"));
    for _ in 0..3 {
        probe.send(std::slice::from_ref(&packet))?;
        heard = probe.error("a packet that is too big for a link behind a router");
        if heard.is_ok() {
            break;
        }
    }
    let error = heard?;
    ensure!(error.kind == IcmpKind::TooBig(mtu), "{:?} was told, not an MTU of {mtu}", error.kind);
    ensure!(error.quoted.ends() == Some((source, service)), "it quotes {:?}", error.quoted.ends());
    ensure!(senders.contains(&error.from), "it comes from {}, not from one of {senders:?}", error.from);
    probe.send(&[of_bytes(mtu, source, service)?])?;
    probe.hear(&format!("the answer to a packet of {mtu} bytes"), |packet| {
        (packet.ends() == Some((service, source))).then_some(())
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_narrow_link_behind_a_router_is_heard_of_through_tunnels() -> Result<()> {
    let mut damage = Damage::default();
    let mut network = Network::build(routed(Place::Far, Back::Straight).with_mtu("far", NARROW))?;
    network.receive(Receiver::Opener)?;
    let daemon = network.start_daemon()?;
    for method in Method::TUNNELS {
        for family in Family::BOTH {
            let offer = Offer::make(&network, &daemon, family, method, family)?;
            let director = network.addresses(network.director(), family);
            let mtu = inner_mtu(NARROW, method, family);
            let outcome = is_told(&network, &offer, mtu, &director)
                .and_then(|()| Exchange::with(&network, &offer).everything());
            damage.note(format!("{family}, {method}"), outcome);
            offer.end(&daemon)?;
        }
    }
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_narrow_link_behind_a_router_is_heard_of_through_nat() -> Result<()> {
    let mut damage = Damage::default();
    let network = Network::build(routed(Place::Far, Back::ByDirector).with_mtu("far", NARROW))?;
    let daemon = network.start_daemon()?;
    for family in Family::BOTH {
        let offer = Offer::make(&network, &daemon, family, Method::Masquerade, family)?;
        // The router's words, given the VIP as their sender: nothing of the net behind is shown.
        let outcome = is_told(&network, &offer, NARROW, &[offer.vip])
            .and_then(|()| Exchange::with(&network, &offer).everything());
        damage.note(family, outcome);
        offer.end(&daemon)?;
    }
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn servers_learn_of_a_narrow_link_on_the_clients_side() -> Result<()> {
    let mut damage = Damage::default();
    for method in Method::KINDS {
        let (place, back) = match method {
            Method::Direct => (Place::Inner, Back::Straight),
            Method::Tunnel(_) => (Place::Far, Back::Straight),
            Method::Masquerade => (Place::Far, Back::ByDirector),
        };
        let plan = routed(place, back).with_mtu("out", NARROW_FOR_CLIENTS);
        let mut network = Network::build(plan.with_mtu("inner", 1600).with_mtu("far", 1600))?;
        network.receive(Receiver::Opener)?;
        let daemon = network.start_daemon()?;
        for family in Family::BOTH {
            let offer = Offer::make(&network, &daemon, family, method, family)?;
            // The servers have reached the client directly before: what they know from then must go.
            for site in network.servers() {
                site.namespace.ip(&format!("{} route flush cache", family.option()))?;
            }
            damage.note(format!("{family}, {method}"), Exchange::with(&network, &offer).everything());
            offer.end(&daemon)?;
        }
    }
    damage.into_result()
}
