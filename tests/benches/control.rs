//! What the daemon's side costs at size: memory, listings, the sweep, and configuring. `cargo xtask bench` runs it.
//!
//! Figures, not checks: each is the least, the middle and the greatest of a few rounds. With the word `configuring` only
//! that is measured.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aya::maps::MapData;
use lbxdp::tables::pins::Instance;
use lbxdp::tables::{MAP_NAMES, Tables};
use lbxdp_common::settings::SettingsView;
use lbxdp_tests::fill::Filler;
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::table::tcp_key;
use lbxdp_tests::topology::CLIENT;
use lbxdp_tests::{Daemon, Lab, Plan, daemon};

/// Connections that there is room for, and that are there.
const CONNECTIONS: u32 = 1_000_000;
const ROUNDS: usize = 5;
/// How long the keeper is watched.
const WATCH: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let room = CONNECTIONS.to_string();
    let daemon = Daemon::start(
        &daemon::binary()?,
        &lab.director,
        &lab.instance(),
        lab.interfaces(),
        &["--connections", &room],
    )?;
    let instance: Instance = daemon.instance().parse()?;
    if std::env::args().any(|argument| argument == "configuring") {
        return configuring(&lab, &daemon);
    }
    println!("memory of the kernel's tables, with room for {CONNECTIONS} IPv4 connections");
    memory(&instance)?;
    println!("\nat {CONNECTIONS} live connections");
    let _held = fill(&lab, &daemon, &instance)?;
    rounds("-L -n -c into a file, ms", || timed(&daemon, "-L -n -c", ""))?;
    rounds("-L -n, ms", || timed(&daemon, "-L -n", ""))?;
    let before = cpu_time(&daemon, "keeper")?;
    thread::sleep(WATCH);
    let spent = cpu_time(&daemon, "keeper")?.saturating_sub(before);
    println!(
        "{:<40} {:.2}",
        "keeping the table, % of a core",
        100.0 * spent.as_secs_f64() / WATCH.as_secs_f64()
    );
    configuring(&lab, &daemon)
}

fn configuring(lab: &Lab, daemon: &Daemon) -> Result<()> {
    println!("\nconfiguring");
    let rules = rules(1000, 10);
    rounds("-R of 1,000 services x 10 servers, ms", || {
        daemon.must("-C")?;
        timed(daemon, "-R", &rules)
    })?;
    rounds("-L -n of them, ms", || timed(daemon, "-L -n", ""))?;
    rounds("-A and -D of one, ms", || {
        let added = timed(daemon, "-A -t 10.0.0.99:1", "")?;
        Ok(added + timed(daemon, "-D -t 10.0.0.99:1", "")?)
    })?;
    let service = "10.1.0.1:80";
    let (known, unknown) = (lab.servers[0].address, "10.0.0.250");
    let add_and_delete = |server: &str| -> Result<Duration> {
        let added = timed(daemon, &format!("-a -t {service} -r {server}"), "")?;
        daemon.must(&format!("-d -t {service} -r {server}"))?;
        Ok(added)
    };
    // From here on its neighbour is known.
    daemon.must("-A -t 10.0.0.98:1")?;
    daemon.must(&format!("-a -t 10.0.0.98:1 -r {known}"))?;
    rounds("-a of one whose neighbour is known, ms", || add_and_delete(&known.to_string()))?;
    rounds("-a of one that nobody has, ms", || {
        // The next wait for a neighbour comes a second after the last at the earliest.
        thread::sleep(Duration::from_millis(1100));
        add_and_delete(unknown)
    })?;
    rounds("-a of it within a second of that, ms", || add_and_delete(unknown))?;
    rounds("-C of 1,000 services, ms", || {
        daemon.must("-C")?;
        let restored = daemon.ipvsadm_reading("-R", &rules)?;
        anyhow::ensure!(restored.code == Some(0), "-R: {}", restored.stderr);
        timed(daemon, "-C", "")
    })
}

/// What the kernel has locked for each map, and all of it for one connection.
fn memory(instance: &Instance) -> Result<()> {
    let mut all = 0;
    for name in MAP_NAMES {
        let map = MapData::from_pin(instance.map_pins().join(name))?;
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd()))?;
        let bytes: u64 = info
            .lines()
            .find_map(|line| line.strip_prefix("memlock:"))
            .context("the kernel does not tell a map's memory")?
            .trim()
            .parse()?;
        println!("{name:<40} {bytes:>12}");
        all += bytes;
    }
    println!("{:<40} {all:>12}", "all");
    let tenths = all * 10 / u64::from(CONNECTIONS);
    println!("{:<40} {:>10}.{}", "for each connection", tenths / 10, tenths % 10);
    Ok(())
}

/// Makes a connection and so many like it.
fn fill(lab: &Lab, daemon: &Daemon, instance: &Instance) -> Result<lbxdp_tests::Connection> {
    let (service, server) = (lab.service(HTTP_PORT), lab.servers[0].address);
    daemon.must(&format!("-A -t {service}"))?;
    daemon.must(&format!("-a -t {service} -r {server}"))?;
    let mut held = lab.client().open(service)?;
    held.get("/")?;
    let tables = Tables::open(&instance.map_pins())?;
    let filler = Filler {
        connections: tables.CONNECTIONS,
        settings: SettingsView(tables.SETTINGS.row(0).context("no settings")?),
        load: |row| tables.LOADS.row(row),
    };
    let pattern = tcp_key(SocketAddrV4::new(CLIENT, held.source_port()?), service);
    filler.add_like(pattern, CONNECTIONS - 1)?;
    Ok(held)
}

/// ipvsadm's save format.
fn rules(services: u32, servers: u32) -> String {
    let service = |number: u32| {
        let vip = format!("10.{}.{}.1:80", 1 + number / 250, number % 250);
        let servers =
            (1..=servers).map(|server| format!("-a -t {vip} -r 10.0.0.{}:80 -g -w 1", 150 + server));
        let lines: Vec<String> = [format!("-A -t {vip} -s wlc")].into_iter().chain(servers).collect();
        lines.join("\n") + "\n"
    };
    (0..services).map(service).collect()
}

/// How long a command line takes as a process, its output thrown away.
fn timed(daemon: &Daemon, line: &str, input: &str) -> Result<Duration> {
    let start = Instant::now();
    let mut child = Command::new(daemon::binary()?)
        .args(line.split_whitespace())
        .env("LBXDP_INSTANCE", daemon.instance())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // What does not read its input is measured all the same.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait()?;
    Ok(start.elapsed())
}

fn rounds(what: &str, mut round: impl FnMut() -> Result<Duration>) -> Result<()> {
    let mut all = (0..ROUNDS).map(|_| round()).collect::<Result<Vec<_>>>()?;
    all.sort_unstable();
    let ms = |at: usize| all.get(at).map_or(0.0, |took| took.as_secs_f64() * 1000.0);
    println!("{what:<40} {:>9.1} {:>9.1} {:>9.1}", ms(0), ms(ROUNDS / 2), ms(ROUNDS - 1));
    Ok(())
}

/// CPU time of the daemon's thread of this name.
fn cpu_time(daemon: &Daemon, name: &str) -> Result<Duration> {
    for thread in fs::read_dir(format!("/proc/{}/task", daemon.process()))? {
        let path = thread?.path();
        if fs::read_to_string(path.join("comm"))?.trim() == name {
            let times = fs::read_to_string(path.join("schedstat"))?;
            let on_cpu = times.split_whitespace().next().context("an empty schedstat")?;
            return Ok(Duration::from_nanos(on_cpu.parse()?));
        }
    }
    anyhow::bail!("the daemon has no thread `{name}`")
}
