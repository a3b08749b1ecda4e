//! What the daemon's side costs at size: listings, the sweep, configuring.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lbxdp::tables::pins::Instance;
use lbxdp_tests::{Client, Daemon, daemon};

use crate::bed::{self, Bed, Size, at_port};
use crate::driver::Object;
use crate::figure::{Figure, Spread, Unit};
use crate::memory;
use crate::meter::{Effort, Meter};
use crate::packet::{Direction, Family, Flows, Kind, Packets};

/// Connections that there is room for.
const ROOM: u32 = 2_000_000;
/// Connections that are there, as a power of two, and a word for them.
const CONNECTIONS: (u32, &str) = (20, "1M");
const ROUNDS: usize = 5;
/// Where metrics are served, in the director's namespace.
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9812);
/// How long the keeper is watched.
const WATCH: Duration = Duration::from_secs(5);

pub(crate) fn measure(
    object: &Object,
    effort: Effort,
    processor: usize,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Figure>> {
    if !["memory/", "control/"].iter().any(|group| is_wanted(group)) {
        return Ok(Vec::new());
    }
    let (service, server) = (bed::vip(Family::V4, 0, 0), bed::server(Family::V4, 0));
    let rules = format!("-A -t {0} -s rr\n-a -t {0} -r {1} -g\n", at_port(service), at_port(server));
    let size = Size { connections: ROOM, servers: 20 };
    let bed = Bed::make_with(object, size, &rules, &["--metrics", &METRICS.to_string()])?;
    let instance: Instance = bed.daemon.instance().parse()?;
    let mut figures = memory::measure(&instance, ROOM)?;
    let packets = Packets {
        kind: Kind::Ack,
        direction: Direction::Request,
        client: bed::client(Family::V4, 0),
        service,
        services: 1,
        flows: Flows::Bits(CONNECTIONS.0),
    };
    let meter = Meter { object, bed: &bed, effort, processor };
    meter.open(&packets.with_kind(Kind::Syn), &packets, 1)?;
    figures.extend(at_size(&bed.daemon)?);
    figures.extend(configuring(&bed)?);
    figures.retain(|figure| is_wanted(&figure.name));
    Ok(figures)
}

/// With a full table.
fn at_size(daemon: &Daemon) -> Result<Vec<Figure>> {
    let many = CONNECTIONS.1;
    let mut figures = vec![
        rounds(&format!("list/{many}-connections"), || timed(daemon, "-L -n -c", ""))?,
        rounds(&format!("list/services-beside-{many}-connections"), || timed(daemon, "-L -n", ""))?,
    ];
    let before = cpu_time(daemon, "keeper")?;
    let began = Instant::now();
    // It works at its own pace, a part of the table at a time: what counts is how much of a processor that takes.
    thread::sleep(WATCH);
    let spent = cpu_time(daemon, "keeper")?.saturating_sub(before);
    let part = 100.0 * spent.as_secs_f64() / began.elapsed().as_secs_f64();
    figures.push(
        Figure::new(format!("control/sweep/{many}-connections"), Unit::Percent, Spread::exactly(part))
            .with_note(
                "of a processor, for as long as the table is that large: all of it is looked at each second",
            ),
    );
    Ok(figures)
}

fn configuring(bed: &Bed) -> Result<Vec<Figure>> {
    let daemon = &bed.daemon;
    let rules = rules(1000, 10);
    let restored = "1000-services-10-servers";
    let mut figures = vec![
        rounds(&format!("restore/{restored}"), || {
            daemon.must("-C")?;
            timed(daemon, "-R", &rules)
        })?,
        rounds(&format!("list/{restored}"), || timed(daemon, "-L -n", ""))?,
        rounds(&format!("scrape/{restored}"), || {
            let scraper = Client::new(&bed.network.director);
            let begun = Instant::now();
            let page = scraper.get(METRICS, "/metrics")?;
            ensure!(page.len() > 1_000_000, "a page of {} bytes is not of so many servers", page.len());
            Ok(begun.elapsed())
        })?,
        rounds(&format!("top/{restored}"), || timed(daemon, "top --once", ""))?,
        rounds("add-service", || {
            let took = timed(daemon, "-A -t 10.9.0.99:1", "")?;
            daemon.must("-D -t 10.9.0.99:1")?;
            Ok(took)
        })?,
        rounds("add-server", || {
            let server = bed::server(Family::V4, 15);
            let took = timed(daemon, &format!("-a -t 10.9.0.0:80 -r {server}:80"), "")?;
            daemon.must(&format!("-d -t 10.9.0.0:80 -r {server}:80"))?;
            Ok(took)
        })?,
        rounds("edit-weight", || {
            timed(daemon, &format!("-e -t 10.9.0.0:80 -r {}:80 -w 2", bed::server(Family::V4, 0)), "")
        })?,
    ];
    figures.push(rounds(&format!("clear/{restored}"), || {
        daemon.must("-C")?;
        let answer = daemon.ipvsadm_reading("-R", &rules)?;
        ensure!(answer.code == Some(0), "-R: {}", answer.stderr);
        timed(daemon, "-C", "")
    })?);
    Ok(figures)
}

/// ipvsadm's save format, of services from 10.9.0.0:80 on.
fn rules(services: u32, servers: u32) -> String {
    let service = |number: u32| {
        let vip = format!("10.9.{}.{}:80", number / 256, number % 256);
        let servers = (0..servers)
            .map(|server| format!("-a -t {vip} -r {}:80 -g -w 1", bed::server(Family::V4, server)));
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
        .spawn()
        .context("starting lbxdp")?;
    if let Some(mut stdin) = child.stdin.take() {
        // What does not read its input is measured all the same.
        let _ = stdin.write_all(input.as_bytes());
    }
    ensure!(child.wait()?.success(), "`ipvsadm {line}` fails");
    Ok(start.elapsed())
}

fn rounds(what: &str, mut round: impl FnMut() -> Result<Duration>) -> Result<Figure> {
    let all = (0..ROUNDS).map(|_| round()).collect::<Result<Vec<_>>>()?;
    let spread = Spread::of(all.iter().map(|took| took.as_secs_f64() * 1000.0).collect());
    Ok(Figure::new(format!("control/{what}"), Unit::Milliseconds, spread))
}

/// CPU time of the daemon's thread of this name.
fn cpu_time(daemon: &Daemon, name: &str) -> Result<Duration> {
    for thread in fs::read_dir(format!("/proc/{}/task", daemon.process()))? {
        let path = thread?.path();
        if fs::read_to_string(path.join("comm"))?.trim() == name {
            let times = fs::read_to_string(path.join("schedstat"))?;
            let on_processor = times.split_whitespace().next().context("an empty schedstat")?;
            return Ok(Duration::from_nanos(on_processor.parse()?));
        }
    }
    anyhow::bail!("the daemon has no thread `{name}`")
}
