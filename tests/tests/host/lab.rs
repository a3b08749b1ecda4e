//! A network whose director and servers are set up by lbxdp's commands and by nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::network::plan::Role;
use lbxdp_tests::network::snapshot::{differences, snapshot};
use lbxdp_tests::network::{Exchange, Family, Method, Network, Plan, Site};
use lbxdp_tests::service::status;
use lbxdp_tests::{Answer, Daemon, Ipvsadm, daemon, wait};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

const DEADLINE: Duration = Duration::from_secs(10);

/// The programs of the servers, as options of ipvsadm and ports.
const PROGRAMS: [(&str, u16); 4] = [("-t", 80), ("-t", 7), ("-u", 7), ("-u", 9)];

/// The network, its daemon, and what was everywhere before anything was set up. Fields are dropped in order.
pub(crate) struct Lab {
    pub(crate) daemon: Daemon,
    pub(crate) network: Network,
    method: Method,
    before: BTreeMap<&'static str, String>,
}

impl Lab {
    /// A bare network with a daemon.
    pub(crate) fn bare(plan: Plan, method: Method) -> Result<Self> {
        Self::bare_in(Network::build_bare(plan)?, method, &[])
    }

    /// The same with a network that is there, and with more words for the daemon.
    pub(crate) fn bare_in(network: Network, method: Method, arguments: &[&str]) -> Result<Self> {
        let daemon = network.start_daemon_with(arguments)?;
        let mut lab = Self { daemon, network, method, before: BTreeMap::new() };
        lab.before = lab.snapshots()?;
        Ok(lab)
    }

    /// A network that is set up, and serves.
    pub(crate) fn started(plan: Plan, method: Method) -> Result<Self> {
        let mut lab = Self::bare(plan, method)?;
        lab.start()?;
        Ok(lab)
    }

    /// Sets everything up.
    pub(crate) fn start(&mut self) -> Result<()> {
        for name in self.server_names() {
            if self.method != Method::Masquerade {
                self.must(name, &self.realserver())?;
                self.network.serve_again(name, true)?;
            }
        }
        let services = self.services_file(&self.servers())?;
        let vips = self.vips();
        self.must("director", &format!("director start --services {services} {vips}"))?;
        if self.director_serves() {
            self.network.serve_again("director", true)?;
        }
        self.wait_for_next_hops()
    }

    pub(crate) fn wait_for_next_hops(&self) -> Result<()> {
        wait::until("all next hops are known", DEADLINE, || {
            status(&self.daemon).is_ok_and(|text| !text.contains("UNKNOWN"))
        })
    }

    /// Takes everything back, in the opposite order.
    pub(crate) fn stop(&mut self) -> Result<()> {
        for name in [vec!["director"], self.server_names()].concat() {
            self.network.serve_again(name, false)?;
            if name == "director" || self.method != Method::Masquerade {
                let role = if name == "director" { "director" } else { "realserver" };
                self.must(name, &format!("{role} stop"))?;
            }
        }
        Ok(())
    }

    /// The words that set a server up.
    pub(crate) fn realserver(&self) -> String {
        let mut words = format!("realserver start {}", self.vips());
        if let Method::Tunnel(tunnel) = self.method {
            let kind = tunnel.to_string();
            let kind = kind.split_whitespace().nth(2).unwrap_or_default();
            write!(words, " --tunnel {kind}").expect("a string takes it");
            for address in self.directors() {
                write!(words, " --director {address}").expect("a string takes it");
            }
        }
        words
    }

    /// All VIPs, as options.
    fn vips(&self) -> String {
        let vips = Family::BOTH.map(|family| self.network.all_vips(family)).concat();
        vips.iter().map(|vip| format!("--vip {vip}")).collect::<Vec<_>>().join(" ")
    }

    /// The director's own addresses.
    fn directors(&self) -> Vec<IpAddr> {
        let director = self.network.director();
        let of = |family: Family| director.plan.spots.iter().map(move |spot| (*spot, family));
        Family::BOTH.into_iter().flat_map(of).map(|(spot, family)| self.network.at(spot, family)).collect()
    }

    fn director_serves(&self) -> bool {
        matches!(self.network.director().plan.role, Role::Director(director) if director.serves)
    }

    pub(crate) fn server_names(&self) -> Vec<&'static str> {
        self.network.servers().map(|site| site.plan.name).collect()
    }

    /// All servers, the director too if it is one.
    fn servers(&self) -> Vec<&Site> {
        let own = self.director_serves().then(|| self.network.director());
        self.network.servers().chain(own).collect()
    }

    /// A file of services, each with these servers, at the VIPs of both families.
    pub(crate) fn services_file(&self, servers: &[&Site]) -> Result<String> {
        let mut text = String::new();
        for family in Family::BOTH {
            let vip = self.network.vip(family);
            for (option, port) in PROGRAMS {
                let at = |address: IpAddr| SocketAddr::new(address, port);
                writeln!(text, "-A {option} {} -s rr", at(vip))?;
                for server in servers {
                    let server = at(self.network.address(server, family));
                    writeln!(text, "-a {option} {} -r {server} {}", at(vip), self.method)?;
                }
            }
        }
        self.file("rules", &text)
    }

    /// A file that goes with the lab.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = std::env::temp_dir().join(format!("{}-{name}", self.network.instance()));
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// lbxdp's answer on a host.
    pub(crate) fn lbxdp(&self, host: &str, words: &str) -> Result<Answer> {
        let site = self.network.site(host);
        let mut command = site.namespace.command(daemon::binary()?);
        command.args(words.split_whitespace()).env("LBXDP_INSTANCE", self.instance(host));
        let output = command.output().context("starting lbxdp")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Answer { stdout: text(&output.stdout), stderr: text(&output.stderr), code: output.status.code() })
    }

    /// The director's is that of its daemon; every other host has one of its own.
    fn instance(&self, host: &str) -> String {
        match host {
            "director" => self.network.instance(),
            host => format!("{}-{host}", self.network.instance()),
        }
    }

    /// Types a line on a host, which must succeed.
    pub(crate) fn enter(&self, host: &str, line: &str) -> Result<String> {
        Ipvsadm::of(&self.instance(host))?.shell(&self.network.site(host).namespace, line)
    }

    /// Types a line on a host that goes on until this is dropped.
    pub(crate) fn begin(&self, host: &str, line: &str) -> Result<Begun> {
        let ipvsadm = Ipvsadm::of(&self.instance(host))?;
        let mut command = ipvsadm.command(&self.network.site(host).namespace, "sh");
        let child = command.args(["-c", line]).process_group(0).stderr(Stdio::null()).spawn()?;
        Ok(Begun { child, _ipvsadm: ipvsadm })
    }

    /// Clients reach every server by the first VIP of IPv4.
    pub(crate) fn serves(&self) -> Result<()> {
        let names = self.server_names();
        let vip = SocketAddr::new(self.network.vip(Family::V4), HTTP_PORT);
        let asked = names.iter().map(|_| self.network.asker().who(vip));
        let answered: BTreeSet<String> = asked.collect::<Result<_>>().context("asking the VIP")?;
        ensure!(answered.iter().eq(names.iter()), "{answered:?} answer, not {names:?}");
        Ok(())
    }

    /// The same, where it must succeed; what it printed.
    pub(crate) fn must(&self, host: &str, words: &str) -> Result<String> {
        let answer = self.lbxdp(host, words)?;
        if answer.code != Some(0) {
            bail!("`lbxdp {words}` on {host}: {answer:?}");
        }
        Ok(answer.stdout)
    }

    /// Everything that clients do, by VIPs of both families.
    pub(crate) fn traffic(&self) -> Result<()> {
        for family in Family::BOTH {
            let exchange = Exchange::past_services(&self.network, self.network.vip(family));
            exchange.everything().with_context(|| format!("{family}"))?;
        }
        Ok(())
    }

    /// Nothing is left of what was set up: every sysctl, address, route and link.
    pub(crate) fn is_as_before(&self) -> Result<()> {
        for (host, now) in self.snapshots()? {
            let before = self.before.get(host).context("a host without a past")?;
            ensure!(now == *before, "{host} is another: {}", differences(before, &now));
        }
        Ok(())
    }

    fn snapshots(&self) -> Result<BTreeMap<&'static str, String>> {
        let interesting = |site: &&Site| matches!(site.plan.role, Role::Server | Role::Director(_));
        self.network.sites().filter(interesting).map(|site| Ok((site.plan.name, snapshot(site)?))).collect()
    }
}

/// A command that goes on, with all that it has started.
pub(crate) struct Begun {
    child: Child,
    _ipvsadm: Ipvsadm,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).map(Pid::from_raw);
        // One that has ended by itself is not there to be told.
        let _ = group.map(|group| killpg(group, Signal::SIGTERM));
        let _ = self.child.wait();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What a test that failed has left: decapsulators are pinned, and memories lie in /run.
        for name in self.server_names() {
            let _ = self.lbxdp(name, "realserver stop");
            let _ = fs::remove_file(format!("/run/lbxdp/{}-{name}.realserver", self.network.instance()));
        }
        let _ = fs::remove_file(format!("/run/lbxdp/{}.director", self.network.instance()));
        let _ = fs::remove_file(std::env::temp_dir().join(format!("{}-rules", self.network.instance())));
    }
}
