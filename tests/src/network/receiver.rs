//! What takes tunnels' packets on a real server.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::method::GUE_PORT;
use super::opener::Opener;
use crate::namespace::Namespace;
use crate::{command, daemon};

/// Who takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// A program of the tests: it shares no code with lbxdp, checks every byte of the outer headers, and complains.
    Opener,
    /// The kernel's own devices, where it has the modules ([`kernel_has_devices`]).
    Devices,
    /// `lbxdp decap`, on the server's first interface.
    Decap,
}

/// It at work on one server, until this is dropped.
#[derive(Debug)]
pub(super) enum Receiving {
    Opener(Opener),
    /// The devices end with their namespace.
    Devices,
    Decap {
        _decap: Decap,
    },
}

impl Receiving {
    pub(super) fn start(receiver: Receiver, server: &Namespace, directors: &[IpAddr]) -> Result<Self> {
        match receiver {
            Receiver::Opener => Opener::start(server).map(Self::Opener),
            Receiver::Devices => make_devices(server).map(|()| Self::Devices),
            Receiver::Decap => Decap::start(server, directors).map(|decap| Self::Decap { _decap: decap }),
        }
    }

    pub(super) fn faults(&self) -> Vec<String> {
        match self {
            Self::Opener(opener) => opener.faults(),
            Self::Devices | Self::Decap { .. } => vec![],
        }
    }
}

/// The kernel's devices for tunnels: name, and what follows `ip link add NAME type`. They take what comes from anybody.
const DEVICES: [(&str, &str); 8] = [
    ("t-ipip", "ipip local any remote any mode any"),
    ("t-sit", "sit local any remote any mode ip6ip"),
    ("t-ip6", "ip6tnl local any remote any mode any"),
    ("t-gre", "gre local any remote any"),
    ("t-gre6", "ip6gre local any remote any"),
    ("t-gue4", "ipip local 127.0.0.2 remote 127.0.0.3 encap gue encap-sport auto encap-dport 6080"),
    ("t-gue6", "sit local 127.0.0.2 remote 127.0.0.3 encap gue encap-sport auto encap-dport 6080"),
    ("t-gue66", "ip6tnl local ::2 remote ::3 mode any encap gue encap-sport auto encap-dport 6080"),
];

/// Whether this kernel has all modules that [`Receiver::Devices`] needs.
pub fn kernel_has_devices(host: &Namespace) -> bool {
    let has = |(name, kind): &(&str, &str)| {
        let added = host.ip(&format!("link add {name} type {kind}"));
        // The ones that the kernel makes by itself are there already.
        let is_there =
            added.is_ok() || added.is_err_and(|error| format!("{error:#}").contains("File exists"));
        is_there
            && (host.ip(&format!("link del {name}")).is_ok() || host.ip(&format!("link show {name}")).is_ok())
    };
    DEVICES.iter().all(has)
}

fn make_devices(host: &Namespace) -> Result<()> {
    for (name, kind) in DEVICES {
        host.ip(&format!("link add {name} type {kind}"))?;
        host.ip(&format!("link set {name} up"))?;
        host.set(&format!("ipv4/conf/{name}/rp_filter"), "0")?;
    }
    for family in ["", "-6 "] {
        host.ip(&format!("{family}fou add port {GUE_PORT} gue"))?;
    }
    Ok(())
}

/// `lbxdp decap` on a server.
#[derive(Debug)]
pub(super) struct Decap {
    binary: PathBuf,
    instance: String,
    /// The path of the server's namespace.
    namespace: PathBuf,
}

/// The interface it is on.
const INTERFACE: &str = "eth0";

impl Decap {
    fn start(server: &Namespace, directors: &[IpAddr]) -> Result<Self> {
        let binary = daemon::binary()?;
        let mut command = server.command(&binary);
        // An instance of its own: servers have interfaces of the same name.
        command.env("LBXDP_INSTANCE", server.name());
        command.args(["decap", "start", "--interface", INTERFACE, "--gue-port", &GUE_PORT.to_string()]);
        for director in directors {
            command.args(["--from", &director.to_string()]);
        }
        command::read(&mut command).context("starting the decapsulator")?;
        Ok(Self { binary, instance: server.name().to_owned(), namespace: server.path() })
    }
}

impl Drop for Decap {
    fn drop(&mut self) {
        let mut stop = Command::new("nsenter");
        stop.env("LBXDP_INSTANCE", &self.instance);
        stop.arg(format!("--net={}", self.namespace.display())).arg("--").arg(&self.binary);
        if let Err(error) = command::read(stop.args(["decap", "stop", "--interface", INTERFACE])) {
            eprintln!("{error:#}");
        }
    }
}
