//! The guides in docs/, command by command, as a new user types them: what they say one sees is seen, traffic passes, and after
//! the last chapter every machine is as it was.

mod book;
mod console;
mod units;
mod words;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use lbxdp_tests::network::lore::{Back, Place, gateway, one_net, routed};
use lbxdp_tests::network::plan::{Director, HostPlan, Role, at};
use lbxdp_tests::network::snapshot::{differences, snapshot};
use lbxdp_tests::network::{Net, Network, Plan, To};

use book::{Act, Guide, has_all};
use console::Console;

/// A guide's chapters, one after the other.
struct Course {
    guide: &'static str,
    /// Where it is tried.
    plan: fn() -> Plan,
    chapters: &'static [&'static str],
}

const DIRECT: Course = Course {
    guide: "guide-dr.md",
    plan: || one_net(Back::Straight),
    chapters: &["Install", "Set up", "Look", "Take down"],
};
const DIRECT_BY_HAND: Course =
    Course { chapters: &["Install", "Set up by hand", "Look", "Take down by hand"], ..DIRECT };
const DIRECTOR_SERVES: Course = Course {
    plan: || one_net(Back::Straight).with_director(|director| director.serves = true),
    chapters: &["Install", "Set up", "The director is a real server too", "Take down"],
    ..DIRECT
};
const THREE_NETS: Course = Course {
    plan: || routed(Place::Inner, Back::Straight),
    chapters: &["Install", "VIP, servers and clients on three nets", "Take down"],
    ..DIRECT
};
const TUNNELS: Course = Course { guide: "guide-tun.md", plan: beyond_a_router, ..DIRECT };
const TUNNELS_BY_HAND: Course = Course { chapters: DIRECT_BY_HAND.chapters, ..TUNNELS };
const TRANSLATION: Course = Course { guide: "guide-nat.md", plan: without_a_way_back, ..DIRECT };
const TRANSLATION_BY_HAND: Course = Course { chapters: DIRECT_BY_HAND.chapters, ..TRANSLATION };

const COURSES: [&Course; 8] = [
    &DIRECT,
    &DIRECT_BY_HAND,
    &DIRECTOR_SERVES,
    &THREE_NETS,
    &TUNNELS,
    &TUNNELS_BY_HAND,
    &TRANSLATION,
    &TRANSLATION_BY_HAND,
];

/// Chapters whose commands want what a namespace has not, and why.
const UNTRIED: [(&str, &str, &str); 2] = [
    ("guide-dr.md", "After a reboot", "systemd; see units.rs"),
    ("guide-tun.md", "By hand, with the kernel's tunnel", "the kernel's module ipip"),
];

/// Servers behind the clients' router.
fn beyond_a_router() -> Plan {
    let net = |name, number| Net { name, number, mtu: 1500 };
    let host = |name, role, spots: &[_]| HostPlan { name, role, spots: spots.to_vec(), routes: vec![] };
    let server =
        |name, number| host(name, Role::Server, &[at("far", number)]).to(To::Everywhere, at("far", 1));
    Plan {
        nets: vec![net("out", 9), net("front", 0), net("far", 2)],
        hosts: vec![
            host("client", Role::Client, &[at("out", 2)]).to(To::Everywhere, at("out", 1)),
            host("r1", Role::Router, &[at("out", 1), at("front", 1), at("far", 1)]),
            host("director", Role::Director(Director::default()), &[at("front", 10)])
                .to(To::Everywhere, at("front", 1)),
            server("s1", 11),
            server("s2", 12),
        ],
        vip: at("front", 100),
    }
}

/// Servers on the director's inner net that have no way out of it yet.
fn without_a_way_back() -> Plan {
    let mut plan = gateway();
    for host in plan.hosts.iter_mut().filter(|host| host.role == Role::Server) {
        host.routes.clear();
    }
    plan
}

/// The hosts, each with an open terminal.
struct Room {
    // Dropped first: what is started there ends before the network does.
    consoles: BTreeMap<&'static str, Console>,
    network: Network,
}

impl Room {
    fn build(plan: Plan) -> Result<Self> {
        let network = Network::build_bare(plan)?;
        // As a machine comes.
        network.director().namespace.set("ipv4/conf/all/accept_redirects", "1")?;
        let mut consoles = BTreeMap::new();
        for site in network.sites().filter(|site| site.plan.role != Role::Router) {
            consoles.insert(site.plan.name, Console::open(&site.namespace)?);
        }
        Ok(Self { consoles, network })
    }

    /// The hosts that a guide means.
    fn meant(&self, at: &str) -> Result<Vec<&'static str>> {
        let names = self.network.sites().map(|site| (site.plan.name, site.plan.role));
        let is_meant = |role: &Role| match at {
            "the director" => matches!(role, Role::Director(_)),
            "each real server" => *role == Role::Server,
            "a client" => *role == Role::Client,
            _ => false,
        };
        let meant: Vec<&str> = names.filter(|(_, role)| is_meant(role)).map(|(name, _)| name).collect();
        ensure!(!meant.is_empty(), "nobody knows where that is: on {at}");
        Ok(meant)
    }

    fn play(&mut self, act: &Act) -> Result<()> {
        for host in self.meant(&act.at)? {
            let console = self.console(host)?;
            let mut printed = String::new();
            for command in &act.commands {
                printed += &console.enter(command)?;
            }
            let is_in_background = act.commands.last().is_some_and(|command| command.ends_with('&'));
            if is_in_background {
                console.wait_for(&printed, &act.seen)?;
            } else if let Err(line) = has_all(&printed, &act.seen) {
                bail!("on {host}, after {:?}, this is not seen: `{line}`, but\n{printed}", act.commands);
            }
        }
        Ok(())
    }

    fn console(&mut self, host: &str) -> Result<&mut Console> {
        self.consoles.get_mut(host).context("a host without a terminal")
    }

    /// Every machine is as it was.
    fn is_as(&self, before: &BTreeMap<&'static str, String>) -> Result<()> {
        for (host, now) in self.snapshots()? {
            let before = before.get(host).context("a host without a past")?;
            ensure!(now == *before, "{host} is another: {}", differences(before, &now));
        }
        Ok(())
    }

    fn snapshots(&self) -> Result<BTreeMap<&'static str, String>> {
        let is_changed = |role: Role| matches!(role, Role::Server | Role::Director(_));
        let sites = self.network.sites().filter(|site| is_changed(site.plan.role));
        sites.map(|site| Ok((site.plan.name, snapshot(site)?))).collect()
    }
}

fn follow(course: &Course) -> Result<()> {
    let guide = Guide::read(course.guide)?;
    let mut room = Room::build((course.plan)())?;
    let before = room.snapshots()?;
    for title in course.chapters {
        for act in &guide.chapter(title)?.acts {
            room.play(act).with_context(|| format!("{}, {title}", course.guide))?;
        }
    }
    room.is_as(&before).context(course.guide)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn direct_routing() -> Result<()> {
    follow(&DIRECT)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn direct_routing_by_hand() -> Result<()> {
    follow(&DIRECT_BY_HAND)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn direct_routing_with_a_director_that_serves() -> Result<()> {
    follow(&DIRECTOR_SERVES)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn direct_routing_between_three_nets() -> Result<()> {
    follow(&THREE_NETS)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn tunnels() -> Result<()> {
    follow(&TUNNELS)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn tunnels_by_hand() -> Result<()> {
    follow(&TUNNELS_BY_HAND)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn address_translation() -> Result<()> {
    follow(&TRANSLATION)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn address_translation_by_hand() -> Result<()> {
    follow(&TRANSLATION_BY_HAND)
}

/// Nothing stands in a guide that nobody tries.
#[test]
fn every_chapter_is_tried() -> Result<()> {
    for name in ["guide-dr.md", "guide-tun.md", "guide-nat.md"] {
        for chapter in Guide::read(name)?.chapters.iter().filter(|chapter| !chapter.acts.is_empty()) {
            let title = chapter.title.as_str();
            let is_tried =
                COURSES.iter().any(|course| course.guide == name && course.chapters.contains(&title));
            let is_excused = UNTRIED.iter().any(|(guide, untried, _)| (*guide, *untried) == (name, title));
            ensure!(is_tried != is_excused, "{name}, {title}: tried {is_tried}, excused {is_excused}");
        }
    }
    Ok(())
}
