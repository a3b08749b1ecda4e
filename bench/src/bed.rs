//! A director to be measured: the real daemon with the real program, on a link whose other end swallows everything.
//!
//! ```text
//!   director: eth0 ──── veth ──── far: a sink, which counts and drops
//! ```
//!
//! All servers and the way to the clients are neighbours for good behind that link, so that nobody has to answer.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::xdp::XdpMode;
use aya::programs::{ProgramFd, ProgramInfo};
use lbxdp::tables::Tables;
use lbxdp::tables::pins::Instance;
use lbxdp_common::{Notice, Overflow, Reason};
use lbxdp_tests::{Daemon, Label, Namespace, daemon, leftovers};
use nix::net::if_::if_nametoindex;

use crate::driver::{self, ASIDE, Object, aside};
use crate::packet::{DIRECTOR_MAC, Family, OTHER_MAC, PORT};

/// The director's interface.
pub(crate) const NEAR: &str = "eth0";
/// The other end.
pub(crate) const FAR: &str = "far0";

/// A director, its network and its tables. Fields are dropped in order: what holds the network first.
pub(crate) struct Bed {
    pub(crate) daemon: Daemon,
    pub(crate) tables: Tables,
    /// The program on the director's interface.
    pub(crate) program: ProgramFd,
    /// The index of the director's interface, in its namespace.
    pub(crate) ifindex: u32,
    pub(crate) network: Network,
}

/// A host that is to be a director, and the other end of its link.
pub(crate) struct Network {
    /// The object of the sink, with what it has counted.
    pub(crate) sink: Ebpf,
    _sink_link: FdLink,
    pub(crate) director: Namespace,
    pub(crate) far: Namespace,
}

impl Network {
    /// With so many servers of each family.
    pub(crate) fn make(object: &Object, servers: u32) -> Result<Self> {
        leftovers::remove()?;
        let label = Label::unique();
        let director = Namespace::create(format!("{label}-director"))?;
        let far = Namespace::create(format!("{label}-far"))?;
        link(&director, NEAR, &far, FAR)?;
        address(&director)?;
        neighbours(&director, servers)?;
        let (sink, sink_link) = put_sink(object, &far, FAR)?;
        Ok(Self { sink, _sink_link: sink_link, director, far })
    }
}

/// What a bed is to have room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Connections of IPv4, and half as many of IPv6.
    pub(crate) connections: u32,
    /// Servers that packets may be sent to, of each family.
    pub(crate) servers: u32,
}

impl Bed {
    /// Builds the network, starts the daemon there, and gives it commands in ipvsadm's save format.
    pub(crate) fn make(object: &Object, size: Size, rules: &str) -> Result<Self> {
        Self::make_with(object, size, rules, &[])
    }

    /// The same, with more arguments for the daemon.
    pub(crate) fn make_with(object: &Object, size: Size, rules: &str, arguments: &[&str]) -> Result<Self> {
        let network = Network::make(object, size.servers)?;
        let director = &network.director;
        for number in (0..ASIDE).step_by(2) {
            let (one, other) = (aside(number), aside(number + 1));
            director.ip(&format!("link add {one} type veth peer name {other}"))?;
        }
        let daemon = Daemon::start(
            &daemon::binary()?,
            director,
            &Label::unique().to_string(),
            &[NEAR],
            &[&["--connections", &size.connections.to_string()], arguments].concat(),
        )?;
        let answer = daemon.ipvsadm_reading("-R", rules)?;
        ensure!(answer.code == Some(0), "the daemon refuses its rules: {}", answer.stderr);
        // Nothing is to end while it is measured, on however slow a machine.
        daemon.must("--set 7200 7200 7200")?;
        let instance: Instance = daemon.instance().parse()?;
        let tables = Tables::open(&instance.map_pins())?;
        let pin: PathBuf = instance.program_pin(NEAR);
        let pinned = ProgramInfo::from_pin(&pin).with_context(|| format!("opening {}", pin.display()))?;
        let program = pinned.fd()?;
        let ifindex = director.inside(|| if_nametoindex(NEAR))??;
        Ok(Self { daemon, tables, program, ifindex, network })
    }

    /// How often packets were refused, went by hash for want of room, or were answered: nothing of that is to happen while
    /// something else is measured.
    pub(crate) fn mishaps(&self) -> Result<u64> {
        let mut all = 0;
        for reason in Reason::ALL {
            all += self.tables.reason_count(*reason)?;
        }
        for notice in Notice::ALL {
            all += self.tables.notice_count(*notice)?;
        }
        Ok(all + self.by_hash()?)
    }

    /// How many packets went by hash.
    pub(crate) fn by_hash(&self) -> Result<u64> {
        let mut all = 0;
        for overflow in [Overflow::HashedHalfOpen, Overflow::HashedFull, Overflow::HashedOn] {
            all += self.tables.overflow_count(overflow)?;
        }
        Ok(all)
    }
}

/// Joins both by a veth pair of one queue, so that one processor does all that a packet needs.
pub(crate) fn link(director: &Namespace, near: &str, far: &Namespace, other: &str) -> Result<()> {
    director.ip(&format!(
        "link add {near} address {} numrxqueues 1 numtxqueues 1 type veth peer name {other} address {} numrxqueues 1 numtxqueues 1 netns {}",
        written(DIRECTOR_MAC),
        written(OTHER_MAC),
        far.name()
    ))?;
    // Nobody is to say anything by itself on this link.
    for (host, interface) in [(director, near), (far, other)] {
        host.set(&format!("ipv6/conf/{interface}/router_solicitations"), "0")?;
        host.ip(&format!("link set {interface} up"))?;
    }
    Ok(())
}

/// Puts a sink onto an end of a link.
pub(crate) fn put_sink(object: &Object, host: &Namespace, interface: &str) -> Result<(Ebpf, FdLink)> {
    let mut ebpf = object.load(&["sink"])?;
    let link = attach(&mut ebpf, "sink", host, interface)?;
    Ok((ebpf, link))
}

/// Puts a program of the bench's object onto an interface, in the driver, until the link is dropped.
pub(crate) fn attach(ebpf: &mut Ebpf, name: &str, host: &Namespace, interface: &str) -> Result<FdLink> {
    let program = driver::program(ebpf, name)?;
    let id = host
        .inside(|| program.attach(interface, XdpMode::Driver))?
        .with_context(|| format!("attaching {name} to {interface}"))?;
    Ok(driver::program(ebpf, name)?.take_link(id)?.try_into()?)
}

fn address(director: &Namespace) -> Result<()> {
    director.set("ipv4/ip_forward", "1")?;
    director.set("ipv6/conf/all/forwarding", "1")?;
    director.ip(&format!("addr add 10.0.0.10/16 dev {NEAR}"))?;
    director.ip(&format!("addr add fd00::10/64 dev {NEAR} nodad"))?;
    director.ip(&format!("route add default via 10.0.0.1 dev {NEAR}"))?;
    director.ip(&format!("-6 route add default via fd00::1 dev {NEAR}"))?;
    Ok(())
}

/// Makes the router and all servers neighbours for good.
fn neighbours(director: &Namespace, servers: u32) -> Result<()> {
    let mac = written(OTHER_MAC);
    let mut lines = String::new();
    let routers = [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), "fd00::1".parse()?];
    let servers =
        Family::ALL.into_iter().flat_map(|family| (0..servers).map(move |number| server(family, number)));
    for address in routers.into_iter().chain(servers) {
        writeln!(lines, "neigh replace {address} lladdr {mac} dev {NEAR} nud permanent")?;
    }
    let mut ip = Command::new("ip")
        .args(["-n", director.name(), "-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("starting ip")?;
    if let Some(mut stdin) = ip.stdin.take() {
        stdin.write_all(lines.as_bytes()).context("telling ip about neighbours")?;
    }
    ensure!(ip.wait()?.success(), "ip does not take the neighbours");
    Ok(())
}

/// The address of a real server.
pub(crate) fn server(family: Family, number: u32) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 1, 1).to_bits() + number).into(),
        Family::V6 => Ipv6Addr::from_bits(0xfd00 << 112 | 0x1_0000 | u128::from(number)).into(),
    }
}

/// The address of a virtual service. Each block has addresses for ten thousand.
pub(crate) fn vip(family: Family, block: u32, number: u32) -> IpAddr {
    let number = block << 16 | number;
    match family {
        Family::V4 => Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 1).to_bits() + number).into(),
        Family::V6 => Ipv6Addr::from_bits((0x2001_0db8 << 96) | (0x1_0000_0001 + u128::from(number))).into(),
    }
}

/// The address of the first client of a block: each has room for 2^32 flows.
pub(crate) fn client(family: Family, block: u32) -> IpAddr {
    let number = block << 18;
    match family {
        Family::V4 => Ipv4Addr::from_bits(Ipv4Addr::new(100, 64, 0, 1).to_bits() + number).into(),
        Family::V6 => Ipv6Addr::from_bits(0x2001_0db8_000c << 80 | u128::from(number + 1)).into(),
    }
}

/// An address and the port of all services, as ipvsadm takes them.
pub(crate) fn at_port(address: IpAddr) -> String {
    std::net::SocketAddr::new(address, PORT).to_string()
}

/// A MAC address as `ip` takes it.
fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
