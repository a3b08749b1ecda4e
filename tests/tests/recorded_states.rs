//! What real IPVS showed of connections by VS/DR and VS/NAT, step by step, and what lbxdp shows of the same steps: real
//! sockets, the state and the timer of each connection. The record: Linux 6.1, `ipvsadm -Lcn` after each step.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lbxdp_tests::service::{Listed, connections, offer_by};
use lbxdp_tests::topology::{CLIENT, DIRECTOR};
use lbxdp_tests::{Daemon, Lab, Plan, daemon, wait};
use nix::sys::socket::{setsockopt, sockopt};
use serde::Deserialize;
use serde_json::Value;

const RECORDED: &str = include_str!("../data/states.json");

const SOON: Duration = Duration::from_secs(10);

/// The ports of the record.
const MUTE: u16 = 9800;
const REFUSING: u16 = 9790;
const UDP: u16 = 9999;
const ONE_PACKET: u16 = 9998;
const LISTENING: [u16; 8] = [9797, 9798, 9801, 9802, PERSISTENT, PERSISTENT_NET, 9805, 9806];
const PERSISTENT: u16 = 9803;
const PERSISTENT_NET: u16 = 9804;

/// An entry of the record. Addresses are another network's; ports are the same here.
#[derive(Debug, Deserialize)]
struct Entry {
    proto: String,
    state: String,
    source: String,
    r#virtual: String,
    destination: String,
    /// Seconds of the state's timer, if the record knows it.
    expire_nominal: Option<u32>,
    /// What was left of it when the listing was made.
    expire_seen: u32,
}

impl Entry {
    fn is_shown_as(&self, listed: &Listed) -> bool {
        let (from, to) = (port_of(&self.r#virtual), port_of(&self.destination));
        // The first listing may come late on a slow machine; a wrong timer is off by more.
        let nominal = self.expire_nominal.unwrap_or(self.expire_seen + 5);
        let expires = nominal.saturating_sub(8)..=nominal;
        (&self.proto, &self.state) == (&listed.protocol, &listed.state)
            && (from, to) == (Some(listed.service.port()), Some(listed.server.port()))
            && is_source(&self.source, listed.client)
            && expires.contains(&listed.expires_s)
    }
}

/// Whether a client is the recorded one: a template's port is 0, and its address may be masked.
fn is_source(recorded: &str, client: SocketAddrV4) -> bool {
    let is_masked = recorded.starts_with("10.0.0.0:");
    let address = if is_masked { Ipv4Addr::from_bits(CLIENT.to_bits() & !0xff) } else { CLIENT };
    *client.ip() == address && (client.port() == 0) == recorded.ends_with(":0")
}

fn port_of(endpoint: &str) -> Option<u16> {
    endpoint.rsplit_once(':')?.1.parse().ok()
}

/// A line of a listing without what is another one's network and time: ports of clients, but for templates' 0, too.
fn without_addresses(line: &str) -> String {
    let port = |endpoint: &str| endpoint.rsplit(':').next().unwrap_or_default().to_owned();
    let words = line.split_whitespace().enumerate().filter(|(at, _)| *at != 1);
    let words = words.map(|(at, word)| match at {
        0 | 2 => word.to_owned(),
        3 if port(word) != "0" => "CPORT".to_owned(),
        _ => port(word),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The steps of the record that have not been made yet.
struct Record(BTreeMap<String, Value>);

impl Record {
    fn read(method: Method) -> Result<Self> {
        let mut record: BTreeMap<String, Value> = serde_json::from_str(RECORDED)?;
        let name = if method == Method::Direct { "dr" } else { "nat" };
        let steps = record.remove(name).context("the record has no steps of the method")?;
        Ok(Self(serde_json::from_value(steps)?))
    }

    fn take(&mut self, step: &str) -> Result<Value> {
        self.0.remove(step).with_context(|| format!("the record has no step `{step}`"))
    }
}

/// How packets go to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    /// The server has the VIP, and answers by the router.
    Direct,
    /// The server answers by the director.
    Masquerade,
}

/// The network of the record, with one server, and the connections that are open.
struct Stage {
    lab: Lab,
    daemon: Daemon,
    method: Method,
    record: Record,
    listeners: BTreeMap<u16, TcpListener>,
    clients: BTreeMap<u16, TcpStream>,
    servers: BTreeMap<u16, TcpStream>,
}

impl Stage {
    fn build(method: Method) -> Result<Self> {
        let lab = Lab::build(Plan { servers: 1, ..Plan::default() })?;
        if method == Method::Masquerade {
            lab.director.set("ipv4/ip_forward", "1")?;
            lab.servers[0].namespace.ip(&format!("route replace {CLIENT}/32 via {DIRECTOR}"))?;
        }
        let daemon = lab.start_daemon(&daemon::binary()?)?;
        let by = if method == Method::Direct { "-g" } else { "-m" };
        let offer = |option, port, options| offer_by(&lab, &daemon, by, option, port, options, &[1]);
        for port in LISTENING.into_iter().chain([MUTE, REFUSING]) {
            let options = match port {
                PERSISTENT => "rr -p 100",
                PERSISTENT_NET => "rr -p -M 255.255.255.0",
                _ => "rr",
            };
            offer("-t", port, options)?;
        }
        offer("-u", UDP, "rr")?;
        offer("-u", ONE_PACKET, "rr -o")?;
        let (clients, servers) = (BTreeMap::new(), BTreeMap::new());
        let (record, listeners) = (Record::read(method)?, BTreeMap::new());
        let mut stage = Self { lab, daemon, method, record, listeners, clients, servers };
        let listen = |port| anyhow::Ok((port, TcpListener::bind(stage.at_server(port))?));
        stage.listeners = stage.lab.servers[0]
            .namespace
            .inside(|| LISTENING.into_iter().map(listen).collect::<Result<_>>())??;
        Ok(stage)
    }

    /// Where the server gets the packets for a port of the VIP.
    fn at_server(&self, port: u16) -> SocketAddrV4 {
        match self.method {
            Method::Direct => self.lab.service(port),
            Method::Masquerade => SocketAddrV4::new(self.lab.servers[0].address, port),
        }
    }

    /// Does something while the server gives no answer: it does not have the VIP, or knows no way to the client.
    fn while_mute(&self, work: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let (vip, server) = (self.lab.vip(), &self.lab.servers[0].namespace);
        let (before, after) = match self.method {
            Method::Direct => (format!("addr del {vip}/32 dev lo"), format!("addr add {vip}/32 dev lo")),
            Method::Masquerade => (
                format!("route replace blackhole {CLIENT}/32"),
                format!("route replace {CLIENT}/32 via {DIRECTOR}"),
            ),
        };
        server.ip(&before)?;
        work(self)?;
        server.ip(&after)?;
        Ok(())
    }

    fn connect(&self, port: u16, patience: Duration) -> Result<TcpStream> {
        let to = self.lab.service(port).into();
        Ok(self.lab.client.inside(|| TcpStream::connect_timeout(&to, patience))??)
    }

    fn handshake(&mut self, port: u16) -> Result<()> {
        let client = self.connect(port, SOON)?;
        client.set_read_timeout(Some(SOON))?;
        let (server, _) = self.listeners.get(&port).context("nobody listens there")?.accept()?;
        server.set_read_timeout(Some(SOON))?;
        self.clients.insert(port, client);
        self.servers.insert(port, server);
        Ok(())
    }

    fn client(&mut self, port: u16) -> Result<&mut TcpStream> {
        self.clients.get_mut(&port).context("no such client")
    }

    fn server(&mut self, port: u16) -> Result<&mut TcpStream> {
        self.servers.get_mut(&port).context("no such server")
    }

    /// A question and its answer over UDP, from a new port.
    fn ask(&self, server: &UdpSocket) -> Result<()> {
        let service = self.lab.service(server.local_addr()?.port());
        let client = self.lab.client.inside(|| UdpSocket::bind("0.0.0.0:0"))??;
        client.set_read_timeout(Some(SOON))?;
        client.send_to(b"question", service)?;
        let mut question = [0; 16];
        let (length, from) = server.recv_from(&mut question)?;
        server.send_to(&question[..length], from)?;
        client.recv(&mut question).context("no answer")?;
        Ok(())
    }

    /// Compares a whole listing with the recorded one: its head, and each line's protocol, state, ports, and whether it is a
    /// template's.
    fn lists(&mut self, step: &str) -> Result<()> {
        let recorded: String = serde_json::from_value(self.record.take(step)?)?;
        let listed = self.daemon.must("-L -c -n --persistent-conn")?;
        let head = |text: &str| -> Vec<String> {
            text.lines().take(2).map(|line| line.trim_end().to_owned()).collect()
        };
        assert_eq!(head(&listed), head(&recorded));
        let lines =
            |text: &str| -> BTreeSet<String> { text.lines().skip(2).map(without_addresses).collect() };
        assert_eq!(lines(&listed), lines(&recorded), "{listed}");
        Ok(())
    }

    /// Compares the connections to a port with what was recorded behind a step.
    fn shows(&mut self, step: &str, port: u16) -> Result<()> {
        let recorded: Vec<Entry> = serde_json::from_value(self.record.take(step)?)?;
        let mut last = Vec::new();
        wait::until(&format!("`{step}` looks as recorded"), SOON, || {
            let Ok(all) = connections(&self.daemon) else { return false };
            last = all.into_iter().filter(|listed| listed.service.port() == port).collect();
            last.len() == recorded.len()
                && recorded.iter().all(|entry| last.iter().any(|listed| entry.is_shown_as(listed)))
        })
        .with_context(|| format!("recorded {recorded:?}, listed {last:?}"))
    }
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn each_step_shows_the_state_and_the_timer_that_ipvs_showed() -> Result<()> {
    for method in [Method::Direct, Method::Masquerade] {
        all_steps(method)?;
    }
    Ok(())
}

fn all_steps(method: Method) -> Result<()> {
    let mut stage = Stage::build(method)?;
    openings(&mut stage)?;
    endings(&mut stage)?;
    persistence(&mut stage)?;
    datagrams_and_timeouts(&mut stage)?;
    expiry(&mut stage)?;
    ensure!(stage.record.0.is_empty(), "steps that nobody has made: {:?}", stage.record.0.keys());
    Ok(())
}

fn openings(stage: &mut Stage) -> Result<()> {
    stage.while_mute(|stage| {
        ensure!(stage.connect(MUTE, Duration::from_millis(200)).is_err(), "somebody has answered");
        Ok(())
    })?;
    stage.shows("syn, no answer", MUTE)?;
    ensure!(stage.connect(REFUSING, SOON).is_err(), "somebody listens");
    stage.shows("connection refused by the server", REFUSING)?;
    stage.handshake(9801)?;
    stage.shows("handshake", 9801)?;
    stage.client(9801)?.write_all(b"data")?;
    stage.server(9801)?.read_exact(&mut [0; 4])?;
    stage.shows("after data", 9801)
}

fn endings(stage: &mut Stage) -> Result<()> {
    stage.client(9801)?.shutdown(Shutdown::Write)?;
    ensure!(stage.server(9801)?.read(&mut [0])? == 0, "the client has closed");
    stage.servers.remove(&9801);
    ensure!(stage.client(9801)?.read(&mut [0])? == 0, "the server has closed");
    stage.shows("client closed, then server closed", 9801)?;
    stage.handshake(9798)?;
    stage.client(9798)?.shutdown(Shutdown::Write)?;
    ensure!(stage.server(9798)?.read(&mut [0])? == 0, "the client has closed");
    stage.shows("client closed, server still open", 9798)?;
    stage.handshake(9797)?;
    stage.server(9797)?.shutdown(Shutdown::Write)?;
    ensure!(stage.client(9797)?.read(&mut [0])? == 0, "the server has closed");
    stage.shows("server closed, client still open", 9797)?;
    stage.client(9797)?.shutdown(Shutdown::Write)?;
    stage.shows("server closed, then client closed", 9797)?;
    stage.handshake(9802)?;
    let reset = stage.clients.remove(&9802).context("no client")?;
    setsockopt(&reset, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    drop(reset);
    stage.shows("reset by client", 9802)
}

fn persistence(stage: &mut Stage) -> Result<()> {
    stage.handshake(PERSISTENT)?;
    stage.shows("persistent, handshake", PERSISTENT)?;
    stage.lists("persistent -Lcn --persistent-conn")?;
    stage.client(PERSISTENT)?.shutdown(Shutdown::Write)?;
    stage.servers.remove(&PERSISTENT);
    stage.shows("persistent, closed", PERSISTENT)?;
    stage.handshake(PERSISTENT_NET)?;
    stage.shows("persistent with netmask /24", PERSISTENT_NET)
}

fn datagrams_and_timeouts(stage: &mut Stage) -> Result<()> {
    let bind = |port| -> Result<UdpSocket> {
        let at = stage.at_server(port);
        let socket = stage.lab.servers[0].namespace.inside(|| UdpSocket::bind(at))??;
        socket.set_read_timeout(Some(SOON))?;
        Ok(socket)
    };
    let (socket, one_packet) = (bind(UDP)?, bind(ONE_PACKET)?);
    stage.ask(&one_packet)?;
    stage.shows("udp one-packet", ONE_PACKET)?;
    stage.ask(&socket)?;
    stage.shows("udp, one question and answer", UDP)?;
    stage.daemon.must("--set 50 40 30")?;
    stage.handshake(9805)?;
    stage.shows("handshake after --set 50 40 30", 9805)?;
    stage.client(9805)?.shutdown(Shutdown::Write)?;
    stage.servers.remove(&9805);
    stage.shows("both closed after --set 50 40 30", 9805)?;
    stage.ask(&socket)?;
    stage.shows("udp after --set 50 40 30", UDP)
}

fn expiry(stage: &mut Stage) -> Result<()> {
    stage.daemon.must("--set 2 2 2")?;
    stage.handshake(9806)?;
    stage.shows("handshake after --set 2 2 2", 9806)?;
    stage.shows("the same 5 s later", 9806)?;
    let recorded = stage.record.take("data on an expired connection")?;
    stage.client(9806)?.write_all(b"too late")?;
    let Err(error) = stage.client(9806)?.read(&mut [0]) else { bail!("the connection goes on") };
    ensure!(format!("{:?}Error", error.kind()) == *recorded.as_str().unwrap_or_default(), "{error}");
    stage.shows("the same, after data", 9806)
}
