//! `-L -n -c` at size: a million connections, in little memory, while others are served.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddrV4;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lbxdp::tables::Tables;
use lbxdp::tables::pins::Instance;
use lbxdp_common::settings::SettingsView;
use lbxdp_tests::fill::Filler;
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::service::load;
use lbxdp_tests::table::tcp_key;
use lbxdp_tests::topology::CLIENT;
use lbxdp_tests::{Connection, Daemon, Lab, Plan, daemon};

/// More memory than this is not constant: the text of a million connections is 80 MB.
const FEW_KIB: u64 = 16 * 1024;

/// A director with so many connections like the one that is held.
fn filled(lab: &Lab, count: u32) -> Result<(Daemon, Connection)> {
    let room = (count + 1).to_string();
    let arguments = ["--connections", &room];
    let daemon =
        Daemon::start(&daemon::binary()?, &lab.director, &lab.instance(), lab.interfaces(), &arguments)?;
    let (service, server) = (lab.service(HTTP_PORT), lab.servers[0].address);
    daemon.must(&format!("-A -t {service}"))?;
    daemon.must(&format!("-a -t {service} -r {server}"))?;
    let mut held = lab.client().open(service)?;
    held.get("/")?;
    let tables = Tables::open(&daemon.instance().parse::<Instance>()?.map_pins())?;
    let filler = Filler {
        connections: tables.CONNECTIONS,
        settings: SettingsView(tables.SETTINGS.row(0).context("no settings")?),
        load: |row| tables.LOADS.row(row),
    };
    let pattern = tcp_key(SocketAddrV4::new(CLIENT, held.source_port()?), service);
    filler.add_like(pattern, count)?;
    Ok((daemon, held))
}

/// A line of `/proc/PID/status`, in KiB.
fn kib(process: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
    let number = line.trim_start_matches(':').split_whitespace().next().context("no number")?;
    Ok(number.parse()?)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_million_connections_are_listed_each_once_in_little_memory() -> Result<()> {
    const COUNT: u32 = 1_000_000;
    let lab = Lab::build(Plan::default())?;
    let (daemon, _held) = filled(&lab, COUNT)?;
    let server = SocketAddrV4::new(lab.servers[0].address, HTTP_PORT);
    assert_eq!(load(&daemon, server)?, (COUNT + 1, 0));
    let before = kib(daemon.process(), "RssAnon")?;
    let path = std::env::temp_dir().join(format!("{}-listing", lab.instance()));
    let listed = list_into(&path, &daemon);
    let text = fs::read_to_string(&path);
    let _ = fs::remove_file(&path);
    let (listed, text) = (listed?, text?);
    let service = lab.service(HTTP_PORT);
    let ending = format!(" {service:<18} {server}");
    let mut clients = HashSet::new();
    for line in text.lines().skip(2) {
        ensure!(
            line.starts_with("TCP 1") && line.contains(" ESTABLISHED ") && line.ends_with(&ending),
            "{line}"
        );
        ensure!(clients.insert(line.split_whitespace().nth(3)), "twice: {line}");
    }
    assert_eq!(clients.len(), COUNT as usize + 1);
    let grown = kib(daemon.process(), "RssAnon")?.saturating_sub(before);
    assert!(grown < FEW_KIB, "the daemon has grown by {grown} KiB");
    assert!(listed.most_kib < FEW_KIB, "the command took {} KiB", listed.most_kib);
    let start = Instant::now();
    daemon.must("-L -n")?;
    let services = start.elapsed();
    println!(
        "{COUNT} connections: {listed:?}, the daemon has grown by {grown} KiB; `-L -n` took {services:?}"
    );
    Ok(())
}

/// What a listing took.
#[derive(Debug)]
struct Took {
    time: Duration,
    /// The most memory of the command, in KiB.
    most_kib: u64,
    /// How long `-L -n` took meanwhile, at worst.
    others_waited: Duration,
    others: u32,
}

/// `-L -n -c`, with others asking for `-L -n` all the while.
fn list_into(path: &Path, daemon: &Daemon) -> Result<Took> {
    let start = Instant::now();
    let mut listing = Command::new(daemon::binary()?)
        .args(["-L", "-n", "-c"])
        .env("LBXDP_INSTANCE", daemon.instance())
        .stdout(File::create(path)?)
        .spawn()?;
    let mut took = Took { time: Duration::ZERO, most_kib: 0, others_waited: Duration::ZERO, others: 0 };
    let mut others = connect(daemon)?;
    let status = loop {
        if let Ok(most) = kib(listing.id(), "VmHWM") {
            took.most_kib = most;
        }
        if let Some(status) = listing.try_wait()? {
            break status;
        }
        let asked = Instant::now();
        others.write_all(b"\"Services\"\n")?;
        read_line(&mut others)?;
        took.others_waited = took.others_waited.max(asked.elapsed());
        took.others += 1;
        std::thread::sleep(Duration::from_millis(5));
    };
    took.time = start.elapsed();
    ensure!(status.success(), "{status}");
    Ok(took)
}

fn connect(daemon: &Daemon) -> Result<UnixStream> {
    Ok(UnixStream::connect(daemon.instance().parse::<Instance>()?.socket())?)
}

fn read_line(stream: &mut UnixStream) -> Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8(line)?)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn clients_that_do_not_read_on_cost_the_daemon_nothing() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let (daemon, _held) = filled(&lab, 100_000)?;
    let before = kib(daemon.process(), "RssAnon")?;
    let mut lazy = Vec::new();
    for _ in 0..32 {
        let mut stream = connect(&daemon)?;
        stream.write_all(b"\"Connections\"\n")?;
        // The answer has begun.
        read_line(&mut stream)?;
        lazy.push(stream);
    }
    assert_eq!(daemon.must("-L -n -c")?.lines().count(), 100_003);
    let grown = kib(daemon.process(), "RssAnon")?.saturating_sub(before);
    assert!(grown < FEW_KIB, "the daemon has grown by {grown} KiB");
    // Nor does one that goes away in the midst of it.
    drop(lazy);
    let head = Command::new("sh")
        .args(["-c", "\"$0\" -L -n -c | head -n 3"])
        .arg(daemon::binary()?)
        .env("LBXDP_INSTANCE", daemon.instance())
        .stderr(Stdio::piped())
        .output()?;
    assert_eq!(String::from_utf8(head.stderr)?, "");
    assert_eq!(String::from_utf8(head.stdout)?.lines().count(), 3);
    assert_eq!(daemon.must("-L -n -c")?.lines().count(), 100_003);
    Ok(())
}
