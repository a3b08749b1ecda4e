//! A client, a director that puts each packet for the VIP into a tunnel (this machine's kernel need not have any), and a
//! server that answers past it.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Output;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::background::{Background, Stop};
use lbxdp_tests::link::{End, join, mac};
use lbxdp_tests::traffic::{Macs, Sender};
use lbxdp_tests::tunnel::{Kind, Tunnel};
use lbxdp_tests::{Label, Namespace, body, daemon, leftovers};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

pub(crate) const DIRECTOR_4: &str = "10.2.0.1";
pub(crate) const DIRECTOR_6: &str = "fd00:2::1";
const SERVER_4: &str = "10.2.0.2";
const SERVER_6: &str = "fd00:2::2";
const VIP_4: &str = "10.9.0.1";
const VIP_6: &str = "fd00:9::1";

/// The server's interface that tunnels end at.
pub(crate) const TUNNEL_END: &str = "eth0";
/// A name of it below which the kernel has no native XDP.
pub(crate) const GENERIC_END: &str = "mac0";

/// How long something may take that is to happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// How long the relay sleeps at most before it looks whether it is to stop.
const LOOK_EVERY_S: i64 = 1;

pub(crate) struct Lab {
    pub(crate) client: Namespace,
    pub(crate) server: Namespace,
    director: Namespace,
    /// `None` once it is to stop.
    relay: Option<Background<()>>,
    tunnel: Arc<Mutex<Tunnel>>,
    pub(crate) instance: String,
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.relay.take());
        // A test that failed has left these.
        let _ = std::fs::remove_dir_all(self.pins());
        let _ = std::fs::remove_dir("/sys/fs/bpf/lbxdp-decap");
    }
}

impl Lab {
    /// Tunnels end at the server's interface of this name.
    pub(crate) fn build(end: &str) -> Result<Self> {
        leftovers::remove()?;
        let label = Label::unique();
        let host = |name: &str| Namespace::create(format!("{label}-{name}"));
        let (client, director, server) = (host("client")?, host("director")?, host("server")?);
        for host in [&client, &director, &server] {
            // Requests and answers go different ways.
            for interface in ["all", "default"] {
                host.set(&format!("ipv4/conf/{interface}/rp_filter"), "0")?;
            }
        }
        let end_of = |namespace, interface| End { namespace, interface };
        // Room for the tunnel's headers.
        join(end_of(&client, "way"), end_of(&director, "inside"), 1400)?;
        join(end_of(&director, "outside"), end_of(&server, TUNNEL_END), 1500)?;
        join(end_of(&client, "back"), end_of(&server, "back"), 1500)?;
        // What the client sends is put into tunnels as it is: in packets, with their checksums.
        client.run("ethtool -K way tx off tso off gso off")?;
        if end != TUNNEL_END {
            server.ip(&format!("link add link {TUNNEL_END} name {end} type macvlan mode bridge"))?;
            server.ip(&format!("link set {end} up"))?;
        }
        for (host, interface, addresses) in [
            (&client, "way", ["10.1.0.1/24", "fd00:1::1/64"]),
            (&client, "back", ["10.3.0.1/24", "fd00:3::1/64"]),
            (&director, "inside", ["10.1.0.254/24", "fd00:1::fe/64"]),
            (&server, end, ["10.2.0.2/24", "fd00:2::2/64"]),
            (&server, "back", ["10.3.0.2/24", "fd00:3::2/64"]),
            (&server, "lo", ["10.9.0.1/32", "fd00:9::1/128"]),
        ] {
            host.ip(&format!("address add {} dev {interface}", addresses[0]))?;
            host.ip(&format!("address add {} dev {interface} nodad", addresses[1]))?;
        }
        client.ip(&format!("route add {VIP_4} via 10.1.0.254"))?;
        client.ip(&format!("route add {VIP_6} via fd00:1::fe"))?;
        server.ip("route add 10.1.0.0/24 via 10.3.0.1")?;
        server.ip("route add fd00:1::/64 via fd00:3::1")?;
        let macs = Macs { from: mac(end_of(&director, "outside"))?, to: mac(end_of(&server, end))? };
        let (from, to) = (DIRECTOR_4.parse()?, SERVER_4.parse()?);
        let tunnel = Tunnel { kind: Kind::Ipip, macs, vlan: None, from, to, class: 0 };
        let tunnel = Arc::new(Mutex::new(tunnel));
        let (through, own) = (Arc::clone(&tunnel), mac(end_of(&director, "inside"))?);
        let relay = Background::start(&director, "relay", move |stop| relay(stop, &through, own))?;
        let instance = label.to_string();
        Ok(Self { client, server, director, relay: Some(relay), tunnel, instance })
    }

    /// Where the decapsulators' pins are.
    pub(crate) fn pins(&self) -> PathBuf {
        PathBuf::from("/sys/fs/bpf/lbxdp-decap").join(&self.instance)
    }

    /// The tunnel that the director uses from now on.
    pub(crate) fn go_by(&self, kind: Kind, by_6: bool) -> Result<()> {
        let ends = if by_6 { [DIRECTOR_6, SERVER_6] } else { [DIRECTOR_4, SERVER_4] };
        let mut tunnel = self.tunnel.lock().unwrap_or_else(PoisonError::into_inner);
        (tunnel.kind, tunnel.from, tunnel.to) = (kind, ends[0].parse()?, ends[1].parse()?);
        Ok(())
    }

    /// Has the director's kernel do it from now on, by a device of `ip link add` with these words; whether it can.
    pub(crate) fn go_by_kernel(&mut self, device: &str, by_6: bool) -> Result<bool> {
        // The relay's part is over.
        if let Some(relay) = self.relay.take() {
            relay.finish()?;
            self.director.ip(&format!("address add {DIRECTOR_4}/24 dev outside"))?;
            self.director.ip(&format!("address add {DIRECTOR_6}/64 dev outside nodad"))?;
            self.director.set("ipv4/ip_forward", "1")?;
            self.director.set("ipv6/conf/all/forwarding", "1")?;
        }
        // The one of before.
        let _ = self.director.ip("link delete tunnel");
        let (local, remote) = if by_6 { (DIRECTOR_6, SERVER_6) } else { (DIRECTOR_4, SERVER_4) };
        let (kind, options) = device.split_once(' ').unwrap_or((device, ""));
        let words = format!("link add tunnel type {kind} local {local} remote {remote} {options}");
        if let Err(error) = self.director.ip(&words) {
            let version = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
            eprintln!("left out, for kernel {} has no such tunnel: {error:#}", version.trim());
            return Ok(false);
        }
        self.director.ip("link set tunnel up")?;
        // The client's packets are short enough for whatever is put around them.
        self.director.ip(&format!("route replace {VIP_4} dev tunnel"))?;
        self.director.ip(&format!("route replace {VIP_6} dev tunnel"))?;
        Ok(true)
    }

    /// Runs `lbxdp decap` on the server.
    pub(crate) fn decap(&self, words: &str) -> Result<Output> {
        let mut command = self.server.command(daemon::binary()?);
        command.arg("decap").args(words.split_whitespace()).args(["--instance", &self.instance]);
        Ok(command.output()?)
    }

    /// As [`Lab::decap`]; it must work. What it printed, and what it warned of.
    pub(crate) fn must(&self, words: &str) -> Result<(String, String)> {
        let output = self.decap(words)?;
        let [stdout, stderr] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        ensure!(output.status.success(), "`lbxdp decap {words}` failed: {stderr}");
        Ok((stdout, stderr))
    }

    /// What is counted by this name.
    pub(crate) fn count(&self, name: &str) -> Result<u64> {
        let (status, _) = self.must("status")?;
        let mut lines = status.lines().filter_map(|line| line.strip_prefix("  ")).map(str::split_whitespace);
        let count = lines.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()).flatten());
        Ok(count.map_or(Ok(0), str::parse)?)
    }

    /// Sends a datagram to the VIP, and waits for the server to answer it: whether it did in this time.
    pub(crate) fn datagram_arrives(&self, is_6: bool, within: Duration) -> Result<bool> {
        let address = vip(is_6, 7)?;
        let service = self.server.inside(|| UdpSocket::bind(address))??;
        service.set_read_timeout(Some(within))?;
        let any: IpAddr = if is_6 { [0; 16].into() } else { [0; 4].into() };
        let client = self.client.inside(|| UdpSocket::bind((any, 0)))??;
        client.set_read_timeout(Some(DEADLINE))?;
        client.send_to(b"an odd question", address)?;
        let mut memory = [0; 100];
        let (bytes, from) = match service.recv_from(&mut memory) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            received => received?,
        };
        ensure!(&memory[..bytes] == b"an odd question");
        service.send_to(b"an answer", from)?;
        let (bytes, from) = client.recv_from(&mut memory).context("waiting for the answer")?;
        ensure!(&memory[..bytes] == b"an answer" && from == address);
        Ok(true)
    }

    /// Sends so many bytes to the VIP by TCP; all must be there, in order.
    pub(crate) fn transfer(&self, is_6: bool, bytes: usize) -> Result<()> {
        let address = vip(is_6, 80)?;
        let listener = self.server.inside(|| TcpListener::bind(address))??;
        setsockopt(&listener, sockopt::ReceiveTimeout, &TimeVal::new(10, 0))?;
        let service = std::thread::spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(DEADLINE))?;
            let mut received = Vec::new();
            std::io::Read::read_to_end(&mut stream, &mut received)?;
            std::io::Write::write_all(&mut stream, body::receipt(&received).as_bytes())?;
            Ok(())
        });
        let sent = body::pattern(bytes);
        let mut stream = self.client.inside(|| TcpStream::connect_timeout(&address, DEADLINE))??;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        std::io::Write::write_all(&mut stream, &sent)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut receipt = String::new();
        std::io::Read::read_to_string(&mut stream, &mut receipt)?;
        service.join().map_err(|_| anyhow::anyhow!("the service panicked"))??;
        ensure!(receipt == body::receipt(&sent), "{receipt} was received");
        Ok(())
    }
}

fn vip(is_6: bool, port: u16) -> Result<SocketAddr> {
    let address: IpAddr = if is_6 { VIP_6 } else { VIP_4 }.parse()?;
    Ok((address, port).into())
}

/// The director: what comes to its address and is for the VIP goes through the tunnel.
fn relay(stop: &Stop, tunnel: &Mutex<Tunnel>, own: [u8; 6]) -> Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let incoming = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
    let link = getifaddrs()?.find_map(|found| {
        (found.interface_name == "inside").then(|| found.address?.as_link_addr().copied()).flatten()
    });
    bind(incoming.as_raw_fd(), &link.context("there is no interface inside")?)?;
    setsockopt(&incoming, sockopt::ReceiveTimeout, &TimeVal::new(LOOK_EVERY_S, 0))?;
    let outgoing = Sender::open("outside")?;
    let [vip_4, vip_6]: [IpAddr; 2] = [VIP_4.parse()?, VIP_6.parse()?];
    let mut memory = vec![0; 1 << 16];
    while !stop.is_wanted() {
        let bytes = match recv(incoming.as_raw_fd(), &mut memory, MsgFlags::empty()) {
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            received => received?,
        };
        let (frame, packet) = (&memory[..bytes], memory.get(14..bytes).unwrap_or_default());
        let to: Option<IpAddr> = match frame.get(12..14) {
            Some([0x08, 0x00]) => {
                packet.get(16..20).and_then(|to| <[u8; 4]>::try_from(to).ok()).map(Into::into)
            }
            Some([0x86, 0xdd]) => {
                packet.get(24..40).and_then(|to| <[u8; 16]>::try_from(to).ok()).map(Into::into)
            }
            _ => None,
        };
        if frame.starts_with(&own) && (to == Some(vip_4) || to == Some(vip_6)) {
            let tunnel = *tunnel.lock().unwrap_or_else(PoisonError::into_inner);
            outgoing.send(&[tunnel.wrap(packet)])?;
        }
    }
    Ok(())
}
