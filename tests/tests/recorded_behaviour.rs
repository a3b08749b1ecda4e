//! What real IPVS did in VS/DR, besides scheduling: counters, thresholds, weight 0, removal, persistence. The same steps with the
//! same numbers. The record: Linux 6.1; lists of five are the columns of `--stats`, lists of three those of `-L`: weight, active and
//! inactive connections.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::client::is_refused;
use lbxdp_tests::recorded::{CLIENT, Net, server, vip};
use lbxdp_tests::service::{connections, numbers};
use lbxdp_tests::{Connection, wait};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(10);
/// How long a client waits for an answer that does not come.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was recorded.
#[derive(Deserialize)]
struct Record {
    dr: BTreeMap<String, Value>,
}

impl Record {
    fn read() -> Result<Self> {
        Ok(serde_json::from_str(include_str!("../data/behaviour.json"))?)
    }

    /// What was seen at a step.
    fn seen<T: DeserializeOwned>(&self, step: &str) -> Result<T> {
        let value = self.dr.get(step).with_context(|| format!("the record has no step `{step}`"))?;
        Ok(serde_json::from_value(value.clone())?)
    }
}

/// The steps that each test takes up.
const STEPS: [&[&str]; 6] = [COUNTERS, TCP_COUNTERS, THRESHOLDS, WEIGHTS, REMOVALS, OTHERS];
const COUNTERS: &[&str] = &[
    "stats: udp, 100 datagrams of 100 bytes, echoed",
    "stats after -Z",
    "rate (not exact): packets per second sent",
    "rate (not exact): CPS InPPS OutPPS InBPS OutBPS",
];
const TCP_COUNTERS: &[&str] = &[
    "stats: tcp, 10 short connections",
    "active and inactive after them",
    "active and inactive with 4 open",
    "active and inactive with them closed",
];
const THRESHOLDS: &[&str] = &[
    "thresholds -x 2 -y 1, two servers: 6 held connections",
    "thresholds: listing",
    "thresholds: after closing all, entries in FIN_WAIT",
    "thresholds: then a new connection",
];
const WEIGHTS: &[&str] = &[
    "weight 0 on rs2: held connections",
    "weight 0 on rs2: 4 new connections go to",
    "all weights 0: a new connection",
    "expire_nodest_conn=0: echo before, after removal of its server",
    "expire_nodest_conn=0: entries",
    "expire_nodest_conn=0: after adding the server again",
];
const REMOVALS: &[&str] = &[
    "expire_nodest_conn=1: echo before, after removal of its server",
    "expire_nodest_conn=1: entries",
    "expire_nodest_conn=1: after adding the server again",
    "service removed: echo before and after",
];
const OTHERS: &[&str] = &[
    "persistence, expire_quiescent_template=0: same server as the first (3 before, 3 after weight 0)",
    "persistence, expire_quiescent_template=1: same server as the first (3 before, 3 after weight 0)",
    "persistence: template",
    "no service on that port: connect",
    "service without servers: connect",
];

#[test]
fn all_that_was_recorded_is_taken_up() -> Result<()> {
    let mut steps: Vec<String> = Record::read()?.dr.into_keys().collect();
    let mut taken_up: Vec<&str> = STEPS.concat();
    steps.sort();
    taken_up.sort_unstable();
    assert_eq!(steps, taken_up);
    Ok(())
}

/// Compares numbers of a listing with those recorded, of `service`, and of servers by their number.
fn must_show(
    net: &Net,
    listing: &str,
    to: SocketAddrV4,
    recorded: &BTreeMap<String, Vec<u64>>,
) -> Result<()> {
    let mut last = BTreeMap::new();
    // The last packet may still be on its way.
    wait::until("the listing shows what was recorded", SOON, || {
        last.clear();
        for name in recorded.keys() {
            let listed = match name.parse() {
                Ok(number) => SocketAddrV4::new(server(number), to.port()),
                Err(_) => to,
            };
            last.extend(
                numbers(&net.daemon, listing, &listed.to_string()).map(|numbers| (name.clone(), numbers)),
            );
        }
        last == *recorded
    })
    .with_context(|| format!("recorded {recorded:?}, listed {last:?}"))
}

const STATS: &str = "-L -n --stats --exact";

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn datagrams_are_counted_as_ipvs_counts_them() -> Result<()> {
    let (net, record, to) = (Net::build()?, Record::read()?, vip(9999));
    net.offer(&format!("-u {to}"), "-s rr", &[1, 1])?;
    let talk = net.client(CLIENT).talk(to)?;
    let send = || talk.ask(&[b'x'; 100]);
    for _ in 0..100 {
        send()?;
    }
    must_show(&net, STATS, to, &record.seen(COUNTERS[0])?)?;
    net.must("-Z")?;
    must_show(&net, STATS, to, &record.seen(COUNTERS[1])?)?;
    // How fast was not exact; that packets and bytes belong together is.
    let recorded: BTreeMap<String, [u64; 5]> = record.seen(COUNTERS[3])?;
    ensure!(record.seen::<u64>(COUNTERS[2])? > 0 && recorded["service"][1] > 0);
    let rates = |what: SocketAddrV4| numbers(&net.daemon, "-L -n --rate --exact", &what.to_string());
    let busy = wait::until_some("the rate shows", SOON, || {
        send().ok()?;
        rates(to).ok().filter(|rates| rates[1] > 10)
    })?;
    let [cps, in_pps, out_pps, in_bps, out_bps] = busy[..] else { anyhow::bail!("{busy:?}") };
    assert_eq!((cps, out_pps, out_bps), (0, 0, 0));
    ensure!(in_bps.abs_diff(in_pps * 128) <= 128, "{busy:?}");
    let idle = SocketAddrV4::new(server(1), to.port());
    assert_eq!(rates(idle)?, recorded["1"], "it has got nothing");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn connections_are_counted_as_ipvs_counts_them() -> Result<()> {
    let (net, record, to) = (Net::build()?, Record::read()?, vip(9801));
    net.offer(&format!("-t {to}"), "-s rr", &[1, 1])?;
    net.run(CLIENT, to, 10)?;
    must_show(&net, STATS, to, &record.seen(TCP_COUNTERS[0])?)?;
    must_show(&net, "-L -n", to, &record.seen(TCP_COUNTERS[1])?)?;
    let open: Vec<_> = (0..4).map(|_| net.open(to)).collect::<Result<_>>()?;
    must_show(&net, "-L -n", to, &record.seen(TCP_COUNTERS[2])?)?;
    drop(open);
    must_show(&net, "-L -n", to, &record.seen(TCP_COUNTERS[3])?)
}

/// Opens so many connections, to be held; who serves them, `-` if they are refused.
fn hold(net: &Net, to: SocketAddrV4, connections: usize) -> Result<(Vec<Connection>, String)> {
    let (mut held, mut sequence) = (Vec::new(), String::new());
    for _ in 0..connections {
        match net.open(to) {
            Ok((connection, server)) => {
                held.push(connection);
                sequence.push(server);
            }
            Err(error) if is_refused(&error) => sequence.push('-'),
            Err(error) => return Err(error),
        }
    }
    Ok((held, sequence))
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn thresholds_refuse_what_ipvs_refuses() -> Result<()> {
    let (net, record, to) = (Net::build()?, Record::read()?, vip(9801));
    net.must(&format!("-A -t {to} -s rr"))?;
    for number in [1, 2] {
        net.must(&format!("-a -t {to} -r {} -g -x 2 -y 1", server(number)))?;
    }
    net.wait_for_servers()?;
    let (held, sequence) = hold(&net, to, 6)?;
    assert_eq!(sequence, record.seen::<String>(THRESHOLDS[0])?);
    let listed = net.must("-L -n --thresholds")?;
    let mut lines: Vec<String> =
        listed.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let mut recorded: Vec<String> = record.seen(THRESHOLDS[1])?;
    lines.sort();
    recorded.sort();
    assert_eq!(lines, recorded);
    drop(held);
    must_show(&net, "-L -n", to, &record.seen(THRESHOLDS[2])?)?;
    assert_eq!(outcome(net.open(to)), record.seen::<String>(THRESHOLDS[3])?);
    Ok(())
}

/// What became of an attempt to connect, in the record's word.
fn outcome<T>(attempt: Result<T>) -> &'static str {
    match attempt {
        Ok(_) => "connected",
        Err(error) if is_refused(&error) => "refused",
        Err(_) => "failed",
    }
}

/// The answer to a line, or the failure by its name in Python, which the record was made with.
fn echo(connection: &mut Connection, line: &str) -> String {
    connection.echo(line).unwrap_or_else(|error| {
        let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>().map(io::Error::kind));
        match kinds.last() {
            // A socket's own deadline.
            Some(io::ErrorKind::WouldBlock) => "TimeoutError".to_owned(),
            Some(kind) => format!("{kind:?}Error"),
            None => format!("{error:#}"),
        }
    })
}

fn open_impatient(net: &Net, to: SocketAddrV4) -> Result<(Connection, u8)> {
    let (connection, server) = net.client(CLIENT).with_deadline(PATIENCE).open_greeted(to)?;
    Ok((connection, server.to_digit(10).and_then(|digit| digit.try_into().ok()).context("a digit")?))
}

/// The states of the connections to a port.
fn states(net: &Net, to: SocketAddrV4) -> Result<Vec<String>> {
    let mut states: Vec<_> = connections(&net.daemon)?
        .into_iter()
        .filter(|listed| listed.service == to)
        .map(|listed| listed.state)
        .collect();
    // Those that have ended first, as in the record.
    states.sort_by_key(|state| (state == "ESTABLISHED", state.clone()));
    Ok(states)
}

fn must_become<T: PartialEq + Debug>(recorded: &T, mut look: impl FnMut() -> Result<T>) -> Result<()> {
    let mut last = None;
    wait::until("it is as recorded", SOON, || {
        last = look().ok();
        last.as_ref() == Some(recorded)
    })
    .with_context(|| format!("recorded {recorded:?}, seen {last:?}"))
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn weight_zero_and_removal_do_to_connections_what_they_do_in_ipvs() -> Result<()> {
    let (net, record, to) = (Net::build()?, Record::read()?, vip(9802));
    net.offer(&format!("-t {to}"), "-s rr", &[1, 1])?;
    let ((mut first, its_server), (mut second, _)) = (open_impatient(&net, to)?, open_impatient(&net, to)?);
    assert_eq!(its_server, 2);
    net.must(&format!("-e -t {to} -r {} -g -w 0", server(2)))?;
    let echoes = [echo(&mut first, "ping"), echo(&mut second, "ping")];
    assert_eq!(echoes, record.seen::<[String; 2]>(WEIGHTS[0])?);
    let went = net.run(CLIENT, to, 4)?;
    let recorded: BTreeMap<String, usize> = record.seen(WEIGHTS[1])?;
    assert_eq!(recorded, ["1", "2"].map(|server| (server.to_owned(), went.matches(server).count())).into());
    net.must(&format!("-e -t {to} -r {} -g -w 0", server(1)))?;
    let refused = net.open(to).err().context("there is a server")?;
    ensure!(
        is_refused(&refused) && record.seen::<String>(WEIGHTS[2])? == "ConnectionRefusedError",
        "{refused:#}"
    );

    second.close()?;
    let before = echo(&mut first, "ping");
    net.must(&format!("-d -t {to} -r {}", server(its_server)))?;
    assert_eq!([before, echo(&mut first, "ping")], record.seen::<[String; 2]>(WEIGHTS[3])?);
    assert_eq!(states(&net, to)?, record.seen::<Vec<String>>(WEIGHTS[4])?);
    net.must(&format!("-a -t {to} -r {} -g", server(its_server)))?;
    must_become(&record.seen::<String>(WEIGHTS[5])?, || Ok(echo(&mut first, "ping")))
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn connections_end_with_their_server_or_service_as_in_ipvs() -> Result<()> {
    let (net, record, to) = (Net::build()?, Record::read()?, vip(9803));
    net.offer(&format!("-t {to}"), "-s rr", &[1, 1])?;
    let other = vip(9804);
    net.offer(&format!("-t {other}"), "-s rr", &[1, 1])?;
    net.must("set expire_nodest_conn=1")?;
    let (mut connection, number) = open_impatient(&net, to)?;
    let before = echo(&mut connection, "ping");
    net.must(&format!("-d -t {to} -r {}", server(number)))?;
    assert_eq!([before, echo(&mut connection, "ping")], record.seen::<[String; 2]>(REMOVALS[0])?);
    must_become(&record.seen::<Vec<String>>(REMOVALS[1])?, || states(&net, to))?;
    net.must(&format!("-a -t {to} -r {} -g", server(number)))?;
    assert_eq!(echo(&mut connection, "ping"), record.seen::<String>(REMOVALS[2])?);

    net.must("set expire_nodest_conn=0")?;
    let (mut connection, _) = open_impatient(&net, to)?;
    let before = echo(&mut connection, "ping");
    net.must(&format!("-D -t {to}"))?;
    assert_eq!([before, echo(&mut connection, "ping")], record.seen::<[String; 2]>(REMOVALS[3])?);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn templates_and_what_nobody_serves_are_as_in_ipvs() -> Result<()> {
    let (net, record) = (Net::build()?, Record::read()?);
    for (setting, port) in [(0, 9805), (1, 9806)] {
        let to = vip(port);
        net.must(&format!("set expire_quiescent_template={setting}"))?;
        net.offer(&format!("-t {to}"), "-s rr -p 60", &[1, 1, 1])?;
        let first = net.who(CLIENT, to)?;
        let mut went = net.run(CLIENT, to, 3)?;
        net.must(&format!("-e -t {to} -r 10.0.0.10{first} -g -w 0"))?;
        went.push_str(&net.run(CLIENT, to, 3)?);
        let same: Vec<bool> = went.chars().map(|server| server == first).collect();
        assert_eq!(same, record.seen::<Vec<bool>>(OTHERS[setting])?, "{first}, then {went}");
    }
    let to = vip(9804);
    net.offer(&format!("-t {to}"), "-s rr -p 60 -M 255.255.255.0", &[1, 1])?;
    net.who(CLIENT, to)?;
    let [(source, service, state, seconds)]: [(SocketAddrV4, SocketAddrV4, String, u32); 1] =
        record.seen(OTHERS[2])?;
    let listed = connections(&net.daemon)?;
    let templates = listed.iter().filter(|listed| listed.service == service && listed.client.port() == 0);
    let templates: Vec<_> =
        templates.map(|listed| (listed.client, &listed.state, listed.protocol.as_str())).collect();
    assert_eq!(templates, [(source, &state, "TCP")]);
    let expires = listed.iter().find(|listed| listed.client == source).context("a template")?.expires_s;
    ensure!((seconds - 8..=seconds).contains(&expires), "{expires}");

    assert_eq!(outcome(net.open(vip(9891))), record.seen::<String>(OTHERS[3])?);
    net.must(&format!("-A -t {} -s rr", vip(9892)))?;
    assert_eq!(outcome(net.open(vip(9892))), record.seen::<String>(OTHERS[4])?);
    Ok(())
}
