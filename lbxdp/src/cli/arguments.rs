//! The words of `lbxdp` itself, beside ipvsadm's: what clap reads, and what completions and manual pages are made from.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use super::marks::RuleArguments;
use super::native::{Form, ServerName, ServiceName};
use super::proc::ProcFile;
use crate::decap::DecapVerb;
use crate::doctor::DoctorArguments;
use crate::explain::ExplainArguments;
use crate::host::{DirectorVerb, RealServerVerb};
use crate::metrics::ServerLimit;
use crate::sysctl::{Setting, Sysctl};
use crate::tables::pins::Instance;
use crate::watch::WatchArguments;

/// A layer-4 load balancer with the semantics of IPVS and the speed of XDP.
///
/// Called as `ipvsadm`, or with a first argument that begins with `-`, it takes ipvsadm's command line:
/// `lbxdp -A -t 10.0.0.100:80 -s wlc`. The instance is then named by the environment variable `LBXDP_INSTANCE`.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = "Logs: LBXDP_LOG=debug (or info, warn, error).")]
pub struct Arguments {
    #[command(subcommand)]
    pub verb: Verb,
}

/// Verbs whose exit code 2 says that something is wrong with the machine.
const JUDGES: [&str; 3] = ["doctor", "realserver", "director"];

/// The exit code for words that are not understood. Usually that is 2.
pub fn misunderstood(verb: Option<&OsStr>) -> u8 {
    if verb.is_some_and(|verb| JUDGES.iter().any(|judge| verb == *judge)) { 3 } else { 2 }
}

/// What is to be done.
#[derive(Subcommand)]
pub enum Verb {
    /// Load the packet path onto interfaces and own its configuration until a signal comes.
    Run {
        /// An interface that packets for the VIPs come in by; may be given several times.
        #[arg(short = 'i', long = "interface", required = true, value_name = "IF")]
        interfaces: Vec<String>,
        #[command(flatten)]
        instance: InstanceArgument,
        /// How many IPv4 connections there must be room for; by default what suits the machine's memory.
        #[arg(long, value_name = "N")]
        connections: Option<u32>,
        /// How many IPv6 connections there must be room for; by default half as many, which takes as much memory.
        #[arg(long, value_name = "N")]
        connections_v6: Option<u32>,
        /// Keep forwarding after the daemon has ended.
        #[arg(long)]
        leave: bool,
        /// Take over, but attach anew where XDP is generic: in the driver, if it takes the program now. For that moment packets of such an
        /// interface go to the director's own stack, which resets connections of TCP that it does not know.
        #[arg(long)]
        reattach: bool,
        /// Serve metrics for Prometheus and a status page at this address, as 127.0.0.1:9812. Whoever reaches it may read.
        #[arg(long, value_name = "ADDR:PORT")]
        metrics: Option<SocketAddr>,
        /// Which servers have metrics of their own: `all`, `none`, or how many; those with the most connections, and each
        /// service's others as one.
        #[arg(long, value_name = "all|none|N", default_value_t, requires = "metrics")]
        metrics_servers: ServerLimit,
        /// A name that metrics and page may be asked for by, beside addresses, `localhost` and the machine's own; may be given several
        /// times. Requests by other names are refused: a page from elsewhere could send them (DNS rebinding).
        #[arg(long, value_name = "NAME", requires = "metrics")]
        metrics_host: Vec<String>,
    },
    /// Take an instance's packet path out of the kernel, with its connections, and forget its configuration.
    Unload {
        #[command(flatten)]
        instance: InstanceArgument,
        /// Leave the saved configuration: the next `lbxdp run` begins with it.
        #[arg(long)]
        keep_configuration: bool,
    },
    /// Show interfaces, unknown next hops, and how many packets were not forwarded and why.
    Status {
        #[command(flatten)]
        instance: InstanceArgument,
        /// Show the next hops of all servers, and how large a packet may be on the way.
        #[arg(long)]
        next_hops: bool,
    },
    /// Show services, servers and what is dropped, with rates, as it changes: the status page in a terminal.
    ///
    /// Rates are the numbers of `ipvsadm -L --rate`: IPVS's moving averages, which follow within some seconds; press `a` for what has come
    /// since the last look. Those of what was not forwarded are always by the last two looks. Press `?` for all keys, `q` to end.
    Top {
        #[command(flatten)]
        instance: InstanceArgument,
        /// Print one frame as plain text, with nothing cut, and end: for scripts, and where there is no terminal.
        #[arg(long)]
        once: bool,
        /// Time between two looks, by default 2; with --once, look twice that far apart, so that everything has a rate.
        #[arg(long, value_name = "SECONDS", value_parser = super::top::interval)]
        interval: Option<Duration>,
    },
    /// Show virtual services.
    Service {
        #[command(subcommand)]
        verb: ServiceVerb,
    },
    /// Show real servers.
    Server {
        #[command(subcommand)]
        verb: ServerVerb,
    },
    /// Show connections.
    Connection {
        #[command(subcommand)]
        verb: ConnectionVerb,
    },
    /// Take a server out gently: its weight becomes 0, and this waits until its connections have ended.
    ///
    /// The weight stays 0 when this ends, however it ends: by itself, by the timeout (exit code 1), or by Ctrl-C.
    Drain {
        #[command(flatten)]
        instance: InstanceArgument,
        /// The service: `tcp/10.0.0.100:80`, `udp/[2001:db8::1]:53`, `sctp/…`, `mark/7`, `mark6/7`.
        service: ServiceName,
        /// The server: its address, with a port if it is there with several.
        server: ServerName,
        /// Give up waiting after this time; without it, never.
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        timeout: Option<Duration>,
    },
    /// Print what a file of the kernel's IPVS in /proc/net would say, for programs that read these.
    Proc {
        #[command(flatten)]
        instance: InstanceArgument,
        /// The file.
        #[arg(value_enum)]
        file: ProcFile,
    },
    /// Change settings, by the names of IPVS's sysctls: all that are given or none.
    Set {
        #[command(flatten)]
        instance: InstanceArgument,
        /// A setting and its new value, as `sysctl -w` takes them (with or without `net.ipv4.vs.`).
        #[arg(required = true, value_name = "NAME=VALUE")]
        settings: Vec<Setting>,
    },
    /// Make ipvsadm, ipvsadm-save and ipvsadm-restore links to this binary.
    ///
    /// Nothing is overwritten that is no link to lbxdp. `lbxdp unlink`, called in the same way, takes the links away again.
    Link(LinkArguments),
    /// Take away the links that `lbxdp link` has made.
    ///
    /// With --divert the files of Debian's package have their places back then.
    Unlink(LinkArguments),
    /// Show settings.
    Settings {
        #[command(flatten)]
        instance: InstanceArgument,
        /// Tell what each means, and its default.
        #[arg(long)]
        long: bool,
        /// Only these.
        #[arg(value_name = "NAME", value_parser = Sysctl::named)]
        names: Vec<&'static Sysctl>,
    },
    /// Give packets firewall marks, for services by mark (`ipvsadm -f`): lbxdp sees packets before iptables does.
    ///
    /// Of several rules that fit a packet the most specific one counts: longest destination, longest source, with an
    /// interface, with a protocol, fewest ports, in this order.
    Mark {
        #[command(subcommand)]
        verb: MarkVerb,
    },
    /// On a real server: take the tunnel headers off what a director sends (ipip, GUE, GRE), in XDP.
    Decap {
        #[command(subcommand)]
        verb: DecapVerb,
    },
    /// Set a machine up as a real server: ARP settings, tunnels, VIPs, in the right order; and take it back.
    #[command(name = "realserver")]
    RealServer {
        #[command(subcommand)]
        verb: RealServerVerb,
    },
    /// Set a machine up as a director: services, VIPs, their announcement, forwarding for VS/NAT; and take it back.
    Director {
        #[command(subcommand)]
        verb: DirectorVerb,
    },
    /// Find what is wrong with this director or real server, why it matters, and what mends it.
    ///
    /// Exit code 0: nothing is wrong, 1: warnings, or not all could be looked at, 2: errors, 3: it could not be found out, or the words were
    /// not understood. Neighbours are asked by ARP and NDP for the VIPs, in nobody's name; a director's servers on HTTP's ports are asked
    /// for the time.
    Doctor(DoctorArguments),
    /// Tell what would become of a packet, step by step, and why. Nothing is sent, and nothing is changed.
    ///
    /// The program's own decisions are run on the tables as they are now, which are opened for reading; no daemon need run. Exit code 0: it
    /// would be forwarded (or the director itself is its server), 3: passed to the director's stack, 4: dropped, answered by an ICMP error,
    /// or held for the daemon; of several packets the highest. 1: it could not be found out, 2: the words were not understood.
    Explain(ExplainArguments),
    /// Show packets as they come, with what became of them and why: tcpdump does not see what XDP takes.
    ///
    /// While somebody watches, another program is on the interfaces, which decides the same and tells of it; when the last one has ended, the
    /// usual one is back. By default at most 1,000 packets a second are shown, which costs a busy director next to nothing.
    Watch(WatchArguments),
    /// Show what the kernel's verifier says of the packet program, without attaching it.
    Verify,
}

/// What is to be done with rules for marks.
#[derive(Subcommand)]
pub enum MarkVerb {
    /// Add a rule.
    Add {
        #[command(flatten)]
        instance: InstanceArgument,
        #[command(flatten)]
        rule: RuleArguments,
    },
    /// Delete a rule: as it was added.
    Delete {
        #[command(flatten)]
        instance: InstanceArgument,
        #[command(flatten)]
        rule: RuleArguments,
    },
    /// Show all rules, the most specific first, as `lbxdp mark add` takes them.
    List {
        #[command(flatten)]
        instance: InstanceArgument,
    },
}

/// Which daemon is meant.
#[derive(clap::Args)]
pub struct InstanceArgument {
    /// Name of the instance: one daemon, one configuration.
    #[arg(long = "instance", value_name = "NAME", env = "LBXDP_INSTANCE", default_value = "default")]
    pub name: Instance,
}

/// What is to be done with services.
#[derive(Subcommand)]
pub enum ServiceVerb {
    /// Show all services, with their servers' numbers.
    List(ListArguments),
}

/// What is to be done with servers.
#[derive(Subcommand)]
pub enum ServerVerb {
    /// Show all servers, or those of a service.
    List {
        #[command(flatten)]
        listing: ListArguments,
        /// Only those of this service: `tcp/10.0.0.100:80`, `udp/[2001:db8::1]:53`, `sctp/…`, `mark/7`, `mark6/7`.
        service: Option<ServiceName>,
    },
}

/// What is to be done with connections.
#[derive(Subcommand)]
pub enum ConnectionVerb {
    /// Show all connections and templates, in the order of the table.
    List(ListArguments),
}

/// How something is listed.
#[derive(clap::Args)]
pub struct ListArguments {
    #[command(flatten)]
    pub instance: InstanceArgument,
    /// As JSON: docs/json.md says what stands where, and what may change.
    #[arg(long)]
    json: bool,
}

impl ListArguments {
    /// The form that was asked for.
    pub fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Text }
    }
}

/// Whole seconds.
fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

/// Where the links are.
#[derive(clap::Args)]
pub struct LinkArguments {
    /// A directory on the PATH of those who call ipvsadm.
    #[arg(default_value = crate::link::DIRECTORY, conflicts_with = "divert")]
    pub directory: PathBuf,
    /// In the place of Debian's package, whether it is installed or not: its files stand beside the links,
    /// with .kernel behind their names (dpkg-divert). For what calls /sbin/ipvsadm by its path.
    #[arg(long)]
    pub divert: bool,
    /// With --divert: the root directory of the system in question.
    #[arg(long, value_name = "DIRECTORY", default_value = "/", requires = "divert")]
    pub root: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever asks whether a machine is well must not take a slip of the pen for an answer.
    #[test]
    fn words_that_are_not_understood_are_no_judgement() {
        for (verb, code) in [("doctor", 3), ("realserver", 3), ("director", 3), ("run", 2), ("nonsense", 2)] {
            assert_eq!(misunderstood(Some(OsStr::new(verb))), code, "{verb}");
            assert!(Arguments::try_parse_from(["lbxdp", verb, "--nonsense"]).is_err());
        }
        assert_eq!(misunderstood(None), 2);
    }
}
