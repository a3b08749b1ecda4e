//! Scenes that were made, as somebody sees them: what stands on the screen, and what each key does.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use lbxdp_common::{Protocol, Scheduler};
use ratatui_core::backend::TestBackend;
use ratatui_core::buffer::Cell;
use ratatui_core::style::{Color, Modifier};
use ratatui_core::terminal::Terminal;
use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::draw::{body_height, frame};
use super::hand::Hand;
use super::keys::{Then, press};
use super::scene::{Before, Scene};
use super::view::View;
use super::{interval, once};
use crate::metrics::tests::usual;
use crate::snapshot::{Counters, Moment, Overview, Rates, ServerSnapshot, ServiceSnapshot, Way};
use crate::state::{Options, Server, ServiceKey};

/// The clock that scenes are made by: some hours after the daemon has begun.
fn now() -> SystemTime {
    usual().started + Duration::from_mins(170)
}

/// A director with three services: `tcp/10.0.0.100:80` (servers .11, .12, .13; no way to .12, .13 has weight 0), another one of
/// the same address with one server, and `mark6/7` without any.
fn moment() -> Moment {
    let Overview { mut services, totals, status, started, configuration, .. } = usual();
    let rates = |factor: u64| Rates {
        connections: factor,
        in_packets: 10 * factor,
        out_packets: 0,
        in_bytes: 1000 * factor,
        out_bytes: 500 * factor,
    };
    let web = &mut services.services[0];
    web.rates = rates(60);
    for (server, factor) in web.servers.iter_mut().zip([10, 20, 30]) {
        server.rates = rates(factor);
    }
    let key = ServiceKey::at(Protocol::Udp, IpAddr::from([10, 0, 0, 100]), 53);
    let mut server = web.servers[0].clone();
    server.server.port = 53;
    server.active = 9000;
    let other = ServiceSnapshot {
        key,
        options: Options::of(Scheduler::RoundRobin),
        counters: Counters::default(),
        rates: rates(10),
        servers: vec![server],
    };
    services.services.insert(1, other);
    Moment { version: "9.8.7".into(), services, totals, status, started, configuration }
}

fn scene_of(moment: &Moment, before: Before<'_>) -> Scene {
    Scene::new("default".into(), moment, before, now())
}

fn scene() -> Scene {
    scene_of(&moment(), None)
}

/// A screen of a size, and somebody in front of it.
struct Seat {
    terminal: Terminal<TestBackend>,
    scene: Scene,
    view: View,
    hand: Hand,
}

impl Seat {
    fn new(scene: Scene, width: u16, height: u16) -> Self {
        let terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        let mut seat = Self { terminal, view: View::new(&scene), scene, hand: Hand::plain() };
        seat.draw();
        seat
    }

    fn usual() -> Self {
        Self::new(scene(), 80, 24)
    }

    /// The lines that are seen, without the blanks at their ends.
    fn draw(&mut self) -> Vec<String> {
        let height = self.terminal.size().expect("a size").height;
        self.view.settle(&self.scene, body_height(height));
        self.terminal.draw(|seen| frame(seen, self.hand, &self.scene, &self.view)).expect("a frame");
        let buffer = self.terminal.backend().buffer();
        let width = usize::from(buffer.area.width.max(1));
        let lines = buffer.content.chunks(width);
        lines.map(|line| line.iter().map(Cell::symbol).collect::<String>().trim_end().to_owned()).collect()
    }

    fn press(&mut self, code: KeyCode) -> Then {
        self.press_with(code, KeyModifiers::NONE)
    }

    fn press_with(&mut self, code: KeyCode, modifiers: KeyModifiers) -> Then {
        let then = press(&mut self.view, &self.scene, KeyEvent::new(code, modifiers));
        self.draw();
        then
    }

    fn type_words(&mut self, words: &str) -> Vec<String> {
        for letter in words.chars() {
            assert_eq!(self.press(KeyCode::Char(letter)), Then::Stay, "{letter}");
        }
        self.draw()
    }

    /// The first words of the rows.
    fn names(&mut self) -> Vec<String> {
        let lines = self.draw();
        let rows = lines.iter().skip(5).take_while(|line| !line.is_empty());
        rows.map(|row| row.trim_start_matches(['-', '+', ' ']).split(' ').next().unwrap_or("").to_owned())
            .collect()
    }

    /// The words of the row at the cursor.
    fn chosen(&mut self) -> String {
        let lines = self.draw();
        let buffer = self.terminal.backend().buffer();
        let rows = (0..buffer.area.height).skip(5);
        let mut chosen = rows.filter(|y| buffer[(40, *y)].modifier.contains(Modifier::REVERSED));
        let row = chosen.next().map(|y| lines[usize::from(y)].clone()).unwrap_or_default();
        assert_eq!(chosen.next(), None, "one cursor");
        row
    }
}

const ALL: [&str; 6] = [
    "tcp/10.0.0.100:80",
    "10.0.0.11:80",
    "10.0.0.12:80",
    "10.0.0.13:80",
    "udp/10.0.0.100:53",
    "10.0.0.11:53",
];

#[test]
fn a_screen_of_the_usual_size_has_it_all() {
    let lines = Seat::usual().draw();
    assert_eq!(
        lines,
        [
            "lbxdp default  daemon 9.8.7, up 2 hours, generation 5  3 warnings (3)",
            "pkt/s 0 in 0 out   byte/s 0 in 0 out   conn/s 0   dropped/s -   to stack/s -",
            "IPv4 #......... 0.2 % 6 conn   IPv6 #......... 0.0 % 0 conn   eth0 GENERIC",
            " 1 services (3)  2 not forwarded  3 director   by service, averages",
            "SERVICE, SERVERS      STATE WEIGHT ACTIVE INACT  PERS CONN/S PKT/S BYTE/S SHARE",
            "- tcp/10.0.0.100:80     1/3      2      6     3     0     60   600  90.0k #####.",
            "   10.0.0.11:80          up      1      2     1     0     10   100  15.0k #.....",
            "   10.0.0.12:80      NO WAY      1      2     1     0     20   200  30.0k ##....",
            "   10.0.0.13:80       local      0      2     1     0     30   300  45.0k ###...",
            "- udp/10.0.0.100:53     1/1      1   9000     1     0     10   100  15.0k #.....",
            "   10.0.0.11:53          up      1   9000     1     0     10   100  15.0k ######",
            "- mark6/7              none      0      0     0     0      0     0      0 ......",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "q end  ? help  / filter  s sort  r turn round  Enter servers  p pause  Tab next",
        ]
    );
}

/// The cells between two columns of a line.
fn column(line: &str, from: usize, to: usize) -> String {
    line.chars().skip(from).take(to - from).collect::<String>().trim().to_owned()
}

#[test]
fn a_wider_screen_has_wider_bars_and_a_narrow_one_none() {
    let bar = |width| {
        let lines = Seat::new(scene(), width, 24).draw();
        let bar = lines[6].rsplit(' ').next().unwrap_or_default();
        if bar.starts_with('#') { bar.len() } else { 0 }
    };
    assert_eq!((bar(75), bar(80), bar(90), bar(200)), (0, 6, 16, 20));
}

#[test]
fn a_narrow_screen_has_fewer_columns_but_always_names() {
    let words = |width| Seat::new(scene(), width, 24).draw().remove(5);
    assert_eq!(words(70), "- tcp/10.0.0.100:80     1/3      2      6     3     60   600  90.0k");
    assert_eq!(words(40), "- tcp/10.0.0.100:80     1/3   600 #####.");
    assert_eq!(words(20), "- tcp/10.0.0.100:80");
    assert_eq!(words(10), "- tcp/10.~");
}

#[test]
fn nothing_breaks_at_any_size_with_any_screen() {
    for width in (0..90).chain([200, 500]) {
        for height in 0..30 {
            let mut seat = Seat::new(scene(), width, height);
            for keys in ["2", "3", "?", "x1/10 zz", "\u{8}"] {
                seat.type_words(keys);
            }
            for code in [KeyCode::Enter, KeyCode::End, KeyCode::PageUp, KeyCode::Esc] {
                assert_eq!(seat.press(code), Then::Stay, "{width} {height} {code:?}");
            }
        }
    }
}

#[test]
fn a_terminal_of_another_size_is_filled_anew() {
    let mut seat = Seat::usual();
    seat.press(KeyCode::End);
    for (width, height) in [(120, 40), (80, 12), (40, 6), (80, 24)] {
        seat.terminal.backend_mut().resize(width, height);
        let lines = seat.draw();
        assert_eq!(lines.len(), usize::from(height));
        assert!(lines.iter().any(|line| line.contains("mark6/7")), "the chosen row is seen: {lines:?}");
    }
}

#[test]
fn columns_are_sorted_by_with_the_largest_first_and_can_be_turned_round() {
    let mut seat = Seat::usual();
    let listed = [&ALL[..], &["mark6/7"]].concat();
    assert_eq!(seat.names(), listed);
    seat.type_words("r");
    assert_eq!(seat.names(), ["mark6/7", ALL[4], ALL[5], ALL[0], ALL[3], ALL[2], ALL[1]]);
    // State: what is out comes first.
    seat.type_words("s");
    assert_eq!(seat.names(), [ALL[0], ALL[2], ALL[3], ALL[1], ALL[4], ALL[5], "mark6/7"]);
    // Weight, then active connections.
    seat.type_words("ss");
    assert_eq!(seat.names(), [ALL[4], ALL[5], ALL[0], ALL[1], ALL[2], ALL[3], "mark6/7"]);
    // Inactive ones, templates, connections and packets per second.
    seat.type_words(">>>>");
    assert!(seat.draw()[3].contains("by pkt/s, averages"));
    assert_eq!(seat.names(), [ALL[0], ALL[3], ALL[2], ALL[1], ALL[4], ALL[5], "mark6/7"]);
    seat.type_words("r");
    assert!(seat.draw()[3].contains("by pkt/s, turned round"));
    assert_eq!(seat.names(), ["mark6/7", ALL[4], ALL[5], ALL[0], ALL[1], ALL[2], ALL[3]]);
    seat.type_words("<<<<<<<");
    assert_eq!(seat.names(), listed, "back at the names, in their order");
}

#[test]
fn a_filter_takes_words_of_names_and_exact_ports() {
    for (words, expected) in [
        ("udp", &ALL[4..]),
        ("UDP", &ALL[4..]),
        ("10.0.0.12", &[ALL[0], ALL[2]]),
        (":53", &ALL[4..]),
        (":5", &[]),
        (":80", &ALL[..4]),
        ("tcp .13", &[ALL[0], ALL[3]]),
        ("udp .13", &[]),
        ("mark", &["mark6/7"]),
        ("  ", &[ALL[0], ALL[1], ALL[2], ALL[3], ALL[4], ALL[5], "mark6/7"]),
    ] {
        let mut seat = Seat::usual();
        seat.type_words(&format!("/{words}"));
        let names = if expected.is_empty() {
            assert!(seat.draw()[5].starts_with("Nothing has such a name"), "{words}");
            vec![]
        } else {
            seat.names()
        };
        assert_eq!(names, expected, "{words:?}");
    }
}

#[test]
fn a_filter_is_typed_kept_and_taken_away() {
    let mut seat = Seat::usual();
    // What is a key otherwise is a letter here.
    let typed = seat.type_words("/qs");
    assert_eq!(typed.last().expect("a line"), "filter: qs   Enter keeps it, Esc takes it back");
    seat.press(KeyCode::Backspace);
    seat.press(KeyCode::Backspace);
    seat.type_words("udp");
    assert_eq!(seat.terminal.get_cursor_position().expect("a cursor"), (11, 23).into());
    seat.press(KeyCode::Enter);
    assert_eq!(seat.draw().last().expect("a line"), "filter: udp   Esc takes it away");
    assert_eq!(seat.names(), ALL[4..]);
    // Another one is begun and given up: the one before is back.
    seat.type_words("/zzz");
    seat.press(KeyCode::Esc);
    assert_eq!(seat.names(), ALL[4..]);
    seat.type_words("/");
    seat.press_with(KeyCode::Char('u'), KeyModifiers::CONTROL);
    assert_eq!(seat.names().len(), 7);
    seat.type_words("tcp");
    seat.press(KeyCode::Enter);
    // The first one takes the filter away, the next one ends.
    assert_eq!(seat.press(KeyCode::Esc), Then::Stay);
    assert_eq!(seat.names().len(), 7);
    assert_eq!(seat.press(KeyCode::Esc), Then::Quit);
}

#[test]
fn services_are_folded_one_by_one_and_all_at_once() {
    let mut seat = Seat::usual();
    seat.press(KeyCode::Enter);
    assert_eq!(seat.names(), [ALL[0], ALL[4], ALL[5], "mark6/7"]);
    assert!(seat.chosen().starts_with("+ tcp/10.0.0.100:80"));
    // Already closed: to the left does nothing, to the right opens.
    seat.press(KeyCode::Left);
    seat.press(KeyCode::Right);
    assert_eq!(seat.names().len(), 7);
    // At a server: its service is closed, and the cursor stands there.
    seat.press(KeyCode::Down);
    seat.press(KeyCode::Down);
    assert!(seat.chosen().starts_with("   10.0.0.12:80"));
    seat.press(KeyCode::Left);
    assert!(seat.chosen().starts_with("+ tcp/10.0.0.100:80"));
    seat.type_words("-");
    assert_eq!(seat.names(), [ALL[0], ALL[4], "mark6/7"]);
    seat.press(KeyCode::Char(' '));
    assert_eq!(seat.names(), [ALL[0], ALL[1], ALL[2], ALL[3], ALL[4], "mark6/7"]);
    seat.type_words("+");
    assert_eq!(seat.names().len(), 7);
}

#[test]
fn a_chosen_row_is_followed_and_the_top_stays_the_top() {
    let mut seat = Seat::usual();
    seat.press(KeyCode::Down);
    assert!(seat.chosen().starts_with("   10.0.0.11:80"));
    seat.type_words("<");
    assert!(seat.draw()[3].contains("by byte/s"));
    assert_eq!(seat.names()[3], "10.0.0.11:80");
    assert!(seat.chosen().starts_with("   10.0.0.11:80"));
    seat.press(KeyCode::Home);
    seat.type_words("r");
    assert!(seat.chosen().contains("mark6/7"), "whatever is first now");
    // A row that is gone: the one in its place, or the last one.
    seat.press(KeyCode::End);
    assert!(seat.chosen().contains("10.0.0.13:80"));
    seat.type_words("/udp");
    assert!(seat.chosen().contains("10.0.0.11:53"));
}

/// So many services of ten servers each.
fn many(count: u32) -> Moment {
    let mut moment = moment();
    let service = |number: u32| {
        let vip = IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a01_0000 + number));
        let servers = (0..10u32).map(|last| {
            let address = IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a02_0000 + number * 16 + last));
            let server = Server::new(address, 80, lbxdp_common::Forward::Direct, 1);
            let rates = Rates { in_packets: u64::from(number * 10 + last), ..Rates::default() };
            let counters = Counters::default();
            ServerSnapshot { server, active: 0, inactive: 0, persistent: 0, counters, rates }
        });
        ServiceSnapshot {
            key: ServiceKey::at(Protocol::Tcp, vip, 80),
            options: Options::of(Scheduler::RoundRobin),
            counters: Counters::default(),
            rates: Rates { in_packets: u64::from(number) * 100, ..Rates::default() },
            servers: servers.collect(),
        }
    };
    moment.services.services = (0..count).map(service).collect();
    moment
}

#[test]
fn many_services_begin_folded_and_every_row_can_be_reached() {
    let mut seat = Seat::new(scene_of(&many(1000), None), 80, 24);
    assert_eq!(seat.view.rows.len(), 1000);
    seat.type_words("+");
    assert_eq!(seat.view.rows.len(), 11_000);
    seat.press(KeyCode::End);
    assert!(seat.chosen().contains("10.2.62.121:80"), "{}", seat.chosen());
    seat.press(KeyCode::PageUp);
    seat.press(KeyCode::PageDown);
    assert!(seat.chosen().contains("10.2.62.121:80"));
    seat.press(KeyCode::Up);
    assert!(seat.chosen().contains("10.2.62.120:80"));
    // A page is one line less than what is seen, so that one line is seen twice.
    seat.press(KeyCode::Home);
    seat.press(KeyCode::PageDown);
    assert_eq!((seat.view.cursor.at, seat.view.cursor.first), (17, 0));
    seat.press(KeyCode::PageDown);
    assert_eq!((seat.view.cursor.at, seat.view.cursor.first), (34, 17));
    // The busiest at the top, and the cursor with it.
    seat.press(KeyCode::Home);
    seat.type_words("<<");
    assert!(seat.chosen().contains("tcp/10.1.3.231:80"), "{}", seat.chosen());
    // A filter leaves one of ten thousand.
    seat.type_words("/10.2.5.50:80");
    assert_eq!(seat.names(), ["tcp/10.1.0.83:80", "10.2.5.50:80"]);
}

#[test]
fn reasons_have_rates_by_the_time_that_has_passed_and_scroll() {
    let (mut then, mut now) = (moment(), moment());
    for moment in [&mut then, &mut now] {
        moment.status.not_forwarded.iter_mut().for_each(|reason| reason.packets = 0);
        moment.status.notices.iter_mut().for_each(|notice| notice.count = 0);
        moment.status.overflows.iter_mut().for_each(|overflow| overflow.count = 0);
    }
    let set = |moment: &mut Moment, name: &str, packets| {
        let reason = moment.status.not_forwarded.iter_mut().find(|reason| reason.reason == name);
        reason.expect("such a reason").packets = packets;
    };
    set(&mut then, "no_server", 100);
    set(&mut now, "no_server", 200);
    set(&mut now, "ttl_expired", 500);
    set(&mut then, "no_service", 7);
    set(&mut now, "no_service", 4);
    // Held: neither dropped nor passed.
    set(&mut now, "must_fragment", 80);
    now.status.notices[0].count = 3;
    let mut seat = Seat::new(scene_of(&now, Some((&then, Duration::from_secs(4)))), 80, 24);
    assert!(seat.draw()[1].contains("dropped/s 150   to stack/s 1"), "{:?}", seat.draw()[1]);
    let lines = seat.type_words("2");
    assert_eq!(
        lines[4..10],
        [
            "OUTCOME       REASON                          TIMES      /S SHARE",
            "dropped       ttl_expired                       500     125 #################...",
            "dropped       no_server                         200      25 ###.................",
            "to the stack  no_service                          4       1 ####################",
            "held          must_fragment                      80      20 ####################",
            "ICMP error    port_unreachable                    3       1 ####################",
        ]
    );
    // What has never happened is not there; where all has happened, it scrolls.
    assert_eq!(lines[10], "");
    let mut seat = Seat::new(scene(), 80, 12);
    let first = seat.type_words("2")[5].clone();
    seat.press(KeyCode::PageDown);
    assert_ne!(seat.draw()[5], first);
    seat.press(KeyCode::End);
    assert!(seat.draw()[10].starts_with("no room"), "the last line is the last one: {:?}", seat.draw());
    seat.press(KeyCode::Home);
    assert_eq!(seat.draw()[5], first);
}

#[test]
fn without_anything_there_is_a_word_for_it() {
    let mut moment = moment();
    moment.services.services.clear();
    moment.status.not_forwarded.iter_mut().for_each(|reason| reason.packets = 0);
    moment.status.notices.clear();
    moment.status.overflows.clear();
    let mut seat = Seat::new(scene_of(&moment, None), 80, 24);
    assert_eq!(seat.draw()[5], "There are no services yet: ipvsadm -A -t VIP:80 -s wlc");
    assert_eq!(seat.type_words("2")[5], "Every packet for a VIP was forwarded.");
}

#[test]
fn rates_are_averages_or_what_has_come_since_the_last_look() {
    let (then, mut now) = (moment(), moment());
    let web = &mut now.services.services[0];
    web.counters.in_packets += 300;
    web.servers[0].counters.in_packets += 100;
    // One that has begun anew has no negative rate.
    web.servers[1].counters = Counters { in_packets: 8, ..Counters::default() };
    // One that is new has none yet.
    web.servers[2].server.port = 8080;
    let packets = |seat: &mut Seat| -> Vec<String> {
        seat.draw()[5..9].iter().map(|line| column(line, 60, 66)).collect()
    };
    let mut seat = Seat::new(scene_of(&now, Some((&then, Duration::from_secs(2)))), 80, 24);
    assert_eq!(packets(&mut seat), ["600", "100", "200", "300"]);
    assert!(seat.type_words("a")[3].contains("since the last look"));
    assert_eq!(packets(&mut seat), ["150", "50", "4", "0"]);
    // With one look there is nothing to compare with.
    let mut seat = Seat::usual();
    seat.type_words("a");
    assert_eq!(packets(&mut seat), ["-", "-", "-", "-"]);
}

#[test]
fn bars_show_shares_of_what_is_sorted_by() {
    let mut seat = Seat::usual();
    let bars = |seat: &mut Seat| -> BTreeMap<String, usize> {
        let (names, lines) = (seat.names(), seat.draw());
        let bar = |line: &String| line.chars().filter(|sign| *sign == '#').count();
        names.into_iter().zip(lines[5..].iter().map(bar)).collect()
    };
    // 600 of 700 packets; of these 100, 200, 300. Only all of them fill a bar.
    let packets = bars(&mut seat);
    assert_eq!(ALL.map(|name| packets[name]), [5, 1, 2, 3, 1, 6]);
    seat.type_words("sss");
    // 6 of 9,006 active connections; of these 2 each.
    let active = bars(&mut seat);
    assert_eq!(ALL.map(|name| active[name]), [1, 2, 2, 2, 5, 6]);
}

#[test]
fn the_director_is_seen_with_what_is_wrong_first() {
    let (then, mut now) = (moment(), moment());
    now.status.table.sweep.passes += 4;
    now.status.table.sweep.busy_ns += 20_000_000;
    let mut seat = Seat::new(scene_of(&now, Some((&then, Duration::from_secs(2)))), 100, 30);
    let lines = seat.type_words("3");
    assert_eq!(
        lines[5..20],
        [
            "WARNING     eth0 runs in generic mode: several times slower than native",
            "WARNING     some new connections find no place in the table and go by hash",
            "WARNING     no way to server 10.0.0.12: nobody answers ARP or NDP, or there is no route",
            "interface   eth0, GENERIC XDP",
            "IPv4 table  #................... 0.2 % full: 7 of at most 4096 places taken, 1024 in use",
            "            6 connections, half open 1; swept 2 times/s, 1.0 % of the time",
            "IPv6 table  #................... 0.0 % full: 1 of at most 4096 places taken, 1024 in use",
            "            0 connections, half open 1; swept 0 times/s, 0.0 % of the time",
            "pressure    NOW",
            "configured  generation 5: so many changes since the daemon has begun; saved",
            "repaired    2 rows that somebody else had written to",
            "next hop    10.0.0.11: 02:00:00:00:00:11 on eth0, packets up to 1500 bytes",
            "next hop    UNKNOWN for server 10.0.0.12: nobody answers ARP, or there is no route",
            "next hop    10.0.0.13: the director itself",
            "",
        ]
    );
}

#[test]
fn a_daemon_that_is_gone_is_said_to_be_and_what_was_seen_stays() {
    let mut seat = Seat::usual();
    let before = seat.draw();
    seat.view.trouble = Some("no daemon answers".into());
    let lines = seat.draw();
    assert_eq!(lines[23], "no daemon answers; trying again");
    assert_eq!(lines[..23], before[..23]);
}

#[test]
fn what_ends_ends_and_what_is_let_go_does_nothing() {
    let mut seat = Seat::usual();
    assert_eq!(seat.press(KeyCode::Char('q')), Then::Quit);
    assert_eq!(seat.press(KeyCode::Esc), Then::Quit);
    assert_eq!(seat.press_with(KeyCode::Char('c'), KeyModifiers::CONTROL), Then::Quit);
    let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
    assert_eq!(press(&mut seat.view, &seat.scene, released), Then::Stay);
    seat.type_words("/");
    assert_eq!(
        seat.press_with(KeyCode::Char('c'), KeyModifiers::CONTROL),
        Then::Quit,
        "also while it is typed"
    );
    seat.press(KeyCode::Esc);
    assert!(seat.type_words("?")[0].starts_with("lbxdp top: keys"));
    assert_eq!(seat.press(KeyCode::Esc), Then::Stay, "back from the help");
    assert!(seat.draw()[0].starts_with("lbxdp default"));
    assert!(seat.type_words("p")[0].ends_with("PAUSED"));
    assert!(!seat.type_words("p")[0].ends_with("PAUSED"));
}

#[test]
fn screens_are_reached_by_number_and_in_turn() {
    let mut seat = Seat::usual();
    let title = |seat: &mut Seat| seat.draw()[4].split(' ').next().unwrap_or_default().to_owned();
    assert_eq!(title(&mut seat), "SERVICE,");
    seat.press(KeyCode::Tab);
    assert_eq!(title(&mut seat), "OUTCOME");
    seat.press(KeyCode::Tab);
    assert_eq!(title(&mut seat), "");
    seat.press(KeyCode::Tab);
    assert_eq!(title(&mut seat), "SERVICE,");
    seat.press(KeyCode::BackTab);
    assert!(seat.draw()[5].starts_with("WARNING"));
    seat.type_words("2");
    assert_eq!(title(&mut seat), "OUTCOME");
    // A filter is of services.
    seat.type_words("/");
    assert_eq!(title(&mut seat), "SERVICE,");
}

#[test]
fn help_fits_a_screen_of_the_usual_size() {
    let lines = Seat::usual().type_words("?");
    assert_eq!(lines.iter().rfind(|line| !line.is_empty()).map(String::as_str), Some("Any key goes back."));
    assert!(super::keys::HELP.iter().all(|line| line.chars().count() <= 80), "no line is cut");
}

#[test]
fn colours_are_there_only_where_they_are_wanted() {
    let colours = |hand: Hand| {
        let mut seat = Seat::usual();
        seat.hand = hand;
        seat.draw();
        let cells = &seat.terminal.backend().buffer().content;
        cells.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert_eq!(colours(Hand::plain()), 0);
    assert!(colours(Hand::coloured()) > 50);
}

#[test]
fn a_frame_as_text_has_all_rows_whole() {
    let mut moment = moment();
    let v6 = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff".parse().expect("an address");
    moment.services.services[0].servers[0].server.address = v6;
    let text = once::text(&scene_of(&moment, None));
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines.iter().any(|line| line.starts_with("   [2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:80  ")),
        "{text}"
    );
    for word in ["mark6/7", "10.0.0.13:80", "no_server", "hashed_full", "IPv6 table", "next hop"] {
        assert!(text.contains(word), "{word}\n{text}");
    }
    assert!(text.is_ascii() && !text.contains('\x1b'));
    let many = once::text(&scene_of(&many(1000), None));
    assert!(many.lines().count() > 11_000);
}

#[test]
fn a_way_to_a_server_is_its_health() {
    let mut moment = moment();
    for hop in &mut moment.status.next_hops {
        hop.way = Way::Unknown;
    }
    let mut seat = Seat::new(scene_of(&moment, None), 80, 24);
    let state = |line: &str| column(line, 19, 27);
    let lines = seat.draw();
    assert_eq!([&lines[5], &lines[6], &lines[9]].map(|line| state(line)), ["0/3", "NO WAY", "0/1"]);
    assert!(lines[0].contains("warnings (3)"));
}

#[test]
fn an_interval_is_a_number_of_seconds() {
    assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
    assert_eq!(interval("3600"), Ok(Duration::from_hours(1)));
    for wrong in ["0", "0.09", "3601", "-1", "NaN", "inf", "1s", ""] {
        assert!(interval(wrong).is_err(), "{wrong}");
    }
}
