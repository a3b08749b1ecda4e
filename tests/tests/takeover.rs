//! The daemon may die: forwarding goes on, the next daemon takes over what is there, and what is wanted is on disk.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, Result};
use lbxdp::tables::pins::{Instance, LAYOUT_VERSION};
use lbxdp::tables::{AddressSet, Tables};
use lbxdp_common::Cells;
use lbxdp_common::hint::{self, Hint};
use lbxdp_common::table::Seed;
use lbxdp_tests::http::{ECHO_PORT, HTTP_PORT};
use lbxdp_tests::scale::Scale;
use lbxdp_tests::service::{load, serve, status};
use lbxdp_tests::topology::{INNER, Legs, OUTER};
use lbxdp_tests::traffic::Stream;
use lbxdp_tests::traffic::stream::STREAM_PORT;
use lbxdp_tests::{Daemon, Lab, Plan, daemon, wait};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(20);

/// Kills the daemon as nothing can be cleaned up after, and starts the next one.
fn kill_and_start(lab: &Lab, daemon: &mut Daemon) -> Result<()> {
    daemon.end_by(Signal::SIGKILL)?;
    daemon.start_again(&lab.director, lab.interfaces(), &[])
}

fn instance(daemon: &Daemon) -> Result<Instance> {
    Ok(daemon.instance().parse()?)
}

fn saved(daemon: &Daemon) -> Result<PathBuf> {
    Ok(instance(daemon)?.saved())
}

fn tables(daemon: &Daemon) -> Result<Tables> {
    Ok(Tables::open(&instance(daemon)?.map_pins())?)
}

/// The first member of the only service.
fn member(tables: &Tables) -> Result<&'static [AtomicU64]> {
    let list = lbxdp_common::service::Service(tables.SERVICES.row(0).context("a service")?).list();
    tables.MEMBERS.row(list.start).context("a member")
}

/// Runs lbxdp on the director with these words; what it said on standard error if it failed. It must come to its end.
fn lbxdp(lab: &Lab, words: &str) -> Result<std::result::Result<(), String>> {
    let output = lab
        .director
        .command("timeout")
        .arg("20")
        .arg(daemon::binary()?)
        .args(words.split_whitespace())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(if output.status.success() { Ok(()) } else { Err(said) })
}

/// How often lbxdp had to put a row right; 0 if it is not in the status.
fn repaired(daemon: &Daemon) -> Result<u64> {
    let status = status(daemon)?;
    let line = status.lines().find_map(|line| line.strip_prefix("repaired"));
    line.map_or(Ok(0), |line| Ok(line.trim().split(':').next().unwrap_or_default().parse()?))
}

/// Connections, packets and bytes of a line of `--stats`.
fn counters(daemon: &Daemon, what: &str) -> Result<[u64; 3]> {
    let listed = daemon.must("-L -n --stats --exact")?;
    let line = listed.lines().find(|line| line.contains(what)).with_context(|| listed.clone())?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words.get(at).context(listed.clone())?.parse::<u64>().context(listed.clone());
    let at = words.iter().position(|word| *word == what).unwrap_or(0);
    Ok([number(at + 1)?, number(at + 2)?, number(at + 4)?])
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_killed_daemon_costs_no_packet_no_connection_and_no_count() -> Result<()> {
    let scale = Scale::of_this_run();
    let (lab, mut daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    let stream_service = lab.service(STREAM_PORT);
    daemon.must(&format!("-A -u {stream_service} -s rr"))?;
    for server in &lab.servers {
        daemon.must(&format!("-a -u {stream_service} -r {}", server.address))?;
    }
    let service = lab.service(HTTP_PORT);
    let mut held = lab.client().open(service)?;
    held.get("/bytes/1000")?;
    let mut stream = Some(Stream::start(&lab, 1)?);
    let mut before = counters(&daemon, &stream_service.to_string())?;
    for _ in 0..scale.restarts {
        daemon.end_by(Signal::SIGKILL)?;
        held.get("/bytes/100000").context("while no daemon runs")?;
        daemon.start_again(&lab.director, lab.interfaces(), &[])?;
        held.get("/bytes/100000").context("after the take-over")?;
        let now = counters(&daemon, &stream_service.to_string())?;
        assert!(now.iter().zip(before).all(|(now, before)| *now >= before), "{before:?}, then {now:?}");
        before = now;
        assert_eq!(repaired(&daemon)?, 0, "{}", daemon.log());
    }
    let report = stream.take().context("a stream")?.finish(&lab)?;
    report.must_be_complete()?;
    scale.tell("daemons killed and started", scale.restarts);
    scale.tell("datagrams sent, and arrived", report.sent);
    assert_eq!(
        counters(&daemon, &stream_service.to_string())?[1],
        report.sent,
        "every packet is counted once"
    );
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn configuration_and_counters_are_taken_over_as_they_were() -> Result<()> {
    let (lab, mut daemon) = serve(Plan { servers: 3, ..Plan::default() }, "wrr", HTTP_PORT, &[3, 2, 1])?;
    let (service, udp) = (lab.service(HTTP_PORT), lab.service(ECHO_PORT));
    for _ in 0..4 {
        lab.client().who(service)?;
    }
    daemon.must(&format!("-Z -t {service}"))?;
    lab.client().who(service)?;
    daemon.must(&format!("-A -u {udp} -s wlc"))?;
    for server in lab.servers.iter().rev() {
        daemon.must(&format!("-a -u {udp} -r {} -w 5", server.address))?;
    }
    daemon.must(&format!("-e -t {service} -r {} -w 7", lab.servers[0].address))?;
    daemon.must(&format!("-e -u {udp} -r {} -w 0", lab.servers[1].address))?;
    daemon.must("--set 77 0 33")?;
    assert_eq!(
        lbxdp(&lab, &format!("set --instance {} sloppy_tcp=1 conn_reuse_mode=2", daemon.instance()))?,
        Ok(())
    );
    let listings = |daemon: &Daemon| -> Result<Vec<String>> {
        ["-L -n --nosort", "-L -n --stats --exact", "-L --timeout", "-S -n"]
            .map(|line| daemon.must(line))
            .into_iter()
            .collect()
    };
    let before = listings(&daemon)?;
    assert!(before[1].contains(&format!("TCP  {service} ")), "{}", before[1]);
    assert_eq!(counters(&daemon, &service.to_string())?[0], 1, "since -Z");
    // With the file, and without it: then the tables alone tell.
    for file_is_there in [true, false] {
        daemon.end_by(Signal::SIGKILL)?;
        if !file_is_there {
            std::fs::remove_file(saved(&daemon)?)?;
        }
        daemon.start_again(&lab.director, lab.interfaces(), &[])?;
        assert_eq!(listings(&daemon)?, before);
        assert!(status(&daemon)?.contains("eth0, native XDP"));
        assert!(!daemon.log().contains("did not mean"), "{}", daemon.log());
        assert_eq!(repaired(&daemon)?, 0, "{}", daemon.log());
        let settings = lab
            .director
            .command(daemon::binary()?)
            .args(["settings", "--instance", daemon.instance()])
            .output()?;
        let settings = String::from_utf8_lossy(&settings.stdout).into_owned();
        assert!(
            settings.contains("sloppy_tcp = 1") && settings.contains("conn_reuse_mode = 2"),
            "{settings}"
        );
        assert!(saved(&daemon)?.exists());
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_deleted_server_that_waits_revives_after_a_take_over() -> Result<()> {
    let (lab, mut daemon) = serve(Plan { servers: 1, ..Plan::default() }, "rr", ECHO_PORT, &[1])?;
    let (service, server) = (lab.service(ECHO_PORT), lab.servers[0].address);
    let mut held = lab.client().open(service)?;
    assert_eq!(held.echo("one")?, "s1 one");
    let counted = counters(&daemon, &service.to_string())?;
    daemon.must(&format!("-d -t {service} -r {server}"))?;
    kill_and_start(&lab, &mut daemon)?;
    assert_eq!(
        counters(&daemon, &service.to_string())?,
        counted,
        "the service keeps what the server counted"
    );
    daemon.must(&format!("-a -t {service} -r {server}"))?;
    assert_eq!(held.echo("two")?, "s1 two");
    let (active, _) = load(&daemon, format!("{server}:{ECHO_PORT}").parse()?)?;
    assert_eq!(active, 1);
    let of_server = counters(&daemon, &format!("{server}:{ECHO_PORT}"))?;
    assert_eq!(of_server[0], 1, "its counters go on");
    assert_eq!(counters(&daemon, &service.to_string())?[0], 1, "and are not counted twice");
    // A service that was itself deleted begins anew.
    daemon.must(&format!("-D -t {service}"))?;
    kill_and_start(&lab, &mut daemon)?;
    daemon.must(&format!("-A -t {service} -s rr"))?;
    daemon.must(&format!("-a -t {service} -r {server}"))?;
    assert_eq!(counters(&daemon, &service.to_string())?, [0; 3]);
    assert_eq!(held.echo("three")?, "s1 three");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_was_changed_on_disk_alone_is_what_the_next_daemon_wants() -> Result<()> {
    let (lab, mut daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    let service = lab.service(HTTP_PORT);
    daemon.end_by(Signal::SIGKILL)?;
    let text = std::fs::read_to_string(saved(&daemon)?)?;
    let line = format!("-a -t {service} -r {} -g -w 1", lab.servers[1].address.to_string() + ":80");
    assert!(text.contains(&line), "{text}");
    std::fs::write(saved(&daemon)?, text.replace(&line, &line.replace("-w 1", "-w 0")) + "--set 55 0 0\n")?;
    daemon.start_again(&lab.director, lab.interfaces(), &[])?;
    assert!(daemon.must("-S -n")?.contains("-w 0"));
    assert!(daemon.must("-L --timeout")?.contains("55 120 300"));
    let log = daemon.log();
    assert!(log.contains("did not mean") && log.contains(&format!("TCP {service}, timeouts")), "{log}");
    for _ in 0..3 {
        assert_eq!(lab.client().who(service)?, "s1");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_saved_configuration_that_cannot_be_read_stops_the_start_and_nothing_else() -> Result<()> {
    let (lab, mut daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    daemon.end_by(Signal::SIGKILL)?;
    let file = saved(&daemon)?;
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.clone() + "-a -t nonsense\n-C\n")?;
    let start = format!("run --instance {} -i {OUTER}", daemon.instance());
    let said = lbxdp(&lab, &start)?.expect_err("refused");
    let line = text.lines().count() + 1;
    assert!(said.contains(&format!("{}:{line}: ", file.display())), "{said}");
    assert_eq!(lab.client().who(lab.service(HTTP_PORT))?, "s2");
    // The daemon was killed in the midst of a line.
    std::fs::write(&file, text + "-a -t 10.0.")?;
    daemon.start_again(&lab.director, lab.interfaces(), &[])?;
    assert!(daemon.log().contains("is torn"), "{}", daemon.log());
    assert_eq!(lab.client().who(lab.service(HTTP_PORT))?, "s1");
    Ok(())
}

/// Puts an address where the daemon has put none.
fn put_stranger(tables: &Tables, set: AddressSet, address: &str, seed: Seed) {
    tables.put_address(set, address.parse().expect("an address"), seed).expect("put");
}

/// Services of both families, servers by every method, through every kind of tunnel.
const EVERY_WAY: &str = "-A -t 10.0.0.100:80 -s wrr
-a -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 3
-a -t 10.0.0.100:80 -r 10.0.0.12:8080 -m -w 1
-a -t 10.0.0.100:80 -r 10.0.0.13:80 -i -w 1 --tun-type ipip
-a -t 10.0.0.100:80 -r 10.0.0.14:80 -i -w 1 --tun-type gre --tun-csum
-A -t [fd00::100]:80 -s mh -p 60 -M 64
-a -t [fd00::100]:80 -r [fd00::11]:80 -g -w 1
-a -t [fd00::100]:80 -r [fd00::12]:8080 -m -w 2
-a -t [fd00::100]:80 -r [fd00::13]:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-a -t [fd00::100]:80 -r 10.0.0.15:80 -i -w 0 --tun-type gre --tun-nocsum
-A -f 7 -6 -s sh
-a -f 7 -6 -r [fd00::11]:0 -g -w 1
";

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn every_way_to_forward_is_taken_over_as_it_was() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let mut daemon = lab.start_daemon(&daemon::binary()?)?;
    let answer = daemon.ipvsadm_reading("-R", EVERY_WAY)?;
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
    assert_eq!(daemon.must("-S -n")?, EVERY_WAY);
    let sets = |daemon: &Daemon| -> Result<Vec<Vec<String>>> {
        let tables = tables(daemon)?;
        let of = |set| tables.addresses(set).into_iter().map(|(_, address)| address.to_string());
        Ok(AddressSet::ALL
            .map(|set| of(set).collect::<std::collections::BTreeSet<_>>())
            .map(Vec::from_iter)
            .to_vec())
    };
    let expected = [["10.0.0.100", "fd00::100"], ["10.0.0.12", "fd00::12"]];
    assert_eq!(sets(&daemon)?, expected);
    // The one that goes by NAT no more has connections that may.
    daemon.must("-e -t 10.0.0.100:80 -r 10.0.0.12:8080 -m -w 5")?;
    daemon.must("-e -t [fd00::100]:80 -r fd00::13 -m -w 1")?;
    daemon.must("-e -t [fd00::100]:80 -r fd00::13 -i -w 1 --tun-type gue --tun-port 6080")?;
    let listings = |daemon: &Daemon| -> Result<Vec<String>> {
        ["-L -n --nosort", "-L -n --tun-info", "-S -n"].map(|line| daemon.must(line)).into_iter().collect()
    };
    let before = listings(&daemon)?;
    assert!(before[1].contains("Tunnel  gue:6080:-c   1      0"), "{}", before[1]);
    for file_is_there in [true, false] {
        daemon.end_by(Signal::SIGKILL)?;
        if !file_is_there {
            std::fs::remove_file(saved(&daemon)?)?;
        }
        daemon.start_again(&lab.director, lab.interfaces(), &[])?;
        assert_eq!(listings(&daemon)?, before);
        assert!(!daemon.log().contains("did not mean"), "{}", daemon.log());
        assert_eq!(repaired(&daemon)?, 0, "{}", daemon.log());
        let with_old = [&["10.0.0.100", "fd00::100"][..], &["10.0.0.12", "fd00::12", "fd00::13"]];
        assert_eq!(sets(&daemon)?, with_old);
    }
    Ok(())
}

/// What is hurt, and how.
type Damage = (&'static str, Box<dyn FnMut(&mut Tables)>);

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_somebody_else_writes_into_the_tables_is_put_right() -> Result<()> {
    let (lab, daemon) = serve(Plan { legs: Legs::Two, ..Plan::default() }, "rr", HTTP_PORT, &[1, 1])?;
    let service = lab.service(HTTP_PORT);
    lab.client().who(service)?;
    let mut tables = tables(&daemon)?;
    let (ids, hints) = (tables.service_ids()?, tables.hints());
    let (key, index) = ids.first_key_value().map(|(key, index)| (*key, *index)).context("a service")?;
    let vip = key.address_of().context("a VIP")?;
    let seed = lbxdp_common::settings::SettingsView(tables.SETTINGS.row(0).context("settings")?).seed();
    let stranger = lbxdp_common::service::ServiceKey { port: [9, 9], ..key };
    let put = |row: Option<&'static [AtomicU64]>, cell: usize, value: u64| {
        row.expect("a row").store(cell, value);
    };
    let mut damages: Vec<Damage> = vec![
        ("servers 1", Box::new(move |tables| put(tables.SERVERS.row(1), 0, 0xdead))),
        ("services 1", Box::new(move |tables| put(tables.SERVICES.row(0), 2, 77))),
        ("members 1", Box::new(move |tables| put(member(tables).ok(), 0, 0))),
        ("settings 1", Box::new(move |tables| put(tables.SETTINGS.row(0), 4, 1))),
        ("service_ids 1", Box::new(move |tables| tables.remove_service_id(key).expect("removed"))),
        ("service_ids 1", Box::new(move |tables| tables.put_service_id(stranger, index).expect("put"))),
        (
            "service_hints 1",
            Box::new(move |tables| tables.put_hint(hint::place_of(stranger), Hint::to(index))),
        ),
        ("vips 1", Box::new(move |tables| tables.remove_address(AddressSet::Vips, vip, seed))),
        ("vips 1", Box::new(move |tables| put_stranger(tables, AddressSet::Vips, "10.0.0.66", seed))),
        ("vips_v6 1", Box::new(move |tables| put_stranger(tables, AddressSet::Vips, "fd00::66", seed))),
        ("sources 1", Box::new(move |tables| put_stranger(tables, AddressSet::Sources, "10.0.0.66", seed))),
        ("sources_v6 1", Box::new(move |tables| put_stranger(tables, AddressSet::Sources, "fd00::66", seed))),
    ];
    if let Some(slot) = (0..64).find(|slot| tables.port(*slot).is_some()) {
        let other = tables.port(slot).unwrap_or(0) - 1;
        damages
            .push(("ports 1", Box::new(move |tables| tables.put_port(slot, other).expect("an interface"))));
    }
    for (number, (what, damage)) in damages.iter_mut().enumerate() {
        damage(&mut tables);
        wait::until(&format!("the damage of {what} is put right"), SOON, || {
            repaired(&daemon).is_ok_and(|repaired| repaired > number as u64)
        })?;
        assert_eq!(repaired(&daemon)?, number as u64 + 1, "{}", daemon.log());
        let log = daemon.log();
        let last = log.lines().rfind(|line| line.contains("somebody else has written"));
        // Two episodes in a row are one.
        assert!(last.is_some_and(|line| line.contains("rows=")), "{log}");
        lab.client().who(service)?;
    }
    assert_eq!(tables.service_ids()?, ids);
    assert_eq!(tables.hints(), hints);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn tables_that_contradict_themselves_are_not_taken_over() -> Result<()> {
    let (lab, mut daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    let start = format!("run --instance {} -i {OUTER}", daemon.instance());
    daemon.end_by(Signal::SIGKILL)?;
    let tables = tables(&daemon)?;
    let row = member(&tables)?;
    let right = row.load(0);
    row.store(0, 0x7777);
    let said = lbxdp(&lab, &start)?.expect_err("refused");
    assert!(said.contains("lbxdp unload") && said.contains("its list names server"), "{said}");
    row.store(0, right);
    // A table is missing.
    let pin = instance(&daemon)?.map_pins().join("turns");
    let aside = pin.with_file_name("turns-aside");
    std::fs::rename(&pin, &aside)?;
    let said = lbxdp(&lab, &start)?.expect_err("refused");
    assert!(said.contains("lbxdp unload") && said.contains("`turns` is missing"), "{said}");
    std::fs::rename(&aside, &pin)?;
    // Another version's.
    let (ours, other) = (instance(&daemon)?.layout_pins(), instance(&daemon)?.pins().join("v0"));
    assert_ne!(LAYOUT_VERSION, "0");
    std::fs::rename(&ours, &other)?;
    let said = lbxdp(&lab, &start)?.expect_err("refused");
    assert!(said.contains("another version") && said.contains("lbxdp unload"), "{said}");
    std::fs::rename(&other, &ours)?;
    // None of this has hurt anybody.
    assert_eq!(lab.client().who(lab.service(HTTP_PORT))?, "s2");
    daemon.start_again(&lab.director, lab.interfaces(), &[])?;
    assert_eq!(repaired(&daemon)?, 0, "{}", daemon.log());
    assert_eq!(lab.client().who(lab.service(HTTP_PORT))?, "s1");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_daemon_that_leaves_is_taken_over_and_unload_removes_all() -> Result<()> {
    let lab = Lab::build(Plan { servers: 1, ..Plan::default() })?;
    let name = lab.instance();
    let mut daemon = Daemon::start(&daemon::binary()?, &lab.director, &name, lab.interfaces(), &["--leave"])?;
    let service = lab.service(HTTP_PORT);
    daemon.must(&format!("-A -t {service} -s rr"))?;
    daemon.must(&format!("-a -t {service} -r {}", lab.servers[0].address))?;
    daemon.end_by(Signal::SIGTERM)?;
    assert_eq!(lab.client().who(service)?, "s1");
    daemon.start_again(&lab.director, lab.interfaces(), &["--leave"])?;
    assert_eq!(counters(&daemon, &service.to_string())?[0], 1);
    daemon.end_by(Signal::SIGTERM)?;
    assert!(saved(&daemon)?.exists());
    assert_eq!(lbxdp(&lab, &format!("unload --instance {name}"))?, Ok(()));
    assert!(!saved(&daemon)?.exists() && !instance(&daemon)?.pins().exists());
    assert!(!lab.director.ip(&format!("link show dev {OUTER}"))?.contains("prog/xdp"));
    // And so does a clean end, if nothing is to be left.
    daemon.start_again(&lab.director, lab.interfaces(), &[])?;
    assert_eq!(daemon.must("-S -n")?, "");
    daemon.end_by(Signal::SIGTERM)?;
    assert!(!saved(&daemon)?.exists() && !instance(&daemon)?.pins().exists());
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn after_a_reboot_the_saved_configuration_is_restored() -> Result<()> {
    let (lab, mut daemon) = serve(Plan { servers: 3, ..Plan::default() }, "wrr", HTTP_PORT, &[3, 0, 1])?;
    daemon.must("--set 77 0 0")?;
    let listing = daemon.must("-L -n --nosort")?;
    daemon.end_by(Signal::SIGKILL)?;
    // What a reboot does to the BPF file system.
    std::fs::remove_dir_all(instance(&daemon)?.pins())?;
    wait::until("the program is off", SOON, || {
        lab.director.ip(&format!("link show dev {OUTER}")).is_ok_and(|text| !text.contains("prog/xdp"))
    })?;
    daemon.start_again(&lab.director, lab.interfaces(), &[])?;
    assert!(daemon.log().contains("restored"), "{}", daemon.log());
    let heads = |listing: &str| listing.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(heads(&daemon.must("-L -n --nosort")?), heads(&listing));
    assert!(daemon.must("-L --timeout")?.contains("77 120 300"));
    lab.client().who(lab.service(HTTP_PORT))?;
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn interfaces_come_and_go_with_a_take_over() -> Result<()> {
    let (lab, mut daemon) =
        serve(Plan { legs: Legs::Two, servers: 1, ..Plan::default() }, "rr", HTTP_PORT, &[1])?;
    let service = lab.service(HTTP_PORT);
    let has_program = |interface: &str| -> Result<bool> {
        Ok(lab.director.ip(&format!("link show dev {interface}"))?.contains("prog/xdp"))
    };
    daemon.end_by(Signal::SIGKILL)?;
    daemon.start_again(&lab.director, &[OUTER], &[])?;
    assert!(daemon.log().contains("not named any more"), "{}", daemon.log());
    wait::until("the inner interface is free", SOON, || has_program(INNER).is_ok_and(|has| !has))?;
    assert_eq!(lab.client().who(service)?, "s1");
    daemon.end_by(Signal::SIGKILL)?;
    daemon.start_again(&lab.director, &[OUTER, INNER], &[])?;
    assert!(has_program(OUTER)? && has_program(INNER)?);
    // Another name meanwhile.
    daemon.end_by(Signal::SIGKILL)?;
    lab.director.ip(&format!("link set {OUTER} down"))?;
    lab.director.ip(&format!("link set {OUTER} name lan.7"))?;
    lab.director.ip("link set lan.7 up")?;
    daemon.start_again(&lab.director, &["lan.7"], &[])?;
    assert!(status(&daemon)?.contains("lan.7, native XDP"));
    assert!(daemon.log().contains("has another name"), "{}", daemon.log());
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn an_interface_that_is_back_is_attached_again() -> Result<()> {
    let lab = Lab::build(Plan { servers: 1, ..Plan::default() })?;
    lab.director.ip("link add extra type veth peer name extra-peer")?;
    let daemon = Daemon::start(&daemon::binary()?, &lab.director, &lab.instance(), &[OUTER, "extra"], &[])?;
    lab.director.ip("link del extra")?;
    wait::until("status misses the interface", SOON, || {
        status(&daemon).is_ok_and(|text| text.contains("extra, GONE"))
    })?;
    lab.director.ip("link add extra type veth peer name extra-peer")?;
    wait::until("it is attached again", SOON, || {
        status(&daemon).is_ok_and(|text| text.contains("extra, native XDP"))
    })?;
    assert!(lab.director.ip("link show dev extra")?.contains("prog/xdp"));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_next_hop_that_nobody_tells_now_is_not_forgotten_before_it_is_wrong() -> Result<()> {
    let (lab, mut daemon) = serve(Plan { servers: 1, ..Plan::default() }, "rr", ECHO_PORT, &[1])?;
    let mut held = lab.client().open(lab.service(ECHO_PORT))?;
    held.echo("one")?;
    daemon.end_by(Signal::SIGKILL)?;
    // The server answers no ARP, and the director's kernel knows no neighbour: the row alone knows.
    lab.servers[0].namespace.set("ipv4/conf/all/arp_ignore", "8")?;
    lab.director.ip(&format!("neigh flush dev {OUTER}"))?;
    daemon.start_again(&lab.director, lab.interfaces(), &[])?;
    assert_eq!(held.echo("two")?, "s1 two");
    let is_unknown = |daemon: &Daemon| status(daemon).map(|text| text.contains("UNKNOWN"));
    wait::until("nobody has answered", SOON, || is_unknown(&daemon).unwrap_or(false))?;
    lab.servers[0].namespace.set("ipv4/conf/all/arp_ignore", "0")?;
    wait::until("the next hop is known", SOON, || is_unknown(&daemon).is_ok_and(|unknown| !unknown))?;
    assert_eq!(held.echo("three")?, "s1 three");
    Ok(())
}
