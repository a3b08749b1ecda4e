//! The init scripts of the old howtos, in our own words (`tests/scripts/`): ifconfig, route, ipvsadm; start, status, stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::network::{Family, Network, lore};
use lbxdp_tests::service::status;
use lbxdp_tests::{Daemon, Ipvsadm, Lab, Namespace, Plan, daemon, wait};

/// How long ARP may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A script, with ipvsadm on its PATH.
struct Script<'a> {
    file: PathBuf,
    ipvsadm: &'a Ipvsadm,
    host: &'a Namespace,
    /// What stands at the top of the script for others to change, beside what it says itself.
    variables: Vec<(&'static str, String)>,
}

impl<'a> Script<'a> {
    fn new(name: &str, ipvsadm: &'a Ipvsadm, host: &'a Namespace) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(name);
        Self { file, ipvsadm, host, variables: vec![] }
    }

    fn with(mut self, variable: &'static str, value: &impl ToString) -> Self {
        self.variables.push((variable, value.to_string()));
        self
    }

    /// What it has printed; it must end with this code and complain of nothing.
    fn run(&self, verb: &str, code: i32) -> Result<String> {
        let mut command = self.ipvsadm.command(self.host, &self.file);
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        let output = command.arg(verb).envs(variables).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let name = self.file.display();
        ensure!(
            output.status.code() == Some(code),
            "`{name} {verb}` has ended with {}: {errors}",
            output.status
        );
        ensure!(errors.is_empty(), "`{name} {verb}` complains: {errors}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn wait_for_servers(daemon: &Daemon) -> Result<()> {
    wait::until("all servers are found", DEADLINE, || {
        status(daemon).is_ok_and(|text| !text.contains("UNKNOWN"))
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn direct_routing_is_set_up_and_taken_down_by_init_scripts() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    // The scripts' part is to be theirs.
    lab.director.ip(&format!("addr del {}/32 dev eth0", lab.vip()))?;
    for server in &lab.servers {
        server.namespace.ip(&format!("addr del {}/32 dev lo", lab.vip()))?;
    }
    let ipvsadm = Ipvsadm::of(daemon.instance())?;
    let director = Script::new("lvs-dr-director", &ipvsadm, &lab.director);
    let servers: Vec<Script> = lab
        .servers
        .iter()
        .map(|server| Script::new("lvs-dr-realserver", &ipvsadm, &server.namespace))
        .collect();
    for server in &servers {
        server.run("status", 3)?;
        server.run("start", 0)?;
        server.run("status", 0)?;
    }
    ensure!(director.run("status", 3)?.contains("stopped"), "it says that it runs");
    for _ in 0..2 {
        let started = director.run("start", 0)?;
        ensure!(started.contains("10.0.0.100:http rr") && started.contains("-> 10.0.0.12:http"), "{started}");
        let listed = director.run("status", 0)?;
        ensure!(listed.contains("TCP  10.0.0.100:80 rr\n  -> 10.0.0.11:80 "), "{listed}");
        wait_for_servers(&daemon)?;
        let names: Vec<String> =
            (0..4).map(|_| lab.client().who(lab.service(HTTP_PORT))).collect::<Result<_>>()?;
        ensure!(names == ["s2", "s1", "s2", "s1"], "{names:?}");
        director.run("stop", 0)?;
        ensure!(daemon.must("-S -n")?.is_empty(), "something is left");
        director.run("status", 3)?;
    }
    servers.iter().try_for_each(|server| server.run("stop", 0).map(drop))
}

/// A sysctl of a host, below `net/ipv4`.
fn sysctl(host: &Namespace, name: &str) -> Result<String> {
    Ok(host.run(&format!("cat /proc/sys/net/ipv4/{name}"))?.trim().to_owned())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn address_translation_is_set_up_and_taken_down_by_init_scripts() -> Result<()> {
    let network = Network::build(lore::gateway())?;
    let daemon = network.start_daemon()?;
    let director = &network.director().namespace;
    let vip = network.vip(Family::V4);
    director.ip(&format!("addr del {vip}/32 dev eth0"))?;
    let ipvsadm = Ipvsadm::of(daemon.instance())?;
    let script = Script::new("lvs-nat-director", &ipvsadm, director);
    let mut servers = Vec::new();
    for host in network.servers() {
        // The script's part is to be its own: the way back; and what does not belong there is to go.
        host.namespace.ip("route del default")?;
        host.namespace.ip(&format!("addr del {vip}/32 dev lo"))?;
        host.namespace.run(&format!("ifconfig lo:0 {vip} netmask 255.255.255.255 up"))?;
        for redirects in ["accept_redirects", "send_redirects"] {
            host.namespace.set(&format!("ipv4/conf/eth0/{redirects}"), "1")?;
        }
        let address = network.address(host, Family::V4);
        servers.push(Script::new("lvs-nat-realserver", &ipvsadm, &host.namespace).with("ADDRESS", &address));
    }
    for (server, host) in servers.iter().zip(network.servers()) {
        ensure!(server.run("status", 3)?.contains("stopped"), "it says that it runs");
        server.run("start", 0)?;
        ensure!(server.run("status", 0)?.contains("running"), "it says that it does not run");
        let loopback = host.namespace.ip("-4 addr show dev lo")?;
        ensure!(!loopback.contains(&vip.to_string()), "{loopback}");
        for name in ["conf/eth0/accept_redirects", "conf/eth0/send_redirects", "ip_forward"] {
            ensure!(sysctl(&host.namespace, name)? == "0", "{name}");
        }
    }
    ensure!(script.run("status", 3)? == "stopped\n", "it says that it runs");
    script.run("start", 0)?;
    ensure!(script.run("status", 0)? == "running\n", "it says that it does not run");
    wait_for_servers(&daemon)?;
    let who = || network.asker().who(SocketAddr::new(vip, 8080));
    let mut names: Vec<String> =
        (0..4).map(|_| who()).collect::<Result<_>>().context("asking through the director")?;
    names.sort_unstable();
    ensure!(names == ["s1", "s1", "s2", "s2"], "{names:?}");
    for server in &servers {
        server.run("stop", 0)?;
        server.run("status", 3)?;
    }
    ensure!(who().is_err(), "a server without a way back answers");
    script.run("stop", 0)?;
    ensure!(daemon.must("-S -n")?.is_empty(), "something is left");
    Ok(())
}
