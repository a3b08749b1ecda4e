//! Frames with VLAN tags, one and two: they come in tagged, and leave as the way out needs it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use lbxdp_tests::client::is_refused;
use lbxdp_tests::network::lore::{Back, Place, routed};
use lbxdp_tests::network::reasons::PACKET_TOO_BIG;
use lbxdp_tests::network::{Damage, Exchange, Family, Method, Network, Offer, Receiver, Tags, Tunnel};
use lbxdp_tests::service::counted;
use lbxdp_tests::{Daemon, wait};

/// With tags on frames that come in by these interfaces of the director. It has no VLAN devices, so its ways out are untagged.
fn everything_arrives(name: &str, tags: &[(&str, Tags)], damage: &mut Damage) -> Result<()> {
    for method in [Method::Direct, Method::Tunnel(Tunnel::Ipip), Method::Masquerade] {
        let back = if method.answers_by_director() { Back::ByDirector } else { Back::Straight };
        let mut network = Network::build_with_tags(routed(Place::Inner, back), tags)?;
        network.receive(Receiver::Opener)?;
        let daemon = network.start_daemon()?;
        for family in Family::BOTH {
            let offer = Offer::make(&network, &daemon, family, method, family)?;
            let outcome = Exchange::with(&network, &offer)
                .everything()
                .and_then(|()| only_answers_are_tagged(&network, &daemon))
                .and_then(|()| match method {
                    Method::Masquerade => a_server_refuses(&network, &daemon, &offer, family),
                    _ => Ok(()),
                });
            damage.note(format!("{name}, {family}, {method}"), outcome);
            offer.end(&daemon)?;
        }
    }
    Ok(())
}

/// What goes to a server, or from one to a client, has the tags of its way out: none. What goes back to where it came from,
/// an ICMP error that the director makes, has those that its packet came with.
fn only_answers_are_tagged(network: &Network, daemon: &Daemon) -> Result<()> {
    // The last error may still be on its way through the trunk.
    wait::until("every error was tagged", Duration::from_secs(3), || {
        counted(daemon, PACKET_TOO_BIG).is_ok_and(|told| network.tagged().errors == told)
    })?;
    let seen = network.tagged();
    ensure!(seen.tagged == 0 && seen.strange.is_empty(), "{seen:?}");
    Ok(())
}

/// Nobody listens there.
const CLOSED_PORT: u16 = 5000;

/// The error of a server with VS/NAT is found among what comes in with tags, and goes to the client as the VIP's.
fn a_server_refuses(network: &Network, daemon: &Daemon, offer: &Offer, family: Family) -> Result<()> {
    let service = SocketAddr::new(offer.vip, CLOSED_PORT + 100);
    let server = SocketAddr::new(network.address(network.site("s1"), family), CLOSED_PORT);
    daemon.must(&format!("-A -u {service} -s rr"))?;
    daemon.must(&format!("-a -u {service} -r {server} -m"))?;
    let asked = network.asker().datagram(service, b"anybody?");
    daemon.must(&format!("-D -u {service}"))?;
    ensure!(asked.as_ref().is_err_and(is_refused), "the client was not refused: {asked:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_comes_in_tagged_leaves_as_its_way_needs_it() -> Result<()> {
    let mut damage = Damage::default();
    everything_arrives("one tag in front", &[("eth0", Tags::One)], &mut damage)?;
    everything_arrives("two tags in front", &[("eth0", Tags::Two)], &mut damage)?;
    everything_arrives("tags on both sides", &[("eth0", Tags::Two), ("eth1", Tags::One)], &mut damage)?;
    damage.into_result()
}
