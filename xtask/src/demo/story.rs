//! What the demo shows, step by step. Each claim is checked: a demo that shows something else fails.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::topology::{CLIENT, DIRECTOR};
use lbxdp_tests::{Daemon, Lab, Legs, Plan};

use super::interrupt::Interrupt;
use super::paint::Paint;

/// Requests through the service with all weights as they were set first.
const REQUESTS: usize = 30;

/// Requests after one server has been set to weight 0.
const LATER_REQUESTS: usize = 12;

/// Lines of `-L -n -c` that are shown: its head and some connections.
const CONNECTION_LINES: usize = 10;

/// Weights of the real servers.
const WEIGHTS: [u8; 2] = [2, 1];

/// The network, the director's daemon and who watches. Dropped in order: the daemon before its network.
pub(crate) struct Story {
    daemon: Daemon,
    lab: Lab,
    service: SocketAddrV4,
    paint: Paint,
    interrupt: Interrupt,
}

impl Story {
    /// Builds the network and starts the daemon.
    pub(crate) fn begin(binary: &Path, legs: Legs, paint: Paint, interrupt: Interrupt) -> Result<Self> {
        paint.say("A network of namespaces: direct routing, where servers answer past the director.");
        let lab = Lab::build(Plan { legs, ..Plan::default() })?;
        println!("{}", picture(&lab, legs));
        interrupt.check()?;

        paint.say("The daemon on the director loads the packet path onto its interfaces (native XDP).");
        let interfaces = lab.interfaces().join(" -i ");
        paint.command(&format!("lbxdp run --instance {} -i {interfaces}", lab.instance()));
        let daemon = lab.start_daemon(binary)?;
        Ok(Self { daemon, service: lab.service(HTTP_PORT), lab, paint, interrupt })
    }

    /// Tells it all.
    pub(crate) fn tell(&self) -> Result<()> {
        self.paint.say(
            "A virtual service and its real servers, in ipvsadm's words (`ipvsadm` is lbxdp by that name).",
        );
        self.ipvsadm(&format!("-A -t {} -s wlc", self.service), usize::MAX)?;
        for (server, weight) in self.lab.servers.iter().zip(WEIGHTS) {
            self.ipvsadm(
                &format!("-a -t {} -r {}:{HTTP_PORT} -g -w {weight}", self.service, server.address),
                9,
            )?;
        }

        let answered = self.requests(REQUESTS)?;
        ensure!(answered.len() == WEIGHTS.len(), "not every server has answered");

        self.paint.say("What the director knows.");
        self.ipvsadm("-L -n", usize::MAX)?;
        println!();
        self.ipvsadm("-L -n -c", CONNECTION_LINES)?;
        println!();
        self.ipvsadm("-L -n --stats", usize::MAX)?;
        self.drain()
    }

    /// A server is taken out of service: it keeps what it has, and gets nothing new.
    fn drain(&self) -> Result<()> {
        let mut held = self.lab.client().open(self.service)?;
        let holder = String::from_utf8_lossy(&held.get("/")?).into_owned();
        self.paint.say(&format!(
            "A client holds a connection, and {holder} answers on it. Its weight is set to 0."
        ));
        let server = self.lab.servers.iter().find(|server| server.name == holder);
        let address = server.context("somebody else than our servers answered")?.address;
        self.ipvsadm(&format!("-e -t {} -r {address}:{HTTP_PORT} -g -w 0", self.service), usize::MAX)?;

        let answered = self.requests(LATER_REQUESTS)?;
        ensure!(!answered.contains_key(&holder), "{holder} has weight 0 and was given a new connection");

        let again = String::from_utf8_lossy(&held.get("/")?).into_owned();
        ensure!(again == holder, "the held connection went from {holder} to {again}");
        self.paint.say(&format!("New connections have moved; on the held one {again} still answers."));
        self.ipvsadm("-L -n", usize::MAX)
    }

    /// Asks through the service, shows who answered, and gives the number of answers of each who did.
    fn requests(&self, count: usize) -> Result<BTreeMap<String, usize>> {
        self.paint.say(&format!("{count} requests through the VIP, each on a connection of its own."));
        self.paint.command(&format!("curl http://{}/", self.service.ip()));
        let mut answered = BTreeMap::new();
        for number in 1..=count {
            self.interrupt.check()?;
            let name = self.lab.client().who(self.service).with_context(|| {
                format!("request {number} of {count}; the daemon says:\n{}", self.daemon.log())
            })?;
            *answered.entry(name).or_default() += 1;
        }
        for server in &self.lab.servers {
            self.paint.bar(&server.name, answered.get(&server.name).copied().unwrap_or(0), count);
        }
        Ok(answered)
    }

    /// Shows a command line, runs it, and shows what it printed, down to some lines.
    fn ipvsadm(&self, line: &str, most: usize) -> Result<()> {
        self.interrupt.check()?;
        self.paint.command(&format!("ipvsadm {line}"));
        let printed = self.daemon.must(line)?;
        self.paint.output(&printed, most);
        Ok(())
    }

    /// Says how to enter the network, and how to remove it.
    pub(crate) fn say_how_to_enter(&self, binary: &Path) {
        let enter = |host: &str| format!("nsenter --net=/run/netns/{}-{host}", self.lab.instance());
        let binary = binary.display();
        self.paint.say("The network stands. As the client:");
        self.paint.command(&format!("{} curl http://{}/", enter("client"), self.service.ip()));
        self.paint.say("On the director:");
        self.paint.command(&format!("export LBXDP_INSTANCE={}", self.lab.instance()));
        self.paint.command(&format!("{binary} -L -n"));
        self.paint.command(&format!("{} ip -brief address", enter("director")));
        self.paint.say("To remove it:");
        self.paint.command("cargo xtask demo --remove");
    }

    /// Waits until a signal asks for the end.
    pub(crate) fn stand(&self) -> Result<()> {
        self.interrupt.wait()
    }
}

/// The topology, with its addresses.
fn picture(lab: &Lab, legs: Legs) -> String {
    let links = match legs {
        Legs::One => {
            "  client ── router ── switch ──┬── director\n  \
             \x20                            └── s1, s2"
        }
        Legs::Two => {
            "  client ── router ──┬── director ──┐\n  \
             \x20                  └── switch ────┴── s1, s2"
        }
    };
    let mut picture = format!("{links}\n\n  client   {CLIENT}\n  director {DIRECTOR}, VIP {}", lab.vip());
    for (server, weight) in lab.servers.iter().zip(WEIGHTS) {
        let line = format!("\n  {:<8} {}, weight {weight}, the VIP on lo", server.name, server.address);
        picture.push_str(&line);
    }
    picture
}
