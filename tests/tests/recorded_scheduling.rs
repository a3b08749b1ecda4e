//! Every run of connections that real IPVS has scheduled, made again with real sockets: each connection goes where Linux 6.1 has
//! sent it. What the record (`lbxdp/tests/data/scheduling.json`) means stands in `lbxdp/src/layout/schedule_tests.rs`, which plays it
//! without packets.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use lbxdp_tests::Connection;
use lbxdp_tests::client::is_refused;
use lbxdp_tests::recorded::{CLIENT, Net, further_clients, vip};
use serde::Deserialize;

const RECORDED: &str = include_str!("../../lbxdp/tests/data/scheduling.json");

/// The mark of the service that has all further VIPs.
const MARK: u32 = 1;
/// The port of connections whose port was not recorded; it plays no part in where they go.
const ANY_PORT: u16 = 9899;

#[derive(Deserialize)]
struct Recorded {
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum How {
    Short,
    Held,
    ByClient,
    ByDest,
}

#[derive(Debug, Deserialize)]
struct Run {
    scheduler: String,
    weights: [u32; 3],
    how: How,
    first_source_port: Option<u16>,
    #[serde(default)]
    clients: BTreeMap<Ipv4Addr, String>,
    #[serde(default)]
    dests: BTreeMap<Ipv4Addr, String>,
    sequence: String,
    virtual_port: Option<u16>,
}

impl Run {
    /// The client's ports are what is hashed, and those of these runs were not recorded.
    fn has_unknown_ports(&self) -> bool {
        self.how == How::ByClient && self.scheduler.contains("-port")
    }
}

fn recorded(how: How) -> Result<Vec<Run>> {
    let mut recorded: Recorded = serde_json::from_str(RECORDED)?;
    ensure!(recorded.runs.len() == 38, "{} runs", recorded.runs.len());
    recorded.runs.retain(|run| run.how == how);
    Ok(recorded.runs)
}

/// Opens a connection: it, and who serves it; nothing and `-` if it is refused.
fn open(net: &Net, from: SocketAddrV4, to: SocketAddrV4) -> Result<(Option<Connection>, char)> {
    match net.client(*from.ip()).from(from).open_greeted(to) {
        Ok((connection, server)) => Ok((Some(connection), server)),
        Err(error) if is_refused(&error) => Ok((None, '-')),
        Err(error) => Err(error),
    }
}

fn begin(net: &Net, run: &Run) -> Result<SocketAddrV4> {
    let to = vip(run.virtual_port.context("a port")?);
    net.offer(&format!("-t {to}"), &format!("-s {}", run.scheduler), &run.weights)?;
    Ok(to)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn short_connections_go_where_linux_has_sent_them() -> Result<()> {
    let (net, runs) = (Net::build()?, recorded(How::Short)?);
    assert_eq!(runs.len(), 15);
    for run in runs {
        let (to, first) = (begin(&net, &run)?, run.first_source_port.context("a port")?);
        let visit = |port| -> Result<char> {
            let (connection, server) = open(&net, SocketAddrV4::new(CLIENT, port), to)?;
            connection.map_or(Ok(()), Connection::close)?;
            Ok(server)
        };
        let sequence: String = (first..).take(run.sequence.len()).map(visit).collect::<Result<_>>()?;
        assert_eq!(sequence, run.sequence, "{}", run.scheduler);
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn held_connections_go_where_linux_has_sent_them() -> Result<()> {
    let (net, runs) = (Net::build()?, recorded(How::Held)?);
    assert_eq!(runs.len(), 15);
    for run in runs {
        let (to, first) = (begin(&net, &run)?, run.first_source_port.context("a port")?);
        // A client is told of a few refusals only, as Linux limits its errors too, so several share them: who the client is, none
        // of the schedulers that refuse asks.
        let clients: Vec<Ipv4Addr> =
            if run.sequence.contains('-') { further_clients().collect() } else { vec![CLIENT] };
        let ends = (first..).zip(clients.iter().cycle()).take(run.sequence.len());
        let mut ends = ends.map(|(port, client)| SocketAddrV4::new(*client, port));
        let (mut held, mut sequence) = (Vec::new(), String::new());
        while !sequence.ends_with('-')
            && let Some(from) = ends.next()
        {
            let (connection, server) = open(&net, from, to)?;
            held.push(connection);
            sequence.push(server);
        }
        sequence.push_str(&at_once(&net, &ends.collect::<Vec<_>>(), to)?);
        assert_eq!(sequence, run.sequence, "{} held", run.scheduler);
    }
    Ok(())
}

/// Who serves connections that come all at once. A refusal that is there before the client has returned from sending its SYN,
/// as happens between namespaces, counts only when it comes again, a second later: one after the other would take long.
fn at_once(net: &Net, from: &[SocketAddrV4], to: SocketAddrV4) -> Result<String> {
    thread::scope(|scope| {
        let open = |from: &SocketAddrV4| open(net, *from, to);
        let all: Vec<_> = from.iter().map(|from| scope.spawn(move || open(from))).collect();
        all.into_iter().map(|one| Ok(one.join().map_err(|_| anyhow!("a client panicked"))??.1)).collect()
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn connections_of_many_clients_go_where_linux_has_sent_them() -> Result<()> {
    let net = Net::build()?;
    let (unknown, runs): (Vec<_>, Vec<_>) =
        recorded(How::ByClient)?.into_iter().partition(Run::has_unknown_ports);
    let names: Vec<_> = unknown.iter().map(|run| run.scheduler.as_str()).collect();
    // What these do with ports that are known, the runs `short` and `held` of the same names show.
    assert_eq!(names, ["sh -b sh-port", "mh -b mh-port"]);
    assert_eq!(runs.len(), 2);
    for run in runs {
        let to = begin(&net, &run)?;
        let mut served = BTreeMap::new();
        for client in run.clients.keys() {
            served.insert(*client, net.run(*client, to, 2)?);
        }
        assert_eq!(served, run.clients, "{}", run.scheduler);
    }
    Ok(())
}

/// Where sh with `sh-port` sends a client by the formula of Linux's `ip_vs_sh_hashkey`: a product with the golden ratio, its top 8
/// bits, in slots that are dealt out by weight, the newest server first.
fn by_formula(client: SocketAddrV4, weights: [u32; 3]) -> Option<char> {
    let sum = client.ip().to_bits().wrapping_add(client.port().into());
    let slot = usize::try_from(sum.wrapping_mul(0x61c8_8647) >> 24).ok()?;
    let dealt = ['3', '2', '1'].into_iter().zip(weights.into_iter().rev());
    let turn: Vec<char> = dealt.flat_map(|(server, weight)| (0..weight).map(move |_| server)).collect();
    turn.get(slot % turn.len()).copied()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn with_sh_port_connections_of_many_clients_go_where_the_formula_says() -> Result<()> {
    let net = Net::build()?;
    let runs = recorded(How::ByClient)?;
    let run = runs.iter().find(|run| run.scheduler == "sh -b sh-port").context("no such run")?;
    let to = begin(&net, run)?;
    let clients =
        run.clients.keys().flat_map(|client| [30_000, 31_007].map(|port| SocketAddrV4::new(*client, port)));
    for client in clients {
        assert_eq!(Some(open(&net, client, to)?.1), by_formula(client, run.weights), "{client}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn connections_to_many_addresses_of_a_mark_go_where_linux_has_sent_them() -> Result<()> {
    let net = Net::build()?;
    let runs = recorded(How::ByDest)?;
    let names: Vec<_> = runs.iter().map(|run| run.scheduler.as_str()).collect();
    assert_eq!(names, ["dh", "lblc", "lblcr", "sh"]);
    for (number, run) in runs.iter().enumerate() {
        // One service, edited: it keeps the counts of the run before.
        if number == 0 {
            for vip in run.dests.keys() {
                net.must(&format!("mark add {MARK} --destination {vip}"))?;
            }
            net.offer(&format!("-f {MARK}"), &format!("-s {}", run.scheduler), &run.weights)?;
        } else {
            net.must(&format!("-E -f {MARK} -s {}", run.scheduler))?;
        }
        let mut served = BTreeMap::new();
        for vip in run.dests.keys() {
            served.insert(*vip, net.run(CLIENT, SocketAddrV4::new(*vip, ANY_PORT), 2)?);
        }
        assert_eq!(served, run.dests, "{}", run.scheduler);
    }
    Ok(())
}
