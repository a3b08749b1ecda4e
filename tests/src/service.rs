//! A lab with a director at work and a service on it: where most tests begin.

use std::net::SocketAddrV4;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::daemon::{self, Daemon};
use crate::topology::{Lab, Plan};
use crate::wait;

/// Builds the lab, starts the daemon, and adds a TCP service with all servers, in their order, with these weights.
pub fn serve(plan: Plan, scheduler: &str, port: u16, weights: &[u32]) -> Result<(Lab, Daemon)> {
    let lab = Lab::build(plan)?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    offer(&lab, &daemon, "-t", port, scheduler, weights)?;
    Ok((lab, daemon))
}

/// Adds a service with all servers, in their order, with these weights; `option` names its protocol.
pub fn offer(
    lab: &Lab,
    daemon: &Daemon,
    option: &str,
    port: u16,
    scheduler: &str,
    weights: &[u32],
) -> Result<()> {
    offer_by(lab, daemon, "-g", option, port, scheduler, weights)
}

/// The same, by a forwarding method.
pub fn offer_by(
    lab: &Lab,
    daemon: &Daemon,
    method: &str,
    option: &str,
    port: u16,
    scheduler: &str,
    weights: &[u32],
) -> Result<()> {
    let service = lab.service(port);
    daemon.must(&format!("-A {option} {service} -s {scheduler}"))?;
    for (server, weight) in lab.servers.iter().zip(weights) {
        daemon.must(&format!("-a {option} {service} -r {} {method} -w {weight}", server.address))?;
    }
    // A server that is not found yet would be passed over, and the order be another one.
    wait::until("all servers are found", DEADLINE, || {
        status(daemon).is_ok_and(|text| !text.contains("UNKNOWN"))
    })
}

/// How long ARP may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What `lbxdp status` says.
pub fn status(daemon: &Daemon) -> Result<String> {
    let output =
        Command::new(daemon::binary()?).args(["status", "--instance", daemon.instance()]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `lbxdp status` counts under a name; 0 if it does not show it.
pub fn counted(daemon: &Daemon, name: &str) -> Result<u64> {
    let status = status(daemon)?;
    let line = status.lines().find(|line| line.split_whitespace().next() == Some(name));
    line.and_then(|line| line.split_whitespace().nth(1)).map_or(Ok(0), |number| Ok(number.parse()?))
}

/// A line of `-L -n -c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub protocol: String,
    /// Seconds until it expires.
    pub expires_s: u32,
    pub state: String,
    pub client: SocketAddrV4,
    pub service: SocketAddrV4,
    pub server: SocketAddrV4,
}

/// The connections as `-L -n -c` lists them.
pub fn connections(daemon: &Daemon) -> Result<Vec<Listed>> {
    daemon.must("-L -n -c")?.lines().skip(2).map(listed).collect()
}

fn listed(line: &str) -> Result<Listed> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [protocol, expires, state, client, service, server] = fields[..] else {
        anyhow::bail!("not a line of a listing: `{line}`");
    };
    let (minutes, seconds) = expires.split_once(':').unwrap_or_default();
    Ok(Listed {
        protocol: protocol.into(),
        expires_s: minutes.parse::<u32>()? * 60 + seconds.parse::<u32>()?,
        state: state.into(),
        client: client.parse()?,
        service: service.parse()?,
        server: server.parse()?,
    })
}

/// Active and inactive connections of a server in `-L -n`.
pub fn load(daemon: &Daemon, server: SocketAddrV4) -> Result<(u32, u32)> {
    let listing = daemon.must("-L -n")?;
    let name = server.to_string();
    let line = listing.lines().find(|line| line.split_whitespace().nth(1) == Some(&name));
    let fields: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    match fields[..] {
        [.., active, inactive] => Ok((active.parse()?, inactive.parse()?)),
        _ => anyhow::bail!("{name} is not listed:\n{listing}"),
    }
}

/// The numbers of a line of a listing: those behind the name of a service or server, `10.0.0.100:80`, or the mark of one by mark.
pub fn numbers(daemon: &Daemon, listing: &str, name: &str) -> Result<Vec<u64>> {
    let text = daemon.must(listing)?;
    let mut lines = text.lines().map(|line| line.split_whitespace().skip(1));
    let line = lines.find_map(|mut words| (words.next() == Some(name)).then_some(words));
    // Words, such as the scheduler's or the forwarding method's, are no numbers.
    line.map(|words| words.filter_map(|word| word.parse().ok()).collect())
        .with_context(|| format!("{name} is not listed:\n{text}"))
}
