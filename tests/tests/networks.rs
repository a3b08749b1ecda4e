//! The networks of the tests themselves: whatever crosses them without a director must arrive, or a failure would say nothing.

use anyhow::Result;
use lbxdp_tests::network::lore::{Back, Place, gateway, one_net, routed};
use lbxdp_tests::network::{Damage, Exchange, Family, Method, Network, Offer, Plan};

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
    for (name, plan) in
        [("one net", one_net(Back::Straight)), ("routed", routed(Place::Inner, Back::Straight))]
    {
        let network = Network::build(plan)?;
        let daemon = network.start_daemon()?;
        let offer = Offer::make(&network, &daemon, Family::V4, Method::Direct, Family::V4)?;
        damage.note(name, Exchange::with(&network, &offer).everything());
    }
    damage.into_result()
}
