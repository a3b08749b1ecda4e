//! What was seen of a packet's run, told step by step in plain words.

mod connections;
mod entries;
mod reasons;
mod scheduling;
mod verdict;
mod way;

use std::collections::BTreeMap;
use std::net::IpAddr;

use lbxdp_common::connection::{Course, Word};
use lbxdp_common::counters::ServerCounters;
use lbxdp_common::server::{Method, SERVER_CELLS, ServerFlags, ServerId, ServerRow};
use lbxdp_common::service::{SERVICE_CELLS, ServiceFlags, ServiceRow};
use lbxdp_common::settings::SettingsView;
use lbxdp_common::table::is_overdue;
use lbxdp_common::{Notice, Overflow, Reason, TunnelKind, named_enum, vip};

use super::read::{Contained, Contents};
use super::rehearsal::{Kept, Note, Performance, Place, Rehearsal, Source, Still};
use crate::cli::native::{ServerName, ServiceName};
use crate::lan::written;
use crate::layout::service_key;
use crate::tables::CellTable;
use entries::Entry;

named_enum! {
    /// What becomes of a packet.
    pub enum Outcome: u8 {
        /// It goes to a server, or from a server to its client.
        Forwarded = 0 => "forwarded",
        /// Its server is the director itself: the stack gets it.
        Local = 1 => "local",
        /// The director's stack gets it, untouched.
        Passed = 2 => "passed",
        /// Nobody gets it, but its sender is told why.
        Answered = 3 => "answered",
        /// The daemon gets it, cuts it or waits for what is missing, and sends it on.
        Held = 4 => "held",
        /// Nobody gets it.
        Dropped = 5 => "dropped",
    }
}

named_enum! {
    /// What a step is about.
    pub enum About: u8 {
        /// Where the packet came in.
        Arrived = 0 => "arrived",
        /// Whether it is for a VIP, or from a server.
        Vip = 1 => "vip",
        /// Its connection: whether there is one, and what becomes of it.
        Connection = 2 => "connection",
        /// Which service it asks for.
        Service = 3 => "service",
        /// Its client's template.
        Template = 4 => "template",
        /// Who was chosen, among whom.
        Scheduler = 5 => "scheduler",
        /// Where it goes, and how.
        Server = 6 => "server",
        /// Its datagram, of which it is a part.
        Fragment = 7 => "fragment",
        /// The next hop.
        Way = 8 => "way",
        /// What else would be written.
        Change = 9 => "change",
        /// Whether its sender is told.
        Icmp = 10 => "icmp",
        /// What becomes of it.
        Verdict = 11 => "verdict",
        /// What mends it.
        Remedy = 12 => "remedy",
        /// The frame that leaves.
        Frame = 13 => "frame",
    }
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is about.
    pub about: About,
    /// One line.
    pub words: String,
    /// More lines.
    pub more: Vec<String>,
}

impl Step {
    fn new(about: About, words: impl Into<String>) -> Self {
        Self { about, words: words.into(), more: Vec::new() }
    }
}

/// A packet explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The packet in words.
    pub packet: String,
    /// What was assumed of it.
    pub assumed: Option<String>,
    /// All steps.
    pub steps: Vec<Step>,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Why it is not forwarded.
    pub reason: Option<Reason>,
    /// Its service, if it asked for one that is there.
    pub service: Option<String>,
    /// The server it belongs to.
    pub server: Option<String>,
    /// The interface it leaves by.
    pub out: Option<String>,
    /// Its connection was there before it, and its time not over.
    pub(super) is_known: bool,
    /// The stages it went through.
    pub stages: Vec<&'static str>,
    /// The frame as it came in.
    pub frame_in: Vec<u8>,
    /// The frame as it leaves: to a server, a client, the sender, or the stack. `None` if nobody gets it.
    pub frame_out: Option<Vec<u8>>,
}

/// The names of interfaces, by their indices.
pub type InterfaceNames = BTreeMap<u32, String>;

/// Who tells it.
struct Narrator<'a, S> {
    rehearsal: &'a Rehearsal<S>,
    names: &'a InterfaceNames,
    performance: &'a Performance,
    contents: Option<&'a Contents>,
    entries: Vec<Entry>,
}

/// Tells what was seen of a frame's run.
pub fn tell<S: Source>(
    rehearsal: &Rehearsal<S>,
    names: &InterfaceNames,
    frame: &[u8],
    performance: &Performance,
) -> Explanation {
    let contents = Contents::of(frame, None);
    let entries = entries::of(&performance.rows);
    let narrator = Narrator { rehearsal, names, performance, contents: contents.as_ref(), entries };
    let (outcome, reason) = narrator.outcome();
    let stages = performance.notes.iter().filter_map(|note| match note {
        Note::Entered(stage) => Some(stage.name()),
        _ => None,
    });
    let server = narrator.server().map(|server| narrator.server_name(server));
    let leaves = !matches!(outcome, Outcome::Dropped | Outcome::Held);
    Explanation {
        packet: narrator.packet().map_or_else(
            || contents.as_ref().and_then(|contents| contents.lines().pop()).unwrap_or("no frame".into()),
            ToString::to_string,
        ),
        assumed: None,
        steps: narrator.steps(),
        outcome,
        reason,
        service: narrator.service(),
        server,
        out: narrator.out(),
        is_known: narrator.has_live_connection(),
        stages: stages.collect(),
        frame_in: frame.to_vec(),
        frame_out: leaves.then(|| performance.frame.clone()),
    }
}

impl<S: Source> Narrator<'_, S> {
    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![self.arrived()];
        let mut has_asked_connections = false;
        for note in &self.performance.notes {
            let step = match note {
                Note::Touched(Place::Cells(CellTable::Vips | CellTable::VipsV6, _)) => self.vip(),
                Note::Touched(Place::Cells(CellTable::Sources | CellTable::SourcesV6, _)) => self.source(),
                Note::Touched(Place::Cells(CellTable::Connections | CellTable::ConnectionsV6, _))
                    if !std::mem::replace(&mut has_asked_connections, true) =>
                {
                    self.connection()
                }
                Note::MarkRules => {
                    Some(Step::new(About::Service, "there are rules for marks of packets to this address"))
                }
                Note::Service(key, index) => Some(self.asked(*key, *index)),
                Note::Consulted(_, server) => Some(self.template(*server)),
                Note::Scheduled(choice) => Some(self.scheduled(choice)),
                Note::Hashed(_, server) => Some(self.hashed(*server)),
                Note::Touched(Place::Fragment(_)) => Some(self.fragment()),
                Note::Routed(routed) => Some(self.routed(routed)),
                Note::Overflow(overflow) => Some(Step::new(About::Change, overflow_words(*overflow))),
                Note::Notice(notice) => Some(Step::new(About::Icmp, notice_words(*notice))),
                Note::Held(header) => Some(Step::new(
                    About::Change,
                    match header.mtu {
                        0 => "the daemon would get the frame".to_owned(),
                        mtu => format!("the daemon would get the frame, to be sent in pieces of {mtu} bytes"),
                    },
                )),
                Note::Touched(_) | Note::Entered(_) | Note::Drawn | Note::Counted(..) => None,
            };
            steps.extend(step);
        }
        // What one stage leaves to another one is asked again.
        steps.dedup();
        steps.extend(self.going());
        steps.extend(self.connection_after());
        steps.extend(self.way());
        steps.extend(self.changes());
        steps.extend(self.verdict());
        steps
    }

    /// The IP packet.
    fn packet(&self) -> Option<&Contained> {
        self.contents?.packet.as_ref()
    }

    /// A row as it was before the packet.
    fn row(&self, table: CellTable, index: u32) -> Option<Vec<u64>> {
        let touched = self.kept(Place::Cells(table, index)).map(|row| row.was.clone());
        touched.or_else(|| self.rehearsal.source().row(table, index))
    }

    fn kept(&self, place: Place) -> Option<&Kept> {
        self.performance.rows.iter().find(|row| row.place == place)
    }

    fn server_row(&self, server: ServerId) -> Option<ServerRow> {
        let cells = self.row(CellTable::Servers, server.row())?;
        let cells: [u64; SERVER_CELLS] = cells.try_into().ok()?;
        Some(ServerRow::from_cells(cells)).filter(|row| row.id == server.0)
    }

    /// A server's address, and its port if it has one of its own.
    fn server_name(&self, server: ServerId) -> String {
        let Some(row) = self.server_row(server) else {
            return "a server that is not there any more".to_owned();
        };
        let port = Some(u16::from_be_bytes(row.port_number)).filter(|port| *port != 0);
        ServerName { address: row.ip(), port }.to_string()
    }

    fn interface_name(&self, ifindex: u32) -> String {
        self.names.get(&ifindex).cloned().unwrap_or_else(|| format!("interface {ifindex}"))
    }

    /// Ticks until something is due, in words.
    fn expiry(&self, word: Word) -> String {
        let hertz = self.row(CellTable::Settings, 0).map_or(0, |row| SettingsView(Still(&row)).hertz());
        let left = i64::from(word.due().since(self.rehearsal.source().now()));
        let seconds = left.checked_div(hertz.into()).unwrap_or(0);
        if left <= 0 { "its time is over".to_owned() } else { format!("expires in {seconds} s") }
    }

    /// The server that the packet was counted for, or that was chosen for it, or that its connection has.
    fn server(&self) -> Option<ServerId> {
        let notes = || self.performance.notes.iter().rev();
        let counted = notes().find_map(|note| match note {
            Note::Counted(server, _) => Some(*server),
            _ => None,
        });
        let chosen = || {
            notes().find_map(|note| match note {
                Note::Scheduled(choice) => Some(choice.server),
                Note::Hashed(_, server) | Note::Consulted(_, server) => Some(*server),
                _ => None,
            })
        };
        let known = || self.own().and_then(Entry::word).map(Word::server);
        counted.or_else(chosen).or_else(known).filter(|server| *server != ServerId::NONE)
    }

    fn has_live_connection(&self) -> bool {
        let now = self.rehearsal.source().now();
        self.own().and_then(|entry| entry.was).is_some_and(|word| !is_overdue(word, now))
    }

    /// How its packets go: as its connection says, or new ones to its server.
    fn course(&self) -> Option<Course> {
        let server = self.server()?;
        let entry =
            self.own().and_then(|entry| entry.now.or(entry.was)).filter(|word| word.server() == server);
        let method = entry.map(Word::method);
        let row = || self.server_row(server).map(|row| row.flags.method());
        Some(Course::new(server, method.or_else(row).unwrap_or_default()))
    }

    /// What was counted for a server.
    fn counted(&self) -> Option<ServerCounters> {
        self.performance.notes.iter().find_map(|note| match note {
            Note::Counted(_, more) => Some(*more),
            _ => None,
        })
    }

    fn tunnel(&self) -> Option<TunnelKind> {
        let course = self.course().filter(|course| course.method() == Method::TUNNEL)?;
        TunnelKind::from_raw(self.server_row(course.server())?.tunnel.kind)
    }

    fn arrived(&self) -> Step {
        let interface = self.rehearsal.interface();
        let words = match self.contents {
            None => format!("by {}: too short for a frame", interface.name),
            Some(contents) if contents.to == interface.mac => {
                format!("by {}, for its MAC address {}", interface.name, written(contents.to))
            }
            Some(contents) => format!(
                "by {}, whose MAC address is {}, for {}",
                interface.name,
                written(interface.mac),
                written(contents.to)
            ),
        };
        Step::new(About::Arrived, words)
    }

    fn destination(&self) -> Option<IpAddr> {
        self.packet().map(|packet| packet.destination)
    }

    fn vip(&self) -> Option<Step> {
        let destination = self.destination()?;
        let is_vip = self.is_in(CellTable::Vips, CellTable::VipsV6, destination)?;
        let words = if is_vip { "is a VIP" } else { "is no VIP" };
        Some(Step::new(About::Vip, format!("{destination} {words}")))
    }

    fn source(&self) -> Option<Step> {
        let source = self.packet()?.source;
        let is_server = self.is_in(CellTable::Sources, CellTable::SourcesV6, source)?;
        let words = if is_server {
            "is a server that is reached by VS/NAT: this may be a reply"
        } else {
            "is no server that is reached by VS/NAT"
        };
        Some(Step::new(About::Vip, format!("{source} {words}")))
    }

    /// Whether an address is in a table that was asked.
    fn is_in(&self, table: CellTable, table_v6: CellTable, address: IpAddr) -> Option<bool> {
        let row = |table| {
            let mut rows = self.performance.rows.iter();
            rows.find(|row| matches!(row.place, Place::Cells(of, _) if of == table))
                .map(|row| Still(&row.was))
        };
        match address {
            IpAddr::V4(address) => row(table).map(|bucket| vip::holds(bucket, address.octets())),
            IpAddr::V6(address) => row(table_v6).map(|bucket| vip::holds_v6(bucket, address.octets())),
        }
    }

    fn asked(&self, key: lbxdp_common::service::ServiceKey, index: Option<u32>) -> Step {
        let name = service_key(key)
            .map_or_else(|| "what is asked for".to_owned(), |key| ServiceName(key).to_string());
        let marked = key.mark().map_or_else(String::new, |mark| format!("its mark is {mark}; "));
        let Some(index) = index else {
            return Step::new(About::Service, format!("{marked}there is no service {name}"));
        };
        let cells =
            self.row(CellTable::Services, index).and_then(|row| <[u64; SERVICE_CELLS]>::try_from(row).ok());
        let Some(row) = cells.map(ServiceRow::from_cells) else {
            return Step::new(About::Service, format!("{marked}{name} has no row"));
        };
        let scheduler = row.list.scheduler().map_or("no scheduler", |scheduler| scheduler.name());
        let servers = match row.list.length {
            1 => "one server".to_owned(),
            number => format!("{number} servers"),
        };
        let persistent = if row.flags.has(ServiceFlags::PERSISTENT) {
            format!(", persistent for {} s", row.persistence.seconds)
        } else {
            String::new()
        };
        let alone = if row.flags.has(ServiceFlags::ONE_PACKET) { ", each datagram by itself" } else { "" };
        Step::new(About::Service, format!("{marked}{name}: {scheduler}, {servers}{persistent}{alone}"))
    }

    fn service(&self) -> Option<String> {
        let asked = self.performance.notes.iter().find_map(|note| match note {
            Note::Service(key, Some(_)) => service_key(*key),
            _ => None,
        });
        let of_server = || self.server_row(self.server()?).and_then(|row| service_key(row.service));
        asked.or_else(of_server).map(|key| ServiceName(key).to_string())
    }

    fn hashed(&self, server: ServerId) -> Step {
        let whom = if server == ServerId::NONE { "nobody".to_owned() } else { self.server_name(server) };
        Step::new(About::Scheduler, format!("none is asked: by consistent hash of the connection, to {whom}"))
    }

    /// Where it goes, and how.
    fn going(&self) -> Option<Step> {
        let course = self.course()?;
        let counted = self.counted();
        let method = if self.server_row(course.server()).is_some_and(|row| row.flags.has(ServerFlags::LOCAL))
        {
            "the director itself".to_owned()
        } else {
            format!("by {}", method_words(course.method(), self.tunnel()))
        };
        let name = self.server_name(course.server());
        let words = match counted {
            Some(more) if more.reply_packets > 0 => format!("from {name} {method}: a reply to its client"),
            Some(more) if more.connections > 0 => format!("{name} {method}, a new connection"),
            Some(_) => format!("{name} {method}"),
            None => return None,
        };
        Some(Step::new(About::Server, words))
    }

    fn fragment(&self) -> Step {
        let packet = self.packet();
        let is_first = packet.and_then(|packet| packet.fragment).is_some_and(|(offset, _)| offset == 0);
        let is_known = self
            .performance
            .rows
            .iter()
            .any(|row| matches!(row.place, Place::Fragment(_)) && row.was.iter().any(|cell| *cell != 0));
        let words = match (is_first, is_known) {
            (true, false) => "the first one of its datagram: those that follow will go the same way",
            (true, true) => "a first one of a datagram that is known already",
            (false, true) => "its datagram is known: it goes the way of the first one",
            (false, false) => "nothing is known of its datagram",
        };
        Step::new(About::Fragment, words)
    }
}

/// A forwarding method.
fn method_words(method: Method, tunnel: Option<TunnelKind>) -> String {
    match method {
        Method::DIRECT => "VS/DR".to_owned(),
        Method::TUNNEL => tunnel.map_or_else(|| "VS/TUN".to_owned(), |kind| format!("VS/TUN ({kind})")),
        _ => "VS/NAT".to_owned(),
    }
}

const fn overflow_words(overflow: Overflow) -> &'static str {
    match overflow {
        Overflow::HashedHalfOpen => {
            "half-open connections have used up their share of the places: it gets no entry"
        }
        Overflow::HashedFull => "all places it could have are taken: it gets no entry",
        Overflow::HashedOn => "it goes on by hash: its connection has got no entry",
        Overflow::TakenUp => "its connection, which has gone by hash, gets an entry",
        Overflow::HalfOpenReplaced => "a half-open connection loses its place",
        Overflow::StayedBehind => "a connection keeps its old place",
    }
}

const fn notice_words(notice: Notice) -> &'static str {
    match notice {
        Notice::PortUnreachable => "its sender is told: port unreachable",
        Notice::TimeExceeded => "its sender is told: time exceeded",
        Notice::PacketTooBig => "its sender is told how long a packet may be",
        Notice::ClientLimit => "its sender is not told: it has been told too much already",
        Notice::TotalLimit => "its sender is not told: too many have been told just now",
        Notice::Relayed => "whom the error is for gets it",
        Notice::Unanswerable => "its sender is not told: such a packet gets no answer",
    }
}
