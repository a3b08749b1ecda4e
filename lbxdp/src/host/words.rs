//! The words of `lbxdp realserver` and `lbxdp director`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use lbxdp_common::decap::MAX_GUE_PORTS;

use super::HostError;
use super::realserver::{AdvertisedMss, Opener, RealServer, Tunnel, TunnelKind};
use super::render::Print;
use crate::cli::arguments::InstanceArgument;

/// What is to be done with a machine in a role: `W` are the words that say what it is to be, `S` those for the question how it is.
#[derive(Subcommand)]
pub enum Verb<W: Args, S: Args> {
    /// Do what is missing, in the right order. May be given again, with other words too.
    Start {
        #[command(flatten)]
        wish: W,
        /// Do nothing, print what would be done.
        #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "commands")]
        print: Option<Print>,
        #[command(flatten)]
        instance: InstanceArgument,
    },
    /// Take back what `start` has done: the VIPs first. What was there before stays; what somebody else has changed since, too.
    Stop {
        /// Do nothing, print what would be done.
        #[arg(long)]
        print: bool,
        #[command(flatten)]
        instance: InstanceArgument,
    },
    /// Say what is wrong, why it matters, and what mends it. Exit code 0: nothing is, 2: something is, 3: it could not be found out, or the words were
    /// not understood.
    Status {
        #[command(flatten)]
        wish: S,
        #[command(flatten)]
        instance: InstanceArgument,
    },
}

/// What is to be done with a real server.
pub type RealServerVerb = Verb<RealServerArguments, OptionalRealServerArguments>;

/// What is to be done with a director.
#[derive(Subcommand)]
pub enum DirectorVerb {
    #[command(flatten)]
    Role(Verb<DirectorArguments, NoArguments>),
    /// Tell the neighbours again where the VIPs are (gratuitous ARP, unsolicited neighbour advertisements): after a failover, or if somebody has
    /// learnt that one is elsewhere.
    Announce {
        /// A virtual address that is here; may be given several times. Without it: those that were started.
        #[arg(long = "vip", value_name = "ADDR")]
        vips: Vec<IpAddr>,
        #[command(flatten)]
        instance: InstanceArgument,
    },
}

/// No words at all.
#[derive(Args)]
pub struct NoArguments {}

/// What a real server is to be.
#[derive(Args)]
pub struct RealServerArguments {
    /// A virtual address of the service; may be given several times.
    #[arg(long = "vip", required = true, value_name = "ADDR")]
    vips: Vec<IpAddr>,
    #[command(flatten)]
    tunnel: TunnelArguments,
}

/// The same, where what was started is known.
#[derive(Args)]
pub struct OptionalRealServerArguments {
    /// A virtual address of the service; may be given several times. Without it: what was started.
    #[arg(long = "vip", value_name = "ADDR")]
    vips: Vec<IpAddr>,
    #[command(flatten)]
    tunnel: TunnelArguments,
}

/// How the director reaches it.
#[derive(Args)]
struct TunnelArguments {
    /// The director forwards by VS/TUN (`ipvsadm -i`), by this tunnel; without this it forwards by VS/DR (`-g`).
    #[arg(long, value_enum, value_name = "KIND")]
    tunnel: Option<TunnelKind>,
    /// A director's address, or a network of them: where tunnels come from. May be given several times.
    #[arg(long = "director", value_name = "ADDR[/LEN]", value_parser = crate::decap::prefix, requires = "tunnel")]
    directors: Vec<IpNet>,
    /// Who takes the tunnel off: an XDP program (`lbxdp decap`), or the kernel's devices, which must be there.
    #[arg(long = "decap", value_enum, default_value = "xdp", value_name = "WHO", requires = "tunnel")]
    opener: Opener,
    /// The interface that tunnels come in by; without it that of the route to the director.
    #[arg(short, long, value_name = "IF", requires = "tunnel")]
    interface: Option<String>,
    /// A UDP port that GUE comes to; may be given several times, eight at most.
    #[arg(
        long = "gue-port",
        value_name = "N",
        default_value = "6080",
        value_parser = clap::value_parser!(u16).range(1..),
        requires = "tunnel"
    )]
    gue_ports: Vec<u16>,
    /// The size of TCP segments that clients are told by the routes to them: `auto` is what fits into the tunnel, `off` leaves routes as
    /// they are.
    #[arg(long, value_name = "BYTES", default_value = "auto", value_parser = advertised, requires = "tunnel")]
    advmss: AdvertisedMss,
}

fn advertised(words: &str) -> Result<AdvertisedMss, String> {
    match words {
        "auto" => Ok(AdvertisedMss::Auto),
        "off" => Ok(AdvertisedMss::Off),
        number => match number.parse() {
            Ok(bytes @ 88..=65_495) => Ok(AdvertisedMss::Bytes(bytes)),
            _ => Err("auto, off, or 88 to 65495 bytes".to_owned()),
        },
    }
}

impl TunnelArguments {
    fn tunnel(self) -> Result<Option<Tunnel>, HostError> {
        let Self { tunnel, directors, opener, interface, mut gue_ports, advmss } = self;
        gue_ports.sort_unstable();
        gue_ports.dedup();
        if gue_ports.len() > MAX_GUE_PORTS {
            return Err(HostError::GuePorts);
        }
        Ok(tunnel.map(|kind| Tunnel { kind, directors, opener, interface, gue_ports, advmss }))
    }
}

impl RealServerArguments {
    pub(super) fn wish(self) -> Result<RealServer, HostError> {
        Ok(RealServer { vips: distinct(self.vips), tunnel: self.tunnel.tunnel()? })
    }
}

impl OptionalRealServerArguments {
    pub(super) fn wish(self) -> Result<Option<RealServer>, HostError> {
        let Self { vips, tunnel } = self;
        (!vips.is_empty()).then(|| RealServerArguments { vips, tunnel }.wish()).transpose()
    }
}

fn distinct(mut vips: Vec<IpAddr>) -> Vec<IpAddr> {
    vips.sort_unstable();
    vips.dedup();
    vips
}

/// What a director is to be.
#[derive(Args)]
#[group(required = true, multiple = true)]
pub struct DirectorArguments {
    /// A virtual address; may be given several times. Without it those of the services.
    #[arg(long = "vip", value_name = "ADDR")]
    vips: Vec<IpAddr>,
    /// The interface for the VIPs; without it the one whose network they are of, else that of the default route.
    #[arg(short, long, value_name = "IF")]
    interface: Option<String>,
    /// A file with services, as `ipvsadm -S -n` writes it. The daemon must be running.
    #[arg(long, value_name = "FILE")]
    services: Option<PathBuf>,
}

impl DirectorArguments {
    pub(super) fn wish(self) -> Result<super::director::Director, HostError> {
        let commands = self.services.as_deref().map(super::director::read).transpose()?.unwrap_or_default();
        Ok(super::director::Director::new(distinct(self.vips), self.interface, &commands))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decapsulator_has_room_for_so_many_ports() {
        let tunnel = |ports: std::ops::Range<u16>| {
            let arguments = TunnelArguments {
                tunnel: Some(TunnelKind::Gue),
                directors: Vec::new(),
                opener: Opener::Xdp,
                interface: None,
                gue_ports: ports.chain([6080]).collect(),
                advmss: AdvertisedMss::Off,
            };
            arguments.tunnel()
        };
        assert_eq!(tunnel(6080..6088).unwrap().unwrap().gue_ports, (6080..6088).collect::<Vec<_>>());
        assert!(matches!(tunnel(6080..6089), Err(HostError::GuePorts)));
    }
}
