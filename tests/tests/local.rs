//! A director that is one of its own servers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Result, ensure};
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::network::lore::{Back, one_net};
use lbxdp_tests::network::{Damage, Exchange, Family, Method, Network, Offer, Plan, Receiver, Tunnel};

fn plan(back: Back) -> Plan {
    one_net(back).with_director(|director| director.serves = true)
}

/// The names of who answers to so many connections.
fn names(network: &Network, offer: &Offer) -> Result<BTreeSet<String>> {
    (0..6).map(|_| network.asker().who(offer.service(HTTP_PORT))).collect()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_director_serves_alone() -> Result<()> {
    let mut damage = Damage::default();
    let network = Network::build(plan(Back::Straight))?;
    let daemon = network.start_daemon()?;
    for family in Family::BOTH {
        let own = network.address(network.director(), family);
        for method in [Method::Direct, Method::Tunnel(Tunnel::Ipip), Method::Masquerade] {
            for address in [own, family.loopback(), network.vip(family)] {
                let outcome = Offer::make_at_same_ports(network.vip(family), &daemon, method, &[address])
                    .and_then(|offer| {
                        let outcome = Exchange::with(&network, &offer).everything();
                        offer.end(&daemon).and(outcome)
                    });
                damage.note(format!("{address}, {method}"), outcome);
            }
        }
    }
    damage.into_result()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_director_is_one_of_its_own_servers() -> Result<()> {
    let mut damage = Damage::default();
    let mut network = Network::build(plan(Back::Straight))?;
    network.receive(Receiver::Opener)?;
    let daemon = network.start_daemon()?;
    for family in Family::BOTH {
        for method in [Method::Direct, Method::Tunnel(Tunnel::Ipip)] {
            let servers: Vec<IpAddr> =
                [network.director(), network.site("s1")].map(|site| network.address(site, family)).to_vec();
            let offer = Offer::make_of(network.vip(family), &daemon, method, &servers)?;
            let outcome = names(&network, &offer).and_then(|names| {
                ensure!(names.len() == 2 && names.contains("director"), "{names:?} answer");
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
fn a_director_is_one_of_its_own_servers_by_nat() -> Result<()> {
    let mut damage = Damage::default();
    let network = Network::build(plan(Back::ByDirector))?;
    let daemon = network.start_daemon()?;
    for family in Family::BOTH {
        let servers = [network.director(), network.site("s1")].map(|site| network.address(site, family));
        let offer = Offer::make_at_same_ports(network.vip(family), &daemon, Method::Masquerade, &servers)?;
        let outcome = names(&network, &offer).and_then(|names| {
            ensure!(names.len() == 2 && names.contains("director"), "{names:?} answer");
            Exchange::with(&network, &offer).everything()
        });
        damage.note(family, outcome);
        offer.end(&daemon)?;
    }
    damage.into_result()
}
