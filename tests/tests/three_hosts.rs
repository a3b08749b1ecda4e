//! The way the kernel's own tests go about IPVS: a client, a director and a server, each in a namespace and joined to both
//! others; direct routing, address translation and a tunnel, a transfer each, set up by ipvsadm alone.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::command;
use lbxdp_tests::http::{HTTP_PORT, Host};
use lbxdp_tests::link::{End, face_native_xdp, join};
use lbxdp_tests::pass::Pass;
use lbxdp_tests::{Client, Daemon, Ipvsadm, Label, Namespace, body, daemon, leftovers, wait};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const RIP: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
const DIP: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
const TRANSFER: usize = 1_000_000;
const DEADLINE: Duration = Duration::from_secs(10);

/// ```text
///          10.1.0/24             10.2.0/24
///   client ───────── director ───────── server
///      └──────────── 10.3.0/24 ───────────┘
/// ```
///
/// Fields are dropped in order: programs end before their namespaces.
struct Triangle {
    daemon: Daemon,
    ipvsadm: Ipvsadm,
    _host: Host,
    /// What the director's peers need for native XDP.
    _client_side: Pass,
    server_side: Option<Pass>,
    client: Namespace,
    director: Namespace,
    server: Namespace,
}

impl Triangle {
    fn build() -> Result<Self> {
        leftovers::remove()?;
        let label = Label::unique();
        let host = |role: &str| Namespace::create(format!("{label}-{role}"));
        let (client, director, server) = (host("client")?, host("director")?, host("server")?);
        let end = |namespace, interface| End { namespace, interface };
        for (number, one, other) in [
            (1, end(&client, "eth0"), end(&director, "eth0")),
            (2, end(&director, "eth1"), end(&server, "eth0")),
            (3, end(&client, "eth1"), end(&server, "eth1")),
        ] {
            join(one, other, 1500)?;
            one.namespace.ip(&format!("addr add 10.{number}.0.1/24 dev {}", one.interface))?;
            other.namespace.ip(&format!("addr add 10.{number}.0.2/24 dev {}", other.interface))?;
        }
        for host in [&client, &director, &server] {
            host.set("ipv4/conf/all/rp_filter", "0")?;
            host.set("ipv4/conf/default/rp_filter", "0")?;
            for interface in ["eth0", "eth1"] {
                host.set(&format!("ipv4/conf/{interface}/rp_filter"), "0")?;
            }
        }
        server.set("ipv4/conf/all/arp_ignore", "1")?;
        server.set("ipv4/conf/all/arp_announce", "2")?;
        server.ip(&format!("addr add {VIP}/32 dev lo"))?;
        director.ip(&format!("addr add {VIP}/32 dev eth0"))?;
        client.ip(&format!("route add {VIP} via 10.1.0.2"))?;
        director.set("ipv4/ip_forward", "1")?;
        let client_side = face_native_xdp(End { namespace: &client, interface: "eth0" })?;
        let server_side = face_native_xdp(End { namespace: &server, interface: "eth0" })?;
        let programs = Host::start(&server, "server", &[RIP, VIP])?;
        let instance = label.to_string();
        let daemon = Daemon::start(&daemon::binary()?, &director, &instance, &["eth0", "eth1"], &[])?;
        let ipvsadm = Ipvsadm::of(&instance)?;
        Ok(Self {
            daemon,
            ipvsadm,
            _host: programs,
            _client_side: client_side,
            server_side: Some(server_side),
            client,
            director,
            server,
        })
    }

    /// How the server answers the client.
    fn answer_by(&self, gateway: &str) -> Result<()> {
        self.server.ip(&format!("route replace 10.1.0.0/24 via {gateway}")).map(drop)
    }

    fn transfer(&self, method: &str) -> Result<()> {
        let set_up = format!(
            "ipvsadm -C\nipvsadm -A -t {VIP}:80 -s rr\nipvsadm -a -t {VIP}:80 -r {RIP}:80 {method}\nipvsadm -L -n"
        );
        let listed = self.ipvsadm.shell(&self.director, &set_up)?;
        ensure!(listed.contains(&format!("TCP  {VIP}:80 rr\n  -> {RIP}:80 ")), "{listed}");
        wait::until("the server is found", DEADLINE, || {
            lbxdp_tests::service::status(&self.daemon).is_ok_and(|text| !text.contains("UNKNOWN"))
        })?;
        let service = SocketAddr::new(IpAddr::V4(VIP), HTTP_PORT);
        let got = Client::new(&self.client)
            .get(service, &format!("/bytes/{TRANSFER}"))
            .with_context(|| format!("the transfer by {method}"))?;
        ensure!(got == body::pattern(TRANSFER), "by {method} something else has come");
        let counted = self.ipvsadm.shell(&self.director, "ipvsadm -L -n --stats --exact | grep ^TCP")?;
        ensure!(counted.split_whitespace().nth(2) == Some("1"), "by {method}: {counted}");
        Ok(())
    }
}

/// The kernel's own end of tunnels, as its tests use it, where it has the module; else `lbxdp decap`.
enum TunnelEnd {
    Kernel,
    Decap { instance: String, namespace: String, binary: PathBuf },
}

impl TunnelEnd {
    fn open(triangle: &mut Triangle) -> Result<Self> {
        let server = &triangle.server;
        if server.ip("link add t0 type ipip local any remote any mode any").is_ok() {
            server.ip("link set t0 up")?;
            server.set("ipv4/conf/t0/rp_filter", "0")?;
            return Ok(Self::Kernel);
        }
        // It is a program itself.
        drop(triangle.server_side.take());
        let (instance, binary) = (server.name().to_owned(), daemon::binary()?);
        let mut start = server.command(&binary);
        start.env("LBXDP_INSTANCE", &instance);
        start.args(["decap", "start", "--interface", "eth0", "--from", &DIP.to_string()]);
        command::read(&mut start).context("starting the decapsulator")?;
        Ok(Self::Decap { namespace: server.name().to_owned(), instance, binary })
    }
}

impl Drop for TunnelEnd {
    fn drop(&mut self) {
        if let Self::Decap { instance, namespace, binary } = self {
            let mut stop = Command::new("nsenter");
            stop.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(binary);
            stop.env("LBXDP_INSTANCE", instance).args(["decap", "stop", "--interface", "eth0"]);
            if let Err(error) = command::read(&mut stop) {
                eprintln!("{error:#}");
            }
        }
    }
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn each_method_carries_a_transfer_set_up_by_ipvsadm_alone() -> Result<()> {
    let mut triangle = Triangle::build()?;
    triangle.answer_by("10.3.0.1")?;
    triangle.transfer("-g")?;
    triangle.answer_by(&DIP.to_string())?;
    triangle.transfer("-m")?;
    triangle.answer_by("10.3.0.1")?;
    let _end = TunnelEnd::open(&mut triangle)?;
    triangle.transfer("-i")
}
