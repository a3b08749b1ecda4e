//! `lbxdp watch`: packets as they come, with what became of them; and nothing is left of it when nobody watches any more.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp::tables::pins::Instance;
use lbxdp_tests::http::{ECHO_PORT, HTTP_PORT};
use lbxdp_tests::service::{numbers, offer, offer_by, serve};
use lbxdp_tests::topology::{CLIENT, INNER, OUTER};
use lbxdp_tests::traffic::Stream;
use lbxdp_tests::traffic::stream::STREAM_PORT;
use lbxdp_tests::{Daemon, Lab, Legs, Plan, Watcher, wait};
use nix::sys::signal::Signal;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::{Block, PcapNgReader};

const SOON: Duration = Duration::from_secs(20);
/// Nobody serves here.
const EMPTY_PORT: u16 = 7777;
/// There is no service here.
const OTHER_PORT: u16 = 7778;

/// The name of the program on an interface of the director.
fn attached(lab: &Lab, interface: &str) -> Result<String> {
    let text = lab.director.ip(&format!("-d link show dev {interface}"))?;
    let mut words = text.split_whitespace().skip_while(|word| *word != "prog/xdp");
    let name = words.by_ref().skip_while(|word| *word != "name").nth(1);
    name.map(str::to_owned).with_context(|| format!("no program has a name: {text}"))
}

/// Waits until the usual program is on an interface, and all that was there for watching has gone.
fn wait_for_the_usual_program(lab: &Lab, daemon: &Daemon, interface: &str) -> Result<()> {
    let pins = daemon.instance().parse::<Instance>()?.watch_pins();
    wait::until("the usual program is back", SOON, || {
        attached(lab, interface).is_ok_and(|name| name == "lbxdp") && !pins.exists()
    })
}

/// Sends so many datagrams to a service from one port, and waits until the director has counted them.
fn send(lab: &Lab, daemon: &Daemon, port: u16, count: u64) -> Result<SocketAddrV4> {
    let service = lab.service(port);
    let counted = |daemon: &Daemon| -> Result<u64> {
        // Connections, packets.
        Ok(numbers(daemon, "-L -n --stats --exact", &service.to_string())?.get(1).copied().unwrap_or(0))
    };
    let before = counted(daemon)?;
    let socket = lab.client.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    for _ in 0..count {
        socket.send_to(b"?", service)?;
    }
    wait::until("all datagrams are counted", SOON, || {
        counted(daemon).is_ok_and(|now| now == before + count)
    })?;
    Ok(SocketAddrV4::new(CLIENT, socket.local_addr()?.port()))
}

/// The number before some words of a watcher's last line; 0 if they are not there.
fn said(text: &str, words: &str) -> u64 {
    let before = text.lines().last().unwrap_or_default().split(words).next().filter(|before| *before != text);
    let number = before.and_then(|before| before.split_whitespace().last());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn each_packet_is_told_with_what_became_of_it() -> Result<()> {
    let (lab, daemon) = serve(Plan { servers: 1, ..Plan::default() }, "rr", HTTP_PORT, &[1])?;
    offer(&lab, &daemon, "-u", EMPTY_PORT, "rr", &[])?;
    offer_by(&lab, &daemon, "-i", "-u", ECHO_PORT, "rr", &[1])?;
    assert_eq!(attached(&lab, OUTER)?, "lbxdp");
    let watcher = Watcher::start(&daemon, &[])?;
    assert_eq!(attached(&lab, OUTER)?, "lbxdp_watched");
    assert_eq!(watcher.said(), "watching eth0: every packet, at most 1000 a second; Ctrl-C ends");
    let mut held = lab.client().open(lab.service(HTTP_PORT))?;
    held.get("/")?;
    let from = format!("tcp {CLIENT}:{} > {}", held.source_port()?, lab.service(HTTP_PORT));
    let server = format!("forwarded to {} by DR", lab.servers[0].address);
    for flags in ["S", ".", "P."] {
        watcher.wait_for(&[&format!("eth0 {from} {flags}: "), &server])?;
    }
    held.close()?;
    watcher.wait_for(&[&format!("{from} F.: "), &server])?;
    assert!(lab.client().datagram(lab.service(EMPTY_PORT), b"?").is_err());
    watcher.wait_for(&[&format!("> {}: answered no_server", lab.service(EMPTY_PORT)), "udp"])?;
    assert!(lab.client().open(lab.service(OTHER_PORT)).is_err());
    watcher.wait_for(&[&format!("> {} S: passed no_service", lab.service(OTHER_PORT))])?;
    send(&lab, &daemon, ECHO_PORT, 1)?;
    watcher.wait_for(&[&format!("forwarded to {} by TUN (ipip)", lab.servers[0].address)])?;
    // What is not for a VIP is nobody's business, if nobody asks for it: ARP was among it.
    assert!(!watcher.lines().iter().any(|line| line.contains("not_ours")));
    let ended = watcher.stop()?;
    assert_eq!(ended.code, Some(0));
    println!("{}\n{}", ended.lines.join("\n"), ended.said);
    let shown = format!("{} packets shown", ended.lines.len());
    let last = ended.said.lines().last().unwrap_or_default();
    assert!(last.starts_with(&shown), "{last}");
    assert!(!["--sample", "--rate", "--only", "lost"].iter().any(|why| last.contains(why)), "{last}");
    wait_for_the_usual_program(&lab, &daemon, OUTER)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_watcher_sees_what_it_asks_for_and_is_told_what_it_does_not_see() -> Result<()> {
    const PACKETS: u64 = 3000;
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    offer(&lab, &daemon, "-u", EMPTY_PORT, "rr", &[1])?;
    let filter = format!("udp client {CLIENT} service {}", lab.service(EMPTY_PORT));
    // One of ten, and all others are told.
    let sampled = Watcher::start(&daemon, &["--sample", "10", "--rate", "1000000", "--filter", &filter])?;
    assert!(sampled.said().contains("1 of 10 packets (udp client"), "{}", sampled.said());
    // At most a hundred a second.
    let limited = Watcher::start(&daemon, &["--rate", "100", "--filter", "udp"])?;
    // Of no packet that comes.
    let other = Watcher::start(&daemon, &["--filter", "client 192.0.2.0/24"])?;
    // None of these outcomes.
    let drops = Watcher::start(&daemon, &["--only", "drop", "--filter", &filter])?;
    let counted = Watcher::start(&daemon, &["--count", "3", "--filter", "tcp", "--json"])?;
    send(&lab, &daemon, EMPTY_PORT, PACKETS)?;
    lab.client().who(lab.service(HTTP_PORT))?;
    let counted = counted.wait()?;
    assert_eq!((counted.code, counted.lines.len()), (Some(0), 3), "{}", counted.said);
    let first: serde_json::Value = serde_json::from_str(&counted.lines[0])?;
    assert_eq!(first["verdict"], "forwarded");
    assert_eq!(first["packet"]["detail"], "S");
    assert_eq!(first["server"]["method"], "DR");
    let sampled = sampled.stop()?;
    let shown = sampled.lines.len() as u64;
    // Twelve times the spread.
    ensure!((100..500).contains(&shown), "{shown} of {PACKETS}");
    assert_eq!(shown + said(&sampled.said, " left out by --sample"), PACKETS, "{}", sampled.said);
    let limited = limited.stop()?;
    let shown = limited.lines.len() as u64;
    ensure!((10..PACKETS).contains(&shown), "{shown} of {PACKETS}");
    assert_eq!(shown + said(&limited.said, " more than --rate"), PACKETS, "{}", limited.said);
    let other = other.stop()?;
    assert_eq!(other.lines.len(), 0);
    assert!(other.said.ends_with("0 packets shown, all there were"), "{}", other.said);
    let drops = drops.stop()?;
    assert_eq!(drops.lines.len(), 0);
    assert_eq!(said(&drops.said, " of another outcome"), PACKETS, "{}", drops.said);
    wait_for_the_usual_program(&lab, &daemon, OUTER)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn only_drops_are_shown_to_who_asks_for_drops() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    offer(&lab, &daemon, "-u", EMPTY_PORT, "rr", &[])?;
    let drops = Watcher::start(&daemon, &["--only", "drop"])?;
    let reason = Watcher::start(&daemon, &["--only", "no_service", "forward"])?;
    lab.client().who(lab.service(HTTP_PORT))?;
    assert!(lab.client().open(lab.service(OTHER_PORT)).is_err());
    assert!(lab.client().datagram(lab.service(EMPTY_PORT), b"?").is_err());
    let line = drops.wait_for(&["answered no_server"])?;
    assert!(line.contains(&format!("> {}:", lab.service(EMPTY_PORT))), "the packet as it came: {line}");
    reason.wait_for(&["passed no_service"])?;
    reason.wait_for(&["forwarded"])?;
    assert!(drops.stop()?.lines.iter().all(|line| line.contains(" no_server")));
    assert!(reason.stop()?.lines.iter().all(|line| !line.contains(" no_server")));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn over_two_legs_the_way_out_is_told_and_one_leg_can_be_watched() -> Result<()> {
    let (lab, daemon) = serve(Plan { legs: Legs::Two, ..Plan::default() }, "rr", HTTP_PORT, &[1, 1])?;
    let all = Watcher::start(&daemon, &[])?;
    assert_eq!(
        (attached(&lab, OUTER)?, attached(&lab, INNER)?),
        ("lbxdp_watched".into(), "lbxdp_watched".into())
    );
    lab.client().who(lab.service(HTTP_PORT))?;
    all.wait_for(&["eth0 tcp", " S: forwarded to ", " by DR via eth1"])?;
    let inner = Watcher::start(&daemon, &["--interface", INNER])?;
    all.stop()?;
    wait::until("the outer leg is not watched any more", SOON, || {
        attached(&lab, OUTER).is_ok_and(|name| name == "lbxdp")
    })?;
    assert_eq!(attached(&lab, INNER)?, "lbxdp_watched");
    lab.client().who(lab.service(HTTP_PORT))?;
    assert_eq!(inner.stop()?.lines, [""; 0]);
    wait_for_the_usual_program(&lab, &daemon, INNER)?;
    let refused = Watcher::start(&daemon, &["--interface", "eth7"]).expect_err("no such interface");
    assert!(refused.to_string().contains("eth7 is none of the interfaces"), "{refused:#}");
    Ok(())
}

/// A packet of a capture: its interface, its bytes, its comment and its direction.
type Captured = (String, Vec<u8>, String, u32);

fn capture(path: &Path) -> Result<Vec<Captured>> {
    let bytes = fs::read(path)?;
    let mut reader = PcapNgReader::new(&bytes[..])?;
    let (mut interfaces, mut packets) = (Vec::new(), Vec::new());
    while let Some(block) = reader.next_block() {
        match block?.0 {
            Block::InterfaceDescription(block) => {
                let name = block.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                    _ => None,
                });
                interfaces.push(name.context("an interface without a name")?);
            }
            Block::EnhancedPacket(packet) => {
                let (mut comment, mut direction) = (String::new(), 0);
                for option in &packet.options {
                    match option {
                        EnhancedPacketOption::Common(CommonOption::Comment(text)) => {
                            comment = text.to_string();
                        }
                        EnhancedPacketOption::Flags(flags) => direction = *flags,
                        _ => {}
                    }
                }
                let interface = interfaces.get(packet.interface_id as usize).context("no such interface")?;
                packets.push((interface.clone(), packet.data.to_vec(), comment, direction));
            }
            _ => {}
        }
    }
    Ok(packets)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_capture_has_reasons_as_comments_and_packets_as_they_came_and_left() -> Result<()> {
    let (lab, daemon) =
        serve(Plan { legs: Legs::Two, servers: 1, ..Plan::default() }, "rr", HTTP_PORT, &[1])?;
    offer(&lab, &daemon, "-u", EMPTY_PORT, "rr", &[])?;
    let path = std::env::temp_dir().join(format!("{}.pcapng", lab.instance()));
    let watcher = Watcher::start(&daemon, &["--write", &path.to_string_lossy()])?;
    let mut held = lab.client().open(lab.service(HTTP_PORT))?;
    held.get("/bytes/1000")?;
    let port = held.source_port()?;
    held.close()?;
    assert!(lab.client().datagram(lab.service(EMPTY_PORT), b"?").is_err());
    wait::until("the last packet is written", SOON, || {
        capture(&path)
            .is_ok_and(|packets| packets.iter().any(|(.., comment, _)| comment.contains("no_server")))
    })?;
    let ended = watcher.stop()?;
    assert_eq!(ended.lines, [""; 0]);
    let packets = capture(&path)?;
    let server = lab.servers[0].address;
    let forwarded: Vec<_> =
        packets.iter().filter(|(.., comment, _)| comment.starts_with("lbxdp: forwarded")).collect();
    ensure!(forwarded.len() >= 4, "{packets:?}");
    for (interface, _, comment, direction) in &forwarded {
        assert_eq!((interface.as_str(), *direction), (OUTER, 1));
        assert_eq!(*comment, format!("lbxdp: forwarded to {server} by DR via eth1"));
    }
    let sent: Vec<_> = packets.iter().filter(|(.., direction)| *direction == 2).collect();
    let answered: Vec<_> =
        packets.iter().filter(|(.., comment, _)| comment == "lbxdp: answered, no_server").collect();
    assert_eq!((answered.len(), sent.len()), (1, forwarded.len() + 1));
    for ((_, before, ..), (interface, after, comment, _)) in forwarded.iter().zip(&sent) {
        assert_eq!((interface.as_str(), comment.as_str()), (INNER, "lbxdp: as it was sent, forwarded"));
        // Other MAC addresses, a hop less (and its checksum), and all else as it was.
        assert_ne!(before[..12], after[..12]);
        assert_eq!(after[22], before[22] - 1);
        assert_eq!((&before[12..22], &before[26..]), (&after[12..22], &after[26..]));
    }
    // Another reader: what it makes of the packets as they came.
    let read = Command::new("tcpdump").args(["-nr", &path.to_string_lossy()]).output()?;
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    ensure!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    assert_eq!(text.lines().count(), packets.len(), "{text}");
    let syn = format!("IP {CLIENT}.{port} > {}.{HTTP_PORT}: Flags [S]", lab.vip());
    assert_eq!(text.matches(&syn).count(), 2, "as it came and as it left: {text}");
    fs::remove_file(&path)?;
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_watcher_that_is_killed_leaves_nothing_and_no_packet_is_lost() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    offer(&lab, &daemon, "-u", STREAM_PORT, "rr", &[1, 1])?;
    let mut held = lab.client().open(lab.service(HTTP_PORT))?;
    held.get("/")?;
    let stream = Stream::start(&lab, 1)?;
    for _ in 0..3 {
        let (one, other) = (Watcher::start(&daemon, &[])?, Watcher::start(&daemon, &["--filter", "tcp"])?);
        held.get("/bytes/1000")?;
        one.wait_for(&["udp", "forwarded"])?;
        other.wait_for(&["tcp", "forwarded"])?;
        let killed = one.kill()?;
        assert_eq!(killed.code, None);
        held.get("/bytes/1000")?;
        assert_eq!(attached(&lab, OUTER)?, "lbxdp_watched", "the other one still watches");
        assert!(other.kill()?.lines.iter().all(|line| line.contains(" tcp ")));
        wait_for_the_usual_program(&lab, &daemon, OUTER)?;
    }
    held.get("/bytes/100000")?;
    let report = stream.finish(&lab)?;
    report.must_be_complete()?;
    let counted = numbers(&daemon, "-L -n --stats --exact", &lab.service(STREAM_PORT).to_string())?;
    assert_eq!(counted.get(1), Some(&report.sent), "every packet is counted once");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_daemon_that_is_killed_while_somebody_watches_is_followed_by_the_usual_program() -> Result<()> {
    let (lab, mut daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    offer(&lab, &daemon, "-u", STREAM_PORT, "rr", &[1, 1])?;
    let mut held = lab.client().open(lab.service(HTTP_PORT))?;
    held.get("/")?;
    let stream = Stream::start(&lab, 1)?;
    let watcher = Watcher::start(&daemon, &[])?;
    watcher.wait_for(&["udp", "forwarded"])?;
    daemon.end_by(Signal::SIGKILL)?;
    let ended = watcher.wait()?;
    assert_eq!(ended.code, Some(1));
    assert!(ended.said.contains("has gone away"), "{}", ended.said);
    assert_eq!(attached(&lab, OUTER)?, "lbxdp_watched", "nobody is there to put the usual one back");
    held.get("/bytes/100000").context("while no daemon runs")?;
    daemon.start_again(&lab.director, lab.interfaces(), &[])?;
    wait_for_the_usual_program(&lab, &daemon, OUTER)?;
    held.get("/bytes/100000").context("after the take-over")?;
    // And it can be watched as ever.
    let watcher = Watcher::start(&daemon, &["--count", "5"])?;
    assert_eq!(watcher.wait()?.lines.len(), 5);
    wait_for_the_usual_program(&lab, &daemon, OUTER)?;
    let report = stream.finish(&lab)?;
    report.must_be_complete()?;
    let counted = numbers(&daemon, "-L -n --stats --exact", &lab.service(STREAM_PORT).to_string())?;
    assert_eq!(counted.get(1), Some(&report.sent), "every packet is counted once");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_daemon_that_is_to_leave_its_packet_path_leaves_the_usual_one() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let binary = lbxdp_tests::daemon::binary()?;
    let mut daemon = Daemon::start(&binary, &lab.director, &lab.instance(), lab.interfaces(), &["--leave"])?;
    let watcher = Watcher::start(&daemon, &[])?;
    assert_eq!(attached(&lab, OUTER)?, "lbxdp_watched");
    daemon.end_by(Signal::SIGTERM)?;
    assert_eq!(attached(&lab, OUTER)?, "lbxdp");
    assert_eq!(watcher.wait()?.code, Some(1));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn an_interface_with_another_mac_address_is_watched_on() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    let watcher = Watcher::start(&daemon, &[])?;
    lab.director.ip(&format!("link set dev {OUTER} address 02:00:00:00:77:01"))?;
    wait::until("the interface is watched again", SOON, || {
        daemon.log().matches("is watched interface=").count() == 2
    })?;
    assert_eq!(attached(&lab, OUTER)?, "lbxdp_watched");
    wait::until("the router knows the new address", SOON, || {
        lab.client().who(lab.service(HTTP_PORT)).is_ok()
    })?;
    watcher.wait_for(&["tcp", "forwarded"])?;
    watcher.stop()?;
    wait_for_the_usual_program(&lab, &daemon, OUTER)?;
    lab.client().who(lab.service(HTTP_PORT)).map(drop)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn as_many_as_there_are_seats_can_watch_and_no_more() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    let mut watchers = (0..8).map(|_| Watcher::start(&daemon, &[])).collect::<Result<Vec<_>>>()?;
    let refused = Watcher::start(&daemon, &[]).expect_err("all seats are taken");
    assert!(refused.to_string().contains("8 watch already"), "{refused:#}");
    lab.client().who(lab.service(HTTP_PORT))?;
    for watcher in &watchers {
        watcher.wait_for(&["tcp", " S: forwarded"])?;
    }
    watchers.pop().context("a watcher")?.stop()?;
    Watcher::start(&daemon, &[])?.stop()?;
    drop(watchers);
    wait_for_the_usual_program(&lab, &daemon, OUTER)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_closed_pipe_ends_a_watch_without_a_word() -> Result<()> {
    let (lab, daemon) = serve(Plan::default(), "rr", HTTP_PORT, &[1, 1])?;
    let command = format!(
        "{} watch --instance {} 2>{path} | head -n 1",
        lbxdp_tests::daemon::binary()?.display(),
        daemon.instance(),
        path = std::env::temp_dir().join(format!("{}.err", lab.instance())).display(),
    );
    let mut pipe = Command::new("sh").args(["-c", &command]).stdout(std::process::Stdio::piped()).spawn()?;
    let said = std::env::temp_dir().join(format!("{}.err", lab.instance()));
    wait::until("the pipe has ended", SOON, || {
        // Until it does, there is always something to be shown.
        lab.client().who(lab.service(HTTP_PORT)).is_ok() && !matches!(pipe.try_wait(), Ok(None))
    })?;
    wait_for_the_usual_program(&lab, &daemon, OUTER)?;
    let text = fs::read_to_string(&said)?;
    assert_eq!(text.lines().count(), 1, "{text}");
    fs::remove_file(said)?;
    Ok(())
}
