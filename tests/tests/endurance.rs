//! What happens to connections when things go wrong: floods, a full table, a table that grows, ports that are used again.
//!
//! Scaled to run in seconds; `cargo xtask soak` runs them at full size and shows the figures.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp::tables::Tables;
use lbxdp::tables::pins::Instance;
use lbxdp_common::connection::Word;
use lbxdp_common::settings::SettingsView;
use lbxdp_tests::background::Background;
use lbxdp_tests::http::{ECHO_PORT, HTTP_PORT};
use lbxdp_tests::scale::Scale;
use lbxdp_tests::service::{connections, load, offer, serve, status};
use lbxdp_tests::table::Table;
use lbxdp_tests::topology::ROUTER_OUTER;
use lbxdp_tests::traffic::flood::{Kind, lead_nowhere, macs};
use lbxdp_tests::traffic::reuse::{self, Closing};
use lbxdp_tests::traffic::{Flags, Flood, Frame, Herd, Newcomers, Sender, herd};
use lbxdp_tests::{Daemon, Lab, Plan, daemon, wait};

const SOON: Duration = Duration::from_secs(20);

/// A director with room for so many connections, and an echo service on all servers.
fn echo_with_room_for(connections: u32, servers: u8) -> Result<(Lab, Daemon)> {
    let lab = Lab::build(Plan { servers, ..Plan::default() })?;
    let room = connections.to_string();
    let arguments = ["--connections", &room];
    let daemon =
        Daemon::start(&daemon::binary()?, &lab.director, &lab.instance(), lab.interfaces(), &arguments)?;
    offer(&lab, &daemon, "-t", ECHO_PORT, "rr", &vec![1; servers.into()])?;
    Ok((lab, daemon))
}

/// Connections that keep transferring through the director.
fn herd(lab: &Lab, connections: usize) -> Result<Herd> {
    let plan = herd::Plan { connections, pause: Duration::from_millis(100), bytes: 500 };
    Herd::start(&lab.client, lab.service(ECHO_PORT), plan)
}

/// How often something stands in `lbxdp status`; 0 if it is not there.
fn counted(daemon: &Daemon, name: &str) -> Result<u64> {
    let status = status(daemon)?;
    let line = status.lines().map(str::split_whitespace).find_map(|mut words| {
        (words.next() == Some(name)).then(|| words.next().unwrap_or_default().to_owned())
    });
    line.map_or(Ok(0), |count| count.trim_end_matches(',').parse().context(status.clone()))
}

/// What `-L -n` counts for each server is what `-L -n -c` lists for it.
fn counts_must_be_a_recount(lab: &Lab, daemon: &Daemon, port: u16) -> Result<()> {
    // Connections come and go between two listings; in a quiet moment both must agree.
    let mut difference = String::new();
    wait::until("counts equal a recount of the table", SOON, || {
        let mut compared = || -> Result<bool> {
            let mut recount = BTreeMap::<SocketAddrV4, u32>::new();
            for listed in connections(daemon)? {
                *recount.entry(listed.server).or_default() += 1;
            }
            for server in &lab.servers {
                let address = SocketAddrV4::new(server.address, port);
                let (active, inactive) = load(daemon, address)?;
                let listed = recount.get(&address).copied().unwrap_or_default();
                if active + inactive != listed {
                    difference = format!("{address}: {active} + {inactive} counted, {listed} listed");
                    return Ok(false);
                }
            }
            Ok(true)
        };
        compared().unwrap_or_else(|error| {
            difference = format!("{error:#}");
            false
        })
    })
    .context(difference.clone())
}

fn flood_hurts_nobody(kind: Kind, room: u32) -> Result<Daemon> {
    let scale = Scale::of_this_run();
    let (lab, daemon) = echo_with_room_for(room, 3)?;
    let herd = herd(&lab, scale.herd)?;
    let newcomers = Newcomers::start(&lab.client, lab.service(ECHO_PORT), Duration::from_millis(10))?;
    let sent = Flood::start(&lab, kind, lab.service(ECHO_PORT), scale.flood)?.wait()?;
    herd.wait_until_all_moved(2)?;
    let (herd, newcomers) = (herd.finish()?, newcomers.finish()?);
    scale.tell(&format!("{kind:?} flood, room for {room}: sent"), sent.frames);
    scale.tell("  a second", format_args!("{:.0}", sent.rate()));
    scale.tell(
        "  established: connections, exchanges",
        format_args!("{}, {}", herd.connections, herd.exchanges),
    );
    scale.tell("  established: resets, failures", format_args!("{}, {}", herd.resets, herd.failures.len()));
    scale.tell("  established: longest stall", format_args!("{:?}", herd.longest_stall));
    scale.tell("  new ones: came, served", format_args!("{}, {:.2} %", newcomers.came, newcomers.percent()));
    scale.tell("  new ones: connected after", &newcomers.connect);
    scale.tell("  new ones by hash, for half-open ones", counted(&daemon, "hashed_half_open")?);
    scale.tell("  new ones by hash, for a full table", counted(&daemon, "hashed_full")?);
    scale.tell("  their later packets", counted(&daemon, "hashed_on")?);
    herd.must_be_unharmed()?;
    newcomers.must_be_served()?;
    counts_must_be_a_recount(&lab, &daemon, ECHO_PORT)?;
    // Said once an episode.
    wait::until("the episode is told of", SOON, || {
        daemon.log().contains("no room for some new connections")
    })?;
    ensure!(daemon.log().matches("no room for some new connections").count() == 1, "{}", daemon.log());
    Ok(daemon)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_flood_of_syns_hurts_nobody_in_a_small_table() -> Result<()> {
    flood_hurts_nobody(Kind::Syn, 10_000).map(drop)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_flood_of_syns_hurts_nobody_while_the_table_grows() -> Result<()> {
    let daemon = flood_hurts_nobody(Kind::Syn, 150_000)?;
    ensure!(daemon.log().contains("the connection table has grown"), "{}", daemon.log());
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_flood_of_acks_hurts_nobody_even_after_one_of_syns() -> Result<()> {
    let scale = Scale::of_this_run();
    let (lab, daemon) = echo_with_room_for(10_000, 3)?;
    let herd = herd(&lab, scale.herd)?;
    // From now on packets of unknown connections go to servers too.
    Flood::start(&lab, Kind::Syn, lab.service(ECHO_PORT), scale.flood)?.wait()?;
    let newcomers = Newcomers::start(&lab.client, lab.service(ECHO_PORT), Duration::from_millis(10))?;
    Flood::start(&lab, Kind::Ack, lab.service(ECHO_PORT), scale.flood)?.wait()?;
    herd.wait_until_all_moved(2)?;
    let (herd, newcomers) = (herd.finish()?, newcomers.finish()?);
    // The link loses some of a flood; of what came, hardly anything went to the director's stack: an ACK whose SYN was lost, and
    // beside which no other SYN went by hash.
    let followed = counted(&daemon, "hashed_on")? + counted(&daemon, "taken_up")?;
    let left_alone = counted(&daemon, "no_connection")?;
    ensure!(followed > scale.flood / 10 && left_alone * 100 <= followed, "{}", status(&daemon)?);
    scale.tell(
        "SYN, then ACK flood: resets, stall",
        format_args!("{}, {:?}", herd.resets, herd.longest_stall),
    );
    scale.tell("  new ones: came, served", format_args!("{}, {:.2} %", newcomers.came, newcomers.percent()));
    herd.must_be_unharmed()?;
    newcomers.must_be_served()?;
    counts_must_be_a_recount(&lab, &daemon, ECHO_PORT)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_port_that_is_used_again_never_waits() -> Result<()> {
    let scale = Scale::of_this_run();
    let (lab, _daemon) = serve(Plan { servers: 3, ..Plan::default() }, "rr", HTTP_PORT, &[1, 1, 1])?;
    for (port, closing) in (40_000..).zip([Closing::ServerFirst, Closing::Reset, Closing::FinThenReset]) {
        let report = reuse::run(&lab.client, lab.service(HTTP_PORT), port, closing, scale.reuses)?;
        scale.tell(&format!("port reuse, {closing:?}: connections"), report.connections);
        scale.tell("  connected after", &report.connect);
        ensure!(report.retransmitted == 0, "{closing:?}: {} segments were sent again", report.retransmitted);
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_table_full_at_its_limit_refuses_nobody_and_takes_connections_up_when_there_is_room() -> Result<()> {
    let (lab, daemon) = echo_with_room_for(32, 3)?;
    // The first ones have entries; the table is full before all of the others are there.
    let (first, others) = (herd(&lab, 20)?, herd(&lab, 200)?);
    first.wait_until_all_moved(2)?;
    others.wait_until_all_moved(2)?;
    let without = counted(&daemon, "hashed_on")?;
    ensure!(without > 0, "all found room:\n{}", status(&daemon)?);
    let newcomers = Newcomers::start(&lab.client, lab.service(ECHO_PORT), Duration::from_millis(20))?;
    others.wait_until_all_moved(10)?;
    newcomers.finish()?.must_be_served()?;
    daemon.must("--set 0 1 0")?;
    others.finish()?.must_be_unharmed()?;
    // The others have closed: once their entries expire there is room for packets that went by hash till then.
    let left = herd(&lab, 5)?;
    left.wait_until_all_moved(5)?;
    wait::until("all that still live are listed", SOON, || {
        connections(&daemon)
            .is_ok_and(|all| all.iter().filter(|one| one.state == "ESTABLISHED").count() >= 25)
    })?;
    ensure!(counted(&daemon, "taken_up")? > 0, "{}", status(&daemon)?);
    first.finish()?.must_be_unharmed()?;
    left.finish()?.must_be_unharmed()?;
    counts_must_be_a_recount(&lab, &daemon, ECHO_PORT)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_table_that_grows_loses_no_connection() -> Result<()> {
    let scale = Scale::of_this_run();
    let (lab, daemon) = echo_with_room_for(2 * scale.growth, 3)?;
    let places = counted(&daemon, "places")?;
    let herd = herd(&lab, scale.herd)?;
    let clients = establish(&lab, &daemon, scale.growth)?;
    herd.wait_until_all_moved(2)?;
    wait::until("the table has grown", SOON, || {
        status(&daemon).is_ok_and(|text| !text.contains("growing"))
            && counted(&daemon, "places").is_ok_and(|now| now > places)
    })?;
    scale.tell("growth: places before, after", format_args!("{places}, {}", counted(&daemon, "places")?));
    scale.tell("  connections", scale.growth);
    let mut listed = BTreeSet::new();
    for connection in connections(&daemon)? {
        ensure!(listed.insert(connection.client), "{} is listed twice", connection.client);
    }
    let missing = clients.difference(&listed).count();
    ensure!(missing == 0, "{missing} of {} connections are missing", clients.len());
    let herd = herd.finish()?;
    scale.tell(
        "  established: resets, longest stall",
        format_args!("{}, {:?}", herd.resets, herd.longest_stall),
    );
    herd.must_be_unharmed()?;
    counts_must_be_a_recount(&lab, &daemon, ECHO_PORT)
}

/// Establishes connections as far as the director can see: a SYN and an ACK of each. From whom they came.
///
/// The link may lose frames that come faster than the director's CPU runs, and the director may find no room for some: a
/// frame is sent until the table shows what it has done. So whatever is missing afterwards was lost by the director.
fn establish(lab: &Lab, daemon: &Daemon, count: u32) -> Result<BTreeSet<SocketAddrV4>> {
    const BATCH: usize = 64;
    lead_nowhere(lab)?;
    let to = lab.service(ECHO_PORT);
    let template = Frame::tcp(macs(lab)?, to)?;
    let tables = Tables::open(&daemon.instance().parse::<Instance>()?.map_pins())?;
    let settings = SettingsView(tables.SETTINGS.row(0).context("no settings")?);
    let table = Table { connections: tables.CONNECTIONS, settings };
    let clients: Vec<SocketAddrV4> = (0..count)
        .map(|number| {
            let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 128, 0, 0).to_bits() + number / 1000);
            SocketAddrV4::new(address, 10_000 + u16::try_from(number % 1000).unwrap_or(0))
        })
        .collect();
    let all: BTreeSet<SocketAddrV4> = clients.iter().copied().collect();
    let sender = Background::start(&lab.router, "establish", move |_| {
        let sender = Sender::open(ROUTER_OUTER)?;
        let send_until = |clients: &[SocketAddrV4], flags: Flags, is_done: &dyn Fn(Word) -> bool| {
            let is_seen = |client: &SocketAddrV4| table.tcp(*client, to).is_some_and(is_done);
            wait::until("all frames of a batch have been seen", SOON, || {
                let frame = |client: &SocketAddrV4| {
                    let mut frame = template.clone();
                    frame.set_source(*client);
                    frame.set_flags(flags);
                    frame
                };
                let unseen: Vec<Frame> =
                    clients.iter().filter(|client| !is_seen(client)).map(frame).collect();
                // A link that is gone is noticed by the wait's end.
                let _ = sender.send(&unseen);
                unseen.is_empty()
            })
        };
        for batch in clients.chunks(BATCH) {
            send_until(batch, Flags::SYN, &|_| true)?;
            send_until(batch, Flags::ACK, &|word| !word.is_half_open())?;
        }
        Ok(())
    })?;
    sender.wait()?;
    Ok(all)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn edits_under_load_hurt_nobody() -> Result<()> {
    let (lab, daemon) = echo_with_room_for(10_000, 3)?;
    let herd = herd(&lab, 50)?;
    let newcomers = Newcomers::start(&lab.client, lab.service(ECHO_PORT), Duration::from_millis(5))?;
    let service = lab.service(ECHO_PORT);
    for round in 0..20 {
        for scheduler in ["wrr", "wlc", "rr"] {
            daemon.must(&format!("-E -t {service} -s {scheduler}"))?;
        }
        for (number, server) in lab.servers.iter().enumerate() {
            let weight = 1 + (round + number) % 3;
            daemon.must(&format!("-e -t {service} -r {} -g -w {weight}", server.address))?;
        }
    }
    herd.wait_until_all_moved(1)?;
    newcomers.finish()?.must_be_served()?;
    herd.finish()?.must_be_unharmed()?;
    counts_must_be_a_recount(&lab, &daemon, ECHO_PORT)
}
