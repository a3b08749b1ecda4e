//! Frames with VLAN tags, one and two: they come in tagged, and leave as the way out needs it.

use anyhow::{Result, ensure};
use lbxdp_tests::network::lore::{Back, Place, routed};
use lbxdp_tests::network::{Damage, Exchange, Family, Method, Network, Offer, Receiver, Tags, Tunnel};

/// With tags on frames that come in by these interfaces of the director. It has no VLAN devices, so its ways out are untagged.
fn everything_arrives(name: &str, tags: &[(&str, Tags)], damage: &mut Damage) -> Result<()> {
    for method in [Method::Direct, Method::Tunnel(Tunnel::Ipip), Method::Masquerade] {
        let back = if method.answers_by_director() { Back::ByDirector } else { Back::Straight };
        let mut network = Network::build_with_tags(routed(Place::Inner, back), tags)?;
        network.receive(Receiver::Opener)?;
        let daemon = network.start_daemon()?;
        for family in Family::BOTH {
            let offer = Offer::make(&network, &daemon, family, method, family)?;
            let outcome = Exchange::with(&network, &offer).everything().and_then(|()| {
                let (tagged, strange) = network.tagged();
                ensure!(strange.is_empty() && tagged == 0, "{tagged} packets left tagged, and {strange:?}");
                Ok(())
            });
            damage.note(format!("{name}, {family}, {method}"), outcome);
            offer.end(&daemon)?;
        }
    }
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
