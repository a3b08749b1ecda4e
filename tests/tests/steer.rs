//! The packet path on the host: every case, and frames by chance.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use lbxdp_common::server::{ServerFlags, ServerId};
use lbxdp_common::settings::Rules;
use lbxdp_common::steer::Stage;
use lbxdp_common::table::Hash;
use lbxdp_common::wire::sctp::ChunkKind;
use lbxdp_common::{Fate, Reason, Scheduler, Verdict};
use lbxdp_tests::cases::corpus;
use lbxdp_tests::cases::frame::{self, IP};
use lbxdp_tests::cases::random::{self, Dice};
use lbxdp_tests::cases::setup::Setup;
use lbxdp_tests::cases::{self, CLIENT, Host, OTHER_PORT, Runner, SEED, Step, VIP, memory};
use proptest::prelude::*;

#[test]
fn every_case_on_the_host() {
    let mut host = Host::default();
    for case in cases::all() {
        cases::run(&mut host, &case);
    }
}

#[test]
fn every_reason_and_verdict_has_a_case() {
    let verdicts: Vec<_> = cases::all()
        .iter()
        .flat_map(|case| case.steps.iter().map(Step::verdict).collect::<Vec<_>>())
        .collect();
    // What is not ready is a program without its daemon, and what was held is the daemon's to lose; a client behind a VLAN that
    // has no interface below it is the daemon's word too.
    let is_told_of = |reason: &&Reason| {
        // Some are always told.
        verdicts.contains(&Err(**reason)) || verdicts.contains(&Ok(Verdict::Answered(**reason)))
    };
    let elsewhere = [Reason::NotReady, Reason::NoWayOut, Reason::HeldLost];
    let without: Vec<_> =
        Reason::ALL.iter().filter(|reason| !elsewhere.contains(reason) && !is_told_of(reason)).collect();
    assert!(without.is_empty(), "no case ends with {without:?}");
    for verdict in [
        Verdict::Answered(Reason::NoServer),
        Verdict::Transmit,
        Verdict::Local,
        Verdict::Redirect(OTHER_PORT.0),
        Verdict::Leave(9),
    ] {
        assert!(verdicts.contains(&Ok(verdict)), "no case ends with {verdict:?}");
    }
}

/// By `LBXDP_CORPUS=new` the file is written anew; what it says counts when the tests are built again.
#[test]
fn the_kept_frames_go_the_ways_they_were_kept_for() -> Result<()> {
    let mut host = Host::default();
    if std::env::var_os("LBXDP_CORPUS").is_some_and(|wanted| wanted == "new") {
        let found = corpus::found(&mut host, 17, 400_000);
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/data/corpus.txt"), corpus::text(&found))?;
        return Ok(());
    }
    let kept = corpus::kept();
    for (course, frames) in &kept {
        assert_eq!(&corpus::replayed(&mut host, frames), course, "{frames:02x?}");
    }
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/data/corpus.txt"))?;
    assert!(corpus::text(&kept) == file, "the file is not as it would be written");
    let stages: BTreeSet<&str> = kept.keys().flat_map(|course| &course.stages).map(String::as_str).collect();
    let without: Vec<_> = Stage::ALL.iter().filter(|stage| !stages.contains(stage.name())).collect();
    assert!(without.is_empty(), "no frame is kept that goes through {without:?}");
    let reasons: Vec<Reason> = kept.keys().filter_map(corpus::Course::reason).collect();
    // What needs a full table, another table, or a daemon that is not there.
    let elsewhere = [Reason::NotReady, Reason::NoWayOut, Reason::HeldLost, Reason::TableFull];
    let without: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !elsewhere.contains(reason) && !reasons.contains(reason))
        .collect();
    assert!(without.is_empty(), "no frame is kept that ends with {without:?}");
    Ok(())
}

/// TTL and checksum in the IP header, and the hop limit in IPv6's.
const CHANGING: [usize; 3] = [IP + 8, IP + 10, IP + 11];
const HOP_LIMIT: usize = IP + 7;

/// Runs a frame: nothing but what forwarding changes may differ afterwards, and only if it was forwarded.
fn assert_little_changes(host: &mut Host, before: &[u8]) {
    let mut after = before.to_vec();
    host.run(&mut after);
    if matches!(host.last(), Some(Ok(Verdict::Local) | Err(_)) | None) {
        assert_eq!(before, after);
    }
    if let Some(Ok(Verdict::Answered(reason))) = host.last() {
        let error = match (reason == Reason::TtlExpired, is_v6(before)) {
            (true, false) => frame::TIME_EXCEEDED,
            (false, false) => frame::PORT_UNREACHABLE,
            (true, true) => (3, 0, [0; 4]),
            (false, true) => (1, 4, [0; 4]),
        };
        assert_eq!(frame::settled(after), frame::refused(before, error));
        return;
    }
    // A tunnel's headers stand before all that came.
    let outer = after.len() - before.len();
    assert!(outer == 0 || frame::settled(after.clone()).len() > IP + 20, "its outer header is wrong");
    let differ = (0..before.len()).filter(|&at| before[at] != after[outer + at]);
    for at in differ.filter(|at| outer == 0 || *at >= IP) {
        let may_change = if is_v6(before) { at == HOP_LIMIT } else { CHANGING.contains(&at) };
        assert!(at < 12 || may_change, "byte {at} has changed");
    }
}

fn is_v6(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x86, 0xdd])
}

thread_local! {
    /// One for all: it is large.
    static HOST: RefCell<Host> = RefCell::default();
}

proptest! {
    #[test]
    fn noise_is_never_touched(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
        HOST.with_borrow_mut(|host| {
            memory::write(host, &random::setup());
            assert_little_changes(host, &frame);
        });
    }

    /// ICMP errors and tunnels too, wherever their quotes end.
    #[test]
    fn a_frame_of_any_case_with_bytes_changed_or_cut_off_passes_untouched_if_it_passes(
        case: prop::sample::Index,
        step: prop::sample::Index,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        kept in 30..130usize,
    ) {
        static CASES: std::sync::LazyLock<Vec<cases::Case>> = std::sync::LazyLock::new(cases::all);
        let case = case.get(&CASES);
        prop_assume!(!case.steps.is_empty());
        let mut before = step.get(&case.steps).frame.clone();
        prop_assume!(!before.is_empty());
        for (at, byte) in changes {
            let at = at.index(before.len());
            before[at] = byte;
        }
        before.truncate(before.len() * kept / 100);
        HOST.with_borrow_mut(|host| {
            memory::write(host, &case.setup);
            let mut after = before.clone();
            host.run(&mut after);
            host.held();
            host.wishes();
            match host.last() {
                Some(Err(reason)) if reason.fate() == Fate::Pass => assert_eq!(before, after, "{reason}"),
                Some(Ok(Verdict::Local)) => assert_eq!(before, after),
                _ => {}
            }
        });
    }

    #[test]
    fn a_packet_with_bytes_changed_or_cut_off_is_changed_only_where_forwarding_does(
        changes in proptest::collection::vec((0..70usize, any::<u8>()), 0..6),
        length in 0..70usize,
        protocol in 0..4,
        ttl: u8,
    ) {
        let packet = match protocol {
            0 => frame::tcp(40_000, 80).syn(),
            1 => frame::udp(40_000, 53),
            2 => frame::udp(40_000, 22),
            _ => frame::sctp(40_000, 5000).chunk(ChunkKind::COOKIE_ECHO, &[0; 5]).chunk(ChunkKind::ABORT, &[]),
        };
        let mut bytes = packet.ttl(ttl).bytes();
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        HOST.with_borrow_mut(|host| {
            memory::write(host, &random::setup());
            assert_little_changes(host, &bytes);
            bytes.truncate(length);
            assert_little_changes(host, &bytes);
        });
    }
}

#[test]
fn each_connection_is_counted_exactly_once_whatever_the_frames() {
    let mut host = Host::default();
    memory::write(&mut host, &random::setup());
    let mut dice = Dice::new(42);
    for _ in 0..20_000 {
        assert_little_changes(&mut host, &dice.frame());
    }
    memory::assert_loads_are_right(&host);
}

#[test]
fn connections_and_templates_are_counted_exactly_once_whatever_the_services() {
    let (mut host, mut dice) = (Host::default(), Dice::new(43));
    let mut templates = 0;
    for _ in 0..40 {
        let setup = dice.setup(Scheduler::ALL);
        memory::write(&mut host, &setup);
        for _ in 0..1000 {
            assert_little_changes(&mut host, &dice.frame());
        }
        memory::assert_loads_agree(&host);
        assert_connections_follow_their_templates(&host, &setup);
        templates += memory::snapshot(&host).entries.iter().filter(|(_, word)| word.is_template()).count();
    }
    assert!(templates > 100, "only {templates} templates");
}

/// The short ways decide what the long ones would: of the next packet of a settled connection, of a reply, and of the first
/// packet.
#[test]
fn short_ways_lead_where_the_long_ones_do() {
    let (mut short, mut long, mut dice) = (Host::default(), Host::default(), Dice::new(44));
    long.go_round();
    let (mut settled, mut replies, mut fresh) = (0, 0, 0);
    for _ in 0..800 {
        let mut setup = dice.any_setup(Scheduler::ALL);
        if dice.below(4) > 0 {
            setup.marks.clear();
            setup.services.retain(|service| service.key.mark().is_none());
            setup.rules = Rules(setup.rules.0 & !Rules::MARKS.0 & !Rules::MARKED_NETS.0);
        }
        memory::write(&mut short, &setup);
        memory::write(&mut long, &setup);
        for _ in 0..100 {
            // Few connections, so that they go on.
            let before = match dice.below(4) {
                0 => dice.any_frame(),
                1 => dice.answer().unwrap_or_else(|| dice.any_frame()),
                _ => dice.frame_of_one_in(3),
            };
            let way = dice.client_way();
            short.remember_way(CLIENT, VIP, way);
            long.remember_way(CLIENT, VIP, way);
            let (mut by_short, mut by_long) = (before.clone(), before.clone());
            let outcome = short.run(&mut by_short);
            let stages = short.stages();
            let is_sent = matches!(
                short.last(),
                Some(Ok(Verdict::Transmit | Verdict::Redirect(_) | Verdict::Leave(_)))
            );
            let is_settled = stages.is_empty() && is_sent;
            let is_reply = !is_v6(&before) && before.get(IP + 16..IP + 20) != Some(&VIP[..]);
            let long_outcome = match (is_settled, is_v6(&before), is_reply) {
                (false, ..) => long.run(&mut by_long),
                (true, true, _) => long.run_round(Stage::V6, &mut by_long),
                (true, false, false) => long.run_round(Stage::V4, &mut by_long),
                (true, false, true) => long.run_round(Stage::BackV4, &mut by_long),
            };
            settled += u32::from(is_settled);
            replies += u32::from(is_settled && is_reply);
            let is_fresh = matches!(stages.first(), Some(Stage::FreshV4 | Stage::FreshV6))
                && !matches!(stages.get(1), Some(Stage::V4 | Stage::V6));
            fresh += u32::from(is_fresh);
            assert_eq!(outcome, long_outcome, "{before:02x?} by {stages:?} and {:?}", long.stages());
            // A tunnel's identification may be any number.
            if by_short != by_long {
                assert_eq!(frame::settled(by_short.clone()), frame::settled(by_long), "{before:02x?}");
            }
            if is_sent {
                dice.show(&by_short);
            }
            let ticks = [0, 0, 0, 1, 100, 4 * memory::HERTZ, 70 * memory::HERTZ][usize::from(dice.below(7))];
            short.pass(ticks);
            long.pass(ticks);
        }
        assert_eq!(memory::snapshot(&short), memory::snapshot(&long));
    }
    assert!(
        settled > 500 && replies > 50 && fresh > 500,
        "only {settled} settled ones, {replies} replies and {fresh} first ones"
    );
}

/// No server goes while these frames come, so no template leads elsewhere once a connection has followed it, but for those
/// that were made for a server that could not be used from the beginning.
fn assert_connections_follow_their_templates(host: &Host, setup: &Setup) {
    let is_usable = |server: ServerId| {
        let row = setup.servers.iter().find(|row| row.id == server.0).expect("a server");
        row.flags.has(ServerFlags::AVAILABLE) && !row.flags.has(ServerFlags::QUIESCENT)
    };
    let memory::Snapshot { entries, bonds, .. } = memory::snapshot(host);
    let templates: BTreeMap<u64, ServerId> = entries
        .iter()
        .filter(|(_, word)| word.is_live() && word.is_template())
        .map(|(key, word)| (Hash::of(*key, SEED).0, word.server()))
        .collect();
    for ((key, word), bond) in entries.iter().zip(bonds) {
        if word.is_live() && !word.is_template() && bond != 0 && is_usable(word.server()) {
            assert_eq!(templates.get(&bond), Some(&word.server()), "{key:?}");
        }
    }
}
