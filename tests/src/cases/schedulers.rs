//! Cases of the schedulers: the kernel picks what the host picks.

use lbxdp_common::schedule::{dh, mh, sh};
use lbxdp_common::service::{Member, ServiceFlags};
use lbxdp_common::{Reason, Scheduler};

use super::case::{Case, Fact};
use super::frame::{Packet, tcp};
use super::setup::{Setup, server_id};
use super::{CLIENT, VIP};

use Scheduler::{
    DestinationHashing, Failover, LeastConnection, LocalityBased, LocalityBasedReplicated, MaglevHashing,
    NeverQueue, Nobody, Overflow, RoundRobin, ShortestExpectedDelay, SourceHashing, WeightedLeastConnection,
    WeightedRoundRobin,
};
use lbxdp_common::Protocol::Tcp;

/// All of them.
pub(super) fn all() -> Vec<Case> {
    [in_turn(), by_hash(), unusable()].concat()
}

/// The packet that opens a case's n-th connection.
fn syn(number: u16) -> Packet {
    tcp(40_000 + number, 80).syn()
}

fn in_turn() -> Vec<Case> {
    let mut cases = Vec::new();
    for (scheduler, weights, servers) in [
        (RoundRobin, [5, 1, 1], [3, 2, 1, 3, 2, 1]),
        (WeightedRoundRobin, [1, 2, 3], [1, 2, 1, 3, 2, 1]),
        (WeightedLeastConnection, [1, 2, 3], [3, 2, 1, 1, 2, 1]),
        (LeastConnection, [1, 2, 3], [3, 2, 1, 3, 2, 1]),
        (ShortestExpectedDelay, [1, 2, 3], [1, 2, 1, 3, 2, 1]),
        (NeverQueue, [1, 2, 3], [3, 2, 1, 1, 2, 1]),
        (Failover, [1, 2, 3], [1, 1, 1, 1, 1, 1]),
        (Overflow, [1, 2, 3], [1, 1, 1, 1, 2, 2]),
        (LocalityBased, [1, 2, 3], [3, 3, 2, 2, 2, 1]),
        (LocalityBasedReplicated, [1, 2, 3], [3, 3, 2, 2, 2, 1]),
    ] {
        let [third, second, first] = weights;
        let list = [(3, third), (2, second), (1, first)];
        let name = format!("{scheduler} picks one after the other");
        let mut case = Case::new(&name, Setup::new().service(Tcp, 80, scheduler, &list));
        for (number, server) in (0..).zip(servers) {
            case = case.to(server, syn(number));
        }
        let to_first = servers.iter().map(|server| u64::from(*server == 1)).sum();
        cases.push(case.then(Fact::Counted(1, to_first, to_first)));
    }
    cases
}

/// In these tables the servers stand one after the other, slot by slot.
fn by_hash() -> Vec<Case> {
    let [client, vip] = [CLIENT, VIP].map(u32::from_be_bytes);
    let list = [(3, 1), (2, 1), (1, 1)];
    let server_in = |slot: u32| [3, 2, 1][slot as usize % 3];
    let mut cases = Vec::new();
    for (scheduler, slot) in [
        (SourceHashing, sh::slot as fn(u32) -> u32),
        (MaglevHashing, mh::slot),
        (DestinationHashing, dh::slot),
    ] {
        let setup = Setup::new().service(Tcp, 80, scheduler, &list);
        let name = format!("{scheduler} sends an address one way");
        let server = server_in(slot(if scheduler == DestinationHashing { vip } else { client }));
        let one_way =
            (0..5).fold(Case::new(&name, setup.clone()), |case, number| case.to(server, syn(number)));
        cases.push(one_way);
        if scheduler != DestinationHashing {
            let name = format!("{scheduler} heeds the port if it is told to");
            let case = Case::new(&name, setup.flags(ServiceFlags::PORT));
            let by_port = |case: Case, number: u16| {
                case.to(server_in(slot(client + 40_000 + u32::from(number))), syn(number))
            };
            cases.push((0..20).fold(case, by_port));
        }
    }
    cases
}

fn unusable() -> Vec<Case> {
    let mut cases = Vec::new();
    for scheduler in Scheduler::ALL.iter().copied() {
        let name = |what: &str| format!("{scheduler}: {what}");
        // dh looks for no other server than the one of its slot.
        let finds_the_other = !matches!(scheduler, Nobody | DestinationHashing);
        let new = || Setup::new().flags(ServiceFlags::FALLBACK);
        let refused = |what, setup| Case::new(&name(what), setup).refused(Reason::NoServer, syn(0));
        let to_first =
            |what, setup| (0..6).fold(Case::new(&name(what), setup), |case, number| case.to(1, syn(number)));
        cases.extend([
            refused("servers without weight", new().service(Tcp, 80, scheduler, &[(2, 0), (1, 0)])),
            refused("no servers", new().service(Tcp, 80, scheduler, &[])),
            refused(
                "all servers overloaded",
                new().service(Tcp, 80, scheduler, &[(2, 1), (1, 1)]).overloaded(1).overloaded(2),
            ),
        ]);
        if finds_the_other {
            let avoided = vec![Member::new(server_id(2), 7).avoided(), Member::new(server_id(1), 7)];
            cases.extend([
                to_first("a server without weight", new().service(Tcp, 80, scheduler, &[(2, 0), (1, 7)])),
                to_first("a server to be avoided", new().service_of(Tcp, 80, scheduler, avoided)),
                to_first(
                    "an overloaded server",
                    new().service(Tcp, 80, scheduler, &[(2, 7), (1, 7)]).overloaded(2),
                ),
            ]);
        }
    }
    cases
}
