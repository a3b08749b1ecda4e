//! The kernel's IPVS as a director.
//!
//! Everything is in its favour: a table of connections as large as can be, frames that come into the stack right behind the
//! driver's XDP program, in batches and without GRO, and no conntrack.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use aya::Ebpf;
use aya::programs::links::FdLink;
use lbxdp_tests::{Namespace, command};

use super::case::{Case, SERVERS, vips};
use super::{Contender, Counted, Null};
use crate::bed::{self, NEAR, Network};
use crate::driver::Object;

/// The most that the module takes, as a power of two.
const BUCKETS: &str = "conn_tab_bits=20";

pub(crate) struct Ipvs {
    network: Network,
    _passing: (Ebpf, FdLink),
}

impl Contender for Ipvs {
    const NAME: &'static str = "ipvs";

    fn start(object: &Object, rules: &str) -> Result<Self> {
        command::read(Command::new("modprobe").args(["ip_vs", BUCKETS]))?;
        let network = Network::make(object, SERVERS)?;
        let director = &network.director;
        for interface in ["all", NEAR] {
            // The way in is the way out: routers say so, but that is not what is measured.
            director.set(&format!("ipv4/conf/{interface}/send_redirects"), "0")?;
        }
        for vip in vips() {
            director.ip(&format!("addr add {vip} dev lo {}", if vip.is_ipv6() { "nodad" } else { "" }))?;
        }
        director.run(&format!("ethtool -K {NEAR} gro off"))?;
        let mut passing = object.load(&["null_pass"])?;
        let link = bed::attach(&mut passing, "null_pass", director, NEAR)?;
        restore(director, rules)?;
        director.run("ipvsadm --set 7200 7200 7200")?;
        Ok(Self { network, _passing: (passing, link) })
    }

    fn network(&self) -> &Network {
        &self.network
    }

    fn counted(&self) -> Result<Counted> {
        let file = "/proc/thread-self/net/ip_vs_stats_percpu";
        let text = self.network.director.inside(|| fs::read_to_string(file))?;
        Counted::read(&text.with_context(|| format!("reading {file}"))?)
    }

    fn null(_: Case) -> Null {
        Null::Forwarding
    }
}

fn restore(director: &Namespace, rules: &str) -> Result<()> {
    let mut ipvsadm =
        director.command("ipvsadm").arg("-R").stdin(Stdio::piped()).spawn().context("starting ipvsadm")?;
    if let Some(mut stdin) = ipvsadm.stdin.take() {
        stdin.write_all(rules.as_bytes()).context("telling ipvsadm about services")?;
    }
    ensure!(ipvsadm.wait()?.success(), "ipvsadm does not take the services");
    Ok(())
}
