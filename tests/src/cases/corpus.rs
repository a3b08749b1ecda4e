//! Frames worth keeping (`tests/data/corpus.txt`): for each way through the stages and each end of one, as few frames as lead
//! there. They were found by chance, and are replayed on the host and in the kernel.
//!
//! A line has the stages that the last frame goes through, then what becomes of it, then the frames in hexadecimal; all begin
//! with the tables of [`setup`].

use std::collections::BTreeMap;
use std::fmt::Write;

use lbxdp_common::forward::{TunnelChecksum, TunnelKind};
use lbxdp_common::server::{Method, ServerFlags};
use lbxdp_common::service::{ServiceKey, widened};
use lbxdp_common::settings::Rules;
use lbxdp_common::state::{State, TcpState};
use lbxdp_common::{Protocol, Reason, Scheduler, Verdict};

use super::VIP_V6;
use super::host::Host;
use super::memory::{self, Runner};
use super::random::{Dice, v6_server};
use super::setup::{Setup, key, server_row};
use super::tunnels::through;

use Protocol::{Sctp, Tcp, Udp};

/// The way of a frame.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Course {
    /// The names of the stages, in order.
    pub stages: Vec<String>,
    /// A verdict or a reason.
    pub end: String,
}

/// The kept frames, by the way of the last one.
pub type Corpus = BTreeMap<Course, Vec<Vec<u8>>>;

/// A service of every kind: what is near and what is far, by every method, and what cannot be reached.
pub fn setup() -> Setup {
    let by = Scheduler::RoundRobin;
    let mut setup = Setup::new();
    setup.servers.extend((5..=11).map(server_row));
    let inside = |setup: Setup, number: u8, protocol: Protocol, port: u16, own: u16| {
        setup.server(number, |row| {
            row.flags = row.flags.by(Method::MASQUERADE);
            row.port_number = own.to_be_bytes();
            row.service = ServiceKey::address(super::VIP, port.to_be_bytes(), protocol.raw());
        })
    };
    let setup = inside(setup, 2, Tcp, 80, 8080);
    let setup = inside(setup, 9, Udp, 1023, 1024);
    let setup = inside(setup, 10, Sctp, 5000, 5001);
    let setup = setup
        .server(1, |row| row.mtu = 600)
        .server(3, |row| through(row, TunnelKind::Ipip, TunnelChecksum::None, false))
        .server(4, |row| {
            row.flags = row.flags.by(Method::MASQUERADE).with(ServerFlags::IPV6);
            row.address = v6_server(4);
            row.port_number = 8080u16.to_be_bytes();
            row.service = ServiceKey::address_v6(VIP_V6, 80u16.to_be_bytes(), Tcp.raw());
        })
        .server(5, |row| row.flags = row.flags.with(ServerFlags::LOCAL))
        .server(6, |row| row.next_hop = [0; 6])
        .server(7, |row| row.flags = ServerFlags::default())
        .server(8, |row| through(row, TunnelKind::Gue, TunnelChecksum::Full, true))
        .server(9, |row| row.flags = row.flags.with(ServerFlags::LOCAL))
        .server(10, |row| row.address = widened([10, 0, 0, 110]))
        .server_elsewhere(10)
        .server(11, |row| {
            through(row, TunnelKind::Ipip, TunnelChecksum::None, false);
            row.mtu = 15;
        });
    let setup = setup
        .service(Tcp, 80, by, &[(2, 1)])
        .service(Udp, 53, by, &[(1, 1)])
        .service(Tcp, 443, by, &[(3, 1), (8, 1)])
        .service(Udp, 22, by, &[(1, 0)])
        .service(Sctp, 5000, by, &[(10, 1)])
        .service(Tcp, 22, by, &[(5, 1)])
        .service(Tcp, 1023, by, &[(6, 1)])
        .service(Udp, 1023, by, &[(9, 1)])
        .service(Tcp, 53, by, &[(1, 1)])
        .service(Tcp, 21, by, &[(1, 1)])
        .persistent(300, [255; 4])
        .service_v6(Tcp, 80, by, &[(4, 1)])
        .service_v6(Udp, 53, by, &[(1, 1)])
        .service_v6(Sctp, 5000, by, &[(3, 1)])
        .service_v6(Tcp, 443, by, &[(8, 1)])
        .service_v6(Tcp, 22, by, &[(11, 1)]);
    let rules =
        [Rules::FTP, Rules::IPV6, Rules::TUNNELS, Rules::MASQUERADE, Rules::PMTU_DISC, Rules::SLOPPY_TCP];
    rules
        .into_iter()
        .fold(setup, Setup::rule)
        .connection(key(Tcp, 40_001, 443), 7, State::tcp(TcpState::Established), 600_000)
        .connection(key(Udp, 40_002, 53), 1, State::UDP, -1)
        .client_way(Dice::new(1).client_way())
}

/// The way that the last frame took.
///
/// # Panics
///
/// If there was none.
pub fn course(host: &Host) -> Course {
    let end = match host.last().expect("a frame was run") {
        Ok(Verdict::Transmit) => "transmit".into(),
        Ok(Verdict::Redirect(_)) => "redirect".into(),
        Ok(Verdict::Leave(_)) => "leave".into(),
        Ok(Verdict::Local) => "local".into(),
        Ok(Verdict::Answered(reason)) => format!("answered:{}", reason.name()),
        Err(reason) => reason.name().into(),
    };
    Course { stages: host.stages().iter().map(|stage| stage.name().into()).collect(), end }
}

impl Course {
    /// The reason in its end, if there is one.
    pub fn reason(&self) -> Option<Reason> {
        Reason::from_name(self.end.strip_prefix("answered:").unwrap_or(&self.end))
    }
}

fn run(host: &mut Host, frame: &[u8]) -> Vec<u8> {
    let mut out = frame.to_vec();
    host.run(&mut out);
    host.held();
    memory::fill_total_limit(host);
    out
}

/// The way of the last of these frames, where there was nothing else before.
pub fn replayed(host: &mut Host, frames: &[Vec<u8>]) -> Course {
    memory::write(host, &setup());
    for frame in frames {
        run(host, frame);
    }
    course(host)
}

/// Looks for new ways by so many frames by chance.
pub fn found(host: &mut Host, seed: u64, frames: u32) -> Corpus {
    const AT_ONCE: u32 = 500;
    let (mut dice, mut corpus) = (Dice::new(seed), Corpus::new());
    let mut other = Host::default();
    for _ in 0..frames.div_ceil(AT_ONCE) {
        memory::write(host, &setup());
        let mut before: Vec<Vec<u8>> = Vec::new();
        for _ in 0..AT_ONCE {
            before.push(dice.any_frame());
            let left = run(host, before.last().expect("a frame"));
            if matches!(host.last(), Some(Ok(_))) {
                dice.show(&left);
            }
            let course = course(host);
            match corpus.get(&course) {
                None => {
                    let needed = shortened(&mut other, &course, before.clone());
                    corpus.insert(course, needed);
                }
                // What is shorter by more than a little is worth a look.
                Some(known) => {
                    let alone = &before[before.len() - 1..];
                    let bytes: usize = known.iter().map(Vec::len).sum();
                    if alone[0].len() + 64 < bytes && replayed(&mut other, alone) == course {
                        corpus.insert(course, alone.to_vec());
                    }
                }
            }
        }
    }
    corpus
}

/// Those of the frames, the last one included, that are needed for its way.
fn shortened(host: &mut Host, course: &Course, mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut part = frames.len() - 1;
    while part > 0 {
        let mut at = 0;
        while at + part < frames.len() {
            let fewer = [&frames[..at], &frames[at + part..]].concat();
            if replayed(host, &fewer) == *course {
                frames = fewer;
            } else {
                at += part;
            }
        }
        part /= 2;
    }
    frames
}

/// The corpus as a file's text.
pub fn text(corpus: &Corpus) -> String {
    let line = |(course, frames): (&Course, &Vec<Vec<u8>>)| {
        let stages = if course.stages.is_empty() { "-".into() } else { course.stages.join(">") };
        let frames: Vec<String> = frames.iter().map(|frame| hex(frame)).collect();
        format!("{stages} {} {}\n", course.end, frames.join(" "))
    };
    corpus.iter().map(line).collect()
}

/// The corpus that is kept.
///
/// # Panics
///
/// If the file is none.
pub fn kept() -> Corpus {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let (stages, end) = words.next().zip(words.next()).expect("stages and an end");
        let stages = stages.split('>').filter(|stage| *stage != "-").map(str::to_owned).collect();
        (Course { stages, end: end.into() }, words.map(bytes).collect())
    };
    include_str!("../../data/corpus.txt").lines().map(line).collect()
}

/// Bytes that each are one more than the one before are written as the first one and how many they are: `07+20.`
const LEAST_RUN: usize = 8;

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    while let [first, ..] = rest {
        let run = (0..=u8::MAX)
            .cycle()
            .zip(rest)
            .take_while(|(more, byte)| **byte == first.wrapping_add(*more))
            .count();
        let _ = write!(text, "{first:02x}");
        let taken = if run < LEAST_RUN { 1 } else { run };
        if taken > 1 {
            let _ = write!(text, "+{taken}.");
        }
        rest = &rest[taken..];
    }
    text
}

fn bytes(hex: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), hex);
    while let Some((byte, behind)) = rest.split_at_checked(2) {
        bytes.push(u8::from_str_radix(byte, 16).expect("two hexadecimal digits"));
        rest = behind;
        if let Some((count, behind)) = behind.strip_prefix('+').and_then(|run| run.split_once('.')) {
            let count: usize = count.parse().expect("how many bytes");
            for _ in 1..count {
                bytes.push(bytes[bytes.len() - 1].wrapping_add(1));
            }
            rest = behind;
        }
    }
    bytes
}
