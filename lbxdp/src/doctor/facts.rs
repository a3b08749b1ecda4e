//! All that a judgement is made from: plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::host::Surroundings;
use crate::lan::{Heard, Mac};
use crate::snapshot::{ServiceSnapshot, Status};
use crate::tables::pins::Instance;

/// What a machine is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    #[default]
    Director,
    /// A real server.
    Server,
}

/// How a director forwards to a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Forwarding {
    #[default]
    Direct,
    Tunnel,
    Nat,
}

/// Whether a director's daemon answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Daemon {
    /// Not asked: this is a real server.
    #[default]
    Unasked,
    Running,
    /// It does not say how it is.
    Down {
        why: String,
        /// Whether it runs at all.
        is_running: bool,
        /// Whether packets are forwarded nevertheless.
        has_packet_path: bool,
    },
}

/// What was found out about a machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) role: Role,
    pub(crate) instance: Instance,
    pub(crate) there: Surroundings,
    pub(crate) vips: Vec<IpAddr>,
    /// What was heard, by interface, after all VIPs were asked for.
    pub(crate) heard: BTreeMap<String, Heard>,
    /// TCP sockets that listen.
    pub(crate) listeners: BTreeSet<SocketAddr>,
    /// Packets that `rp_filter` has dropped since the machine (or its namespace) was started.
    pub(crate) reverse_path_drops: u64,
    pub(crate) has_kernel_ipvs: bool,
    /// The program that speaks to the kernel's IPVS, and not to lbxdp.
    pub(crate) kernels_ipvsadm: Option<PathBuf>,

    // Of a real server.
    pub(crate) forwarding: Forwarding,
    /// Bytes that the director's tunnel takes, if that is known.
    pub(crate) tunnel_overhead: Option<u32>,
    /// TCP ports that are to be served on the VIPs.
    pub(crate) ports: Vec<u16>,
    pub(crate) directors: Vec<IpAddr>,
    pub(crate) clients: Vec<IpAddr>,

    // Of a director.
    pub(crate) daemon: Daemon,
    /// Interfaces that have the instance's packet path, whether a daemon runs or not.
    pub(crate) attached: Vec<String>,
    pub(crate) status: Option<Status>,
    /// Packets that found no room for a tunnel's header while this was looked at.
    pub(crate) no_tunnel: u64,
    pub(crate) services: Vec<ServiceSnapshot>,
    /// What the kernel chooses as source of packets to a server.
    pub(crate) sources: BTreeMap<IpAddr, IpAddr>,
    /// How far a server's clock is ahead, in seconds: between these two.
    pub(crate) clocks: BTreeMap<IpAddr, (f64, f64)>,
    /// The features of an interface that are on, by ethtool's names for the kernel's.
    pub(crate) features: BTreeMap<String, BTreeSet<String>>,
    /// The drivers of interfaces.
    pub(crate) drivers: BTreeMap<String, String>,
}

impl Facts {
    /// A command of lbxdp's for this instance.
    pub(crate) fn lbxdp(&self, words: &str) -> String {
        if self.instance == Instance::default() {
            format!("lbxdp {words}")
        } else {
            format!("LBXDP_INSTANCE={} lbxdp {words}", self.instance)
        }
    }

    /// The command that starts the daemon on these interfaces.
    pub(crate) fn run<'a>(&self, interfaces: impl IntoIterator<Item = &'a str>, more: &str) -> String {
        let mut words = String::from("run");
        for interface in interfaces {
            words = words + " -i " + interface;
        }
        if words == "run" {
            words.push_str(" -i IF");
        }
        self.lbxdp(&(words + " --leave" + more))
    }

    /// Whether a hardware address is one of this machine's.
    pub(crate) fn is_own(&self, mac: Mac) -> bool {
        self.there.links.iter().any(|link| link.mac == Some(mac))
    }

    /// Whether an address is one of this machine's.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.there.places(address).next().is_some()
    }

    /// Who says on an interface to have an address, this machine aside.
    pub(crate) fn claimants(&self, interface: &str, address: IpAddr) -> Vec<Mac> {
        let heard = self.heard.get(interface).into_iter().flat_map(|heard| &heard.answers);
        heard.filter(|(about, mac)| *about == address && !self.is_own(*mac)).map(|(_, mac)| *mac).collect()
    }
}
